"""Rows F11 and L3: map, fold, scan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.errors import InvalidArgument, InvalidType
from tests.frontend_support import error_of

ROWS = dfc.TensorSpec((None, 3), "float32")


def rows(n: int) -> Any:
    return np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)


# ---- F11


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_f11_map_fold_and_scan_agree_with_numpy_for_any_length(n: int) -> None:
    @dfc.function(signature=[ROWS])
    def f(x: Any) -> Any:
        doubled = dfc.map(lambda r: (r * 2, dfc.sum(r)), x)
        left = dfc.fold(lambda acc, r: acc * 0.5 + r, dfc.zeros((3,)), x)
        right = dfc.fold(lambda acc, r: acc * 0.5 + r, dfc.zeros((3,)), x, reverse=True)
        last, prefixes = dfc.scan(lambda c, r: (c + r, c + r), dfc.zeros((3,)), x)
        return doubled, left, right, last, prefixes

    x = rows(n)
    (twice, sums), left, right, last, prefixes = f(x)
    expected = {"left": np.zeros(3, np.float32), "right": np.zeros(3, np.float32)}
    for row in x:
        expected["left"] = expected["left"] * np.float32(0.5) + row
    for row in x[::-1]:
        expected["right"] = expected["right"] * np.float32(0.5) + row
    assert_array_equal(twice.numpy(), x * 2)
    assert_allclose(sums.numpy(), x.sum(1), rtol=1e-5, atol=1e-6)
    assert_allclose(left.numpy(), expected["left"], rtol=1e-6)
    assert_allclose(right.numpy(), expected["right"], rtol=1e-6)
    assert_allclose(prefixes.numpy(), np.cumsum(x, 0), rtol=1e-5, atol=1e-5)
    assert_array_equal(prefixes.numpy()[-1], last.numpy())


def test_f11_the_program_does_not_grow_with_the_length() -> None:
    traced: list[int] = []

    def step(carry: Any, x: Any) -> Any:
        traced.append(1)
        return dfc.tanh(carry + x), carry

    f = dfc.function(lambda x: dfc.scan(step, dfc.zeros((3,)), x))
    texts = {n: str(f.graph(dfc.TensorSpec((n, 3), "float32"))) for n in (3, 3000)}
    assert texts[3].count("\n") == texts[3000].count("\n")
    assert texts[3].replace("3000", "3").count("df.tanh") == 1
    assert len(traced) == 2, "once a signature"


def test_f11_no_rows_at_all() -> None:
    @dfc.function(signature=[ROWS])
    def f(x: Any) -> Any:
        return dfc.scan(lambda c, r: (c + 1.0, (r, c)), 5.0, x)

    carry, (ys, cs) = f(np.zeros((0, 3), np.float32))
    assert carry.item() == 5
    assert ys.shape == (0, 3) and cs.shape == (0,)


def test_f11_without_xs_the_length_is_given() -> None:
    f = dfc.function(lambda x: dfc.scan(lambda c, _: (c * 2, c), x, None, length=5))
    last, ys = f(np.float32(1))
    assert last.item() == 32
    assert_array_equal(ys.numpy(), [1, 2, 4, 8, 16])


def test_f11_effects_happen_row_by_row() -> None:
    v = dfc.Variable(1.0)

    @dfc.function
    def f(x: Any) -> Any:
        def step(c: Any, r: Any) -> Any:
            v.assign(v * r)
            return c + v, v + 0.0

        return dfc.scan(step, 0.0, x)

    total, products = f(np.array([2, 3, 4], np.float32))
    assert_array_equal(products.numpy(), [2, 6, 24])
    assert (total.item(), v.item()) == (32, 24)


@pytest.mark.parametrize("reverse", [False, True])
def test_f11_no_rows_for_a_loop_that_the_host_runs(reverse: bool) -> None:
    queue = dfc.FIFOQueue(9, "int32", shapes=[()])

    @dfc.function
    def f(xs: Any) -> Any:
        def step(carry: Any, row: Any) -> Any:
            queue.enqueue(row)
            return carry + row, carry * row

        return dfc.scan(step, 7, xs, reverse=reverse)

    for xs, last, expected in (([], 7, []), ([2, 3], 12, [20, 21] if reverse else [14, 27]), ([], 7, [])):
        carry, ys = f(np.array(xs, np.int32))
        assert (carry.item(), ys.numpy().tolist()) == (last, expected)
        assert [queue.dequeue().item() for _ in xs] == (xs[::-1] if reverse else xs)
    with dfc.Graph() as graph:
        words = dfc.placeholder("string", (None,))
        lengths = dfc.map(dfc.strings.length, words)
    with dfc.Session(graph) as session:
        assert session.run(lengths, {words: np.array([], object)}).shape == (0,)


def test_f11_a_fold_of_no_rows_is_what_it_starts_with() -> None:
    def f(x: Any) -> Any:
        return dfc.fold(lambda a, row: a * row, 3.0, x)

    none = np.zeros(0, np.float32)
    assert f(none).item() == dfc.function(f)(none).item() == 3


@pytest.mark.parametrize(
    ("kind", "f", "message"),
    [
        (InvalidType, lambda x: dfc.scan(lambda c, r: c, 0.0, x), "scan: f must return (carry, y), got Tensor"),
        (InvalidType, lambda x: dfc.scan(lambda c: (c, c), 0.0, x),
         "scan: f must take 2 arguments, the carry and a row, got a function of (c)"),
        (InvalidType, lambda x: dfc.map(lambda a, b: a + b, (x, x)),
         "map: f must take 1 argument, a row, got a function of (a, b)"),
        (InvalidType, lambda x: dfc.fold(lambda r: r, 0.0, x),
         "fold: f must take 2 arguments, what has accumulated and a row, got a function of (r)"),
        (InvalidType, lambda x: dfc.fori_loop(0, 3, lambda y: y, x),
         "fori_loop: body must take 2 arguments, the index and the value, got a function of (y)"),
        (InvalidArgument, lambda x: dfc.scan(lambda c, r: (c + r, c), 0.0, x),
         "scan: the value must keep its shape and dtype, float32[], got float32[3] after one iteration\n"
         "  dtypes are not promoted: convert what goes in, or what the body returns"),
        (InvalidArgument, lambda x: dfc.scan(lambda c, r: (c, c), 0.0, None),
         "scan: xs must have one number of rows, and length be that, got nothing\n  give length"),
        (InvalidArgument, lambda x: dfc.map(lambda r: r, (x, dfc.zeros((2, 1)))),
         "map: xs must have one number of rows, and length be that, got 4, 2"),
        (InvalidArgument, lambda x: dfc.map(lambda r: r, dfc.sum(x)),
         "map: each of xs must have rows, got the scalar float32[]"),
        (InvalidType, lambda x: dfc.fold(None, 0.0, x), "fold: f must be callable, got None"),
    ],
)  # fmt: skip
def test_f11_what_does_not_fit(kind: Any, f: Any, message: str) -> None:
    spec = dfc.TensorSpec((4, 3), "float32")
    assert error_of(kind, lambda: dfc.function(f).graph(spec), __file__) == message


def test_f11_a_scan_over_a_sequence_whose_length_comes_late() -> None:
    """Of what a queue had left."""
    queue = dfc.FIFOQueue(10, "float32", shapes=[()], name="left")
    for value in (1.0, 2.0, 4.0):
        queue.enqueue(value)
    queue.close()

    @dfc.function
    def f() -> Any:
        left = queue.dequeue_up_to(5)
        return dfc.scan(lambda c, r: (c + r, c), 0.0, left)

    total, before = f()
    assert total.item() == 7
    assert_array_equal(before.numpy(), [0, 1, 3])


def test_f11_at_once() -> None:
    x = rows(4)
    last, ys = dfc.scan(lambda c, r: (c + r, c), np.zeros(3, np.float32), x)
    assert_allclose(last.numpy(), x.sum(0), rtol=1e-5, atol=1e-6)
    assert_array_equal(ys.numpy()[0], np.zeros(3))
    assert_array_equal(dfc.map(lambda r: r * 2, x).numpy(), x * 2)


def test_f11_tensor_array() -> None:
    @dfc.function
    def f(n: Any) -> Any:
        def body(i: Any, array: Any) -> Any:
            return i + 1, array.write(i, dfc.astype(i * i, "float32"))

        _, array = dfc.while_loop(lambda i, a: i < n, body, (0, dfc.TensorArray("float32", 6, ())))
        return array.stack(), array.read(2)

    squares, four = f(np.int32(5))
    assert_array_equal(squares.numpy(), [0, 1, 4, 9, 16, 0])
    assert four.item() == 4


# ---- L3


def test_l3_several_outputs_previous_values_and_gradients_through_both() -> None:
    """Theano's scan with taps: x[t] = tanh(a x[t-1] + b x[t-2] + u[t]), two outputs a step."""
    a, b = dfc.Variable(0.5), dfc.Variable(-0.3)

    def loss_of(u: Any) -> Any:
        def step(taps: Any, u_t: Any) -> Any:
            one_ago, two_ago = taps
            x = dfc.tanh(a * one_ago + b * two_ago + u_t)
            return (x, one_ago), (x, x * u_t)

        (last, _), (xs, products) = dfc.scan(step, (dfc.zeros(()), dfc.zeros(())), u)
        return dfc.sum(xs * xs) + dfc.sum(products) + last

    @dfc.function
    def f(u: Any) -> Any:
        loss = loss_of(u)
        return loss, dfc.gradients(loss, [u, a, b])

    def oracle(u: Any, a: float, b: float) -> float:
        one, two, total = 0.0, 0.0, 0.0
        for u_t in u:
            x = np.tanh(a * one + b * two + u_t)
            total += x * x + x * u_t
            one, two = x, one
        return float(total + one)

    u = np.random.default_rng(0).normal(size=7)
    loss, grads = f(u.astype(np.float32))
    assert_allclose(loss.item(), oracle(u, 0.5, -0.3), rtol=1e-5)
    eps = 1e-6
    numeric = [(oracle(u + eps * e, 0.5, -0.3) - oracle(u - eps * e, 0.5, -0.3)) / (2 * eps) for e in np.eye(7)]
    assert_allclose(grads[0].numpy(), numeric, rtol=1e-3, atol=1e-4)
    assert_allclose(grads[1].item(), (oracle(u, 0.5 + eps, -0.3) - oracle(u, 0.5 - eps, -0.3)) / (2 * eps), rtol=1e-3)
    assert_allclose(grads[2].item(), (oracle(u, 0.5, -0.3 + eps) - oracle(u, 0.5, -0.3 - eps)) / (2 * eps), rtol=1e-3)
