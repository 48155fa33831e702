"""`dfc.train.Saver`: variables to checkpoints and back (spec rows I2 to I4)."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType
from dfc.frontend.generator import DEFAULT_NAME, default_generator
from dfc.frontend.module import Module
from dfc.frontend.restored import Restored, is_beside
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


class Holder(Protocol):
    """A module, an optimiser, averages: what has variables, and an optimiser more of them after its first step."""

    @property
    def variables(self) -> Sequence[Variable]: ...


Saved = Variable | Holder


class Saver:
    """Saves and restores variables by name.

    `variables` is a variable, a module, an optimiser, a list of these, or a dict of names in the checkpoint and
    variables; without it, every variable that is alive when saving or restoring, or with a session every one of its
    graph. A graph's own variables need the session whose values are meant. Of more than `max_to_keep` checkpoints in a
    directory the oldest is deleted (0 or None: none is). Raises InvalidArgument for two variables of one name.

    An optimiser makes its state at its first step, which may come after the checkpoint was restored: a Saver of all
    variables, and one that is given the optimiser, keep what a checkpoint has of it until then.
    """

    def __init__(
        self,
        variables: Saved | Iterable[Saved] | Mapping[str, Variable] | None = None,
        max_to_keep: int | None = 5,
    ) -> None:
        self._variables = variables if variables is None or isinstance(variables, Mapping) else _listed(variables)
        if variables is not None:
            self._named()
        self.max_to_keep = max_to_keep

    @property
    def _takes_state(self) -> bool:
        """Whether state that is made after a checkpoint has been restored is meant, too."""
        if self._variables is None or isinstance(self._variables, Mapping):
            return self._variables is None
        return any(not isinstance(each, Variable | Module) for each in self._variables)

    def _named(self, session: Session | None = None) -> dict[str, Variable]:
        if isinstance(self._variables, Mapping):
            for value in self._variables.values():
                _require_variable(value)
            return dict(self._variables)
        known = _alive if session is None else session.variables
        listed = known() if self._variables is None else [v for each in self._variables for v in _variables_of(each)]
        named: dict[str, Variable] = {}
        for variable in listed:
            if named.setdefault(variable.name, variable) is not variable:
                raise InvalidArgument(
                    f"two variables are called {variable.name!r}", hint="give the Saver a dict of names and variables"
                )
        return named

    def save(self, directory: Path, step: int, session: Session | None = None) -> str:
        """Write a checkpoint `DIRECTORY/ckpt-STEP` and return its path. With a session all values are of one moment.

        Raises InvalidArgument without variables, and for a step that is no whole number from 0 on, FailedPrecondition
        for a variable without a value. Warns where a checkpoint was restored whose state of an optimiser nothing has
        taken yet, and which this one so lacks.
        """
        named = self._named(session)
        if self._takes_state:
            for restored in dict.fromkeys(variable.restored for variable in named.values()):
                if restored is not None:
                    restored.tell_of_loss()
        if session is None:
            arrays = {name: variable.numpy() for name, variable in named.items()}
        else:
            arrays = {name: np.asarray(value) for name, value in session.run(named).items()}
        return checkpoint.save(str(directory), step, arrays, self.max_to_keep)

    def restore(self, path: Path, session: Session | None = None) -> None:
        """Set the variables, in the session where there is one, from the checkpoint at `path`. Nothing is set unless
        all fit. State that an optimiser makes later begins with what the checkpoint has for it, outside of sessions and
        where the Saver is of all variables or was given an optimiser; where it begins anew, a warning says so.

        Raises NotFound for a missing checkpoint or name, InvalidArgument for another shape, InvalidType for another
        dtype, DataLoss for a damaged file. Warns where the Saver is of all variables and the checkpoint has others.
        """
        if session is None and current() is not None:
            raise FailedPrecondition(
                "variables can't be restored while a function is traced",
                op="Saver.restore",
                location=locations.describe(locations.capture()),
            )
        present = dict.fromkeys(checkpoint.names_in(str(path)))
        if self._variables is None and session is None and DEFAULT_NAME in present:
            default_generator()  # which is made at its first use: its state is wanted
        named = self._named(session)
        if any(name not in present for name in named):
            raise checkpoint.lacking(str(path), list(named), present)
        others = [name for name in present if name not in named]
        beside = [name for name in others if is_beside(name, named)]
        takes = self._takes_state and session is None
        arrays = checkpoint.restore(str(path), [*named, *(beside if takes else ())])
        for name, variable in named.items():
            variable.check_fits(arrays[name])
        for name, variable in named.items():
            (variable.state if session is None else session.state_of(variable)).assign(arrays[name])
        Restored(str(path), named, {name: arrays.get(name) for name in beside})
        if self._variables is None and (unknown := sorted(set(others) - set(beside))):
            locations.warn(
                f"the checkpoint {path} has names of no variable here, which are not restored: "
                f"{checkpoint.listed(unknown)}; dfc.train.Saver(variables) restores those that it is given",
                locations.capture(),
            )


def _require_variable(value: object) -> None:
    if not isinstance(value, Variable):
        raise InvalidType(f"a Saver takes variables, got {value!r}")


def _listed(variables: Iterable[Saved] | Saved) -> list[Saved]:
    return [variables] if _is_saved(variables) else list(variables)  # type: ignore[arg-type, list-item]


def _is_saved(value: object) -> bool:
    return isinstance(value, Variable) or hasattr(value, "variables")


def _variables_of(value: Saved) -> Sequence[Variable]:
    if not isinstance(value, Variable) and _is_saved(value):
        return list(value.variables)
    _require_variable(value)
    return [value]  # type: ignore[list-item]


def latest_checkpoint(directory: Path) -> str | None:
    """The path of the newest checkpoint in `directory`, or None."""
    return checkpoint.latest_checkpoint(str(directory))
