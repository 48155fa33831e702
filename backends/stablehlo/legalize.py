"""StableHLO's passes: chlo, a dialect of functions that have no portable form, into stablehlo."""

from __future__ import annotations

from functools import lru_cache

from jaxlib.mlir import ir, passmanager
from jaxlib.mlir.dialects import stablehlo

CHLO_TO_STABLEHLO = "func.func(chlo-legalize-to-stablehlo)"


@lru_cache(maxsize=1)
def register_passes() -> None:
    """Make StableHLO's passes known by name; doing so twice ends the process."""
    stablehlo.register_stablehlo_passes()


def legalize(module: ir.Module) -> None:
    """Turn the module's chlo ops into stablehlo ones, in place."""
    register_passes()
    with module.context:
        passmanager.PassManager.parse(f"builtin.module({CHLO_TO_STABLEHLO})").run(module.operation)
