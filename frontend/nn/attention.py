"""Attention: weighted sums whose weights come from products of queries and keys (Vaswani et al. 2017)."""

from __future__ import annotations

import math
from typing import Any

from dfc.errors import InvalidArgument
from dfc.frontend.immediate import operation
from dfc.frontend.nn.activations import softmax
from dfc.frontend.nn.initializers import Given, glorot_uniform
from dfc.frontend.nn.layers import Dense, Layer, positive
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.elementwise import astype, where
from dfc.frontend.ops.linalg import matmul
from dfc.frontend.ops.shape import error_here, matrix_transpose, permute_dims, reshape
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import require_trace
from dfc.ir import dtypes
from dfc.ir.ops.shape import Iota
from dfc.ir.types import spec_of


@operation
def dot_product_attention(query: Operand, key: Operand, value: Operand, mask: Operand | None = None) -> Tensor:
    """`softmax(query @ key^T / sqrt(depth)) @ value`: (..., n, depth), (..., m, depth) and (..., m, width) to
    (..., n, width).

    `mask` is bool and broadcasts to (..., n, m): false where a query must not see a key; a row that sees none is zero.
    16-bit floats are weighed in float32. Raises InvalidArgument for depths that don't match.
    """
    q, k, v = asarray(query), asarray(key), asarray(value)
    if q.shape[-1] != k.shape[-1]:
        raise error_here(
            InvalidArgument,
            f"query and key must have one depth, got {q.shape[-1]} and {k.shape[-1]}",
            "dot_product_attention",
        )
    scores = matmul(q * (1 / math.sqrt(float(q.shape[-1]))), matrix_transpose(k))
    wide = astype(scores, dtypes.float32) if scores.dtype.bits == 16 else scores
    if mask is None:
        weights = softmax(wide)
    else:
        seen = asarray(mask)
        weights = where(seen, softmax(where(seen, wide, -1e30)), 0)  # finite, so that a row of nothing is not NaN
    return matmul(astype(weights, v.dtype), v)


class MultiHeadAttention(Layer):
    """Attention in `heads` subspaces at once: query (batch, n, size), key and value (batch, m, size), by default the
    query itself, to (batch, n, size). `causal` hides from each position those after it."""

    def __init__(
        self,
        size: int,
        heads: int,
        *,
        causal: bool = False,
        use_bias: bool = True,
        weights: Given = glorot_uniform,
        dtype: Any = "float32",
        compute_dtype: Any = None,
    ) -> None:
        super().__init__(dtype, compute_dtype)
        positive(heads, "heads", "MultiHeadAttention")
        if size % heads:
            message = f"heads must divide the size, got {heads} heads of size {size}"
            raise error_here(InvalidArgument, message, "MultiHeadAttention")
        self.size, self.heads, self.causal = size, heads, causal
        options: dict[str, Any] = {
            "use_bias": use_bias,
            "weights": weights,
            "dtype": dtype,
            "compute_dtype": compute_dtype,
        }
        self.query, self.key = Dense(size, size, **options), Dense(size, size, **options)
        self.value, self.out = Dense(size, size, **options), Dense(size, size, **options)

    def __call__(
        self, query: Operand, key: Operand | None = None, value: Operand | None = None, mask: Operand | None = None
    ) -> Tensor:
        """`mask` is bool and broadcasts to (batch, heads, n, m)."""
        queries = self._checked(query, "query")
        keys = queries if key is None else self._checked(key, "key")
        values = keys if value is None else self._checked(value, "value")
        if keys.shape[1] != values.shape[1]:
            message = f"key and value must have one length, got {spec_of(keys._type)} and {spec_of(values._type)}"
            raise error_here(InvalidArgument, message, self._op)
        q, k, v = (self._heads(of(x)) for of, x in ((self.query, queries), (self.key, keys), (self.value, values)))
        if self.causal:
            past = causal_mask(q, k)
            mask = past if mask is None else asarray(mask) & past
        mixed = permute_dims(dot_product_attention(q, k, v, mask), (0, 2, 1, 3))
        batch, n = mixed.shape[0], mixed.shape[1]
        return self.out(reshape(mixed, (batch, n, self.size)))

    def _checked(self, x: Operand, name: str) -> Tensor:
        tensor = asarray(x)
        if tensor.ndim != 3 or tensor.shape[2] != self.size:
            message = f"{name} must have shape (batch, n, {self.size}), got {spec_of(tensor._type)}"
            raise error_here(InvalidArgument, message, self._op)
        return tensor

    def _heads(self, x: Tensor) -> Tensor:
        batch, n = x.shape[0], x.shape[1]
        return permute_dims(reshape(x, (batch, n, self.heads, self.size // self.heads)), (0, 2, 1, 3))


@operation
def causal_mask(query: Operand, key: Operand) -> Tensor:
    """Which keys (..., m, depth) each query (..., n, depth) may see: those that are not after it; (n, m)."""
    trace = require_trace("causal_mask")
    shape = (asarray(query).shape[-2], asarray(key).shape[-2])
    rows, columns = (trace.emit(Iota, (), {"shape": shape, "dtype": dtypes.int32, "axis": axis}) for axis in (0, 1))
    return rows >= columns
