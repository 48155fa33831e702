"""Row K9, data and tensor parallelism: what meshes and divisions can't be, each refused with the user's line."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import dfc
from dfc.errors import DfcError, FailedPrecondition, InvalidArgument, InvalidType, Unimplemented
from dfc.frontend import sharding

X = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)


@pytest.fixture(autouse=True)
def only_these_meshes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Meshes of other tests don't make it unclear which one is meant."""
    monkeypatch.setattr(sharding, "_made", {})


def at_this_line(error: DfcError, words: str) -> None:
    assert words in str(error)
    assert "test_k9_sharding_errors.py:" in str(error)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (("data",), "no mesh has the axes data; there is <dfc.mesh a=4>"),
        ((None, None, "a"), "the sharding [-, -, a] is for rank 3 or more"),
        (("a", "a"), "mesh axis 'a' can divide one dimension only, once"),
        ((("a", "a"),), "mesh axis 'a' can divide one dimension only, once"),
        ("a", "axes must have an entry for each dimension, as in ('data', None), got 'a'"),
        ((3,), "a dimension is divided by a mesh axis, several, or None, got 3"),
    ],
)
def test_k9_axes_that_can_t_be(axes: Any, words: str) -> None:
    dfc.mesh({"a": 4})
    for call in (lambda: dfc.shard(X, axes), lambda: dfc.function(lambda x: dfc.shard(x, axes))(X)):
        with pytest.raises(InvalidArgument) as caught:
            call()
        at_this_line(caught.value, words)
        assert str(caught.value).startswith("shard: ")


def test_k9_sizes_that_can_t_be_divided() -> None:
    words = "can't be divided evenly among"
    for mesh in (dfc.mesh({"a": 4}), dfc.mesh({"a": -1})):
        f = dfc.function(lambda x, mesh=mesh: dfc.shard(x, (None, "a"), mesh) + 1.0)
        with pytest.raises(InvalidArgument) as caught:
            f(np.zeros((4, 6), np.float32))
        at_this_line(caught.value, f"dimension 1 of size 6 {words} a=4")
        with pytest.raises(InvalidArgument) as caught:
            dfc.shard(np.zeros((6,), np.float32), ("a",), mesh)
        at_this_line(caught.value, f"dimension 0 of size 6 {words} a=4")
        v = dfc.Variable(np.zeros(6, np.float32))
        with pytest.raises(InvalidArgument) as caught:
            dfc.shard(v, ("a",), mesh)
            dfc.function(lambda v=v: v + 1.0)()
        at_this_line(caught.value, f"dimension 0 of size 6 {words} a=4")

    @dfc.function(signature=[dfc.TensorSpec(("n",), "float32")])
    def symbolic(x: dfc.Tensor) -> dfc.Tensor:
        return dfc.shard(x, ("a",), dfc.mesh({"a": 4})) + 1.0

    assert_array_equal(symbolic(np.zeros(8, np.float32)).numpy(), np.ones(8))
    with pytest.raises(InvalidArgument) as caught:
        symbolic(np.zeros(7, np.float32))
    at_this_line(caught.value, f"dimension 0 of size 7 {words} a=4")


def test_k9_strings_are_on_no_device() -> None:
    mesh = dfc.mesh({"a": 1})
    words = dfc.asarray(["one", "two"])
    for call in (lambda: dfc.shard(words, ("a",), mesh), lambda: dfc.function(lambda x: dfc.shard(x, ("a",)))(words)):
        with pytest.raises(InvalidType) as caught:
            call()
        at_this_line(caught.value, "the dtype must be bool or int or uint or float or complex, got string")


def test_k9_meshes_that_can_t_be() -> None:
    for axes, devices, words in [
        ({}, None, "a mesh needs at least one axis"),
        ({"a": 0}, None, "the size of mesh axis 'a' must be a positive int, or -1, got 0"),
        ({"a b": 2}, None, "a mesh axis is called by a name such as 'data', got 'a b'"),
        ({"a": -1, "b": -1}, None, "only one axis of a mesh may be as large as the devices allow"),
        ([("a", 2)], None, "the axes of a mesh are a dict"),
        ({"a": 2}, "cpu:0", "devices must be a list of names"),
        ({"a": 2}, [0, 1], "devices must be a list of names"),
        ({"a": 3}, dfc.devices()[:2], "the mesh (a=3) takes 3 devices, and here it has 2"),
        ({"a": 2}, [dfc.devices()[0]] * 2, "a mesh has each device once"),
    ]:
        with pytest.raises(InvalidArgument) as caught:
            dfc.mesh(axes, devices)  # type: ignore[arg-type]
        at_this_line(caught.value, words)
    for devices, words in [
        (["cpu:0", "cpu:9"], "'cpu:9' fits 0 devices, and a mesh takes names of one each"),
        (["cpu:0", "cpu"], "'cpu' fits 4 devices, and a mesh takes names of one each"),
        (["cpu:0", "/device:CPU:0"], "a mesh has each device once, got cpu:0, /device:CPU:0"),
    ]:
        with pytest.raises(InvalidArgument) as caught:
            dfc.shard(X, ("a",), dfc.mesh({"a": 2}, devices))
        at_this_line(caught.value, words)
    assert dfc.mesh({"a": np.int64(2)}, ["cpu:1", "cpu:3"]).devices == dfc.devices()[1::2]
    many = dfc.mesh({"a": 16})
    for call in (
        lambda: many.devices,
        lambda: dfc.shard(X, (None, "a"), many),
        lambda: dfc.function(lambda x: dfc.shard(x, (None, "a"), many))(X),
    ):
        with pytest.raises(InvalidArgument) as caught:
            call()
        at_this_line(caught.value, "the mesh (a=16) needs 16 devices, and here are 4 of type cpu")
        assert "DFC_CPU_DEVICES=16" in str(caught.value)


