"""Random numbers as functions of a key: the bits of `dfc.ir.threefry`, and what distributions make of them.

Equal keys give equal numbers, on every device. An op that takes its numbers' shape as an attribute gives standard
variates; location and scale are arithmetic on them, which has gradients. Widths below 32 bits are computed in float32
and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import scipy.special
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Dims, Element, Float, Int
from dfc.ir.dims import Shape
from dfc.ir.dtypes import DType, int32, uint32
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import FLOAT, require_equal, require_kind
from dfc.ir.ops.shape import shape_text
from dfc.ir.threefry import blocks, threefry2x32, words
from dfc.ir.types import Spec, spec_of, tensor_type

Array = np.ndarray[Any, Any]
KEY = Spec((2,), uint32)
SIGNIFICANT = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
"""Bits of a uniform number: as many as the dtype's significand holds."""
BELOW_ONE = 1 - 2.0**-24
"""The largest float32 below one, and the largest number that `open_uniforms` gives in float32."""
LEAST_PROBABILITY = 1e-25
"""Of the part that truncation leaves of a normal distribution."""
ROUNDS = 64
"""Proposals that rejection makes at most. One is refused with probability below 0.5 (64-bit integers), 0.05 (gamma) and
0.35 (Poisson), so that the fallback is needed with probability below 1e-19."""


def require_key(type_: Any, label: str) -> None:
    """Raise InvalidType unless the type is that of a key."""
    if spec_of(type_) != KEY:
        raise InvalidType(f"the key must be {KEY}, got {spec_of(type_)}", label=label)


def require_sizes(shape: Shape, label: str) -> None:
    """Raise InvalidArgument for a negative size."""
    if any(isinstance(d, int) and d < 0 for d in shape):
        raise InvalidArgument(f"sizes must not be negative, got {shape_text(shape)}", label=label)


def computed_in(dtype: DType | np.dtype[Any]) -> str:
    """The dtype that numbers of this floating dtype are computed in."""
    return "float64" if dtype.name == "float64" else "float32"


