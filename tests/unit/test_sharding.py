"""The text of meshes and shardings, and XLA's shardings told in mesh axes."""

from __future__ import annotations

from itertools import permutations

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from dfc.backends import xla
from dfc.backends.mesh import divided_by, mesh_behind, mesh_of, meshes
from dfc.errors import InvalidArgument
from dfc.ir.sharding import Axes, Divided, MeshSpec, Sharding, checked_mesh, divided_text, parse_mesh, parts

MESHES: list[Axes] = [(("a", 4),), (("a", 2), ("b", 2)), (("a", 1), ("b", 4)), (("a", 2), ("b", 1), ("c", 2))]


@pytest.mark.parametrize(
    "spec",
    [
        MeshSpec((("data", 4),)),
        MeshSpec((("data", -1), ("model", 2))),
        MeshSpec((("x_1", 2),), ("/job:a/replica:0/task:0/device:CPU:0", "/job:a/replica:0/task:0/device:CPU:1")),
    ],
)
def test_meshes_and_shardings_have_a_text(spec: MeshSpec) -> None:
    assert parse_mesh(str(spec)) == spec
    for divided in ((), ((),), ((), (spec.names[0],)), ((spec.names[-1],), ())):
        sharding = Sharding(spec, divided)
        assert Sharding.parse(str(sharding)) == sharding


def test_several_axes_of_a_dimension_have_a_text() -> None:
    text = "data=4,model=2 [data+model, -]"
    assert Sharding.parse(text).divided == (("data", "model"), ())
    assert str(Sharding.parse(text)) == text
    assert divided_text(()) == "[]"
    assert parts((("data", 4), ("model", 2)), (("data", "model"), ()), 3) == (8, 1, 1)


@pytest.mark.parametrize("text", ["", "data", "data=", "data=x", "data=2,data=2", "data=0 []", "data=2 data", "=2"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Sharding.parse(text) if " " in text else parse_mesh(text)


def test_the_sizes_of_axes_over_devices() -> None:
    assert checked_mesh({"a": -1, "b": 2}).on(8) == (("a", 4), ("b", 2))
    assert checked_mesh({"a": 4}).on(4) == (("a", 4),)
    for axes, n, words in [({"a": 4}, 2, "takes 4 devices"), ({"a": -1, "b": 2}, 3, "takes a multiple of 2 devices")]:
        with pytest.raises(InvalidArgument, match=words):
            checked_mesh(axes).on(n)


def every_division(axes: Axes, rank: int) -> list[Divided]:
    """All ways to divide a tensor over a mesh."""
    names = [name for name, _ in axes]
    found: set[Divided] = set()
    for n in range(len(names) + 1):
        for chosen in permutations(names, n):
            for owners in np.ndindex(*(rank,) * n):
                found.add(tuple(tuple(c for c, o in zip(chosen, owners, strict=True) if o == d) for d in range(rank)))
    return sorted(found)


@pytest.mark.parametrize("axes", MESHES, ids=str)
def test_xla_s_shardings_are_told_in_axes(axes: Axes) -> None:
    """Every division of a matrix, and back: perhaps by other axes, but each device has the same part."""
    mesh = mesh_of(axes, xla.devices("cpu")[:4])
    shape = (8, 16)
    for divided in every_division(axes, 2):
        layout = mesh.layout(divided)
        proto = layout.sharding._to_xla_hlo_sharding(2).to_proto()
        found = divided_by(proto, axes, 2)
        assert found is not None, divided
        assert mesh.layout(found).pieces(shape) == layout.pieces(shape), (divided, found)


def test_shardings_that_no_axes_give_are_not_told() -> None:
    axes: Axes = (("a", 4),)
    theirs = jax.sharding.Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("p", "q"))
    halves = NamedSharding(theirs, PartitionSpec("p"))._to_xla_hlo_sharding(1).to_proto()
    assert divided_by(halves, axes, 1) is None
    crossed = NamedSharding(theirs, PartitionSpec("q", "p"))._to_xla_hlo_sharding(2).to_proto()
    assert divided_by(crossed, (("a", 2), ("b", 2)), 2) == (("b",), ("a",))


def test_a_mesh_and_a_layout_are_one_object_each() -> None:
    devices = xla.devices("cpu")
    mesh = mesh_of((("once", 2),), devices[:2])
    assert mesh_of((("once", 2),), devices[:2]) is mesh
    assert mesh_of((("once", 2),), devices[1::-1]) is not mesh
    assert meshes()[mesh.id] is mesh
    assert mesh.layout((("once",), ())) is mesh.layout((("once",),))
    array = xla.to_device(np.zeros((4, 2), np.float32), mesh.layout((("once",),)))
    assert mesh_behind(array) is mesh
    assert mesh_behind(xla.to_device(np.zeros(4))) is None
    foreign = jax.sharding.Mesh(np.array(jax.devices()[:4]).reshape(4), ("nobody_s",))
    assert mesh_behind(jax.device_put(np.zeros(4), NamedSharding(foreign, PartitionSpec()))) is None
