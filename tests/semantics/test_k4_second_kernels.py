"""Row K4, several kernels: a second kernel of an op is picked for its device and its dtypes, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc
from dfc.backends import compile_cache
from dfc.backends.kernels import KERNELS, kernel, kind_of, table_for, unregister
from dfc.backends.stablehlo import rules
from dfc.errors import AlreadyExists, InvalidArgument
from dfc.ir.ops.elementwise import Cosine, Sine
from dfc.ir.types import spec_of
from dfc.runtime.load import ArtifactFile
from dfc.runtime.manifest import program_of
from dfc.runtime.planning import emitted, plan_of
from dfc.runtime.step import clustered

X = np.float32([0.0, 0.5, 1.0])


def by_halves(emitter: Any, op: Any, operands: list[Any]) -> list[Any]:
    """sin x = 2 sin(x/2) cos(x/2): the same value by other operations."""
    (x,) = operands
    shape, dtype = spec_of(op.results[0].type)
    half = emitter.create("stablehlo.multiply", x.type, [x, emitter.filled(0.5, shape, dtype)])
    sine, cosine = (emitter.create(f"stablehlo.{name}", x.type, [half]) for name in ("sine", "cosine"))
    both = emitter.create("stablehlo.multiply", x.type, [sine, cosine])
    return [emitter.create("stablehlo.add", x.type, [both, both])]


@pytest.fixture
def second() -> Iterator[None]:
    kernel(Sine, device="cpu", dtypes=("float32",))(by_halves)
    yield
    unregister(Sine, by_halves)
    assert not KERNELS


def sine_of(dtype: str) -> Any:
    return dfc.function(signature=[dfc.TensorSpec((3,), dtype, name="x")], name="f")(lambda x: dfc.sin(x))


def text(dtype: str, kind: str) -> str:
    graph = sine_of(dtype).graph()
    _, islands, _ = plan_of(clustered(graph.module, graph.name, {}))
    return "\n".join(map(str, emitted(islands, "f", kind=kind)))


def uses_it(program: str) -> bool:
    return "stablehlo.cosine" in program


@pytest.mark.usefixtures("second")
def test_k4_a_second_kernel_is_picked_for_its_device_and_dtype_only() -> None:
    assert uses_it(text("float32", "cpu"))
    for dtype in ("float64", "bfloat16", "float16"):
        assert not uses_it(text(dtype, "cpu")), dtype
    for kind in ("gpu", "tpu", ""):
        assert not uses_it(text("float32", kind)), kind
    assert table_for("cpu")[Cosine] is rules.RULES[Cosine]
    assert table_for("gpu") is rules.RULES


@pytest.mark.usefixtures("second")
def test_k4_calls_use_it_and_give_the_same() -> None:
    f = dfc.function(lambda x: dfc.sin(x))
    (program,) = f.compiled_for(dfc.asarray(X)).step.executables
    assert "cosine" in program.hlo
    assert uses_it(f.lower(dfc.TensorSpec((3,), "float32")).text)
    assert_allclose(f(X).numpy(), np.sin(X), rtol=1e-6)
    (other,) = f.compiled_for(dfc.asarray(X.astype(np.float64))).step.executables
    assert "cosine" not in other.hlo
    mesh = dfc.mesh({"k4": 4})
    divided = dfc.function(lambda x: dfc.sin(dfc.shard(x, ("k4",), mesh)))
    assert uses_it(divided.lower(dfc.TensorSpec((4,), "float32")).text)
    assert_allclose(divided(np.ones(4, np.float32)).numpy(), np.sin(np.ones(4)), rtol=1e-6)


@pytest.mark.usefixtures("second")
def test_k4_an_artifact_has_it_in_what_is_compiled_for_the_device_alone(tmp_path: Any) -> None:
    dfc.compile(sine_of("float32"), target=["cpu", "cpu:x86-64-v2"]).save(tmp_path / "m.dfc")
    file = ArtifactFile(tmp_path / "m.dfc")
    for target in ("cpu", "cpu-x86-64-v2"):
        assert "cosine" in bytes(file.member(f"entries/f/static/islands/0.{target}.hlo")).decode()
    module = compile_cache.module_from_portable(bytes(file.member(program_of("f", {}, 0))))
    assert not uses_it(str(module))
    assert_allclose(dfc.load(tmp_path / "m.dfc").f(x=X), np.sin(X), rtol=1e-6)


def test_k4_a_kernel_taken_back_is_gone() -> None:
    kernel(Sine, device="cpu", dtypes=("float32", "float64"))(by_halves)
    assert uses_it(text("float64", "cpu"))
    unregister(Sine, by_halves)
    assert not uses_it(text("float64", "cpu"))
    assert table_for("cpu") is rules.RULES


@pytest.mark.usefixtures("second")
def test_k4_kernels_that_can_t_be() -> None:
    with pytest.raises(AlreadyExists, match="sine: there is a kernel for cpu and float32 already"):
        kernel(Sine, device="cpu", dtypes=("float64", "float32"))(lambda emitter, op, operands: operands)
    with pytest.raises(InvalidArgument, match="sine: a kernel is for one of cpu, gpu, tpu, got 'fpga'"):
        kernel(Sine, device="fpga", dtypes=("float32",))
    with pytest.raises(InvalidArgument, match="'float31' is not a dtype"):
        kernel(Sine, device="cpu", dtypes=("float31",))


def test_k4_the_kind_of_a_device() -> None:
    from dfc.backends import xla
    from dfc.backends.mesh import mesh_of

    devices = xla.devices("cpu")
    assert [kind_of(devices[0]), kind_of(mesh_of((("x", 2),), devices[:2]))] == ["cpu", "cpu"]
