"""How every benchmark here measures: both sides alternate, several rounds, and the figure is the median of the rounds'
ratios. Two sides share the machine's mood of the moment, so a ratio holds where a time doesn't."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import click


@dataclass(frozen=True)
class Effort:
    """How long to measure: `rounds` alternations, each side for about `seconds` a round."""

    rounds: int
    seconds: float
    smoke: bool = False


# Many short rounds: where other work on the machine comes and goes, both sides of a round then meet the same of it.
FULL, QUICK, SMOKE = Effort(41, 0.1), Effort(15, 0.07), Effort(1, 0.005, smoke=True)


@dataclass
class Case:
    """One case's result: seconds a call of both sides in each round (peer empty where there is none)."""

    name: str
    ours: list[float]
    peer: list[float]
    peer_name: str
    limit: float | None = None
    note: str = ""
    units: float | None = None
    """How much is done in a call, for a case without a peer: its figure is what is done a second, the best of the
    rounds, and `limit` is the least that it must be."""
    unit: str = ""

    @property
    def ratios(self) -> list[float]:
        if self.units is not None:
            return [self.units / seconds for seconds in self.ours]
        return [a / b for a, b in zip(self.ours, self.peer, strict=True)] if self.peer else []

    @property
    def ratio(self) -> float | None:
        if self.units is not None:
            return max(self.ratios)
        return statistics.median(self.ratios) if self.peer else None

    @property
    def passes(self) -> bool:
        """Whether the figure is within the limit."""
        if self.ratio is None or self.limit is None:
            return True
        return self.ratio >= self.limit if self.units is not None else self.ratio <= self.limit

    def row(self) -> str:
        """The case as a line of the table."""
        if not self.ours:
            return f"  {self.name:<14}"
        head = f"  {self.name:<14} dfc {_time(statistics.median(self.ours)):>10}"
        if self.ratio is None:
            return head
        low, high, ok = min(self.ratios), max(self.ratios), "yes" if self.passes else "NO"
        if self.units is not None:
            head += f"   {self.ratio:,.0f} {self.unit} [{low:,.0f}, {high:,.0f}]"
            return head + (f"   must be >= {self.limit:,.0f}: {ok}" if self.limit is not None else "")
        head += f"   {self.peer_name} {_time(statistics.median(self.peer)):>10}   ratio {self.ratio:.3f}"
        head += f" [{low:.3f}, {high:.3f}]"
        return head + (f"   must be <= {self.limit}: {ok}" if self.limit is not None else "")


@dataclass
class Result:
    """A benchmark's cases and the versions that ran."""

    name: str
    cases: list[Case] = field(default_factory=list)
    packages: tuple[str, ...] = ("dfc", "jax", "jaxlib", "numpy", "xdsl")

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ratio": {c.name: c.ratio for c in self.cases},
            "rounds": {c.name: c.ratios for c in self.cases},
            "versions": {p: version(p) for p in self.packages},
            "cases": {
                c.name: {
                    "ours_s": statistics.median(c.ours) if c.ours else None,
                    "peer_s": statistics.median(c.peer) if c.peer else None,
                    "peer": c.peer_name,
                    "must": c.limit,
                    "unit": c.unit or "ratio",
                    "note": c.note,
                }
                for c in self.cases
            },
        }

    def as_table(self) -> str:
        what = "best of rounds" if all(c.units is not None for c in self.cases) else "median of rounds"
        lines = [f"{self.name}: {what} [min, max]; with a peer, time of dfc / time of the peer"]
        lines += [c.row() + (f"   {c.note}" if c.note else "") for c in self.cases]
        lines.append("  versions: " + ", ".join(f"{p} {version(p)}" for p in self.packages))
        return "\n".join(lines)


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def alternate(
    name: str,
    ours: Callable[[int], None],
    peer: Callable[[int], None] | None,
    effort: Effort,
    *,
    peer_name: str = "",
    limit: float | None = None,
    note: str = "",
    units: float | None = None,
    unit: str = "",
) -> Case:
    """Time two functions of a number of calls. Each runs once before, so that nothing is compiled while timed."""
    ours(1)
    if peer is not None:
        peer(1)
    calls = _calls(ours, effort.seconds)
    case = Case(name, [], [], peer_name, limit, note, units, unit)
    for index in range(effort.rounds):
        sides = [(ours, case.ours)] + ([(peer, case.peer)] if peer is not None else [])
        for side, times in sides if index % 2 == 0 else reversed(sides):
            times.append(_timed(side, calls))
    return case


def _calls(run: Callable[[int], None], seconds: float) -> int:
    calls = 1
    while (took := _timed(run, calls) * calls) < seconds / 4:
        calls *= 2
    return max(1, round(calls * seconds / took))


def _timed(run: Callable[[int], None], calls: int) -> float:
    gc.collect()
    start = time.perf_counter()
    run(calls)
    return (time.perf_counter() - start) / calls


def agree(what: str, ours: Any, peer: Any, tolerance: float) -> None:
    """Stop unless both sides compute the same values; says the largest difference."""
    import numpy as np

    difference = max(
        float(np.max(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)), initial=0.0))
        for a, b in zip(ours, peer, strict=True)
    )
    if not difference <= tolerance:
        raise click.ClickException(f"{what}: the sides differ by {difference:.3g}, more than {tolerance:.3g}")
    click.echo(f"{what}: both sides agree, largest difference {difference:.3g} (tolerance {tolerance:.3g})", err=True)
