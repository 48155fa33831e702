"""Compiling in another process: what it gives, and what becomes of a compiler that crashes, hangs or has no memory."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfc.backends import compile_cache, xla
from dfc.backends.compiling import Program, compile_apart
from dfc.backends.targets import X86_LEVELS, missing, parse_target
from dfc.errors import DeadlineExceeded, Internal, InvalidArgument, ResourceExhausted

BODY = """
  func.func public @main(%x: tensor<64x64xf32>, %n: tensor<64xi32>) -> (tensor<64x64xf32>, tensor<64xi32>) {
    %0 = stablehlo.tanh %x : tensor<64x64xf32> loc("model.py":7:3)
    %1 = stablehlo.dot_general %0, %x, contracting_dims = [1] x [0]
        : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32> loc("model.py":8:3)
    %c = stablehlo.constant dense<3> : tensor<64xi32>
    %2 = stablehlo.shift_left %n, %n : tensor<64xi32>
    %3 = stablehlo.count_leading_zeros %2 : tensor<64xi32>
    %4 = stablehlo.not %3 : tensor<64xi32>
    %5 = stablehlo.and %4, %n : tensor<64xi32>
    return %1, %5 : tensor<64x64xf32>, tensor<64xi32>
  }
"""

# XLA's conversion of a constant of this type ends the process (jaxlib 0.10.2 and 0.12.0.1).
ABORTS = """
  func.func public @main() -> tensor<2xf6E2M3FN> {
    %0 = stablehlo.constant dense<[1.0, 2.0]> : tensor<2xf6E2M3FN>
    return %0 : tensor<2xf6E2M3FN>
  }
