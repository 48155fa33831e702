"""Row E8 as an option of sessions: `SessionConfig(transfer_dtype="bfloat16")`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidArgument, ResourceExhausted
from dfc.ir.dtypes import bfloat16
from tests.device_support import run

VALUES = np.random.default_rng(0).uniform(-100, 100, 1000).astype(np.float32)
ROUNDED = VALUES.astype(bfloat16.numpy).astype(np.float32)


def crossing(dtype: str) -> tuple[dfc.Graph, list[Any]]:
    """What one device makes, and the same on another device."""
    with dfc.Graph() as graph:
        x = dfc.placeholder(dtype, (1000,), name="x")
        with dfc.device("/cpu:0"):
            y = x + x
        with dfc.device("/cpu:1"):
            z = dfc.negative(y)
    return graph, [y, z]


def test_e8_a_session_rounds_what_crosses_and_nothing_else() -> None:
    graph, fetches = crossing("float32")
    here, there = run(graph, fetches, {"x": VALUES}, transfer_dtype="bfloat16")
    np.testing.assert_array_equal(here, 2 * VALUES)
    np.testing.assert_array_equal(there, -2 * ROUNDED)
    error = np.max(np.abs(there / (-2 * VALUES) - 1))
    assert 2**-12 < error < 2**-8


def test_e8_without_the_option_nothing_is_rounded() -> None:
    assert dfc.SessionConfig().transfer_dtype is None
    graph, fetches = crossing("float32")
    for config in ({}, {"transfer_dtype": None}):
        here, there = run(graph, fetches, {"x": VALUES}, **config)
        np.testing.assert_array_equal(there, -here)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "complex64"])
def test_e8_other_dtypes_cross_as_they_are(dtype: str) -> None:
    graph, fetches = crossing(dtype)
    values = VALUES.astype(dtype)
    here, there = run(graph, fetches, {"x": values}, transfer_dtype="bfloat16")
    assert here.dtype == there.dtype == values.dtype
    np.testing.assert_array_equal(here, values + values)
    np.testing.assert_array_equal(there, -here)


@pytest.mark.parametrize("wrong", ["float16", "", "float32", 16, ["bfloat16"]])
def test_e8_what_is_allowed(wrong: Any) -> None:
    with pytest.raises(InvalidArgument) as raised:
        dfc.SessionConfig(transfer_dtype=wrong)
    assert raised.value.diagnostic.message == f"transfer_dtype must be None or 'bfloat16', got {wrong!r}"


def test_e8_gradients_cross_rounded_too() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (1000,), name="x")
        with dfc.device("/cpu:0"):
            y = dfc.tanh(x)
        with dfc.device("/cpu:1"):
            loss = dfc.sum(dfc.exp(y))
        (back,) = dfc.gradients(loss, [y])
        with dfc.device("/cpu:0"):
            here = back + back
    found = run(graph, [back, here], {"x": VALUES}, transfer_dtype="bfloat16")
    there = np.tanh(VALUES).astype(bfloat16.numpy).astype(np.float32)
    np.testing.assert_allclose(found[0], np.exp(there), rtol=1e-6)
    np.testing.assert_array_equal(found[1], 2 * found[0].astype(bfloat16.numpy).astype(np.float32))


@pytest.mark.parametrize("swap", [True, False])
def test_e8_with_a_limit_of_memory(swap: bool) -> None:
    """Both options change the passes of one phase: what crosses is rounded, and a loop keeps what its gradient needs in
    the host's memory."""
    matrix = np.eye(32, dtype=np.float32) * np.float32(0.9)
    with dfc.Graph() as graph:
        m = dfc.placeholder("float32", (32, 32), name="m")
        with dfc.device("/cpu:1"):
            made = m + m
        with dfc.device("/cpu:0"):
            w = made * 0.5
            _, y = dfc.while_loop(
                lambda i, x: i < 60,
                lambda i, x: (i + 1, dfc.tanh(dfc.matmul(x, w))),
                (0, dfc.ones((32, 32))),
                swap_memory=swap,
            )
            (gradient,) = dfc.gradients(dfc.sum(y * y), [w])
    config = dfc.SessionConfig(transfer_dtype="bfloat16", device_memory_limit=100_000)
    with dfc.Session(graph, config=config) as session:
        if not swap:
            with pytest.raises(ResourceExhausted, match=r"device_memory_limit is 100,000"):
                session.run(gradient, {m: matrix}, timeout=60)
            return
        found = session.run([w, gradient], {m: matrix}, timeout=60)
    rounded = matrix.astype(bfloat16.numpy).astype(np.float32)
    np.testing.assert_array_equal(found[0], rounded)
    assert np.any(rounded != matrix)
    with dfc.Session(graph) as session:
        np.testing.assert_allclose(found[1], session.run(gradient, {m: rounded}, timeout=60), rtol=1e-5)
