"""Which ops cost next to nothing."""

from __future__ import annotations

from xdsl.ir import Operation

from dfc.ir.ops import bitwise, elementwise, indexing, shape, sharding

CHEAP: frozenset[type[Operation]] = frozenset(
    {
        elementwise.Negate, elementwise.Abs, elementwise.Sign, elementwise.Floor, elementwise.Ceil, elementwise.Not,
        elementwise.Identity, elementwise.StopGradient, elementwise.IsFinite, elementwise.Add, elementwise.Subtract,
        elementwise.Multiply, elementwise.Maximum, elementwise.Minimum, elementwise.And, elementwise.Or,
        elementwise.Xor, elementwise.Compare, elementwise.Select, elementwise.Convert, elementwise.Clamp,
        bitwise.CopySign, shape.Reshape, shape.Transpose, shape.BroadcastInDim, shape.Concatenate, shape.Slice,
        shape.Pad, shape.Reverse, shape.DimSize, indexing.Take, indexing.DynamicSlice,
        sharding.Shard,
    }
)  # fmt: skip
"""Ops that cost no more than reading their operands."""
