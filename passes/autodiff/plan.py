"""The decision at the call of `dfc.gradients`: which gradients there will be."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument
from dfc.ir.ops.function import DENSE, NONE
from dfc.ir.types import RefType
from dfc.passes.autodiff.paths import Paths, block_of, carries


def plan(ys: Sequence[SSAValue], xs: Sequence[SSAValue]) -> tuple[str, ...]:
    """The kind of each x's gradient: "dense", or "none" where no differentiable path leads from it to a y.

    ys are tensors and xs tensors or variables' references of one trace, which need not be finished. A dtype that is
    neither floating nor complex has no gradient: such an x is "none", such a y contributes nothing. A call is looked
    through. A request for gradients between x and y passes what its ys and grad_ys depend on. Raises NoGradient, with
    the user's line, for an op on a path that has no rule; InvalidArgument for values of different graphs.
    """
    blocks = {id(block): block for v in (*ys, *xs) if not isinstance(v.type, RefType) for block in [block_of(v)]}
    if len(blocks) > 1:
        raise InvalidArgument("ys and xs must belong to one graph: some come from another function or region")
    if not ys or not xs:
        return (NONE,) * len(xs)
    paths = Paths(xs)
    block = next(iter(blocks.values()))
    assert block is not None, "a y must be in a block"
    masks = paths.masks(paths.reaching(block.last_op, ys), paths.seeds)
    reached = 0
    for y in ys:
        if carries(y.type):
            reached |= masks.get(y, 0)
    return tuple(DENSE if carries(x.type) and reached >> i & 1 else NONE for i, x in enumerate(xs))
