"""Emission of Fourier transforms."""

from __future__ import annotations

from jaxlib.mlir import ir

from dfc.backends.stablehlo.emit import Emitter, integers
from dfc.backends.stablehlo.rules import Value, rule
from dfc.backends.stablehlo.sharding import whole
from dfc.ir.dims import size
from dfc.ir.op import short_name
from dfc.ir.ops.fft import Fft, Ifft, Irfft, Rfft, Transform
from dfc.ir.types import spec_of


@rule(Fft, Ifft, Rfft, Irfft)
def transform(emitter: Emitter, op: Transform, operands: list[Value]) -> list[Value]:
    (shape, dtype) = spec_of(op.result.type)
    if size(shape) == 0:
        return [emitter.filled(0, shape, dtype)]
    attributes = {
        "fft_type": ir.Attribute.parse(f"#stablehlo<fft_type {short_name(op).upper()}>"),
        "fft_length": integers(op.lengths.data),
    }
    (x,), rank = operands, len(shape)
    # jaxlib 0.10.2 ends the process on a divided axis of which a device's part is no multiple of the number of devices.
    x = whole(emitter, x, rank, range(rank - len(op.lengths.data), rank))
    return [emitter.create("stablehlo.fft", emitter.tensor(shape, dtype), [x], attributes)]
