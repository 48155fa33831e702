"""Row K2: prune, common-subexpression elimination and constant folding; never reads, writes or random ops."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

import dfc
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.elementwise import Add, Multiply
from dfc.ir.ops.function import Func
from dfc.ir.ops.state import AssignAdd, Read
from dfc.passes import manager


def _func(graph: object) -> Func:
    func = graph.func  # type: ignore[attr-defined]
    assert isinstance(func, Func)
    return func


def _apply(graph: object, pipeline: str) -> Func:
    module = graph.module  # type: ignore[attr-defined]
    assert isinstance(module, ModuleOp)
    manager.run(module, manager.parse_pipeline(pipeline))
    return _func(graph)


def _count(func: Func, kind: type[Operation]) -> int:
    return sum(isinstance(op, kind) for op in func.block.ops)


@pytest.mark.parametrize("duplicates", [1, 7, 40])
def test_k2_cse_merges_each_duplicate(duplicates: int) -> None:
    def model(x: dfc.Tensor, y: dfc.Tensor) -> list[dfc.Tensor]:
        return [x * y for _ in range(duplicates + 1)]

    spec = dfc.TensorSpec((4,), "float32")
    graph = dfc.function(model).graph(spec, spec)
    before = len(list(_func(graph).block.ops))
    func = _apply(graph, "cse")
    assert len(list(func.block.ops)) == before - duplicates
    assert _count(func, Multiply) == 1


def test_k2_a_graph_of_constants_folds_to_one() -> None:
    def model() -> dfc.Tensor:
        x = dfc.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))
        return dfc.sum(dfc.exp(x * 2.0) @ dfc.permute_dims(x, (1, 0)) + 1.0)

    graph = dfc.function(model).graph()
    func = _apply(graph, "prune, canonicalize, cse, canonicalize, prune")
    kinds = [op.name for op in func.block.ops]
    assert kinds == ["df.constant", "df.return"]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    folded = next(op for op in func.block.ops if isinstance(op, ConstantOp)).value.data.value
    np.testing.assert_allclose(folded, np.sum(np.exp(x * 2) @ x.T + 1), rtol=1e-5)


def test_k2_reads_and_writes_are_never_merged_or_folded() -> None:
    v = dfc.Variable(np.float32(1.0), name="v")

    def model() -> tuple[dfc.Tensor, dfc.Tensor]:
        first = v.read()
        v.assign_add(dfc.asarray(np.float32(1.0)))
        v.assign_add(dfc.asarray(np.float32(1.0)))
        return first, v.read()

    graph = dfc.function(model).graph()
    func = _apply(graph, "prune, canonicalize, cse, canonicalize")
    assert _count(func, Read) == 2
    assert _count(func, AssignAdd) == 2
    first, second = dfc.function(model)()
    assert (first.item(), second.item()) == (1.0, 3.0)


def test_k2_prune_keeps_only_what_the_fetch_needs() -> None:
    def model(x: dfc.Tensor) -> dict[str, dfc.Tensor]:
        return {"loss": x + x, "other": x * x}

    graph = dfc.function(model).graph(dfc.TensorSpec((4,), "float32"))
    func = _apply(graph, "prune{fetches=loss}")
    assert _count(func, Add) == 1
    assert _count(func, Multiply) == 0
    assert func.result_names.data == ("loss",)
