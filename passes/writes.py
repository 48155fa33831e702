"""What writes do to a variable's value, as ops on tensors."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from dfc.errors import Internal
from dfc.ir.builder import Builder
from dfc.ir.op import Op, short_name
from dfc.ir.ops import indexing as ix
from dfc.ir.ops import state as st
from dfc.ir.ops.elementwise import Add, Negate, Subtract
from dfc.ir.ops.shape import Reshape
from dfc.ir.types import spec_of

ARITHMETIC: dict[type[Operation], type[Op]] = {st.AssignAdd: Add, st.AssignSub: Subtract}
SCATTERS: dict[type[Operation], type[Op]] = {
    st.ScatterUpdate: ix.TensorScatterUpdate,
    st.ScatterAdd: ix.TensorScatterAdd,
    st.ScatterSub: ix.TensorScatterAdd,
    st.ScatterMul: ix.TensorScatterMul,
    st.ScatterDiv: ix.TensorScatterDiv,
    st.ScatterMin: ix.TensorScatterMin,
    st.ScatterMax: ix.TensorScatterMax,
}


def written_value(op: st.Write, before: SSAValue, make: Builder) -> SSAValue:
    """The variable's value after the write, from its value before."""
    cls = type(op)
    if cls is st.Assign:
        return op.operands[1]
    if cls in ARITHMETIC:
        return make(ARITHMETIC[cls], before, op.operands[1])
    if cls not in SCATTERS:
        raise Internal(f"nothing says what '{short_name(op)}' writes")
    indices, updates = op.operands[1], op.operands[2]
    rows = make(Reshape, indices, shape=(*spec_of(indices.type).shape, 1))
    if cls is st.ScatterSub:
        updates = _negated(updates, make)
    unique = {"unique": False} if cls is st.ScatterUpdate else {}
    return make(SCATTERS[cls], before, rows, updates, **unique)


def _negated(x: SSAValue, make: Builder) -> SSAValue:
    """-x; unsigned integers wrap."""
    if spec_of(x.type).dtype.kind != "uint":
        return make(Negate, x)
    return make(Subtract, make(Subtract, x, x), x)
