"""What the host does for a program beside computing: calls of Python functions, printing, and checks.

Data operands come first, then tokens. Pieces of fixed text stand around printed tensors: one before, between and after.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from xdsl.ir import Attribute
from xdsl.irdl import (
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    var_operand_def,
    var_result_def,
)

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Flag, Float, Int, Python, Specs, Text, Texts
from dfc.ir.dtypes import bool_
from dfc.ir.op import Arrays, Attributes, Effect, Op, Types
from dfc.ir.ops.elementwise import require_kind
from dfc.ir.types import CONTROL, ControlType, Spec, is_tensor, spec_of, tensor_type

STREAMS = ("stdout", "stderr")


def split_data(operands: Types, label: str) -> int:
    """How many tensors there are before the tokens. Raises InvalidType for anything else."""
    n = sum(not isinstance(t, ControlType) for t in operands)
    if not all(map(is_tensor, operands[:n])) or any(not isinstance(t, ControlType) for t in operands[n:]):
        raise InvalidType(
            f"the operands must be tensors and then control tokens, got ({', '.join(map(str, operands))})", label=label
        )
    return n


def require_text(n: int, attributes: Attributes, label: str) -> None:
    if len(attributes["text"]) != n + 1:
        raise InvalidArgument(
            f"{n} tensors need {n + 1} pieces of text around them, got {len(attributes['text'])}", label=label
        )


def require_boolean(type: Attribute, label: str) -> None:
    if spec_of(type) != Spec((), bool_):
        raise InvalidType(f"the first operand must be one boolean, got {spec_of(type)}", label=label)


@irdl_op_definition
class PyCall(Op):
    """Calls a Python function with the operands as NumPy arrays. What it returns must be as `results` says, in the nest
    that `nest` describes (`Structure.to_json` of the frontend, as a Python literal). The call may take `timeout`
    seconds. `stateful` says that it has effects.

    C1: the operands are tensors, then tokens. C2: the time limit is positive.
    """

    name = "df.py_call"
    function = prop_def(Python)
    results_ = prop_def(Specs, prop_name="results")
    nest = prop_def(Text)
    stateful = prop_def(Flag)
    timeout = opt_prop_def(Float)
    arguments = var_operand_def()
    outputs = var_result_def()
    EFFECT: ClassVar = Effect.STATEFUL
    HOST_ONLY: ClassVar = True
    WAITS: ClassVar = True

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        split_data(operands, "C1")
        timeout = attributes.get("timeout")
        if timeout is not None and not timeout > 0:
            raise InvalidArgument(f"the time limit must be positive, got {timeout} s", label="C2")
        return [*(tensor_type(*spec) for spec in attributes["results"]), CONTROL]


@irdl_op_definition
class Print(Op):
    """Writes text and tensors to `stream`, with `summarize` elements at the edges of each axis, or all where that is
    negative.

    C1: the operands are tensors, then tokens. C2: there is one piece of text more than tensors. C3: a known stream.
    """

    name = "df.print"
    text = prop_def(Texts)
    stream = prop_def(Text)
    summarize = prop_def(Int)
    arguments = var_operand_def()
    token = result_def()
    EFFECT: ClassVar = Effect.STATEFUL
    HOST_ONLY: ClassVar = True

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_text(split_data(operands, "C1"), attributes, "C2")
        if attributes["stream"] not in STREAMS:
            raise InvalidArgument(f"the stream must be stdout or stderr, got {attributes['stream']!r}", label="C3")
        return (CONTROL,)


@irdl_op_definition
class Assert(Op):
    """Is an InvalidArgument unless the first operand is true; the error shows the other tensors, as df.print does.

    C1: the first operand is one boolean. C2: tensors, then tokens follow. C3: there is one piece of text more than
    tensors after the first.
    """

    name = "df.assert"
    text = prop_def(Texts)
    summarize = prop_def(Int)
    condition = operand_def()
    arguments = var_operand_def()
    token = result_def()
    EFFECT: ClassVar = Effect.STATEFUL
    HOST_ONLY: ClassVar = True
    KINDS: ClassVar[tuple[str, ...]] = ("bool",)

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_boolean(operands[0], "C1")
        require_text(split_data(operands[1:], "C2"), attributes, "C3")
        return (CONTROL,)


@irdl_op_definition
class CheckNumerics(Op):
    """`x` as it is; an InvalidArgument, which says what x has in it, where `finite` is false: where there are NaNs or
    infinities among its elements.

    C1: `finite` is one boolean. C2: x is floating or complex.
    """

    name = "df.check_numerics"
    message = prop_def(Text)
    finite = operand_def()
    x = operand_def()
    result = result_def()
    HOST_ONLY: ClassVar = True
    KINDS: ClassVar[tuple[str, ...]] = ("float", "complex")

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_boolean(operands[0], "C1")
        require_kind(spec_of(operands[1]).dtype, cls.KINDS, "C2")
        return (operands[1],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        finite, x = operands
        if not finite:
            raise not_finite(x, attributes["message"])
        return [x]


def not_finite(x: np.ndarray[Any, Any], message: str) -> InvalidArgument:
    """The error for an array with NaNs or infinities: how many of either, and the index of the first."""
    nans, infinities = np.isnan(x), np.isinf(x)
    found = [(name, int(those.sum())) for name, those in (("NaN", nans), ("Inf", infinities)) if those.any()]
    where = ""
    if x.ndim:
        listed = ", ".join(f"{n} {name}" for name, n in found)
        place = [int(i) for i in np.argwhere(nans | infinities)[0]]
        where = f" ({listed} of {x.size} elements, the first at {place})"
    what = " and ".join(name for name, _ in found)
    return InvalidArgument(f"{message}{': ' if message else ''}tensor had {what} values{where}")
