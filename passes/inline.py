"""Calls become the bodies of what they call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from dfc.errors import InvalidArgument, NotFound
from dfc.ir.builder import Builder, clone_into, erase, placement_of, replace
from dfc.ir.dims import Bindings, Dim, SymbolicDim, symbol
from dfc.ir.op import Effect, Op, Types, error_at
from dfc.ir.ops.function import Call, Func, Return, split_tokens
from dfc.ir.ops.state import Group, Variable
from dfc.ir.types import CONTROL, spec_behind, spec_of
from dfc.passes.late import definers, symbols_in
from dfc.passes.manager import Pass, did_you_mean
from dfc.passes.specialize import bound, respecialized


@dataclass(frozen=True)
class Inline(Pass):
    """Put the body of each called function in the place of its calls.

    Requires: every callee is in the program, and none calls itself, not even through others.
    Ensures: no df.call; functions that others called are gone, and those that nobody called stay. An inlined op keeps
    its own position, the user's line in the callee. The tokens that a call takes go to the callee's first effects, and
    the token it gives comes after all of them. One handle is left of a variable that caller and callee both name. Sizes
    that only running an op of the callee tells are others in each call: those of the call's results, or new ones.
    """

    name: ClassVar[str] = "inline"

    def apply(self, program: ModuleOp) -> dict[str, int]:
        return inline(program)


def inline(program: ModuleOp) -> dict[str, int]:
    """Expand every call, callees first, so that each body is copied in its final form.

    Positions: an op's own is kept and nothing is added for the call. Errors name the line that does the work, which is
    in the callee; a position with both lines would cost a new object for each op of each call.
    """
    functions = {f.sym_name.data: f for f in program.ops if isinstance(f, Func)}
    calls = {name: [op for op in f.block.ops if isinstance(op, Call)] for name, f in functions.items()}
    callees = {call.callee.data for made in calls.values() for call in made}
    if not callees:
        return {"inlined": 0}
    for name in _callees_first(calls):
        if calls[name]:
            _expand(functions[name], functions)
    for name in callees:
        erase(functions[name])
    return {"inlined": sum(map(len, calls.values()))}


def _callees_first(calls: Mapping[str, list[Call]]) -> list[str]:
    """The functions in an order in which each comes after those that it calls."""
    order: dict[str, None] = {}
    stack: list[str] = []

    def visit(name: str) -> None:
        stack.append(name)
        for call in calls[name]:
            callee = call.callee.data
            if callee not in calls:
                raise error_at(
                    NotFound, call, f"there is no function @{callee}", did_you_mean(callee, calls, "functions")
                )
            if callee in stack:
                cycle = " -> ".join(f"@{n}" for n in [*stack[stack.index(callee) :], callee])
                raise error_at(
                    InvalidArgument,
                    call,
                    f"a function must not call itself, got {cycle}",
                    "a loop in the graph is df.while: write the recursion as one",
                )
            if callee not in order:
                visit(callee)
        stack.pop()
        order[name] = None

    for name in calls:
        if name not in order:
            visit(name)
    return list(order)


def _expand(func: Func, functions: Mapping[str, Func]) -> None:
    handles: dict[str, SSAValue] = {}
    sizes = _Sizes(func)
    for op in func.block.ops:
        if isinstance(op, Variable):
            first = _handle(op, handles)
            if first is not op.ref:
                replace(op, [first])
        elif isinstance(op, Call):
            _inline_call(op, functions[op.callee.data], handles, sizes)


def _handle(op: Variable, handles: dict[str, SSAValue]) -> SSAValue:
    """The handle that stands for the variable: the first one of its name."""
    name = op.variable.data
    first = handles.setdefault(name, op.ref)
    if first.type != op.ref.type:
        specs = f"{spec_behind(first.type)} and {spec_behind(op.ref.type)}"
        raise error_at(InvalidArgument, op, f"the variable {name!r} must have one shape and dtype, got {specs}")
    return first


class _Sizes:
    """The symbols of a function into which others are inlined: a size that only an op tells is another in each call."""

    def __init__(self, func: Func) -> None:
        self._func = func

    @cached_property
    def _taken(self) -> set[str]:
        values = [*self._func.block.args, *(result for op in self._func.block.ops for result in op.results)]
        return {symbol for value in values for symbol in symbols_in(value)}

    def bind(self, call: Call, callee: Func, bindings: dict[str, Dim]) -> None:
        """Add what the symbols of the callee's own are in this call: as its results say, else new ones."""
        own = [s for s in definers(callee.block) if s not in bindings]
        if not own:
            return
        pairs = zip(callee.outputs, call.results, strict=False)
        dims = [pair for a, b in pairs for pair in zip(spec_of(a.type).shape, spec_of(b.type).shape, strict=False)]
        for pattern, dim in sorted(dims, key=lambda pair: len(str(pair[0]))):  # the plain ones first
            if isinstance(pattern, SymbolicDim) and isinstance(dim, SymbolicDim):
                _solve(pattern, dim, [s for s in own if s in pattern.symbols and s not in bindings], bindings)
        for name in own:
            if name not in bindings:
                bindings[name] = symbol(self._unused(name))

    def _unused(self, wanted: str) -> str:
        name, number = wanted, 0
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def _solve(pattern: SymbolicDim, dim: SymbolicDim, unknown: list[str], bindings: dict[str, Dim]) -> None:
    """Bind the unknown symbols, each to another one of `dim`, so that the pattern becomes that."""
    for chosen in permutations(sorted(dim.symbols), len(unknown)):
        found: dict[str, Dim] = dict(zip(unknown, map(symbol, chosen), strict=True))
        if pattern.substitute({**bindings, **found}) == dim:
            bindings.update(found)
            return


