"""Contractions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Ints
from dfc.ir.dims import Shape
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import NUMERIC, require_kind
from dfc.ir.ops.shape import shape_text
from dfc.ir.types import spec_of, tensor_type


def free_axes(rank: int, *used: tuple[int, ...]) -> list[int]:
    """The axes of an operand that are neither batch nor contracted."""
    taken = {axis for axes in used for axis in axes}
    return [axis for axis in range(rank) if axis not in taken]


@irdl_op_definition
class DotGeneral(Op):
    """Sums of products over the contracting axes, for each index of the batch axes. The result's axes are the batch
    axes, lhs's free axes, rhs's free axes.

    C1: equal dtypes. C2: numeric. C3: axes are in range and used once. C4: as many batch axes and as many contracting
    axes on both sides. C5: equal sizes of batch dimensions. C6: equal sizes of contracting dimensions.
    """

    name = "df.dot_general"
    lhs_batch = prop_def(Ints)
    rhs_batch = prop_def(Ints)
    lhs_contracting = prop_def(Ints)
    rhs_contracting = prop_def(Ints)
    lhs = operand_def()
    rhs = operand_def()
    result = result_def()
    KINDS: ClassVar = NUMERIC

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        lhs, rhs = (spec_of(t) for t in operands)
        lb, rb = attributes["lhs_batch"], attributes["rhs_batch"]
        lc, rc = attributes["lhs_contracting"], attributes["rhs_contracting"]
        if lhs.dtype is not rhs.dtype:
            raise InvalidType(f"operands must have equal dtypes, got {lhs.dtype} and {rhs.dtype}", label="C1")
        require_kind(lhs.dtype, cls.KINDS, "C2")
        for side, spec, axes in (("lhs", lhs, lb + lc), ("rhs", rhs, rb + rc)):
            if len(set(axes)) != len(axes) or any(not 0 <= a < len(spec.shape) for a in axes):
                raise InvalidArgument(
                    f"{side} axes must be distinct and within rank {len(spec.shape)}, got {axes}", label="C3"
                )
        if len(lb) != len(rb) or len(lc) != len(rc):
            raise InvalidArgument(
                f"both sides need as many axes, got batch {lb} and {rb}, contracting {lc} and {rc}", label="C4"
            )
        _require_equal_sizes("batch", lhs.shape, rhs.shape, lb, rb, "C5")
        _require_equal_sizes("contracting", lhs.shape, rhs.shape, lc, rc, "C6")
        free = [lhs.shape[a] for a in free_axes(len(lhs.shape), lb, lc)]
        free += [rhs.shape[a] for a in free_axes(len(rhs.shape), rb, rc)]
        return (tensor_type((*(lhs.shape[a] for a in lb), *free), lhs.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        lhs, rhs = operands
        lb, rb = attributes["lhs_batch"], attributes["rhs_batch"]
        lc, rc = attributes["lhs_contracting"], attributes["rhs_contracting"]
        batch = [lhs.shape[a] for a in lb]
        lf, rf = free_axes(lhs.ndim, lb, lc), free_axes(rhs.ndim, rb, rc)
        depth = int(np.prod([lhs.shape[a] for a in lc], dtype=np.int64))
        rows, columns = [lhs.shape[a] for a in lf], [rhs.shape[a] for a in rf]
        left = lhs.transpose(*lb, *lf, *lc).reshape(*batch, int(np.prod(rows, dtype=np.int64)), depth)
        right = rhs.transpose(*rb, *rc, *rf).reshape(*batch, depth, int(np.prod(columns, dtype=np.int64)))
        if lhs.dtype.itemsize == 2 and lhs.dtype.kind not in "iu":  # 16-bit floats accumulate in float32
            left, right = left.astype(np.float32), right.astype(np.float32)
        with np.errstate(all="ignore"):
            return [np.matmul(left, right).reshape((*batch, *rows, *columns)).astype(lhs.dtype)]


def _require_equal_sizes(
    kind: str, lhs: Shape, rhs: Shape, left: tuple[int, ...], right: tuple[int, ...], label: str
) -> None:
    a, b = [lhs[i] for i in left], [rhs[i] for i in right]
    if a != b:
        got = f"{a[0]} and {b[0]}" if len(a) == 1 else f"{a} and {b}"
        shapes = f"of shapes {shape_text(lhs)} and {shape_text(rhs)}"
        raise InvalidArgument(f"{kind} dimensions must match, got {got} {shapes}", label=label)
