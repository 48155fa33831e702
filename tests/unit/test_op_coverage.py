"""Every op has all that an op needs, and the rooms keep the families in one order."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfc.backends.stablehlo import rules as emission
from dfc.ir import dialect
from dfc.ir.op import Op, short_name
from dfc.passes.autodiff import rules as autodiff
from tests import families
from tests.unit import test_roundtrip

ROOT = Path(__file__).resolve().parents[2]

NO_VALUES = {
    **dict.fromkeys(
        (
            *("variable", "read", "assign", "assign_add", "assign_sub", "group"),
            *("initial_value", "is_initialized", "initialized_value"),
            *(f"scatter_{how}" for how in ("update", "add", "sub", "mul", "div", "min", "max")),
        ),
        "its meaning is an effect on state, which the interpreter carries out",
    ),
    **dict.fromkeys(
        (
            *("func", "return", "call", "custom_gradient", "checkpoint", "island", "yield"),
            *("if", "case", "while", "scan", "need_length"),
        ),
        "holds, names or ends other ops, which have the meaning",
    ),
    **dict.fromkeys(("py_call", "print", "assert"), "what it does is outside of the program"),
    **dict.fromkeys(
        (
            *("queue", "queue_select", "enqueue", "enqueue_many", "dequeue", "dequeue_many", "dequeue_up_to"),
            *("queue_close", "queue_size", "queue_is_closed"),
            *("barrier", "barrier_insert_many", "barrier_take_many", "barrier_ready_size", "barrier_incomplete_size"),
            *("accumulator", *(f"accumulator_{what}" for what in ("apply", "take", "set_step", "count"))),
        ),
        "acts on what lives between steps: tests/semantics has its meaning",
    ),
    **dict.fromkeys(
        (
            *("switch", "merge", "enter", "exit", "next_iteration", "loop_cond", "control_trigger"),
            *("stack", "stack_push", "stack_pop", "stack_pack", "stack_close"),
            *("send", "recv", "computed"),
            *("hold", "fetch", "evict", "release", "let_go"),
        ),
        "says where values go in a step: tests/semantics has its meaning",
    ),
    "placeholder": "its value comes from outside",
    "gradients": "a request, which autodiff expands into ops that have a meaning",
}
"""Ops that compute nothing from arrays alone: no `evaluate` and no numerics."""


def has_type_rule(op: type[Op]) -> bool:
    return op.infer is not Op.infer and inspect.unwrap(op.infer) is not inspect.unwrap(Op.infer)


def has_meaning(op: type[Op]) -> bool:
    return op.evaluate is not Op.evaluate


def has_gradient(op: type[Op]) -> bool:
    return op in autodiff.RULES or bool(autodiff.NON_DIFFERENTIABLE.get(op))


def has_emission(op: type[Op]) -> bool:
    emission.load()
    return op in emission.RULES or bool(emission.NOT_EMITTED.get(op))


NEEDS: dict[str, tuple[Callable[[type[Op]], bool], dict[str, str]]] = {
    "a type rule: infer": (has_type_rule, {}),
    "a meaning: evaluate": (has_meaning, NO_VALUES),
    'a gradient or non_differentiable("why") in passes/autodiff': (has_gradient, {}),
    "an emission rule in backends/stablehlo": (has_emission, {}),
    "a round trip in tests/unit/test_roundtrip.py": (lambda op: short_name(op) in test_roundtrip.covered(), {}),
    "a row in tests/families": (lambda op: short_name(op) in families.ROWS, NO_VALUES),
}


def missing(ops: tuple[type[Op], ...]) -> list[str]:
    """`op lacks what` for everything that an op lacks without a reason."""
    return [
        f"{short_name(op)} lacks {what}"
        for op in ops
        for what, (has, excused) in NEEDS.items()
        if short_name(op) not in excused and not has(op)
    ]


def test_no_op_lacks_anything() -> None:
    assert missing(dialect.all_ops()) == []


def test_what_is_missing_is_named() -> None:
    class Bare(Op):
        name = "df.bare"

    assert missing((Bare,)) == [f"bare lacks {what}" for what in NEEDS]


@pytest.mark.parametrize("what", NEEDS)
def test_no_excuse_without_need(what: str) -> None:
    """An excused op must exist, and lack what it is excused from."""
    has, excused = NEEDS[what]
    by_name = {short_name(op): op for op in dialect.all_ops()}
    assert [name for name in excused if has(by_name[name])] == []


def test_an_op_is_emitted_or_says_why_not() -> None:
    emission.load()
    assert not emission.RULES.keys() & emission.NOT_EMITTED.keys()
    assert not autodiff.RULES.keys() & autodiff.NON_DIFFERENTIABLE.keys()


def test_numerics_rows_are_in_the_order_of_the_ops() -> None:
    computing = [short_name(op) for op in dialect.all_ops() if short_name(op) not in NO_VALUES]
    assert list(families.ROWS) == computing


# ---- one stem and one order in every room


def registered(file: Path, ops: set[str]) -> list[str]:
    """The op classes that a file registers, in the order of its text: those named in the decorators of its functions
    and in its calls at the top, loops included."""
    found: list[str] = []
    for expression in registrations(ast.parse(file.read_text(encoding="utf-8"))):
        names = [
            node.attr if isinstance(node, ast.Attribute) else node.id
            for node in ast.walk(expression)
            if isinstance(node, ast.Attribute | ast.Name)
        ]
        found += [name for name in names if name in ops and name not in found]
    return found


def registrations(module: ast.Module) -> Iterator[ast.expr]:
    for statement in module.body:
        match statement:
            case ast.FunctionDef(decorator_list=decorators):
                yield from decorators
            case ast.Expr(value=ast.Call() as call):
                yield call
            case ast.For(iter=iterable):
                yield iterable


@pytest.mark.parametrize("room", ["passes/autodiff", "backends/stablehlo"])
@pytest.mark.parametrize("family", dialect.FAMILIES)
def test_same_order_in_every_room(family: str, room: str) -> None:
    declared = [op.__name__ for op in dialect.family_ops(family)]
    file = ROOT / room / f"{family}.py"
    assert file.is_file(), f"the family {family} needs {room}/{family}.py"
    assert registered(file, set(declared)) == declared


@pytest.mark.parametrize("family", dialect.FAMILIES)
def test_families_are_files(family: str) -> None:
    assert (ROOT / "ir" / "ops" / f"{family}.py").is_file()
    assert dialect.family_ops(family)
