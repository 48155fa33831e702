"""Groups of ops that must be on one device, and the devices that each group may be on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Block, Operation, OpResult, SSAValue

from dfc.errors import DfcError, InvalidArgument
from dfc.ir import locations
from dfc.ir.devices import ANY, ASSIGNED, COLOCATE, MESH, REQUEST, DeviceName, listed, parse, parse_full, priority
from dfc.ir.op import Op, base_name, error_at, short_name
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.function import Func, Return, Yield
from dfc.ir.ops.state import Variable
from dfc.ir.types import RefType, ResourceType
from dfc.passes.compilable import has_strings

DEBUG = "Colocation Debug Info:"


def supported(op: Operation) -> tuple[str, ...]:
    """The types of device with a kernel for the op and its dtypes."""
    if not isinstance(op, Op):
        return ()
    if op.HOST_ONLY and any(isinstance(operand.type, RefType) for operand in op.operands):
        return tuple(kind.upper() for kind in op.DEVICES)  # asks about a variable, wherever that is
    if op.HOST_ONLY or has_strings(op.results) or has_strings(op.operands):
        return ("CPU",)
    return tuple(kind.upper() for kind in op.DEVICES)


def nodes_of(block: Block) -> Iterator[Operation]:
    """Each op that is to be placed, an op before those in its regions."""
    for op in block.ops:
        if not isinstance(op, Return | Yield):
            yield op
            for region in op.regions:
                for inner in region.blocks:
                    yield from nodes_of(inner)


def text_of(op: Operation, key: str) -> str:
    """One of the op's attributes of placement."""
    found = op.attributes.get(key)
    return found.data if isinstance(found, StringAttr) else ""


def _asked(op: Operation, key: str) -> str:
    """What was asked for the op: nothing for a constant, which several scopes may share, and of which each device that
    needs it has its own."""
    return "" if isinstance(op, ConstantOp) else text_of(op, key)


@dataclass(eq=False)
class Colocated:
    """Ops on one device. `root` is the first of them, `fixed` the device that one has already."""

    members: list[Operation]
    kinds: tuple[str, ...]
    asked: DeviceName = ANY
    fixed: DeviceName | None = None
    owner: DeviceName = ANY
    """What those ask for whose state the group uses."""
    joined: Colocated | None = None  # the one that has taken this one in
    dropped: list[str] = field(default_factory=list)  # what soft placement did not heed

    @property
    def root(self) -> Operation:
        return self.members[0]


