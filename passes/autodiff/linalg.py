"""Gradients of contractions: contractions."""

from __future__ import annotations

from xdsl.ir import SSAValue

from dfc.ir.ops.linalg import DotGeneral, free_axes
from dfc.ir.ops.shape import Transpose
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, rule, spec


@rule(DotGeneral)
def dot_general(op: DotGeneral, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """Each operand's gradient contracts g with the other operand over the other's free axes.

    The order of the two operands is chosen so that a plain matrix product needs no transpose: g . rhs^T for lhs,
    lhs^T . g for rhs.
    """
    (g,), (lhs, rhs) = grads, op.operands
    values = op.values()
    lb, rb, lc, rc = (values[k] for k in ("lhs_batch", "rhs_batch", "lhs_contracting", "rhs_contracting"))
    lf, rf = (tuple(free_axes(len(spec(v).shape), *used)) for v, used in ((lhs, (lb, lc)), (rhs, (rb, rc))))
    batch = tuple(range(len(lb)))
    # The axes of g are batch, lf, rf.
    g_lf = tuple(range(len(lb), len(lb) + len(lf)))
    g_rf = tuple(range(len(lb) + len(lf), len(lb) + len(lf) + len(rf)))

    def by_lhs() -> SSAValue:
        axes = {"lhs_batch": batch, "rhs_batch": rb, "lhs_contracting": g_rf, "rhs_contracting": rf}
        product = b.op(DotGeneral, g, b.conj(rhs), **axes).results[0]
        # Its axes: batch, lf, and rhs's contracting axes in rhs's order.
        return _in_layout(product, (*lb, *lf, *_partners(lc, rc)), b)

    def by_rhs() -> SSAValue:
        axes = {"lhs_batch": lb, "rhs_batch": batch, "lhs_contracting": lf, "rhs_contracting": g_lf}
        product = b.op(DotGeneral, b.conj(lhs), g, **axes).results[0]
        # Its axes: batch, lhs's contracting axes in lhs's order, rf.
        return _in_layout(product, (*rb, *_partners(rc, lc), *rf), b)

    return [by_lhs, by_rhs]


def _partners(axes: tuple[int, ...], others: tuple[int, ...]) -> tuple[int, ...]:
    """`axes` in the ascending order of the axes that they are contracted with."""
    return tuple(axis for _, axis in sorted(zip(others, axes, strict=True)))


def _in_layout(product: SSAValue, axes: tuple[int, ...], b: RuleBuilder) -> SSAValue:
    """Move axis i of the product to place axes[i]."""
    permutation = tuple(sorted(range(len(axes)), key=axes.__getitem__))
    return product if permutation == tuple(range(len(axes))) else b(Transpose, product, permutation=permutation)
