"""What the host does is not emitted."""

from __future__ import annotations

from dfc.backends.stablehlo.rules import not_emitted
from dfc.ir.ops import host as ho

not_emitted(ho.PyCall, "Python runs on the host")
not_emitted(ho.Print, "the host prints")
not_emitted(ho.Assert, "the host raises errors")
not_emitted(ho.CheckNumerics, "the host raises errors; a device computes the summary that it looks at")
