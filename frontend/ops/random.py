"""Samplers: random numbers of many distributions.

`shape` is a size or a tuple of sizes, symbolic ones included; None means that of the parameters. Parameters are numbers
or tensors that broadcast to the shape. `key` is a key (see `dfc.random.key`); without one a sampler draws from
`dfc.random.default_generator()`. Equal keys give equal numbers, so use each key once. Floating results have the dtype
of tensor parameters, else the default one, unless `dtype` says otherwise. Gradients flow to location and scale, none
to keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dfc.errors import DfcError, InvalidArgument, InvalidType
from dfc.frontend import promotion
from dfc.frontend.defaults import default_float, default_int
from dfc.frontend.generator import default_generator, split
from dfc.frontend.immediate import operation
from dfc.frontend.ops.elementwise import exp, log, sqrt, where
from dfc.frontend.ops.indexing import take
from dfc.frontend.ops.reduction import argmax
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.shape import as_shape, axis_in, error_here, permute_dims, reshape
from dfc.frontend.ops.sorting import top_k
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir.dims import Shape, SymbolicDim, size
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.op import Op
from dfc.ir.ops import random as ir
from dfc.ir.ops.elementwise import Compare
from dfc.ir.ops.shape import shape_text

Number = bool | int | float
Parameter = Tensor | Number


def _trace() -> Trace:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    return trace


def _key(key: Operand | None) -> Tensor:
    return default_generator().key() if key is None else tensor_in(_trace(), key)


def _keys(key: Operand | None, number: int) -> list[Tensor]:
    """Independent keys for a sampler that draws several times."""
    if key is None:
        return [default_generator().key() for _ in range(number)]
    whole = split(key, number)
    return [whole[i] for i in range(number)]


def _parameters(op: str, shape: Any, dtype: Any, *given: Operand) -> tuple[Shape, DType, list[Parameter]]:
    """The shape and floating dtype of the result, and the parameters in that dtype: tensors, or numbers as they are."""
    trace = _trace()
    lifted: list[Any] = [promotion.lift(trace, each) for each in given]
    tensors = [each for each in lifted if isinstance(each, Tensor)]
    if dtype is not None:
        wanted = as_dtype(dtype)
    else:
        wanted = promotion.result_type(*tensors) if tensors else default_float()
        wanted = wanted if wanted.is_floating else default_float()
    needed = _broadcast(op, [t.shape for t in tensors])
    sizes = needed if shape is None else as_shape(shape, op)
    _require_room(op, "parameters", needed, sizes)
    return sizes, wanted, [_converted(each, wanted) if isinstance(each, Tensor) else each for each in lifted]


def _broadcast(op: str, shapes: Sequence[Shape]) -> Shape:
    try:
        return promotion.broadcast_shapes(*shapes)
    except DfcError as error:
        raise error.at(op=op) from None


def _require_room(op: str, what: str, needed: Shape, sizes: Shape) -> None:
    if needed and _broadcast(op, [sizes, needed]) != sizes:
        texts = f"the {what}' shape {shape_text(needed)} must broadcast to the shape {shape_text(sizes)}"
        raise error_here(InvalidArgument, texts, op)


def _converted(x: Tensor, dtype: DType) -> Tensor:
    value = _trace().convert(x._value, dtype)
    return Tensor(value.type, _trace(), value)


def _whole(parameter: Parameter, shape: Shape, dtype: DType) -> Tensor:
    """A parameter as a tensor of this shape."""
    trace = _trace()
    value = trace.broadcast(_converted(tensor_in(trace, parameter, dtype), dtype)._value, shape)
    return Tensor(value.type, trace, value)


def _draw(cls: type[Op], key: Tensor, shape: Shape, dtype: DType, **more: Any) -> Tensor:
    return _trace().emit(cls, (key._value,), {"shape": shape, "dtype": dtype, **more})


def _placed(x: Tensor, location: Parameter, scale: Parameter) -> Tensor:
    """location + scale * x, without the steps that change nothing."""
    if isinstance(scale, Tensor) or scale != 1:
        x = x * scale
    return x + location if isinstance(location, Tensor) or location != 0 else x


def _location_scale(
    cls: type[Op], op: str, shape: Any, key: Operand | None, location: Operand, scale: Operand, dtype: Any, **more: Any
) -> Tensor:
    sizes, wanted, (where_, wide) = _parameters(op, shape, dtype, location, scale)
    return _placed(_draw(cls, _key(key), sizes, wanted, **more), where_, wide)


# ---- bits and integers


@operation
def bits(shape: Any = (), *, key: Operand | None = None, dtype: Any = "uint32") -> Tensor:
    """Random unsigned integers over the whole range of `dtype`. Raises InvalidType for other dtypes."""
    return _draw(ir.RandomBits, _key(key), as_shape(shape, "bits"), as_dtype(dtype))


@operation
def integers(
    low: Operand, high: Operand | None = None, shape: Any = None, *, key: Operand | None = None, dtype: Any = None
) -> Tensor:
    """Integers low, low + 1 ... high - 1 (0 ... low - 1 if one bound is given), equally likely; low where high <= low.

    The dtype is that of tensor bounds, else the default int. Raises InvalidArgument for numbers outside its range.
    """
    trace = _trace()
    bounds = [promotion.lift(trace, b) for b in ((0, low) if high is None else (low, high))]
    tensors = [b for b in bounds if isinstance(b, Tensor)]
    wanted = as_dtype(dtype) if dtype is not None else promotion.result_type(*tensors) if tensors else default_int()
    if not wanted.is_integer or any(isinstance(b, float) for b in bounds):
        given = " and ".join(str(promotion.result_type(b)) for b in (*bounds, wanted))
        raise error_here(InvalidType, f"bounds and dtype must be integers, got {given}", "integers")
    for bound in bounds:
        if not isinstance(bound, Tensor):
            promotion.check_fits(bound, wanted)
    sizes = _parameters("integers", shape, wanted, *bounds)[0]
    first, last = (_whole(b, sizes, wanted) for b in bounds)  # type: ignore[arg-type]
    return trace.emit(ir.RandomIntegers, (_key(key)._value, first._value, last._value))


@operation
def permutation(n: Any, *, key: Operand | None = None, dtype: Any = None) -> Tensor:
    """The numbers 0, 1 ... n - 1 in random order, in the default int unless told otherwise. For a shape (..., n) an
    order for each index of the axes before. See `shuffle` for tensors."""
    shape = as_shape(n, "permutation")
    return _draw(ir.RandomPermutation, _key(key), shape, default_int() if dtype is None else as_dtype(dtype))


@operation
def shuffle(x: Operand, /, *, key: Operand | None = None, axis: int = 0) -> Tensor:
    """The parts of x along `axis` in random order. Raises InvalidArgument for a scalar."""
    tensor = tensor_in(_trace(), x)
    at = axis_in(axis, tensor.ndim, "shuffle")
    return take(tensor, permutation(tensor.shape[at], key=key), axis=at)


@operation
def choice(
    a: Operand,
    shape: Any = (),
    *,
    key: Operand | None = None,
    replace: bool = True,
    p: Operand | None = None,
    axis: int = 0,
) -> Tensor:
    """Random parts of `a` along `axis`, or of the numbers 0 ... a - 1 for an int a: the axes of `shape` stand in the
    place of that axis. With `p`, a vector, part i has probability p[i]; without `replace` no part comes twice, and `p`
    is for the parts that are left.

    Raises InvalidArgument for more parts than there are without `replace`, and for a p of another length.
    """
    sizes = as_shape(shape, "choice")
    tensor = None if isinstance(a, int | SymbolicDim) else tensor_in(_trace(), a)
    at = 0 if tensor is None else axis_in(axis, tensor.ndim, "choice")
    total = a if tensor is None else tensor.shape[at]
    wanted = size(sizes)
    if not replace and isinstance(wanted, int) and isinstance(total, int) and wanted > total:
        raise error_here(InvalidArgument, f"{total} parts can't give {wanted} without repetition", "choice")
    weights = None if p is None else tensor_in(_trace(), p)
    if weights is not None and weights.shape != (total,):
        text = f"p must have shape {shape_text((total,))}, got {shape_text(weights.shape)}"
        raise error_here(InvalidArgument, text, "choice")
    if weights is None:
        drawn = integers(total, shape=sizes, key=key) if replace else permutation(total, key=key)[:wanted]
    elif replace:
        drawn = categorical(log(weights), sizes, key=key)
    else:  # the largest of log p + Gumbel noise are drawn one after another without replacement
        scores = log(weights) + gumbel(total, key=key, dtype=weights.dtype)
        drawn = top_k(scores, wanted).indices  # type: ignore[arg-type]
    index = reshape(drawn, sizes)
    return index if tensor is None else take(tensor, index, axis=at)


@operation
def bernoulli(p: Operand = 0.5, shape: Any = None, *, key: Operand | None = None) -> Tensor:
    """True with probability p, as booleans; p in steps of 2^-24 (float64: 2^-53)."""
    sizes, dtype, (chance,) = _parameters("bernoulli", shape, None, p)
    dtype = default_float() if dtype.bits == 16 else dtype  # 8 bits of bfloat16 would be too few
    u = _draw(ir.RandomUniform, _key(key), sizes, dtype)
    return _trace().emit(Compare, (u._value, _whole(chance, sizes, dtype)._value), {"direction": "LT"})


@operation
def categorical(
    logits: Operand, shape: Any = None, *, key: Operand | None = None, axis: int = -1, dtype: Any = None
) -> Tensor:
    """Indices along `axis` with probabilities softmax(logits), by the Gumbel trick: argmax(logits + gumbel).

    The result has logits' shape without `axis`, or `shape`, which the former must broadcast to: (n, *batch) for n
    draws each. The dtype is the default int unless told otherwise.
    """
    trace = _trace()
    scores = tensor_in(trace, logits)
    if not scores.dtype.is_floating or not scores.ndim:
        raise error_here(
            InvalidType, f"logits must be floating with at least one axis, got {scores.dtype}{list(scores.shape)}",
            "categorical",
        )  # fmt: skip
    at = axis_in(axis, scores.ndim, "categorical")
    last = scores if at == scores.ndim - 1 else _last(scores, at)
    batch, classes = last.shape[:-1], last.shape[-1]
    sizes = batch if shape is None else as_shape(shape, "categorical")
    _require_room("categorical", "batches", batch, sizes)
    wide = last if scores.dtype.bits > 16 else _converted(last, as_dtype("float32"))
    noise = _draw(ir.RandomGumbel, _key(key), (*sizes, classes), wide.dtype)
    chosen = argmax(wide + noise, axis=-1)
    return chosen if dtype is None else _converted(chosen, as_dtype(dtype))


def _last(x: Tensor, axis: int) -> Tensor:
    return permute_dims(x, [*(i for i in range(x.ndim) if i != axis), axis])


# ---- location and scale


@operation
def uniform(
    shape: Any = None, *, key: Operand | None = None, low: Operand = 0, high: Operand = 1, dtype: Any = None
) -> Tensor:
    """Uniform on [low, high). Between 0 and 1 the multiples of 2^-24 (float64: 2^-53, float16: 2^-11, bfloat16: 2^-8),
    bit for bit the same everywhere. Raises InvalidType for dtypes that aren't floating."""
    sizes, wanted, (first, last) = _parameters("uniform", shape, dtype, low, high)
    u = _draw(ir.RandomUniform, _key(key), sizes, wanted)
    if not isinstance(first, Tensor) and not isinstance(last, Tensor) and (first, last) == (0, 1):
        return u
    x = _placed(u, first, last - first)
    return where(x < last, x, first)  # rounding may give `high` itself


