"""Row K10, compiling: one artifact for several targets; what is not here is refused; a crash is one target's own."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import dfc
from dfc.backends import compile_worker
from dfc.backends.compile_cache import stamp
from dfc.backends.targets import Target, missing, parse_target
from dfc.errors import FailedPrecondition, Internal, NotFound, ResourceExhausted, Unimplemented
from dfc.runtime.container import Reader, Writer
from dfc.runtime.here import why_not_here
from dfc.runtime.manifest import MANIFEST, from_json, to_json
from dfc.tools.cli import main

X86 = missing(parse_target("cpu:x86-64-v2")) is None
needs_x86 = pytest.mark.skipif(not X86, reason="compiles for x86-64 levels on x86-64 alone")
WEIGHTS = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(4, 16)).astype(np.float32)


def model() -> Any:
    w = dfc.Variable(WEIGHTS, name="w")

    @dfc.function(signature=[dfc.TensorSpec(("batch", 16), "float32", name="x")])
    def score(x: dfc.Tensor) -> dfc.Tensor:
        return dfc.nn.softmax(dfc.matmul(dfc.tanh(x), w))

    return score


def expected(x: Any) -> Any:
    logits = np.exp(np.tanh(x) @ WEIGHTS)
    return logits / logits.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("k10") / "model.dfc"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DFC_CACHE_DIR", "")
        dfc.compile(model(), target=["cpu", "cpu:x86-64-v2", "cpu:x86-64-v3"], batch=[1, 4]).save(path)
    return path


def changed(path: Path, to: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The artifact with another manifest: what a machine of another kind would have written."""
    reader, writer = Reader(path), Writer(to)
    content = json.loads(bytes(reader[MANIFEST]))
    change(content)
    writer.add(MANIFEST, to_json(from_json(json.dumps(content).encode(), str(to))))
    for name in reader.members:
        if name != MANIFEST:
            writer.add(name, bytes(reader[name]))
    writer.close()
    return to


