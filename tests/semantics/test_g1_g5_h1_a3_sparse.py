"""Rows A3 (indexed slices), G1 (sparse gradients stay sparse), G5 (rows that occur twice are summed first; optimisers:
test_g4_optimizers.py) and H1 (the gradient of taking rows is rows)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc
from dfc.backends import pipeline, reference
from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.indexed_slices import deduplicated
from dfc.ir.ops.function import Func, Gradients
from dfc.ir.text import parse_program, print_program
from dfc.passes.phases import Phase

TABLE = np.arange(10.0).reshape(5, 2)
IDS = np.array([3, 1, 3], np.int32)


def table() -> dfc.Variable:
    return dfc.Variable(TABLE, name="table")


def spread(values: Any, indices: Any, n: int = 5) -> Any:
    """Rows of equal indices added up, one after the other."""
    dense = np.zeros((n, *np.shape(values)[1:]))
    for i, row in zip(np.asarray(indices), np.asarray(values), strict=True):
        dense[i] += row
    return dense


def kinds_of(function: Any, *specs: Any) -> list[tuple[str, ...]]:
    module = function.graph(*specs).module
    return [op.kinds.data for f in module.ops if isinstance(f, Func) for op in f.block.ops if isinstance(op, Gradients)]


# ---- A3: indexed slices


def test_a3_round_trip_and_duplicates_sum_when_densified() -> None:
    values = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    slices = dfc.IndexedSlices(values, IDS, (5, 2))
    for found in (slices, dfc.function(lambda s: s)(slices), dfc.function(lambda s: {"s": s})(slices)["s"]):
        assert isinstance(found, dfc.IndexedSlices)
        assert found.values.numpy().tolist() == values.tolist()
        assert found.indices.numpy().tolist() == IDS.tolist()
        assert found.dense_shape == found.shape == (5, 2)
        assert found.to_dense().numpy().tolist() == [[0, 0], [3, 4], [0, 0], [6, 8], [0, 0]]
    assert dfc.IndexedSlices(values, IDS, dfc.asarray([5, 2])).dense_shape == (5, 2)
    assert (slices.dtype, slices.ndim) == (dfc.float32, 2)


def test_a3_an_operation_takes_the_dense_tensor() -> None:
    slices = dfc.IndexedSlices([[1.0], [2.0]], [1, 1], (3, 1))
    dense = np.array([[0], [3], [0]], np.float32)
    assert dfc.asarray(slices).numpy().tolist() == slices.numpy().tolist() == dense.tolist()
    assert np.asarray(slices).tolist() == dense.tolist()
    assert (slices * 2 + dfc.ones((3, 1))).numpy().tolist() == (dense * 2 + 1).tolist()
    assert dfc.function(lambda s: dfc.sum(s) - s[1, 0])(slices).item() == 0
    assert dfc.zeros_like(slices).shape == (3, 1)


def test_a3_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(InvalidArgument) as shapes:
        dfc.IndexedSlices([[1.0, 2.0]], [0], (3, 1))
    assert str(shapes.value).startswith(
        "IndexedSlices: values must have a row of the dense shape for each of a vector of indices, got values of shape "
        "(1, 2) and indices of shape (1,) for (3, 1)\n"
    )
    with pytest.raises(InvalidType) as indices:
        dfc.IndexedSlices([1.0], [0.0], (3,))
    assert str(indices.value).startswith("IndexedSlices: indices must be integers, got float32\n")
    with pytest.raises(InvalidType, match="the dense shape must be known while tracing"):
        dfc.function(lambda n: dfc.IndexedSlices([1.0], [0], n))(np.array([3]))


# ---- G1, H1: gradients


def test_h1_the_gradient_of_taking_rows_is_the_indices_and_the_gradient_of_the_rows() -> None:
    v = table()

    @dfc.function
    def f(ids: Any, weights: Any) -> Any:
        return dfc.gradients(dfc.sum(dfc.take(v, ids, axis=0) * weights), v)[0]

    weights = np.array([[1, 2], [3, 4], [5, 6]], np.float64)
    found = f(IDS, weights)
    assert isinstance(found, dfc.IndexedSlices)
    assert found.values.numpy().tolist() == weights.tolist()
    assert found.indices.numpy().tolist() == IDS.tolist()
    assert found.dense_shape == (5, 2)
    assert kinds_of(f, dfc.TensorSpec((3,), "int32"), dfc.TensorSpec((3, 2), "float64")) == [("sparse",)]


def test_h1_nothing_of_the_size_of_the_table_is_computed() -> None:
    v = dfc.Variable(lambda: np.zeros((1000, 2)), name="table")
    graph = dfc.function(lambda ids: dfc.gradients(dfc.sum(dfc.take(v, ids, axis=0) ** 2), v)[0]).graph(
        dfc.TensorSpec((3,), "int32")
    )
    program = graph.module.clone()
    pipeline.lower(program, to=Phase.GRAPH)
    (func,) = (op for op in program.ops if isinstance(op, Func))
    large = {op.name for op in func.block.ops for r in op.results if "1000" in str(r.type)}
    assert large == {"df.variable", "df.read"}


def test_g1_sparse_gradients_are_concatenated_in_program_order() -> None:
    v = table()

    @dfc.function
    def f(x: Any, ids: Any) -> Any:
        a = dfc.sum(dfc.take(x, ids, axis=0) ** 2) + 3 * dfc.sum(dfc.take(x, dfc.asarray(np.int64([[0], [4]])), axis=0))
        b = dfc.sum(dfc.take(v, ids, axis=0)) + dfc.sum(dfc.take(v, [0], axis=0) * 5)
        return dfc.gradients([a, b], [x, v])

    by_x, by_v = f(TABLE, IDS)
    assert by_x.indices.numpy().tolist() == [3, 1, 3, 0, 4]
    assert by_x.indices.dtype is dfc.int64  # int32 and int64
    assert by_x.values.numpy().tolist() == [*(2 * TABLE[IDS]).tolist(), [3, 3], [3, 3]]
    assert by_v.indices.numpy().tolist() == [3, 1, 3, 0]
    assert by_v.indices.dtype is dfc.int32
    assert by_v.values.numpy().tolist() == [[1, 1]] * 3 + [[5, 5]]


DENSE_USES = {
    "sum": lambda v, ids: dfc.sum(v.read() * 2),
    "another axis": lambda v, ids: dfc.sum(dfc.take(v, [0], axis=1)),
    "identity": lambda v, ids: dfc.sum(dfc.take(dfc.identity(v), ids, axis=0)),
    "itself": lambda v, ids: v.read(),
    "a checkpoint": lambda v, ids: dfc.checkpoint(lambda: dfc.sum(dfc.take(v, ids, axis=0)))(),
}


@pytest.mark.parametrize("use", DENSE_USES)
def test_g1_sparse_and_dense_is_dense(use: str) -> None:
    v = table()

    @dfc.function
    def f(ids: Any) -> Any:
        ys = [dfc.sum(dfc.take(v, ids, axis=0)), DENSE_USES[use](v, ids)]
        alone = dfc.gradients(ys[1], v)[0]
        return dfc.gradients(ys, v)[0], alone, dfc.gradients(ys[0], v)[0]

    both, alone, rows = f(IDS)
    assert isinstance(both, dfc.Tensor)
    assert isinstance(rows, dfc.IndexedSlices)  # the other use is on no path
    assert_allclose(both.numpy(), alone.numpy() + rows.numpy())
    assert_allclose(rows.numpy(), spread(np.ones((3, 2)), IDS))


def test_g1_calls_are_looked_through() -> None:
    v = table()
    embed = dfc.function(lambda ids: dfc.take(v, ids, axis=0))
    pick = dfc.function(lambda x, ids: (dfc.take(x, ids, axis=0), x))
    model = dfc.function(lambda ids: dfc.sum(embed(ids) ** 2) + dfc.sum(embed(ids[:1])))

    @dfc.function
    def f(x: Any, ids: Any) -> Any:
        rows, same = pick(x, ids)
        y = model(ids) + dfc.sum(rows) + dfc.sum(dfc.take(same, [2], axis=0))
        return dfc.gradients(y, [v, x]), dfc.gradients(dfc.sum(same), x)[0]

    (by_v, by_x), dense = f(TABLE, IDS)
    assert by_v.indices.numpy().tolist() == [3, 1, 3, 3]
    assert_allclose(by_v.numpy(), spread([*(2 * TABLE[IDS]), [1, 1]], [3, 1, 3, 3]))
    assert by_x.indices.numpy().tolist() == [3, 1, 3, 2]
    assert isinstance(dense, dfc.Tensor)


def test_g1_several_reads_and_writes_between() -> None:
    v = table()

    @dfc.function
    def f(ids: Any) -> Any:
        a = dfc.sum(dfc.take(v, ids, axis=0) ** 2)
        v.scatter_update(ids, 1.0)
        return dfc.gradients(a + dfc.sum(dfc.take(v, ids, axis=0) ** 2), v)[0]

    found = f(IDS)
    assert found.values.numpy().tolist() == [*(2 * TABLE[IDS]).tolist(), *[[2, 2]] * 3]


def test_g1_second_order_through_rows() -> None:
    v = table()

    @dfc.function
    def f(ids: Any) -> Any:
        (first,) = dfc.gradients(dfc.sum(dfc.take(v, ids, axis=0) ** 3), v)
        by_rows = dfc.gradients(dfc.sum(first.values**2), v)[0]
        by_dense = dfc.gradients(dfc.sum(first.to_dense() ** 2), v)[0]
        (linear,) = dfc.gradients(dfc.sum(dfc.take(v, ids, axis=0)), v)
        return by_rows, by_dense, dfc.gradients(dfc.sum(linear.values), v)

    by_rows, by_dense, by_linear = f(IDS)
    assert isinstance(by_rows, dfc.IndexedSlices)
    x = TABLE[IDS]  # y = sum x^3, so sum of (3 x^2)^2 has the derivative 36 x^3
    assert_allclose(by_rows.numpy(), spread(36 * x**3, IDS))
    twice = spread(np.ones((3, 2)), IDS) ** 2  # rows that count twice are squared together
    assert_allclose(by_dense.numpy(), twice * 36 * TABLE**3)
    assert np.all(by_linear[0].numpy() == 0)  # the rows of a linear function depend on nothing


def test_g1_rows_that_get_no_gradient_after_all_are_zeros() -> None:
    """The second request's path leads through the first's rows, whose values depend on nothing."""
    v = table()

    @dfc.function
    def f(ids: Any) -> Any:
        rows = dfc.take(v, ids, axis=0)
        (first,) = dfc.gradients(dfc.sum(rows), v)
        return dfc.gradients([dfc.sum(first.values), dfc.sum(dfc.take(v, [0], axis=0))], v)[0]

    found = f(IDS)
    assert found.indices.numpy().tolist() == [3, 1, 3, 0]
    assert found.values.numpy().tolist() == [[0, 0]] * 3 + [[1, 1]]


def test_g1_symbolic_numbers_of_rows_and_the_interpreter() -> None:
    v = table()

    @dfc.function(signature=[dfc.TensorSpec(("n",), "int32"), dfc.TensorSpec(("m", 2), "int64")])
    def f(a: Any, b: Any) -> Any:
        y = dfc.sum(dfc.take(v, a, axis=0) ** 2) + dfc.sum(dfc.take(v, b, axis=0))
        return dfc.gradients(y, v)[0]

    program = parse_program(print_program(f.graph().module))
    pipeline.lower(program, to=Phase.GRAPH)
    for n, m in ((1, 1), (4, 2), (0, 0)):
        a, b = np.arange(n, dtype=np.int32), np.full((m, 2), 4)
        found = f(a, b)
        want = [*(2 * TABLE[a]).tolist(), *[[1, 1]] * (2 * m)]
        assert found.values.numpy().tolist() == want
        assert found.indices.numpy().tolist() == [*a, *b.ravel()]
        values, indices = reference.run(program, [a, b], {"table": TABLE})[0]
        assert (values.tolist(), indices.tolist()) == (want, found.indices.numpy().tolist())


def test_g1_a_tensor_of_symbolic_shape_has_a_dense_gradient() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("n", 2), "float64")])
    def f(x: Any) -> Any:
        return dfc.gradients(dfc.sum(dfc.take(x, [1, 1], axis=0)), x)[0]

    assert f(TABLE).numpy().tolist() == spread(np.ones((2, 2)), [1, 1]).tolist()


def test_g1_grad_is_sparse_by_variables_and_dense_by_tensors() -> None:
    v = table()

    def loss(x: Any, w: Any) -> Any:
        return dfc.sum(dfc.take(x, IDS, axis=0) * dfc.take(w, IDS, axis=0))

    by_x, by_v = dfc.grad(loss, argnums=(0, 1))(TABLE, v)
    assert isinstance(by_x, dfc.Tensor)
    assert isinstance(by_v, dfc.IndexedSlices)
    assert_allclose(by_x.numpy(), by_v.numpy())
    assert_allclose(
        dfc.hessian(lambda x: dfc.sum(dfc.take(x, [0, 0], axis=0) ** 2))(np.ones(2)).numpy(), [[4, 0], [0, 0]]
    )


# ---- G5: what sparse optimisers need


@pytest.mark.parametrize("n_rows", [5, 100])
def test_g5_duplicates_are_summed_first(n_rows: int) -> None:
    """Few rows and many go different ways: 9 pairs against a vector of n_rows."""
    values = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    slices = dfc.IndexedSlices(values, IDS, (n_rows, 2))
    for found in (deduplicated(slices), dfc.function(deduplicated)(slices)):
        assert found.indices.numpy().tolist() == IDS.tolist()
        assert found.values.numpy().tolist() == [[0, 0], [3, 4], [6, 8]]  # 3 stands first and last
        assert_allclose(found.numpy(), slices.numpy())


def test_g5_a_step_changes_only_the_rows_that_are_named() -> None:
    """An Adam step (Kingma and Ba 2015) by hand: other rows of the table and of the slot stay as they are."""
    v, slot = table(), dfc.Variable(np.full((5, 2), 7.0))

    @dfc.function
    def step(ids: Any) -> Any:
        (g,) = dfc.gradients(dfc.sum(dfc.take(v, ids, axis=0) ** 2), v)
        rows = deduplicated(g)
        second = 0.9 * dfc.take(slot, rows.indices, axis=0) + 0.1 * rows.values**2
        slot.scatter_update(rows.indices, second)
        v.scatter_update(rows.indices, dfc.take(v, rows.indices, axis=0) - rows.values / dfc.sqrt(second))

    step(IDS)
    total = spread(2 * TABLE[IDS], IDS)
    want_slot, want = np.full((5, 2), 7.0), TABLE.copy()
    for i in (1, 3):
        want_slot[i] = 0.9 * 7 + 0.1 * total[i] ** 2
        want[i] -= total[i] / np.sqrt(want_slot[i])
    assert_allclose(slot.numpy(), want_slot)
    assert_allclose(v.numpy(), want)


def test_g5_the_optimisers_take_sparse_gradients() -> None:
    v, optimizer = table(), dfc.train.SGD(0.5)

    @dfc.function
    def step(ids: Any) -> Any:
        optimizer.minimize(dfc.sum(dfc.take(v, ids, axis=0) ** 2), [v])

    step(IDS)
    want = TABLE - 0.5 * spread(2 * TABLE[IDS], IDS)
    assert_allclose(v.numpy(), want)
    found = dfc.function(lambda ids: dfc.gradients(dfc.sum(dfc.take(v, ids, axis=0)), v)[0])(IDS)
    optimizer.apply_gradients([(found, v)])
    assert_allclose(v.numpy(), want - 0.5 * spread(np.ones((3, 2)), IDS))
