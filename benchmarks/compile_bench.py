"""How long it takes from a Python function to StableHLO (trace, passes, emission), against
`jax.jit(f).trace(...).lower()` of the same model. XLA's own time is left out on both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import googlenet, models
from benchmarks.harness import Effort, Result, agree, alternate


def run(effort: Effort, only: tuple[str, ...] = ()) -> Result:
    """Cases a_mlp20, b_googlenet and c_chain5000."""
    result = Result("compile")
    makers = (("a_mlp20", _mlp, 0.6), ("b_googlenet", _googlenet, 0.6), ("c_chain5000", _chain, 0.7))
    for name, make, limit in makers:
        if not only or name.startswith(only):
            ours, peer, note = make(effort)
            case = alternate(name, ours, peer, effort, peer_name="jax lower", limit=limit, note=note)
            result.cases.append(case)
    return result


def _repeat(once: Callable[[], Any]) -> Callable[[int], None]:
    def run(calls: int) -> None:
        for _ in range(calls):
            once()

    return run


def _mlp(effort: Effort) -> tuple[Callable[[int], None], Callable[[int], None], str]:
    import jax

    import dfc

    parameters = models.mlp_parameters(2 if effort.smoke else models.LAYERS)
    x, labels = models.mlp_data()
    step, variables = models.mlp_ours(parameters)
    compiled, jitted = dfc.function(step), jax.jit(models.mlp_jax())
    state = [np.array(p) for p in parameters]
    for _ in range(2):
        loss = compiled(x, labels)
        state, peer_loss = jitted(state, x, labels)
    agree("a_mlp20", [loss.numpy(), *(v.numpy() for v in variables)], [peer_loss, *state], 1e-4)
    specs = [dfc.TensorSpec(x.shape, "float32"), dfc.TensorSpec(labels.shape, "int32")]

    def ours_once() -> Any:
        return dfc.function(step).lower(*specs)

    def peer_once() -> Any:
        return jax.jit(models.mlp_jax()).trace(state, x, labels).lower()

    counts = f"StableHLO operations {_operations(ours_once().text)} and {_operations(peer_once().as_text())}"
    return _repeat(ours_once), _repeat(peer_once), counts


def _googlenet(effort: Effort) -> tuple[Callable[[int], None], Callable[[int], None], str]:
    """Values are compared after two steps of a small network of the same kinds of layers."""
    import jax

    import dfc

    small = googlenet.parameters(googlenet.SMALL, (4, 6), 10)
    x, labels = googlenet.data(2, 32, 10)
    step, variables = googlenet.ours(small, googlenet.SMALL)
    compiled, jitted = dfc.function(step), jax.jit(googlenet.in_jax(googlenet.SMALL))
    state, velocities = small, [np.zeros_like(p) for p in small]
    for _ in range(2):
        loss = compiled(x, labels)
        state, velocities, peer_loss = jitted(state, velocities, x, labels)
    agree("b_googlenet", [loss.numpy(), *(v.numpy() for v in variables)], [peer_loss, *state], 1e-4)

    blocks = googlenet.SMALL if effort.smoke else googlenet.BLOCKS
    arrays = small if effort.smoke else googlenet.parameters()
    x, labels = (x, labels) if effort.smoke else googlenet.data()
    step, _ = googlenet.ours(arrays, blocks)
    zeros = [np.zeros_like(p) for p in arrays]
    specs = [dfc.TensorSpec(x.shape, "float32"), dfc.TensorSpec(labels.shape, "int32")]

    def ours_once() -> Any:
        return dfc.function(step).lower(*specs)

    def peer_once() -> Any:
        return jax.jit(googlenet.in_jax(blocks)).trace(arrays, zeros, x, labels).lower()

    counts = f"StableHLO operations {_operations(ours_once().text)} and {_operations(peer_once().as_text())}"
    return _repeat(ours_once), _repeat(peer_once), counts


def _chain(effort: Effort) -> tuple[Callable[[int], None], Callable[[int], None], str]:
    import jax

    import dfc

    x, y = np.full(8, 0.25, np.float32), np.linspace(0.1, 0.5, 8).astype(np.float32)
    short = models.chain(50)
    agree("c_chain5000", [dfc.function(short)(x, y).numpy()], [jax.jit(short)(x, y)], 1e-5)
    length = 100 if effort.smoke else models.CHAIN
    spec = dfc.TensorSpec(x.shape, "float32")

    def ours_once() -> Any:
        return dfc.function(models.chain(length)).lower(spec, spec)

    def peer_once() -> Any:
        return jax.jit(models.chain(length)).trace(x, y).lower()

    return _repeat(ours_once), _repeat(peer_once), f"{length} operations"


def _operations(text: str) -> int:
    return sum("stablehlo." in line for line in text.splitlines())
