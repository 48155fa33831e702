"""Row A3: sparse tensors as tuples of dense ones and as strings; no sparse value in the IR (row A2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import DataLoss, DfcError, InvalidArgument, InvalidType
from dfc.ir.types import is_tensor

sparse: Any = dfc.sparse

INDICES = np.array([[2, 1], [0, 0], [2, 1], [1, 3]])
VALUES = np.array([1.0, 2.0, 4.0, -3.0], np.float32)
SHAPE = (3, 4)


def example() -> Any:
    """Out of order, and with two elements at [2, 1]."""
    return sparse.SparseTensor(INDICES, VALUES, SHAPE)


def dense_of(indices: Any, values: Any, shape: Any) -> np.ndarray:
    found = np.zeros(shape, np.asarray(values).dtype)
    for index, value in zip(np.asarray(indices).tolist(), np.asarray(values).tolist(), strict=True):
        found[tuple(index)] += value
    return found


DENSE = dense_of(INDICES, VALUES, SHAPE)


def read(x: Any) -> np.ndarray:
    """A sparse tensor's dense form, by a loop over its parts."""
    assert x.indices.dtype is dfc.int64
    return dense_of(x.indices.numpy(), x.values.numpy(), x.shape)


# ---- the tuple


def test_a3_a_tuple_of_dense_tensors() -> None:
    x = example()
    indices, values, shape = x
    assert indices.shape == (4, 2) and indices.dtype is dfc.int64
    assert values.shape == (4,) and shape == (3, 4)
    assert read(sparse.SparseTensor(*x)).tolist() == DENSE.tolist()
    assert sparse.SparseTensor(indices, values, dfc.asarray([3, 4])).shape == (3, 4)


def test_a3_round_trip_through_dense_duplicates_add() -> None:
    x = example()
    assert x.to_dense().numpy().tolist() == DENSE.tolist()
    again = sparse.from_dense(x.to_dense(), size=5)
    assert again.indices.numpy().tolist() == [[0, 0], [1, 3], [2, 1], [0, 0], [0, 0]]
    assert again.values.numpy().tolist() == [2, -3, 5, 0, 0]
    assert again.to_dense().numpy().tolist() == DENSE.tolist()


def test_a3_through_functions_and_no_sparse_value_in_the_ir() -> None:
    @dfc.function
    def twice(x: Any, k: Any) -> Any:
        doubled = sparse.map_values(lambda v: v * k, x)
        return {"sum": doubled + x, "dense": sparse.to_dense(doubled)}

    found = twice(example(), np.float32(2))
    assert isinstance(found["sum"], sparse.SparseTensor)
    assert read(found["sum"]).tolist() == (3 * DENSE).tolist()
    assert found["dense"].numpy().tolist() == (2 * DENSE).tolist()
    graph = twice.graph(example(), np.float32(2)).func
    assert all(is_tensor(r.type) for op in graph.block.ops for r in op.results)


def test_a3_indexed_slices_sum_duplicates() -> None:
    slices: Any = dfc.IndexedSlices(np.array([[1.0, 2], [3, 4], [5, 6]], np.float32), [2, 0, 2], (4, 2))
    assert slices.to_dense().numpy().tolist() == [[3, 4], [0, 0], [6, 8], [0, 0]]


# ---- operations


def test_a3_add_and_coalesce() -> None:
    other = sparse.SparseTensor([[0, 0], [2, 3]], np.array([10.0, 20.0]), SHAPE)
    total = example() + other
    assert total.dtype is dfc.float64
    assert read(total).tolist() == (DENSE + read(other)).tolist()
    joined = sparse.coalesce(total)
    assert joined.indices.numpy().tolist() == [[0, 0], [1, 3], [2, 1], [2, 3], [0, 0], [0, 0]]
    assert joined.values.numpy().tolist() == [12, -3, 5, 20, 0, 0]
    assert sparse.coalesce(total, size=2).values.numpy().tolist() == [12, -3]


def test_a3_reorder_keeps_the_order_of_equal_places() -> None:
    x = sparse.reorder(example())
    assert x.indices.numpy().tolist() == [[0, 0], [1, 3], [2, 1], [2, 1]]
    assert x.values.numpy().tolist() == [2, -3, 1, 4]


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_a3_reduce_sum(axis: Any, keepdims: bool) -> None:
    found = sparse.reduce_sum(example(), axis=axis, keepdims=keepdims)
    assert found.dtype is dfc.float32
    assert found.numpy().tolist() == DENSE.sum(axis=axis, keepdims=keepdims).tolist()


def test_a3_reduce_sum_of_rank_3() -> None:
    rng = np.random.default_rng(0)
    indices, values = rng.integers(0, 3, (20, 3)), rng.normal(size=20)
    x = sparse.SparseTensor(indices, values, (3, 3, 3))
    whole = dense_of(indices, values, (3, 3, 3))
    for axis in (0, 1, 2, (0, 2), (1, 2)):
        np.testing.assert_allclose(
            sparse.reduce_sum(x, axis=axis).numpy(), whole.sum(axis=axis), rtol=1e-12, atol=1e-14
        )
    for axes in ((0, 1, 2), (2, 0, 1), (1, 0, 2)):
        np.testing.assert_array_equal(read(sparse.transpose(x, axes)), whole.transpose(axes))


