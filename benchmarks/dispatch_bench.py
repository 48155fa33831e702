"""What one call costs: a compiled function with n donated float32 state variables and one feed, against `jax.jit`
with the same state donated."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import Effort, Result, agree, alternate

LIMITS = {1: 1.15, 10: 1.15, 100: 1.10}


def ours(n: int) -> tuple[Any, list[Any]]:
    """A dfc function of one feed that updates n variables, and the variables."""
    import dfc

    variables = [dfc.Variable(np.full(4, 1.0 + i, np.float32), name=f"v{i}") for i in range(n)]

    @dfc.function
    def step(x: dfc.Tensor) -> dfc.Tensor:
        for v in variables:
            v.assign(v * 0.5 + x)
        return dfc.sum(x)

    return step, variables


def peer(n: int) -> tuple[Any, list[Any]]:
    """The same in jax.jit: (state, feed) -> (state, result), the state donated."""
    import jax
    import jax.numpy as jnp

    def step(state: list[Any], x: Any) -> tuple[list[Any], Any]:
        return [v * 0.5 + x for v in state], jnp.sum(x)

    return jax.jit(step, donate_argnums=0), [jnp.full(4, 1.0 + i, jnp.float32) for i in range(n)]


def run(effort: Effort, only: tuple[str, ...] = ()) -> Result:
    """Cases n1, n10, n100."""
    import jax.numpy as jnp

    import dfc

    result = Result("dispatch")
    feed = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    for n, limit in LIMITS.items():
        if only and not f"n{n}".startswith(only):
            continue
        step, variables = ours(n)
        jitted, state = peer(n)
        ours_feed, peer_feed = dfc.asarray(feed), jnp.asarray(feed)
        for _ in range(3):
            ours_out = step(ours_feed)
            state, peer_out = jitted(state, peer_feed)
        agree(f"n{n}", [*(v.numpy() for v in variables), ours_out.numpy()], [*state, peer_out], 1e-6)
        holder = [state]

        def run_ours(calls: int, step: Any = step, feed: Any = ours_feed, last: Any = variables[-1]) -> None:
            for _ in range(calls):
                _out = step(feed)
            last.numpy()

        def run_peer(calls: int, step: Any = jitted, feed: Any = peer_feed, holder: Any = holder) -> None:
            current = holder[0]
            for _ in range(calls):
                current, _out = step(current, feed)
            holder[0] = current
            np.asarray(current[-1])

        result.cases.append(alternate(f"n{n}", run_ours, run_peer, effort, peer_name="jax.jit", limit=limit))
    return result
