"""The whole compiler, top to bottom: one list a phase. Read it to know what happens to a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from dfc.errors import InvalidArgument
from dfc.passes import manager
from dfc.passes.manager import Report
from dfc.passes.phases import GONE, Phase

PIPELINE: dict[Phase, str] = {
    # Calls must be gone before autodiff, which differentiates one block; what nobody asked for needn't be inlined or
    # differentiated at all. Autodiff comes before anything merges or folds values, since xs name them, and before edges
    # are cut where a step is fed, since gradients pass through those. Products come out of loops before it, so that
    # their gradients are outside too, and once more for what it has made.
    Phase.GRAPH: "prune, inline, loop-products, autodiff, feed, loop-products, prune, canonicalize, cse, canonicalize",
    # Where something asks for a device, each op gets one: this is for one device, a session names those that it has.
    Phase.PLACED: "place{soft=true}",
    # Branches and loops that the host has to run, or that are on several devices, become dataflow, whose edges can be
    # cut; those that a device runs as a whole get variables as values, for the islands to come.
    Phase.PARTITIONED: "lower-control-flow, partition, functionalise",
    # What one device runs in one go becomes one program; references become its inputs and outputs. A program begins
    # when all that it takes is there, so where much is received it is divided into turns first, each for a program of
    # its own. What a program reads and writes of variables is one act; to those that live in the host's memory it stays
    # one, however it is cut. Which receives can be put off without a loss of time is known when the programs are.
    Phase.CLUSTERED: "divide-receives, cluster, offload, schedule-receives",
}
"""The passes that lead to each phase, in the grammar of `dfc opt -p`."""


def adjusted(options: Mapping[str, Mapping[str, Any]]) -> dict[Phase, str]:
    """The default passes of the phases in which one has options here, by the pass's name, with these options."""
    found: dict[Phase, str] = {}
    for phase, text in PIPELINE.items():
        passes = manager.parse_pipeline(text)
        changed = [replace(item, **options[item.name]) if item.name in options else item for item in passes]
        if changed != passes:
            found[phase] = ", ".join(map(str, changed))
    return found


def phases_until(to: Phase) -> list[Phase]:
    """The phases that passes lead to, in order, up to and including `to`."""
    order = list(PIPELINE)
    if to not in order:
        raise InvalidArgument(f"phase {to.value} is not reached by df passes alone")
    return order[: order.index(to) + 1]


_parsed: dict[str, Sequence[Any]] = {}


def lower(
    program: ModuleOp,
    *,
    to: Phase = Phase.CLUSTERED,
    start: Phase = Phase.TRACE,
    passes: Mapping[Phase, str] = {},
    **options: Any,
) -> Report:
    """Run the default passes on `program`, in place, from phase `start` until phase `to`; those of the phases in
    `passes` are what that says.

    `options` go to `manager.run` (observers, timing). Raises the passes' errors, each naming the user's line.
    """
    report = Report()
    if to is Phase.TRACE:
        return report
    order = [Phase.TRACE, *PIPELINE]
    for phase in phases_until(to)[order.index(start) :]:
        text = passes.get(phase, PIPELINE[phase])
        if not text and phase not in GONE:
            continue  # the program is at this phase already
        if text not in _parsed:
            _parsed[text] = manager.parse_pipeline(text)
        manager.run(program, _parsed[text], reaches=phase, report=report, **options)
    return report
