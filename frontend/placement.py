"""`dfc.device` and `dfc.colocate_with`: where operations are to run. The pass `place` decides, these ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute
from xdsl.ir import Operation as IrOperation

from dfc.errors import DfcError, InvalidArgument, InvalidType
from dfc.frontend import locality, names
from dfc.frontend.graph_variable import GraphVariable
from dfc.frontend.operation import Operation
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace, current
from dfc.frontend.variable import Variable
from dfc.ir import locations
from dfc.ir.devices import ANY, COLOCATE, HINT, REQUEST, DeviceName, parse, priority


def devices(kind: str | None = None) -> list[str]:
    """The whole names of this process's devices, of one type ("cpu", "gpu", "tpu") or of all. What asks for no device
    is on the first. DFC_CPU_DEVICES=4 in the environment makes 4 of the CPU."""
    from dfc.runtime.device_names import local_devices

    names = sorted(local_devices(), key=priority)
    return [str(name) for name in names if kind is None or name.kind == kind.upper()]


@contextmanager
def device(name: str | None) -> Iterator[None]:
    """Operations and variables made inside are for this device, by its whole name or a part: `"/job:ps"`, `"/gpu:1"`,
    `"/job:worker/task:0/device:CPU:0"`.

    Scopes nest: what the inner one does not say, the outer one does; None lifts all of them. A function's body asks for
    itself: no scope around its call counts inside. What is done at once inside, outside of functions, happens on the
    first device that the name fits. Raises InvalidArgument for what is no device's name.
    """
    outer = names.placement()
    if name is None:
        request = ANY
    else:
        request = requested(outer).overridden_by(_parsed(name))
    with names.placed(_with(outer, REQUEST, "" if request == ANY else str(request)), names.near()):
        yield


@contextmanager
def colocate_with(target: Any) -> Iterator[None]:
    """Operations and variables made inside are on the device of `target`, a tensor, a variable or an operation; scopes
    of `dfc.device` around count no more. Nested, they are on the device of all targets, what is done at once on that of
    the innermost variable, or of the tensor that has a value."""
    if isinstance(target, Tensor) and target._trace is None:
        with names.placed({REQUEST: StringAttr(locality.name_of(locality.device_of_type(target._type)))}):
            yield
        return
    label = label_of(target)
    outer = names.placement().get(COLOCATE)
    before = outer.data.split() if isinstance(outer, StringAttr) else []
    placement: dict[str, Attribute] = {COLOCATE: StringAttr(" ".join(dict.fromkeys([*before, label])))}
    near = target if isinstance(target, Variable) and not isinstance(target, GraphVariable) else None
    if near is not None and (request := _request_of(near)):
        placement[REQUEST] = StringAttr(request)  # the program may have no more of the variable than its label
    with names.placed(placement, near):
        yield


def _request_of(variable: Variable) -> str:
    """Where a variable lives, or will; `""` where its first step decides that."""
    state = variable._state
    if state is None or not state.is_settled:
        return str(requested(variable.placement))
    return locality.name_of(state.device)


def requested(placement: Any) -> DeviceName:
    """The device that these attributes ask for."""
    found = placement.get(REQUEST)
    return parse(found.data) if isinstance(found, StringAttr) else ANY


def _parsed(name: str) -> DeviceName:
    try:
        if not isinstance(name, str):
            raise InvalidType(f"a device's name is a text, got {name!r}", hint=HINT)
        return parse(name)
    except DfcError as error:
        raise error.at(op="device", location=locations.describe(locations.capture())) from None


def _with(outer: Any, key: str, value: str) -> dict[str, Attribute]:
    kept = {k: v for k, v in outer.items() if k != key}
    return {**kept, key: StringAttr(value)} if value else kept


def label_of(target: Any) -> str:
    """The group of the op behind `target`, which is marked as one of it. Raises InvalidType for what is no element of
    a graph, InvalidArgument for a function's input."""
    place = locations.describe(locations.capture())
    if isinstance(target, Variable):
        trace = current()  # a variable's handle is of the group of its name: the pass knows
        return f"loc:@{target.name if trace is None else trace.program.variable_name(target)}"
    if isinstance(target, Tensor):
        value, owning = target._value if target._trace is not None else None, target._trace
    elif isinstance(target, Operation):
        value, owning = target._token, target._trace
    else:
        raise InvalidType(
            f"a tensor, a variable or an operation is needed, got {target!r}", op="colocate_with", location=place
        )
    if value is None or owning is None:
        raise InvalidType(f"{target!r} is in no graph", op="colocate_with", location=place)
    owner = value.owner
    if not isinstance(owner, IrOperation):
        raise InvalidArgument(f"{target.name!r} is an input, which is on no device", op="colocate_with", location=place)
    if COLOCATE not in owner.attributes:
        owner.attributes[COLOCATE] = StringAttr(f"loc:@{_unique(owning, owning.names.of_op(owner))}")
    return _first_label(owner.attributes[COLOCATE])


def _first_label(attribute: Attribute) -> str:
    assert isinstance(attribute, StringAttr)
    return attribute.data.split()[0]


def _unique(trace: Trace, name: str) -> str:
    """`name`, with a number where another function of the program has a group of that name."""
    labels, found, number = trace.program.labels, name, 0
    while found in labels:
        number += 1
        found = f"{name}_{number}"
    labels.add(found)
    return found