def open_uniforms(key: Array, shape: tuple[int, ...], wide: str, number: int = 0) -> tuple[Array, Array]:
    """Two independent uniform numbers an element: one in (0, 1), one in [0, 1], of 32 bits (float64: 64 bits).

    In float32 they are the two words of block `number`, in float64 the 64 bits of it and of the next one.
    """
    if wide == "float64":
        x, y = words(key, shape, 64, number), words(key, shape, 64, number + 1)
        return ((x >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52, y.astype(np.float64) * 2.0**-64
    x, y = (word.astype(np.float32) for word in blocks(key, shape, number))
    first = (x + np.float32(0.5)) * np.float32(2.0**-32)
    return np.minimum(first, np.float32(BELOW_ONE)), y * np.float32(2.0**-32)


def box_muller(u: Array, v: Array) -> Array:
    """Standard normal numbers from uniform ones, 0 < u < 1 (Box and Muller 1958)."""
    return np.asarray(np.sqrt(-2 * np.log(u)) * np.cos(u.dtype.type(2 * math.pi) * v))


def retry(done: Array, value: Array, attempt: Callable[[int], tuple[Array, Array]]) -> Array:
    """`attempt(i)` gives which elements it accepts and their values; the first that is accepted counts, elsewhere
    `value`. Elements that are `done` keep their value."""
    for i in range(ROUNDS):
        if done.all():
            break
        accepted, candidate = attempt(i)
        value = np.where(accepted & ~done, candidate, value)
        done = done | accepted
    return value


# ---- keys and bits


@irdl_op_definition
class RandomBits(Op):
    """Random unsigned integers, uniform over their whole range.

    C1: the key is uint32[2]. C2: the dtype is unsigned. C3: no size is negative.
    """

    name = "df.random_bits"
    shape = prop_def(Dims)
    dtype = prop_def(Element)
    key = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("uint",)

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_key(operands[0], "C1")
        require_kind(attributes["dtype"], cls.KINDS, "C2")
        require_sizes(attributes["shape"], "C3")
        return (tensor_type(attributes["shape"], attributes["dtype"]),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [words(operands[0], attributes["shape"], attributes["dtype"].bits)]


@irdl_op_definition
class RandomSplit(Op):
    """`number` keys: row i is the block with counter (0, i). C1: the key is uint32[2]. C2: number is not negative."""

    name = "df.random_split"
    number = prop_def(Int)
    key = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("uint",)

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_key(operands[0], "C1")
        if attributes["number"] < 0:
            raise InvalidArgument(f"the number of keys must not be negative, got {attributes['number']}", label="C2")
        return (tensor_type((attributes["number"], 2), uint32),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [np.stack(blocks(operands[0], (attributes["number"],)), axis=-1)]


@irdl_op_definition
class RandomFoldIn(Op):
    """A key from a key and a number: the block with counter (0, data), which is row `data` of `random_split`.

    C1: the key is uint32[2]. C2: data is a uint32 scalar.
    """

    name = "df.random_fold_in"
    key = operand_def()
    data = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("uint",)

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_key(operands[0], "C1")
        if spec_of(operands[1]) != Spec((), uint32):
            raise InvalidType(f"data must be uint32[], got {spec_of(operands[1])}", label="C2")
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        key, data = operands
        return [np.concatenate(threefry2x32(key, np.zeros(1, np.uint32), data.reshape(1)))]


@irdl_op_definition
class RandomNext(Op):
    """A key from the state of a generator, and the state after it. The state is a key (two words) and a counter of 64
    bits (two words, the high one first); the key is the block with that counter. C1: the state is uint32[4]."""

    name = "df.random_next"
    state = operand_def()
    key = result_def()
    next_state = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("uint",)

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        if spec_of(operands[0]) != Spec((4,), uint32):
            raise InvalidType(f"the state must be uint32[4], got {spec_of(operands[0])}", label="C1")
        return (tensor_type(*KEY), operands[0])

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (state,) = operands
        key = np.concatenate(threefry2x32(state[:2], state[2:3], state[3:]))
        counter = ((int(state[2]) << 32) + int(state[3]) + 1) % 2**64
        return [key, np.array([*state[:2], counter >> 32, counter % 2**32], np.uint32)]


# ---- standard variates


class Variate(Op):
    """Independent numbers of one distribution.

    C1: the key is uint32[2]. C2: the dtype is floating. C3: no size is negative.
    """

    shape = prop_def(Dims)
    dtype = prop_def(Element)
    key = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = FLOAT

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_key(operands[0], "C1")
        require_kind(attributes["dtype"], cls.KINDS, "C2")
        require_sizes(attributes["shape"], "C3")
        return (tensor_type(attributes["shape"], attributes["dtype"]),)

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        shape, dtype = attributes["shape"], attributes["dtype"]
        with np.errstate(all="ignore"):
            u, v = open_uniforms(operands[0], shape, computed_in(dtype))
            return [np.asarray(cls.transform(u, v)).astype(dtype.numpy)]

    @staticmethod
    def transform(u: Array, v: Array) -> Array:
        """The numbers from two uniform ones each, as `open_uniforms` gives them."""
        raise NotImplementedError


@irdl_op_definition
class RandomUniform(Variate):
    """Uniform on [0, 1): the multiples of 2**-p, for the p bits of the dtype's significand, exactly."""

    name = "df.random_uniform"

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        dtype = attributes["dtype"]
        bits, kept = 64 if dtype.bits == 64 else 32, SIGNIFICANT[dtype.name]
        word = words(operands[0], attributes["shape"], bits)
        return [((word >> word.dtype.type(bits - kept)).astype(np.float64) * 2.0**-kept).astype(dtype.numpy)]


@irdl_op_definition
class RandomNormal(Variate):
    """Mean 0 and variance 1, by Box and Muller's transformation; at most 6.8 (float64: 8.6) from 0."""

    name = "df.random_normal"
    transform = staticmethod(box_muller)


@irdl_op_definition
class RandomTruncatedNormal(Op):
    """The standard normal distribution between `lower` and `upper`, by inversion.

    C1: the key is uint32[2]. C2: the dtype is floating. C3: no size is negative. C4: lower < upper. C5: the probability
    of lying between them is at least 1e-25, so that float32 holds its parts.
    """

    name = "df.random_truncated_normal"
    shape = prop_def(Dims)
    dtype = prop_def(Element)
    lower = prop_def(Float)
    upper = prop_def(Float)
    key = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = FLOAT

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_key(operands[0], "C1")
        require_kind(attributes["dtype"], cls.KINDS, "C2")
        require_sizes(attributes["shape"], "C3")
        if not attributes["lower"] < attributes["upper"]:
            raise InvalidArgument(
                f"lower must be less than upper, got {attributes['lower']} and {attributes['upper']}", label="C4"
            )
        probability = truncation(attributes["lower"], attributes["upper"])[3]
        if probability < LEAST_PROBABILITY:
            raise InvalidArgument(
                f"the probability between the bounds must be at least {LEAST_PROBABILITY}, got {probability:.3g} "
                f"between {attributes['lower']} and {attributes['upper']}",
                label="C5",
            )
        return (tensor_type(attributes["shape"], attributes["dtype"]),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        dtype = attributes["dtype"]
        lower, upper, first, width, flipped = truncation(attributes["lower"], attributes["upper"])
        u, _ = open_uniforms(operands[0], attributes["shape"], computed_in(dtype))
        x = np.clip(scipy.special.ndtri(u.dtype.type(first) + u.dtype.type(width) * u), lower, upper)
        return [np.asarray(-x if flipped else x).astype(dtype.numpy)]


def truncation(lower: float, upper: float) -> tuple[float, float, float, float, bool]:
    """The bounds, the probability below the lower one, the probability between them, and whether the sign is to be
    changed at the end: on the positive side probabilities are near 1 and would be rounded."""
    flipped = lower > -upper
    a, b = (-upper, -lower) if flipped else (lower, upper)
    first = float(scipy.special.ndtr(a))
    return a, b, first, float(scipy.special.ndtr(b)) - first, flipped


@irdl_op_definition
class RandomExponential(Variate):
    """Density exp(-x) for x > 0."""

    name = "df.random_exponential"

    @staticmethod
    def transform(u: Array, v: Array) -> Array:
        return np.asarray(-np.log(u))


@irdl_op_definition
class RandomGumbel(Variate):
    """The extreme value distribution, with distribution function exp(-exp(-x))."""

    name = "df.random_gumbel"

    @staticmethod
    def transform(u: Array, v: Array) -> Array:
        return np.asarray(-np.log(-np.log(u)))


@irdl_op_definition
class RandomLaplace(Variate):
    """Density exp(-|x|) / 2."""

    name = "df.random_laplace"

    @staticmethod
    def transform(u: Array, v: Array) -> Array:
        return np.asarray(np.where(v < 0.5, np.log(u), -np.log(u)))


@irdl_op_definition
class RandomLogistic(Variate):
    """Distribution function 1 / (1 + exp(-x))."""

    name = "df.random_logistic"

    @staticmethod
    def transform(u: Array, v: Array) -> Array:
        return np.asarray(np.log(u / (1 - u)))


@irdl_op_definition
class RandomCauchy(Variate):
    """Density 1 / (pi (1 + x^2))."""

    name = "df.random_cauchy"

    @staticmethod
    def transform(u: Array, v: Array) -> Array:
        angle = u * u.dtype.type(math.pi / 2)
        size = np.cos(angle) / np.sin(angle)
        return np.asarray(np.where(v < 0.5, -size, size))


# ---- numbers with parameters of their own, an element


@irdl_op_definition
class RandomIntegers(Op):
    """Integers low, low + 1 ... high - 1, equally likely but for 2**-32 (64 bits: exactly); low where high <= low.

    C1: the key is uint32[2]. C2: the dtype is int or uint. C3: low and high have equal types.
    """

    name = "df.random_integers"
    key = operand_def()
    low = operand_def()
    high = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("int", "uint")

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_key(operands[0], "C1")
        require_kind(spec_of(operands[1]).dtype, cls.KINDS, "C2")
        require_equal([spec_of(t) for t in operands[1:]], "C3")
        return (operands[1],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        key, low, high = operands
        unsigned = np.dtype(f"uint{8 * low.dtype.itemsize}")
        with np.errstate(all="ignore"):
            width = (high.view(unsigned) - low.view(unsigned)).astype(np.uint64)
            width = np.where(high > low, width, np.uint64(1))
            if unsigned.itemsize < 8:
                offset = words(key, low.shape, 64) % width
            else:
                last = np.uint64(2**64 - 1) - (np.uint64(0) - width) % width  # words above would favour small offsets

                def attempt(i: int) -> tuple[Array, Array]:
                    word = words(key, low.shape, 64, i)
                    return np.asarray(word <= last), np.asarray(word % width)

                offset = retry(np.asarray(high <= low), np.zeros_like(width), attempt)
            return [(low.view(unsigned) + offset.astype(unsigned)).view(low.dtype)]


@irdl_op_definition
class RandomPermutation(Op):
    """Along the last axis the numbers 0, 1 ... in random order, an order for each index of the other axes: the stable
    order of 64 random bits each.

    C1: the key is uint32[2]. C2: the dtype is int or uint. C3: no size is negative. C4: at least one axis.
    """

    name = "df.random_permutation"
    shape = prop_def(Dims)
    dtype = prop_def(Element)
    key = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("int", "uint")

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_key(operands[0], "C1")
        require_kind(attributes["dtype"], cls.KINDS, "C2")
        require_sizes(attributes["shape"], "C3")
        if not attributes["shape"]:
            raise InvalidArgument("at least one axis is needed, got ()", label="C4")
        return (tensor_type(attributes["shape"], attributes["dtype"]),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        order = np.argsort(words(operands[0], attributes["shape"], 64), axis=-1, kind="stable")
        return [order.astype(attributes["dtype"].numpy)]


@irdl_op_definition
class RandomGamma(Op):
    """Density x^(alpha-1) exp(-x) / Gamma(alpha) for x > 0, by Marsaglia and Tsang's rejection (2000) in float64, so
    that every backend accepts the same proposals; NaN where alpha is not positive.

    C1: the key is uint32[2]. C2: the dtype is floating.
    """

    name = "df.random_gamma"
    key = operand_def()
    alpha = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = FLOAT

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_key(operands[0], "C1")
        require_kind(spec_of(operands[1]).dtype, cls.KINDS, "C2")
        return (operands[1],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        key, alpha = operands[0], operands[1].astype(np.float64)

        def uniforms(number: int) -> tuple[Array, Array]:
            x, y = blocks(key, alpha.shape, number)
            return (x + 0.5) * 2.0**-32, (y + 0.5) * 2.0**-32

        with np.errstate(all="ignore"):
            d = np.where(alpha < 1, alpha + 1, alpha) - 1 / 3
            c = 1 / np.sqrt(9 * d)

            def attempt(i: int) -> tuple[Array, Array]:
                x = box_muller(*uniforms(2 * i))
                v = (1 + c * x) ** 3
                bound = 0.5 * x * x + d * (1 - v + np.log(v))
                return np.asarray((v > 0) & (np.log(uniforms(2 * i + 1)[0]) < bound)), v

            found = d * retry(~(alpha > 0) | np.isinf(alpha), np.ones_like(d), attempt)
            small = found * uniforms(1)[1] ** (1 / alpha)  # gamma(alpha) from gamma(alpha + 1)
            result = np.where(alpha < 1, small, found)
            return [np.asarray(np.where(alpha > 0, result, np.nan)).astype(operands[1].dtype)]


@irdl_op_definition
class RandomPoisson(Op):
    """How many events there are where `rate` are expected. Below 10 by inversion, else by Hörmann's transformed
    rejection (PTRS, 1993), both in float64; -1 where the rate is negative or NaN, at most the dtype's largest integer.

    C1: the key is uint32[2]. C2: the rate is floating. C3: the dtype is int.
    """

    name = "df.random_poisson"
    dtype = prop_def(Element)
    key = operand_def()
    rate = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = FLOAT

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_key(operands[0], "C1")
        require_kind(spec_of(operands[1]).dtype, cls.KINDS, "C2")
        require_kind(attributes["dtype"], ("int",), "C3")
        return (tensor_type(spec_of(operands[1]).shape, attributes["dtype"]),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        key, rate, dtype = operands[0], operands[1].astype(np.float64), attributes["dtype"].numpy
        largest = np.iinfo(dtype).max
        with np.errstate(all="ignore"):
            valid, large = rate >= 0, rate >= 10
            few = _poisson_by_inversion(key, np.where(valid & ~large, rate, 0.0))
            many = _poisson_by_rejection(key, np.where(large, np.minimum(rate, 2.0**63), 10.0), ~large)
            counts = np.where(large, many, few)
            result = np.where(counts >= largest, largest, np.minimum(counts, 2.0**62).astype(np.int64))
            return [np.where(valid, result, -1).astype(dtype)]


POISSON_TERMS = 64
"""Counts that inversion looks at: at a rate of 10, the probability of more is below 1e-28."""


def _poisson_by_inversion(key: Array, rate: Array) -> Array:
    u = open_uniforms(key, rate.shape, "float64")[0]
    term = np.exp(-rate)
    below, count = term, np.zeros_like(rate)
    for k in range(1, POISSON_TERMS + 1):
        count = count + (u > below)
        term = term * rate / k
        below = below + term
    return count


def _poisson_by_rejection(key: Array, rate: Array, done: Array) -> Array:
    b = 0.931 + 2.53 * np.sqrt(rate)
    a = -0.059 + 0.02483 * b
    log_inverse_alpha = np.log(1.1239 + 1.1328 / (b - 3.4))
    v_r = 0.9277 - 3.6224 / (b - 2)
    log_rate = np.log(rate)

    def attempt(i: int) -> tuple[Array, Array]:
        x, y = blocks(key, rate.shape, i)
        u, v = (x + 0.5) * 2.0**-32 - 0.5, (y + 0.5) * 2.0**-32
        us = 0.5 - np.abs(u)
        k = np.floor((2 * a / us + b) * u + rate + 0.43)
        positive = np.maximum(k, 0.0)
        likely = (us >= 0.07) & (v <= v_r)
        possible = (k >= 0) & ((us >= 0.013) | (v <= us))
        left = np.log(v) + log_inverse_alpha - np.log(a / (us * us) + b)
        return likely | (possible & (left <= positive * log_rate - rate - log_factorial(positive))), k

    return retry(done, np.floor(rate), attempt)


def log_factorial(k: Array) -> Array:
    """log k! by Stirling's series at k + 8."""
    z = k + 8
    product = (k + 1) * (k + 2) * (k + 3) * (k + 4) * (k + 5) * (k + 6) * (k + 7)
    series = (1 / 12 - (1 / 360 - 1 / (1260 * z * z)) / (z * z)) / z
    return np.asarray((z - 0.5) * np.log(z) - z + 0.5 * math.log(2 * math.pi) + series - np.log(product))


# ---- candidates of sampled losses


@irdl_op_definition
class RandomLogUniformCandidates(Op):
    """`number` distinct classes below `classes`, class k drawn with probability log((k + 2) / (k + 1)) / log(classes +
    1), and how many draws that took: draws go on until so many different ones have come, in order of their first time.
    Meant for numbers far below the classes: the work is the square of the number.

    C1: the key is uint32[2]. C2: 0 < number <= classes.
    """

    name = "df.random_log_uniform_candidates"
    number = prop_def(Int)
    classes = prop_def(Int)
    key = operand_def()
    candidates = result_def()
    draws = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("uint",)

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_key(operands[0], "C1")
        number, classes = attributes["number"], attributes["classes"]
        if not 0 < number <= classes:
            raise InvalidArgument(
                f"the number of candidates must be from 1 to that of classes, got {number} of {classes}", label="C2"
            )
        return (tensor_type((number,), int32), tensor_type((), int32))

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        number, classes = attributes["number"], attributes["classes"]
        found: dict[int, None] = {}
        total = 0
        while True:  # draw i takes the bits of element i, however many there are
            total += number
            u = (words(operands[0], (total,), 64) >> np.uint64(11)).astype(np.float64) * 2.0**-53
            drawn = np.minimum(np.floor(np.exp(u * math.log(classes + 1))) - 1, classes - 1).astype(np.int32)
            for i in range(total - number, total):
                found.setdefault(int(drawn[i]))
                if len(found) == number:
                    return [np.array(list(found), np.int32), np.array(i + 1, np.int32)]
