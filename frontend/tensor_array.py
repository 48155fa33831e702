"""`dfc.TensorArray`: a list of tensors of one shape that loops write and read by index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.ops.constant import asarray, zeros
from dfc.frontend.ops.indexing import dynamic_slice, dynamic_update_slice, take, tensor_scatter_update
from dfc.frontend.ops.shape import error_here, expand_dims, is_index, reshape, squeeze
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.ir.dims import Dim, SymbolicDim
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.types import Spec, spec_of

OP = "TensorArray"


@dataclass(init=False, eq=False)
class TensorArray:
    """`size` tensors of one shape and dtype, zeros at first. Writing gives a new one, and shares its memory where the
    old one is used no more, so that a loop that carries an array writes in place.

    It is a nest of one tensor, `buffer`, of shape (size, *element_shape): a loop variable, a branch's result, a
    function's argument or result. `size` is an int or a symbolic dimension. Where `element_shape` is None the first
    write gives it; a loop needs to know it before. An element that is written twice is what was written last. An index
    out of range that only the run tells, as a negative one does, reads and writes the nearest element.
    """

    buffer: Any = field(init=True)
    dtype: DType = field(init=False)
    size: Dim = field(init=False)

    def __init__(
        self,
        dtype: Any = None,
        size: Dim | None = None,
        element_shape: Sequence[Dim] | None = None,
        *,
        buffer: Tensor | None = None,
    ) -> None:
        if buffer is not None:
            self.buffer, self.dtype, self.size = buffer, buffer.dtype, buffer.shape[0]
            return
        if dtype is None or size is None or not (is_index(size) or isinstance(size, SymbolicDim)):
            raise error_here(InvalidType, f"a dtype and a size are needed, got {dtype!r} and {size!r}", OP)
        if isinstance(size, int) and size < 0:
            raise error_here(InvalidArgument, f"the size must not be negative, got {size}", OP)
        self.dtype, self.size = as_dtype(dtype), size
        self.buffer = None if element_shape is None else zeros((size, *element_shape), dtype=self.dtype)

    @property
    def element_shape(self) -> tuple[Dim, ...] | None:
        """The shape of each element; None until it is known."""
        return None if self.buffer is None else tuple(self.buffer.shape[1:])

    def __len__(self) -> int:
        """Raises InvalidType for a size that is a symbolic dimension."""
        return self.size.__index__()

    # ---- elements

    def write(self, index: Operand, value: Operand) -> TensorArray:
        """The array with `value` at `index`, an integer scalar. Raises InvalidArgument for another shape and
        InvalidType for another dtype."""
        element = self._element(value)
        buffer = self.buffer if self.buffer is not None else zeros((self.size, *element.shape), dtype=self.dtype)
        want = Spec(tuple(buffer.shape[1:]), self.dtype)
        if spec_of(element._type) != want:
            raise error_here(InvalidArgument, f"an element must be {want}, got {spec_of(element._type)}", f"{OP}.write")
        starts = [self._index(index, "write"), *[0] * (buffer.ndim - 1)]
        return TensorArray(buffer=dynamic_update_slice(buffer, expand_dims(element, axis=0), starts))

    def read(self, index: Operand) -> Tensor:
        """The element at `index`, an integer scalar."""
        buffer = self._known("read")
        starts = [self._index(index, "read"), *[0] * (buffer.ndim - 1)]
        return squeeze(dynamic_slice(buffer, starts, (1, *buffer.shape[1:])), axis=0)

    __getitem__ = read

    def gather(self, indices: Operand) -> Tensor:
        """The elements at a vector of indices, stacked."""
        return take(self._known("gather"), indices, axis=0)

    def scatter(self, indices: Operand, values: Operand) -> TensorArray:
        """The array with a row of `values` at each of a vector of indices."""
        rows = self._element(values)
        buffer = self.buffer if self.buffer is not None else zeros((self.size, *rows.shape[1:]), dtype=self.dtype)
        where = asarray(indices)
        if where.ndim != 1 or rows.shape != (*where.shape, *buffer.shape[1:]):
            raise error_here(
                InvalidArgument,
                f"values must have a row of shape {list(buffer.shape[1:])} for each of a vector of indices, got "
                f"{spec_of(rows._type)} for {spec_of(where._type)}",
                f"{OP}.scatter",
            )
        return TensorArray(buffer=tensor_scatter_update(buffer, expand_dims(where, axis=1), rows))

    # ---- all of it

    def stack(self) -> Tensor:
        """All elements as one tensor, (size, *element_shape)."""
        return asarray(self._known("stack"))

    def concat(self) -> Tensor:
        """All elements one after the other along their first axis."""
        buffer = self._known("concat")
        if buffer.ndim < 2:
            raise error_here(InvalidArgument, "scalars can't be concatenated", f"{OP}.concat", "use stack()")
        return reshape(buffer, (buffer.shape[0] * buffer.shape[1], *buffer.shape[2:]))

    def unstack(self, value: Operand) -> TensorArray:
        """An array of the rows of `value`, which has `size` of them."""
        rows = self._element(value)
        if not rows.shape or rows.shape[0] != self.size:
            raise error_here(
                InvalidArgument, f"there must be {self.size} rows, got {spec_of(rows._type)}", f"{OP}.unstack"
            )
        return TensorArray(buffer=rows)

    # ---- checks

    def _known(self, method: str) -> Any:
        if self.buffer is None:
            raise error_here(
                InvalidArgument, "nothing says what shape the elements have", f"{OP}.{method}", "give element_shape"
            )
        return self.buffer

    def _element(self, value: Operand) -> Tensor:
        trace = current()
        element = asarray(value) if trace is None else tensor_in(trace, value, self.dtype)
        if element.dtype is not self.dtype and (type(value) in (float, complex) or isinstance(value, int)):
            element = asarray(value, dtype=self.dtype)
        if element.dtype is not self.dtype:
            raise error_here(InvalidType, f"elements must be {self.dtype}, got {element.dtype}", OP)
        return element

    def _index(self, index: Operand, method: str) -> Any:
        if is_index(index):
            number = index.__index__()
            if isinstance(self.size, int) and not -self.size <= number < self.size:
                raise error_here(
                    InvalidArgument, f"the index must be within {self.size} elements, got {number}", f"{OP}.{method}"
                )
            return number % self.size if isinstance(self.size, int) else number
        found = asarray(index)
        if found.shape != () or not found.dtype.is_integer:
            raise error_here(
                InvalidType, f"an index must be an integer scalar, got {spec_of(found._type)}", f"{OP}.{method}"
            )
        return found

    def __repr__(self) -> str:
        shape = "?" if self.element_shape is None else list(self.element_shape)
        return f"<dfc.TensorArray of {self.size} {self.dtype}{shape}>"