@operation
def normal(
    shape: Any = None, *, key: Operand | None = None, mean: Operand = 0, stddev: Operand = 1, dtype: Any = None
) -> Tensor:
    """The normal distribution, by Box and Muller's transformation."""
    return _location_scale(ir.RandomNormal, "normal", shape, key, mean, stddev, dtype)


@operation
def truncated_normal(
    shape: Any = None,
    *,
    key: Operand | None = None,
    lower: float = -2.0,
    upper: float = 2.0,
    mean: Operand = 0,
    stddev: Operand = 1,
    dtype: Any = None,
) -> Tensor:
    """The normal distribution between mean + lower * stddev and mean + upper * stddev: the bounds are numbers, in
    standard deviations. Raises InvalidArgument unless lower < upper."""
    bounds = {"lower": float(lower), "upper": float(upper)}
    return _location_scale(ir.RandomTruncatedNormal, "truncated_normal", shape, key, mean, stddev, dtype, **bounds)


@operation
def exponential(shape: Any = None, *, key: Operand | None = None, scale: Operand = 1, dtype: Any = None) -> Tensor:
    """Density exp(-x / scale) / scale for x > 0; its mean is `scale`."""
    return _location_scale(ir.RandomExponential, "exponential", shape, key, 0, scale, dtype)


