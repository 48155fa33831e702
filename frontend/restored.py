"""What a checkpoint holds beside the variables that were restored from it: state that an optimiser makes at its first
step, `VARIABLE/NAME`, and that may so be made after the checkpoint has been read."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import locations
from dfc.ir.dtypes import as_dtype
from dfc.ir.types import Spec
from dfc.runtime import checkpoint
from dfc.runtime.tensor_file import Array

if TYPE_CHECKING:
    from dfc.frontend.variable import Variable

_lock = threading.RLock()


class Restored:
    """One reading of a checkpoint: which name each variable has there, and what it has beside these, `left`, by name.

    State that is made later begins with its value there; with None, anew, and a warning says so.
    """

    def __init__(self, path: str, named: Mapping[str, Variable], left: Mapping[str, Array | None]) -> None:
        self.path, self._told = path, False
        self._names = {id(variable): name for name, variable in named.items()}
        # copies, since what was read is views of the whole file
        self.left = {name: None if array is None else np.array(array) for name, array in left.items()}
        for variable in named.values():
            variable.restored = self if self.left else None

    def claim(self, variable: Variable, name: str, spec: Spec) -> Array | None:
        """The value of the new state `name` of a variable, which it gets once; None where the checkpoint has none.
        Raises InvalidArgument and InvalidType for one of another shape or dtype."""
        there = self._names[id(variable)] + name.removeprefix(variable.name)
        with _lock:
            if there not in self.left:
                return None
            value = self.left[there]
            if value is None:
                self._tell_of(there)
                return None
            given = Spec(value.shape, as_dtype(value.dtype))
            if given != spec:
                raise (InvalidType if given.dtype is not spec.dtype else InvalidArgument)(
                    f"{there!r} is {given} in the checkpoint {self.path} that was restored, and {spec} is needed",
                    location=locations.describe(locations.capture()),
                    hint="restore listed variables with dfc.train.Saver(variables) to leave an optimiser's state out",
                )
            del self.left[there]
            return value

    def _tell_of(self, name: str) -> None:
        """Warn, once a reading, that state starts anew though the checkpoint has it."""
        if not self._told:
            self._told = True
            locations.warn(
                f"the state {name!r} begins anew, though the checkpoint {self.path} has it: what restored its variable "
                "was not given the optimiser, as in dfc.train.Saver([weights, optimizer]), or was for a session. Where "
                "it shall begin anew, optimizer.build([weights]) before restoring makes it without this warning",
                locations.capture(),
            )

    def tell_of_loss(self) -> None:
        """Warn, once a reading, that a new checkpoint lacks what nothing has taken."""
        with _lock:
            kept = sorted(name for name, value in self.left.items() if value is not None)
            if kept and not self._told:
                self._told = True
                locations.warn(
                    f"nothing has taken {checkpoint.listed(kept)} of the checkpoint {self.path} that was "
                    "restored, so that the one being saved lacks this state: no optimiser has made it",
                    locations.capture(),
                )


def is_beside(name: str, named: Mapping[str, Variable]) -> bool:
    """Whether it may be the name of a variable's state, `VARIABLE/NAME`."""
    return any(mark == "/" and name[:at] in named for at, mark in enumerate(name))
