"""What an iteration costs: a loop of 1,000 in one island, beside `jax.lax.while_loop`, and one that the host runs
through switches and merges, with effects on a queue in its body and a little work for the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import Effort, Result, agree, alternate

ITERATIONS = 1000
LIMIT = 1.1
LEAST = 6_667
"""Iterations a second of the host's loop: TF 2.21 takes 150 us for one of `tf.while_loop` with `tf.py_function`."""


def run(effort: Effort, only: tuple[str, ...] = ()) -> Result:
    """Cases island, host."""
    result = Result("control")
    n = 20 if effort.smoke else ITERATIONS
    if not only or "island".startswith(only):
        ours, peer = _island(n)
        result.cases.append(alternate("island", ours, peer, effort, peer_name="jax.lax.while_loop", limit=LIMIT))
    if not only or "host".startswith(only):
        case = alternate("host", _host(n), None, effort, limit=LEAST, units=n, unit="iterations/s")
        result.cases.append(case)
    return result


def _island(n: int) -> tuple[Any, Any]:
    import jax
    import jax.numpy as jnp

    import dfc

    @dfc.function
    def f(x: Any) -> Any:
        return dfc.while_loop(lambda i, x: i < n, lambda i, x: (i + 1, dfc.tanh(x) * 1.1), (0, x))[1]

    @jax.jit
    def g(x: Any) -> Any:
        return jax.lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, jnp.tanh(c[1]) * 1.1), (0, x))[1]

    start = np.linspace(0.1, 1.0, 64, dtype=np.float32)
    own, other = dfc.asarray(start), jnp.asarray(start)
    agree("island", [f(own).numpy()], [g(other)], 1e-5)

    def ours(calls: int) -> None:
        for _ in range(calls):
            out = f(own)
        out.numpy()

    def peer(calls: int) -> None:
        for _ in range(calls):
            out = g(other)
        np.asarray(out)

    return ours, peer


def _host(n: int) -> Any:
    import dfc

    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(1, "int32", shapes=[()])

        def body(i: Any) -> Any:
            queue.enqueue(i)
            return queue.dequeue() + 1

        (count,) = dfc.while_loop(lambda i: i < n, body, (0,))
    session = dfc.Session(graph)
    step = session.make_callable(count)
    agree("host", [step()], [n], 0.0)

    def ours(calls: int) -> None:
        for _ in range(calls):
            step()

    return ours
