"""Discrete Fourier transforms over chosen axes, under NumPy's names.

`n` or `s` are the sizes of the signal along the axes: a longer axis is cut, a shorter one padded with zeros. `norm`
says where the scale is: "backward" divides inverse transforms by the number of elements, "forward" the forward ones,
"ortho" both by its root. float64 and complex128 are transformed as they are, other operands as float32 or complex64.
Sizes of transformed axes must be known; the other axes may be symbolic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod, sqrt

from dfc.errors import InvalidArgument
from dfc.frontend.immediate import operation
from dfc.frontend.ops.complex import conj
from dfc.frontend.ops.constant import arange, zeros
from dfc.frontend.ops.elementwise import astype
from dfc.frontend.ops.shape import axes_in, axis_in, concat, error_here, permute_dims
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import require_trace
from dfc.ir.dtypes import DType, complex64, complex128, float32, float64
from dfc.ir.ops import fft as ir
from dfc.ir.ops.shape import shape_text

Axes = Sequence[int] | None


def _given(x: Operand, name: str, *, real: bool = False) -> Tensor:
    """The operand in a dtype that can be transformed."""
    tensor = tensor_in(require_trace(name), x)
    dtype = tensor.dtype
    if real and dtype.kind == "complex":
        raise error_here(InvalidArgument, f"x must be real, got {dtype}", name, hint="use dfc.fft.fft")
    if dtype.kind == "string":
        raise error_here(InvalidArgument, f"x must be numeric, got {dtype}", name)
    return astype(tensor, _wide(dtype, real))


def _wide(dtype: DType, real: bool) -> DType:
    double = dtype in (float64, complex128)
    return (float64 if double else float32) if real else (complex128 if double else complex64)


def _places(x: Tensor, s: Axes, axes: Axes, name: str) -> tuple[tuple[int, ...], list[int | None]]:
    """The transformed axes in the order given, and the sizes wanted."""
    if axes is None:
        places = tuple(range(x.ndim)) if s is None else tuple(range(x.ndim - len(s), x.ndim))
    else:
        axes_in(axes, x.ndim, name)  # within the rank, and distinct
        places = tuple(axis_in(a, x.ndim, name) for a in axes)
    if s is not None and (len(s) != len(places) or (places and places[0] < 0)):
        raise error_here(
            InvalidArgument, f"s must have a size for each axis, got {tuple(s)} for {shape_text(x.shape)}", name
        )
    if not places:
        raise error_here(InvalidArgument, f"there must be an axis to transform, got {shape_text(x.shape)}", name)
    return places, list(s) if s is not None else [None] * len(places)


def _fitted(x: Tensor, axis: int, size: int) -> Tensor:
    """x with `size` elements along the axis: cut, or with zeros at the end."""
    given = x.shape[axis]
    if given == size:
        return x
    if isinstance(given, int) and given > size:
        return x[(*[slice(None)] * axis, slice(0, size))]
    shape = list(x.shape)
    shape[axis] = size - given
    return concat([x, zeros(tuple(shape), dtype=x.dtype)], axis=axis)


def _length(x: Tensor, axis: int, wanted: int | None, name: str) -> int:
    size = x.shape[axis] if wanted is None else wanted
    if not isinstance(size, int) or size < 1:
        raise error_here(
            InvalidArgument,
            f"the size of a transformed axis must be known and positive, got {size}",
            name,
            hint="give n or s",
        )
    return size


def _scale(norm: str | None, lengths: Sequence[int], name: str, *, inverse: bool) -> float:
    """What the op's result, where inverse transforms alone are divided, must be multiplied by."""
    count = prod(lengths)
    forward = {"backward": 1.0, "ortho": 1 / sqrt(count), "forward": 1 / count}
    if (norm or "backward") not in forward:
        raise error_here(InvalidArgument, f"norm must be 'backward', 'ortho' or 'forward', got {norm!r}", name)
    chosen = forward[norm or "backward"]
    return 1 / chosen if inverse else chosen


def _last(x: Tensor, places: Sequence[int]) -> tuple[Tensor, tuple[int, ...]]:
    """x with these axes last, and the permutation that takes them back."""
    forth = (*(a for a in range(x.ndim) if a not in places), *places)
    back = tuple(sorted(range(x.ndim), key=forth.__getitem__))
    return _permuted(x, forth), back


def _permuted(x: Tensor, order: tuple[int, ...]) -> Tensor:
    return x if order == tuple(range(x.ndim)) else permute_dims(x, order)


