"""The table of operations says what is true: kinds of dtype by trying them, gradients and tests by looking them up."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from dfc.errors import DfcError
from dfc.ir import dtypes
from dfc.ir.attributes import Array
from dfc.ir.dialect import all_ops
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.op import short_name
from dfc.ir.types import Spec, ref_type, resource_type, tensor_type
from dfc.passes.autodiff import rules
from dfc.tools import cli
from dfc.tools.ops import STRUCTURE, ops, rows, table
from tests.families import ROWS, cases, host
from tests.support import OPS

MAIN = {
    "check_numerics": 1,
    "select": 1,
    "dynamic_stitch": -1,
    "barrier_insert_many": 1,
    "random_integers": 1,
    "random_gamma": 1,
    "random_poisson": 1,
}
"""The operand that `KINDS` is about, where it is not the first."""

FIXED = {"convert": {"dtype": dtypes.bool_}}
"""Attributes with which every dtype can be tried."""

STATE = {
    "read": [Spec((2,), dtypes.float32)],
    "is_initialized": [Spec((2,), dtypes.float32)],
    **dict.fromkeys(("assign", "assign_add", "assign_sub", "initialized_value"), [Spec((2,), dtypes.float32)] * 2),
    **{
        f"scatter_{how}": [Spec((4,), dtypes.float32), Spec((3,), dtypes.int32), Spec((3,), dtypes.float32)]
        for how in ("update", "add", "sub", "mul", "div", "min", "max")
    },
}
"""Operands of ops on variables, the variable first."""

HOST: dict[str, tuple[list[Spec], Mapping[str, Any]]] = {
    "py_call": ([Spec((2,), dtypes.float32)], host.CALL),
    "print": ([Spec((2,), dtypes.float32)], host.PRINT),
    "assert": ([Spec((), dtypes.bool_), Spec((2,), dtypes.float32)], host.ASSERT),
}
"""Operands and attributes of ops of the host that have no meaning on arrays alone."""
NUMBERS, COUNT = Spec((2,), dtypes.float32), Spec((), dtypes.int64)
TAKES = {"results": (NUMBERS,)}
RESOURCES: dict[str, tuple[str, list[Spec], Mapping[str, Any]]] = {
    **dict.fromkeys(("enqueue", "enqueue_many"), ("queue", [NUMBERS], {})),
    "dequeue": ("queue", [], TAKES),
    **dict.fromkeys(("dequeue_many", "dequeue_up_to"), ("queue", [COUNT], TAKES)),
    "barrier_insert_many": ("barrier", [Spec((2,), dtypes.string), NUMBERS], {"component": 0}),
    "barrier_take_many": ("barrier", [COUNT], {**TAKES, "small_batch": False}),
    "accumulator_apply": ("accumulator", [NUMBERS, COUNT], {"shaped": False}),
    "accumulator_take": ("accumulator", [COUNT], TAKES),
    "accumulator_set_step": ("accumulator", [COUNT], {}),
    "stack_push": ("stack", [NUMBERS], {}),
}
"""Ops on what lives between steps: the handle, the operands after it, attributes."""

LIKE = {
    **dict.fromkeys(("queue", "queue_select", "queue_close", "queue_size", "queue_is_closed"), "enqueue"),
    **dict.fromkeys(("barrier", "barrier_ready_size", "barrier_incomplete_size"), "barrier_insert_many"),
    **dict.fromkeys(("accumulator", "accumulator_count"), "accumulator_apply"),
    **dict.fromkeys(("stack", "stack_pop", "stack_pack", "stack_close"), "stack_push"),
    **dict.fromkeys(("hold", "fetch", "evict", "release", "let_go"), "read"),
}
"""Ops in whose types there is no dtype: what they are about takes those of another op."""


def calls(name: str) -> Iterator[tuple[list[Spec], Mapping[str, Any]]]:
    """Operands and attributes that the op takes: its numerics' cases."""
    if name in STATE:
        yield STATE[name], {}
    elif name in HOST:
        yield HOST[name]
    elif name in ("variable", "initial_value"):
        yield [], {"variable": "w", "shape": (2,), "dtype": dtypes.float32}
    elif name in RESOURCES:
        yield RESOURCES[name][1:]
    else:
        for case in cases(name):
            yield (
                [Spec(x.shape, as_dtype(x.dtype)) for x in case.operands],
                {**case.attributes, **FIXED.get(name, {})},
            )


