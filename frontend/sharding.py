"""`dfc.mesh` and `dfc.shard`: one program over several devices, with the values that it divides among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from dfc.errors import DfcError, FailedPrecondition, InvalidArgument, InvalidType, Unimplemented
from dfc.frontend import interop, locality, names
from dfc.frontend.graph_variable import GraphVariable
from dfc.frontend.module import Module
from dfc.frontend.placement import requested
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.frontend.variable import Variable
from dfc.ir import locations
from dfc.ir.devices import REQUEST
from dfc.ir.ops.sharding import Shard, require_fitting
from dfc.ir.sharding import Divided, MeshSpec, Sharding, checked_mesh, divided_by_entries

if TYPE_CHECKING:
    Axes = Sequence[str | Sequence[str] | None]

V = TypeVar("V", bound=Variable)

_made: dict[MeshSpec, Mesh] = {}


class Mesh:
    """A grid of devices with named axes; made by `dfc.mesh`."""

    def __init__(self, spec: MeshSpec) -> None:
        self._spec = spec

    @property
    def axes(self) -> dict[str, int]:
        """The size of each axis, by name, as it was asked for: -1 for as many as there are devices."""
        return dict(self._spec.axes)

    @property
    def shape(self) -> dict[str, int]:
        """The size of each axis, by name, over this process's devices. InvalidArgument where they are too few."""
        return dict(self._spec.on(len(self.devices)))

    @property
    def devices(self) -> list[str]:
        """The names of the mesh's devices, in order. Raises InvalidArgument where this process has too few."""
        from dfc.backends.mesh import devices_behind
        from dfc.runtime.meshes import mesh_for

        try:
            return [locality.name_of(device) for device in devices_behind(mesh_for(self._spec))]
        except DfcError as error:
            raise error.at(op="mesh", location=locations.describe(locations.capture())) from None

    def __repr__(self) -> str:
        return f"<dfc.mesh {self._spec}>"


def mesh(axes: Mapping[str, int], devices: Sequence[str] | None = None) -> Mesh:
    """A grid of devices whose axes have names: `dfc.mesh({"data": 4})`, `dfc.mesh({"data": -1, "model": 2})`.

    `axes` gives the size of each axis; one may be -1: as large as the devices allow. `devices` are names, such as
    `cpu:0`, see `dfc.devices`, in the order in which the last axis changes fastest; by default the first ones of this
    process, and for an artifact those of the target. Which devices there are is asked when something runs on the mesh.
    The same axes and devices give the same mesh.

    Raises InvalidArgument for names and sizes that can't be, InvalidType for axes that are no mapping.
    """
    try:
        if not isinstance(axes, Mapping):
            raise InvalidType(f"the axes of a mesh are a dict such as {{'data': 4}}, got {axes!r}")
        if isinstance(devices, str) or not all(isinstance(name, str) for name in devices or ()):
            raise InvalidType(f"devices must be a list of names, got {devices!r}")
        spec = checked_mesh(axes, tuple(devices or ()))
    except DfcError as error:
        raise error.at(op="mesh", location=locations.describe(locations.capture())) from None
    return _made.setdefault(spec, Mesh(spec))


@overload
def shard(x: V, axes: Axes, mesh: Mesh | None = None) -> V: ...
@overload
def shard(x: Operand, axes: Axes, mesh: Mesh | None = None) -> Tensor: ...
def shard(x: Any, axes: Axes, mesh: Mesh | None = None) -> Any:
    """`x`, divided among the devices of a mesh: `dfc.shard(x, ("data", None))`.

    `axes` has an entry for each dimension: the name of the mesh axis that divides it, several names, the outermost
    first, or None for a dimension that is whole; dimensions beyond the last entry are whole, so `()` has all of `x` on
    each device. A mesh axis divides one dimension at most, into parts of one size. `mesh` may be left out where only
    one that was made has these axes.

    In a traced function this says how the value is divided from there on, and the function runs on the mesh as one
    program of all its devices: what is said of nothing else follows from that, with the collectives that it takes.
    Inputs are divided as the first `dfc.shard` that takes them says, and are brought there. The values are those of one
    device, to rounding. The gradient is divided in the same way. On a mesh of one device nothing is divided.

    A variable is marked, and returned: it lives divided so from its first step on, with the state that optimisers make
    for it later. Outside of functions a tensor or an array is put on the mesh.

    Raises InvalidArgument for axes that the mesh has not or that fit no mesh or several, for sizes that they don't
    divide, and where `dfc.device` asks for another place; FailedPrecondition for a variable that was used before;
    Unimplemented for an offloaded one.
    """
    try:
        return _shard(x, axes, mesh)
    except DfcError as error:
        raise error.at(op="shard", location=locations.describe(locations.capture())) from None


