"""Queues and barriers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.types import Spec
from tests.families.rows import Broken

# ---- broken constraints

RESULT = {"results": (Spec((2,), dtypes.float32),)}
CLOSES = {"cancel_pending": False}
SMALL = {**RESULT, "small_batch": False}


def unnamed(kind: str) -> Broken:
    """A handle of nothing."""
    attributes = {"resource": "", "description": kind}
    return f"{kind}-C1", "", attributes, InvalidArgument, f"a {kind} needs a name, got ''"


def on(
    name: str, kinds: str, count: int | None, tensors: str = "", attributes: Mapping[str, Any] | None = None
) -> list[Broken]:
    """Operands that are wrong for an op on handles of these kinds, `queue` or `queue or barrier`, which takes `count`
    tensors, None for any number; `tensors` fit."""
    attributes, handle = attributes or {}, f"handle {kinds.split(' or ')[0]}"
    other = "stack" if "or" in kinds else next(k for k in ("queue", "barrier", "accumulator") if k != kinds)
    fitting = f" ; {tensors}" if tensors else ""
    if count is None:
        wanted, wrong, got = "tensors", "token ; float32[2]", "!df.control, tensor<2xf32>"
    else:
        wanted = f"{count} tensor{'s' if count != 1 else ''}"
        wrong = " ; ".join(["float32[2]"] * (count + 1))
        got = ", ".join(["tensor<2xf32>"] * (count + 1))
    return [
        (f"{name}-C1", f"handle {other}{fitting}", attributes, InvalidType,
         f'the first operand must be a handle to a {kinds}, got !df.resource<"{other}">'),
        (f"{name}-C2", f"{handle} ; {wrong}", attributes, InvalidArgument,
         f"{wanted} and then control tokens must follow the handle, got ({got})"),
    ]  # fmt: skip


def taking_many(name: str, kind: str, attributes: Mapping[str, Any] = RESULT) -> list[Broken]:
    """As `on`, and a number that is none."""
    return [
        *on(name, kind, 1, "int32[]", attributes),
        (f"{name}-C3", f"handle {kind} ; int32[1]", attributes, InvalidType,
         "the number of elements must be an integer scalar, got int32[1]"),
    ]  # fmt: skip


BROKEN: list[Broken] = [
    unnamed("queue"),
    ("queue_select-C1", "float32[] ; handle queue", {}, InvalidType,
     "the index must be an integer scalar, got float32[]"),
    ("queue_select-C2", "int32[] ; handle queue ; handle barrier", {}, InvalidType,
     'handles of queues must follow the index, got (!df.resource<"queue">, !df.resource<"barrier">)'),
    *on("enqueue", "queue", None, "float32[2]"),
    *on("enqueue_many", "queue", None, "float32[2]"),
    *on("dequeue", "queue", 0, "", RESULT),
    *taking_many("dequeue_many", "queue"),
    *taking_many("dequeue_up_to", "queue"),
    *on("queue_close", "queue or barrier", 0, "", CLOSES),
    *on("queue_size", "queue", 0),
    *on("queue_is_closed", "queue or barrier", 0),
    unnamed("barrier"),
    *on("barrier_insert_many", "barrier", 2, "string[2] ; float32[2]", {"component": 0}),
    *taking_many("barrier_take_many", "barrier", SMALL),
    *on("barrier_ready_size", "barrier", 0),
    *on("barrier_incomplete_size", "barrier", 0),
]  # fmt: skip
