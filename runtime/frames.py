"""The executor of steps with gates: branches that are not taken, and loops that are cycles of the graph.

A value that does not come is *dead*. A node that has all it waits for, something dead among it, does not run: its
results and tokens are dead. Merges take what comes, and control triggers don't mind.

A loop's nodes stand in a frame. When a value enters it, the step has a `Frame`: one for each iteration around it. The
frame has iterations, `parallel` of them at most at a time, and each has slots and counts of its own. What a
next_iteration hands on while there is no room waits until the oldest iteration is over: when nothing of it is ready or
under way and the one before is over. With its last iteration a frame is over; what has not left it by then is dead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import monotonic
from typing import Any
from urllib.parse import quote

import numpy as np

from dfc.backends import xla
from dfc.errors import DeadlineExceeded, DfcError, Internal
from dfc.runtime.executor import Execution, Iteration, located
from dfc.runtime.flow import (
    DEAD,
    ENTER,
    EXIT,
    MERGE,
    NEXT,
    PIVOT,
    RECV,
    SEND,
    STEP,
    SWITCH,
    SYNC,
    TRIGGER,
    Edges,
    Flow,
    Layout,
    Node,
    Values,
    is_computed,
    on_host,
)
from dfc.runtime.in_thread import InThread
from dfc.runtime.kept import Kept
from dfc.runtime.rendezvous import Rendezvous
from dfc.runtime.timeline import RECORDING

MERGED = -(1 << 40)
"""How many operands a merge waits for that has got one."""
TRUE, FALSE = np.array(True), np.array(False)
SOON = 16
"""Iterations that begin meanwhile."""


class Turn(Iteration):
    """An iteration of a frame, or what is outside of all frames."""

    __slots__ = ("__weakref__", "_tag", "children", "dead", "frame", "next", "number", "outstanding")

    def __init__(self, frame: Frame | None, slots: Values, pending: list[int]) -> None:
        super().__init__(slots, pending)
        self.frame = frame
        self.dead = set[int]() if frame is None else frame.dead.copy()
        """The nodes of which something dead has come."""
        self.outstanding = 0
        """How many of its nodes are ready or under way, and of its frames not over."""
        self.next: Turn | None = None
        self.number: int = 0 if frame is None or frame.newest is None else frame.newest.number + 1
        self._tag = "" if frame is not None else "0:0"
        self.children: dict[Layout, Frame] = {}

    @property
    def tag(self) -> str:
        """The frame and the number of the iteration, as they stand in keys, the same on all devices."""
        if not self._tag:
            frame = self.frame
            assert frame is not None
            around = "" if frame.parent.frame is None else f"{frame.parent.tag.replace(':', '.')}/"
            self._tag = f"{around}{quote(frame.layout.path[-1])}:{self.number}"
        return self._tag


class Frame:
    """A loop under way."""

    __slots__ = (
        *("__weakref__", "dead", "deferred", "exited", "layout", "merging", "missing", "newest", "parent", "pending"),
        *("roots", "slots", "turns"),
    )

    def __init__(self, layout: Layout, parent: Turn) -> None:
        self.layout, self.parent = layout, parent
        self.missing = layout.n_enters
        """How many enters have not come."""
        # what later iterations start from, the constants that have entered included
        self.slots, self.pending, self.roots, self.merging = (
            layout.slots.copy(),
            layout.pending.copy(),
            layout.roots.copy(),
            layout.merging.copy(),
        )
        self.dead: set[int] = set()
        self.turns: deque[Turn] = deque()
        """Those that are not over, the oldest first."""
        self.newest: Turn | None = None
        self.deferred: list[tuple[Node, Any]] = []
        """What waits for there being room for one more."""
        self.exited: set[Node] = set()


class FramedExecution(Execution):
    """One step under way of a flow with gates; see the module."""

    def __init__(self, flow: Flow, rendezvous: Rendezvous | None = None) -> None:
        super().__init__(flow, Turn(None, flow.root.slots, flow.root.pending))
        self.kept = Kept()
        self._rendezvous = rendezvous
        self._unsure: list[tuple[Node, Turn, Any]] = []
        """What needs to know a condition that a device is still computing; and what has received a value that another
        device still computes: an island with it would keep what is behind it on this device waiting."""
        self._late: dict[str, list[tuple[Node, Turn, Any]]] = {}
        """The values by their source, where a thread waits for the first of them: a device computes in order."""
        self._predicate: Any = None
        self._taken = 0
        for node, index, value in flow.root.merging:
            self._merge(node, index, value, self._root)

    def feed(self, index: int, value: Any) -> None:
        self._give(value, self.flow.inputs[index], self.flow.merged_inputs[index], self._root)

    def has(self, wanted: Sequence[int]) -> bool:
        """As `Execution.has`, and nothing is held that others wait for."""
        return super().has(wanted) and not self.kept.holding

    def outputs(self, wanted: Sequence[int]) -> Values:
        """As `Execution.outputs`. Raises InvalidArgument for one that is dead."""
        found = super().outputs(wanted)
        for index, value in zip(wanted, found, strict=True):
            if value is DEAD:
                raise self.flow.dead_output(index)
        return found

    def close(self) -> None:
        super().close()
        self.kept.close()

    # ---- driving

    def proceed(self) -> None:
        while self._arrived:
            self._settle(self._arrived.popleft())
        if self._stop_with is not None and self.error is None:
            self.stop(self._stop_with)
        self._run_ready()

    def _run_ready(self) -> None:
        """Run what is ready, and what that makes ready. One function for speed: a call costs a third of a gate."""
        ready = self._ready
        node: Node = self.flow.end
        try:
            while ready:
                node, turn = ready.popleft()
                mode, slots, first, last = node.mode, turn.slots, node.first, node.last
                values = slots[first:last]
                slots[first:last] = node.blank
                made = -1
                if turn.dead and node.index in turn.dead and mode < TRIGGER:
                    if mode == ENTER:
                        self._enter(node, turn, DEAD)
                    else:
                        made += self._tell(node.dead, node.dead_merges, turn)
                elif mode == NEXT:
                    self._hand_on(node, turn, values[0])
                elif mode == SWITCH:
                    data, predicate = values
                    taken = 1 if predicate is TRUE else 0 if predicate is FALSE else self._truth(predicate)
                    if taken is None:
                        slots[first:last] = values
                        self._unsure.append((node, turn, predicate))
                        continue
                    made += self._give(data, node.edges[taken], node.merges[taken] if node.merges else (), turn)
                    edges, merges = node.ports[1 - taken]
                    if edges or merges:
                        made += self._tell(edges, merges, turn)
                else:
                    if mode == SYNC:
                        results = node.run(values)
                    elif mode == MERGE:
                        results = values[0]
                    else:
                        found = self._run_slowly(node, turn, values)
                        if found is None:
                            continue
                        results = found
                    pending = turn.pending
                    for value, edges in zip(results, node.edges, strict=True):
                        for slot, target in edges:
                            slots[slot] = value
                            left = pending[target.index] = pending[target.index] - 1
                            if not left:
                                ready.append((target, turn))
                                made += 1
                    if node.controls or node.merges:
                        made += self._spread_further(node, turn, results)
                turn.outstanding += made
                if not turn.outstanding:
                    self._finish(turn)
                if self._stop_with is not None:
                    self.stop(self._stop_with)
                    return
        except Exception as error:
            self.stop(located(error, node))

    def _run_slowly(self, node: Node, turn: Turn, values: Values) -> Sequence[Any] | None:
        """The results of what is rarer, or does more itself; None where they come later."""
        mode = node.mode
        if mode == PIVOT:
            taken = self._truth(values[0])
            if taken is None:
                turn.slots[node.first : node.last] = values
                self._unsure.append((node, turn, values[0]))
                return None
            return (TRUE if taken else FALSE,)
        if mode == STEP:
            assert node.step is not None
            results = node.step(self.kept, values, self._over)
            return results if isinstance(results, list | tuple) else self._begin(node, turn, results)
        if mode == TRIGGER:
            return ()
        if mode >= SEND:
            return self._transfer(node, turn, values)
        if mode not in (ENTER, EXIT):
            return self._run(node, turn, values)
        if mode == ENTER:
            self._enter(node, turn, node.run(values)[0])
        else:
            self._exit(node, turn, values[0])
        turn.outstanding -= 1
        if not turn.outstanding:
            self._finish(turn)
        return None

    def _transfer(self, node: Node, turn: Turn, values: Values) -> Sequence[Any] | None:
        """An end of a transfer, in any case of one with the same key on the other device."""
        assert node.gate is not None and self._rendezvous is not None
        key = node.gate.key + turn.tag
        if node.mode == SEND:
            is_dead = node.index in turn.dead
            for timeline in RECORDING:
                timeline.sent((id(self._rendezvous), key))
            self._rendezvous.send(key, None if is_dead else values[0], is_dead)
            return ()
        came = self._begin(node, turn, self._rendezvous.receive(key, self._over))
        if came is not None:
            self._propagate(node, turn, came)
        return None

    def _received(self, node: Node, turn: Turn, value: Any) -> Any:
        """What another device has sent, here."""
        gate = node.gate
        assert gate is not None and gate.transport is not None
        if value is DEAD:
            return value
        here = gate.transport.move(value, self.flow.device)
        for timeline in RECORDING:
            key = (id(self._rendezvous), gate.key + turn.tag)
            timeline.received(key, value, here, self.flow.place, gate.tensor, gate.transport.name)
        return here

    # ---- values

    def _deliver(self, value: Any, edges: Edges, iteration: Iteration) -> None:
        raise NotImplementedError("values of a step with gates go by `_give`")

    def _propagate(self, node: Node, iteration: Iteration, results: Sequence[Any]) -> None:
        assert isinstance(iteration, Turn)
        if node.mode == RECV:
            here = self._received(node, iteration, results[0])
            if not is_computed(results[0]):
                self._unsure.append((node, iteration, here))
                return
            made = self._into(node, here, iteration)
        else:
            made = self._spread(node, iteration, results)
        iteration.outstanding += made - 1
        if not iteration.outstanding:
            self._finish(iteration)

    def _spread(self, node: Node, turn: Turn, results: Sequence[Any]) -> int:
        """Give a node's results to who takes them. How many nodes are ready for that."""
        made = 0
        for value, edges in zip(results, node.edges, strict=True):
            made += self._give(value, edges, (), turn)
        return made + self._spread_further(node, turn, results)

    def _spread_further(self, node: Node, turn: Turn, results: Sequence[Any]) -> int:
        """Tell the nodes that wait for this one, and merges."""
        made, pending = 0, turn.pending
        for target in node.controls:
            left = pending[target.index] = pending[target.index] - 1
            if not left:
                self._ready.append((target, turn))
                made += 1
        if node.merges:
            for value, merges in zip(results, node.merges, strict=True):
                for index, target in merges:
                    made += self._merge(target, index, value, turn)
        return made

    def _give(self, value: Any, edges: Edges, merges: Edges, turn: Turn) -> int:
        """Give one value to who takes it. How many nodes are ready for that."""
        made = 0
        slots, pending = turn.slots, turn.pending
        for slot, target in edges:
            slots[slot] = value
            left = pending[target.index] = pending[target.index] - 1
            if not left:
                self._ready.append((target, turn))
                made += 1
        for index, target in merges:
            made += self._merge(target, index, value, turn)
        return made

    def _merge(self, target: Node, index: int, value: Any, turn: Turn) -> int:
        if turn.pending[target.index] < 0:
            raise Internal("Merge can not have more than one valid input.", op=target.name, location=target.where)
        turn.pending[target.index] = MERGED
        turn.slots[target.first] = (value, target.numbers[index])
        self._ready.append((target, turn))
        return 1

    def _tell(self, edges: Edges, merges: Sequence[Node], turn: Turn) -> int:
        """Give a dead value. How many nodes are ready for that."""
        made = 0
        slots, pending, dead = turn.slots, turn.pending, turn.dead
        for slot, target in edges:
            slots[slot] = DEAD
            dead.add(target.index)
            left = pending[target.index] = pending[target.index] - 1
            if not left:
                self._ready.append((target, turn))
                made += 1
        for target in merges:
            left = pending[target.index] = pending[target.index] - 1
            if not left:
                dead.add(target.index)
                self._ready.append((target, turn))
                made += 1
        return made

    # ---- conditions

    def _truth(self, value: Any) -> int | None:
        """1 or 0; None while a device computes it."""
        if value is TRUE:
            return 1
        if value is FALSE:
            return 0
        if value is not self._predicate:
            if not is_computed(value):
                return None
            self._predicate, self._taken = value, int(xla.truth(value))
        return self._taken

    @property
    def is_unsure(self) -> bool:
        return bool(self._unsure)

    def look(self) -> bool:
        unsure, self._unsure = self._unsure, []
        for node, turn, value in unsure:
            if is_computed(value):
                self._be_sure(node, turn, value)
            else:
                self._unsure.append((node, turn, value))
        return len(self._unsure) < len(unsure)

    def _be_sure(self, node: Node, turn: Turn, value: Any) -> None:
        """A value is known: run what needs to know it, or give it to who takes it."""
        if node.mode != RECV:
            self._ready.append((node, turn))
            return
        try:
            turn.outstanding += self._into(node, value, turn) - 1
            if not turn.outstanding:
                self._finish(turn)
        except Exception as error:
            self.stop(located(error, node))

    def wait_in_threads(self) -> None:
        unsure, self._unsure = self._unsure, []
        for node, turn, value in unsure:
            if node.mode != RECV:
                self._wait(node, turn, partial(_known, value))
                continue
            late = self._late.setdefault(_source(node), [])
            late.append((node, turn, value))
            if len(late) == 1:
                self._wait(node, turn, partial(_waited, value))

    def _wait(self, node: Node, turn: Turn, function: Callable[[], Any]) -> None:
        if self.error is None:
            try:
                self._begin(node, turn, InThread(function, self._over_in_thread, is_quick=True))
            except Exception as error:
                self.stop(located(error, node))

    def _no_longer_late(self, source: str) -> None:
        """The first value of a source has been computed, and perhaps others with it."""
        first, *others = self._late.pop(source)
        known, waiting = [first], list[tuple[Node, Turn, Any]]()
        for entry in others:
            (known if is_computed(entry[2]) else waiting).append(entry)
        if waiting:
            self._late[source] = waiting
            node, turn, value = waiting[0]
            self._wait(node, turn, partial(_waited, value))
        for node, turn, value in known:
            if self.error is None:
                self._be_sure(node, turn, value)

    def _settle(self, attempt: Any) -> None:
        found = self._in_flight.get(attempt)
        is_ours = found is not None and isinstance(attempt, InThread) and found[0].mode in (SWITCH, PIVOT, RECV)
        if found is None or self.error is not None or attempt.error is not None or not is_ours:
            super()._settle(attempt)
            return
        node, turn = self._in_flight.pop(attempt)
        (value,) = attempt.result
        if node.mode == RECV:
            self._no_longer_late(_source(node))
            return
        turn.slots[node.last - 1] = TRUE if value else FALSE
        self._ready.append((node, turn))

    # ---- frames

    def _enter(self, node: Node, turn: Turn, value: Any) -> None:
        gate, layout = node.gate, node.inside
        assert gate is not None and layout is not None
        frame = turn.children.get(layout)
        if frame is None:
            frame = turn.children[layout] = Frame(layout, turn)
            turn.outstanding += 1
            self._start(frame, layout.first)
        oldest = frame.turns[0]
        frame.missing -= 1
        if gate.is_constant:
            for each in frame.turns:
                each.outstanding += self._into(node, value, each)
            _keep_constant(frame, node, value)
        else:
            oldest.outstanding += self._into(node, value, oldest)
        if not frame.missing and not oldest.outstanding:
            self._finish(oldest)

    def _into(self, node: Node, value: Any, turn: Turn) -> int:
        """Give what a gate hands to another iteration, or a device to another, to who takes it there."""
        if value is DEAD:
            return self._tell(node.dead, node.dead_merges, turn)
        return self._give(value, node.edges[0], node.merges[0] if node.merges else (), turn)

    def _start(self, frame: Frame, pending: list[int]) -> Turn:
        """A new iteration."""
        if self._held is not None:
            self._hold_on()
        if self.deadline is not None and monotonic() >= self.deadline:
            raise DeadlineExceeded("the time limit passed while the step went through a loop", op=self.flow.name)
        turn = Turn(frame, frame.slots, pending)
        turn.outstanding = len(frame.roots)
        self._ready.extend((node, turn) for node in frame.roots)
        for node, index, value in frame.merging:
            turn.outstanding += self._merge(node, index, value, turn)
        if frame.newest is not None:
            frame.newest.next = turn
        frame.newest = turn
        frame.turns.append(turn)
        return turn

    def _hold_on(self) -> None:
        """Give the attempt that waits to be done here to another thread, if that is not soon."""
        self._held_for += 1
        if self._held is not None and self._held_for > SOON:
            held, self._held = self._held, None
            held.owner.submit(held)

    def _hand_on(self, node: Node, turn: Turn, value: Any) -> None:
        following = turn.next
        if following is None:
            frame = turn.frame
            assert frame is not None
            if len(frame.turns) >= frame.layout.parallel:
                frame.deferred.append((node, value))
                return
            following = self._start(frame, frame.pending)
        following.outstanding += self._into(node, value, following)

    def _exit(self, node: Node, turn: Turn, value: Any) -> None:
        frame = turn.frame
        assert frame is not None
        if node in frame.exited:
            raise Internal("a value leaves its frame in two iterations")
        frame.exited.add(node)
        frame.parent.outstanding += self._into(node, value, frame.parent)

    def _finish(self, turn: Turn) -> None:
        """Take an iteration in which nothing is left to do, if those before are over too, and what that ends."""
        while (frame := turn.frame) is not None and not frame.missing:
            turns = frame.turns
            while turns and not turns[0].outstanding:
                turns.popleft()
                if frame.deferred:
                    following = self._start(frame, frame.pending)
                    deferred, frame.deferred = frame.deferred, []
                    for node, value in deferred:
                        following.outstanding += self._into(node, value, following)
            if turns:
                return
            turn = frame.parent
            del turn.children[frame.layout]
            made = 0
            for node in frame.layout.exits:
                if node not in frame.exited:
                    made += self._tell(node.dead, node.dead_merges, turn)
            turn.outstanding += made - 1
            if turn.outstanding:
                return

    def frames(self) -> Iterator[Frame]:
        """Those under way."""
        pending = list(self._root.children.values())
        while pending:
            frame = pending.pop()
            yield frame
            pending += [child for turn in frame.turns for child in turn.children.values()]

    def stop(self, error: DfcError) -> None:
        super().stop(error)
        self._unsure.clear()
        self._late.clear()
        for frame in list(self.frames()):
            for turn in frame.turns:
                turn.slots.clear()
                turn.children.clear()
                turn.next = None
            frame.turns.clear()
            frame.deferred.clear()
            frame.newest = None
        self._root.children.clear()
        self._predicate = None
        self.kept.close()


def _source(node: Node) -> str:
    """The device that sends what the node receives."""
    assert node.gate is not None
    return node.gate.key.partition(";")[0]


def _known(value: Any) -> tuple[Any]:
    """The value on the host, once it is computed."""
    return (on_host(value),)


def _waited(value: Any) -> tuple[Any]:
    """The value, once it is computed."""
    xla.wait(value)
    return (value,)


def _keep_constant(frame: Frame, node: Node, value: Any) -> None:
    """Have later iterations start with the value in its slots."""
    dead = value is DEAD
    for slot, target in node.dead if dead else node.edges[0]:
        frame.slots[slot] = value
        left = frame.pending[target.index] = frame.pending[target.index] - 1
        if dead:
            frame.dead.add(target.index)
        if not left:
            frame.roots.append(target)
    if node.merges and not dead:
        frame.merging += [(target, index, value) for index, target in node.merges[0]]


def execution_of(flow: Flow, rendezvous: Rendezvous | None = None) -> Execution:
    """A new step of the flow, which meets others at the rendezvous."""
    return FramedExecution(flow, rendezvous) if flow.is_gated else Execution(flow)
