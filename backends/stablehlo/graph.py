"""What comes from outside is a parameter; what waits, or may be fed, is there as it is."""

from __future__ import annotations

from dfc.backends.stablehlo.emit import Emitter
from dfc.backends.stablehlo.rules import Value, not_emitted, rule
from dfc.ir.op import Op
from dfc.ir.ops.graph import After, Feed, Placeholder

not_emitted(Placeholder, "a step that feeds it makes it an input, and one that does not is refused")


@rule(Feed, After)
def same(emitter: Emitter, op: Op, operands: list[Value]) -> list[Value]:
    return operands[:1]
