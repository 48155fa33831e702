"""What the executor runs: nodes, and where each value goes.

A value is delivered: each use of it is a slot, the slots of a node stand in a row, and a node may run when all its
slots are filled and the nodes that it must follow are done. A value lives until its last user takes it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dfc.backends import xla
from dfc.errors import DfcError, InvalidArgument
from dfc.runtime.plan import HostValue, LateCall, Plan, ProgramCall

Values = list[Any]
Done = Callable[[Any], None]
SYNC, HOST, BEGINS = range(3)
"""How a node runs: at once on values as they are; on NumPy arrays; by an attempt that may take its time."""
ALL = sys.maxsize


class Attempt(Protocol):
    """Something under way: `runtime/attempts.py`."""

    owner: Any
    result: Any
    error: DfcError | None


@dataclass(frozen=True, eq=False)
class HostOp:
    """What the host does for an op called `name` that the user wrote at `where`.

    `run` takes the first `arrays` of its values as NumPy arrays and the others as they are. With `begin` the op is an
    attempt: it is made from the values and from what to call when it is over, and the executor submits it to its owner;
    `finish` makes the results of the attempt's. An op with a `value` does nothing: that is its one result.
    """

    name: str
    where: str
    run: Callable[[Values], Sequence[Any]] | None = None
    begin: Callable[[Values, Done], Attempt] | None = None
    finish: Callable[[Any], Sequence[Any]] | None = None
    value: Any = None
    arrays: int = ALL


@dataclass(frozen=True, eq=False)
class DeviceOp:
    """A compiled program bound to its variables, and where the user wrote what is in it."""

    run: Callable[[Values], Values]
    where: str = ""


class Node:
    """An island or a host op in a flow."""

    __slots__ = (
        *("arrays", "begin", "blank", "controls", "edges", "finish", "first", "index", "last", "mode", "name"),
        *("pending", "run", "where"),
    )

    def __init__(self, index: int, name: str, where: str) -> None:
        self.index, self.name, self.where = index, name, where
        self.mode, self.arrays = SYNC, 0
        self.run: Callable[[Values], Sequence[Any]] = list
        self.begin: Callable[[Values, Done], Attempt] | None = None
        self.finish: Callable[[Any], Sequence[Any]] | None = None
        self.first = self.last = 0  # its slots
        self.blank: tuple[Any, ...] = ()
        self.pending = 0  # slots and nodes that it waits for
        self.edges: tuple[Edges, ...] = ()
        """Of each result: the slots that it goes to, and whose they are."""
        self.controls: tuple[Node, ...] = ()
        """Nodes that wait for this one without taking a value."""

    def __repr__(self) -> str:
        return f"{self.name} at {self.where}" if self.where else self.name


Edges = tuple[tuple[int, Node], ...]


class Absent:
    """Stands in a slot whose value has not come."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


class Flow:
    """A plan, laid out for the executor. `programs` and `host_ops` are what its calls run; `device` is where inputs of
    islands go that the host gives.

    Raises InvalidArgument for a call whose operands nothing gives (row E12).
    """

    def __init__(
        self,
        plan: Plan,
        programs: Sequence[DeviceOp],
        host_ops: Sequence[HostOp],
        device: Any,
        name: str,
    ) -> None:
        self.plan, self.name, self._device = plan, name, device
        self.nodes: list[Node] = []
        self._uses: dict[int, list[tuple[int, Node]]] = {}  # of each value
        self._known: dict[int, Any] = {}  # results of calls that need not run
        self.n_slots = 0
        self.kept: set[int] = set()
        """Inputs that ops of the host take, which may keep them: as elements of a queue, say."""
        made: list[tuple[Node | None, int]] = []  # of each call: its node, and the number of its first result
        number = plan.n_inputs
        host_values = set(range(plan.n_inputs))  # that may be NumPy arrays
        following = iter(programs)
        for call in plan.calls:
            node = None
            if isinstance(call, HostValue):
                self._known[len(made)] = call.value
                host_values.add(number)
            elif isinstance(call, ProgramCall | LateCall):
                program = next(following)
                node = self._node(call.inputs, number, name, program.where)
                self._set_program(node, program.run, [i for i, v in enumerate(call.inputs) if v in host_values])
            elif (op := host_ops[call.op]).value is not None:
                self._known[len(made)] = op.value
            else:
                node = self._node(call.inputs, number, op.name, op.where)
                node.mode = BEGINS if op.begin is not None else HOST if op.arrays else SYNC
                node.begin, node.finish, node.run, node.arrays = op.begin, op.finish, op.run or node.run, op.arrays
                host_values.update(range(number, number + call.n_results))
                self.kept.update(value for value in call.inputs if value < plan.n_inputs)
            made.append((node, number))
            number += call.n_results
        self.end = self._node(plan.outputs, number, "outputs", "")
        self.end.pending += 1  # it never runs: outputs stay in its slots
        self._connect(plan, made)

    def _node(self, inputs: Sequence[int], known: int, name: str, where: str) -> Node:
        missing = sum(not 0 <= value < known for value in inputs)
        if missing:
            raise InvalidArgument(
                f"Incomplete graph, missing {missing} inputs for {name}", op=self.name, location=where
            )
        node = Node(len(self.nodes), name, where)
        self.nodes.append(node)
        node.first, node.last = self.n_slots, self.n_slots + len(inputs)
        node.blank = (ABSENT,) * len(inputs)
        node.pending = len(inputs)
        for slot, value in enumerate(inputs, self.n_slots):
            self._uses.setdefault(value, []).append((slot, node))
        self.n_slots = node.last
        return node

    def _set_program(self, node: Node, run: Callable[[Values], Values], host_inputs: list[int]) -> None:
        node.run = run
        if host_inputs:
            device = self._device

            def with_uploads(values: Values) -> Values:
                for i in host_inputs:
                    value = values[i]
                    if isinstance(value, np.ndarray):
                        values[i] = xla.to_device(value, device)
                return run(values)

            node.run = with_uploads

    def _connect(self, plan: Plan, made: list[tuple[Node | None, int]]) -> None:
        followers: dict[int, list[Node]] = {}
        for call, (node, number) in zip(plan.calls, made, strict=True):
            if node is None or isinstance(call, HostValue):
                continue
            node.edges = tuple(self._edges(value) for value in range(number, number + call.n_results))
            for index in call.after:
                before = made[index][0]
                if before is not None:
                    followers.setdefault(before.index, []).append(node)
                    node.pending += 1
        for node in self.nodes:
            node.controls = tuple(followers.get(node.index, ()))
        self.inputs = [self._edges(value) for value in range(plan.n_inputs)]
        self.constants = [(value, self._edges(made[place][1])) for place, value in self._known.items()]
        self.pending = [node.pending for node in self.nodes]
        self.roots = [node for node in self.nodes if not node.pending]

    def _edges(self, value: int) -> Edges:
        return tuple(self._uses.get(value, ()))


def on_host(value: Any) -> Any:
    """The value as a NumPy array, once it is computed; handles of resources as they are."""
    if isinstance(value, np.ndarray) or not hasattr(value, "is_fully_addressable"):
        return value
    return xla.to_numpy(value, copy=False)


def with_arrays(values: Values, n: int) -> Values:
    """The first `n` values as NumPy arrays, once they are computed, and the others as they are."""
    return [*map(on_host, values[:n]), *values[n:]]


def is_computed(value: Any) -> bool:
    """Whether taking the value does not wait for a device."""
    return not hasattr(value, "is_ready") or bool(value.is_ready())
