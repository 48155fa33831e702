"""What the executor runs: nodes, and where each value goes.

A value is delivered: each use of it is a slot, the slots of a node stand in a row, and a node may run when all its
slots are filled and the nodes that it must follow are done. A value lives until its last user takes it.

Slots are an iteration's: of a loop's frame (`runtime/frames.py`), or the one of what stands outside of all loops. A
`Layout` has what is the same in all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from dfc.backends import xla
from dfc.errors import DfcError, InvalidArgument
from dfc.runtime.plan import Frame, HostCall, HostValue, LateCall, Plan, ProgramCall
from dfc.runtime.transports import Transport

Values = list[Any]
Done = Callable[[Any], None]
SYNC, HOST, BEGINS, STEP, SWITCH, MERGE, ENTER, EXIT, NEXT, PIVOT, TRIGGER, SEND, RECV = range(13)
"""How a node runs: at once on values as they are; on NumPy arrays; by an attempt that may take its time; as the first,
with what the step keeps before the values, and perhaps by an attempt. Then come gates, see `runtime/frames.py`, and
those that run though something is dead: control triggers, and the ends of transfers."""
ALL = sys.maxsize


class Attempt(Protocol):
    """Something under way: `runtime/attempts.py`."""

    owner: Any
    result: Any
    error: DfcError | None


@dataclass(frozen=True)
class Gate:
    """What a host op is that says where values go: its `mode`, of an enter the frame that it leads into, and of an end
    of a transfer between devices the key in the rendezvous, without the iteration, the tensor's name, and how it is
    brought."""

    mode: int
    frame: str = ""
    is_constant: bool = False
    parallel: int = 1
    key: str = ""
    tensor: str = ""
    transport: Transport | None = None


@dataclass(frozen=True, eq=False)
class HostOp:
    """What the host does for an op called `name` that the user wrote at `where`.

    `run` takes the first `arrays` of its values as NumPy arrays and the others as they are. With `begin` the op is an
    attempt: it is made from the values and from what to call when it is over, and the executor submits it to its owner;
    `finish` makes the results of the attempt's. With `step` it gets what the step keeps before the values, and what to
    call after; it returns its results or an attempt. An op with a `value` does nothing: that is its one result. A
    `gate` is the executor's own.
    """

    name: str
    where: str
    run: Callable[[Values], Sequence[Any]] | None = None
    begin: Callable[[Values, Done], Attempt] | None = None
    finish: Callable[[Any], Sequence[Any]] | None = None
    value: Any = None
    arrays: int = ALL
    step: Callable[[Any, Values, Done], Any] | None = None
    gate: Gate | None = None

    @property
    def mode(self) -> int:
        """How it runs."""
        if self.gate is not None:
            return self.gate.mode
        if self.step is not None:
            return STEP
        return BEGINS if self.begin is not None else HOST if self.arrays else SYNC


class Label(NamedTuple):
    """What is in a program, in short, and the line where the user wrote the first of what the text names."""

    text: str
    line: str = ""


@dataclass(frozen=True, eq=False)
class DeviceOp:
    """A compiled program bound to its variables, where the user wrote what is in it, and what that is in short."""

    run: Callable[[Values], Values]
    where: str = ""
    label: Callable[[], Label] = lambda: Label("island")


class Node:
    """An island, a host op or a gate in a flow."""

    __slots__ = (
        *("arrays", "begin", "blank", "controls", "edges", "finish", "first", "gate", "index", "inside", "last"),
        *("layout", "merges", "mode", "name", "run", "step", "where"),
        *("dead", "dead_merges", "numbers", "ports"),
    )

    def __init__(self, layout: Layout, name: str, where: str, mode: int = SYNC) -> None:
        self.layout, self.name, self.where, self.mode = layout, name, where, mode
        self.index, self.arrays = len(layout.nodes), 0
        self.run: Callable[[Values], Sequence[Any]] = list
        self.begin: Callable[[Values, Done], Attempt] | None = None
        self.step: Callable[[Any, Values, Done], Any] | None = None
        self.finish: Callable[[Any], Sequence[Any]] | None = None
        self.gate: Gate | None = None
        self.inside: Layout | None = None
        """Of an enter: where it leads."""
        self.first = self.last = 0  # its slots
        self.blank: tuple[Any, ...] = ()
        self.edges: tuple[Edges, ...] = ()
        """Of each result: the slots that it goes to, and whose they are."""
        self.controls: tuple[Node, ...] = ()
        """Nodes that wait for this one without taking a value."""
        self.merges: tuple[Edges, ...] = ()
        """Of each result: the merges that it goes to, and as which operand of theirs. Empty where there are none."""
        self.dead: Edges = ()
        """All slots and nodes that hear of it if the node is dead, but exits and next_iterations, which stop that."""
        self.dead_merges: tuple[Node, ...] = ()
        self.ports: tuple[tuple[Edges, tuple[Node, ...]], ...] = ()
        """Of a switch, for each port: who hears of it if that port is dead."""
        self.numbers: Values = []
        """Of a merge: what it gives as the number of each operand."""

    def __repr__(self) -> str:
        return f"{self.name} at {self.where}" if self.where else self.name


Edges = tuple[tuple[int, Node], ...]


class Layout:
    """The nodes of a frame, or of what is outside of all frames, and what an iteration starts from."""

    def __init__(self, path: Frame = (), parent: Layout | None = None) -> None:
        self.path, self.parent = path, parent
        self.nodes: list[Node] = []
        self.slots: list[Any] = []
        """Absent values, but for constants."""
        self.pending: list[int] = []
        """Of each node: how many slots and nodes it waits for; of a merge, how many operands may still come."""
        self.first: list[int] = []
        """The same in the first iteration, which gets nothing from an earlier one."""
        self.roots: list[Node] = []
        """Nodes that lack nothing when an iteration starts."""
        self.merging: list[tuple[Node, int, Any]] = []
        """Constants that merges take: the merge, the number of the operand, the value."""
        self.exits: list[Node] = []
        self.n_enters = 0
        self.parallel = 0
        """How many iterations are under way at once, at most."""


class Absent:
    """Stands in a slot whose value has not come."""

    def __repr__(self) -> str:
        return "absent"


class Dead:
    """Stands for a value that will not come: it is on a way that was not taken."""

    def __repr__(self) -> str:
        return "dead"


ABSENT, DEAD = Absent(), Dead()


class Flow:
    """A plan, laid out for the executor. `programs` and `host_ops` are what its calls run; `device` is where inputs of
    islands go that the host gives; `outputs` are the names of the outputs, for errors.

    Raises InvalidArgument for a call whose operands nothing gives (row E12).
    """

    def __init__(
        self,
        plan: Plan,
        programs: Sequence[DeviceOp],
        host_ops: Sequence[HostOp],
        device: Any,
        name: str,
        outputs: Sequence[str] = (),
    ) -> None:
        self.plan, self.name, self.output_names, self.device = plan, name, outputs, device
        self.place = ""
        """The device's name, where timelines note what it does."""
        self.is_gated = any(op.mode >= STEP for op in host_ops)
        """Whether it needs the executor of `runtime/frames.py`."""
        self.root = Layout()
        self._layouts: dict[Frame, Layout] = {(): self.root}
        self._uses: dict[int, list[tuple[int, Node]]] = {}  # of each value
        self._merged: dict[int, list[tuple[int, Node]]] = {}  # of each value: the merges that take it
        self._programs: set[Node] = set()
        self.kept: set[int] = set()
        """Inputs that ops of the host take, which may keep them: as elements of a queue, say."""
        made: list[tuple[Node | None, int]] = []  # of each call: its node, and the number of its first result
        known: list[tuple[int, Any]] = []  # results of calls that need not run
        number = plan.n_inputs
        host_values = set(range(plan.n_inputs))  # that may be NumPy arrays
        later = self._from_earlier_iterations(host_ops)
        following = iter(programs)
        for call in plan.calls:
            node = None
            if isinstance(call, HostValue):
                known.append((number, call.value))
                host_values.add(number)
            elif isinstance(call, ProgramCall | LateCall):
                program = next(following)
                node = Node(self._layout(call.frame), name, program.where)
                self._place(node, call.inputs, call.after, number)
                self._set_program(node, program.run, [i for i, v in enumerate(call.inputs) if v in host_values])
            elif (op := host_ops[call.op]).value is not None:
                known.append((number, op.value))
            else:
                node = self._host_node(call, op, number, later)
                host_values.update(range(number, number + call.n_results))
                self.kept.update(value for value in call.inputs if value < plan.n_inputs)
            made.append((node, number))
            number += call.n_results
        self.end = Node(self.root, "outputs", "")
        self._place(self.end, plan.outputs, (), number)
        self.root.pending[self.end.index] += 1  # it never runs: outputs stay in its slots
        self._connect(plan, made, known)

    def _layout(self, path: Frame) -> Layout:
        found = self._layouts.get(path)
        if found is None:
            found = self._layouts[path] = Layout(path, self._layout(path[:-1]))
        return found

    def _from_earlier_iterations(self, host_ops: Sequence[HostOp]) -> frozenset[int]:
        """The values that merges take of the iteration before."""
        if not self.is_gated:
            return frozenset()
        found, number = set(), self.plan.n_inputs
        for call in self.plan.calls:
            if isinstance(call, HostCall) and (gate := host_ops[call.op].gate) is not None and gate.mode == NEXT:
                found.add(number)
            number += call.n_results
        return frozenset(found)

    def _host_node(self, call: HostCall, op: HostOp, number: int, later: frozenset[int]) -> Node:
        layout = self._layout(call.frame)
        node = Node(layout, op.name, op.where, op.mode)
        node.begin, node.finish, node.step, node.run = op.begin, op.finish, op.step, op.run or node.run
        node.arrays = op.arrays
        node.gate = gate = op.gate
        if gate is not None and gate.mode == MERGE:
            self._place_merge(node, call.inputs, number, later)
            return node
        self._place(node, call.inputs, call.after, number)
        if gate is not None and gate.mode == ENTER:
            node.inside = inside = self._layout((*call.frame, gate.frame))
            inside.n_enters += 1
            inside.parallel = min(inside.parallel or gate.parallel, gate.parallel)
        elif gate is not None and gate.mode == EXIT:
            layout.exits.append(node)
        return node

    def _place(self, node: Node, inputs: Sequence[int], after: Sequence[int], known: int) -> None:
        """Give the node its slots. `known` is how many values there are so far."""
        self._require_given(node, sum(not 0 <= value < known for value in inputs))
        layout = node.layout
        node.first = len(layout.slots)
        for slot, value in enumerate(inputs, node.first):
            self._uses.setdefault(value, []).append((slot, node))
        node.blank = (ABSENT,) * len(inputs)
        layout.slots += node.blank
        node.last = len(layout.slots)
        self._add(node, len(inputs), len(inputs))

    def _place_merge(self, node: Node, inputs: Sequence[int], known: int, later: frozenset[int]) -> None:
        """A merge has one slot, for the operand that comes and its number."""
        layout = node.layout
        self._require_given(node, sum(not 0 <= value < known and value not in later for value in inputs))
        for index, value in enumerate(inputs):
            self._merged.setdefault(value, []).append((index, node))
        node.first = len(layout.slots)
        node.blank = (ABSENT,)
        layout.slots += node.blank
        node.last = len(layout.slots)
        n_later = sum(value in later for value in inputs)
        self._add(node, n_later or len(inputs), len(inputs) - n_later)

    def _require_given(self, node: Node, missing: int) -> None:
        if missing:
            raise InvalidArgument(
                f"Incomplete graph, missing {missing} inputs for {node.name}", op=self.name, location=node.where
            )

    def _add(self, node: Node, pending: int, first: int) -> None:
        layout = node.layout
        layout.nodes.append(node)
        layout.pending.append(pending)
        layout.first.append(first)

    def _set_program(self, node: Node, run: Callable[[Values], Values], host_inputs: list[int]) -> None:
        self._programs.add(node)
        node.run = run
        if host_inputs:
            device = self.device

            def with_uploads(values: Values) -> Values:
                for i in host_inputs:
                    values[i] = xla.placed(values[i], device)
                return run(values)

            node.run = with_uploads

    def _connect(self, plan: Plan, made: list[tuple[Node | None, int]], known: list[tuple[int, Any]]) -> None:
        followers: dict[Node, list[Node]] = {}
        for call, (node, number) in zip(plan.calls, made, strict=True):
            if node is None or isinstance(call, HostValue):
                continue
            node.edges = tuple(self._edges(value) for value in range(number, number + call.n_results))
            for index in call.after:
                before = made[index][0]
                if before is not None:
                    followers.setdefault(before, []).append(node)
                    node.layout.pending[node.index] += 1
                    node.layout.first[node.index] += 1
        for node, after in followers.items():
            node.controls = tuple(after)
        self.inputs = [self._edges(value) for value in range(plan.n_inputs)]
        for value, constant in known:
            for slot, node in self._edges(value):
                node.layout.slots[slot] = constant
                node.layout.pending[node.index] -= 1
                node.layout.first[node.index] -= 1
        if self.is_gated:
            self._connect_gates(plan, made, known)
        for layout in self._layouts.values():
            layout.roots = [n for n in layout.nodes if not layout.pending[n.index] and n.mode != MERGE]

    def _edges(self, value: int) -> Edges:
        return tuple(self._uses.get(value, ()))

    def dead_output(self, index: int) -> InvalidArgument:
        """The error for an output that is dead."""
        slot = self.end.first + index
        nodes = (node for layout in self._layouts.values() for node in layout.nodes)
        owner = next((n for n in nodes if (slot, self.end) in (e for edges in n.edges for e in edges)), None)
        name = f" {self.output_names[index]!r}" if index < len(self.output_names) else ""
        left = owner is not None and owner.mode == EXIT
        return InvalidArgument(
            f"Retval[{index}] does not have value: the tensor{name} is dead, on a branch that was not taken"
            f"{', or of a loop that it never left' if left else ''}",
            location="" if owner is None else owner.where,
            hint="the merge of a loop needs its back edge: set_back_edge" if left else "",
        )

    # ---- gates

    def _connect_gates(self, plan: Plan, made: list[tuple[Node | None, int]], known: list[tuple[int, Any]]) -> None:
        for layout in self._layouts.values():
            layout.slots.append(ABSENT)  # for what a node hears without taking it
        for call, (node, number) in zip(plan.calls, made, strict=True):
            if node is not None:
                node.merges = tuple(tuple(self._merged.get(v, ())) for v in range(number, number + call.n_results))
        for call, (node, number) in zip(plan.calls, made, strict=True):
            if node is None:
                continue
            hears = tuple(zip(map(_hearing, node.edges), (tuple(n for _, n in m) for m in node.merges), strict=True))
            followers = tuple((len(n.layout.slots) - 1, n) for n in node.controls)
            node.dead = (*(edge for edges, _ in hears for edge in edges), *followers)
            node.dead_merges = tuple(n for _, each in hears for n in each)
            if node.mode == SWITCH:
                node.ports = hears
            elif isinstance(call, HostCall) and node.mode == MERGE:
                node.numbers = self._numbers(len(call.inputs), number + 1)
            elif node.mode == ENTER and self._is_for_device(number):
                node.run = self._upload
            if not any(node.merges):
                node.merges = ()
        self.merged_inputs = [tuple(self._merged.get(value, ())) for value in range(plan.n_inputs)]
        for value, constant in known:
            for index, node in self._merged.get(value, ()):
                node.layout.merging.append((node, index, constant))

    def _upload(self, values: Values) -> Values:
        """To the device, so that no iteration has to."""
        return [xla.placed(values[0], self.device)]

    def _numbers(self, count: int, value: int) -> Values:
        """What a merge gives as the numbers of its operands."""
        numbers: Values = [np.array(i, np.int32) for i in range(count)]
        return [xla.to_device(n, self.device) for n in numbers] if self._is_for_device(value) else numbers

    def _is_for_device(self, value: int) -> bool:
        """Whether an island takes the value, as it is or through gates."""
        seen, pending = set[Node](), [(self._edges(value), self._merged.get(value, ()))]
        while pending:
            edges, merges = pending.pop()
            for _, node in (*edges, *merges):
                if node in self._programs:
                    return True
                if node.gate is not None and node not in seen:
                    seen.add(node)
                    pending += list(zip(node.edges, node.merges or ((),) * len(node.edges), strict=True))
        return False


def _hearing(edges: Edges) -> Edges:
    """Those whose nodes hear of a dead value: not exits and next_iterations."""
    return tuple((slot, node) for slot, node in edges if node.mode not in (EXIT, NEXT))


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
