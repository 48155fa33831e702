"""Emission of random ops: integer arithmetic on counters, and the same formulas as in `dfc.ir.ops.random`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from jaxlib.mlir import ir

from dfc.backends.stablehlo.emit import Emitter, integer, integers
from dfc.backends.stablehlo.expression import Expression, polynomial, scalar
from dfc.backends.stablehlo.rules import Value, rule
from dfc.ir.dims import Shape, size
from dfc.ir.dtypes import DType, as_dtype, bool_, float64, int32, int64, uint32, uint64
from dfc.ir.ops.random import (
    BELOW_ONE,
    POISSON_TERMS,
    ROUNDS,
    SIGNIFICANT,
    RandomBits,
    RandomCauchy,
    RandomExponential,
    RandomFoldIn,
    RandomGamma,
    RandomGumbel,
    RandomIntegers,
    RandomLaplace,
    RandomLogistic,
    RandomLogUniformCandidates,
    RandomNext,
    RandomNormal,
    RandomPermutation,
    RandomPoisson,
    RandomSplit,
    RandomTruncatedNormal,
    RandomUniform,
    Variate,
    computed_in,
    truncation,
)
from dfc.ir.threefry import BLOCK_SHIFT, PARITY, ROTATIONS
from dfc.ir.types import spec_of

Pair = tuple[Expression, Expression]


def threefry(keys: Pair, high: Expression, low: Expression) -> Pair:
    """The two words of the blocks with counters (high, low) under the key whose words are `keys`: 20 rounds."""
    shape = low.shape
    schedule = (*keys, keys[0] ^ keys[1] ^ PARITY)
    wide = [word.broadcast(shape) for word in schedule]
    amounts = {r: low.lift(r) for group in ROTATIONS for each in group for r in (each, 32 - each)}
    x, y = high + wide[0], low + wide[1]
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x = x + y
            rotated = y.call("shift_left", amounts[rotation]) | y.call("shift_right_logical", amounts[32 - rotation])
            y = rotated ^ x
        x = x + wide[(group + 1) % 3]
        y = y + (schedule[(group + 2) % 3] + (group + 1)).broadcast(shape)
    return x, y


def halves(emitter: Emitter, key: Value) -> Pair:
    """The two words of a key."""
    whole = Expression(emitter, key, (2,), uint32)
    return whole.element(0), whole.element(1)


def blocks(emitter: Emitter, keys: Pair, shape: Shape, number: int | Expression = 0) -> Pair:
    """The two words of block `number` of each element of a tensor."""
    count = size(shape)
    assert isinstance(count, int)
    first = scalar(emitter, number, uint32) if isinstance(number, int) else number
    first = (first << BLOCK_SHIFT).broadcast((count,))
    if count <= 2**32:
        low = iota(emitter, count, uint32)
    else:
        index = iota(emitter, count, uint64)
        first, low = first + (index >> 32).to(uint32), index.to(uint32)
    x, y = threefry(keys, first, low)
    return x.reshape(shape), y.reshape(shape)


def iota(emitter: Emitter, count: int, dtype: DType) -> Expression:
    """0, 1 ... count - 1."""
    type_ = emitter.tensor((count,), dtype)
    return Expression(
        emitter, emitter.create("stablehlo.iota", type_, [], {"iota_dimension": integer(0)}), (count,), dtype
    )


def joined(words: Pair, bits: int) -> Expression:
    """One word of 64 or 32 bits from a block."""
    x, y = words
    return ((x.to(uint64) << 32) | y.to(uint64)) if bits == 64 else x ^ y


def open_uniforms(emitter: Emitter, key: Value, shape: Shape, wide: DType) -> Pair:
    """Two independent uniform numbers an element, one in (0, 1), one in [0, 1]."""
    keys = halves(emitter, key)
    if wide is float64:
        x, y = (joined(blocks(emitter, keys, shape, number), 64) for number in (0, 1))
        return ((x >> 12).to(wide) + 0.5) * 2.0**-52, y.to(wide) * 2.0**-64
    x, y = (word.to(wide) for word in blocks(emitter, keys, shape))
    return ((x + 0.5) * 2.0**-32).call("minimum", BELOW_ONE), y * 2.0**-32


def box_muller(u: Expression, v: Expression) -> Expression:
    """Standard normal numbers from uniform ones."""
    return (u.call("log") * -2.0).call("sqrt") * (v * (2 * math.pi)).call("cosine")


def retry(
    done: Expression, value: Expression, attempt: Callable[[Expression], tuple[Expression, Expression]]
) -> Expression:
    """A loop of at most ROUNDS attempts: see `dfc.ir.ops.random.retry`."""
    emitter, shape = value.emitter, value.shape

    def going_on(state: Sequence[Value]) -> Sequence[Value]:
        number, left = Expression(emitter, state[0], (), uint32), ~Expression(emitter, state[1], shape, bool_)
        flag = emitter.tensor((), bool_)

        def either(pair: Sequence[Value]) -> list[Value]:
            return [emitter.create("stablehlo.or", flag, pair)]

        (some,) = emitter.reduce([left.value], [emitter.scalar(False, bool_)], range(len(shape)), [flag], either)
        return [((number < ROUNDS) & Expression(emitter, some, (), bool_)).value]

    def step(state: Sequence[Value]) -> Sequence[Value]:
        number, over = Expression(emitter, state[0], (), uint32), Expression(emitter, state[1], shape, bool_)
        accepted, candidate = attempt(number)
        found = (accepted & ~over).where(candidate, Expression(emitter, state[2], shape, value.dtype))
        return [(number + 1).value, (over | accepted).value, found.value]

    first = scalar(emitter, 0, uint32)
    return Expression(
        emitter, emitter.loop([first.value, done.value, value.value], going_on, step)[2], shape, value.dtype
    )


# ---- keys and bits


@rule(RandomBits)
def random_bits(emitter: Emitter, op: RandomBits, operands: list[Value]) -> list[Value]:
    shape, dtype = spec_of(op.result.type)
    words = blocks(emitter, halves(emitter, operands[0]), shape)
    return [joined(words, dtype.bits).to(dtype).value]


@rule(RandomSplit)
def random_split(emitter: Emitter, op: RandomSplit, operands: list[Value]) -> list[Value]:
    number = op.number.data
    columns = [w.reshape((number, 1)).value for w in blocks(emitter, halves(emitter, operands[0]), (number,))]
    return [emitter.create("stablehlo.concatenate", emitter.type(op.result.type), columns, {"dimension": integer(1)})]


@rule(RandomFoldIn)
def random_fold_in(emitter: Emitter, op: RandomFoldIn, operands: list[Value]) -> list[Value]:
    key, data = operands
    low = Expression(emitter, data, (), uint32)
    return [_vector(emitter, threefry(halves(emitter, key), low.lift(0), low))]


@rule(RandomNext)
def random_next(emitter: Emitter, op: RandomNext, operands: list[Value]) -> list[Value]:
    state = Expression(emitter, operands[0], (4,), uint32)
    first, second, high, low = (state.element(i) for i in range(4))
    raised = low + 1
    carry = raised.compare("EQ", 0).to(uint32)
    return [
        _vector(emitter, threefry((first, second), high, low)),
        _vector(emitter, (first, second, high + carry, raised)),
    ]


def _vector(emitter: Emitter, words: Sequence[Expression]) -> Value:
    """A vector of scalars."""
    type_ = emitter.tensor((len(words),), uint32)
    return emitter.create(
        "stablehlo.concatenate", type_, [w.reshape((1,)).value for w in words], {"dimension": integer(0)}
    )


# ---- standard variates


@rule(RandomUniform)
def random_uniform(emitter: Emitter, op: RandomUniform, operands: list[Value]) -> list[Value]:
    shape, dtype = spec_of(op.result.type)
    bits, kept = 64 if dtype.bits == 64 else 32, SIGNIFICANT[dtype.name]
    word = joined(blocks(emitter, halves(emitter, operands[0]), shape), bits)
    return [((word >> (bits - kept)).to(_wide(dtype)) * 2.0**-kept).to(dtype).value]


def _wide(dtype: DType) -> DType:
    return as_dtype(computed_in(dtype))


def _transformed(
    emitter: Emitter, op: Variate, operands: list[Value], transform: Callable[[Expression, Expression], Expression]
) -> list[Value]:
    shape, dtype = spec_of(op.result.type)
    return [transform(*open_uniforms(emitter, operands[0], shape, _wide(dtype))).to(dtype).value]


@rule(RandomNormal)
def random_normal(emitter: Emitter, op: RandomNormal, operands: list[Value]) -> list[Value]:
    return _transformed(emitter, op, operands, box_muller)


@rule(RandomTruncatedNormal)
def random_truncated_normal(emitter: Emitter, op: RandomTruncatedNormal, operands: list[Value]) -> list[Value]:
    shape, dtype = spec_of(op.result.type)
    lower, upper, first, width, flipped = truncation(op.lower.data, op.upper.data)
    u, _ = open_uniforms(emitter, operands[0], shape, _wide(dtype))
    x = _normal_quantile(u * width + first).call("maximum", lower).call("minimum", upper)
    return [(-x if flipped else x).to(dtype).value]


# Wichura's algorithm AS 241 (PPND16): near the middle, in the tails, far out in the tails.
_MIDDLE = (
    (
        *(3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4),
        *(4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    ),
    (
        *(1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3),
        *(2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
    ),
)
_TAILS = (
    (
        *(1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0),
        *(1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    ),
    (
        *(1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1),
        *(1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
    ),
)
_FAR = (
    (
        *(6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1),
        *(2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    ),
    (
        *(1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2),
        *(7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
    ),
)


def _normal_quantile(p: Expression) -> Expression:
    """The inverse of the normal distribution function."""

    def ratio(r: Expression, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Expression:
        return polynomial(r, coefficients[0]) / polynomial(r, coefficients[1])

    q = p - 0.5
    middle = q * ratio(0.180625 - q * q, _MIDDLE)
    r = (-p.call("minimum", 1.0 - p).call("log")).call("sqrt")
    outside = (r <= 5.0).where(ratio(r - 1.6, _TAILS), ratio(r - 5.0, _FAR))
    return (q.call("abs") <= 0.425).where(middle, (q < 0.0).where(-outside, outside))


@rule(RandomExponential)
def random_exponential(emitter: Emitter, op: RandomExponential, operands: list[Value]) -> list[Value]:
    return _transformed(emitter, op, operands, lambda u, v: -u.call("log"))


@rule(RandomGumbel)
def random_gumbel(emitter: Emitter, op: RandomGumbel, operands: list[Value]) -> list[Value]:
    return _transformed(emitter, op, operands, lambda u, v: -(-u.call("log")).call("log"))


@rule(RandomLaplace)
def random_laplace(emitter: Emitter, op: RandomLaplace, operands: list[Value]) -> list[Value]:
    def transform(u: Expression, v: Expression) -> Expression:
        logarithm = u.call("log")
        return (v < 0.5).where(logarithm, -logarithm)

    return _transformed(emitter, op, operands, transform)


@rule(RandomLogistic)
def random_logistic(emitter: Emitter, op: RandomLogistic, operands: list[Value]) -> list[Value]:
    return _transformed(emitter, op, operands, lambda u, v: (u / (1.0 - u)).call("log"))


@rule(RandomCauchy)
def random_cauchy(emitter: Emitter, op: RandomCauchy, operands: list[Value]) -> list[Value]:
    def transform(u: Expression, v: Expression) -> Expression:
        angle = u * (math.pi / 2)
        length = angle.call("cosine") / angle.call("sine")
        return (v < 0.5).where(-length, length)

    return _transformed(emitter, op, operands, transform)


# ---- numbers with parameters of their own, an element


@rule(RandomIntegers)
def random_integers(emitter: Emitter, op: RandomIntegers, operands: list[Value]) -> list[Value]:
    shape, dtype = spec_of(op.result.type)
    keys, unsigned = halves(emitter, operands[0]), as_dtype(f"uint{dtype.bits}")
    low, high = (Expression(emitter, v, shape, dtype) for v in operands[1:])
    some = high > low
    width = some.where((high.bits(unsigned) - low.bits(unsigned)).to(uint64), 1)
    if dtype.bits < 64:
        offset = joined(blocks(emitter, keys, shape), 64) % width
    else:
        last = width.lift(2**64 - 1) - (width.lift(0) - width) % width

        def attempt(number: Expression) -> Pair:
            word = joined(blocks(emitter, keys, shape, number), 64)
            return word <= last, word % width

        offset = retry(~some, width.lift(0), attempt)
    return [(low.bits(unsigned) + offset.to(unsigned)).bits(dtype).value]


@rule(RandomPermutation)
def random_permutation(emitter: Emitter, op: RandomPermutation, operands: list[Value]) -> list[Value]:
    shape, dtype = spec_of(op.result.type)
    word = joined(blocks(emitter, halves(emitter, operands[0]), shape), 64)
    axis = len(shape) - 1
    places = emitter.create("stablehlo.iota", emitter.tensor(shape, dtype), [], {"iota_dimension": integer(axis)})

    types = [emitter.tensor((), element) for element in (uint64, uint64, dtype, dtype)]

    def before(values: Sequence[Value]) -> Sequence[Value]:
        left, right = (Expression(emitter, v, (), uint64) for v in values[:2])
        return [(left < right).value]

    operands = [word.value, places]
    attributes = {"dimension": integer(axis), "is_stable": ir.BoolAttr.get(True)}
    bodies = [(types, before)]
    return [emitter.with_bodies("stablehlo.sort", [v.type for v in operands], operands, attributes, bodies)[1]]


@rule(RandomGamma)
def random_gamma(emitter: Emitter, op: RandomGamma, operands: list[Value]) -> list[Value]:
    shape, dtype = spec_of(op.result.type)
    keys, alpha = halves(emitter, operands[0]), Expression(emitter, operands[1], shape, dtype).to(float64)
    d = (alpha < 1.0).where(alpha + 1.0, alpha) - 1 / 3
    c = 1.0 / (d * 9.0).call("sqrt")

    def attempt(number: Expression) -> Pair:
        x = box_muller(*_halfway(blocks(emitter, keys, shape, number + number)))
        root = c * x + 1.0
        v = root * root * root
        bound = x * x * 0.5 + d * (1.0 - v + v.call("log"))
        u, _ = _halfway(blocks(emitter, keys, shape, number + number + 1))
        return (v > 0.0) & (u.call("log") < bound), v

    positive = alpha > 0.0
    found = d * retry(~positive | alpha.compare("EQ", math.inf), d.lift(1.0), attempt)
    _, u = _halfway(blocks(emitter, keys, shape, 1))
    small = found * u.call("power", 1.0 / alpha)
    return [positive.where((alpha < 1.0).where(small, found), math.nan).to(dtype).value]


def _halfway(words: Pair) -> Pair:
    """Two words of a block as float64 numbers in (0, 1)."""
    x, y = ((word.to(float64) + 0.5) * 2.0**-32 for word in words)
    return x, y


@rule(RandomPoisson)
def random_poisson(emitter: Emitter, op: RandomPoisson, operands: list[Value]) -> list[Value]:
    (shape, given), dtype = spec_of(op.rate.type), op.dtype.data
    keys, rate = halves(emitter, operands[0]), Expression(emitter, operands[1], shape, given).to(float64)
    largest = 2 ** (dtype.bits - 1) - 1
    valid, large = rate >= 0.0, rate >= 10.0
    few = _poisson_by_inversion(emitter, keys, (valid & ~large).where(rate, 0.0))
    many = _poisson_by_rejection(emitter, keys, large.where(rate.call("minimum", 2.0**63), 10.0), ~large)
    counts = large.where(many, few)
    whole = counts.call("minimum", 2.0**62).to(int64)
    result = (counts >= float(largest)).where(whole.lift(largest), whole)
    return [valid.where(result, -1).to(dtype).value]


def _poisson_by_inversion(emitter: Emitter, keys: Pair, rate: Expression) -> Expression:
    shape = rate.shape
    u = ((joined(blocks(emitter, keys, shape), 64) >> 12).to(float64) + 0.5) * 2.0**-52
    first = (-rate).call("exponential")

    def going_on(state: Sequence[Value]) -> Sequence[Value]:
        return [(Expression(emitter, state[0], (), float64) <= float(POISSON_TERMS)).value]

    def step(state: Sequence[Value]) -> Sequence[Value]:
        number = Expression(emitter, state[0], (), float64)
        term, below, count = (Expression(emitter, v, shape, float64) for v in state[1:])
        count = count + (u > below).to(float64)
        term = term * rate / number.broadcast(shape)
        return [(number + 1.0).value, term.value, (below + term).value, count.value]

    initial = [scalar(emitter, 1.0, float64).value, first.value, first.value, first.lift(0.0).value]
    return Expression(emitter, emitter.loop(initial, going_on, step)[3], shape, float64)


def _poisson_by_rejection(emitter: Emitter, keys: Pair, rate: Expression, done: Expression) -> Expression:
    b = rate.call("sqrt") * 2.53 + 0.931
    a = b * 0.02483 - 0.059
    log_inverse_alpha = (1.1328 / (b - 3.4) + 1.1239).call("log")
    v_r = 0.9277 - 3.6224 / (b - 2.0)
    log_rate = rate.call("log")

    def attempt(number: Expression) -> Pair:
        x, v = _halfway(blocks(emitter, keys, rate.shape, number))
        u = x - 0.5
        us = 0.5 - u.call("abs")
        k = ((a * 2.0 / us + b) * u + rate + 0.43).call("floor")
        positive = k.call("maximum", 0.0)
        likely = (us >= 0.07) & (v <= v_r)
        possible = (k >= 0.0) & ((us >= 0.013) | (v <= us))
        left = v.call("log") + log_inverse_alpha - (a / (us * us) + b).call("log")
        return likely | (possible & (left <= positive * log_rate - rate - _log_factorial(positive))), k

    return retry(done, rate.call("floor"), attempt)


def _log_factorial(k: Expression) -> Expression:
    z = k + 8.0
    product = k + 1.0
    for i in range(2, 8):
        product = product * (k + float(i))
    series = (1 / 12 - (1 / 360 - 1.0 / (z * z * 1260.0)) / (z * z)) / z
    return (z - 0.5) * z.call("log") - z + 0.5 * math.log(2 * math.pi) + series - product.call("log")


# ---- candidates of sampled losses


@rule(RandomLogUniformCandidates)
def random_log_uniform_candidates(
    emitter: Emitter, op: RandomLogUniformCandidates, operands: list[Value]
) -> list[Value]:
    """A loop that draws `number` at a time and puts those that are new behind the ones found before."""
    number, classes = op.number.data, op.classes.data
    keys, places = halves(emitter, operands[0]), iota(emitter, number, uint32)
    rows, columns = (_along(places.to(int32), axis) for axis in (0, 1))

    def going_on(state: Sequence[Value]) -> Sequence[Value]:
        return [(Expression(emitter, state[1], (), int32) < number).value]

    def step(state: Sequence[Value]) -> Sequence[Value]:
        drawn_before, count = Expression(emitter, state[0], (), uint32), Expression(emitter, state[1], (), int32)
        found, last = Expression(emitter, state[2], (number,), int32), Expression(emitter, state[3], (), int32)
        low = places + drawn_before.broadcast((number,))
        u = (joined(threefry(keys, low.lift(0), low), 64) >> 11).to(float64) * 2.0**-53
        power = (u * math.log(classes + 1)).call("exponential").call("floor") - 1.0
        drawn = power.call("minimum", float(classes - 1)).to(int32)
        mine, others = _along(drawn, 0), _along(drawn, 1)
        known = mine.compare("EQ", _along(found, 1)) | (mine.compare("EQ", others) & (columns < rows))
        new = ~_reduced("or", known, 1, False)
        before = _reduced("add", (columns <= rows).where(_along(new.to(int32), 1), 0), 1, 0)
        rank = before + count.broadcast((number,)) - 1  # of the new ones, where they go
        there = _along(new, 0) & _along(rank, 0).compare("EQ", columns)
        placed = _reduced("maximum", there.where(mine, -1), 0, -1)
        number_of_draw = (low + 1).to(int32)
        end = (new & rank.compare("EQ", number - 1)).where(number_of_draw, 0)
        return [
            (drawn_before + number).value,
            (count + _reduced("add", new.to(int32), 0, 0)).value,
            found.call("maximum", placed).value,
            last.call("maximum", _reduced("maximum", end, 0, 0)).value,
        ]

    zero = scalar(emitter, 0, int32)
    initial = [scalar(emitter, 0, uint32).value, zero.value, places.to(int32).lift(-1).value, zero.value]
    return emitter.loop(initial, going_on, step)[2:]


def _along(x: Expression, axis: int) -> Expression:
    """A vector of n as a matrix of n by n that varies along `axis`."""
    shape = (x.shape[0], x.shape[0])
    type_ = x.emitter.tensor(shape, x.dtype)
    attributes = {"broadcast_dimensions": integers((axis,))}
    value = x.emitter.create("stablehlo.broadcast_in_dim", type_, [x.value], attributes)
    return Expression(x.emitter, value, shape, x.dtype)


def _reduced(name: str, x: Expression, axis: int, initial: int) -> Expression:
    """x reduced by the op `name` along one axis."""
    emitter, shape = x.emitter, (*x.shape[:axis], *x.shape[axis + 1 :])
    scalar_type = emitter.tensor((), x.dtype)

    def body(pair: Sequence[Value]) -> list[Value]:
        return [emitter.create(f"stablehlo.{name}", scalar_type, pair)]

    start = emitter.scalar(initial, x.dtype)
    (value,) = emitter.reduce([x.value], [start], [axis], [emitter.tensor(shape, x.dtype)], body)
    return Expression(emitter, value, shape, x.dtype)