@operation
def gumbel(
    shape: Any = None, *, key: Operand | None = None, loc: Operand = 0, scale: Operand = 1, dtype: Any = None
) -> Tensor:
    """The extreme value distribution of type I: distribution function exp(-exp(-(x - loc) / scale))."""
    return _location_scale(ir.RandomGumbel, "gumbel", shape, key, loc, scale, dtype)


@operation
def laplace(
    shape: Any = None, *, key: Operand | None = None, loc: Operand = 0, scale: Operand = 1, dtype: Any = None
) -> Tensor:
    """Density exp(-|x - loc| / scale) / (2 scale)."""
    return _location_scale(ir.RandomLaplace, "laplace", shape, key, loc, scale, dtype)


@operation
def logistic(
    shape: Any = None, *, key: Operand | None = None, loc: Operand = 0, scale: Operand = 1, dtype: Any = None
) -> Tensor:
    """Distribution function 1 / (1 + exp(-(x - loc) / scale))."""
    return _location_scale(ir.RandomLogistic, "logistic", shape, key, loc, scale, dtype)


@operation
def cauchy(
    shape: Any = None, *, key: Operand | None = None, loc: Operand = 0, scale: Operand = 1, dtype: Any = None
) -> Tensor:
    """Density proportional to 1 / (1 + ((x - loc) / scale)^2); it has no mean."""
    return _location_scale(ir.RandomCauchy, "cauchy", shape, key, loc, scale, dtype)


