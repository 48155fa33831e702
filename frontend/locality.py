"""Where values are that are known, and where what is done at once happens.

The type of a concrete tensor says where its value is, so that a call's key, made of types, says whether its inputs have
to be brought to where it runs: those of values on the first device are the usual types, others are marked.

Outside a trace an operation runs on the device that `dfc.device` or `dfc.colocate_with` around it asks for; else on
that of the first of its operands that is a tensor or a variable, and without any on the first device. Other operands
are brought there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute

from dfc.backends.mesh import Mesh
from dfc.frontend import names
from dfc.ir.devices import REQUEST, parse
from dfc.ir.dtypes import as_dtype
from dfc.ir.sharding import Sharding
from dfc.ir.types import mark_of, marked, spec_of, tensor_type

Device = Any


@cache
def first() -> Device:
    """The device of what nobody asked anything for."""
    from dfc.backends.xla import default_device

    return default_device()


# ---- values


def type_at(type: Attribute, device: Device) -> Attribute:
    """A tensor type, for a value on this device."""
    return type if device is first() else marked(type, device)


def type_of_array(array: Any) -> Attribute:
    """The type of a concrete tensor that holds the array: a device's, or NumPy's for strings."""
    plain = tensor_type(tuple(array.shape), as_dtype(array.dtype))
    if isinstance(array, np.ndarray):
        return plain
    from dfc.backends.xla import device_of

    return type_at(plain, device_of(array))


def device_of_type(type: Attribute) -> Device:
    """Where the value of a tensor of this type is."""
    return mark_of(type) or first()


def plain(type: Attribute) -> Attribute:
    """The type without a device."""
    return type if mark_of(type) is None else tensor_type(*spec_of(type))


# ---- what is done at once


def asked() -> str:
    """The device that is asked for around what is done at once, a name or a part of one; `""` for none."""
    placement = names.placement()
    if not placement:
        return ""
    found = placement.get(REQUEST)
    if isinstance(found, StringAttr):
        return found.data
    near = names.near()
    return "" if near is None else name_of(near.state.device)


def here() -> Device | None:
    """The device that is asked for around what is done at once; None for none."""
    name = asked()
    return device_called(name) if name else None


def first_of(operands: Iterable[Any]) -> Device | None:
    """Where the first is of the operands, lists and dicts of them included, that are concrete tensors, variables, or
    JAX's arrays; None where there is none."""
    for operand in operands:
        found = None
        if type(operand) in (list, tuple):
            found = first_of(operand)
        elif type(operand) is dict:
            found = first_of(operand.values())
        elif hasattr(operand, "_type"):
            found = device_of_type(operand._type)
        elif hasattr(operand, "__dfc_tensor__") and hasattr(operand, "state"):
            found = operand.state.device
        elif hasattr(operand, "sharding"):
            found = device_of_type(type_of_array(operand)) if len(operand.sharding.device_set) == 1 else None
        if found is not None:
            return found
    return None


def divisions(operands: Sequence[Any], asked: str) -> tuple[Sharding | None, ...]:
    """How the values of a call are divided that are on a mesh, one for each; none at all where none is, or where what
    is called asks for another place."""
    meshes = [mark_of(x._type) if hasattr(x, "_type") else None for x in operands]
    if not any(isinstance(mesh, Mesh) for mesh in meshes):
        return ()
    from dfc.runtime.meshes import sharding_of

    found = [sharding_of(x._array) if isinstance(m, Mesh) else None for x, m in zip(operands, meshes, strict=True)]
    return tuple(found) if not asked or any(isinstance(m, Mesh) and asked == name_of(m) for m in meshes) else ()


def beside(*operands: Any) -> Device | None:
    """Where the result of an operation goes that is done at once on the host."""
    return here() or first_of(operands)


def device_called(name: str) -> Device:
    """The first device that a name, or a part of one, fits; where none does the first of all."""
    from dfc.runtime.placing import device_for

    return device_for(parse(name))


def request_for(device: Device) -> str:
    """What to ask for so that something is on this device: nothing for the first one."""
    return "" if device is first() else name_of(device)


def name_of(device: Device) -> str:
    """The device's whole name."""
    from dfc.runtime import device_names

    return device_names.name_of(device)


def short_name(device: Device) -> str:
    """The device's name among those of its type here: `cpu:1`, or of a mesh `mesh:0`."""
    return f"{device.platform}:{device.id}"
