"""Accumulators: gradients of several replicas, summed until enough have come, without stale ones (rows J4 to J6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dfc.errors import DfcError, InvalidArgument, InvalidType
from dfc.frontend import components as co
from dfc.frontend.indexed_slices import IndexedSlices
from dfc.frontend.interop import to_tensor
from dfc.frontend.operation import Operation
from dfc.frontend.promotion import tensor_in
from dfc.frontend.resources import Resource, here, trace_of
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace
from dfc.ir import locations
from dfc.ir.dtypes import DType, as_dtype, int32, int64
from dfc.ir.ops import accumulator as ir
from dfc.ir.types import Spec, spec_of
from dfc.runtime import accumulators as rt


class AccumulatorBase(Resource):
    """What both accumulators have. The global step starts at 0 and is the number of takes, unless it was set."""

    handle_class = ir.Accumulator
    live_class: type[rt.ConditionalAccumulator] | type[rt.SparseConditionalAccumulator]

    def __init__(
        self,
        dtype: Any,
        shape: Sequence[int | None] | None = None,
        reduction: rt.Reduction = "MEAN",
        shared_name: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name, shared_name)
        self._seen = co.Seen()
        try:
            sizes = None if shape is None else co.shape_given(shape)
            self.spec = self.live_class(as_dtype(dtype), sizes, reduction).spec  # raises what is wrong
        except DfcError as error:
            raise here(error, type(self).__name__) from None

    def make(self) -> Any:
        spec = self.spec
        return self.live_class(spec.dtype, spec.shape, spec.reduction, self.shared_name or self.name)

    @property
    def requested(self) -> rt.AccumulatorSpec:
        return self.spec

    @property
    def dtype(self) -> DType:
        return self.spec.dtype

    def described(self) -> str:
        spec = self.spec
        return f"{spec.kind} of {spec.dtype}{co.sizes_text(spec.shape)}, {spec.reduction}"

    @property
    def _accumulator(self) -> Any:
        return self.live

    def _apply(self, grad: Any, local_step: Operand, name: str | None) -> Operation:
        try:
            trace = trace_of(self)
            if trace is None:
                self._accumulator.apply_grad(self._arrays(grad), co.whole(local_step, "local_step"))
                return Operation(None, None, f"{self.name}/apply_grad")
            values = self._values(trace, grad)
            step = co.whole_in(trace, local_step, int64, "local_step")
        except DfcError as error:
            raise here(error, "apply_grad") from None
        operands = (*(value._value for value in values), step)
        return self.effect(trace, ir.AccumulatorApply, *operands, name=name, shaped=len(values) == 3)

    def _arrays(self, grad: Any) -> Any:
        """The gradient as the object behind takes it."""
        raise NotImplementedError

    def _values(self, trace: Trace, grad: Any) -> list[Tensor]:
        """The gradient in a trace, after a check of what is known of it."""
        raise NotImplementedError

    def _check(self, spec: Spec) -> None:
        """Of the whole gradient."""
        if spec.dtype is not self.dtype:
            raise InvalidType(f"{self._titled} holds {self.dtype} gradients, got {spec.dtype}")
        expected = self.spec.shape
        if expected is not None and not co.may_fit(spec.shape, expected):
            wanted, got = co.shown(expected), co.shown(spec.shape)
            raise InvalidArgument(f"Shape mismatch: {self._titled} expected a gradient of shape {wanted}, got {got}")
        self._seen.add(spec.shape)

    @property
    def _titled(self) -> str:
        return f"{self.spec.kind} {self.shared_name or self.name!r}"

    def _take(self, num_required: Operand, name: str | None) -> list[Tensor]:
        """The results of a take as the op or, outside a trace, the object behind gives them."""
        try:
            if isinstance(num_required, int | np.integer) and num_required <= 0:
                raise InvalidArgument(f"Argument num_required must be positive, got {num_required}")
            trace = trace_of(self)
            if trace is None:
                attempt = self._accumulator.take_grad(co.whole(num_required, "num_required"))
                return [to_tensor(array) for array in self.wait(attempt, "take_grad")]
            specs = self._specs(trace, self._sizes())
            count = co.whole_in(trace, num_required, int32, "num_required")
        except DfcError as error:
            raise here(error, "take_grad") from None
        return self.values(trace, ir.AccumulatorTake, count, name=name, results=specs)

    def _sizes(self) -> co.Sizes:
        """What is known of the shape, by the accumulator's own and what is applied in the same program."""
        own, seen = self.spec.shape, self._seen.sizes
        if own is None or (seen is not None and len(seen) == len(own)):
            own = seen if own is None else tuple(b if a is None else a for a, b in zip(own, seen or (), strict=True))
        if own is None:
            raise InvalidArgument(
                f"the shape of the gradients in {self.name!r} is not known", hint="give the accumulator its shape"
            )
        return own

    def _specs(self, trace: Trace, sizes: co.Sizes) -> tuple[Spec, ...]:
        """What a take gives."""
        raise NotImplementedError

    def num_accumulated(self, name: str | None = None) -> Tensor:
        """How many gradients have come since the last take, without stale ones: int32."""
        trace = trace_of(self)
        if trace is None:
            return to_tensor(np.array(self._accumulator.num_accumulated(), np.int32))
        return self.values(trace, ir.AccumulatorCount, name=name)[0]

    def set_global_step(self, step: Operand, name: str | None = None) -> Operation:
        """Set the step that later gradients are compared with, an integer or an integer scalar tensor. One that is
        smaller than before is set with a warning."""
        trace = trace_of(self)
        try:
            if trace is not None:
                value = co.whole_in(trace, step, int64, "step")
                return self.effect(trace, ir.AccumulatorSetStep, value, name=name)
            text = self._accumulator.replace_step(co.whole(step, "step"))
        except DfcError as error:
            raise here(error, "set_global_step") from None
        if text:
            locations.warn(text, locations.capture())
        return Operation(None, None, f"{self.name}/set_global_step")


