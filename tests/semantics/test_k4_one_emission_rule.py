"""Row K4, compiling: one emission rule an op serves every device, so one program is compiled for all targets."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfc.backends import compile_cache, xla
from dfc.backends.compiling import Program, compile_apart
from dfc.backends.stablehlo import rules
from dfc.backends.stablehlo.emit import emit_func
from dfc.backends.targets import missing, parse_target
from dfc.ir.op import Op
from tests.families import ROWS, cases
from tests.support import OPS, function_of, spec

RULES_FOLDER = Path(__file__).resolve().parents[2] / "backends" / "stablehlo"
COMPILED = [name for name in ROWS if not OPS[name].HOST_ONLY]
NO_FLOATS = (
    *("complex64", "complex128", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
)
DEVICE_WORDS = {"cpu", "gpu", "cuda", "tpu", "rocm", "device", "devices", "platform"}


@cache
def emitted(name: str, dtypes_without: tuple[str, ...] = ()) -> Any:
    """The StableHLO module of all cases of an op, or of those without operands and results of some dtypes."""
    rows = [
        case
        for case in cases(name)
        if not {str(np.asarray(x).dtype) for x in [*case.operands, *case.expected]} & set(dtypes_without)
    ]
    function = function_of([(OPS[name], [spec(x) for x in c.operands], c.attributes) for c in rows])
    return emit_func(function, context=xla.mlir_context())


def portable(name: str, dtypes_without: tuple[str, ...] = ()) -> Program:
    return Program(name, compile_cache.portable_artifact(emitted(name, dtypes_without), locations=True))


def operations(module: Any) -> list[Any]:
    found: list[Any] = []

    def walk(op: Any) -> None:
        found.append(op)
        for region in op.regions:
            for block in region:
                for inner in block:
                    walk(inner.operation)

    walk(module.operation)
    return found


def test_every_rule_is_of_an_op_and_knows_no_device() -> None:
    rules.load()
    assert len(rules.RULES) > 150
    for op, rule in rules.RULES.items():
        assert isinstance(op, type) and issubclass(op, Op)  # the key has no device in it
        assert len(inspect.signature(rule).parameters) == 3, op.name  # emitter, op, operands


@pytest.mark.parametrize("file", sorted(RULES_FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_no_rule_asks_for_the_device(file: Path) -> None:
    words: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.arg(arg=word) | ast.keyword(arg=str(word)):
                words |= set(word.lower().split("_"))
            case ast.Constant(value=str(word)):
                words.add(word.lower())
    assert not words & DEVICE_WORDS


@pytest.mark.parametrize("name", COMPILED)
def test_what_is_emitted_is_of_no_device_unless_the_op_says_so(name: str) -> None:
    calls = [op for op in operations(emitted(name)) if op.name == "stablehlo.custom_call"]
    targets = {str(op.attributes["call_target_name"]) for op in calls}
    if OPS[name].DEVICES == ("cpu",):
        assert targets and all(target.startswith('"lapack_') for target in targets)
    else:
        assert {"cpu", "gpu", "tpu"} <= set(OPS[name].DEVICES)
        assert not targets


@pytest.mark.slow
def test_one_program_of_each_op_compiles_for_cpu_and_cuda() -> None:
    """From the same bytes, by the same rule. XLA's convolutions on GPUs are cuDNN's, of floats."""
    if lacking := missing(parse_target("cuda:h100")):
        pytest.skip(f"{lacking[0]}: {lacking[1]}")
    lacks = {"convolution": NO_FLOATS}
    programs = [portable(n, lacks.get(n, ())) for n in COMPILED if "gpu" in OPS[n].DEVICES]
    assert len(programs) > 150
    for target in ("cpu", "cuda:h100"):
        made = compile_apart(parse_target(target), programs)
        assert len(made) == len(programs)
        assert all(each.blob for each in made)


@pytest.mark.slow
def test_one_program_of_each_op_compiles_for_an_x86_level() -> None:
    if lacking := missing(parse_target("cpu:x86-64-v2")):
        pytest.skip(f"{lacking[0]}: {lacking[1]}")
    programs = [portable(n, ("float16",)) for n in COMPILED if "float16" not in str(OPS[n].KINDS)]
    made = compile_apart(parse_target("cpu:x86-64-v2"), programs)
    assert len(made) == len(programs) > 150
