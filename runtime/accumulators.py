"""Accumulators: gradients of several replicas, summed until enough have come, without stale ones (rows J4 to J6).

Sums of float16 and bfloat16 gradients are kept in float32 and rounded once, when they are taken.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from operator import index
from typing import Any, Literal, NamedTuple

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.dtypes import DType
from dfc.runtime.attempts import COMPLETED, TAKES, WAITING, Attempt, Done, Waitable, ignore, tell
from dfc.runtime.batches import Array, on_host
from dfc.runtime.queue_spec import Shape, check_shared, fits_shape

Reduction = Literal["MEAN", "SUM"]


@dataclass(frozen=True)
class AccumulatorSpec:
    """An accumulator's kind, dtype, shape (None: not known; a size may be None too) and reduction."""

    kind: str
    dtype: DType
    shape: Shape | None
    reduction: Reduction


class Accumulator(Waitable):
    """Base of the two: counts gradients and steps, and serves those who take.

    `global_step` starts at 0. A gradient is stale, and dropped, if it was computed at a `local_step` below that.
    """

    spec: AccumulatorSpec

    def __init__(self, dtype: DType, shape: Shape | None, reduction: Reduction = "MEAN", name: str = "") -> None:
        super().__init__(type(self).__name__, name)
        if not dtype.is_inexact:
            raise InvalidType(f"a {self.kind} holds gradients, floating or complex ones, got {dtype}")
        if reduction not in ("MEAN", "SUM"):
            raise InvalidArgument(f"reduction must be 'MEAN' or 'SUM', got {reduction!r}")
        self.spec = AccumulatorSpec(self.kind, dtype, shape, reduction)
        self.sum_dtype = np.dtype(np.float32) if dtype.is_floating and dtype.bits < 32 else dtype.numpy
        self.total: Any = None
        """The sum since the last take; None before the first gradient."""
        self.count = 0
        self.step = 0

    @property
    def global_step(self) -> int:
        """The number of takes, unless it was set."""
        return self.step

    def num_accumulated(self) -> int:
        """How many gradients have come since the last take, without stale ones."""
        return self.count

    def set_global_step(self, step: int) -> None:
        """Set the step that gradients are compared with. Warns if it is smaller than before."""
        text = self.replace_step(step)
        if text:
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def replace_step(self, step: int) -> str:
        """As `set_global_step`; the text of the warning, for who has the user's line."""
        with self._lock:
            before, self.step = self.step, index(step)
        return f"{self}: the global step was set back from {before} to {step}" if step < before else ""

    def take_grad(self, num_required: int, done: Done = ignore) -> Attempt:
        """Take the mean or the sum of all gradients there are, once there are `num_required`: a list, as gradients are
        applied. Counting starts anew and the global step goes up by 1. Raises InvalidArgument for less than 1."""
        if index(num_required) <= 0:
            raise InvalidArgument(f"Argument num_required must be positive, got {num_required}")
        return TakeGrad(self, index(num_required), done)

    def check_shared(self, requested: AccumulatorSpec) -> None:
        """Raise InvalidArgument unless `requested` describes this accumulator, for use under the same shared name."""
        check_shared("accumulator", self.name, self.spec, requested)

    def reduced(self, total: Any, count: int) -> list[Array]:
        """The result of taking `total`, the sum of `count` gradients. May change it in place."""
        raise NotImplementedError

    def _apply(self, add: Callable[[], bool], local_step: int) -> None:
        """Call `add`, which changes the sum, unless its gradient has become stale."""
        try:
            with self._lock:
                if self._busy:
                    raise self.reentered("apply_grad")
                if local_step >= self.step:
                    self._alone(add)
            if self._finished:
                tell(self)
        except BaseException:
            if self._finished:
                tell(self)
            raise

    def _check_dtype(self, value: Any) -> None:
        got = getattr(value, "dtype", None)
        if got is None or got != self.spec.dtype.numpy:
            raise InvalidType(
                f"{self} holds {self.spec.dtype} gradients, got {type(value).__name__ if got is None else got}"
            )


