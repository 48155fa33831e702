"""How a function runs: which compiled programs are called on which values, as plain data, in memory and as JSON.

Values are numbered: first the function's inputs, then the results of each call in turn.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfc.backends.xla import Signature, Spec
from dfc.errors import DataLoss
from dfc.ir.dtypes import as_dtype

Frame = tuple[str, ...]
"""Where in loops a call is: the names of the frames around it, the outermost first. Empty outside of loops."""


@dataclass(frozen=True)
class ProgramCall:
    """One island: a program that a device runs.

    `state` names its variables, the first `n_written` of which it writes; of these, `overwritten` indexes those whose
    value before does not matter, so that they need none. `inputs` are the values that follow them as arguments.
    `signature` gives the program's arguments and results, and which memory is handed over. `after` are the calls,
    by their place in the plan, that must have happened before, beside those whose values it takes. `frame` is where it
    runs, once an iteration.
    """

    state: tuple[str, ...]
    n_written: int
    inputs: tuple[int, ...]
    signature: Signature
    overwritten: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    frame: Frame = ()

    @property
    def n_results(self) -> int:
        return len(self.signature.results) - self.n_written


@dataclass(frozen=True)
class LateCall:
    """An island with sizes that are known only when it is called: those of its inputs, and lengths of loops, which
    whoever calls it chooses. As `ProgramCall`, without a signature."""

    state: tuple[str, ...]
    n_written: int
    inputs: tuple[int, ...]
    n_results: int
    overwritten: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    frame: Frame = ()


@dataclass(frozen=True, eq=False)
class HostValue:
    """A value that is known before the function is called, such as a string constant."""

    value: np.ndarray[Any, Any]
    n_results: int = 1


@dataclass(frozen=True)
class HostCall:
    """An op that the host runs. `op` is its place among the host's ops of the function; `after` and `frame` are as of a
    program. A merge may take values of later calls, that give them to its next iteration."""

    op: int
    inputs: tuple[int, ...]
    n_results: int
    after: tuple[int, ...] = ()
    frame: Frame = ()


@dataclass(frozen=True)
class Plan:
    """The calls in order, and the values that the function returns."""

    n_inputs: int
    calls: tuple[ProgramCall | LateCall | HostValue | HostCall, ...]
    outputs: tuple[int, ...]

    @property
    def programs(self) -> list[ProgramCall]:
        """The compiled programs, in order: the K-th has the K-th file in an artifact."""
        return [call for call in self.calls if isinstance(call, ProgramCall)]

    @property
    def of_device(self) -> list[ProgramCall | LateCall]:
        """The islands, in order."""
        return [call for call in self.calls if isinstance(call, ProgramCall | LateCall)]

    @property
    def variables(self) -> list[str]:
        """The variables that are read or written, each once."""
        return list(dict.fromkeys(name for call in self.of_device for name in call.state))

    @property
    def written(self) -> list[str]:
        """The variables that are written, each once."""
        return list(dict.fromkeys(name for call in self.of_device for name in call.state[: call.n_written]))


def _spec_json(spec: Spec) -> list[Any]:
    return [as_dtype(spec[1]).name, list(spec[0])]


def _spec(entry: Any) -> Spec:
    dtype, shape = entry
    return tuple(int(size) for size in shape), as_dtype(dtype).numpy


def _value_json(value: np.ndarray[Any, Any]) -> dict[str, Any]:
    """A constant: strings as Latin-1, numbers as their bytes in C order."""
    if value.dtype == object:
        return {"strings": [bytes(e).decode("latin-1") for e in value.ravel()], "shape": list(value.shape)}
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"dtype": as_dtype(value.dtype).name, "data": data, "shape": list(value.shape)}


def _value(entry: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    if "dtype" in entry:
        data = base64.b64decode(entry["data"], validate=True)
        return np.frombuffer(data, as_dtype(entry["dtype"]).numpy).reshape(entry["shape"])
    value = np.empty(len(entry["strings"]), object)
    value[:] = [text.encode("latin-1") for text in entry["strings"]]
    return value.reshape(entry["shape"])


def to_json(plan: Plan) -> dict[str, Any]:
    """The plan without its host ops' code: those have no place in an artifact. The calls run in order."""
    calls: list[dict[str, Any]] = []
    for call in plan.calls:
        if isinstance(call, ProgramCall):
            signature = call.signature
            calls.append(
                {
                    "state": list(call.state),
                    "n_written": call.n_written,
                    "inputs": list(call.inputs),
                    "arguments": [_spec_json(spec) for spec in signature.inputs],
                    "results": [_spec_json(spec) for spec in signature.results],
                    "donated": sorted(signature.donated.items()),
                    "overwritten": list(call.overwritten),
                }
            )
        else:
            assert isinstance(call, HostValue), "the writer refuses other host ops"
            calls.append(_value_json(call.value))
    return {"n_inputs": plan.n_inputs, "calls": calls, "outputs": list(plan.outputs)}


def from_json(content: Mapping[str, Any], source: str) -> Plan:
    """The plan that `to_json` wrote. Raises DataLoss, naming `source`, for anything else."""
    try:
        calls: list[ProgramCall | HostValue] = []
        for entry in content["calls"]:
            if "shape" in entry:
                calls.append(HostValue(_value(entry)))
                continue
            signature = Signature(
                inputs=tuple(map(_spec, entry["arguments"])),
                results=tuple(map(_spec, entry["results"])),
                n_state=len(entry["state"]),
                n_new_state=entry["n_written"],
                donated={int(a): int(b) for a, b in entry["donated"]},
            )
            calls.append(
                ProgramCall(
                    tuple(entry["state"]),
                    entry["n_written"],
                    tuple(entry["inputs"]),
                    signature,
                    tuple(entry.get("overwritten", ())),
                )
            )
        plan = Plan(content["n_inputs"], tuple(calls), tuple(content["outputs"]))
        _check(plan)
        return plan
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise DataLoss(f"{source} is damaged: {error}") from error


def _check(plan: Plan) -> None:
    known = plan.n_inputs
    for call in plan.calls:
        inputs = () if isinstance(call, HostValue) else call.inputs
        if any(not 0 <= value < known for value in inputs):
            raise ValueError("a call needs a value that comes later")
        known += call.n_results
    if any(not 0 <= value < known for value in plan.outputs):
        raise ValueError("it returns a value that no call gives")
