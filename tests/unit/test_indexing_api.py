"""`x[...]` and `x.at[...]` against NumPy over generated keys, and the operations on indices."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidArgument, InvalidType, OutOfRange
from tests.frontend_support import error_of

X = np.arange(2 * 3 * 4 * 3, dtype=np.float32).reshape(2, 3, 4, 3)
HOW = {"add": np.add, "multiply": np.multiply, "min": np.minimum, "max": np.maximum}


def generated(seed: int, count: int) -> list[tuple[Any, ...]]:
    """Keys that NumPy takes for X: ints, slices, None, Ellipsis (also for no axis), arrays that broadcast, masks."""
    rng, found = random.Random(seed), list[tuple[Any, ...]]()
    while len(found) < count:
        key = one_key(rng)
        try:
            X[key]
        except IndexError:  # arrays that don't broadcast
            continue
        found.append(key)
    return found


def one_key(rng: random.Random) -> tuple[Any, ...]:
    key: list[Any] = []
    axis, block = 0, rng.choice([(2,), (3,), (2, 3), ()])
    while axis < X.ndim and rng.random() > 0.1:
        size, choice = X.shape[axis], rng.random()
        if choice < 0.1:
            key.append(None)
        elif choice < 0.2 and not any(entry is Ellipsis for entry in key):
            key.append(...)
            axis += rng.randint(0, X.ndim - axis)
        elif choice < 0.35:
            key.append(rng.randrange(-size, size))
            axis += 1
        elif choice < 0.6:
            bounds = rng.choice([None, 0, 1, -2, 5]), rng.choice([None, 2, -1, 9])
            key.append(slice(*bounds, rng.choice([None, 1, 2, -1, -2])))
            axis += 1
        elif choice < 0.9:
            shape = tuple(d if rng.random() < 0.7 else 1 for d in block)
            key.append(np.reshape([rng.randrange(-size, size) for _ in range(int(np.prod(shape)))], shape))
            axis += 1
        elif choice < 0.95:
            key.append(np.array([rng.random() < 0.5 for _ in range(size)]))
            axis += 1
        elif choice < 0.97:
            key.append(rng.random() < 0.7)
        elif axis + 1 < X.ndim:
            key.append(np.reshape([rng.random() < 0.5 for _ in range(size * X.shape[axis + 1])], (size, -1)))
            axis += 2
    return tuple(key)


KEYS = generated(1, 200)


def as_data(key: tuple[Any, ...]) -> tuple[list[Any], Any]:
    """The arrays of integers in a key, and a function that makes the key of such arrays."""
    arrays = [e for e in key if isinstance(e, np.ndarray) and e.dtype != bool]

    def make(given: Any) -> tuple[Any, ...]:
        rest = iter(given)
        return tuple(next(rest) if isinstance(e, np.ndarray) and e.dtype != bool else e for e in key)

    return arrays, make


def test_reading_by_known_keys() -> None:
    found = dfc.function(lambda x: [x[key] for key in KEYS])(X)
    for key, got in zip(KEYS, found, strict=True):
        np.testing.assert_array_equal(got.numpy(), X[key], strict=True, err_msg=str(key))


def test_reading_by_keys_that_are_data() -> None:
    keys = KEYS[:60]
    arrays, make = zip(*map(as_data, keys), strict=True)
    found = dfc.function(lambda x, given: [x[m(g)] for m, g in zip(make, given, strict=True)])(X, list(arrays))
    for key, got in zip(keys, found, strict=True):
        np.testing.assert_array_equal(got.numpy(), X[key], strict=True, err_msg=str(key))


def test_reading_outside_a_trace() -> None:
    t = dfc.asarray(X)
    for key in [*KEYS[:8], ([0, 1, -1],), (slice(None), X[0, :, 0, 0] > 0), (True,), (dfc.asarray(1), [[2], [0]])]:
        plain = tuple(e.numpy() if isinstance(e, dfc.Tensor) else e for e in key)
        np.testing.assert_array_equal(t[key].numpy(), X[plain], strict=True, err_msg=str(key))
    np.testing.assert_array_equal(t[t > 30].numpy(), X[X > 30], strict=True)
    np.testing.assert_array_equal(t[[1, 0]].numpy(), X[[1, 0]], strict=True)
    np.testing.assert_array_equal(t[[]].numpy(), X[np.zeros(0, int)], strict=True)


def changed(key: Any, values: Any, how: str) -> Any:
    result = X.copy()
    if how == "set":
        result[key] = values
    else:
        HOW[how].at(result, key, values)
    return result


def test_updates() -> None:
    rng = np.random.default_rng(0)
    cases = []
    for i, key in enumerate(KEYS[:100]):
        values = rng.integers(1, 50, X[key].shape).astype(np.float32)
        cases.append((key, values, ["set", *HOW][i % 5]))
    found = dfc.function(lambda x: [getattr(x.at[key], how)(values) for key, values, how in cases])(X)
    for (key, values, how), got in zip(cases, found, strict=True):
        np.testing.assert_array_equal(got.numpy(), changed(key, values, how), strict=True, err_msg=f"{how} {key}")


def test_updates_outside_a_trace() -> None:
    t = dfc.asarray(X)
    np.testing.assert_array_equal(t.at[1, ..., 0].set(7).numpy(), changed((1, ..., 0), 7, "set"), strict=True)
    np.testing.assert_array_equal(t.at[..., ::-2].add(1.5).numpy(), changed((..., slice(None, None, -2)), 1.5, "add"))
    np.testing.assert_array_equal(t.at[[0, 0]].add(1).numpy(), changed(([0, 0],), 1, "add"))
    np.testing.assert_array_equal(t.at[t > 30].set(0).numpy(), changed(X > 30, 0, "set"))
    np.testing.assert_array_equal(t.at[0].get().numpy(), X[0])
    np.testing.assert_array_equal(t.numpy(), X)


def test_symbolic_sizes() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b", 4)), dfc.TensorSpec(("b",), "int32")])
    def picked(x: Any, i: Any) -> Any:
        rows = dfc.arange(x.shape[0])
        assert [str(d) for d in x[i].shape] == ["b", "4"]
        return x[rows, i], x[-1], x[i], x.at[rows, i].set(0), x.at[:, 1:3].add(1), x.at[i].add(1), x.at[-1].set(5)

    for x in (X[0, 0, :, :].T.copy(), X[0, 0, :1].repeat(2, 1)[:, :4].copy()):
        i = np.array([-1, 2, 0][: len(x)], np.int32) % len(x) - (len(x) > 1)
        rows = np.arange(len(x))
        put, middle, added, last = x.copy(), x.copy(), x.copy(), x.copy()
        put[rows, i], last[-1] = 0, 5
        middle[:, 1:3] += 1
        np.add.at(added, i, 1)
        for got, want in zip(picked(x, i), (x[rows, i], x[-1], x[i], put, middle, added, last), strict=True):
            np.testing.assert_array_equal(got.numpy(), want, strict=True)


def test_gradients() -> None:
    i = np.array([2, 0, 2])
    gradient = dfc.grad(lambda x: dfc.sum(x[i, 1:] * np.array([[1.0], [2.0], [3.0]], np.float32)))(X[0, :, :, 0])
    want = np.zeros((3, 4), np.float32)
    want[2, 1:], want[0, 1:] = 4, 2
    np.testing.assert_array_equal(gradient.numpy(), want)
    by_x, by_v = dfc.function(lambda x, v: dfc.gradients([dfc.sum(x.at[1].set(v) * 3)], [x, v]))(
        X[0, 0, 0], X[0, 0, 0, 0]
    )
    np.testing.assert_array_equal(by_x.numpy(), [3, 0, 3])
    assert by_v.item() == 3


def test_a_row_is_read_by_one_gather_of_rows() -> None:
    text = dfc.function(lambda x, i: x[i]).lower(dfc.TensorSpec((50, 8)), dfc.TensorSpec((3,), "int32")).text
    assert text.count('"stablehlo.gather"(') == 1
    assert "slice_sizes = array<i64: 1, 8>" in text


def test_a_window_is_updated_in_place() -> None:
    text = dfc.function(lambda x: x.at[1:3].set(0)).lower(dfc.TensorSpec((50, 8))).text
    assert "dynamic_update_slice" in text
    assert "scatter" not in text


TWO = np.array([1.0, 2.0], np.float32)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda x: x[[0, 5]], OutOfRange, "getitem: index 5 is outside axis 0 of size 2"),
        (lambda x: x[np.array([True])], OutOfRange,
         "getitem: the mask has size 1 along its axis 0, but axis 0 has size 2"),
        (lambda x: x[x > 0], InvalidType,
         "getitem: a mask gives a result whose size is data, so its value must be known while tracing\n"
         "  use dfc.where(mask, x, y), or dfc.nonzero(mask, size=n) and dfc.take"),
        (lambda x: x[x], InvalidType, "getitem: an array of indices must be of integers or booleans, got float32"),
        (lambda x: x[: dfc.argmax(x)], InvalidType,
         "getitem: the bounds of a slice must be known while tracing\n"
         "  use dfc.dynamic_slice(x, starts, sizes), whose starts are data"),
        (lambda x: x[[0, 1], [0]], InvalidArgument, "getitem: 2 indices are too many for shape (2)"),
        (lambda x: x[None][[0, 0], [0, 1, 1]], InvalidArgument,
         "getitem: shapes (2) and (3) don't broadcast: 2 and 3 differ, and neither is 1"),
        (lambda x: x.at[0].set(1j), InvalidType,
         "at[...].set: values must fit into float32, got 1j\n  convert with dfc.astype"),
        (lambda x: x.at[:].set([1, 2, 3]), InvalidArgument,
         "at[...].set: values of shape (3) don't broadcast to (2), the shape of x[key]"),
        (lambda x: x.at[2].add(1), OutOfRange, "at[...].add: index 2 is outside axis 0 of size 2"),
    ],
)  # fmt: skip
def test_errors(call: Any, kind: Any, text: str) -> None:
    assert error_of(kind, lambda: dfc.function(call)(TWO), __file__) == text