class ConditionalAccumulator(Accumulator):
    """Sums dense gradients."""

    def apply_grad(self, value: Any, local_step: int) -> None:
        """Add a gradient, a NumPy or device array, unless it is stale. Waits for nobody but the device.

        Raises InvalidType for another dtype and InvalidArgument for another shape.
        """
        self._check_dtype(value)
        self._check_shape(value.shape)
        if local_step < self.step:
            return
        gradient = on_host(value).astype(self.sum_dtype, copy=False)
        self._apply(lambda: self._add(gradient), local_step)

    def _add(self, gradient: Array) -> bool:
        """Compute first, then change everything and call nothing but what is written in C, at the end."""
        if self.total is None:
            first = gradient.copy()
            self.total = first
            self.count = 1
            return True
        if self.total.shape != gradient.shape:
            raise self._mismatch(self.total.shape, gradient.shape)
        with np.errstate(all="ignore"):
            add = np.add
            self.count += 1
            add(self.total, gradient, self.total)
        return True

    def reduced(self, total: Array, count: int) -> list[Array]:
        with np.errstate(all="ignore"):
            mean = total / count if self.spec.reduction == "MEAN" else total
            return [np.asarray(mean, self.spec.dtype.numpy)]

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if self.spec.shape is not None and not fits_shape(shape, self.spec.shape):
            raise self._mismatch(self.spec.shape, shape)

    def _mismatch(self, expected: Shape, got: tuple[int, ...]) -> InvalidArgument:
        return InvalidArgument(f"Shape mismatch: {self} expected a gradient of shape {expected}, got {got}")


class Rows(NamedTuple):
    """A sum of sparse gradients."""

    indices: Array  # int64 [m], ascending
    values: Array  # [m, ...]
    counts: Array  # int64 [m]: how many gradients had the row
    n_rows: int | None  # the first dimension, as far as it is known


SparseGradient = tuple[Any, Any, Any]
"""Indices (int32 or int64 [m], strictly ascending), values [m, ...] and the dense shape (integers) or None."""


