"""Gradients of sorting: what was moved goes back to where it came from."""

from __future__ import annotations

from xdsl.ir import SSAValue

from dfc.ir.dtypes import int32
from dfc.ir.ops import sorting as so
from dfc.ir.ops.shape import Pad
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule, spec


def _origins(keys: SSAValue, axis: int, descending: bool, b: RuleBuilder) -> SSAValue:
    """For each sorted place the index that its element had."""
    return b(so.ArgSort, keys, axis=axis, descending=descending, dtype=int32)


@rule(so.Sort)
def sort(op: so.Sort, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """Sorting by the origins is the inverse permutation."""
    axis = op.axis.data
    flowing = [g for g in grads if g is not None]
    origins = _origins(op.operands[0], axis, op.descending.data, b)
    back = iter(b.op(so.Sort, origins, *flowing, axis=axis, descending=False).results[1:])
    return [None if g is None else next(back) for g in grads]


non_differentiable(so.ArgSort, "gives indices")


@rule(so.TopK)
def top_k(op: so.TopK, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    g, x = grads[0], op.operands[0]
    if g is None:
        return [None]
    shape, k = spec(x).shape, op.k.data
    axis, none = len(shape) - 1, (0,) * (len(shape) - 1)
    whole = b(Pad, g, b.scalar(0, g), low=(*none, 0), high=(*none, shape[-1] - k), interior=(*none, 0))
    origins = _origins(x, axis, True, b)
    return [b.op(so.Sort, origins, whole, axis=axis, descending=False).results[1]]


non_differentiable(so.Unique, "which elements are alike does not change smoothly; take x at the indices that it gives")
non_differentiable(so.SearchSorted, "gives indices")
