"""`if` on a tensor: both branches are traced, as regions of one op; variables take the values of the one that runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.ir import SSAValue

from dfc.errors import DfcError, InvalidArgument
from dfc.frontend.autograph.values import RESULT, Parts, State, Undefined, described, failed, is_same, parts_of
from dfc.frontend.interior import Body
from dfc.frontend.ops.control import value_in
from dfc.frontend.promotion import lift, result_type, tensor_in
from dfc.frontend.regions import bodies, emit, enclose
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace
from dfc.ir.ops.control import If
from dfc.ir.types import Spec, spec_of

Choice = Callable[[Sequence[Tensor]], Any]
NAMES = ("the `if` branch", "the `else` branch")


def branch(trace: Trace, pred: Tensor, blocks: Sequence[Callable[[], Any]], state: State) -> None:
    """Run both blocks in regions of one op, and give each variable of the state the value of the one that is taken."""
    refuse_recursion(trace)
    before = state.get()
    try:
        with bodies(trace, "if", [], []) as regions:
            found = [
                region.run(lambda block=block: noted(lambda: state.after(before, block), "if"))  # type: ignore[misc]
                for region, block in zip(regions, blocks, strict=True)
            ]
            columns = _Columns(regions)
            choices = [columns.choose(name, *pair) for name, *pair in zip(state.names, *found, strict=True)]
            specs = tuple(spec_of(value.type) for value in columns.values[0])
            common = enclose(trace, list(zip(regions, columns.values, strict=True)))
            attributes = {"n_inputs": len(common.captured), "results": specs}
            _, results = emit(trace, If, [pred._value], common, regions, attributes)
    except BaseException:
        state.put(before)
        raise
    state.put(tuple(choice(results) for choice in choices))


DEEPEST = 40


def refuse_recursion(trace: Trace) -> None:
    """A function that calls itself under an `if` on a tensor would be traced for ever."""
    depth, outer = 0, trace
    while outer.is_interior and outer.parent is not None:
        depth, outer = depth + 1, outer.parent
    if depth > DEEPEST:
        raise failed(
            InvalidArgument,
            f"there are more than {DEEPEST} branches and loops on tensors inside each other",
            "if",
            "a function that calls itself under an `if` on a tensor is traced without end: write it as a loop",
        )


def noted(run: Callable[[], Any], what: str) -> Any:
    """`run()`; an error of the user's own says that tracing takes every path."""
    try:
        return run()
    except DfcError as error:
        if what == "for" and error.diagnostic.op == "index" and not getattr(error, "__notes__", None):
            error.add_note(
                "a `for` over tensors, or over range() of a tensor or of a tensor's size, counts in tensors; "
                "list(range(n)) has Python's numbers, and is unrolled"
            )
        raise
    except Exception as error:
        if not getattr(error, "__notes__", None):
            error.add_note(
                f"it was raised while a block of `{what}` on a tensor was traced: such a block is traced whatever the "
                "tensor is, so what depends on its elements can't raise"
            )
        raise


class _Columns:
    """What the branches yield, side by side."""

    def __init__(self, regions: Sequence[Body]) -> None:
        self.regions = regions
        self.values: tuple[list[SSAValue], list[SSAValue]] = ([], [])

    def choose(self, name: str, one: Any, other: Any) -> Choice:
        """How a variable's value is had from the op's results, given its values after each branch."""
        if is_same(one, other):
            return lambda results: one
        for missing, given, branch in ((one, other, 0), (other, one, 1)):
            if isinstance(missing, Undefined):
                if isinstance(given, Undefined):
                    return lambda results: given if given.reason else missing
                if name == RESULT and not missing.reason:
                    return self._filled(parts_of(given), branch)
                return self._without(name, missing, branch)
        a, b = parts_of(one), parts_of(other)
        if a.nest != b.nest:
            return self._differing(name, described(one), described(other))
        leaves: list[Choice] = []
        for x, y in zip(a.leaves, b.leaves, strict=True):
            if is_same(x, y):
                leaves.append(lambda results, x=x: x)  # type: ignore[misc]
                continue
            specs = self._pair(x, y)
            if specs[0] != specs[1]:
                return self._differing(name, str(specs[0]), str(specs[1]))
            leaves.append(self._last())
        return lambda results: a.built(iter([leaf(results) for leaf in leaves]))

    def _last(self) -> Choice:
        """The result for what has just been yielded."""
        index = len(self.values[0]) - 1
        return lambda results: results[index]

    def _pair(self, x: Any, y: Any) -> list[Spec]:
        """The specs of a leaf of each branch; both are yielded where the specs are one."""
        given = [lift(region, leaf) for region, leaf in zip(self.regions, (x, y), strict=True)]
        tensors = [leaf for leaf in given if isinstance(leaf, Tensor)]
        dtype = tensors[0].dtype if tensors else result_type(*given)
        values = [value_in(region, leaf, dtype) for region, leaf in zip(self.regions, given, strict=True)]
        specs = [spec_of(value.type) for value in values]
        if specs[0] == specs[1]:
            for column, value in zip(self.values, values, strict=True):
                column.append(value)
        return specs

    def _filled(self, given: Parts, missing: int) -> Choice:
        """Where the one branch returns and the other goes on: zeros that nothing will look at."""
        have = self.regions[1 - missing]
        leaves: list[Choice] = []
        for leaf in given.leaves:
            value = tensor_in(have, leaf)
            self.values[1 - missing].append(have.value_of(value))
            self.values[missing].append(zeros(self.regions[missing], spec_of(value._type)))
            leaves.append(self._last())
        return lambda results: given.built(iter([leaf(results) for leaf in leaves]))

    def _without(self, name: str, missing: Undefined, branch: int) -> Choice:
        if missing.reason:
            return lambda results: missing
        other = "else" if branch else "if"
        text = (
            f"{name!r} has a value after one branch of an `if` on a tensor alone: it must be given one in the {other} "
        )
        hint = f"give {name!r} a value before the `if`, or in both branches"
        return lambda results: Undefined(name, text + "branch too", "if", hint)

    def _differing(self, name: str, one: str, other: str) -> Choice:
        if name == RESULT:
            text = "the function must return the same on both sides of an `if` on a tensor"
            hint = "end both branches in a return of the same structure, shapes and dtypes"
        else:
            text = f"{name!r} must have the same structure, shape and dtype after both branches of an `if` on a tensor"
            hint = f"convert one of them, or give {name!r} no value that depends on the tensor"
        text += f", got {one} from {NAMES[0]} and {other} from {NAMES[1]}"
        return lambda results: Undefined(name, text, "if", hint)


def zeros(trace: Trace, spec: Spec) -> SSAValue:
    if spec.dtype.kind == "string":
        raise InvalidArgument("a string can't be given back from within a loop or a branch: return it at the end")
    number = False if spec.dtype.kind == "bool" else 0
    return trace.fill(number, spec.dtype, spec.shape)
