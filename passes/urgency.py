"""Which work of a device should be done first, since other devices wait for what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from xdsl.ir import Operation

from dfc.ir.ops.dataflow import Enter, LoopCond, NextIteration

MANY = 64
"""For so many sent values at most is it known how much work each is; others go as they stand in the graph."""


def waves(
    ops: Sequence[Operation],
    keys: Mapping[int, Hashable],
    behind: Callable[[Operation], Iterable[Operation]],
    sent: Sequence[tuple[Operation, int]],
    seconds: Callable[[Operation], float],
    least: float,
) -> dict[int, int]:
    """For the ops, by id, that would else be in one program since they have one key: in which of several programs, one
    after the other, each should be. Those that are in the first are left out.

    `ops` are in order, and `behind` gives those that one needs. `sent` are what leaves for another device: the op that
    makes it, or that sends it, and its stage. What is of a lower stage, and then what takes less work, goes first, so a
    program has what goes next and was not in those before. There is another program only for what takes more than
    `least` seconds, and a quarter of all that has its key. A program needs those before it alone.
    """
    took = {id(op): seconds(op) for op in ops if id(op) in keys}
    work = _work(ops, behind, sent, took) if len(sent) <= MANY else [0.0] * len(sent)
    order = sorted(range(len(sent)), key=lambda number: (sent[number][1], work[number]))
    ranks: dict[int, int] = {}  # of each op: the rank of the first that it is needed for
    for rank, number in enumerate(order):
        ranks.setdefault(id(sent[number][0]), rank)
    for op in reversed(ops):
        if (found := ranks.get(id(op))) is not None:
            for owner in behind(op):
                ranks[id(owner)] = min(found, ranks.get(id(owner), found))
    last = len(sent)
    costs: dict[Hashable, dict[int, float]] = {}
    for number, own in took.items():
        of_key, rank = costs.setdefault(keys[number], {}), ranks.get(number, last)
        of_key[rank] = of_key.get(rank, 0.0) + own
    programs = {key: _programs(of_key, least) for key, of_key in costs.items()}
    waves_of = {number: programs[keys[number]][ranks.get(number, last)] for number in took}
    return {number: wave for number, wave in waves_of.items() if wave}


def _work(
    ops: Sequence[Operation],
    behind: Callable[[Operation], Iterable[Operation]],
    sent: Sequence[tuple[Operation, int]],
    took: Mapping[int, float],
) -> list[float]:
    """The seconds that all take that each of what is sent is made of."""
    feeds: dict[int, int] = {}  # of each op: a bit for each of those that it is needed for
    for number, (op, _) in enumerate(sent):
        feeds[id(op)] = feeds.get(id(op), 0) | 1 << number
    work = [0.0] * len(sent)
    for op in reversed(ops):
        if bits := feeds.get(id(op), 0):
            for owner in behind(op):
                feeds[id(owner)] = feeds.get(id(owner), 0) | bits
            own = took.get(id(op), 0.0)
            while bits and own:
                work[(bits & -bits).bit_length() - 1] += own
                bits &= bits - 1
    return work


def _programs(costs: Mapping[int, float], least: float) -> dict[int, int]:
    """The program for each rank."""
    program, found = 0, dict[int, int]()
    enough = max(least, sum(costs.values()) / 4)
    for number, rank in enumerate(sorted(costs)):
        if number and costs[rank] > enough:
            program += 1
        found[rank] = program
    return found


def deciding(ops: Iterable[Operation], behind: Callable[[Operation], Iterable[Operation]]) -> list[Operation]:
    """The next_iterations of what decides whether a loop goes on, as its counter does: the sooner they have their
    value, the sooner does the next iteration begin beside this one."""
    found: dict[Operation, None] = {}
    seen: set[int] = set()
    pending: list[Operation] = [op for op in ops if type(op) is LoopCond]
    while pending:
        op = pending.pop()
        if id(op) in seen or type(op) is Enter:  # what enters is outside of the loop
            continue
        seen.add(id(op))
        if type(op) is NextIteration:
            found[op] = None
        pending += behind(op)
    return list(found)
