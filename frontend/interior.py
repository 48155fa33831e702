"""The inside of an op with a region, traced: what the surrounding function has, the region gets as an argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from xdsl.ir import Attribute, Region, SSAValue

from dfc.errors import FailedPrecondition
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace
from dfc.ir import locations
from dfc.ir.builder import create, erase
from dfc.ir.op import Op, short_name
from dfc.ir.ops.function import Yield

if TYPE_CHECKING:
    from dfc.frontend.variable import Variable


class Interior(Trace):
    """A region of an op of `parent`. It has no effects: a variable is read where the op stands, and none is written.
    Functions that are called in it run as part of it."""

    is_interior = True

    def __init__(self, parent: Trace, what: str, inputs: Sequence[Attribute]) -> None:
        super().__init__(parent.program, what, inputs, [f"input_{i}" for i in range(len(inputs))], parent=parent)
        self.outside, self.what = parent, what

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


def region_of(
    parent: Trace, what: str, inputs: Sequence[Attribute], body: Callable[[Interior], Sequence[SSAValue]]
) -> tuple[Region, list[SSAValue]]:
    """The region whose ops `body` makes from `inputs` and whose last one yields the values that it returns; and the
    values of the parent that follow `inputs` as its arguments."""
    interior = Interior(parent, what, inputs)
    try:
        values = interior.run(lambda: body(interior))
        interior.block.add_op(create(Yield, values, location=interior.func.location))
        return interior.func.detach_region(0), interior.captures
    finally:
        interior.close()
        erase(interior.func)
        interior.close()