def _apply(cls: type[ir.Transform], x: Tensor, places: Sequence[int], lengths: Sequence[int]) -> Tensor:
    """One op over at most three axes, wherever they are."""
    moved, back = _last(x, places)
    made = require_trace("fft").emit(cls, (moved._value,), {"lengths": tuple(lengths)})
    return _permuted(made, back)


def _complex(cls: type[ir.Transform], x: Tensor, places: Sequence[int], lengths: Sequence[int]) -> Tensor:
    """A complex transform over any number of axes."""
    for start in range(0, len(places), ir.MOST_AXES):
        part = slice(start, start + ir.MOST_AXES)
        x = _apply(cls, x, places[part], lengths[part])
    return x


def _times(x: Tensor, scale: float) -> Tensor:
    return x if scale == 1 else x * scale


def _transform(x: Operand, s: Axes, axes: Axes, norm: str | None, name: str, *, inverse: bool) -> Tensor:
    tensor = _given(x, name)
    places, wanted = _places(tensor, s, axes, name)
    lengths = [_length(tensor, a, n, name) for a, n in zip(places, wanted, strict=True)]
    for axis, length in zip(places, lengths, strict=True):
        tensor = _fitted(tensor, axis, length)
    found = _complex(ir.Ifft if inverse else ir.Fft, tensor, places, lengths)
    return _times(found, _scale(norm, lengths, name, inverse=inverse))


def _real_forward(x: Operand, s: Axes, axes: Axes, norm: str | None, name: str) -> Tensor:
    tensor = _given(x, name, real=True)
    places, wanted = _places(tensor, s, axes, name)
    lengths = [_length(tensor, a, n, name) for a, n in zip(places, wanted, strict=True)]
    for axis, length in zip(places, lengths, strict=True):
        tensor = _fitted(tensor, axis, length)
    first = max(0, len(places) - ir.MOST_AXES)
    found = _apply(ir.Rfft, tensor, places[first:], lengths[first:])
    found = _complex(ir.Fft, found, places[:first], lengths[:first])
    return _times(found, _scale(norm, lengths, name, inverse=False))


def _real_inverse(x: Operand, s: Axes, axes: Axes, norm: str | None, name: str) -> Tensor:
    tensor = _given(x, name)
    places, wanted = _places(tensor, s, axes, name)
    lengths = [_length(tensor, a, n, name) for a, n in zip(places[:-1], wanted[:-1], strict=True)]
    last = wanted[-1]
    lengths.append(last if last is not None else 2 * (_length(tensor, places[-1], None, name) - 1))
    if lengths[-1] < 1:
        raise error_here(InvalidArgument, f"the signal must have a positive size, got {lengths[-1]}", name)
    for axis, length in zip(places, ir.spectrum(tuple(lengths)), strict=True):
        tensor = _fitted(tensor, axis, length)
    first = max(0, len(places) - ir.MOST_AXES)
    found = _complex(ir.Ifft, tensor, places[:first], lengths[:first])
    found = _apply(ir.Irfft, found, places[first:], lengths[first:])
    return _times(found, _scale(norm, lengths, name, inverse=True))


def _one(n: int | None) -> Axes:
    return None if n is None else (n,)


@operation
def fft(x: Operand, /, *, n: int | None = None, axis: int = -1, norm: str | None = "backward") -> Tensor:
    """The spectrum along one axis: y[k] = sum over j of x[j] exp(-2 pi i j k / n), complex."""
    return _transform(x, _one(n), (axis,), norm, "fft", inverse=False)


@operation
def ifft(x: Operand, /, *, n: int | None = None, axis: int = -1, norm: str | None = "backward") -> Tensor:
    """The signal of a spectrum along one axis, complex: the inverse of `fft`."""
    return _transform(x, _one(n), (axis,), norm, "ifft", inverse=True)


@operation
def fftn(x: Operand, /, *, s: Axes = None, axes: Axes = None, norm: str | None = "backward") -> Tensor:
    """`fft` along several axes; without `axes` along the last len(s), or all."""
    return _transform(x, s, axes, norm, "fftn", inverse=False)


@operation
def ifftn(x: Operand, /, *, s: Axes = None, axes: Axes = None, norm: str | None = "backward") -> Tensor:
    """`ifft` along several axes; without `axes` along the last len(s), or all."""
    return _transform(x, s, axes, norm, "ifftn", inverse=True)


@operation
def fft2(x: Operand, /, *, s: Axes = None, axes: Axes = (-2, -1), norm: str | None = "backward") -> Tensor:
    """`fft` along two axes."""
    return _transform(x, s, axes, norm, "fft2", inverse=False)