@operation
def lognormal(
    shape: Any = None, *, key: Operand | None = None, mean: Operand = 0, sigma: Operand = 1, dtype: Any = None
) -> Tensor:
    """exp of a normal number with this mean and standard deviation."""
    return exp(_location_scale(ir.RandomNormal, "lognormal", shape, key, mean, sigma, dtype))


@operation
def rayleigh(shape: Any = None, *, key: Operand | None = None, scale: Operand = 1, dtype: Any = None) -> Tensor:
    """The length of a vector of two normal numbers with standard deviation `scale`."""
    sizes, wanted, (wide,) = _parameters("rayleigh", shape, dtype, scale)
    return _placed(sqrt(_draw(ir.RandomExponential, _key(key), sizes, wanted) * 2), 0, wide)


@operation
def weibull(
    concentration: Operand, shape: Any = None, *, key: Operand | None = None, scale: Operand = 1, dtype: Any = None
) -> Tensor:
    """Distribution function 1 - exp(-(x / scale)^concentration) for x > 0."""
    sizes, wanted, (power, wide) = _parameters("weibull", shape, dtype, concentration, scale)
    return _placed(_draw(ir.RandomExponential, _key(key), sizes, wanted) ** (1 / power), 0, wide)


# ---- from the gamma distribution


def _gamma(key: Tensor, alpha: Parameter, shape: Shape, dtype: DType) -> Tensor:
    return _trace().emit(ir.RandomGamma, (key._value, _whole(alpha, shape, dtype)._value))