class ConditionalAccumulator(AccumulatorBase):
    """Sums gradients of one shape until they are taken, and drops stale ones: those computed at a `local_step` below
    its global step.

    `dtype` is floating or complex. `shape` may have None for sizes that are not known, or be None; gradients must fit
    it, and each other. `reduction` is "MEAN" or "SUM". `shared_name` makes one accumulator of all in a session that
    have it. In a traced function operations on it happen in program order; in a graph they do when they are fetched or
    depended on; outside they happen at once, and wait.
    """

    live_class = rt.ConditionalAccumulator

    def apply_grad(self, grad: Operand, local_step: Operand = 0, name: str | None = None) -> Operation:
        """Add a gradient, unless it is stale; never waits for another step.

        Raises InvalidType for another dtype, and InvalidArgument, "Shape mismatch", for another shape.
        """
        return self._apply(grad, local_step, name)

    def take_grad(self, num_required: Operand, name: str | None = None) -> Tensor:
        """The mean, or the sum, of all gradients since the last take, once there are `num_required`, an integer or an
        integer scalar tensor. Counting starts anew, and the global step goes up by 1. Those who wait are served first
        come first served. Raises InvalidArgument for less than 1.

        In a trace the shape must be known: the accumulator's, or that of what is applied in the same program. Sizes
        that are None are known when it runs only.
        """
        return self._take(num_required, name)[0]

    def _arrays(self, grad: Any) -> Any:
        return co.array_of(grad, self.dtype)

    def _values(self, trace: Trace, grad: Any) -> list[Tensor]:
        tensor = co.tensor_of(trace, grad, self.dtype)
        self._check(spec_of(tensor._type))
        return [tensor]

    def _specs(self, trace: Trace, sizes: co.Sizes) -> tuple[Spec, ...]:
        return (co.spec_of_sizes(trace, self.name, sizes, self.dtype),)


class SparseConditionalAccumulator(AccumulatorBase):
    """Sums sparse gradients; the mean of a row is over the gradients that had it, however many there were without.

    As `ConditionalAccumulator`; `shape` is that of the whole gradient.
    """

    live_class = rt.SparseConditionalAccumulator

    def apply_grad(self, grad: IndexedSlices, local_step: Operand = 0, name: str | None = None) -> Operation:
        """Add a gradient, unless it is stale; never waits for another step. Its indices must be strictly ascending.

        Raises InvalidType for what is no IndexedSlices and for another dtype; InvalidArgument for other indices, and,
        "Shape mismatch", for another shape.
        """
        return self._apply(grad, local_step, name)

    def take_grad(self, num_required: Operand, name: str | None = None) -> IndexedSlices:
        """The mean of each row, or the sum, once there are `num_required` gradients: see
        `ConditionalAccumulator.take_grad`. The indices are int64 and ascending; how many rows there are is known when
        it runs only, so the shape of the whole gradient must be known in a trace."""
        taken = self._take(num_required, name)
        if taken[0]._trace is None:
            indices, values, shape = taken
            return IndexedSlices(values, indices, tuple(int(d) for d in shape.numpy()))
        return IndexedSlices(taken[0], taken[1], self._sizes())  # type: ignore[arg-type]

    def _arrays(self, grad: Any) -> Any:
        slices = self._slices(grad)
        indices, values = to_tensor(slices.indices)._array, to_tensor(slices.values)._array
        return indices, values, np.array(slices.dense_shape, np.int64)

    def _values(self, trace: Trace, grad: Any) -> list[Tensor]:
        slices = self._slices(grad)
        self._check(slices.spec)
        found = [tensor_in(trace, slices.values), tensor_in(trace, slices.indices)]
        if self.spec.shape is None or None in self.spec.shape or any(not isinstance(d, int) for d in slices.shape):
            found.append(tensor_in(trace, list(slices.shape)))
        return found

    def _slices(self, grad: Any) -> IndexedSlices:
        if not isinstance(grad, IndexedSlices):
            raise InvalidType(f"{self._titled} takes IndexedSlices, got {grad!r}")
        return grad

    def _specs(self, trace: Trace, sizes: co.Sizes) -> tuple[Spec, ...]:
        if None in sizes:
            raise InvalidArgument(
                f"the shape of the gradients in {self.name!r} is known as {co.shown(sizes)} only",
                hint="give the accumulator its whole shape",
            )
        rows = co.spec_of_sizes(trace, self.name, (None, *sizes[1:]), self.dtype)
        return rows, Spec(rows.shape[:1], int64), Spec((len(sizes),), int64)
