"""Queues and barriers: the handle comes first, then data, then tokens; each op gives a token last.

What they hold, and what they check of it, is `dfc.runtime.queues`.
"""

from __future__ import annotations

from typing import ClassVar

from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, prop_def, result_def, var_operand_def, var_result_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Flag, Int, Specs, Text
from dfc.ir.dtypes import bool_, int32
from dfc.ir.op import Attributes, Effect, Op, Types
from dfc.ir.types import CONTROL, ControlType, ResourceType, is_tensor, resource_type, spec_of, tensor_type

QUEUE, BARRIER = "queue", "barrier"


def require_handle(types: Types, kinds: tuple[str, ...], label: str) -> None:
    """Raise InvalidType unless the first operand is a handle to a resource of one of these kinds."""
    first = types[0] if types else None
    if not isinstance(first, ResourceType) or first.kind.data not in kinds:
        raise InvalidType(f"the first operand must be a handle to a {' or '.join(kinds)}, got {first}", label=label)


def require_tensors_then_tokens(types: Types, label: str, count: int | None = None) -> None:
    """Raise InvalidArgument unless these are tensors, `count` if that is given, and then tokens only."""
    kinds = [isinstance(t, ControlType) for t in types]
    n_tensors = kinds.count(False)
    fits = kinds == sorted(kinds) and all(map(is_tensor, types[:n_tensors]))
    if not fits or (count is not None and n_tensors != count):
        wanted = "tensors" if count is None else f"{count} tensor{'s' if count != 1 else ''}"
        raise InvalidArgument(
            f"{wanted} and then control tokens must follow the handle, got ({_listed(types)})", label=label
        )


def require_count(type: Attribute, label: str, what: str = "the number of elements") -> None:
    """Raise InvalidType unless this is an integer scalar."""
    spec = spec_of(type)
    if spec.shape or not spec.dtype.is_integer:
        raise InvalidType(f"{what} must be an integer scalar, got {spec}", label=label)


def _listed(types: Types) -> str:
    return ", ".join(map(str, types))


class Handle(Op):
    """What stands for something that lives between steps, under its name in the program. `description` says what it
    is, for people.

    C1: it has a name.
    """

    resource = prop_def(Text)
    description = prop_def(Text)
    handle = result_def()
    HOST_ONLY: ClassVar = True
    KIND: ClassVar[str]

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        if not attributes["resource"]:
            raise InvalidArgument(f"a {cls.KIND} needs a name, got {attributes['resource']!r}", label="C1")
        return (resource_type(cls.KIND),)


@irdl_op_definition
class Queue(Handle):
    """The handle of a queue."""

    name = "df.queue"
    KIND: ClassVar = QUEUE


@irdl_op_definition
class QueueSelect(Op):
    """The handle at `index`; an index outside of the list is an error when it runs.

    C1: the first operand is an integer scalar. C2: the rest are handles of queues, one at least.
    """

    name = "df.queue_select"
    arguments = var_operand_def()
    handle = result_def()
    HOST_ONLY: ClassVar = True

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        if not operands or not is_tensor(operands[0]):
            raise InvalidType(f"the first operand must be an index, got ({_listed(operands)})", label="C1")
        require_count(operands[0], "C1", "the index")
        if len(operands) < 2 or any(t != resource_type(QUEUE) for t in operands[1:]):
            raise InvalidType(f"handles of queues must follow the index, got ({_listed(operands[1:])})", label="C2")
        return (resource_type(QUEUE),)


class QueueOp(Op):
    """An op on a queue.

    C1: the first operand is a handle of a queue. C2: the tensors that the op takes, and then tokens, follow.
    """

    arguments = var_operand_def()
    outputs = var_result_def()
    EFFECT: ClassVar = Effect.STATEFUL
    HOST_ONLY: ClassVar = True
    KINDS_OF_HANDLE: ClassVar[tuple[str, ...]] = (QUEUE,)
    COUNT: ClassVar[int | None] = 0
    """How many tensors it takes; None for any number."""

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_handle(operands, cls.KINDS_OF_HANDLE, "C1")
        require_tensors_then_tokens(operands[1:], "C2", cls.COUNT)
        return (*cls.gives(operands, attributes), CONTROL)

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        """The types of the results before the token."""
        return ()


