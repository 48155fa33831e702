"""`dfc.train.Saver`: variables to checkpoints and back (spec rows I2 to I4)."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType
from dfc.frontend.tracing import current
from dfc.frontend.variable import Variable, alive_variables
from dfc.ir import locations
from dfc.runtime import checkpoint

if TYPE_CHECKING:
    from dfc.frontend.session import Session

Path = str | os.PathLike[str]


def _alive() -> list[Variable]:
    """Every variable of the process; where two have one name, without those that only garbage holds."""
    found = alive_variables()
    if len({variable.name for variable in found}) < len(found):
        del found
        gc.collect()
        found = alive_variables()
    return found


class Saver:
    """Saves and restores variables by name.

    `variables` is a variable, a list, or a dict of names in the checkpoint; without it, every variable that is alive
    when saving or restoring, or with a session every one of its graph. A graph's own variables need the session whose
    values are meant. Of more than `max_to_keep` checkpoints in a directory the oldest is deleted (0 or None:
    none is). Raises InvalidArgument for two variables of one name.
    """

    def __init__(
        self,
        variables: Variable | Iterable[Variable] | Mapping[str, Variable] | None = None,
        max_to_keep: int | None = 5,
    ) -> None:
        self._variables = variables if variables is None or isinstance(variables, Mapping) else _listed(variables)
        if variables is not None:
            self._named()
        self.max_to_keep = max_to_keep

    def _named(self, session: Session | None = None) -> dict[str, Variable]:
        if isinstance(self._variables, Mapping):
            for value in self._variables.values():
                _require_variable(value)
            return dict(self._variables)
        known = _alive if session is None else session.variables
        listed = known() if self._variables is None else self._variables
        named: dict[str, Variable] = {}
        for variable in listed:
            _require_variable(variable)
            if named.setdefault(variable.name, variable) is not variable:
                raise InvalidArgument(
                    f"two variables are called {variable.name!r}", hint="give the Saver a dict of names and variables"
                )
        return named

    def save(self, directory: Path, step: int, session: Session | None = None) -> str:
        """Write a checkpoint `DIRECTORY/ckpt-STEP` and return its path. With a session all values are of one moment.

        Raises InvalidArgument without variables, and for a step that is no whole number from 0 on, FailedPrecondition
        for a variable without a value.
        """
        named = self._named(session)
        if session is None:
            arrays = {name: variable.numpy() for name, variable in named.items()}
        else:
            arrays = {name: np.asarray(value) for name, value in session.run(named).items()}
        return checkpoint.save(str(directory), step, arrays, self.max_to_keep)

    def restore(self, path: Path, session: Session | None = None) -> None:
        """Set the variables, in the session where there is one, from the checkpoint at `path`. Nothing is set unless
        all fit.

        Raises NotFound for a missing checkpoint or name, InvalidArgument for another shape, InvalidType for another
        dtype, DataLoss for a damaged file.
        """
        if session is None and current() is not None:
            raise FailedPrecondition(
                "variables can't be restored while a function is traced",
                op="Saver.restore",
                location=locations.describe(locations.capture()),
            )
        named = self._named(session)
        arrays = checkpoint.restore(str(path), named)
        for name, variable in named.items():
            variable.check_fits(arrays[name])
        for name, variable in named.items():
            (variable.state if session is None else session.state_of(variable)).assign(arrays[name])


def _require_variable(value: object) -> None:
    if not isinstance(value, Variable):
        raise InvalidType(f"a Saver takes variables, got {value!r}")


def _listed(variables: Iterable[Variable] | Variable) -> list[Variable]:
    return [variables] if isinstance(variables, Variable) else list(variables)


def latest_checkpoint(directory: Path) -> str | None:
    """The path of the newest checkpoint in `directory`, or None."""
    return checkpoint.latest_checkpoint(str(directory))
