"""The inside of an op with a region, traced: what the surrounding function has, the region gets as an argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Attribute, BlockArgument, Region, SSAValue

from dfc.errors import FailedPrecondition
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Resource, Trace
from dfc.ir import locations
from dfc.ir.builder import create, erase
from dfc.ir.op import Op, short_name
from dfc.ir.ops.function import Yield

if TYPE_CHECKING:
    from dfc.frontend.variable import Variable

LARGE = 64
"""Elements. A larger constant is made outside, once for all regions that use it."""


class Interior(Trace):
    """A region of an op of `parent`. Functions that are called in it run as part of it."""

    is_interior = True

    def __init__(
        self, parent: Trace, what: str, inputs: Sequence[Attribute], location: LocationAttr | None = None
    ) -> None:
        names = [f"input_{i}" for i in range(len(inputs))]
        super().__init__(parent.program, what, inputs, names, parent=parent, location=location)
        self.outside, self.what = parent, what

    def _constant_of(self, tensor: Tensor) -> SSAValue:
        if isinstance(tensor.size, int) and tensor.size > LARGE:
            value = self.outside.value_of(tensor)
            return self._capture(Tensor(value.type, self.outside, value))._value
        return super()._constant_of(tensor)

    def discard(self) -> None:
        """Take the region out of the program; the end of an `Interior`."""
        self.close()
        erase(self.func)


class Pure(Interior):
    """A region without effects: a variable is read where the op stands, and none is written."""

    def read(self, variable: Variable) -> Tensor:
        self.uses(variable)
        tensor = self.outside.read(variable)
        return Tensor(tensor._type, self, self.value_of(tensor))

    def source(self, variable: Variable) -> SSAValue:
        return self.read(variable)._value

    def resource(self, variable: Variable) -> NoReturn:
        raise FailedPrecondition(
            f"variable {variable.name!r} can't be written inside {self.what}: what is in it may run never or twice",
            op=self.what,
            location=locations.describe(locations.capture()),
            hint="return the value and assign it outside",
        )

    def emit_ordered(
        self,
        keys: Sequence[Any],
        cls: type[Op],
        operands: Sequence[SSAValue],
        attributes: Any = None,
        annotations: Any = None,
    ) -> NoReturn:
        raise FailedPrecondition(
            f"{short_name(cls)} can't happen inside {self.what}: what is in it may run never or twice",
            op=self.what,
            location=locations.describe(locations.capture()),
            hint="do it outside",
        )

    def always(self, value: SSAValue) -> None:
        """A region has no effects: what gives the value happens where it is used."""


class Body(Interior):
    """A region with effects, which happen in program order whenever it runs: of a branch or a loop. The handles of what
    they are on come from outside."""

    def __init__(
        self, parent: Trace, what: str, inputs: Sequence[Attribute], location: LocationAttr | None = None
    ) -> None:
        super().__init__(parent, what, inputs, location)
        self.given: dict[SSAValue, BlockArgument] = {}
        """Handles of the parent -> this region's arguments for them."""
        self.outer_tokens: list[SSAValue] = []
        """What ops in here are to wait for, of the parent: the whole op does."""

    def add_input(self, type: Attribute) -> None:
        """One more argument, after those that the region was made with."""
        place = len(self.inputs)
        self.inputs.append(Tensor(type, self, self.block.insert_arg(type, place)))
        self.input_names.insert(place, f"input_{place}")

    def resource(self, variable: Variable) -> Resource:
        self.uses(variable)
        found = self.resources.get(variable)
        if found is None:
            found = self.resources[variable] = Resource(self._handle(self.outside.resource(variable).ref))
        return found

    def resource_handle(self, key: Any, make: Callable[[Trace], SSAValue]) -> SSAValue:
        found = self.handles.get(key)
        if found is None:
            found = self.handles[key] = self._handle(self.outside.resource_handle(key, make))
        return found

    def _handle(self, outer: SSAValue) -> SSAValue:
        found = self.given.get(outer)
        if found is None:
            found = self.given[outer] = self.block.insert_arg(outer.type, len(self.block.args))
            self.input_names.append(f"handle_{len(self.given) - 1}")
        return found


def region_of(
    parent: Trace, what: str, inputs: Sequence[Attribute], body: Callable[[Interior], Sequence[SSAValue]]
) -> tuple[Region, list[SSAValue]]:
    """The region without effects whose ops `body` makes from `inputs` and whose last one yields the values that it
    returns; and the values of the parent that follow `inputs` as its arguments."""
    interior = Pure(parent, what, inputs)
    try:
        values = interior.run(lambda: body(interior))
        interior.block.add_op(create(Yield, values, location=interior.func.location))
        return interior.func.detach_region(0), interior.captures
    finally:
        interior.discard()
