"""The convolutional digits net for what is not attached, and, where an accelerator is, the examples on it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import dfc
from dfc.backends.gpus import GPUS
from dfc.backends.targets import Target, every, missing, parse_target
from dfc.runtime.here import fits, nvidia, why_not_here
from dfc.tools.cli import main
from tests.examples_support import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
WANTED = ("cpu", "cpu:x86-64-v2", "tpu:v5e", "tpu:v5e:2x2", "cuda:h100", "cuda:a100:4")


def command(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_digits_net_in_one_file_for_six_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn", reason="needs the extra `examples`")
    for name in WANTED:
        if lacking := missing(parse_target(name)):
            pytest.skip(f"{lacking[0]}: {lacking[1]}")
    monkeypatch.setattr(sys, "path", [*sys.path])  # `dfc compile` adds the example's folder
    artifact = tmp_path / "digits.dfc"
    chosen = [word for name in WANTED for word in ("--target", name)]
    command("compile", EXAMPLES / "digits_conv.py", "--batch", "360", *chosen, "-o", artifact)
    text = command("inspect", artifact)
    rows = [re.split(r" {2,}", line) for line in text.splitlines() if line.startswith("predict batch=360 ")]
    assert tuple(row[1] for row in rows) == WANTED
    by_target = {row[1]: row for row in rows}
    for name in ("tpu:v5e:2x2", "cuda:a100:4"):
        assert f"{name}: divided over the mesh data=4; memory and FLOPs are one device's" in text
    # Two for each product: 3 x 3 convolutions on 8 x 8 and 4 x 4 pixels, of which 22 and 10 rows by columns are not
    # padding, then a matrix.
    products = 360 * (22 * 22 * 32 + 10 * 10 * 32 * 64 + 256 * 10)
    for name, (_, _, size, memory, flops, seconds, versions) in by_target.items():
        assert int(size.replace(",", "")) > 10_000, name
        assert re.fullmatch(r"\d+\.\d MB", memory), name
        counted = int(re.sub(r"\D", "", flops)) * (4 if name == "tpu:v5e:2x2" else 1)  # CUDA's is of the whole program
        assert 2 * products < counted < 2.5 * products, name
        assert float(seconds.split()[0]) < 60, name
        assert versions.startswith("jaxlib "), name
    for name in WANTED:
        hlo = command("inspect", artifact, "--hlo", name)
        assert "HloModule predict" in hlo
    assert "__cudnn$conv" in command("inspect", artifact, "--hlo", "cuda:h100")
    images = np.random.default_rng(0).uniform(0, 16, (360, 64)).astype(np.float32)
    native = dfc.load(artifact, target="cpu").predict(images=images)["probabilities"]
    portable = dfc.load(artifact, target="cpu:x86-64-v2").predict(images=images)["probabilities"]
    np.testing.assert_allclose(native, portable, rtol=1e-4, atol=1e-6)


# ---- with a device


def attached() -> Target | None:
    """The target of one device that is here, but for CPUs."""
    found = [target for target in every() if target.platform != "cpu" and not why_not_here(target)]
    return next(iter(found), None)


@pytest.fixture
def device() -> Target:
    found = attached()
    if found is None:
        pytest.skip(f"here is no TPU, and no NVIDIA GPU of {', '.join(GPUS)} with a driver for CUDA 13")
    return found


def on_device(target: Target, *command: object) -> str:
    """What a program prints, with JAX on the device."""
    platforms = f"{target.platform},cpu"
    environment = {**os.environ, "JAX_PLATFORMS": platforms, "PYTHONPATH": str(ROOT)}
    whole = [sys.executable, *map(str, command)]
    done = subprocess.run(whole, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


EXAMPLES_WITH: dict[str, tuple[Any, ...]] = {
    "char_lm": ("--steps", "60", "--length", "5"),
    "digits_conv": ("--epochs", "2"),
    "kmeans": (),
    "own_optimizer": (),
    "recurrence": ("--steps", "40", "--length", "8"),
}


@pytest.mark.device
@pytest.mark.parametrize("name", EXAMPLES_WITH)
def test_examples_run_on_the_device(name: str, device: Target, tmp_path: Path) -> None:
    out = ("--out", tmp_path) if name == "digits_conv" else ()
    assert on_device(device, EXAMPLES / f"{name}.py", *EXAMPLES_WITH[name], *out).strip()


LOADED = """
import sys
import numpy as np
import dfc
from dfc.backends import xla

assert xla.default_device().platform != "cpu"
model = dfc.load(sys.argv[1], target=sys.argv[2])
images = np.random.default_rng(0).uniform(0, 16, (360, 64)).astype(np.float32)
portable = dfc.load(sys.argv[1], target="portable").predict(images=images)["probabilities"]
np.testing.assert_allclose(model.predict(images=images)["probabilities"], portable, rtol=2e-2, atol=1e-3)
print("same")
"""


@pytest.mark.device
def test_what_was_compiled_without_the_device_runs_on_it(device: Target, tmp_path: Path) -> None:
    if lacking := missing(device):
        pytest.skip(f"{lacking[0]}: {lacking[1]}")
    artifact = tmp_path / "m.dfc"
    compiling = ("-m", "dfc", "compile", EXAMPLES / "digits_conv.py", "--batch", "360", "-o", artifact)
    on_device(device, *compiling, "--target", "cpu", "--target", device.name)
    assert on_device(device, "-c", LOADED, artifact, device.name) == "same\n"


def test_the_driver_and_its_gpus_are_found_without_a_client() -> None:
    version, names = nvidia()
    assert (version == 0) == (not Path("/proc/driver/nvidia/version").exists())
    assert [fits(parse_target("cuda:h200"), name) for name in names] == ["H200" in name for name in names]


# ---- the page


def test_the_page_on_targets_names_every_one() -> None:
    page = (ROOT / "docs" / "targets.md").read_text(encoding="utf-8")
    for target in every():
        assert f"`{target.name}`" in page
    for system in ("Linux", "macOS", "Windows", "Android", "iOS"):
        assert f"| {system} " in page