def accepts(name: str, specs: list[Spec], attributes: Mapping[str, Any], dtype: DType) -> bool:
    """Whether `infer` takes the call with `dtype` in the place of the main operand's, wherever that stands, or for the
    dtype that a user chooses."""
    chosen = not specs or (name.startswith("random_") and name not in MAIN and "dtype" in attributes)
    if name == "constant":
        attributes = {"value": Array.of(np.full((), b"" if dtype.kind == "string" else 0, dtype.numpy))}
    elif "results" in attributes and name in RESOURCES:
        attributes, chosen = {**attributes, "results": (Spec((2,), dtype),)}, True
    elif chosen:
        attributes = {**attributes, "dtype": dtype}
    main = None if chosen else specs[MAIN.get(name, 0)].dtype
    types: list[Any] = [tensor_type(s.shape, dtype if s.dtype is main else s.dtype) for s in specs]
    if name in STATE:
        types[0] = ref_type(Spec(specs[0].shape, dtype))
    if name in RESOURCES:
        types.insert(0, resource_type(RESOURCES[name][0]))
    try:
        OPS[name].infer(types, attributes)
    except DfcError:
        return False
    return True


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_dtypes_are_those_that_infer_takes(row: Any) -> None:
    if row.name in LIKE:
        assert row.dtypes == OPS[LIKE[row.name]].KINDS
        return
    found: set[str] = set()
    for specs, attributes in calls(row.name):
        rest = [d for d in dtypes.ALL if d.kind not in found]
        found |= {d.kind for d in rest if accepts(row.name, specs, attributes, d)}
    assert found == set(row.dtypes)


def test_no_cell_is_empty_or_wrong() -> None:
    for row in rows():
        op = OPS[row.name]
        assert all((row.name, row.family, row.dtypes, row.gradient, row.kernels, row.test))
        assert op.__module__ == f"dfc.ir.ops.{row.family}"
        assert (row.gradient == "yes") == (op in rules.RULES)
        assert row.gradient == "yes" or row.gradient == rules.NON_DIFFERENTIABLE[op]
        assert row.kernels.startswith("host" if op.HOST_ONLY else f"xla: {', '.join(op.DEVICES)}")


def test_the_tests_are_there() -> None:
    for row in rows():
        file, _, entry = row.test.partition("::")
        table_name, _, name = entry.rstrip("]").partition("[")
        module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        entries = getattr(module, table_name)
        if table_name == "ROWS":
            assert name in entries and name in ROWS
        else:
            assert any(broken[0].startswith(f"{name}-C") for broken in entries)


def test_only_structure_is_left_out() -> None:
    everything = {short_name(op) for op in all_ops() if op.name.startswith("df.")}
    assert everything - {row.name for row in rows()} == set(STRUCTURE) & everything


def test_json() -> None:
    done = CliRunner().invoke(ops, ["--json"])
    assert done.exit_code == 0
    entries = json.loads(done.output)["ops"]
    assert [entry["name"] for entry in entries] == [row.name for row in rows()]
    (add,) = (entry for entry in entries if entry["name"] == "add")
    assert add == {
        "name": "add",
        "family": "elementwise",
        "dtypes": ["int", "uint", "float", "complex"],
        "gradient": "yes",
        "kernels": "xla: cpu, gpu, tpu",
        "test": "tests/families/elementwise.py::ROWS[add]",
    }


def test_table() -> None:
    done = CliRunner().invoke(cli.main, ["ops"])
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert done.output == table(rows()) + "\n"
    assert lines[0].split() == ["op", "family", "dtypes", "gradient", "kernels", "test"]
    assert lines[-2].startswith("not counted, since they only structure programs: ")
    assert lines[-1] == f"{len(rows())} operations"
    (reshape,) = (line for line in lines if line.startswith("reshape "))
    kernels = ["xla:", "cpu,", "gpu,", "tpu;", "host:", "string"]
    assert reshape.split() == ["reshape", "shape", "every", "yes", *kernels, "tests/families/shape.py::ROWS[reshape]"]


def as_strings(x: Any) -> Any:
    """Each number in decimal."""
    found = np.empty(x.size, object)
    for i, value in enumerate(x.ravel().tolist()):
        found[i] = str(value).encode()
    return found.reshape(x.shape)


@pytest.mark.parametrize("name", [r.name for r in rows() if "host: string" in r.kernels and r.name != "constant"])
def test_what_takes_strings_moves_them_as_it_moves_numbers(name: str) -> None:
    """On cases of small integers, written in decimal: the same elements come out at the same places."""
    tried = 0
    for case in cases(name):
        main = case.operands[MAIN.get(name, 0)].dtype
        if tried > 20 or (main.kind not in "iu" and name != "dim_size"):
            continue
        tried += 1
        operands = [as_strings(x) if x.dtype == main else x for x in case.operands]
        try:
            OPS[name].infer([tensor_type(x.shape, as_dtype(x.dtype)) for x in operands], case.attributes)
        except DfcError:  # indices of the same dtype, which can't be strings
            continue
        results = OPS[name].evaluate(operands, case.attributes)
        for actual, expected in zip(results, case.expected, strict=True):
            wanted = as_strings(expected) if np.asarray(actual).dtype == object else expected
            assert np.asarray(actual).tolist() == wanted.tolist(), (name, case.attributes)
    assert tried
