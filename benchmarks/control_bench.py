"""A loop of 1,000 iterations: compiled into one island against `jax.lax.while_loop`, and run by the host, with a call
of Python in each iteration, against TensorFlow's `tf.while_loop` with `tf.py_function` in a graph."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from benchmarks.harness import Case, Effort, Result, agree, alternate

N = 1000


def run(effort: Effort, only: tuple[str, ...] = ()) -> Result:
    """Cases island and host; the second without a peer where TensorFlow is not installed."""
    result = Result("control", packages=("dfc", "jax", "jaxlib", "tensorflow-cpu", "numpy"))
    for name, case in (("island", _island), ("host", _host)):
        if not only or name.startswith(only):
            result.cases.append(case(effort))
    return result


def _island(effort: Effort) -> Case:
    import jax
    import jax.numpy as jnp

    import dfc

    @dfc.function
    def ours(x: dfc.Tensor, n: dfc.Tensor) -> Any:
        return dfc.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, dfc.sin(a) * 1.01), (0, x))[1]

    @jax.jit
    def peer(x: Any, n: Any) -> Any:
        return jax.lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, jnp.sin(s[1]) * 1.01), (jnp.int32(0), x))[1]

    x, n = np.linspace(0, 1, 16, dtype=np.float32), np.int32(N)
    ours_x, ours_n, peer_x, peer_n = dfc.asarray(x), dfc.asarray(n), jnp.asarray(x), jnp.asarray(n)
    agree("island", [ours(ours_x, ours_n).numpy()], [peer(peer_x, peer_n)], 1e-6)

    def run_ours(calls: int) -> None:
        for _ in range(calls):
            ours(ours_x, ours_n).numpy()

    def run_peer(calls: int) -> None:
        for _ in range(calls):
            np.asarray(peer(peer_x, peer_n))

    return alternate("island", run_ours, run_peer, effort, peer_name="jax.lax.while_loop", limit=1.1)


def _host(effort: Effort) -> Case:
    import dfc

    n = 20 if effort.smoke else N
    scalar = dfc.TensorSpec((), "float32")

    def advance(a: Any) -> Any:
        return a * np.float32(0.5) + np.float32(1)

    @dfc.function
    def ours(x: dfc.Tensor) -> Any:
        def body(i: dfc.Tensor, a: dfc.Tensor) -> Any:
            return i + 1, dfc.py_call(advance, [a], scalar, stateful=False)

        return dfc.while_loop(lambda i, a: i < n, body, (0, x))[1]

    x = dfc.asarray(np.float32(3))
    want = np.float32(3)
    for _ in range(n):
        want = advance(want)
    agree("host", [ours(x).numpy()], [want], 1e-6)

    def run_ours(calls: int) -> None:
        for _ in range(calls):
            ours(x).numpy()

    peer = None if effort.smoke else _tensorflow(n, advance)
    return alternate("host", run_ours, peer, effort, peer_name="tf.while_loop", limit=1.0)


def _tensorflow(n: int, advance: Any) -> Any:
    if importlib.util.find_spec("tensorflow") is None:
        return None
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, ())

        def body(i: Any, a: Any) -> Any:
            following = tf.py_function(lambda v: advance(v.numpy()), [a], tf.float32)
            following.set_shape(())
            return i + 1, following

        last = tf.while_loop(lambda i, a: i < n, body, (tf.constant(0), x))[1]
        session = tf.compat.v1.Session(graph=graph)
        call = session.make_callable(last, [x])
    want = np.float32(3)
    for _ in range(n):
        want = advance(want)
    agree("host", [call(np.float32(3))], [want], 1e-6)

    def run_peer(calls: int) -> None:
        for _ in range(calls):
            call(np.float32(3))

    return run_peer