@operation
def ifft2(x: Operand, /, *, s: Axes = None, axes: Axes = (-2, -1), norm: str | None = "backward") -> Tensor:
    """`ifft` along two axes."""
    return _transform(x, s, axes, norm, "ifft2", inverse=True)


@operation
def rfft(x: Operand, /, *, n: int | None = None, axis: int = -1, norm: str | None = "backward") -> Tensor:
    """The n // 2 + 1 frequencies of a real signal that are not negative. Raises InvalidArgument for a complex x."""
    return _real_forward(x, _one(n), (axis,), norm, "rfft")


@operation
def irfft(x: Operand, /, *, n: int | None = None, axis: int = -1, norm: str | None = "backward") -> Tensor:
    """The real signal of size n, by default 2 (m - 1), of a spectrum of m frequencies: the inverse of `rfft`."""
    return _real_inverse(x, _one(n), (axis,), norm, "irfft")


@operation
def rfftn(x: Operand, /, *, s: Axes = None, axes: Axes = None, norm: str | None = "backward") -> Tensor:
    """`rfft` along the last of several axes, and `fft` along the others."""
    return _real_forward(x, s, axes, norm, "rfftn")


@operation
def irfftn(x: Operand, /, *, s: Axes = None, axes: Axes = None, norm: str | None = "backward") -> Tensor:
    """`ifft` along several axes but the last, and `irfft` along that."""
    return _real_inverse(x, s, axes, norm, "irfftn")


@operation
def rfft2(x: Operand, /, *, s: Axes = None, axes: Axes = (-2, -1), norm: str | None = "backward") -> Tensor:
    """`rfftn` along two axes."""
    return _real_forward(x, s, axes, norm, "rfft2")


@operation
def irfft2(x: Operand, /, *, s: Axes = None, axes: Axes = (-2, -1), norm: str | None = "backward") -> Tensor:
    """`irfftn` along two axes."""
    return _real_inverse(x, s, axes, norm, "irfft2")


OPPOSITE = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def _opposite(norm: str | None, name: str) -> str:
    if norm not in OPPOSITE:
        raise error_here(InvalidArgument, f"norm must be 'backward', 'ortho' or 'forward', got {norm!r}", name)
    return OPPOSITE[norm]


@operation
def hfft(x: Operand, /, *, n: int | None = None, axis: int = -1, norm: str | None = "backward") -> Tensor:
    """The real spectrum of a signal whose other half is the conjugate of this one."""
    return _real_inverse(conj(_given(x, "hfft")), _one(n), (axis,), _opposite(norm, "hfft"), "hfft")


@operation
def ihfft(x: Operand, /, *, n: int | None = None, axis: int = -1, norm: str | None = "backward") -> Tensor:
    """Half of the signal of a real spectrum: the inverse of `hfft`."""
    return conj(_real_forward(x, _one(n), (axis,), _opposite(norm, "ihfft"), "ihfft"))


@operation
def fftfreq(n: int, /, *, d: float = 1.0) -> Tensor:
    """The frequencies of `fft`, float32, in cycles per unit of the sample spacing d: those not negative first."""
    return concat([arange(0, (n + 1) // 2), arange(-(n // 2), 0)]) * (1 / (n * d))


@operation
def rfftfreq(n: int, /, *, d: float = 1.0) -> Tensor:
    """The frequencies of `rfft`, float32, in cycles per unit of the sample spacing d."""
    return arange(0, n // 2 + 1) * (1 / (n * d))


def _rolled(x: Operand, axes: int | Axes, name: str, shift: Callable[[int], int]) -> Tensor:
    tensor = tensor_in(require_trace(name), x)
    for axis in axes_in(axes, tensor.ndim, name):
        size = tensor.shape[axis]
        if not isinstance(size, int):
            raise error_here(InvalidArgument, f"the size of a shifted axis must be known, got {size}", name)
        cut = size - shift(size)
        before = (slice(None),) * axis
        if 0 < cut < size:
            tensor = concat([tensor[(*before, slice(cut, size))], tensor[(*before, slice(0, cut))]], axis=axis)
    return tensor


@operation
def fftshift(x: Operand, /, *, axes: int | Axes = None) -> Tensor:
    """A spectrum with frequency 0 moved to the middle of each of the axes (None: all)."""
    return _rolled(x, axes, "fftshift", lambda size: size // 2)


@operation
def ifftshift(x: Operand, /, *, axes: int | Axes = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _rolled(x, axes, "ifftshift", lambda size: (size + 1) // 2)
