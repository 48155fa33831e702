"""The gradient of a scalar loop whose trip count is in the data, against `jax.lax.scan` of that static length: JAX has
no reverse gradient of a loop without a bound. One compiled dfc function serves all lengths; JAX compiles one each."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import Effort, Result, agree, alternate

LIMITS = {1: 2.0, 100: 2.0, 10_000: 1.5, 100_000: 1.5}


def ours() -> Any:
    """(x, n) -> the value and the gradient of a -> sin(a) x, n times from x on."""
    import dfc

    @dfc.function
    def step(x: dfc.Tensor, n: dfc.Tensor) -> Any:
        def loop(x: dfc.Tensor) -> Any:
            return dfc.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, dfc.sin(a) * x), (0, x))[1]

        return dfc.value_and_grad(loop)(x)

    return step


def peer(n: int) -> Any:
    """The same for this n."""
    import jax
    import jax.numpy as jnp

    def loop(x: Any) -> Any:
        return jax.lax.scan(lambda a, _: (jnp.sin(a) * x, None), x, None, length=n)[0]

    return jax.jit(jax.value_and_grad(loop))


def run(effort: Effort, only: tuple[str, ...] = ()) -> Result:
    """Cases n1, n100, n10000, n100000. Both sides wait for each result."""
    import jax.numpy as jnp

    import dfc

    result = Result("loopgrad")
    step = ours()
    x = np.float32(0.99)
    ours_x, peer_x = dfc.asarray(x), jnp.asarray(x)
    for n, limit in LIMITS.items():
        if (only and not f"n{n}".startswith(only)) or (effort.smoke and n > 100):
            continue
        count, jitted = dfc.asarray(np.int32(n)), peer(n)
        for _ in range(20):  # the room for iterations follows what is needed
            outputs = step(ours_x, count)
        agree(f"n{n}", [t.numpy() for t in outputs], jitted(peer_x), 1e-6)

        def run_ours(calls: int, step: Any = step, count: Any = count) -> None:
            for _ in range(calls):
                _value, grad = step(ours_x, count)
                grad.numpy()

        def run_peer(calls: int, step: Any = jitted) -> None:
            for _ in range(calls):
                _value, grad = step(peer_x)
                np.asarray(grad)

        result.cases.append(alternate(f"n{n}", run_ours, run_peer, effort, peer_name="jax.lax.scan", limit=limit))
    return result
