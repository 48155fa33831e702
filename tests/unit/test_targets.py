"""Names of targets: which there are, what they need, and what is said of those that can't be had."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dfc.backends import targets
from dfc.backends.gpus import GPUS
from dfc.backends.targets import Target, missing, names, parse_target
from dfc.errors import DfcError, InvalidArgument, NotFound, Unimplemented
from dfc.runtime import here
from dfc.runtime.artifact import build_artifact
from tests.unit.test_artifact import specs

LISTED = (
    "targets: cpu, cpu:x86-64-v2, cpu:x86-64-v3, cpu:x86-64-v4, tpu:v5e, tpu:v5p, tpu:v6e, "
    "cuda:t4, cuda:a100, cuda:l4, cuda:l40s, cuda:h100, cuda:h200, cuda:b200"
)


@pytest.mark.parametrize(
    ("text", "name", "devices", "needs"),
    [
        ("cpu", "cpu", 1, "a CPU like the one that compiled it"),
        ("cpu:x86-64-v2", "cpu:x86-64-v2", 1, "an x86-64-v2 CPU"),
        ("cpu:1", "cpu", 1, "a CPU like the one that compiled it"),
        ("cpu:4", "cpu:4", 4, "a CPU like the one that compiled it, as 4 devices"),
        ("cpu:x86-64-v3:2", "cpu:x86-64-v3:2", 2, "an x86-64-v3 CPU, as 2 devices"),
        ("tpu:v5e", "tpu:v5e", 1, "one TPU v5e chip"),
        ("tpu:v5e:1x1", "tpu:v5e", 1, "one TPU v5e chip"),
        ("tpu:v5e:2x2", "tpu:v5e:2x2", 4, "4 TPU v5e chips"),
        ("tpu:v5p:2x2x2", "tpu:v5p:2x2x2", 8, "8 TPU v5p chips"),
        ("cuda:h100", "cuda:h100", 1, "one NVIDIA H100 GPU"),
        ("cuda:a100:1", "cuda:a100", 1, "one NVIDIA A100 GPU"),
        ("cuda:a100:4", "cuda:a100:4", 4, "4 NVIDIA A100 GPUs"),
    ],
)
def test_names_of_targets(text: str, name: str, devices: int, needs: str) -> None:
    target = parse_target(text)
    assert (target.name, target.devices, target.needs) == (name, devices, needs)
    assert parse_target(target.name) == target


def test_every_target_that_is_listed_exists() -> None:
    assert [target.name for target in targets.every()] == names()
    assert f"targets: {', '.join(names())}" == LISTED


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("tpu", NotFound, f"there is no target 'tpu'\n  did you mean 'tpu:v5e'? {LISTED}"),
        ("gpu", NotFound, f"there is no target 'gpu'\n  did you mean 'cuda:h100'? {LISTED}"),
        ("cuda:h10", NotFound, f"there is no target 'cuda:h10'\n  did you mean 'cuda:h100'? {LISTED}"),
        ("cpu:x86-64-v5", NotFound, f"there is no target 'cpu:x86-64-v5'\n  did you mean 'cpu:x86-64-v4'? {LISTED}"),
        ("zzz", NotFound, f"there is no target 'zzz'\n  {LISTED}"),
        ("cpu::2", NotFound, f"there is no target 'cpu::2'\n  did you mean 'cpu:x86-64-v2'? {LISTED}"),
        (
            "cpu:0",
            InvalidArgument,
            "target 'cpu:0': the number of CPU devices must be from 1 to 64, got '0'\n"
            "  cpu:4 and cpu:x86-64-v3:4 are four devices of one CPU",
        ),
        (
            "cpu:x86-64-v3:many",
            InvalidArgument,
            "target 'cpu:x86-64-v3:many': the number of CPU devices must be from 1 to 64, got 'many'\n"
            "  cpu:4 and cpu:x86-64-v3:4 are four devices of one CPU",
        ),
        (
            "tpu:v5e:3x3",
            InvalidArgument,
            "target 'tpu:v5e:3x3': TPU v5e chips come as 1x1, 2x2, 2x4, 4x4, 4x8, 8x8, 8x16, 16x16, got '3x3'\n"
            "  tpu:v5e is one chip, tpu:v5e:2x2 four",
        ),
        (
            "cuda:a100:9",
            InvalidArgument,
            "target 'cuda:a100:9': the number of GPUs must be from 1 to 8, got '9'",
        ),
    ],
)
def test_what_is_no_target(text: str, kind: type[DfcError], message: str) -> None:
    with pytest.raises(kind) as caught:
        build_artifact(specs(), targets=["cpu", text])
    assert type(caught.value) is kind
    assert str(caught.value) == message


def test_another_architecture_is_refused_with_the_reason() -> None:
    with pytest.raises(Unimplemented) as caught:
        parse_target("cpu:aarch64")
    assert re.fullmatch(
        r"target 'cpu:aarch64': XLA compiles for CPUs of the architecture that it runs on, and here that is \w+\n"
        r"  compile on an aarch64 machine, with --target cpu",
        str(caught.value),
    )


@pytest.mark.parametrize(
    ("name", "why", "remedy"),
    [
        ("tpu:v5e", "libtpu, the TPU's compiler, is not installed", "pip install 'dfc[tpu]'"),
        (
            "cuda:h100",
            "jax-cuda13-pjrt, nvidia-cuda-nvcc, nvidia-nvvm are not installed",
            "pip install 'dfc[cuda13]', or 'dfc[cuda13-compile]' where nothing is to run",
        ),
    ],
)
def test_a_missing_compiler_is_one_sentence_with_the_extra(name: str, why: str, remedy: str) -> None:
    found = missing(parse_target(name))
    if found is None or sys.platform != "linux":
        pytest.skip(f"the compiler of {name} is installed here, or there is none for {sys.platform}")
    assert found == (why, remedy)
    with pytest.raises(Unimplemented) as caught:
        build_artifact(specs(), targets=["cpu", name])
    assert str(caught.value) == f"target {name!r} can't be compiled for here: {why}\n  {remedy}"


def test_a_gpu_s_description_is_what_xla_reads() -> None:
    text = GPUS["h100"].config
    assert "cuda_compute_capability { major: 9 minor: 0 feature_extension: ACCELERATED_FEATURES }" in text
    assert "core_count: 132\n" in text
    assert "feature_extension" not in GPUS["a100"].config
    for name, gpu in GPUS.items():  # of the same architecture, the same multiprocessors
        for other in GPUS.values():
            if gpu.capability == other.capability:
                assert (gpu.lanes, gpu.threads, gpu.shared_memory) == (other.lanes, other.threads, other.shared_memory)
        assert here.fits(parse_target(f"cuda:{name}"), gpu.names[0])


def test_names_of_devices_tell_gpus_apart() -> None:
    fitting = {
        "NVIDIA H100 80GB HBM3": "cuda:h100",
        "NVIDIA H200": "cuda:h200",
        "NVIDIA A100-SXM4-80GB": "cuda:a100",
        "NVIDIA L4": "cuda:l4",
        "NVIDIA L40S": "cuda:l40s",
        "TPU v5 lite": "tpu:v5e",
        "TPU v5": "tpu:v5p",
    }
    for kind, name in fitting.items():
        found = {t.name for t in targets.every() if t.platform != "cpu" and here.fits(t, kind)}
        assert found == {name}, kind


def test_levels_grow() -> None:
    v2, v3, v4 = (level.features for level in targets.X86_LEVELS.values())
    assert v2 < v3 < v4
    assert {"avx2", "bmi2", "fma"} <= v3 - v2


def test_naming_targets_starts_no_compiler() -> None:
    code = (
        "import sys; from dfc.backends.targets import parse_target; from dfc.runtime import here;"
        "here.why_not_here(parse_target('tpu:v5e:2x2'));"
        "print([name for name in ('jax', 'jaxlib', 'xdsl', 'importlib.metadata') if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_device_of_a_kind_is_the_shortest_name() -> None:
    assert Target("tpu", "v6e", 1, "1x1").name == "tpu:v6e"
    assert Target("cuda", "h100", 8).stem == "cuda-h100-8"
