"""A device for every op: where there is a kernel, where the user asked for it, and else where values need not move."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Block, Operation

from dfc.errors import FailedPrecondition, Internal
from dfc.ir.devices import ASSIGNED, COLOCATE, REQUEST, DeviceName, local, parse_full
from dfc.ir.op import short_name
from dfc.ir.ops.function import Func, Return, Yield
from dfc.ir.ops.graph import After
from dfc.ir.ops.shape import DimSize
from dfc.ir.types import is_tensor
from dfc.passes.colocation import Groups
from dfc.passes.costs import Costs
from dfc.passes.expected import Expected
from dfc.passes.manager import Pass
from dfc.passes.schedule import schedule


@dataclass(frozen=True)
class Place(Pass):
    """Give each op its device.

    Requires: phase graph. Ops may have the attribute `device`, what the user asks for, `colocate`, labels of groups
    that are on one device, and `assigned`, where they stay.
    Ensures: where the program is on more than one of `devices`, or on another than the first, each op says in
    `assigned` on which; else none does, and where nothing was asked for nothing has been looked at.

    `devices` are whole names, by default this process's first CPU. With `soft`, requests give way where they can't be
    heeded; with `costs` a simulation places what nobody asked for, not rules; `log` prints each op's device, and what
    the simulation expects.
    """

    name: ClassVar[str] = "place"
    devices: tuple[str, ...] = ()
    soft: bool = False
    costs: bool = False
    log: bool = False

    def apply(self, program: ModuleOp) -> dict[str, int]:
        devices = [parse_full(text) for text in self.devices] or [local("cpu", 0)]
        used, placed = set(), 0
        for func in program.ops:
            if isinstance(func, Func) and (self.log or self.costs or asks(func)):
                done = place(func, devices, soft=self.soft, costs=Costs() if self.costs else None)
                used |= done.used
                placed += len(done.assigned) if done.write() else 0
                if self.log:
                    print("\n".join(done.lines), file=sys.stderr)
        return {"placed": placed, "devices": len(used) if placed else 0}


def asks(func: Func) -> bool:
    """Whether anything in the function asks for a place, or has one."""
    return _any_marked(func.block)


def _any_marked(block: Block) -> bool:
    op = block.first_op
    while op is not None:
        if (op.attributes and _is_marked(op)) or (
            op.regions and any(_any_marked(inner) for region in op.regions for inner in region.blocks)
        ):
            return True
        op = op._next_op
    return False


def _is_marked(op: Operation) -> bool:
    attributes = op.attributes
    return REQUEST in attributes or COLOCATE in attributes or ASSIGNED in attributes


@dataclass
class Placement:
    """The device of each op, by id, for the ops in order; what is worth telling; and what a simulation expects."""

    ops: list[Operation]
    names: Mapping[int, str]
    devices: Sequence[DeviceName]
    assigned: dict[int, DeviceName] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    expected: Expected | None = None

    @property
    def used(self) -> set[DeviceName]:
        """The devices with work."""
        return set(self.assigned.values())

    def of(self, op: Operation) -> DeviceName:
        return self.assigned[id(op)]

    @property
    def lines(self) -> list[str]:
        """The log: `name: (kind): device` a line."""
        found = [f"{self.names[id(op)]}: ({short_name(op)}): {self.of(op)}" for op in self.ops] + self.notes
        return found if self.expected is None else [*found, str(self.expected)]

    def write(self) -> bool:
        """Put it into the program, unless all is where it would be without saying; whether that was done."""
        if self.used <= {self.devices[0]}:
            for op in self.ops:
                op.attributes.pop(ASSIGNED, None)
            return False
        for op in self.ops:
            op.attributes[ASSIGNED] = StringAttr(str(self.of(op)))
        return True


def place(func: Func, devices: Sequence[DeviceName], *, soft: bool = False, costs: Costs | None = None) -> Placement:
    """A device for each op of the function. The same function gets the same devices, always.

    Raises FailedPrecondition without devices, InvalidArgument for what can't be on any or asks for what can't be, and
    Internal where an op stands already on a device that has no kernel for it; each error lists the ops that it is
    about with their lines.
    """
    if not devices:
        raise FailedPrecondition("No devices are registered", op="place")
    groups = Groups(func, devices, soft)
    done = Placement(groups.nodes, groups.names, groups.devices)
    for op in groups.nodes:
        _check_assigned(groups, op)
    if costs is not None:
        done.expected = schedule(groups, func, costs)
    later: list[Operation] = []
    for op in groups.nodes:
        if is_generator(op) and groups.of(op).fixed is None and len(groups.of(op).members) == 1:
            later.append(op)
            continue
        feasible = groups.feasible(op)
        groups.fix(op, _with_input(groups, op, feasible))
    for op in later:
        feasible = groups.feasible(op)
        groups.fix(op, _with_users(groups, op, feasible))
    for op in groups.nodes:
        fixed = groups.of(op).fixed
        assert fixed is not None, "every group has been placed"
        done.assigned[id(op)] = fixed
    done.notes += groups.log
    return done


def is_generator(op: Operation) -> bool:
    """No inputs, and one result that is a tensor."""
    return not op.operands and not op.regions and len(op.results) == 1 and is_tensor(op.results[0].type)


def _check_assigned(groups: Groups, op: Operation) -> None:
    fixed = groups.of(op).fixed
    if fixed is not None and fixed.kind not in groups.supported(op):
        raise groups.error(
            op,
            f"{short_name(op)} was assigned to {fixed}, and {fixed.kind} does not have registered OpKernel support for "
            f"{short_name(op)}",
            groups.of(op),
            kind=Internal,
        )


def _with_input(groups: Groups, op: Operation, feasible: list[DeviceName]) -> DeviceName:
    """Heuristic B: what only asks about a value, or waits before handing it on, is where the value is."""
    if isinstance(op, DimSize | After) and isinstance(owner := op.x.owner, Operation):
        at = groups.of(owner).fixed
        if at in feasible:
            return at
    return feasible[0]


def _with_users(groups: Groups, op: Operation, feasible: list[DeviceName]) -> DeviceName:
    """Heuristic A: what needs nothing is with its users, if they are all on one device."""
    users = [use.operation for use in op.results[0].uses if not isinstance(use.operation, Return)]
    places = {groups.of(u.parent_op() if isinstance(u, Yield) else u).fixed for u in users}  # type: ignore[arg-type]
    if len(places) == 1 and (at := next(iter(places))) in feasible:
        return at
    return feasible[0]