def test_k9_it_must_be_clear_which_mesh_is_meant() -> None:
    with pytest.raises(InvalidArgument) as caught:
        dfc.shard(X, ("a",))
    at_this_line(caught.value, "there is no mesh yet")
    dfc.mesh({"a": 4})
    assert dfc.shard(X, ("a",)).sharding == ("a", None)
    dfc.mesh({"a": 2, "b": 2})
    with pytest.raises(InvalidArgument) as caught:
        dfc.shard(X, ("a",))
    at_this_line(caught.value, "several meshes have the axes a: <dfc.mesh a=4>, <dfc.mesh a=2,b=2>")
    with pytest.raises(InvalidArgument, match=r"there are several meshes: <dfc\.mesh a=4>, <dfc\.mesh a=2,b=2>"):
        dfc.shard(X, ())
    assert dfc.shard(X, ("a", "b")).sharding == ("a", "b")
    with pytest.raises(InvalidType, match=re.escape("mesh must be what dfc.mesh gives, got {'a': 4}")):
        dfc.shard(X, ("a",), {"a": 4})  # type: ignore[arg-type]


def test_k9_variables_that_can_t_be_divided() -> None:
    dfc.mesh({"a": 4})
    used = dfc.Variable(X, name="used")
    dfc.function(lambda: used.assign_add(dfc.ones(used.shape)))()
    with pytest.raises(FailedPrecondition) as caught:
        dfc.shard(used, ("a",))
    at_this_line(caught.value, "variable 'used' has been used before it was said how it is divided")
    read = dfc.Variable(X, name="read")
    with pytest.raises(FailedPrecondition, match="variable 'read' has been used before"):
        dfc.function(lambda: (read + 1.0, dfc.shard(read, ("a",)))[0])()
    lowered = dfc.Variable(X, name="lowered")
    dfc.function(lambda: lowered + 1.0).lower()
    with pytest.raises(FailedPrecondition, match="variable 'lowered' has been used before"):
        dfc.shard(lowered, ("a",))
    with dfc.device("cpu:2"):
        elsewhere = dfc.Variable(X, name="elsewhere")
    with pytest.raises(InvalidArgument, match="variable 'elsewhere' was made for /device:CPU:2, which is no mesh"):
        dfc.shard(elsewhere, ("a",))
    with pytest.raises(Unimplemented) as unfit:
        dfc.shard(dfc.Variable(X, name="host", offload=True), ("a",))
    at_this_line(unfit.value, "variable 'host' lives in the host's memory, and is not divided among devices")
    with dfc.Graph():
        v = dfc.Variable(X, name="g")
        v + 1.0
        with pytest.raises(FailedPrecondition, match="variable 'g' has been used before"):
            dfc.shard(v, ("a",))


def test_k9_what_a_device_is_asked_for_is_on_no_mesh() -> None:
    mesh = dfc.mesh({"a": 4})

    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        with dfc.device("/device:CPU:1"):
            return dfc.shard(x, ("a",), mesh) * 2.0

    with pytest.raises(InvalidArgument) as caught:
        f(X)
    at_this_line(caught.value, "dfc.device around it asks for /device:CPU:1, and what is divided is on all devices")

    @dfc.function
    def g(x: dfc.Tensor) -> dfc.Tensor:
        with dfc.device("/device:CPU:1"), dfc.device(None):
            return dfc.shard(x, ("a",), mesh) * 2.0

    assert g(X).sharding == ("a", None)
    with pytest.raises(InvalidType, match="a tensor, an array or a variable is divided, got a module, Dense"):
        dfc.shard(dfc.nn.Dense(2, 4), ("a",))


def test_k9_costs_know_no_meshes() -> None:
    mesh = dfc.mesh({"a": 4})
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (8, 16), name="x")
        y = dfc.sum(dfc.shard(x, ("a",), mesh))
    with (
        dfc.Session(graph, config=dfc.SessionConfig(placement="costs")) as session,
        pytest.raises(Unimplemented, match="a program on a mesh can't be placed by costs"),
    ):
        session.run(y, {x: X})