def command(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


# ---- one artifact, several targets


@needs_x86
def test_one_file_holds_an_executable_and_its_hlo_for_every_target_and_size(artifact: Path) -> None:
    names = set(Reader(artifact).members)
    for size in (1, 4):
        folder = f"entries/score/batch={size}/islands"
        assert f"{folder}/0.vhlo" in names
        for stem in ("cpu", "cpu-x86-64-v2", "cpu-x86-64-v3"):
            assert {f"{folder}/0.{stem}.exe", f"{folder}/0.{stem}.hlo"} < names
    manifest = from_json(bytes(Reader(artifact)[MANIFEST]), "")
    assert manifest.targets == ("cpu", "cpu:x86-64-v2", "cpu:x86-64-v3")
    assert set(manifest.statistics) == set(manifest.stamps) == {name for name in names if name.endswith(".exe")}


@needs_x86
@pytest.mark.parametrize("target", [None, "cpu", "cpu:x86-64-v2", "cpu:x86-64-v3", "portable"])
def test_each_target_gives_the_same_answers(artifact: Path, target: str | None, caplog: Any) -> None:
    if target and target != "portable" and why_not_here(parse_target(target)):
        pytest.skip(why_not_here(parse_target(target)))
    with caplog.at_level(logging.WARNING, logger="dfc"):
        found = dfc.load(artifact, target=target).score(x=X)
    np.testing.assert_allclose(found, expected(X), rtol=1e-5, atol=1e-6)
    assert not caplog.records  # nothing was compiled in place of what is there


@needs_x86
def test_a_level_s_executable_is_taken_where_the_native_one_does_not_fit(
    artifact: Path, tmp_path: Path, caplog: Any
) -> None:
    def from_elsewhere(manifest: dict[str, Any]) -> None:
        for name, stored in manifest["stamps"].items():
            if name.endswith("0.cpu.exe"):
                stored["cpu_features"] = [*stored["cpu_features"], "amx-fp16", "avxvnniint8"]

    moved = changed(artifact, tmp_path / "m.dfc", from_elsewhere)
    with caplog.at_level(logging.WARNING, logger="dfc"):
        np.testing.assert_allclose(dfc.load(moved).score(x=X), expected(X), rtol=1e-5, atol=1e-6)
    assert not caplog.records
    with pytest.raises(FailedPrecondition) as caught:
        dfc.load(moved, target="cpu").score(x=X)
    assert str(caught.value).startswith(
        f"{moved}: the executable needs the CPU features amx-fp16, avxvnniint8, which this machine ("
    )


@needs_x86
def test_inspect_compares_the_targets_in_one_table(artifact: Path) -> None:
    lines = command("inspect", artifact).output.splitlines()
    first = lines.index("targets: cpu, cpu:x86-64-v2, cpu:x86-64-v3") + 2
    assert lines[first].split("  ")[0] == "entry"
    assert re.split(r" {2,}", lines[first]) == ["entry", "target", "bytes", "memory", "FLOPs", "compiled in", "by"]
    rows = [re.split(r" {2,}", line) for line in lines[first + 1 : first + 7]]
    assert [row[:2] for row in rows] == [
        [f"score batch={size}", target] for size in (1, 4) for target in ("cpu", "cpu:x86-64-v2", "cpu:x86-64-v3")
    ]
    reader = Reader(artifact)
    for (_, target, size, memory, flops, seconds, by), batch in zip(rows, [1, 1, 1, 4, 4, 4], strict=True):
        member = f"entries/score/batch={batch}/islands/0.{target.replace(':', '-')}.exe"
        assert size == f"{len(reader[member]):,}"
        assert re.fullmatch(r"\d+(\.\d)? (bytes|kB)", memory)
        assert int(flops.replace(",", "")) >= 2 * batch * 16 * 8
        assert re.fullmatch(r"\d+\.\d\d s", seconds)
        assert by == f"jaxlib {stamp()['jaxlib']}"


@needs_x86
def test_inspect_prints_the_hlo_that_was_stored(artifact: Path) -> None:
    text = command("inspect", artifact, "--hlo", "cpu:x86-64-v2").output
    parts = text.split("// entries/score/batch=")
    assert [part.partition("/")[0] for part in parts[1:]] == ["1", "4"]
    assert parts[2].startswith("4/islands/0.cpu-x86-64-v2.hlo\nHloModule score")
    assert f'source_file="{__file__}"' in text
    result = command("inspect", artifact, "--hlo", "tpu:v5e")
    assert result.exit_code == 1
    assert result.output == (
        f"Error: {artifact} has no executables for tpu:v5e\n  targets: cpu, cpu:x86-64-v2, cpu:x86-64-v3\n"
    )


def test_files_from_before_statistics_were_kept_load_and_print(artifact: Path, tmp_path: Path) -> None:
    old = changed(artifact, tmp_path / "old.dfc", lambda manifest: manifest["statistics"].clear())
    assert "entry score(x: float32[batch, 16])" in command("inspect", old).output
    np.testing.assert_allclose(dfc.load(old).score(x=X), expected(X), rtol=1e-5, atol=1e-6)


# ---- what is not here


def only(*names: str) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        manifest["targets"] = list(names)

    return change


NEEDS = {
    "tpu:v5e": "one TPU v5e chip, and here is no TPU",
    "cuda:h100": "one NVIDIA H100 GPU, and here is no NVIDIA driver",
    "cuda:a100:4": "4 NVIDIA A100 GPUs, and here is no NVIDIA driver",
}


@pytest.mark.parametrize("name", NEEDS)
def test_an_artifact_for_what_is_not_here_is_refused(artifact: Path, tmp_path: Path, name: str) -> None:
    if not why_not_here(parse_target(name)):
        pytest.skip(f"{name} is here")
    foreign = changed(artifact, tmp_path / "m.dfc", only(name, "tpu:v6e"))
    with pytest.raises(FailedPrecondition) as caught:
        dfc.load(foreign, target=name)
    assert str(caught.value) == f"{foreign}: the executables for {name} need {NEEDS[name]}"
    with pytest.raises(FailedPrecondition) as caught:
        dfc.load(foreign)
    assert str(caught.value) == (
        f"{foreign} has nothing that runs here: {name} needs {NEEDS[name]}; tpu:v6e needs one TPU v6e chip, and here "
        "is no TPU\n  the target 'portable' compiles its portable program for this CPU"
    )
    np.testing.assert_allclose(dfc.load(foreign, target="portable").score(x=X), expected(X), rtol=1e-5, atol=1e-6)


def test_a_target_that_the_artifact_has_not_is_named(artifact: Path) -> None:
    with pytest.raises(NotFound) as caught:
        dfc.load(artifact, target="cuda:h100")
    assert str(caught.value) == (
        f"{artifact} has no executables for cuda:h100\n  it has: cpu, cpu:x86-64-v2, cpu:x86-64-v3, portable"
    )


def test_targets_of_a_newer_dfc_are_passed_over(artifact: Path, tmp_path: Path) -> None:
    newer = changed(artifact, tmp_path / "m.dfc", only("tpu:v99", "cpu"))
    np.testing.assert_allclose(dfc.load(newer).score(x=X), expected(X), rtol=1e-5, atol=1e-6)
    assert "targets: tpu:v99, cpu" in command("inspect", newer).output
    foreign = changed(artifact, tmp_path / "foreign.dfc", only("tpu:v99"))
    with pytest.raises(FailedPrecondition) as caught:
        dfc.load(foreign)
    assert str(caught.value).startswith(f"{foreign} has nothing that runs here: tpu:v99 is of a newer dfc\n")


@needs_x86
def test_a_level_beyond_this_cpu_is_refused(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfc.runtime.here.cpu_features", lambda: ("sse", "sse2", "sse3", "sse4.1", "sse4.2", "ssse3"))
    with pytest.raises(FailedPrecondition) as caught:
        dfc.load(artifact, target="cpu:x86-64-v3")
    assert str(caught.value) == (
        f"{artifact}: the executables for cpu:x86-64-v3 need an x86-64-v3 CPU, and this CPU lacks avx, avx2, bmi, "
        "bmi2, f16c, fma, lzcnt, movbe, popcnt"
    )


# ---- compilers that fail


@needs_x86
@pytest.mark.filterwarnings("ignore")
def test_a_crash_takes_one_target_along_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """XLA ends the process at a flag that it does not know: so it does for the one target that has it."""
    flags = compile_worker.level_flags

    def broken(target: Target, folder: Path) -> str:
        return flags(target, folder) + (" --xla_no_such_flag=1" if target.name == "cpu:x86-64-v3" else "")

    monkeypatch.setattr(compile_worker, "level_flags", broken)
    with caplog.at_level(logging.WARNING, logger="dfc"):
        made = dfc.compile(model(), target=["cpu", "cpu:x86-64-v3", "cpu:x86-64-v2"], batch=4)
    assert made.manifest.targets == ("cpu", "cpu:x86-64-v2")
    assert list(made.failures) == ["cpu:x86-64-v3"]
    error = made.failures["cpu:x86-64-v3"]
    assert isinstance(error, Internal)
    sentence, log = str(error).split("\n")
    assert sentence == (
        "the compiler of cpu:x86-64-v3 ended with exit code 1 while it compiled 'score': "
        "Unknown flag in XLA_FLAGS: --xla_no_such_flag=1"
    )
    kept = Path(log.removeprefix("  what it printed is in "))
    assert "xla_no_such_flag" in kept.read_text()
    kept.unlink()
    assert [record.getMessage() for record in caplog.records] == [
        f"the artifact has nothing for cpu:x86-64-v3: {error}"
    ]
    made.save(tmp_path / "m.dfc")
    for target in ("cpu", "cpu:x86-64-v2"):
        np.testing.assert_allclose(dfc.load(tmp_path / "m.dfc", target=target).score(x=X), expected(X), rtol=1e-5)


MODEL = """
import dfc, numpy as np
w = dfc.Variable(np.ones((16, 8), np.float32), name="w")

@dfc.function(signature=[dfc.TensorSpec((4, 16), "float32", name="x")])
def score(x):
    return dfc.matmul(x, w)
"""


@needs_x86
def test_the_command_writes_the_others_and_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("model.py").write_text(MODEL)
    monkeypatch.setattr(compile_worker, "level_flags", lambda target, folder: "--xla_no_such_flag=1")
    result = command("compile", "model.py", "--target", "cpu:x86-64-v2", "--target", "cpu")
    assert result.exit_code == 1
    said = result.stderr[result.stderr.index("Error: ") :].splitlines()
    assert said[0] == "Error: model.dfc has nothing for cpu:x86-64-v2:"
    assert said[1].startswith("the compiler of cpu:x86-64-v2 ended with exit code 1 while it compiled 'score': ")
    assert result.stderr.count("ended with exit code 1") == 1
    Path(said[2].removeprefix("  what it printed is in ")).unlink()
    assert from_json(bytes(Reader("model.dfc")[MANIFEST]), "").targets == ("cpu",)
    alone = command("compile", "model.py", "--target", "cpu:x86-64-v2", "-o", "none.dfc")
    assert alone.exit_code == 1
    assert not Path("none.dfc").exists()
    Path(re.findall(r"is in (.*\.log)", alone.stderr)[0]).unlink()


def test_the_time_limit_is_of_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("slow_model.py").write_text(MODEL)
    result = command("compile", "slow_model.py", "--time-limit", "0.01")
    assert result.exit_code == 1
    assert "compiling 'score' for cpu was stopped after 0.01 s" in result.stderr
    Path(re.findall(r"is in (.*\.log)", result.stderr)[0]).unlink()


# ---- with the compilers of what is not here


def need(*names: str) -> None:
    for name in names:
        if lacking := missing(parse_target(name)):
            pytest.skip(f"{lacking[0]}: {lacking[1]}")


def test_one_artifact_for_cpus_tpus_and_gpus(tmp_path: Path) -> None:
    wanted = ["cpu", "cpu:x86-64-v2", "tpu:v5e", "tpu:v5e:2x2", "cuda:h100", "cuda:a100:4"]
    need(*wanted)
    made = dfc.compile(model(), target=wanted, batch=4)
    assert made.manifest.targets == tuple(wanted)
    assert not made.failures
    made.save(tmp_path / "m.dfc")
    output = command("inspect", tmp_path / "m.dfc").output
    rows = [re.split(r" {2,}", line) for line in output.splitlines() if line.startswith("score batch=4")]
    assert [row[1] for row in rows] == wanted
    assert all(int(row[2].replace(",", "")) > 1000 and int(re.sub(r"\D", "", row[4])) >= 2 * 4 * 16 * 8 for row in rows)
    assert "libtpu" in rows[2][6] and "jax-cuda13-pjrt" in rows[4][6]
    np.testing.assert_allclose(dfc.load(tmp_path / "m.dfc").score(x=X), expected(X), rtol=1e-5, atol=1e-6)


def test_a_model_too_large_for_a_target_is_an_error_with_its_lines() -> None:
    need("tpu:v5e")

    @dfc.function(signature=[dfc.TensorSpec((60_000, 60_000), "float32", name="x")])
    def huge(x: dfc.Tensor) -> dfc.Tensor:
        y = dfc.matmul(dfc.sin(x), x)
        return dfc.sum(dfc.matmul(y, x))

    with pytest.raises(ResourceExhausted) as caught:
        dfc.compile(huge, target="tpu:v5e")
    text = str(caught.value)
    assert text.startswith("the program is too large for tpu:v5e: ")
    assert "Ran out of memory on HBM" in text and "(15.75G)" in text
    assert "  it takes 14.4 GB of arguments and gives 4 bytes of results; its largest values:\n" in text
    assert f"14.4 GB: float32[60000,60000] of dot_general at {__file__}:" in text
    assert "14.4 GB: float32[60000,60000], input 'x'" in text


def test_an_op_for_the_cpu_alone_is_refused_for_others_with_its_line() -> None:
    need("cuda:h100")

    @dfc.function(signature=[dfc.TensorSpec((3, 3), "float32", name="x")])
    def factor(x: dfc.Tensor) -> dfc.Tensor:
        return dfc.linalg.qr(x)[0]

    made = dfc.compile(factor, target=["cpu", "cuda:h100"])
    assert made.manifest.targets == ("cpu",)
    error = made.failures["cuda:h100"]
    assert isinstance(error, Unimplemented)
    assert str(error).startswith(
        f"entry 'factor' can't be compiled for cuda:h100: qr is implemented for cpu only\n  at {__file__}:"
    )