class SparseConditionalAccumulator(Accumulator):
    """Sums sparse gradients; the mean of a row is over the gradients that had it."""

    def __init__(self, dtype: DType, shape: Shape | None, reduction: Reduction = "MEAN", name: str = "") -> None:
        super().__init__(dtype, shape, reduction, name)
        if shape == ():
            raise InvalidArgument(f"a {self.kind} holds rows: its shape needs a dimension, got ()")

    def apply_grad(self, value: SparseGradient, local_step: int) -> None:
        """Add a gradient, unless it is stale. Waits for nobody but the device.

        Raises InvalidType for other dtypes; InvalidArgument for indices that are not strictly ascending or out of
        range, and for shapes that don't fit.
        """
        indices, values, shape = value
        self._check_dtype(values)
        if local_step < self.step:
            return
        indices, values = self._checked_indices(indices), on_host(values)
        n_rows = self._check_shapes(indices, values, shape)
        values = values.astype(self.sum_dtype, copy=False)
        gradient = Rows(indices, values, np.ones(len(indices), np.int64), n_rows)
        self._apply(lambda: self._add(gradient), local_step)

    def _add(self, gradient: Rows) -> bool:
        """Compute first, then change everything with no call in between."""
        old: Rows | None = self.total
        if old is None:
            made = Rows(gradient.indices.copy(), gradient.values.copy(), gradient.counts, gradient.n_rows)
            self.total = made
            self.count = 1
            return True
        self._check_against(old, gradient)
        n_rows = old.n_rows if gradient.n_rows is None else gradient.n_rows
        with np.errstate(all="ignore"):
            place = np.searchsorted(old.indices, gradient.indices)
            if len(old.indices) and np.array_equal(old.indices.take(place, mode="clip"), gradient.indices):
                updated = Rows(old.indices, old.values, old.counts, n_rows)
                values = old.values[place] + gradient.values
                self.total = updated
                self.count += 1
                old.counts[place] += 1
                old.values[place] = values
            else:
                made = merged(old, gradient, n_rows)
                self.total = made
                self.count += 1
        return True

    def reduced(self, total: Rows, count: int) -> list[Array]:
        values, counts, n_rows = total.values, total.counts, total.n_rows
        with np.errstate(all="ignore"):
            if self.spec.reduction == "MEAN":
                divisor = counts.astype(values.real.dtype).reshape(-1, *[1] * (values.ndim - 1))
                values = values / divisor
            values = values.astype(self.spec.dtype.numpy, copy=False)
        shape = [-1 if n_rows is None else n_rows, *values.shape[1:]]
        return [total.indices, values, np.array(shape, np.int64)]

    def _checked_indices(self, indices: Any) -> Array:
        got = on_host(indices)
        if got.dtype not in (np.int32, np.int64):
            raise InvalidType(f"indices of a gradient must be int32 or int64, got {got.dtype}")
        if got.ndim != 1:
            raise InvalidArgument(f"indices of a gradient must have one dimension, got shape {got.shape}")
        if len(got) and got[0] < 0:
            raise InvalidArgument(f"indices of a gradient must be 0 or more, got {got[0]}")
        wrong = np.flatnonzero(got[1:] <= got[:-1])
        if len(wrong):
            i = int(wrong[0])
            raise InvalidArgument(
                f"indices of a gradient must be strictly ascending, got {got[i + 1]} after {got[i]}",
                hint="sum duplicate rows and sort them first",
            )
        return got.astype(np.int64, copy=False)

    def _check_shapes(self, indices: Array, values: Array, shape: Any) -> int | None:
        """The number of rows of the dense gradient, where it is known."""
        if values.ndim == 0 or len(values) != len(indices):
            raise self._mismatch(f"{len(indices)} indices need as many rows of values", values.shape)
        declared = self.spec.shape
        given = None if shape is None else tuple(int(size) for size in on_host(shape))
        if given is not None and declared is not None and not fits_shape(given, declared):
            raise self._mismatch(f"expected a gradient of shape {declared}", given)
        for known in (declared, given):
            if known is not None and not fits_shape(values.shape, (None, *known[1:])):
                raise self._mismatch(f"expected values of shape {(len(indices), *known[1:])}", values.shape)
        n_rows = next((known[0] for known in (declared, given) if known is not None and known[0] is not None), None)
        if n_rows is not None and len(indices) and indices[-1] >= n_rows:
            raise self._mismatch(f"indices must be less than the first dimension, {n_rows}", int(indices[-1]))
        return n_rows

    def _check_against(self, total: Rows, gradient: Rows) -> None:
        rest, got = total.values.shape[1:], gradient.values.shape
        if got[1:] != rest:
            raise self._mismatch(f"expected values of shape {(got[0], *rest)}, as before", got)
        if None not in (total.n_rows, gradient.n_rows) and total.n_rows != gradient.n_rows:
            raise self._mismatch(f"expected a first dimension of {total.n_rows}, as before", gradient.n_rows)

    def _mismatch(self, requirement: str, got: Any) -> InvalidArgument:
        return InvalidArgument(f"Shape mismatch: {self}: {requirement}, got {got}")


def merged(one: Rows, other: Rows, n_rows: int | None) -> Rows:
    """The sum of two sums of one dtype."""
    indices = np.union1d(one.indices, other.indices)
    values = np.zeros((len(indices), *one.values.shape[1:]), one.values.dtype)
    counts = np.zeros(len(indices), np.int64)
    for each in (one, other):
        place = np.searchsorted(indices, each.indices)
        values[place] += each.values
        counts[place] += each.counts
    return Rows(indices, values, counts, n_rows)


class TakeGrad(Attempt):
    """See `Accumulator.take_grad`."""

    __slots__ = ("n", "taken")
    operation = "TakeGrad"
    line = TAKES
    single = True
    collects = True
    owner: Accumulator

    def __init__(self, owner: Accumulator, n: int, done: Done) -> None:
        super().__init__(owner, done)
        self.n = n
        self.taken: tuple[Any, int] | None = None

    def step(self) -> bool:
        owner = self.owner
        if owner.count < self.n:
            return False
        taken = (owner.total, owner.count)
        if self.state == WAITING:
            self.taken = taken
            owner.total = None
            owner.count = 0
            owner.step += 1
            self.state = COMPLETED
        return True

    def assemble(self) -> None:
        if self.taken is not None:
            self.result = self.owner.reduced(*self.taken)
            self.taken = None
