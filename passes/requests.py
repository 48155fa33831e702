"""Requests for gradients that are still in the program: what they name must stay as the user wrote it."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from dfc.ir.ops.function import Call, Func, Gradients


def without_requests(program: ModuleOp) -> list[Func]:
    """The functions in which values may be merged and folded.

    A request's ys and xs name values, and a path between them goes through calls: into callees, whose bodies say what
    the gradient is, and out to callers, whose values become the xs once the call is inlined. So a function is left
    alone while it asks for gradients, or one that calls bind it to does.
    """
    functions = [op for op in program.ops if isinstance(op, Func)]
    asking: list[str] = []
    bound: dict[str, set[str]] = {}
    for func in functions:
        name = func.sym_name.data
        asks, callees = _asks_and_calls(func)
        if asks:
            asking.append(name)
        for callee in callees:
            bound.setdefault(name, set()).add(callee)
            bound.setdefault(callee, set()).add(name)
    held: set[str] = set()
    while asking:
        name = asking.pop()
        if name not in held:
            held.add(name)
            asking += bound.get(name, ())
    return [func for func in functions if func.sym_name.data not in held]


def _asks_and_calls(op: Operation) -> tuple[bool, set[str]]:
    """Whether there is a request inside the op, and what is called there."""
    asks, callees = False, set[str]()
    for region in op.regions:
        for block in region.blocks:
            for inner in block.ops:
                if type(inner) is Gradients:
                    asks = True
                elif type(inner) is Call:
                    callees.add(inner.callee.data)
                elif inner.regions:
                    more = _asks_and_calls(inner)
                    asks, callees = asks or more[0], callees | more[1]
    return asks, callees