class Groups:
    """The groups of a function: by references, by what the user asked for, and by regions. With `soft`, what the user
    asked for gives way."""

    def __init__(self, func: Func, devices: Sequence[DeviceName], soft: bool = False) -> None:
        self.devices, self.soft = sorted(devices, key=priority), soft
        self._meshes = (MESH,) if any(device.kind == MESH for device in devices) else ()
        self.log: list[str] = []
        self.nodes = list(nodes_of(func.block))
        self.names = names_of(func)
        self._groups = {id(op): self._alone(op) for op in self.nodes}
        self._join_references()
        self._join_regions()
        self._join_labels()

    def of(self, op: Operation) -> Colocated:
        """The op's group."""
        group = self._groups[id(op)]
        while group.joined is not None:
            group = group.joined
        self._groups[id(op)] = group
        return group

    def supported(self, op: Operation) -> tuple[str, ...]:
        """The types of device with a kernel for the op. A mesh is of this process, whose host works for it too."""
        found = supported(op)
        return (*found, *self._meshes) if found else found

    def feasible(self, op: Operation) -> list[DeviceName]:
        """The devices that the op's group may be on, the one to take by default first. Raises InvalidArgument where
        there is none."""
        group = self.of(op)
        if group.fixed is not None:
            self._check_fixed(op, group, group.fixed)
            return [group.fixed]
        fits = [d for d in self.devices if d.kind in group.kinds]
        found = [d for d in fits if group.asked.covers(d)]
        if not found and self.soft and group.asked != ANY:
            wider = [group.owner, group.asked.task_only] if group.owner != ANY else [group.asked.task_only]
            found = next((some for w in wider if (some := [d for d in fits if w.covers(d)])), [])
            if found:
                self.log.append(
                    f"{self.names[id(op)]}: '{group.asked}' can't be heeded, one of {listed(found)} is taken"
                )
        if not found:
            raise self._infeasible(op, group)
        return found

    def _check_fixed(self, op: Operation, group: Colocated, fixed: DeviceName) -> None:
        """What is beside an op that stays where it is can ask for no other place."""
        own = parse(_asked(op, REQUEST))
        if own.covers(fixed) or text_of(op, ASSIGNED) or not any(text_of(m, ASSIGNED) for m in group.members):
            return
        if not self.soft:
            raise self._infeasible(op, group)
        self.log.append(f"{self.names[id(op)]}: '{own}' can't be heeded, what it uses is on {fixed}")

    def fix(self, op: Operation, device: DeviceName) -> None:
        """The op's group is on this device from now on."""
        self.of(op).fixed = device

    # ---- making them

    def _alone(self, op: Operation) -> Colocated:
        asked, assigned, kinds = _asked(op, REQUEST), text_of(op, ASSIGNED), self.supported(op)
        if not kinds:
            raise self.error(
                op, f"No OpKernel was registered to support Op '{short_name(op)}' used by {self._node(op)}"
            )
        try:
            request, fixed = parse(asked), parse_full(assigned) if assigned else None
        except DfcError as error:
            raise error.at(op=short_name(op), location=locations.describe(op.location)) from None
        group = Colocated([op], kinds, request, fixed)
        if isinstance(op, Variable) or any(isinstance(r.type, ResourceType) for r in op.results):
            group.owner = request
        return group

    def _join_references(self) -> None:
        variables: dict[str, Operation] = {}
        for op in self.nodes:
            if isinstance(op, Variable):
                first = variables.setdefault(op.variable.data, op)
                self._join(first, op, reference=True)
            for operand in op.operands:
                if isinstance(operand.type, RefType | ResourceType):
                    owner = _maker(operand)
                    if owner is not None and id(owner) in self._groups:
                        self._join(owner, op, reference=True)

    def _join_regions(self) -> None:
        """Ops in a region that ask for nothing are where the op around them is."""
        for op in self.nodes:
            around = op.parent_op()
            if around is not None and not isinstance(around, Func) and not text_of(op, ASSIGNED):
                group = self.of(op)
                if group.asked == ANY and group.fixed is None:
                    self._join(around, op, reference=False)

    def _join_labels(self) -> None:
        labels: dict[str, Operation] = {
            f"loc:@{op.variable.data}": op for op in reversed(self.nodes) if isinstance(op, Variable)
        }
        for op in self.nodes:
            for label in _asked(op, COLOCATE).split():
                first = labels.setdefault(label, op)
                self._join(first, op, reference=False)

    def _join(self, first: Operation, second: Operation, *, reference: bool) -> None:
        a, b = self.of(first), self.of(second)
        if a is b:
            return
        kinds = tuple(kind for kind in a.kinds if kind in b.kinds)
        if a.fixed is not None and b.fixed is not None and a.fixed != b.fixed:
            raise self.error(
                second,
                "Cannot place the graph because a reference or resource edge connects colocation groups with "
                f"incompatible assigned devices: {a.fixed} vs {b.fixed}",
                a,
                b,
            )
        if not kinds:
            message = (
                f"Cannot colocate nodes {self._node(second)} and {self._node(first)} because no device type supports "
                "both of those nodes and the other nodes colocated with them."
            )
            if self._gives_way(message, reference):
                return
            raise self.error(second, message, a, b)
        try:
            asked = a.asked.merged(b.asked)
        except InvalidArgument as error:
            message = f"Cannot colocate nodes {self._node(second)} and {self._node(first)}: {error.diagnostic.message}"
            if not self.soft:
                raise self.error(second, message, a, b) from None
            if not reference:
                self._gives_way(message, reference)
                return
            try:
                asked = a.asked.merged(b.asked, soft=True)
            except InvalidArgument:  # tasks differ: no softness makes one of two
                raise self.error(second, message, a, b) from None
            self.log.append(message)
        a.owner = a.owner if a.owner != ANY else b.owner
        if a.owner != ANY and asked.covers(a.owner) and self.soft:
            asked = a.owner
        a.members += b.members
        a.kinds, a.asked, a.fixed = kinds, asked, a.fixed or b.fixed
        b.joined = a

    def _gives_way(self, message: str, reference: bool) -> bool:
        if self.soft and not reference:
            self.log.append(f"Ignored: {message}")
            return True
        return False

    # ---- what is wrong

    def _infeasible(self, op: Operation, group: Colocated) -> DfcError:
        asked = group.asked
        own = parse(_asked(op, REQUEST))
        present = [d for d in self.devices if asked.covers(d)]
        node, every = self._node(op), f"[ {listed(self.devices)} ]"
        if asked == ANY or own == ANY:
            culprit = next((m for m in group.members if _asked(m, REQUEST)), None)
            if culprit is None:
                return self.error(
                    op,
                    f"No OpKernel was registered to support Op '{short_name(op)}' used by {node} on the available "
                    f"devices {every}.\n{self._registered(op)}",
                    group,
                )
            return self.error(
                op,
                f"Could not satisfy explicit device specification '' because the node {node} was colocated with a "
                f"group of nodes that required incompatible device '{asked}', as {self._node(culprit)} asked. "
                f"All available devices {every}.",
                group,
            )
        if not any(own.covers(d) for d in self.devices):
            return self.error(
                op,
                f"{node} was explicitly assigned to {own} but available devices are {every}. Make sure the device "
                "specification refers to a valid device.",
                group,
            )
        if own.kind is not None and own.kind not in self.supported(op):
            return self.error(
                op,
                f"Could not satisfy explicit device specification '{own}' because no supported kernel for {own.kind} "
                f"devices is available.\n{self._registered(op)}",
                group,
            )
        required = group.fixed or (asked if not present else DeviceName(kind="|".join(group.kinds)))
        return self.error(
            op,
            f"Could not satisfy explicit device specification '{own}' because the node {node} was colocated with a "
            f"group of nodes that required incompatible device '{required}'. All available devices {every}.",
            group,
        )

    def _registered(self, op: Operation) -> str:
        return "Registered kernels:\n" + "\n".join(f"  device='{kind}'" for kind in self.supported(op))

    def _node(self, op: Operation) -> str:
        return f"{{{{colocation_node {self.names[id(op)]}}}}}"

    def error(
        self, op: Operation, message: str, *groups: Colocated, kind: type[DfcError] = InvalidArgument
    ) -> DfcError:
        """An error about the op, with all of these groups' members and their lines."""
        text = f"Cannot assign a device for operation {self.names[id(op)]}: {message}"
        members = [member for group in groups for member in group.members]
        if members:
            types = {short_name(m): " ".join(self.supported(m)) for m in members}
            text += f"\n{DEBUG}\nColocation group had the following types and supported devices:"
            text += "".join(f"\n  {name}: {kinds}" for name, kinds in types.items())
            text += "\nColocation members, user-requested devices, and framework assigned devices, if any:"
            text += "".join(map(self._member, members))
        return error_at(kind, op, text)

    def _member(self, op: Operation) -> str:
        where = locations.describe(op.location)
        asked, assigned = str(parse(text_of(op, REQUEST))), text_of(op, ASSIGNED)
        text = f"\n  {self.names[id(op)]} ({short_name(op)}) {asked}".rstrip()
        text += f" framework assigned device={assigned}" if assigned else ""
        return f"{text} at {where}" if where else text


def _maker(value: SSAValue) -> Operation | None:
    """The op that a reference comes from: of a region's argument, the op around."""
    return (
        value.op if isinstance(value, OpResult) else value.owner.parent_op() if isinstance(value.owner, Block) else None
    )


def names_of(func: Func) -> dict[int, str]:
    """Names of the function's ops for messages and logs, by id: as the user gave them, or by kind and number."""
    taken: dict[str, int] = {}
    names: dict[int, str] = {}
    for op in nodes_of(func.block):
        base = base_name(op)
        number = taken.get(base)
        taken[base] = 0 if number is None else number + 1
        names[id(op)] = base if number is None else f"{base}_{number + 1}"
    return names
