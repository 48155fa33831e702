"""Row K5: a device is three methods. One that has only these runs a model; and so do the devices of PJRT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidArgument, NotFound, Unimplemented
from dfc.ir.devices import local, parse_full
from dfc.runtime.devices import Array, DeviceInterface, DeviceStep, Kernel, device
from dfc.runtime.step import clustered


class Block:
    """Memory of the fake device: bytes."""

    def __init__(self, spec: Any) -> None:
        self.spec, self.data = spec, bytearray(int(np.prod(spec[0], dtype=int)) * spec[1].itemsize)


class Fake(DeviceInterface):
    name = local("fake", 0)
    issued = 0

    def allocate(self, spec: Any, *, host: bool = False) -> Any:
        return np.empty(*spec) if host else Block(spec)

    def copy(self, source: Any, target: Any) -> Any:
        if isinstance(target, np.ndarray):
            target[...] = np.frombuffer(bytes(source.data), source.spec[1]).reshape(source.spec[0])
        else:
            target.data[:] = np.ascontiguousarray(source).tobytes()
        return target

    def issue(self, kernel: Kernel, inputs: Sequence[Any]) -> list[Any]:
        self.issued += 1
        arrays = [self.copy(block, self.allocate(block.spec, host=True)) for block in inputs]
        return [self.copy(a, self.allocate(s)) for a, s in zip(kernel.evaluate(arrays), kernel.outputs, strict=True)]


def model() -> tuple[Any, dict[str, Array]]:
    """A training step of a small network, with momentum."""
    rng = np.random.default_rng(0)
    w = dfc.Variable(rng.normal(size=(4, 8)).astype(np.float32) * 0.5, name="w")
    u = dfc.Variable(rng.normal(size=(8, 1)).astype(np.float32) * 0.5, name="u")
    m = dfc.Variable(np.zeros((4, 8), np.float32), name="m")

    @dfc.function
    def step(x: dfc.Tensor, y: dfc.Tensor) -> dfc.Tensor:
        loss = dfc.mean((dfc.matmul(dfc.tanh(dfc.matmul(x, w)), u) - y) ** 2)
        dw, du = dfc.gradients(loss, [w, u])
        m.assign(m * 0.9 + dw)
        w.assign_sub(m * 0.1)
        u.assign_sub(du * 0.1)
        return loss

    return step, {v.name: v.numpy() for v in (w, u, m)}


DEVICES: dict[str, Callable[[], DeviceInterface]] = {"fake": Fake, "pjrt": lambda: device(local("cpu", 0))}


@pytest.mark.parametrize("kind", list(DEVICES))
def test_k5_three_methods_run_a_model(kind: str) -> None:
    step, values = model()
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(16, 4)).astype(np.float32), rng.normal(size=(16, 1)).astype(np.float32)
    graph = step.graph(dfc.TensorSpec((16, 4), "float32"), dfc.TensorSpec((16, 1), "float32"))
    chosen = DEVICES[kind]()
    there = DeviceStep(clustered(graph.module, graph.name, {}), chosen, values)
    losses = [(float(there(x, y)[0]), float(step(x, y).numpy())) for _ in range(20)]
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-5)
    assert losses[-1][0] < 0.7 * losses[0][0]
    for name, variable in graph.variables.items():
        np.testing.assert_allclose(there.value(name), variable.numpy(), rtol=1e-4, atol=1e-6)
    if isinstance(chosen, Fake):
        assert chosen.issued == 20
        assert {n for n in dir(DeviceInterface) if not n.startswith("_")} == {"allocate", "copy", "issue"}


def test_k5_errors() -> None:
    step, values = model()
    graph = step.graph(dfc.TensorSpec((16, 4), "float32"), dfc.TensorSpec((16, 1), "float32"))
    there = DeviceStep(clustered(graph.module, graph.name, {}), Fake(), values)
    with pytest.raises(InvalidArgument, match="an input must be"):
        there(np.zeros((16, 3), np.float32), np.zeros((16, 1), np.float32))
    absent = parse_full("/job:localhost/replica:0/task:0/device:TPU:5")
    with pytest.raises(NotFound, match=r"there is no device /job:localhost/replica:0/task:0/device:TPU:5 here, only"):
        device(absent)

    @dfc.function
    def host(x: dfc.Tensor) -> dfc.Tensor:
        return dfc.py_call(lambda a: a, [x], [dfc.TensorSpec((2,), "float32")]) * 2

    graph = host.graph(dfc.TensorSpec((2,), "float32"))
    with pytest.raises(Unimplemented, match="a step on a device by itself is one program of known sizes, got"):
        DeviceStep(clustered(graph.module, graph.name, {}), Fake(), {})
