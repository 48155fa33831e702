"""No gradient passes through what lives between steps."""

from __future__ import annotations

from dfc.ir.ops import queue as qu
from dfc.passes.autodiff.rules import non_differentiable

HANDLE = "is a handle"
OUT = "gives what another step may have put in"
EFFECT = "has an effect and no value to differentiate"
non_differentiable(qu.Queue, HANDLE)
non_differentiable(qu.QueueSelect, HANDLE)
non_differentiable(qu.Enqueue, EFFECT)
non_differentiable(qu.EnqueueMany, EFFECT)
non_differentiable(qu.Dequeue, OUT)
non_differentiable(qu.DequeueMany, OUT)
non_differentiable(qu.DequeueUpTo, OUT)
non_differentiable(qu.QueueClose, EFFECT)
non_differentiable(qu.QueueSize, "gives an integer")
non_differentiable(qu.QueueIsClosed, "gives a boolean")
non_differentiable(qu.Barrier, HANDLE)
non_differentiable(qu.BarrierInsertMany, EFFECT)
non_differentiable(qu.BarrierTakeMany, OUT)
non_differentiable(qu.BarrierReadySize, "gives an integer")
non_differentiable(qu.BarrierIncompleteSize, "gives an integer")
