"""What work on a device and transfers between devices cost: as measured, or else as estimated from sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from xdsl.ir import Operation, SSAValue

from dfc.ir.devices import DeviceName
from dfc.ir.dims import Dim
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.control import Branches, ControlFlow, Scan
from dfc.ir.ops.convolution import Convolution
from dfc.ir.ops.function import Return, Yield
from dfc.ir.ops.linalg import DotGeneral
from dfc.ir.ops.state import Group, Read, Variable
from dfc.ir.types import is_tensor, spec_of

FREE = (ConstantOp, Variable, Read, Group, Return, Yield)
"""Ops that are no work."""


@dataclass(frozen=True)
class Costs:
    """What work and transfers cost, in seconds, bytes and floating-point operations.

    `measured` gives the seconds of ops by name, which count before estimates (`session.measure` makes it); `speed` how
    fast a type of device is, `{"GPU": 50.0}`, against what the other figures say. These are of CPU devices on a machine
    of two cores; `python benchmarks/run.py placement --case constant` measures them: products of 16 x 128 by 128 x 512
    as in a recurrence, a sum of arrays that no cache holds, copies of 16 MB between two devices, what a hop to another
    device adds to an island and back, a small op in a loop, and an island of one op.
    """

    flops: float = 4e10
    memory: float = 1e10  # bytes a second
    link: float = 3e9  # bytes a second between two devices
    latency: float = 2e-5  # of one transfer
    overhead: float = 2e-7  # of one op, within a program
    island: float = 2e-5  # of one program: what starts it
    iterations: int = 10  # of a loop whose number of iterations is not known
    measured: Mapping[str, float] = field(default_factory=dict)
    speed: Mapping[str, float] = field(default_factory=dict)

    def seconds(self, op: Operation, name: str, device: DeviceName) -> float:
        """The time of one op on the device, all iterations of a loop included."""
        if name in self.measured:
            return self.measured[name]
        return self.estimate(op) / self.speed.get(device.kind or "", 1.0)

    def estimate(self, op: Operation) -> float:
        """The time that an op should take, by the sizes of what it takes and gives."""
        if isinstance(op, FREE):
            return 0.0
        if isinstance(op, ControlFlow):
            blocks = [sum(map(self.estimate, block.ops)) for block in op.blocks]
            return max(blocks) if isinstance(op, Branches) else sum(blocks) * self._times(op)
        moved = sum(bytes_of(v) for v in (*op.operands, *op.results))
        return self.overhead + moved / self.memory + _products(op) / self.flops

    def _times(self, op: Operation) -> float:
        length = op.length.data if isinstance(op, Scan) else ()
        return _known(length) if length and isinstance(length[0], int) else self.iterations

    def transfer(self, nbytes: float) -> float:
        """The time to bring a value from one device to another."""
        return self.latency + nbytes / self.link


def bytes_of(value: SSAValue) -> float:
    """The size of a tensor; a size that is not known counts as 1."""
    if not is_tensor(value.type):
        return 0
    spec = spec_of(value.type)
    return _known(spec.shape) * max(spec.dtype.bits // 8, 1)


def _elements(value: SSAValue) -> float:
    return _known(spec_of(value.type).shape)


def _products(op: Operation) -> float:
    """Multiplications and additions of a product of matrices or a convolution."""
    if isinstance(op, DotGeneral):
        sizes = spec_of(op.lhs.type).shape
        return 2 * _elements(op.result) * _known(sizes[axis] for axis in op.lhs_contracting.data)
    if isinstance(op, Convolution):
        kernel = op.operands[1]
        shape = spec_of(kernel.type).shape
        return (
            2 * _elements(op.results[0]) * _elements(kernel) / max((d for d in shape if isinstance(d, int)), default=1)
        )
    return 0


def _known(dims: Iterable[Dim]) -> float:
    """The product of sizes; one that is not known counts as 1."""
    return float(math.prod(d for d in dims if isinstance(d, int)))
