"""Recurrent networks: cells, which do one step, and `rnn`, which does one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import structure
from dfc.frontend.loops import scan_rows
from dfc.frontend.nn.initializers import Given, glorot_uniform, orthogonal
from dfc.frontend.nn.layers import Layer, require_features, weight
from dfc.frontend.ops.constant import asarray, zeros, zeros_like
from dfc.frontend.ops.elementwise import astype, less, minimum, sigmoid, tanh, where
from dfc.frontend.ops.linalg import matmul
from dfc.frontend.ops.reduction import max as max_of
from dfc.frontend.ops.shape import error_here, permute_dims, reshape, split
from dfc.frontend.subtrace import is_result
from dfc.frontend.tensor import Operand, Tensor
from dfc.ir.dims import Dim
from dfc.ir.types import spec_of

LSTMState = tuple[Tensor, Tensor]


class Cell(Layer):
    """Base of cells: for each of `GATES` gates, side by side, a kernel for the input, one for the state, and a bias."""

    GATES: ClassVar[int]

    def __init__(
        self,
        inputs: int,
        units: int,
        *,
        kernel: Given = glorot_uniform,
        recurrent: Given = orthogonal(),  # noqa: B008 - a function, made once
        dtype: Any = "float32",
        compute_dtype: Any = None,
    ) -> None:
        super().__init__(dtype, compute_dtype)
        self.units = units
        self.kernel = weight((inputs, self.GATES * units), kernel, dtype)
        self.recurrent = weight((units, self.GATES * units), recurrent, dtype)
        self.bias = weight((self.GATES * units,), 0.0, dtype)

    def _checked(self, x: Operand, *state: Operand) -> list[Tensor]:
        """The input and the parts of the state, as the cell computes with them. Raises InvalidArgument where their last
        axes don't fit, or their other axes don't fit each other."""
        first, *parts = tensors = [asarray(given) for given in (x, *state)]
        require_features(first, self.kernel.shape[0], self._op, of="x")
        for part in parts:
            require_features(part, self.units, self._op, what="units", of="the state")
            pairs = zip(reversed(first.shape[:-1]), reversed(part.shape[:-1]), strict=False)
            if any(isinstance(n, int) and isinstance(m, int) and n != m and 1 not in (n, m) for n, m in pairs):
                message = f"x and the state must have one batch, got {spec_of(first._type)} and {spec_of(part._type)}"
                raise error_here(InvalidArgument, message, self._op)
        return [self.cast(tensor) for tensor in tensors]

    def zeros(self, batch: Dim) -> Tensor:
        """A state of zeros, (batch, units)."""
        return zeros((batch, self.units), dtype=self._compute_dtype or self._dtype)


class LSTMCell(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997, with forget gates): x (batch, inputs) and the state
    (h, c), each (batch, units), to h and the next state. Its gates are input, forget, cell and output; 1 is added to
    the forget gate."""

    GATES: ClassVar = 4

    def __call__(self, x: Operand, state: LSTMState) -> tuple[Tensor, LSTMState]:
        if not isinstance(state, tuple | list) or len(state) != 2:
            got = f"{len(state)} parts" if isinstance(state, tuple | list) else spec_of(asarray(state)._type)
            raise error_here(InvalidArgument, f"the state must be a pair (h, c), got {got}", self._op)
        tensor, h, c = self._checked(x, *state)
        gates = matmul(tensor, self.cast(self.kernel)) + matmul(h, self.cast(self.recurrent))
        i, f, g, o = split(gates + self.cast(self.bias), 4, axis=-1)
        c = sigmoid(f + 1) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return h, (h, c)

    def initial_state(self, batch: Dim) -> LSTMState:
        """Zeros for a batch of this size."""
        return self.zeros(batch), self.zeros(batch)


