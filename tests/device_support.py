"""Graphs over the four CPU devices that tests have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

import dfc
from dfc.backends import pipeline
from dfc.ir.builder import create
from dfc.ir.devices import local
from dfc.ir.ops.function import Func, Return
from dfc.ir.ops.transfer import Recv
from dfc.passes.partition import device_of
from dfc.passes.phases import Phase
from dfc.passes.place import Place
from dfc.runtime.device_names import local_devices
from dfc.runtime.rendezvous import INCARNATION, prefix_of

CPUS = [str(local("cpu", index)) for index in range(4)]
X = np.float32([0.3, 0.7])
PARALLEL = (1, 2, 10)


def split(graph: dfc.Graph, how: str = "partition", to: Phase = Phase.PARTITIONED, **later: str) -> ModuleOp:
    """The graph's program, placed and split by device; `later` has the passes of later phases, if not the default."""
    module, start = graph.module.clone(), Phase.TRACE
    for func in module.ops:
        if isinstance(func, Func) and not isinstance(func.block.last_op, Return):  # a graph made by hand, of no calls
            func.block.add_op(create(Return, (), location=func.location))
            start = Phase.GRAPH  # nothing is returned, and nothing must be pruned
    place = str(Place(tuple(map(str, local_devices()))))
    passes = {Phase.PLACED: place, Phase.PARTITIONED: how, **{Phase(name): text for name, text in later.items()}}
    pipeline.lower(module, start=start, to=to, passes=passes)
    module.verify()
    return module


def traced(f: Callable[..., Any], *specs: dfc.TensorSpec) -> ModuleOp:
    """The program of a function of tensors, split by device."""
    return split(dfc.function(f).graph(*specs))


def vector(name: str = "x", size: int = 2) -> dfc.TensorSpec:
    return dfc.TensorSpec((size,), "float32", name=name)


def parts(module: ModuleOp) -> dict[str, Func]:
    """The functions by device."""
    return {device_of(op): op for op in module.ops if isinstance(op, Func)}


def ops(module: ModuleOp, kind: type[Operation]) -> list[Any]:
    return [op for op in module.walk() if type(op) is kind]


def routes(module: ModuleOp, kind: type[Operation] = Recv) -> list[tuple[int, int]]:
    """From which device to which each transfer goes."""
    return [(CPUS.index(op.source.data), CPUS.index(op.target.data)) for op in ops(module, kind)]


def run(graph: dfc.Graph, fetches: Any, feeds: Any = None, **config: Any) -> Any:
    with dfc.Session(graph, config=dfc.SessionConfig(**config)) as session:
        return session.run(fetches, feeds or {}, timeout=20)


def key(tensor: str = "x", at: str = "0:0") -> str:
    return f"{prefix_of(CPUS[0], INCARNATION, CPUS[1], tensor)}{at}"
