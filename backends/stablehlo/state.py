"""State is not emitted: in an island, variables are parameters and results."""

from __future__ import annotations

from dfc.backends.stablehlo.rules import not_emitted
from dfc.ir.ops.state import Assign, AssignAdd, AssignSub, Group, Read, Variable

not_emitted(Variable, "the pass cluster keeps it outside the islands")
not_emitted(Read, "the pass cluster makes it a parameter of the island")
not_emitted(Assign, "the pass cluster makes it a result of the island")
not_emitted(AssignAdd, "the pass cluster makes it an addition and a result of the island")
not_emitted(AssignSub, "the pass cluster makes it a subtraction and a result of the island")
not_emitted(Group, "the pass cluster keeps it outside the islands")
