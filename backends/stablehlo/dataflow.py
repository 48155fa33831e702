"""Control flow as dataflow is the host's."""

from __future__ import annotations

from dfc.backends.stablehlo.rules import not_emitted
from dfc.ir.ops import dataflow as fl

HOST = "the executor decides where values go"
not_emitted(fl.Switch, HOST)
not_emitted(fl.Merge, HOST)
not_emitted(fl.Enter, HOST)
not_emitted(fl.Exit, HOST)
not_emitted(fl.NextIteration, HOST)
not_emitted(fl.LoopCond, HOST)
not_emitted(fl.ControlTrigger, HOST)
STACK = "stacks of steps are the host's"
not_emitted(fl.Stack, STACK)
not_emitted(fl.StackPush, STACK)
not_emitted(fl.StackPop, STACK)
not_emitted(fl.StackPack, STACK)
not_emitted(fl.StackClose, STACK)
