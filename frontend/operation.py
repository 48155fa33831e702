"""`dfc.Operation`: something that a graph does, such as a write to a variable."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Operation as IrOperation
from xdsl.ir import SSAValue

from dfc.errors import FailedPrecondition
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace


class Operation:
    """An effect without a value of its own. In a traced function it happens in program order, returned or not; outside
    it has happened when you get it."""

    __dfc_effect__ = True

    def __init__(
        self, token: SSAValue | None, trace: Trace | None, name: str, value: Callable[[], Tensor] | None = None
    ) -> None:
        self._token, self._trace, self._name, self._value = token, trace, name, value

    @property
    def name(self) -> str:
        """In a graph the name by which it can be fetched; else what it did."""
        if self._token is not None and self._trace is not None and self._trace.value_hint:
            owner = self._token.owner
            assert isinstance(owner, IrOperation), "a token comes from an op"
            return self._trace.names.of_op(owner)
        return self._name

    def value(self) -> Tensor:
        """The variable's value after this write.

        Raises FailedPrecondition for an operation that writes no single variable, or, in a trace, after the variable's
        next write.
        """
        if self._value is None:
            raise FailedPrecondition(f"the operation {self.name!r} has no value")
        return self._value()

    def implied_by(self, tensor: Tensor) -> Tensor:
        """The tensor, so that whoever uses it has this operation too. In a traced function, and outside, operations
        need nobody to use them."""
        if self._trace is None or self._token is None or tensor._trace is not self._trace:
            return tensor
        return self._trace.implying(tensor, self._token)

    def __repr__(self) -> str:
        return f"<dfc.Operation {self.name!r}>"