def _shard(x: Any, axes: Axes, mesh: Mesh | None) -> Any:
    sharding = _sharding(axes, mesh)
    trace = current()
    if isinstance(x, Module):
        raise InvalidType(
            f"a tensor, an array or a variable is divided, got a module, {type(x).__name__}",
            hint="a module's variables are in its attributes, and all of them in `module.variables`",
        )
    if isinstance(x, Variable):
        return _mark(x, sharding)
    if trace is not None:
        if REQUEST in names.placement():
            asked = requested(names.placement())
            raise InvalidArgument(
                f"dfc.device around it asks for {asked}, and what is divided is on all devices of a mesh",
                hint="divide it outside of the scope, or in `with dfc.device(None):`",
            )
        trace.program.mesh = trace.program.mesh or sharding.mesh
        return trace.emit(Shard, [tensor_in(trace, x)._value], {"sharding": sharding})
    from dfc.backends import xla
    from dfc.backends.mesh import Mesh as DeviceMesh
    from dfc.runtime.meshes import mesh_for

    tensor = interop.to_tensor(x)
    Shard.infer([locality.plain(tensor._type)], {"sharding": sharding})
    place = mesh_for(sharding.mesh)
    if isinstance(place, DeviceMesh):
        require_fitting(Sharding(MeshSpec(place.axes), sharding.divided), tensor.shape, "")
        place = place.layout(sharding.divided)
    array = xla.placed(tensor._array, place)
    return Tensor(locality.type_of_array(array), None, array)


def _sharding(axes: Axes, mesh: Mesh | None) -> Sharding:
    divided = _divided(axes)
    if mesh is not None and not isinstance(mesh, Mesh):
        raise InvalidType(f"mesh must be what dfc.mesh gives, got {mesh!r}")
    return Sharding((mesh or _only_mesh(divided))._spec, divided)


def _divided(axes: Axes) -> Divided:
    if isinstance(axes, str) or not isinstance(axes, Sequence):
        raise InvalidType(f"axes must have an entry for each dimension, as in ('data', None), got {axes!r}")
    for entry in axes:
        several = isinstance(entry, Sequence) and all(isinstance(name, str) for name in entry)
        if entry is not None and not several:
            raise InvalidType(f"a dimension is divided by a mesh axis, several, or None, got {entry!r}")
    return divided_by_entries(axes)


def _only_mesh(divided: Divided) -> Mesh:
    wanted = {name for axes in divided for name in axes}
    found = [mesh for spec, mesh in _made.items() if wanted <= set(spec.names)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(map(repr, _made.values()))
    what = f"the axes {', '.join(sorted(wanted))}"
    if not _made:
        raise InvalidArgument("there is no mesh yet", hint='make one first: dfc.mesh({"data": 4})')
    if not found:
        raise InvalidArgument(f"no mesh has {what}; there {'are' if len(_made) > 1 else 'is'} {listed}")
    fit = f"several meshes have {what}" if wanted else "there are several meshes"
    raise InvalidArgument(f"{fit}: {', '.join(map(repr, found))}", hint="say which: mesh=...")


def _mark(variable: Variable, sharding: Sharding) -> Variable:
    if variable.division == sharding:
        return variable
    require_fitting(sharding, variable.shape, "")
    if variable.offload:
        raise Unimplemented(f"variable {variable.name!r} lives in the host's memory, and is not divided among devices")
    if variable.is_traced:
        raise FailedPrecondition(
            f"variable {variable.name!r} has been used before it was said how it is divided",
            hint="call dfc.shard right after the variable is made",
        )
    if REQUEST in variable.placement:
        raise InvalidArgument(
            f"variable {variable.name!r} was made for {requested(variable.placement)}, which is no mesh"
        )
    variable.division = sharding
    if isinstance(variable, GraphVariable):
        program = variable.graph.program
        program.mesh = program.mesh or sharding.mesh
    return variable