class Taking(QueueOp):
    """Takes elements out: results of the types in `results`."""

    results_ = prop_def(Specs, prop_name="results")
    WAITS: ClassVar = True

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        return [tensor_type(*spec) for spec in attributes["results"]]


class TakingMany(Taking):
    """Takes as many elements as the operand says: results of the types in `results`, whose first axis is the number.

    C3: the number is an integer scalar.
    """

    COUNT: ClassVar = 1

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        require_count(operands[1], "C3")
        return super().gives(operands, attributes)


@irdl_op_definition
class Enqueue(QueueOp):
    """Puts one element in, of these components; waits while the queue is full."""

    name = "df.enqueue"
    COUNT: ClassVar = None
    WAITS: ClassVar = True


@irdl_op_definition
class EnqueueMany(QueueOp):
    """Puts in the elements along the first axis of the components, one by one as there is room."""

    name = "df.enqueue_many"
    COUNT: ClassVar = None
    WAITS: ClassVar = True


@irdl_op_definition
class Dequeue(Taking):
    """Takes one element; waits while there is none."""

    name = "df.dequeue"


@irdl_op_definition
class DequeueMany(TakingMany):
    """Takes elements as they come, stacked along a new first axis; waits until there are so many."""

    name = "df.dequeue_many"


@irdl_op_definition
class DequeueUpTo(TakingMany):
    """As df.dequeue_many; from a closed queue it takes fewer, what there is."""

    name = "df.dequeue_up_to"


@irdl_op_definition
class QueueClose(QueueOp):
    """Lets nothing more into a queue or barrier. Without `cancel_pending` it waits behind what is waiting to get in."""

    name = "df.queue_close"
    cancel_pending = prop_def(Flag)
    KINDS_OF_HANDLE: ClassVar = (QUEUE, BARRIER)
    WAITS: ClassVar = True


@irdl_op_definition
class QueueSize(QueueOp):
    """The number of elements in a queue, as int32."""

    name = "df.queue_size"

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        return (tensor_type((), int32),)


@irdl_op_definition
class QueueIsClosed(QueueOp):
    """Whether a queue or barrier is closed."""

    name = "df.queue_is_closed"
    KINDS_OF_HANDLE: ClassVar = (QUEUE, BARRIER)

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        return (tensor_type((), bool_),)


@irdl_op_definition
class Barrier(Handle):
    """The handle of a barrier."""

    name = "df.barrier"
    KIND: ClassVar = BARRIER


@irdl_op_definition
class BarrierInsertMany(QueueOp):
    """Gives elements, by keys, their component number `component`."""

    name = "df.barrier_insert_many"
    component = prop_def(Int)
    KINDS_OF_HANDLE: ClassVar = (BARRIER,)
    COUNT: ClassVar = 2


@irdl_op_definition
class BarrierTakeMany(TakingMany):
    """Takes complete elements: indices, keys and each component, as many as the operand says; with `small_batch` what
    is complete when the barrier is closed."""

    name = "df.barrier_take_many"
    small_batch = prop_def(Flag)
    KINDS_OF_HANDLE: ClassVar = (BARRIER,)


@irdl_op_definition
class BarrierReadySize(QueueOp):
    """The number of complete elements, as int32."""

    name = "df.barrier_ready_size"
    KINDS_OF_HANDLE: ClassVar = (BARRIER,)

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        return (tensor_type((), int32),)


@irdl_op_definition
class BarrierIncompleteSize(QueueOp):
    """The number of elements that lack a component, as int32."""

    name = "df.barrier_incomplete_size"
    KINDS_OF_HANDLE: ClassVar = (BARRIER,)

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        return (tensor_type((), int32),)
