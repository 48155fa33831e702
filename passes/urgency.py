"""Which work of a device should be done first, since other devices wait for what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from xdsl.ir import Operation


def turns(
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
    feeds: dict[int, int] = {}  # of each op: a bit for each of those that it is needed for
    for number, (op, _) in enumerate(sent):
        feeds[id(op)] = feeds.get(id(op), 0) | 1 << number
    for op in reversed(ops):
        if bits := feeds.get(id(op), 0):
            for owner in behind(op):
                feeds[id(owner)] = feeds.get(id(owner), 0) | bits
    work = [0.0] * len(sent)
    for op in ops:
        bits, own = feeds.get(id(op), 0), seconds(op)
        while bits and own:
            work[(bits & -bits).bit_length() - 1] += own
            bits &= bits - 1
    order = sorted(range(len(sent)), key=lambda number: (sent[number][1], work[number]))
    place = {1 << number: rank for rank, number in enumerate(order)}
    ranks = {id(op): _first(feeds.get(id(op), 0), place) for op in ops if id(op) in keys}
    costs: dict[Hashable, dict[int, float]] = {}
    for op in ops:
        if id(op) in ranks:
            of_key = costs.setdefault(keys[id(op)], {})
            of_key[ranks[id(op)]] = of_key.get(ranks[id(op)], 0.0) + seconds(op)
    programs = {key: _programs(of_key, least) for key, of_key in costs.items()}
    found = {number: programs[keys[number]][rank] for number, rank in ranks.items()}
    return {number: turn for number, turn in found.items() if turn}


def _first(bits: int, place: Mapping[int, int]) -> int:
    """The rank of the first that the op is needed for; one more than all of them where it is for none."""
    least = len(place)
    while bits:
        least = min(least, place[bits & -bits])
        bits &= bits - 1
    return least


def _programs(costs: Mapping[int, float], least: float) -> dict[int, int]:
    """The program for each rank."""
    program, found = 0, dict[int, int]()
    enough = max(least, sum(costs.values()) / 4)
    for number, rank in enumerate(sorted(costs)):
        if number and costs[rank] > enough:
            program += 1
        found[rank] = program
    return found
