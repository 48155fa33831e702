"""State is not emitted: in an island, variables are parameters and results."""

from __future__ import annotations

from dfc.backends.stablehlo.rules import not_emitted
from dfc.ir.ops.state import (
    Assign,
    AssignAdd,
    AssignSub,
    Group,
    InitializedValue,
    InitialValue,
    IsInitialized,
    Read,
    ScatterAdd,
    ScatterDiv,
    ScatterMax,
    ScatterMin,
    ScatterMul,
    ScatterSub,
    ScatterUpdate,
    Variable,
)

SCATTER = "the pass cluster makes it a scatter into the variable's value and a result of the island"

not_emitted(Variable, "the pass cluster keeps it outside the islands")
not_emitted(Read, "the pass cluster makes it a parameter of the island")
not_emitted(InitialValue, "the host has the array")
not_emitted(IsInitialized, "only the host knows")
not_emitted(InitializedValue, "only the host knows whether there is a value")
not_emitted(Assign, "the pass cluster makes it a result of the island")
not_emitted(AssignAdd, "the pass cluster makes it an addition and a result of the island")
not_emitted(AssignSub, "the pass cluster makes it a subtraction and a result of the island")
not_emitted(ScatterUpdate, SCATTER)
not_emitted(ScatterAdd, SCATTER)
not_emitted(ScatterSub, SCATTER)
not_emitted(ScatterMul, SCATTER)
not_emitted(ScatterDiv, SCATTER)
not_emitted(ScatterMin, SCATTER)
not_emitted(ScatterMax, SCATTER)
not_emitted(Group, "the pass cluster keeps it outside the islands")
