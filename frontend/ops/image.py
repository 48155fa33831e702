"""Images: resizing, cropping, turning and colour, made of primitive operations, so that gradients follow.

An image has shape (..., height, width, channels); the axes in front are batches. Resizing and colours take floats
(16-bit ones are computed in float32) and give the dtype they take; what only moves pixels takes every dtype. Heights,
widths and channels are static.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.immediate import operation
from dfc.frontend.ops.arrangement import moveaxis, swapaxes
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.elementwise import abs as absolute
from dfc.frontend.ops.elementwise import astype, floor, log, maximum, minimum, sqrt, square, stop_gradient, where
from dfc.frontend.ops.elementwise import pow as power
from dfc.frontend.ops.elementwise import round as to_nearest
from dfc.frontend.ops.indexing import dynamic_slice, take
from dfc.frontend.ops.linalg import tensordot
from dfc.frontend.ops.random import bernoulli, integers, uniform
from dfc.frontend.ops.reduction import max as reduce_max
from dfc.frontend.ops.reduction import mean
from dfc.frontend.ops.reduction import min as reduce_min
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.shape import error_here, expand_dims, flip, padded_by, reshape, stack
from dfc.frontend.tensor import Operand, Tensor
from dfc.ir.dtypes import DType, as_dtype, float32
from dfc.ir.types import spec_of

Weights = np.ndarray[Any, Any]


def _image(x: Operand, name: str, channels: int | None = None) -> Tensor:
    """An image with static sizes. Raises InvalidArgument for other ranks, sizes, numbers of channels."""
    tensor = asarray(x)
    sizes = tensor.shape[-3:]
    if len(sizes) < 3 or not all(isinstance(d, int) for d in sizes) or channels not in (None, sizes[-1]):
        wanted = "channels" if channels is None else channels
        raise error_here(
            InvalidArgument, f"x must be (..., height, width, {wanted}), got {spec_of(tensor._type)}", name
        )
    return tensor


def _colours(x: Operand, name: str, channels: int | None = None) -> tuple[Tensor, DType]:
    """A floating image in the dtype that is computed in, and its own dtype. Raises InvalidType for another dtype."""
    tensor = _image(x, name, channels)
    if not tensor.dtype.is_floating:
        raise error_here(
            InvalidType,
            f"x must be floating, got {spec_of(tensor._type)}",
            name,
            hint="dfc.image.convert_dtype(x, 'float32') gives values from 0 to 1",
        )
    return (astype(tensor, float32) if tensor.dtype.bits == 16 else tensor), tensor.dtype


def _sizes(tensor: Tensor) -> tuple[int, int, int]:
    height, width, channels = tensor.shape[-3:]
    assert isinstance(height, int) and isinstance(width, int) and isinstance(channels, int)
    return height, width, channels


def _clip(x: Tensor, low: float, high: float) -> Tensor:
    return minimum(maximum(x, low), high)


@operation
def convert_dtype(x: Operand, /, dtype: Any) -> Tensor:
    """Pixels in another dtype: integers from 0 to their largest stand for floats from 0 to 1. Floats are rounded to
    integers after they are cut to that range."""
    tensor, target = asarray(x), as_dtype(dtype)
    if tensor.dtype is target:
        return tensor
    if not all(d.is_integer or d.is_floating for d in (tensor.dtype, target)):
        raise error_here(InvalidType, f"pixels are integers or floats, got {tensor.dtype} to {target}", "convert_dtype")
    if tensor.dtype.is_integer:
        wide = astype(tensor, "float64" if tensor.dtype.bits > 16 or target.bits == 64 else float32)
        tensor = wide / float(np.iinfo(asarray(x).dtype.numpy).max)
    if target.is_floating:
        return astype(tensor, target)
    largest = float(np.iinfo(target.numpy).max)
    wide = astype(tensor, "float64" if target.bits > 16 or tensor.dtype.bits == 64 else float32)
    return astype(to_nearest(_clip(wide, 0.0, 1.0) * largest), target)


# ---- resizing


def _triangle(t: Weights) -> Weights:
    return np.asarray(np.maximum(1 - np.abs(t), 0))


def _cubic(t: Weights) -> Weights:
    """Keys' kernel with a = -1/2 (R. Keys, 1981), which is exact for quadratic functions."""
    t = np.abs(t)
    near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.asarray(np.where(t <= 1, near, np.where(t < 2, far, 0)))


