"""What the executor does for ops on queues, barriers and accumulators: attempts on the objects behind their handles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dfc.errors import Internal, InvalidArgument, OutOfRange
from dfc.ir import locations
from dfc.ir.dims import match
from dfc.ir.op import Op, short_name
from dfc.ir.ops import accumulator as ac
from dfc.ir.ops import queue as qu
from dfc.ir.types import Spec
from dfc.runtime.attempts import Attempt
from dfc.runtime.flow import Done, HostOp, Values, on_host
from dfc.runtime.host import Binding, maker, simple, where_of

Begin = Callable[[Values, Done], Attempt]


def _attempt(op: Op, begin: Begin, specs: Sequence[Spec] = ()) -> HostOp:
    """An op that is an attempt, whose results must fit the specs."""
    finish = checked(specs) if specs else None
    return HostOp(short_name(op), where_of(op), begin=begin, finish=finish)


def checked(specs: Sequence[Spec]) -> Callable[[Any], Sequence[Any]]:
    """What checks results. Compiled code takes them as they are said to be: a queue whose shapes nobody stated may hold
    others."""

    def check(results: Any) -> Sequence[Any]:
        for index, (spec, value) in enumerate(zip(specs, results, strict=True)):
            shape = value.shape
            fits = len(shape) == len(spec.shape) and all(map(_fits, spec.shape, shape))
            if not fits or value.dtype != spec.dtype.numpy:
                got = f"{value.dtype}[{', '.join(map(str, shape))}]"
                raise InvalidArgument(
                    f"component {index} must be {spec}, as the graph takes it to be, got {got}",
                    hint="state the shapes of the queue's components",
                )
        return list(results)

    return check


def _fits(dim: Any, size: int) -> bool:
    return match(dim, size, {})


def _count(value: Any) -> int:
    return int(on_host(value))


# ---- queues


@maker(qu.Queue)
def queue(op: qu.Queue, binding: Binding) -> HostOp:
    return _constant(op, binding)


def _constant(op: qu.Handle, binding: Binding) -> HostOp:
    name = op.resource.data
    if name not in binding.resources:
        raise Internal(f"the step needs {op.description.data} {name!r}, which it was not given", op=short_name(op))
    return HostOp(short_name(op), where_of(op), value=binding.resources[name])


@maker(qu.QueueSelect)
def queue_select(op: qu.QueueSelect, binding: Binding) -> HostOp:
    def select(values: Values) -> Sequence[Any]:
        index, handles = _count(values[0]), values[1:]
        if not 0 <= index < len(handles):
            raise OutOfRange(f"index {index} is not in [0, {len(handles)})")
        return (handles[index],)

    return simple(op, select)


@maker(qu.Enqueue)
def enqueue(op: qu.Enqueue, binding: Binding) -> HostOp:
    return _attempt(op, lambda values, done: values[0].enqueue(values[1:], done))


@maker(qu.EnqueueMany)
def enqueue_many(op: qu.EnqueueMany, binding: Binding) -> HostOp:
    return _attempt(op, lambda values, done: values[0].enqueue_many(values[1:], done))


@maker(qu.Dequeue)
def dequeue(op: qu.Dequeue, binding: Binding) -> HostOp:
    return _attempt(op, lambda values, done: values[0].dequeue(done), op.results_.data)


@maker(qu.DequeueMany)
def dequeue_many(op: qu.DequeueMany, binding: Binding) -> HostOp:
    return _attempt(op, lambda values, done: values[0].dequeue_many(_count(values[1]), done), op.results_.data)


@maker(qu.DequeueUpTo)
def dequeue_up_to(op: qu.DequeueUpTo, binding: Binding) -> HostOp:
    return _attempt(op, lambda values, done: values[0].dequeue_up_to(_count(values[1]), done), op.results_.data)


@maker(qu.QueueClose)
def queue_close(op: qu.QueueClose, binding: Binding) -> HostOp:
    cancel = op.cancel_pending.data
    return _attempt(op, lambda values, done: values[0].close(cancel, done))


@maker(qu.QueueSize)
def queue_size(op: qu.QueueSize, binding: Binding) -> HostOp:
    return simple(op, lambda values: (np.array(values[0].size(), np.int32),))


@maker(qu.QueueIsClosed)
def queue_is_closed(op: qu.QueueIsClosed, binding: Binding) -> HostOp:
    return simple(op, lambda values: (np.array(values[0].is_closed()),))


# ---- barriers


@maker(qu.Barrier)
def barrier(op: qu.Barrier, binding: Binding) -> HostOp:
    return _constant(op, binding)


@maker(qu.BarrierInsertMany)
def barrier_insert_many(op: qu.BarrierInsertMany, binding: Binding) -> HostOp:
    component = op.component.data
    return _attempt(op, lambda values, done: values[0].insert_many(component, values[1], values[2], done))


@maker(qu.BarrierTakeMany)
def barrier_take_many(op: qu.BarrierTakeMany, binding: Binding) -> HostOp:
    small = op.small_batch.data
    return _attempt(op, lambda values, done: values[0].take_many(_count(values[1]), small, done), op.results_.data)


@maker(qu.BarrierReadySize)
def barrier_ready_size(op: qu.BarrierReadySize, binding: Binding) -> HostOp:
    return simple(op, lambda values: (np.array(values[0].ready_size(), np.int32),))


@maker(qu.BarrierIncompleteSize)
def barrier_incomplete_size(op: qu.BarrierIncompleteSize, binding: Binding) -> HostOp:
    return simple(op, lambda values: (np.array(values[0].incomplete_size(), np.int32),))


# ---- accumulators


@maker(ac.Accumulator)
def accumulator(op: ac.Accumulator, binding: Binding) -> HostOp:
    return _constant(op, binding)


@maker(ac.AccumulatorApply)
def accumulator_apply(op: ac.AccumulatorApply, binding: Binding) -> HostOp:
    shaped = op.shaped.data

    def apply(values: Values) -> Sequence[Any]:
        handle, *gradient, step = values
        if len(gradient) == 1:
            handle.apply_grad(gradient[0], int(step))
        else:
            rows, indices = gradient[0], gradient[1]
            handle.apply_grad((indices, rows, gradient[2] if shaped else None), int(step))
        return ()

    return HostOp(short_name(op), where_of(op), apply)  # on arrays, so that it waits for no device in the driver's way


@maker(ac.AccumulatorTake)
def accumulator_take(op: ac.AccumulatorTake, binding: Binding) -> HostOp:
    specs = op.results_.data

    def finish(result: Any) -> Sequence[Any]:
        if len(specs) == 1:
            return checked(specs)(result)
        indices, rows, shape = result
        return checked(specs)([rows, indices, np.asarray(shape, np.int64)])

    def begin(values: Values, done: Done) -> Attempt:
        return values[0].take_grad(_count(values[1]), done)  # type: ignore[no-any-return]

    return HostOp(short_name(op), where_of(op), begin=begin, finish=finish)


@maker(ac.AccumulatorSetStep)
def accumulator_set_step(op: ac.AccumulatorSetStep, binding: Binding) -> HostOp:
    def set_step(values: Values) -> Sequence[Any]:
        text = values[0].replace_step(_count(values[1]))
        if text:
            locations.warn(text, op.location)
        return ()

    return simple(op, set_step)


@maker(ac.AccumulatorCount)
def accumulator_count(op: ac.AccumulatorCount, binding: Binding) -> HostOp:
    return simple(op, lambda values: (np.array(values[0].num_accumulated(), np.int32),))
