"""Cells of recurrent networks: one step, from an input and a state to an output and the next state."""

from __future__ import annotations

from typing import Any, ClassVar

from dfc.errors import InvalidArgument
from dfc.frontend.nn.initializers import Given, glorot_uniform, orthogonal
from dfc.frontend.nn.layers import Layer, require_features, weight
from dfc.frontend.ops.constant import asarray, zeros
from dfc.frontend.ops.elementwise import sigmoid, tanh
from dfc.frontend.ops.linalg import matmul
from dfc.frontend.ops.shape import error_here, split
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
