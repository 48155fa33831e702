"""Gradients of Fourier transforms: the opposite transforms, since a transform's adjoint is its inverse but for scale.

A real signal's spectrum stands for the negative frequencies of the last axis too, so that there the frequencies which
have a negative partner count twice.
"""

from __future__ import annotations

from math import prod

import numpy as np
from xdsl.ir import SSAValue

from dfc.ir.attributes import Array
from dfc.ir.ops import fft
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.elementwise import Multiply
from dfc.ir.ops.shape import BroadcastInDim
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, rule, spec


def _scaled(value: SSAValue, by: float, b: RuleBuilder) -> SSAValue:
    return b(Multiply, value, b.full(by, value))


def _weighted(value: SSAValue, length: int, pair: float, scale: float, b: RuleBuilder) -> SSAValue:
    """A spectrum times `scale`, and times `pair` at the frequencies of the last axis that have a negative partner."""
    shape, dtype = spec(value)
    weights = np.full(length // 2 + 1, scale * pair)
    weights[0] = scale
    if length % 2 == 0:
        weights[-1] = scale
    line = b(ConstantOp, value=Array.of(weights.astype(dtype.numpy)))
    return b(Multiply, value, b(BroadcastInDim, line, shape=shape, dims=(len(shape) - 1,)))


@rule(fft.Fft)
def forward(op: fft.Fft, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    lengths = op.lengths.data
    return [_scaled(b(fft.Ifft, grads[0], lengths=lengths), prod(lengths), b)]


@rule(fft.Ifft)
def inverse(op: fft.Ifft, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    lengths = op.lengths.data
    return [_scaled(b(fft.Fft, grads[0], lengths=lengths), 1 / prod(lengths), b)]


@rule(fft.Rfft)
def real_forward(op: fft.Rfft, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """df.irfft adds the negative frequencies, which the spectrum does not hold: half of each pair is taken away."""
    lengths = op.lengths.data
    weighted = _weighted(grads[0], lengths[-1], 0.5, prod(lengths), b)
    return [b(fft.Irfft, weighted, lengths=lengths)]


@rule(fft.Irfft)
def real_inverse(op: fft.Irfft, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    lengths = op.lengths.data
    return [_weighted(b(fft.Rfft, grads[0], lengths=lengths), lengths[-1], 2, 1 / prod(lengths), b)]
