"""Variables in the host's memory: what a step takes of them, brings to the device and gives back.

The handle that `df.hold` gives stands for what one island has of the variables. The pass `offload` makes these ops.
"""

from __future__ import annotations

from itertools import takewhile
from typing import ClassVar

from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, opt_prop_def, prop_def, result_def, var_operand_def, var_result_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Flag, Ints, Texts
from dfc.ir.op import Attributes, Effect, Op, Types
from dfc.ir.ops.state import require_tokens
from dfc.ir.types import CONTROL, RefType, Spec, is_tensor, resource_type, spec_behind, spec_of, tensor_type

HOLD = resource_type("hold")


def _refs_of(operands: Types, start: int) -> int:
    """How many references stand there from `start` on."""
    found = start
    while found < len(operands) and isinstance(operands[found], RefType):
        found += 1
    return found - start


def _after_handle(operands: Types) -> list[Spec]:
    """The specs of the variables whose references follow the handle. Raises InvalidType for another first operand."""
    if not operands or operands[0] != HOLD:
        got = operands[0] if operands else "nothing"
        raise InvalidType(f"the first operand must be what df.hold gives, got {got}", label="C1")
    return [spec_behind(t) for t in operands[1 : 1 + _refs_of(operands, 1)]]


class OffloadOp(Op):
    """Base: an op of the host that takes the handle, references, and what its own rule says."""

    arguments = var_operand_def()
    EFFECT: ClassVar = Effect.STATEFUL
    HOST_ONLY: ClassVar = True

    @property
    def refs(self) -> list[SSAValue]:
        """The references among the operands."""
        return [operand for operand in self.operands if isinstance(operand.type, RefType)]

    @property
    def tensors(self) -> list[SSAValue]:
        """The tensors among the operands."""
        return [operand for operand in self.operands if is_tensor(operand.type)]


@irdl_op_definition
class Hold(OffloadOp):
    """What an island has of variables: references, then tokens. When the tokens have come and nobody else has the right
    to change the variables that `written` indexes, this has it, and the values of those that `read` indexes and that
    are in the host's memory are what they are then. With `alone` nobody else that asks for it uses the device's memory
    of the session. Gives a handle, and a token.

    C1: references come first, then tokens. C2: `written` and `read` index references.
    """

    name = "df.hold"
    written = prop_def(Ints)
    read = prop_def(Ints)
    alone = prop_def(Flag)
    handle = result_def()
    token = result_def()
    WAITS: ClassVar = True

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        n_refs = _refs_of(operands, 0)
        require_tokens(operands[n_refs:], "C1")
        for name in ("written", "read"):
            if any(not 0 <= index < n_refs for index in attributes[name]):
                raise InvalidArgument(f"{name}={attributes[name]} must index {n_refs} references", label="C2")
        return (HOLD, CONTROL)


@irdl_op_definition
class Fetch(OffloadOp):
    """The values of variables as their handle has them, in the order of the references, when the tokens have come: in
    the device's memory, where each takes room, or with `on_host` where they are. The tensors are values that an earlier
    handle had, of the variables that `lent` names: they come to the device as well.

    C1: the first operand is a handle. C2: references, then tensors, then tokens follow. C3: `lent` has a name for each
    tensor.
    """

    name = "df.fetch"
    on_host = prop_def(Flag)
    lent = opt_prop_def(Texts)
    outputs = var_result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        specs = _after_handle(operands)
        start = 1 + len(specs)
        tensors = list(takewhile(is_tensor, operands[start:]))
        require_tokens(operands[start + len(tensors) :], "C2")
        names = attributes.get("lent") or ()
        if len(names) != len(tensors):
            raise InvalidArgument(f"lent={list(names)} must name {len(tensors)} tensors", label="C3")
        return [*(tensor_type(*spec) for spec in specs), *tensors]

    def ref_of(self, value: SSAValue) -> SSAValue | None:
        """The reference to the variable whose value is this result; None for one that an earlier handle had."""
        refs, index = self.refs, self.results.index(value)
        return refs[index] if index < len(refs) else None


@irdl_op_definition
class Evict(OffloadOp):
    """Brings values, one for each reference, to the host when they are computed and the tokens have come, to become the
    variables' values once the handle is let go. Those that an island makes for that, `made`, take room on the device
    meanwhile, but for those that `in_place` indexes, which lie where the value before lay; they give its room back.

    C1: the first operand is a handle. C2: references, a value of each one's shape and dtype, and tokens follow.
    C3: `in_place` indexes references.
    """

    name = "df.evict"
    made = prop_def(Flag)
    in_place = prop_def(Ints)
    token = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        specs = _after_handle(operands)
        end = 1 + 2 * len(specs)
        values = operands[1 + len(specs) : end]
        if len(values) < len(specs) or not all(map(is_tensor, values)) or list(map(spec_of, values)) != specs:
            wanted = ", ".join(map(str, specs))
            raise InvalidArgument(
                f"the values must match the variables, ({wanted}), got ({', '.join(map(str, values))})", label="C2"
            )
        require_tokens(operands[end:], "C2")
        if any(not 0 <= index < len(specs) for index in attributes["in_place"]):
            raise InvalidArgument(f"in_place={attributes['in_place']} must index {len(specs)} references", label="C3")
        return (CONTROL,)

    def in_place_of(self, value: SSAValue) -> SSAValue | None:
        """The reference to the variable whose memory the value takes over, if it does."""
        pairs = list(zip(self.refs, self.tensors, strict=True))
        return next((pairs[i][0] for i in self.in_place.data if pairs[i][1] is value), None)


@irdl_op_definition
class Release(OffloadOp):
    """Gives the room of what was fetched of variables back, when the tensors among the operands are computed and the
    tokens have come; also that of values which an earlier handle had, of the variables that `lent` names.

    C1: the first operand is a handle. C2: references, tensors and tokens follow, in this order.
    """

    name = "df.release"
    lent = opt_prop_def(Texts)
    token = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        rest = list(operands[1 + len(_after_handle(operands)) :])
        while rest and is_tensor(rest[0]):
            rest.pop(0)
        require_tokens(rest, "C2")
        return (CONTROL,)


@irdl_op_definition
class LetGo(OffloadOp):
    """Ends what a handle stands for, when the tokens have come: new values become the variables', all at once, and
    others may go on.

    C1: the first operand is a handle. C2: tokens follow.
    """

    name = "df.let_go"
    token = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        _after_handle(operands)
        require_tokens(operands[1:], "C2")
        return (CONTROL,)
