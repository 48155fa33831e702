"""Gradients of complex numbers' parts, in the convention of `rules`: dy/dRe(z) + i dy/dIm(z)."""

from __future__ import annotations

from dfc.ir.ops import complex as cx
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, rule


@rule(cx.Real)
def real(op: cx.Real, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(cx.Complex, grads[0], b.full(0, grads[0]))]


@rule(cx.Imag)
def imag(op: cx.Imag, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(cx.Complex, b.full(0, grads[0]), grads[0])]


@rule(cx.Complex)
def complex_(op: cx.Complex, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [lambda: b(cx.Real, grads[0]), lambda: b(cx.Imag, grads[0])]


@rule(cx.Conj)
def conj(op: cx.Conj, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(cx.Conj, grads[0])]
