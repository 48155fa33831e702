"""Dead code: what neither a function's outputs nor its returned effects need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Block, Operation, SSAValue

from dfc.errors import NotFound
from dfc.ir import attributes, locations
from dfc.ir.builder import erase
from dfc.ir.cycles import has_cycles
from dfc.ir.op import Effect, Op, end_of
from dfc.ir.ops.control import ControlFlow
from dfc.ir.ops.function import Call, Func, split_tokens
from dfc.ir.types import CONTROL
from dfc.passes.extract import ancestors
from dfc.passes.late import definers, needed_by
from dfc.passes.manager import Pass, did_you_mean
from dfc.passes.shrink import shrink


@dataclass(frozen=True)
class Prune(Pass):
    """Drop what the outputs don't need; `fetches` names the outputs, or ops, to keep.

    Requires: block order is an order of data and control, but for what merges take of earlier iterations.
    Ensures: each op is an ancestor, by data or control, of a return. Without fetches all outputs and returned tokens
    stay; with fetches only the named ones, in the order given, and no effect that they don't depend on. An effect alone
    keeps nothing. A function that only pruned calls needed is gone.
    """

    name: ClassVar[str] = "prune"
    fetches: tuple[str, ...] = ()

    def apply(self, program: ModuleOp) -> dict[str, int]:
        return prune(program, self.fetches)


def prune(program: ModuleOp, fetches: tuple[str, ...] = ()) -> dict[str, int]:
    """Erase what no return needs. A fetch is the name of a result, or of an op as `scope/name` or `scope/name:k`.

    Raises NotFound for a fetch that no entry function has.
    """
    functions = {f.sym_name.data: f for f in program.ops if isinstance(f, Func)}
    entries = entry_functions(program)
    if fetches:
        entries = _keep(entries, fetches)
    erased, reached = 0, set()
    pending = [f.sym_name.data for f in entries]
    while pending:
        name = pending.pop()
        if name in functions and name not in reached:
            reached.add(name)
            erased += erase_unused(functions[name].block)
            pending += _callees(functions[name]) if len(functions) > 1 else []
    dropped = [f for name, f in functions.items() if name not in reached]
    for func in dropped:
        erase(func)
    return {"erased": erased, "functions dropped": len(dropped)}


def entry_functions(program: ModuleOp) -> list[Func]:
    """The functions that no other one calls; all of them where each is called."""
    functions = [f for f in program.ops if isinstance(f, Func)]
    if len(functions) == 1:
        return functions
    called = {name for f in functions for name in _callees(f)}
    return [f for f in functions if f.sym_name.data not in called] or functions


def _callees(func: Func) -> list[str]:
    return [op.callee.data for op in func.block.ops if isinstance(op, Call)]


def erase_unused(block: Block, *, pure_only: bool = False) -> int:
    """Erase ops whose results nobody uses, from the end, so that one walk finds them all; returns how many. An op that
    tells a size which another one has stays."""
    if not pure_only and has_cycles(block):
        return _erase_unreached(block)
    erased = 0
    known = {} if pure_only else definers(block)
    told: set[Operation] = set()
    op = block.last_op
    op = None if op is None else op.prev_op  # the terminator stays
    while op is not None:
        previous = op.prev_op
        for result in op.results:
            if result.first_use is not None:
                break
        else:
            if op not in told and (not pure_only or _is_pure(op)):
                erase(op)
                erased += 1
                op = previous
                continue
        if op.regions and isinstance(op, ControlFlow):
            op = shrink(op, lambda inner: erase_unused(inner, pure_only=pure_only))
        if known:
            told.update(value.owner for value in needed_by(op, known) if isinstance(value.owner, Operation))
        op = previous
    return erased


def _erase_unreached(block: Block) -> int:
    """The same where ops of a loop that nobody needs use each other."""
    last = end_of(block)
    needed = ancestors(last.operands, {}, definers(block))
    unused = [op for op in block.ops if id(op) not in needed and op is not last]
    for op in unused:
        op.operands = []
    for op in unused:
        erase(op)
    return len(unused)


def _is_pure(op: Operation) -> bool:
    if isinstance(op, ControlFlow):
        return not op.stateful.data
    return isinstance(op, Op) and op.EFFECT is Effect.PURE


# ---- fetches


def full_name(op: Operation) -> str:
    """The user's name of an op, `scope/name`; empty if it has none."""
    name, scope = op.attributes.get("name"), op.attributes.get("scope")
    if not isinstance(name, StringAttr):
        return ""
    return f"{scope.data}/{name.data}" if isinstance(scope, StringAttr) and scope.data else name.data


def _keep(entries: list[Func], fetches: tuple[str, ...]) -> list[Func]:
    """Make the fetches the outputs of the functions that have them; returns those functions."""
    names = {func: _named_values(func) for func in entries}
    for fetch in fetches:
        if not any(fetch in named for named in names.values()):
            known = dict.fromkeys(n for named in names.values() for n in named if ":" not in n)
            raise NotFound(
                f"there is no output and no op called {fetch!r} to fetch",
                op=" and ".join(f"@{f.sym_name.data}" for f in entries),
                location=locations.describe(entries[0].location),
                hint=did_you_mean(fetch, known, "names"),
            )
    kept = []
    for func, named in names.items():
        values = [(fetch, named[fetch]) for fetch in fetches if fetch in named]
        if values:
            data = [(fetch, value) for fetch, value in values if value.type is not CONTROL]
            tokens = [value for _, value in values if value.type is CONTROL]
            func.terminator.operands = [*(value for _, value in data), *dict.fromkeys(tokens)]
            func.properties["result_names"] = attributes.make(attributes.Texts, tuple(fetch for fetch, _ in data))
            kept.append(func)
    return kept


def _named_values(func: Func) -> dict[str, SSAValue]:
    """The values that can be fetched, by name: of outputs; `op` for an op's first result (its token where it has no
    data); `op:k` for its others."""
    named: dict[str, SSAValue] = {}
    for op in func.block.ops:
        if op.attributes and (name := full_name(op)):
            data, tokens = split_tokens(op.results)
            for k, value in enumerate(data or tokens):
                named.setdefault(f"{name}:{k}" if k else name, value)
    named.update(zip(func.result_names.data, func.outputs, strict=True))
    return named