class GRUCell(Cell):
    """Gated recurrent unit (Cho et al. 2014): x (batch, inputs) and the state h (batch, units) to the new h, twice. Its
    gates are update, reset and candidate; the reset gate is applied after the product, as cuDNN does."""

    GATES: ClassVar = 3

    def __init__(self, inputs: int, units: int, **options: Any) -> None:
        super().__init__(inputs, units, **options)
        self.recurrent_bias = weight((3 * units,), 0.0, self._dtype)

    def __call__(self, x: Operand, state: Tensor) -> tuple[Tensor, Tensor]:
        tensor, h = self._checked(x, state)
        given = split(matmul(tensor, self.cast(self.kernel)) + self.cast(self.bias), 3, axis=-1)
        kept = split(matmul(h, self.cast(self.recurrent)) + self.cast(self.recurrent_bias), 3, axis=-1)
        update, reset = sigmoid(given[0] + kept[0]), sigmoid(given[1] + kept[1])
        candidate = tanh(given[2] + reset * kept[2])
        h = update * h + (1 - update) * candidate
        return h, h

    def initial_state(self, batch: Dim) -> Tensor:
        """Zeros for a batch of this size."""
        return self.zeros(batch)


def rnn(
    cell: Callable[[Any, Any], tuple[Any, Any]],
    inputs: Operand,
    lengths: Operand | None = None,
    *,
    initial_state: Any = None,
    time_major: bool = False,
    reverse: bool = False,
    swap_memory: bool = False,
) -> tuple[Any, Any]:
    """`output, state = cell(input, state)` for each step of the sequences in `inputs`, (batch, time, features); returns
    the outputs, stacked along the time axis, and the last state. Nothing is unrolled.

    `lengths`, integers of shape (batch,), are the sequences' lengths: a batch stops at its longest one. Past its end a
    sequence's outputs are zeros and its state stays, so the last state is that of its end. `initial_state` is by
    default `cell.initial_state(batch)`. With `time_major` inputs and outputs are (time, batch, features). With
    `reverse` the sequences are read from their ends to their starts. `swap_memory` is as for `dfc.while_loop`.

    Raises InvalidArgument and InvalidType for what doesn't fit.
    """
    x = asarray(inputs)
    if x.ndim < 2:
        raise error_here(InvalidArgument, f"inputs must have a batch and a time axis, got {spec_of(x._type)}", "rnn")
    swapped = (1, 0, *range(2, x.ndim))
    xs = x if time_major else permute_dims(x, swapped)
    time, batch = xs.shape[:2]
    if initial_state is None:
        if not hasattr(cell, "initial_state"):
            raise error_here(InvalidArgument, "a cell without initial_state(batch) needs initial_state", "rnn")
        initial_state = cell.initial_state(batch)
    sizes = None if lengths is None else _lengths(lengths, batch)
    count = None if sizes is None else minimum(max_of(sizes), time)

    def step(i: Tensor, state: Any, x: Tensor) -> tuple[Any, Any]:
        output, after = cell(x, state)
        if sizes is None:
            return after, output
        alive = less(i, sizes)
        outputs, nest = structure.flatten(output, is_result)
        kept = structure.unflatten(nest, iter([_where(alive, o, zeros_like(o)) for o in map(asarray, outputs)]))
        old, _ = structure.flatten(state, is_result)
        new, nest = structure.flatten(after, is_result)
        states = [_where(alive, asarray(n), asarray(o)) for n, o in zip(new, old, strict=True)]
        return structure.unflatten(nest, iter(states)), kept

    state, ys = scan_rows("rnn", step, initial_state, xs, reverse, count=count, swap_memory=swap_memory)
    if time_major:
        return ys, state
    outputs, nest = structure.flatten(ys, is_result)
    return structure.unflatten(nest, (permute_dims(o, (1, 0, *range(2, o.ndim))) for o in outputs)), state


def _lengths(lengths: Operand, batch: Dim) -> Tensor:
    found = asarray(lengths)
    if not found.dtype.is_integer:
        raise error_here(InvalidType, f"lengths must be integers, got {spec_of(found._type)}", "rnn")
    if found.shape != (batch,):
        raise error_here(InvalidArgument, f"lengths must have the shape ({batch},), got {spec_of(found._type)}", "rnn")
    return astype(found, "int32")


def _where(alive: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Row by row of the batch."""
    return where(reshape(alive, (*alive.shape, *[1] * (x.ndim - 1))), x, y)
