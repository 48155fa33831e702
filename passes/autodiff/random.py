"""Gradients of random ops: none. What depends on parameters is arithmetic on standard variates, which has them."""

from __future__ import annotations

from dfc.ir.ops.random import (
    RandomBits,
    RandomCauchy,
    RandomExponential,
    RandomFoldIn,
    RandomGamma,
    RandomGumbel,
    RandomIntegers,
    RandomLaplace,
    RandomLogistic,
    RandomLogUniformCandidates,
    RandomNext,
    RandomNormal,
    RandomPermutation,
    RandomPoisson,
    RandomSplit,
    RandomTruncatedNormal,
    RandomUniform,
)
from dfc.passes.autodiff.rules import non_differentiable

for _cls in (RandomBits, RandomSplit, RandomFoldIn, RandomNext):
    non_differentiable(_cls, "keys and bits are integers")
for _variate in (
    RandomUniform,
    RandomNormal,
    RandomTruncatedNormal,
    RandomExponential,
    RandomGumbel,
    RandomLaplace,
    RandomLogistic,
    RandomCauchy,
):
    non_differentiable(_variate, "a key is integers, and a standard variate depends on nothing else")
for _integers in (RandomIntegers, RandomPermutation):
    non_differentiable(_integers, "its result is integers")
non_differentiable(RandomGamma, "rejection makes jumps in alpha, so the derivative of a number is not that of its law")
non_differentiable(RandomPoisson, "its result is integers")
non_differentiable(RandomLogUniformCandidates, "its results are integers")
