"""Moving variables to a device and back is the host's."""

from __future__ import annotations

from dfc.backends.stablehlo.rules import not_emitted
from dfc.ir.ops import offload

HOST = "the host moves variables to the device and back"
not_emitted(offload.Hold, HOST)
not_emitted(offload.Fetch, HOST)
not_emitted(offload.Evict, HOST)
not_emitted(offload.Release, HOST)
not_emitted(offload.LetGo, HOST)