"""


def program(body: str, name: str = "f") -> Program:
    from jaxlib.mlir import ir

    module = ir.Module.parse(f"module {{ {body} }}", xla.mlir_context())
    return Program(name, compile_cache.portable_artifact(module, locations=True), ["variable 'w'"])


def need(target: str) -> None:
    if lacking := missing(parse_target(target)):
        pytest.skip(f"{lacking[0]}: {lacking[1]}")


def results(blob: bytes) -> tuple[Any, Any]:
    """What the executable of BODY gives on this machine, next to what it should give."""
    x = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    n = np.arange(64, dtype=np.int32) % 31
    specs = ((64, 64), np.dtype("float32")), ((64,), np.dtype("int32"))
    executable = xla.load_program(blob, xla.Signature(specs, specs), device=xla.devices("cpu")[0])
    _, found = executable([], [xla.to_device(x), xla.to_device(n)])
    shifted = np.left_shift(n, n).astype(np.uint32)
    zeros = np.array([32 - int(v).bit_length() for v in shifted], np.int32)
    return [xla.to_numpy(value) for value in found], [np.tanh(x) @ x, ~zeros & n]


@pytest.mark.parametrize("target", ["cpu", "cpu:x86-64-v2", "cpu:x86-64-v3"])
def test_an_executable_for_cpus_runs_and_comes_with_what_is_known_of_it(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(target)
    monkeypatch.setenv("DFC_CACHE_DIR", "")
    (made,) = compile_apart(parse_target(target), [program(BODY)])
    for found, expected in zip(*results(made.blob), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert compile_cache.stamp_mismatch(made.stamp, compile_cache.stamp()) is None
    memory = made.statistics["memory"]
    assert memory["arguments"] == 4 * 64 * 65
    assert memory["outputs"] >= 4 * 64 * 65
    assert made.statistics["flops"] >= 2 * 64**3
    assert made.statistics["versions"] == {"jaxlib": compile_cache.stamp()["jaxlib"]}
    assert 0 < made.statistics["seconds"] < 60
    assert made.hlo.startswith("HloModule")
    assert 'source_file="model.py" source_line=8' in made.hlo


# Of the instructions that LLVM chooses by itself in loops of numbers: what a level lacks.
BEYOND = {
    "x86-64-v2": r"v[a-z0-9]+|andn|bextr|bls[a-z]+|sh[lr]x|sarx|mulx|rorx|pdep|pext|lzcnt|movbe|extrq|insertq|gf2p8\w+",
    "x86-64-v3": r"extrq|insertq|v?gf2p8\w+|vpternlog\w+",
}


def instructions(blob: bytes, folder: Path) -> tuple[set[str], str]:
    """The instructions in the object files of an executable, and the disassembly."""
    text = ""
    for index, match in enumerate(re.finditer(rb"\x7fELF", blob)):
        file = folder / f"{index}.o"
        file.write_bytes(blob[match.start() :])
        command = ["objdump", "-d", "--no-show-raw-insn", str(file)]
        text += subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line.split("\t")[1].split() for line in text.splitlines() if line.count("\t")]
    return {words[0] for words in lines if words}, text


@pytest.mark.parametrize("level", BEYOND)
def test_code_for_a_level_has_none_of_the_instructions_beyond_it(level: str, tmp_path: Path) -> None:
    need(f"cpu:{level}")
    if not shutil.which("objdump"):
        pytest.skip("objdump, of binutils, is not installed")
    (made,) = compile_apart(parse_target(f"cpu:{level}"), [program(BODY)])
    found, text = instructions(made.blob, tmp_path)
    assert len(found) > 10
    assert {name for name in found if re.fullmatch(BEYOND[level], name)} == set()
    assert "zmm" not in text
    assert set(made.stamp["cpu_features"]) <= X86_LEVELS[level].features
    (native,) = compile_apart(parse_target("cpu"), [program(BODY)])
    if set(native.stamp["cpu_features"]) >= {"avx2", "bmi2", "lzcnt"}:  # or the assertions above could not fail
        assert any(re.fullmatch(BEYOND["x86-64-v2"], name) for name in instructions(native.blob, tmp_path)[0])


def test_a_compiler_that_aborts_is_one_sentence_and_its_log_is_kept() -> None:
    with pytest.raises(Internal) as caught:
        compile_apart(parse_target("cpu"), [program(BODY), program(ABORTS, "g")])
    sentence, hint = str(caught.value).split("\n")
    assert sentence.startswith("the compiler of cpu was ended by SIGABRT while it compiled 'g': ")
    assert not sentence.endswith(": ")  # what XLA said of it, which differs by version
    log = Path(hint.removeprefix("  what it printed is in "))
    assert "Check failure stack trace" in log.read_text()
    log.unlink()


def test_a_compiler_that_takes_too_long_is_stopped() -> None:
    started = time.perf_counter()
    with pytest.raises(DeadlineExceeded) as caught:
        compile_apart(parse_target("cpu"), [program(BODY)], time_limit=0.05)
    assert time.perf_counter() - started < 5
    sentence, hint = str(caught.value).split("\n")
    assert sentence == "compiling 'f' for cpu was stopped after 0.05 s"
    log = Path(hint.removeprefix("  what the compiler printed is in "))
    assert log.exists()
    log.unlink()


def test_what_the_compiler_refuses_is_its_own_error() -> None:
    body = BODY.replace("@main", "@other")
    with pytest.raises(InvalidArgument) as caught:
        compile_apart(parse_target("cpu"), [program(body)])
    assert str(caught.value).startswith("cpu: XLA: INVALID_ARGUMENT: MLIR module must have a main function")


# ---- what is not attached


@pytest.mark.parametrize(
    ("name", "devices"),
    [("tpu:v5e", 1), ("tpu:v5e:2x2", 4), ("tpu:v6e", 1), ("tpu:v5p", 1), ("cuda:h100", 1), ("cuda:a100:4", 4)]
    + [(f"cuda:{gpu}", 1) for gpu in ("t4", "a100", "l4", "l40s", "h200", "b200")],
)
def test_tpus_and_gpus_that_are_not_here(name: str, devices: int) -> None:
    need(name)
    target = parse_target(name)
    (made,) = compile_apart(target, [program(BODY)])
    assert len(made.blob) > 1000
    assert made.hlo.startswith("HloModule")
    assert made.statistics["flops"] >= 2 * 64**3
    assert made.statistics["memory"]["arguments"] >= 4 * 64 * 65
    assert (made.stamp["platform"], made.stamp["devices"]) == (target.platform, devices)
    assert set(made.stamp["packages"]) <= set(made.statistics["versions"])


HUGE = """
  func.func public @main(%w: tensor<60000x60000xf32>) -> tensor<f32> {
    %0 = stablehlo.sine %w : tensor<60000x60000xf32> loc("model.py":7:3)
    %1 = stablehlo.dot_general %0, %0, contracting_dims = [1] x [0]
        : (tensor<60000x60000xf32>, tensor<60000x60000xf32>) -> tensor<60000x60000xf32> loc("model.py":8:3)
    %2 = stablehlo.dot_general %1, %w, contracting_dims = [1] x [0]
        : (tensor<60000x60000xf32>, tensor<60000x60000xf32>) -> tensor<60000x60000xf32> loc("model.py":9:3)
    %c = stablehlo.constant dense<0.0> : tensor<f32>
    %3 = stablehlo.reduce(%2 init: %c) applies stablehlo.add across dimensions = [0, 1]
        : (tensor<60000x60000xf32>, tensor<f32>) -> tensor<f32> loc("model.py":10:3)
    return %3 : tensor<f32>
  }
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tpu:v5e", r"Ran out of memory on HBM, .* HLO temporaries \(20.13G\) exceeds available HBM \(15.75G\)\..*"),
        ("cuda:t4", r"it needs \d\d\.\d GB \(arguments 14.4 GB, .*temporaries .*\), and one NVIDIA T4 GPU has 15.8 GB"),
    ],
)
def test_a_program_too_large_for_the_target_names_its_largest_values(name: str, said: str) -> None:
    need(name)
    with pytest.raises(ResourceExhausted) as caught:
        compile_apart(parse_target(name), [program(HUGE)])
    first, second, *listed = str(caught.value).split("\n")
    assert re.fullmatch(rf"the program is too large for {name}: {said}", first)
    assert second == "  it takes 14.4 GB of arguments and gives 4 bytes of results; its largest values:"
    assert sorted(listed) == [
        "    14.4 GB: float32[60000,60000] of dot_general at model.py:8",
        "    14.4 GB: float32[60000,60000] of dot_general at model.py:9",
        "    14.4 GB: float32[60000,60000] of sine at model.py:7",
        "    14.4 GB: float32[60000,60000], variable 'w'",
    ]
