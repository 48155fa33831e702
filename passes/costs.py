"""What work on a device and transfers between devices cost: as measured, or else as estimated from sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice

from xdsl.ir import Operation, SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.devices import DeviceName
from dfc.ir.dims import Dim
from dfc.ir.dtypes import bfloat16, float32
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.control import Branches, ControlFlow, Scan
from dfc.ir.ops.convolution import Convolution
from dfc.ir.ops.elementwise import Binary, Unary
from dfc.ir.ops.function import Island, Return, Yield
from dfc.ir.ops.linalg import DotGeneral
from dfc.ir.ops.shape import BroadcastInDim
from dfc.ir.ops.state import Group, Read, Variable
from dfc.ir.types import TYPICAL, is_tensor, nbytes, spec_of
from dfc.passes.cheap import CHEAP

FREE = (ConstantOp, Variable, Read, Group, Return, Yield)
"""Ops that are no work."""
FEW = 4
"""How many uses what is computed where it is used may have."""
FUNCTION = 40.0
"""What an exponential function, a tangent and the like take for one element, in multiplications."""


@dataclass(frozen=True)
class Costs:
    """What work and transfers cost, in seconds, bytes and floating-point operations.

    `measured` gives the seconds of ops by name on the type of device `measured_on`, which count before estimates
    (`Session.measure` makes them). `speed` is how fast a type of device is against a CPU; what it has for others is a
    guess that no machine has confirmed. The other figures are of CPU devices on a machine of two cores, by `python
    benchmarks/run.py costs`: products as in a recurrence, of 16 x 128 by 128 x 512; a sum of 16 MB; a copy of 16 MB to
    another device; what a hop to another device adds to an island of one op; a small op in a loop; an island of one op;
    a further device of a step.
    """

    flops: float = 8e10
    memory: float = 2e10  # bytes a second
    link: float = 3e9  # bytes a second between two devices
    latency: float = 2e-5  # of one transfer
    overhead: float = 2e-7  # of one op, within a program
    island: float = 1e-5  # of one program: what starts it
    part: float = 2.5e-5  # of each device of a step but one: what starts its part
    iterations: int = 10  # of a loop whose number of iterations is not known
    measured: Mapping[str, float] = field(default_factory=dict)
    measured_on: str = "CPU"
    speed: Mapping[str, float] = field(default_factory=lambda: {"GPU": 20.0, "TPU": 20.0})
    rounded: bool = False  # whether float32 values are sent as bfloat16: a session goes by its `transfer_dtype`

    def __post_init__(self) -> None:
        rates = {"flops": self.flops, "memory": self.memory, "link": self.link, "iterations": self.iterations}
        rates.update({f"speed[{kind!r}]": value for kind, value in self.speed.items()})
        times = {name: getattr(self, name) for name in ("latency", "overhead", "island", "part")}
        times.update({f"measured[{name!r}]": value for name, value in self.measured.items()})
        for name, value in (*rates.items(), *times.items()):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidType(f"{name} must be a number, got {value!r}", op="Costs")
            if not (value > 0 if name in rates else value >= 0):
                least = "more than 0" if name in rates else "0 or more"
                raise InvalidArgument(f"{name} must be {least}, got {value}", op="Costs")

    def with_measured(self, measured: Mapping[str, float], on: str = "CPU") -> Costs:
        """These costs with the seconds of ops, by name, on a type of device."""
        return replace(self, measured=dict(measured), measured_on=on)

    def speed_of(self, kind: str | None) -> float:
        """How fast a type of device is."""
        return self.speed.get(kind or "", 1.0)

    def with_dearer_cuts(self, by: float) -> Costs:
        """These costs with transfers, and programs, that take so many times what they do."""
        return replace(self, latency=self.latency * by, link=self.link / by, island=self.island * by)

    def estimate(self, op: Operation) -> float:
        """The time that an op should take, by the sizes of what it takes and gives."""
        if isinstance(op, FREE):
            return 0.0
        if isinstance(op, ControlFlow):
            blocks = [sum(map(self.estimate, block.ops)) for block in op.blocks]
            return max(blocks) if isinstance(op, Branches) else sum(blocks) * self._times(op)
        if isinstance(op, Island):
            return self.island + sum(map(self.estimate, op.block.ops))
        moved = sum(bytes_of(v) for v in (*op.operands, *op.results) if not _is_fused(v))
        return self.overhead + moved / self.memory + _operations(op) / self.flops

    def seconds(self, op: Operation, device: DeviceName) -> float:
        """The estimate for a device, all iterations of a loop included."""
        return self.estimate(op) / self.speed_of(device.kind)

    def _times(self, op: Operation) -> float:
        length = op.length.data if isinstance(op, Scan) else ()
        return length[0] if length and isinstance(length[0], int) else self.iterations

    def sent(self, value: SSAValue) -> int:
        """The bytes of a value on its way from one device to another."""
        if self.rounded and is_tensor(value.type) and spec_of(value.type).dtype is float32:
            return bytes_of(value) * bfloat16.bits // float32.bits
        return bytes_of(value)

    def transfer(self, nbytes: float) -> float:
        """The time to bring a value from one device to another."""
        return self.latency + nbytes / self.link


class Times:
    """The times of ops that have these names, by id; each is estimated once."""

    def __init__(self, costs: Costs, names: Mapping[int, str]) -> None:
        self._costs, self._names = costs, names
        self._estimated: dict[int, float] = {}

    def on(self, op: Operation, device: DeviceName) -> float:
        """The seconds of one op on the device, all iterations of a loop included."""
        speed, measured = self._costs.speed_of(device.kind), self._costs.measured.get(self._names[id(op)])
        if measured is not None:
            return measured * self._costs.speed_of(self._costs.measured_on) / speed
        found = self._estimated.get(id(op))
        if found is None:
            found = self._estimated[id(op)] = self._costs.estimate(op)
        return found / speed


def bytes_of(value: SSAValue) -> int:
    """The size of a tensor; what is none has none."""
    return nbytes(spec_of(value.type)) if is_tensor(value.type) else 0


def _is_fused(value: SSAValue) -> bool:
    """Whether the value is never in memory: computed where it is used, element by element."""
    kind = type(value.owner)
    if kind is BroadcastInDim or not _by_element(kind):
        return kind is BroadcastInDim
    users = list(islice(value.uses, FEW + 1))
    return len(users) <= FEW and all(_by_element(type(use.operation)) for use in users)


@cache
def _by_element(kind: type) -> bool:
    return kind in CHEAP or issubclass(kind, Unary | Binary)


def _operations(op: Operation) -> float:
    """Multiplications and additions of a product of matrices or a convolution, and what functions come to."""
    if isinstance(op, DotGeneral):
        sizes = spec_of(op.lhs.type).shape
        return 2.0 * _elements(op.result) * _product(sizes[axis] for axis in op.lhs_contracting.data)
    if isinstance(op, Convolution):
        kernel = op.operands[1]
        features = spec_of(kernel.type).shape[op.rhs_axes.data[0]]
        return 2.0 * _elements(op.results[0]) * _elements(kernel) / max(_product([features]), 1)
    return FUNCTION * _elements(op.results[0]) if isinstance(op, Unary) and type(op) not in CHEAP else 0.0


def _elements(value: SSAValue) -> int:
    return _product(spec_of(value.type).shape)


def _product(dims: Iterable[Dim]) -> int:
    """The product of sizes, with a typical one for each that is not known."""
    return math.prod(d if isinstance(d, int) else TYPICAL for d in dims)