def _inline_call(call: Call, callee: Func, handles: dict[str, SSAValue], sizes: _Sizes) -> None:
    arguments, waits = split_tokens(tuple(call.operands))
    bindings = _bindings(call, callee, arguments, sizes)
    mapping: dict[SSAValue, SSAValue] = dict(zip(callee.block.args, arguments, strict=True))
    before, where = Builder.before_op(call), placement_of(call)
    for op in callee.block.ops:
        if isinstance(op, Return):
            break
        if isinstance(op, Variable):
            first = _handle(op, handles)
            if first is not op.ref:
                mapping[op.ref] = first
                continue
        if bindings:
            copy = respecialized(op, bindings, mapping)
            before.block.insert_op_before(copy, call)
        else:
            copy = clone_into(op, before, mapping)
        for key, asked in where.items():
            copy.attributes.setdefault(key, asked)
        if isinstance(copy, Variable):
            handles[copy.variable.data] = copy.ref
        elif waits and _is_first_effect(copy, op):
            copy.operands = [*copy.operands, *waits]
    outputs = [mapping[v] for v in callee.outputs]
    token = call.results[len(outputs) :]
    if token and token[0].first_use is not None:
        tokens = list(dict.fromkeys([*(mapping[t] for t in callee.tokens), *waits]))
        outputs.append(tokens[0] if len(tokens) == 1 else before(Group, *tokens))
    for result, value in zip(call.results, outputs, strict=False):
        result.replace_all_uses_with(value)  # not builder.replace: the value's own position says where it is made
    erase(call)


def _is_first_effect(op: Operation, original: Operation) -> bool:
    """True for what touches a resource, or starts a chain of tokens, and waits for nothing else in its function."""
    starts = isinstance(op, Group) or (isinstance(op, Op) and op.EFFECT is not Effect.PURE)
    return starts and not any(o.type is CONTROL for o in original.operands)


def _bindings(call: Call, callee: Func, arguments: Sequence[SSAValue], sizes: _Sizes) -> dict[str, Dim]:
    """What the callee's symbols are in this call. Raises InvalidArgument where an input or output doesn't fit."""
    bindings: dict[str, Dim] = {}
    wanted, given = [a.type for a in callee.block.args], [a.type for a in arguments]
    for want, got in zip(wanted, given, strict=False):
        if want is not got:
            for pattern, dim in zip(spec_of(want).shape, spec_of(got).shape, strict=False):
                if isinstance(pattern, SymbolicDim) and pattern.text.isidentifier():
                    bindings.setdefault(pattern.text, dim)
    _require_fit(call, "inputs", wanted, given, bindings)
    sizes.bind(call, callee, bindings)
    outputs = [v.type for v in split_tokens(call.results)[0]]
    _require_fit(call, "outputs", [v.type for v in callee.outputs], outputs, bindings)
    return {s: d for s, d in bindings.items() if str(d) != s}


def _require_fit(call: Call, what: str, wanted: Types, given: Types, bindings: Bindings) -> None:
    want = [bound(spec_of(t), bindings) for t in wanted]
    got = [spec_of(t) for t in given]
    if want != got:
        texts = [f"({', '.join(map(str, specs))})" for specs in (want, got)]
        raise error_at(InvalidArgument, call, f"the {what} of @{call.callee.data} must be {texts[0]}, got {texts[1]}")
