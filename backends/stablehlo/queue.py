"""Queues are the host's."""

from __future__ import annotations

from dfc.backends.stablehlo.rules import not_emitted
from dfc.ir.ops import queue as qu

HOST = "queues and barriers are the host's"
not_emitted(qu.Queue, HOST)
not_emitted(qu.QueueSelect, HOST)
not_emitted(qu.Enqueue, HOST)
not_emitted(qu.EnqueueMany, HOST)
not_emitted(qu.Dequeue, HOST)
not_emitted(qu.DequeueMany, HOST)
not_emitted(qu.DequeueUpTo, HOST)
not_emitted(qu.QueueClose, HOST)
not_emitted(qu.QueueSize, HOST)
not_emitted(qu.QueueIsClosed, HOST)
not_emitted(qu.Barrier, HOST)
not_emitted(qu.BarrierInsertMany, HOST)
not_emitted(qu.BarrierTakeMany, HOST)
not_emitted(qu.BarrierReadySize, HOST)
not_emitted(qu.BarrierIncompleteSize, HOST)