KERNELS: dict[str, tuple[Callable[[Weights], Weights], int]] = {"bilinear": (_triangle, 1), "bicubic": (_cubic, 2)}
"""By method, the kernel and how far it reaches."""


def resize_weights(size: int, new_size: int, method: str, antialias: bool) -> Weights:
    """What each old pixel of a row gives to each new one, (new_size, size).

    The centre of pixel i is at i + 1/2 of its grid, and both grids cover the same length. With `antialias` the kernel
    is stretched by the factor of shrinking. Weights of pixels outside are left out, and the rest add up to 1.
    """
    kernel, _ = KERNELS[method]
    scale = max(size / new_size, 1.0) if antialias else 1.0
    centres = (np.arange(new_size) + 0.5) * (size / new_size)
    weights = kernel((np.arange(size) + 0.5 - centres[:, None]) / scale)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _resized(x: Tensor, axis: int, new_size: int, method: str, antialias: bool) -> Tensor:
    """One axis, counted from the end, in another size."""
    size = x.shape[axis]
    assert isinstance(size, int)
    if size == new_size:
        return x
    at = x.ndim + axis
    if method == "nearest":
        places = np.minimum(np.floor((np.arange(new_size) + 0.5) * (size / new_size)), size - 1)
        return take(x, asarray(places.astype(np.int32)), axis=at)
    weights, taps = resize_weights(size, new_size, method, antialias), 2 * KERNELS[method][1]
    if antialias and size > new_size:
        product = tensordot(x, asarray(weights.astype(x.dtype.numpy)), axes=((at,), (1,)))
        return moveaxis(product, -1, at)
    # Without stretching few pixels count, and the others must not: infinity times 0 would be NaN.
    centres = (np.arange(new_size) + 0.5) * (size / new_size) - 0.5
    first = np.floor(centres).astype(np.int64) - (taps // 2 - 1)
    total: Tensor | None = None
    for tap in range(taps):
        inside = (first + tap >= 0) & (first + tap < size)
        places = np.clip(first + tap, 0, size - 1)
        share = np.where(inside, weights[np.arange(new_size), places], 0).astype(x.dtype.numpy)
        share = share.reshape(new_size, *(1,) * (-axis - 1))
        term = take(x, asarray(places.astype(np.int32)), axis=at) * asarray(share)
        if not share.all():
            term = where(asarray(share != 0), term, 0)
        total = term if total is None else total + term
    assert total is not None
    return total


@operation
def resize(x: Operand, /, size: Sequence[int], *, method: str = "bilinear", antialias: bool = False) -> Tensor:
    """Images of `size`, (height, width), by `nearest`, `bilinear` or `bicubic` (Keys' kernel, a = -1/2) interpolation.

    Centres of pixels are at half-integers, and both grids cover the same area, as in TensorFlow 2 and in PyTorch with
    align_corners=False; pixels outside have no weight. With `antialias`, shrinking takes the weighted mean over the
    area behind each new pixel, as Pillow does. `nearest` takes every dtype, the others floats.
    """
    if method == "nearest":
        tensor = _image(x, "resize")
        dtype = tensor.dtype
    elif method in KERNELS:
        tensor, dtype = _colours(x, "resize")
    else:
        listed = ", ".join(("nearest", *KERNELS))
        raise error_here(InvalidArgument, f"the method must be one of {listed}, got {method!r}", "resize")
    height, width = _pair(size, "size", "resize")
    if 0 in _sizes(tensor)[:2]:
        raise error_here(
            InvalidArgument, f"an image without pixels can't be resized: {spec_of(tensor._type)}", "resize"
        )
    rows = _resized(tensor, -3, height, method, antialias)
    return astype(_resized(rows, -2, width, method, antialias), dtype)


def _pair(size: Sequence[int], what: str, name: str, least: int = 1) -> tuple[int, int]:
    if len(size) != 2 or any(not isinstance(n, int) or n < least for n in size):
        raise error_here(InvalidArgument, f"{what} is two ints of at least {least}, got {tuple(size)}", name)
    return size[0], size[1]


# ---- cropping and padding


@operation
def crop(x: Operand, /, top: int, left: int, height: int, width: int) -> Tensor:
    """The part of height and width whose first pixel is x's at (top, left). It must lie within the image."""
    tensor = _image(x, "crop")
    rows, columns, _ = _sizes(tensor)
    if not (0 <= top <= top + height <= rows and 0 <= left <= left + width <= columns):
        part = f"{(height, width)} from {(top, left)} on"
        raise error_here(InvalidArgument, f"the part {part} must lie within {spec_of(tensor._type)}", "crop")
    return tensor[..., top : top + height, left : left + width, :]


@operation
def central_crop(x: Operand, /, size: Sequence[int]) -> Tensor:
    """The part of `size`, (height, width), in the middle; where it can't be, half a pixel towards the first."""
    height, width = _pair(size, "size", "central_crop", 0)
    tensor = _image(x, "central_crop")
    rows, columns, _ = _sizes(tensor)
    return crop(tensor, (rows - height) // 2, (columns - width) // 2, height, width)


@operation
def pad_to(x: Operand, /, top: int, left: int, height: int, width: int, *, value: Any = 0) -> Tensor:
    """An image of height and width, with x's first pixel at (top, left), and `value` around x."""
    tensor = _image(x, "pad_to")
    rows, columns, _ = _sizes(tensor)
    below, right = height - top - rows, width - left - columns
    if min(top, left, below, right) < 0:
        raise error_here(
            InvalidArgument,
            f"{spec_of(tensor._type)} at {(top, left)} must lie within height {height} and width {width}",
            "pad_to",
        )
    pairs = [*[(0, 0)] * (tensor.ndim - 3), (top, below), (left, right), (0, 0)]
    return padded_by(tensor, pairs, value)


@operation
def crop_and_resize(
    x: Operand, boxes: Operand, box_indices: Operand, /, crop_size: Sequence[int], *, extrapolation_value: float = 0.0
) -> Tensor:
    """Parts of images (n, height, width, channels) in one size, by bilinear interpolation: shape (m, *crop_size,
    channels).

    `boxes` (m, 4) are floats (y1, x1, y2, x2), where 0 is the first and 1 the last pixel; y1 > y2 turns the part over.
    `box_indices` (m,) say which image each is of. Corners of the crop are corners of the box; a crop of one pixel takes
    its middle. Pixels outside the image are `extrapolation_value`. Gradients pass to the image and to the boxes.
    """
    tensor, dtype = _colours(x, "crop_and_resize")
    places, which = asarray(boxes), asarray(box_indices)
    if tensor.ndim != 4 or places.ndim != 2 or places.shape[1] != 4 or which.shape != places.shape[:1]:
        given = " and ".join(str(spec_of(t._type)) for t in (tensor, places, which))
        raise error_here(InvalidArgument, f"(n, h, w, c), (m, 4) and (m,) are needed, got {given}", "crop_and_resize")
    height, width, channels = _sizes(tensor)
    sizes = _pair(crop_size, "crop_size", "crop_and_resize")
    places = astype(places, tensor.dtype)
    ys, xs = (_along(places[:, i], places[:, i + 2], n, d) for i, n, d in ((0, sizes[0], height), (1, sizes[1], width)))
    ys, xs = expand_dims(ys, axis=2), expand_dims(xs, axis=1)
    inside = (ys >= 0) & (ys <= height - 1) & (xs >= 0) & (xs <= width - 1)
    flat = reshape(tensor, (-1, channels))
    base = expand_dims(astype(which, "int32"), axis=(1, 2)) * (height * width)
    total: Tensor | None = None
    for y, y_share in _corners(ys, height):
        for x_, x_share in _corners(xs, width):
            pixels = take(flat, base + y * width + x_, axis=0)
            term = pixels * expand_dims(y_share * x_share, axis=3)
            total = term if total is None else total + term
    assert total is not None
    return astype(where(expand_dims(inside, axis=3), total, extrapolation_value), dtype)


def _along(first: Tensor, last: Tensor, count: int, size: int) -> Tensor:
    """The positions of `count` pixels between two corners, (m, count)."""
    first, last = expand_dims(first * float(size - 1), axis=1), expand_dims(last * float(size - 1), axis=1)
    if count == 1:
        return (first + last) * 0.5
    steps = (np.arange(count) / (count - 1)).astype(first.dtype.numpy)
    return first + (last - first) * asarray(steps)


def _corners(position: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """The two pixels around a position, kept within the image, and their shares."""
    low = stop_gradient(floor(position))
    share = position - low
    return [
        (astype(_clip(low, 0.0, float(size - 1)), "int32"), 1 - share),
        (astype(_clip(low + 1, 0.0, float(size - 1)), "int32"), share),
    ]


# ---- turning


@operation
def flip_left_right(x: Operand, /) -> Tensor:
    """The mirror image: columns in reverse order."""
    return flip(_image(x, "flip_left_right"), axis=-2)


@operation
def flip_up_down(x: Operand, /) -> Tensor:
    """Upside down: rows in reverse order."""
    return flip(_image(x, "flip_up_down"), axis=-3)


@operation
def rot90(x: Operand, /, k: int = 1) -> Tensor:
    """Turned by k quarters counter-clockwise."""
    tensor = _image(x, "rot90")
    match k % 4:
        case 1:
            return flip(swapaxes(tensor, -3, -2), axis=-3)
        case 2:
            return flip(tensor, axis=(-3, -2))
        case 3:
            return flip(swapaxes(tensor, -3, -2), axis=-2)
    return tensor


# ---- colour

LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue give to grey: ITU-R BT.601."""


@operation
def rgb_to_grayscale(x: Operand, /) -> Tensor:
    """Grey by ITU-R BT.601, 0.299 red + 0.587 green + 0.114 blue: one channel."""
    tensor, dtype = _colours(x, "rgb_to_grayscale", 3)
    return astype(reduce_sum(tensor * asarray(LUMA, dtype=tensor.dtype), axis=-1, keepdims=True), dtype)


def _channels(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return x[..., 0], x[..., 1], x[..., 2]


@operation
def rgb_to_hsv(x: Operand, /) -> Tensor:
    """Hue, saturation and value, all from 0 to 1, of red, green and blue from 0 to 1. Grey has hue 0, black saturation
    0."""
    tensor, dtype = _colours(x, "rgb_to_hsv", 3)
    return astype(_hsv(tensor), dtype)


def _hsv(x: Tensor) -> Tensor:
    red, green, blue = _channels(x)
    value, least = reduce_max(x, axis=-1), reduce_min(x, axis=-1)
    chroma = value - least
    safe = where(chroma == 0, 1, chroma)
    hue = where(
        value == red,
        (green - blue) / safe,
        where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = where(chroma == 0, 0, where(hue < 0, hue + 6, hue) / 6)
    saturation = where(value == 0, 0, chroma / where(value == 0, 1, value))
    return stack([hue, saturation, value], axis=-1)


@operation
def hsv_to_rgb(x: Operand, /) -> Tensor:
    """Red, green and blue of hue, saturation and value, all from 0 to 1; the hue goes round."""
    tensor, dtype = _colours(x, "hsv_to_rgb", 3)
    return astype(_rgb(tensor), dtype)


def _rgb(x: Tensor) -> Tensor:
    hue, saturation, value = _channels(x)
    chroma = value * saturation
    found = []
    for offset in (5, 3, 1):
        k = (hue * 6 + offset) % 6
        found.append(value - chroma * _clip(minimum(k, 4 - k), 0.0, 1.0))
    return stack(found, axis=-1)


@operation
def adjust_brightness(x: Operand, /, delta: Operand) -> Tensor:
    """x + delta, not cut to any range."""
    tensor, dtype = _colours(x, "adjust_brightness")
    return astype(tensor + _like(delta, tensor), dtype)


@operation
def adjust_contrast(x: Operand, /, factor: Operand) -> Tensor:
    """The distance from each channel's mean over the image times `factor`."""
    tensor, dtype = _colours(x, "adjust_contrast")
    middle = mean(tensor, axis=(-3, -2), keepdims=True)
    return astype((tensor - middle) * _like(factor, tensor) + middle, dtype)


@operation
def adjust_gamma(x: Operand, /, gamma: Operand, *, gain: float = 1.0) -> Tensor:
    """gain * x**gamma, for x from 0 on."""
    tensor, dtype = _colours(x, "adjust_gamma")
    return astype(gain * power(tensor, _like(gamma, tensor)), dtype)


@operation
def adjust_saturation(x: Operand, /, factor: Operand) -> Tensor:
    """Red, green and blue with the saturation times `factor`, at most 1."""
    tensor, dtype = _colours(x, "adjust_saturation", 3)
    hue, saturation, value = _channels(_hsv(tensor))
    scaled = _clip(saturation * _like(factor, tensor), 0.0, 1.0)
    return astype(_rgb(stack([hue, scaled, value], axis=-1)), dtype)


@operation
def adjust_hue(x: Operand, /, delta: Operand) -> Tensor:
    """Red, green and blue with `delta`, in turns, added to the hue."""
    tensor, dtype = _colours(x, "adjust_hue", 3)
    hue, saturation, value = _channels(_hsv(tensor))
    return astype(_rgb(stack([hue + _like(delta, tensor), saturation, value], axis=-1)), dtype)


def _like(value: Operand, x: Tensor) -> Any:
    """A number as it is, a tensor in x's dtype."""
    return value if isinstance(value, int | float) else astype(asarray(value), x.dtype)


# ---- statistics


@operation
def per_image_standardization(x: Operand, /) -> Tensor:
    """Each image with mean 0 and standard deviation 1; of n elements, one below 1 / sqrt(n) counts as that."""
    tensor, dtype = _colours(x, "per_image_standardization")
    axes, count = (-3, -2, -1), math.prod(_sizes(tensor))
    middle = mean(tensor, axis=axes, keepdims=True)
    variance = mean(square(tensor - middle), axis=axes, keepdims=True)
    return astype((tensor - middle) / sqrt(maximum(variance, 1 / max(count, 1))), dtype)


@operation
def total_variation(x: Operand, /) -> Tensor:
    """The sum of the absolute differences of neighbours in height and width, for each image."""
    tensor, dtype = _colours(x, "total_variation")
    rows = absolute(tensor[..., 1:, :, :] - tensor[..., :-1, :, :])
    columns = absolute(tensor[..., 1:, :] - tensor[..., :-1, :])
    return astype(reduce_sum(rows, axis=(-3, -2, -1)) + reduce_sum(columns, axis=(-3, -2, -1)), dtype)


@operation
def psnr(x: Operand, y: Operand, /, *, max_value: float = 1.0) -> Tensor:
    """The peak signal-to-noise ratio of each pair of images in decibel; infinite for equal ones."""
    first, dtype = _colours(x, "psnr")
    second, _ = _colours(y, "psnr")
    error = mean(square(first - second), axis=(-3, -2, -1))
    return astype(log(max_value**2 / error) * (10 / math.log(10)), dtype)


# ---- chance


@operation
def random_crop(x: Operand, /, size: Sequence[int], *, key: Operand | None = None) -> Tensor:
    """A part of `size`, (height, width), at a random place, the same for all images of the batch. See `dfc.random` for
    `key`."""
    tensor = _image(x, "random_crop")
    height, width = _pair(size, "size", "random_crop", 0)
    rows, columns, channels = _sizes(tensor)
    if height > rows or width > columns:
        raise error_here(InvalidArgument, f"{(height, width)} is more than {spec_of(tensor._type)} has", "random_crop")
    limits = asarray([rows - height + 1, columns - width + 1])
    start = integers(0, limits, key=key)
    whole = (-1, rows, columns, channels)
    batch = reshape(tensor, whole)
    part = dynamic_slice(batch, [0, start[0], start[1], 0], (batch.shape[0], height, width, channels))
    return reshape(part, (*tensor.shape[:-3], height, width, channels))


def _by_chance(x: Tensor, other: Tensor, key: Operand | None) -> Tensor:
    chosen = bernoulli(0.5, x.shape[:-3], key=key)
    return where(expand_dims(chosen, axis=(-3, -2, -1)), other, x)


@operation
def random_flip_left_right(x: Operand, /, *, key: Operand | None = None) -> Tensor:
    """Each image of the batch mirrored with probability 1/2."""
    tensor = _image(x, "random_flip_left_right")
    return _by_chance(tensor, flip(tensor, axis=-2), key)


@operation
def random_flip_up_down(x: Operand, /, *, key: Operand | None = None) -> Tensor:
    """Each image of the batch upside down with probability 1/2."""
    tensor = _image(x, "random_flip_up_down")
    return _by_chance(tensor, flip(tensor, axis=-3), key)


@operation
def random_brightness(x: Operand, /, max_delta: float, *, key: Operand | None = None) -> Tensor:
    """`adjust_brightness` by a number between -max_delta and max_delta, one for the whole batch."""
    return adjust_brightness(x, uniform((), key=key, low=-max_delta, high=max_delta))


@operation
def random_contrast(x: Operand, /, lower: float, upper: float, *, key: Operand | None = None) -> Tensor:
    """`adjust_contrast` by a factor between lower and upper, one for the whole batch."""
    return adjust_contrast(x, uniform((), key=key, low=lower, high=upper))