@operation
def gamma(
    alpha: Operand, shape: Any = None, *, key: Operand | None = None, scale: Operand = 1, dtype: Any = None
) -> Tensor:
    """Density proportional to x^(alpha - 1) exp(-x / scale) for x > 0; NaN where alpha is not positive. The gradient by
    alpha is None."""
    sizes, wanted, (form, wide) = _parameters("gamma", shape, dtype, alpha, scale)
    return _placed(_gamma(_key(key), form, sizes, wanted), 0, wide)


@operation
def chisquare(df: Operand, shape: Any = None, *, key: Operand | None = None, dtype: Any = None) -> Tensor:
    """The sum of the squares of `df` normal numbers; `df` need not be whole."""
    sizes, wanted, (degrees,) = _parameters("chisquare", shape, dtype, df)
    return _gamma(_key(key), degrees * 0.5, sizes, wanted) * 2


@operation
def student_t(df: Operand, shape: Any = None, *, key: Operand | None = None, dtype: Any = None) -> Tensor:
    """Student's t distribution with `df` degrees of freedom."""
    sizes, wanted, (degrees,) = _parameters("student_t", shape, dtype, df)
    first, second = _keys(key, 2)
    half = _whole(degrees, sizes, wanted) * 0.5
    return _draw(ir.RandomNormal, first, sizes, wanted) * sqrt(half / _gamma(second, half, sizes, wanted))


@operation
def beta(a: Operand, b: Operand, shape: Any = None, *, key: Operand | None = None, dtype: Any = None) -> Tensor:
    """Density proportional to x^(a - 1) (1 - x)^(b - 1) for 0 < x < 1. NaN where both gamma numbers that it is made of
    underflow: for a and b below about 0.01 in float32."""
    sizes, wanted, (first, second) = _parameters("beta", shape, dtype, a, b)
    keys = _keys(key, 2)
    x, y = _gamma(keys[0], first, sizes, wanted), _gamma(keys[1], second, sizes, wanted)
    return x / (x + y)


@operation
def dirichlet(alpha: Operand, shape: Any = None, *, key: Operand | None = None, dtype: Any = None) -> Tensor:
    """Vectors of probabilities with density proportional to the product of x_i^(alpha_i - 1): the last axis of alpha
    (..., n) is theirs. `shape` is the batch's: the result has shape (*shape, n)."""
    lead: Any = None
    if shape is not None:
        last = tensor_in(_trace(), alpha).shape[-1:]
        lead = (*as_shape(shape, "dirichlet"), *last)
    sizes, wanted, (form,) = _parameters("dirichlet", lead, dtype, alpha)
    if not sizes:
        raise error_here(InvalidArgument, "alpha must have at least one axis, got ()", "dirichlet")
    x = _gamma(_key(key), form, sizes, wanted)
    return x / reduce_sum(x, axis=-1, keepdims=True)


@operation
def poisson(rate: Operand, shape: Any = None, *, key: Operand | None = None, dtype: Any = None) -> Tensor:
    """How many events there are where `rate` are expected, in the default int unless told otherwise; -1 where the rate
    is negative or NaN. Raises InvalidType for a dtype that is no signed integer."""
    sizes, wanted, (mean,) = _parameters("poisson", shape, None, rate)
    counted = default_int() if dtype is None else as_dtype(dtype)
    return _trace().emit(ir.RandomPoisson, (_key(key)._value, _whole(mean, sizes, wanted)._value), {"dtype": counted})
