"""Learning rates that depend on the number of steps done: `dfc.train.SGD(dfc.train.schedules.CosineDecay(0.1, 1000))`.

A schedule is any function from a scalar int32 tensor, the steps done, to a scalar; these are the usual ones, graph
operations like the rest of the step. They compute in the default float dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dfc.errors import InvalidArgument
from dfc.frontend.defaults import default_float
from dfc.frontend.ops.elementwise import astype, cos, floor, maximum, minimum, where
from dfc.frontend.tensor import Operand, Tensor
from dfc.ir import locations


def _require(condition: bool, message: str, schedule: object) -> None:
    if not condition:
        raise InvalidArgument(message, op=type(schedule).__name__, location=locations.describe(locations.capture()))


def _positive(schedule: Any, *fields: str) -> None:
    for field in fields:
        value = getattr(schedule, field)
        _require(value > 0, f"{field} must be positive, got {value}", schedule)


@dataclass(frozen=True)
class PolynomialDecay:
    """From `initial` to `end` over `steps` steps, by `(initial - end) * (1 - t)^power + end`; then `end`."""

    initial: float
    steps: int
    end: float = 0.0
    power: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "steps", "power")

    def __call__(self, step: Operand) -> Tensor:
        left = 1 - minimum(astype(step, default_float()), float(self.steps)) / self.steps
        return (self.initial - self.end) * left**self.power + self.end


@dataclass(frozen=True)
class ExponentialDecay:
    """`initial * rate^(step / steps)`; with `staircase` the exponent is rounded down, so that the rate falls every
    `steps` steps. `end` is where it stops."""

    initial: float
    steps: int
    rate: float
    staircase: bool = False
    end: float | None = None

    def __post_init__(self) -> None:
        _positive(self, "steps", "rate")

    def __call__(self, step: Operand) -> Tensor:
        exponent = astype(step, default_float()) / self.steps
        value = self.initial * self.rate ** (floor(exponent) if self.staircase else exponent)
        if self.end is None:
            return value
        return maximum(value, self.end) if self.rate < 1 else minimum(value, self.end)


@dataclass(frozen=True)
class CosineDecay:
    """Half a period of a cosine from `initial` to `initial * alpha` over `steps` steps (Loshchilov and Hutter 2017)."""

    initial: float
    steps: int
    alpha: float = 0.0

    def __post_init__(self) -> None:
        _positive(self, "steps")

    def __call__(self, step: Operand) -> Tensor:
        part = minimum(astype(step, default_float()), float(self.steps)) / self.steps
        return self.initial * ((1 - self.alpha) * 0.5 * (1 + cos(math.pi * part)) + self.alpha)


@dataclass(frozen=True)
class PiecewiseConstant:
    """`values[i]` from step `boundaries[i - 1]` on and before `boundaries[i]`: one value more than boundaries."""

    boundaries: Sequence[int]
    values: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        object.__setattr__(self, "values", tuple(self.values))
        ascending = all(a < b for a, b in zip(self.boundaries, self.boundaries[1:], strict=False))
        _require(ascending, f"boundaries must ascend, got {self.boundaries}", self)
        fits = len(self.values) == len(self.boundaries) + 1
        _require(fits, f"one value more than boundaries is needed, got {self.values} for {self.boundaries}", self)

    def __call__(self, step: Operand) -> Tensor:
        count = astype(step, default_float())
        value: Operand = self.values[-1]
        for boundary, before in reversed(list(zip(self.boundaries, self.values, strict=False))):
            value = where(count < boundary, before, value)
        return astype(value, default_float())


@dataclass(frozen=True)
class Warmup:
    """A straight line from 0 to what `then` gives first, over `steps` steps; then `then`, which counts from there."""

    steps: int
    then: Callable[[Any], Operand] | float

    def __post_init__(self) -> None:
        _positive(self, "steps")

    def __call__(self, step: Operand) -> Tensor:
        count = astype(step, default_float())
        following = maximum(count - self.steps, 0.0)
        target = self.then(following) if callable(self.then) else self.then
        return minimum(count / self.steps, 1.0) * target


__all__ = ["CosineDecay", "ExponentialDecay", "PiecewiseConstant", "PolynomialDecay", "Warmup"]
