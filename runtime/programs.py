"""Compiled programs by the signatures of a plan, with or without df at hand."""

from __future__ import annotations

from typing import Any

from dfc.backends import xla
from dfc.backends.xla import Executable, Signature


def compile_module(module: Any, signature: Signature, device: Any, name: str) -> Executable:
    """The StableHLO module compiled for `device`, or taken from the disk cache; donated arguments are marked in it.

    Raises XLA's errors as dfc's.
    """
    return xla.compile_program(
        module,
        input_specs=signature.inputs,
        n_state=signature.n_state,
        donated=signature.donated,
        n_new_state=signature.n_new_state,
        device=device,
        name=name,
        share=True,
    )
