"""From nothing to the first result: a fresh process `python -m dfc run` of an artifact, interpreter start included,
against the smallest script that deserialises a `jax.export` and calls it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.harness import Effort, Result, agree, alternate

PEER = """
import sys
import numpy as np
from jax import export
x = np.load(sys.argv[2])
with open(sys.argv[1], "rb") as f:
    program = export.deserialize(bytearray(f.read()))
np.save(sys.argv[3], np.asarray(program.call(x)))
"""


def run(effort: Effort, only: tuple[str, ...] = ()) -> Result:
    """Case mlp: ten layers of 64, batch 32, weights inside."""
    result = Result("coldstart")
    with tempfile.TemporaryDirectory() as folder:
        ours, peer = _prepare(Path(folder))
        result.cases.append(alternate("mlp", ours, peer, effort, peer_name="jax.export", limit=0.6))
    return result


def _prepare(folder: Path) -> tuple[Callable[[int], None], Callable[[int], None]]:
    import jax
    import jax.numpy as jnp
    from jax import export

    import dfc

    parameters = models.mlp_parameters(10)
    x = models.mlp_data()[0]
    np.save(folder / "x.npy", x)
    variables = [dfc.Variable(p, name=f"p{i}") for i, p in enumerate(parameters)]

    @dfc.function(signature=[dfc.TensorSpec(x.shape, "float32", name="x")])
    def predict(x: Any) -> Any:
        for i in range(0, len(variables), 2):
            x = dfc.nn.relu(dfc.matmul(x, variables[i]) + variables[i + 1])
        return x

    def peer_predict(x: Any) -> Any:
        for i in range(0, len(parameters), 2):
            x = jax.nn.relu(jnp.matmul(x, parameters[i]) + parameters[i + 1])
        return x

    dfc.compile([predict]).save(folder / "model.dfc")
    exported = export.export(jax.jit(peer_predict))(jax.ShapeDtypeStruct(x.shape, x.dtype))
    (folder / "model.jax").write_bytes(exported.serialize())
    (folder / "peer.py").write_text(PEER)
    ours = [sys.executable, "-m", "dfc", "run", str(folder / "model.dfc"), "--entry", "predict"]
    ours += ["--input", f"x=@{folder / 'x.npy'}", "--output", str(folder / "ours.npz")]
    peer = [sys.executable, str(folder / "peer.py"), str(folder / "model.jax"), str(folder / "x.npy")]
    peer += [str(folder / "peer.npy")]
    _process(ours)(1)
    _process(peer)(1)
    agree("mlp", list(np.load(folder / "ours.npz").values()), [np.load(folder / "peer.npy")], 1e-4)
    return _process(ours), _process(peer)


def _process(command: list[str]) -> Callable[[int], None]:
    def run(calls: int) -> None:
        for _ in range(calls):
            subprocess.run(command, check=True, capture_output=True, timeout=120)

    return run
