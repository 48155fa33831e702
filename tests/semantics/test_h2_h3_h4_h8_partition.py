"""H2, H3, H4, H8: partition and stitch, their gradients, and one compiled program for all splits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidArgument, InvalidType
from tests.frontend_support import error_of

Array = np.ndarray[Any, Any]


def now(data: Any, partitions: Any, n: int) -> list[Array]:
    return [part.numpy() for part in dfc.dynamic_partition(data, partitions, n)]


def constant(data: Any, partitions: Any, n: int) -> list[Array]:
    """In a trace, by partitions that are known there."""
    parts = dfc.function(lambda x: dfc.dynamic_partition(x, np.array(partitions), n))(np.asarray(data))
    return [part.numpy() for part in parts]


def compiled(data: Any, partitions: Any, n: int) -> list[Array]:
    """In a trace, by partitions that are data; the padding must be zeros and is cut off."""
    parts = dfc.function(lambda x, p: dfc.dynamic_partition(x, p, n))(np.asarray(data), np.array(partitions))
    for rows, length in parts:
        assert rows.shape[0] == np.size(partitions)
        assert not rows.numpy()[int(length) :].any()
    return [rows.numpy()[: int(length)] for rows, length in parts]


EVERYWHERE = pytest.mark.parametrize("part", [now, constant, compiled])


@EVERYWHERE
@pytest.mark.parametrize(
    ("data", "partitions", "n", "expected"),
    [
        ([0, 13, 2, 39, 4, 17], [0, 0, 2, 3, 2, 1], 4, [[0, 13], [17], [2, 4], [39]]),
        (
            [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [12, 13, 14], [15, 16, 17]],
            [0, 0, 2, 3, 2, 1],
            4,
            [[[0, 1, 2], [3, 4, 5]], [[15, 16, 17]], [[6, 7, 8], [12, 13, 14]], [[9, 10, 11]]],
        ),
        ([[1, 2], [3, 4]], [[0, 1], [1, 0]], 2, [[1, 4], [2, 3]]),  # partitions of a higher rank
        ([[1, 2], [3, 4]], 1, 3, [np.zeros((0, 2, 2)), [[[1, 2], [3, 4]]], np.zeros((0, 2, 2))]),  # a scalar
        (np.zeros((0, 2)), np.zeros(0, np.int32), 2, [np.zeros((0, 2)), np.zeros((0, 2))]),
        ([[1, 2]], [0], 2, [[[1, 2]], np.zeros((0, 2))]),  # an empty part keeps the shape of a row
    ],
)
def test_h2_partition(part: Any, data: Any, partitions: Any, n: int, expected: list[Any]) -> None:
    found = part(np.array(data, np.float32), np.array(partitions, np.int32), n)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, np.asarray(want, np.float32), strict=True)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("partitions", "n", "text"),
    [
        ([1, 0, 99, 3], 4, "partitions[2] = 99 is not in [0, 4)"),
        (17, 7, "partitions = 17 is not in [0, 7)"),
        ([[0, 1], [-1, 2]], 3, "partitions[1,0] = -1 is not in [0, 3)"),
    ],
)
def test_h2_a_partition_out_of_range_that_is_known(inside: bool, partitions: Any, n: int, text: str) -> None:
    data = np.zeros((*np.shape(partitions), 2), np.float32)

    def call() -> Any:
        return dfc.dynamic_partition(data, np.array(partitions), n)

    assert error_of(InvalidArgument, dfc.function(call) if inside else call, __file__) == f"dynamic_partition: {text}"


def test_h2_a_partition_out_of_range_that_is_data_is_dropped() -> None:
    found = compiled(np.arange(4.0, dtype=np.float32), np.array([1, 9, -1, 0], np.int32), 2)
    np.testing.assert_array_equal(found[0], [3])
    np.testing.assert_array_equal(found[1], [0])


@pytest.mark.parametrize("inside", [False, True])
def test_h2_shapes_must_begin_alike(inside: bool) -> None:
    data, ids = np.zeros((3, 2), np.float32), np.zeros(2, np.int32)
    partition = dfc.function(lambda x, p: dfc.dynamic_partition(x, p, 2))

    def call() -> Any:
        return partition(data, ids) if inside else dfc.dynamic_partition(data, ids, 2)

    assert error_of(InvalidArgument, call, __file__) == (
        "dynamic_partition: the shape of partitions must begin that of data, got (2) and (3, 2)"
    )


# ---- stitch


def by_sizes(indices: list[Any], data: list[Any]) -> Array:
    """In a trace, by indices that are data."""
    places, rows = [np.array(i, np.int32) for i in indices], [np.array(d, np.float32) for d in data]
    size = max((int(p.max(initial=-1)) for p in places), default=-1) + 1
    return dfc.function(lambda i, d: dfc.dynamic_stitch(i, d, size=size))(places, rows).numpy()


def by_constants(indices: list[Any], data: list[Any]) -> Array:
    rows = [np.array(d, np.float32) for d in data]
    return dfc.function(lambda d: dfc.dynamic_stitch([np.array(i, np.int32) for i in indices], d))(rows).numpy()


def stitch_now(indices: list[Any], data: list[Any]) -> Array:
    rows = [np.array(d, np.float32) for d in data]
    return dfc.dynamic_stitch([np.array(i, np.int32) for i in indices], rows).numpy()


@pytest.mark.parametrize("stitch", [stitch_now, by_constants, by_sizes])
@pytest.mark.parametrize(
    ("indices", "data", "expected"),
    [
        ([[0, 4, 7], [1, 6, 2, 3, 5]], [[0, 40, 70], [10, 60, 20, 30, 50]], [0, 10, 20, 30, 40, 50, 60, 70]),
        (
            [[0, 4, 7], [1, 6], [2, 3, 5]],
            [[[0, 1], [40, 41], [70, 71]], [[10, 11], [60, 61]], [[20, 21], [30, 31], [50, 51]]],
            [[0, 1], [10, 11], [20, 21], [30, 31], [40, 41], [50, 51], [60, 61], [70, 71]],
        ),
        (
            [6, [4, 1], [[5, 2], [0, 3]]],  # a scalar, a vector and a matrix: shape (7, 2)
            [[61, 62], [[41, 42], [11, 12]], [[[51, 52], [21, 22]], [[1, 2], [31, 32]]]],
            [[1, 2], [11, 12], [21, 22], [31, 32], [41, 42], [51, 52], [61, 62]],
        ),
        ([[0, 4, 3], [1, 3, 2]], [[0, 40, 70], [10, 60, 20]], [0, 10, 20, 60, 40]),  # the last one wins
        ([[1, 0, 1]], [[1, 2, 3]], [2, 3]),
        ([[0, 2], [0]], [[1, 2], [9]], [9, 0, 2]),  # a row that none names: zero
        ([np.zeros(0), [0]], [np.zeros((0, 2)), [[1, 2]]], [[1, 2]]),
        ([np.zeros(0), np.zeros(0)], [np.zeros((0, 2)), np.zeros((0, 2))], np.zeros((0, 2))),
    ],
)
def test_h3_stitch(stitch: Any, indices: list[Any], data: list[Any], expected: Any) -> None:
    np.testing.assert_array_equal(stitch(indices, data), np.asarray(expected, np.float32), strict=True)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("indices", "data", "text"),
    [
        ([[0], [1, -1]], [[1.0], [2.0, 3.0]], "indices[1][1] = -1 is out of range"),
        (
            [[0, 1, 2]],
            [[1.0, 2.0]],
            "data[0] must have the shape of indices[0], (3), and then (), got (2)",
        ),
        (
            [[0], [1]],
            [[[1.0, 2.0]], [3.0]],
            "data[1] must have the shape of indices[1], (1), and then (2), got (1)",
        ),
        ([[0]], [], "as many data as indices are needed, got 1 and 0"),
    ],
)
def test_h3_errors(inside: bool, indices: list[Any], data: list[Any], text: str) -> None:
    def call() -> Any:
        return dfc.dynamic_stitch(indices, data)

    assert error_of(InvalidArgument, dfc.function(call) if inside else call, __file__) == f"dynamic_stitch: {text}"


def test_h3_the_size_of_what_is_not_known() -> None:
    stitch = dfc.function(lambda i, d: dfc.dynamic_stitch([i], [d]))
    assert error_of(InvalidArgument, lambda: stitch(np.zeros(2, np.int32), np.zeros(2, np.float32)), __file__) == (
        "dynamic_stitch: the size must be given where indices aren't known while tracing"
    )


# ---- gradients


IDS = [0, 0, 2, 3, 2, 1]


@pytest.mark.parametrize("as_data", [False, True])
def test_h4_gradient_of_a_partition_is_stitched(as_data: bool) -> None:
    def loss(data: Any, ids: Any) -> Any:
        parts = dfc.dynamic_partition(data, ids if as_data else np.array(IDS, np.int32), 4)
        rows = [p.rows if as_data else p for p in parts]
        return sum((dfc.sum(7 * i * r) for i, r in enumerate(rows, 1)), dfc.asarray(0.0))

    data = np.arange(12, dtype=np.float32).reshape(6, 2)
    gradient = dfc.grad(loss)(data, np.array(IDS, np.int32)).numpy()
    np.testing.assert_array_equal(gradient, [[7 * (i + 1)] * 2 for i in IDS])


def stitched_loss(size: int | None, first: Any, second: Any, i: Any, j: Any) -> Any:
    indices = [np.array([0, 4, 3]), np.array([1, 3, 2])] if size is None else [i, j]
    merged = dfc.dynamic_stitch(indices, [first, second], size=size)
    return dfc.sum(merged * dfc.asarray([1.0, 2.0, 3.0, 4.0, 5.0]))


@pytest.mark.parametrize("size", [None, 5])
def test_h4_gradient_of_a_stitch_is_zero_for_what_was_overwritten(size: int | None) -> None:
    first, second = np.array([0, 40, 70], np.float32), np.array([10, 60, 20], np.float32)
    places = np.array([0, 4, 3], np.int32), np.array([1, 3, 2], np.int32)
    both = dfc.function(lambda a, b, i, j: dfc.gradients([stitched_loss(size, a, b, i, j)], [a, b]))
    by_first, by_second = both(first, second, *places)
    np.testing.assert_array_equal(by_first.numpy(), [1, 5, 0])  # 70 at place 3 was overwritten by 60
    np.testing.assert_array_equal(by_second.numpy(), [2, 4, 3])


def test_h4_equal_indices_in_one_operand() -> None:
    def loss(rows: Any) -> Any:
        return dfc.sum(dfc.dynamic_stitch([np.array([1, 0, 1])], [rows]) * dfc.asarray([[2.0], [3.0]]))

    gradient = dfc.grad(loss)(np.ones((3, 2), np.float32)).numpy()
    np.testing.assert_array_equal(gradient, [[0, 0], [2, 2], [3, 3]])


# ---- one program for all splits


def test_h8_partition_gather_and_stitch_compile_once_for_all_splits() -> None:
    shards, rows_each, batch = 4, 5, 8
    rng = np.random.default_rng(0)
    tables = [rng.normal(size=(rows_each, 3)).astype(np.float32) for _ in range(shards)]
    traced = []

    @dfc.function
    def lookup(tables: Any, ids: Any) -> Any:
        traced.append(1)
        shard = ids % shards
        rows = dfc.dynamic_partition(ids // shards, shard, shards)
        back = dfc.dynamic_partition(np.arange(batch, dtype=np.int32), shard, shards)
        found = [dfc.take(table, part, axis=0) for table, part in zip(tables, rows, strict=True)]
        return dfc.dynamic_stitch(back, found)

    weights = dfc.function(lambda t, ids: dfc.gradients([dfc.sum(lookup(t, ids))], t))
    splits = [np.full(batch, s) for s in range(shards)] + [rng.integers(0, shards, batch) for _ in range(6)]
    for split in splits:  # from no row in a part to all of them
        row = rng.integers(0, rows_each, batch)
        ids = (row * shards + split).astype(np.int32)
        expected = np.stack([tables[s][r] for s, r in zip(split, row, strict=True)])
        np.testing.assert_array_equal(lookup(tables, ids).numpy(), expected)
        touched = np.zeros((shards, rows_each))
        np.add.at(touched, (split, row), 1)
        for gradient, want in zip(weights(tables, ids), touched, strict=True):
            np.testing.assert_array_equal(gradient.numpy(), np.repeat(want[:, None], 3, axis=1))
    assert len(traced) <= 2  # once alone, once under the gradient
    assert len(lookup._compiled) == 1


def test_h8_sizes_stay_symbolic() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b", 2)), dfc.TensorSpec(("b",), "int32")])
    def halves(x: Any, ids: Any) -> Any:
        parts = dfc.dynamic_partition(x, ids, 2)
        back = dfc.dynamic_partition(dfc.arange(x.shape[0]), ids, 2)
        assert [str(d) for d in parts[0].rows.shape] == ["b", "2"]
        return dfc.dynamic_stitch(back, [parts[0].rows * 2, parts[1].rows * 3])

    for ids in ([0, 1, 1], [1], []):
        x = np.arange(2 * len(ids), dtype=np.float32).reshape(-1, 2)
        factors = np.array([[2, 3][i] for i in ids], np.float32).reshape(-1, 1)
        np.testing.assert_array_equal(halves(x, np.array(ids, np.int32)).numpy(), x * factors)


def test_h8_parts_that_a_function_returns_can_be_stitched_outside() -> None:
    part = dfc.function(lambda x, p: dfc.dynamic_partition(x, p, 2))
    ids = np.array([1, 0, 1], np.int32)
    back, rows = part(np.arange(3, dtype=np.int32), ids), part(np.array([5.0, 6.0, 7.0], np.float32), ids)
    np.testing.assert_array_equal(dfc.dynamic_stitch(back, rows).numpy(), [5, 6, 7])


def test_h8_a_part_is_not_taken_for_a_tensor() -> None:
    total = dfc.function(lambda x, p: dfc.sum(dfc.dynamic_partition(x, p, 2)[0]))
    assert error_of(InvalidType, lambda: total(np.zeros(3, np.float32), np.zeros(3, np.int32)), __file__) == (
        "sum: a part of a tensor is not a tensor: how many of its rows are meant is data\n"
        "  work on part.rows, with the padding behind part.length masked where that matters"
    )