def test_a3_slice_and_transpose() -> None:
    part = sparse.slice(example(), (1, 1), (2, 2))
    assert part.shape == (2, 2)
    assert read(part).tolist() == DENSE[1:3, 1:3].tolist()
    assert read(sparse.transpose(example())).tolist() == DENSE.T.tolist()
    assert sparse.slice(example(), (0, 0), (3, 0)).to_dense().numpy().shape == (3, 0)


@pytest.mark.parametrize("columns", [(), (5,)])
def test_a3_matmul(columns: Any) -> None:
    y = np.random.default_rng(1).normal(size=(4, *columns)).astype(np.float32)
    found = example() @ y
    np.testing.assert_allclose(found.numpy(), DENSE @ y, rtol=1e-6, atol=1e-6)
    assert found.dtype is dfc.float32


def test_a3_gradients_of_matmul() -> None:
    y = np.random.default_rng(1).normal(size=(4, 5))
    weights = np.random.default_rng(2).normal(size=(3, 5))

    def loss(values: Any, y: Any) -> Any:
        x = sparse.SparseTensor(INDICES, values, SHAPE)
        return dfc.sum(sparse.matmul(x, y) * weights)

    to_values, to_y = dfc.grad(loss, argnums=(0, 1))(VALUES.astype(np.float64), y)
    full = weights @ y.T
    np.testing.assert_allclose(to_values.numpy(), [full[tuple(i)] for i in INDICES], rtol=1e-12)
    np.testing.assert_allclose(np.asarray(to_y), DENSE.T.astype(np.float64) @ weights, rtol=1e-12)


# ---- strings


def test_a3_the_string_encoding_round_trips() -> None:
    data = sparse.serialize_sparse(example())
    assert data.dtype is dfc.string and data.shape == (3,)
    again = sparse.deserialize_sparse(data, size=4, shape=SHAPE, dtype="float32")
    assert again.indices.numpy().tolist() == INDICES.tolist()
    assert again.values.numpy().tolist() == VALUES.tolist()
    assert again.shape == SHAPE

    @dfc.function
    def there_and_back(x: Any) -> Any:
        return sparse.deserialize_sparse(sparse.serialize_sparse(x), size=4, shape=SHAPE, dtype="float32")

    assert read(there_and_back(example())).tolist() == DENSE.tolist()


def test_a3_the_bytes_are_the_documented_ones() -> None:
    x = sparse.SparseTensor([[3]], np.array([1.5], np.float32), (7,))
    eight = [(n).to_bytes(8, "little") for n in range(8)]
    assert sparse.serialize_sparse(x).numpy().tolist() == [
        b"dfT1\x05int64\x02" + eight[1] + eight[1] + eight[3],
        b"dfT1\x07float32\x01" + eight[1] + b"\x00\x00\xc0\x3f",
        b"dfT1\x05int64\x01" + eight[1] + eight[7],
    ]


def damaged() -> Any:
    first, *rest = sparse.serialize_sparse(example()).numpy().tolist()
    return dfc.asarray([first[:-1], *rest])


CASES: list[tuple[Any, type[DfcError], str]] = [
    (lambda: sparse.SparseTensor([[0.5]], [1.0], (2,)), InvalidType, "indices must be integers, got float32"),
    (lambda: sparse.SparseTensor([[0]], [1.0], (2, 2)), InvalidArgument, "got (1, 1), (1,) and (2, 2)"),
    (lambda: sparse.to_dense(DENSE), InvalidType, "a SparseTensor is needed, got a "),
    (lambda: sparse.add(example(), sparse.transpose(example())), InvalidArgument, "got (3, 4) and (4, 3)"),
    (lambda: example() @ np.ones(3), InvalidArgument, "got shapes (3, 4) and (3,)"),
    (lambda: sparse.slice(example(), (0, 3), (1, 2)), InvalidArgument, "must lie within (3, 4)"),
    (lambda: sparse.transpose(example(), (0, 0)), InvalidArgument, "axes must name each of 2 axes once"),
    (lambda: sparse.reduce_sum(example(), axis=2), InvalidArgument, "the axis must be within rank 2, got 2"),
    (
        lambda: sparse.deserialize_sparse(sparse.serialize_sparse(example()), size=4, shape=(3, 5), dtype="float32"),
        InvalidArgument,
        "the shape must be the one that was written, (3, 4), got (3, 5)",
    ),
    (
        lambda: sparse.deserialize_sparse(sparse.serialize_sparse(example()), size=3, shape=SHAPE, dtype="float32"),
        InvalidArgument,
        "the string must hold int64[3, 2], got int64[4, 2]",
    ),
    (lambda: sparse.deserialize_sparse(damaged(), size=4, shape=SHAPE, dtype="float32"), DataLoss, "holds no tensor"),
]


@pytest.mark.parametrize(("call", "kind", "message"), CASES)
def test_a3_errors(call: Any, kind: type[DfcError], message: str) -> None:
    with pytest.raises(DfcError) as caught:
        call()
    assert type(caught.value) is kind
    assert message in str(caught.value)
    assert "test_a3_sparse_encodings.py:" in str(caught.value)
