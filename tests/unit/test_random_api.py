"""dfc.random: known answers of Threefry, JAX's bits, distributions against SciPy's, generators, gradients."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import dfc
from dfc.backends import reference
from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.ops.random import RandomNext
from dfc.ir.threefry import threefry2x32
from tests.frontend_support import error_of

KEY = dfc.random.key(20)
COUNT = 20_000
LIKELY = 0.001
"""p-values of the right distribution are below this once in a thousand times; the keys here are fixed."""


# ---- bits


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_known_answers_of_threefry(key: Any, counter: Any, expected: Any) -> None:
    """The test vectors that come with Salmon et al.'s Random123 library."""
    high, low = (np.array([word], np.uint32) for word in counter)
    assert tuple(int(word[0]) for word in threefry2x32(np.array(key, np.uint32), high, low)) == expected
    state = np.array([*key, *counter], np.uint32)
    assert tuple(map(int, RandomNext.evaluate([state], {})[0])) == expected


def as_jax(key: Any) -> Any:
    return jax.random.wrap_key_data(jax.numpy.asarray(key.numpy()), impl="threefry2x32")


@pytest.mark.parametrize("seed", [0, 7, 2**32 + 5, -1])
def test_keys_and_bits_are_those_of_jax(seed: int) -> None:
    key = dfc.random.key(seed)
    with jax.enable_x64(True), jax.threefry_partitionable(True):
        assert_array_equal(key.numpy(), jax.random.key_data(jax.random.key(seed)))
        split = jax.random.key_data(jax.random.split(as_jax(key), 5))
        assert_array_equal(dfc.random.split(key, 5).numpy(), split)
        assert_array_equal(dfc.random.fold_in(key, 3).numpy(), jax.random.key_data(jax.random.fold_in(as_jax(key), 3)))
        for dtype in ("uint8", "uint16", "uint32", "uint64"):
            expected = jax.random.bits(as_jax(key), (3, 5), dtype)
            assert_array_equal(dfc.random.bits((3, 5), key=key, dtype=dtype).numpy(), expected)


def test_an_element_depends_on_its_place_alone() -> None:
    whole = dfc.random.normal((100,), key=KEY).numpy()
    assert_array_equal(dfc.random.normal((7,), key=KEY).numpy(), whole[:7])
    assert_array_equal(dfc.random.normal((10, 10), key=KEY).numpy(), whole.reshape(10, 10))


def test_folding_in_is_a_row_of_split() -> None:
    rows = dfc.random.split(KEY, 4).numpy()
    for i, data in enumerate([0, np.int64(1), dfc.asarray(2), 3 - 2**32]):
        assert_array_equal(dfc.random.fold_in(KEY, data).numpy(), rows[i])
    assert dfc.random.fold_in(KEY, 2**32 - 1).numpy().tolist() == dfc.random.fold_in(KEY, -1).numpy().tolist()


# ---- distributions

R = dfc.random
FORMS: dict[str, tuple[Callable[..., Any], Any]] = {
    "uniform": (lambda **k: R.uniform(COUNT, **k), stats.uniform()),
    "uniform, scaled": (lambda **k: R.uniform(COUNT, low=-3, high=5, **k), stats.uniform(-3, 8)),
    "normal": (lambda **k: R.normal(COUNT, **k), stats.norm()),
    "normal, placed": (lambda **k: R.normal(COUNT, mean=4, stddev=0.5, **k), stats.norm(4, 0.5)),
    "truncated normal": (lambda **k: R.truncated_normal(COUNT, **k), stats.truncnorm(-2, 2)),
    "truncated normal, placed": (
        lambda **k: R.truncated_normal(COUNT, lower=-1, upper=3, mean=1, stddev=2, **k),
        stats.truncnorm(-1, 3, 1, 2),
    ),
    "truncated normal, upper tail": (
        lambda **k: R.truncated_normal(COUNT, lower=4, upper=9, **k),
        stats.truncnorm(4, 9),
    ),
    "exponential": (lambda **k: R.exponential(COUNT, scale=2.5, **k), stats.expon(scale=2.5)),
    "gumbel": (lambda **k: R.gumbel(COUNT, loc=1, scale=2, **k), stats.gumbel_r(1, 2)),
    "laplace": (lambda **k: R.laplace(COUNT, loc=1, scale=2, **k), stats.laplace(1, 2)),
    "logistic": (lambda **k: R.logistic(COUNT, loc=1, scale=2, **k), stats.logistic(1, 2)),
    "cauchy": (lambda **k: R.cauchy(COUNT, loc=1, scale=2, **k), stats.cauchy(1, 2)),
    "lognormal": (lambda **k: R.lognormal(COUNT, mean=0.5, sigma=0.25, **k), stats.lognorm(0.25, scale=np.exp(0.5))),
    "rayleigh": (lambda **k: R.rayleigh(COUNT, scale=2, **k), stats.rayleigh(scale=2)),
    "weibull": (lambda **k: R.weibull(1.5, COUNT, scale=2, **k), stats.weibull_min(1.5, scale=2)),
    "gamma, small": (lambda **k: R.gamma(0.3, COUNT, **k), stats.gamma(0.3)),
    "gamma": (lambda **k: R.gamma(4.5, COUNT, scale=2, **k), stats.gamma(4.5, scale=2)),
    "chisquare": (lambda **k: R.chisquare(3, COUNT, **k), stats.chi2(3)),
    "student t": (lambda **k: R.student_t(4, COUNT, **k), stats.t(4)),
    "beta": (lambda **k: R.beta(2, 0.5, COUNT, **k), stats.beta(2, 0.5)),
    "dirichlet": (lambda **k: R.dirichlet([0.5, 1.5, 2.0], COUNT, **k)[:, 0], stats.beta(0.5, 3.5)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FORMS)
def test_distribution(name: str, dtype: str) -> None:
    draw, law = FORMS[name]
    x = draw(key=KEY, dtype=dtype).numpy()
    assert (x.dtype, x.shape) == (dtype, (COUNT,))
    assert stats.kstest(x, law.cdf).pvalue > LIKELY
    low, high = law.support()
    assert low <= x.min() and x.max() <= high


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_floats_have_the_moments(dtype: str) -> None:
    u, z = (draw(COUNT, key=KEY, dtype=dtype) for draw in (R.uniform, R.normal))
    assert (u.dtype, z.dtype) == (dtype, dtype)
    u, z = (x.numpy().astype(np.float64) for x in (u, z))
    assert u.min() >= 0 and u.max() < 1
    assert abs(u.mean() - 0.5) < 0.01 and abs(u.var() - 1 / 12) < 0.005
    assert abs(z.mean()) < 0.03 and abs(z.var() - 1) < 0.05


def chi_square(observed: Any, probabilities: Any) -> float:
    return float(stats.chisquare(observed, np.asarray(probabilities) * np.sum(observed)).pvalue)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "uint64"])
def test_integers_are_equally_likely(dtype: str) -> None:
    low = 0 if dtype.startswith("u") else -3
    x = R.integers(low, low + 7, COUNT, key=KEY, dtype=dtype).numpy()
    assert x.dtype == dtype
    assert chi_square(np.bincount((x - low).astype(int), minlength=7), np.full(7, 1 / 7)) > LIKELY


def test_large_ranges_of_integers_favour_none() -> None:
    """With range 3/4 2^64 a remainder of 64 bits would give the first third of the numbers twice as often."""
    x = R.integers(0, dfc.asarray(np.uint64(3 * 2**62)), COUNT, key=KEY).numpy()
    assert chi_square(np.bincount((x >> np.uint64(62)).astype(int)), np.full(3, 1 / 3)) > LIKELY


def test_permutations_are_equally_likely() -> None:
    rows = R.permutation((6000, 3), key=KEY).numpy()
    counts = [int((rows == order).all(axis=1).sum()) for order in permutations(range(3))]
    assert sum(counts) == 6000
    assert chi_square(counts, np.full(6, 1 / 6)) > LIKELY
    assert sorted(R.permutation(50, key=KEY, dtype="int64").numpy().tolist()) == list(range(50))


def test_shuffling_moves_whole_parts() -> None:
    x = np.arange(24).reshape(3, 8)
    order = R.permutation(8, key=KEY).numpy()
    assert_array_equal(R.shuffle(x, key=KEY, axis=1).numpy(), x[:, order])
    assert_array_equal(R.shuffle(x, key=KEY).numpy(), x[R.permutation(3, key=KEY).numpy()])


def test_choice_has_its_probabilities() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.4])
    drawn = R.choice(4, COUNT, key=KEY, p=p).numpy()
    assert chi_square(np.bincount(drawn, minlength=4), p) > LIKELY
    assert chi_square(np.bincount(R.choice(4, COUNT, key=KEY).numpy(), minlength=4), np.full(4, 0.25)) > LIKELY
    names = np.array([10, 20, 30, 40])
    assert_array_equal(R.choice(names, (2, 3), key=KEY, p=p).numpy(), names[R.choice(4, (2, 3), key=KEY, p=p).numpy()])


def test_choice_without_replacement() -> None:
    assert sorted(R.choice(6, (2, 3), key=KEY, replace=False).numpy().ravel().tolist()) == list(range(6))
    p = np.array([0.5, 0.3, 0.2])

    @dfc.function
    def pair(number: Any) -> Any:
        return R.choice(3, 2, key=R.fold_in(KEY, number), replace=False, p=p)

    pairs = [tuple(pair(np.int32(i)).numpy().tolist()) for i in range(600)]
    orders = list(permutations(range(3), 2))
    expected = [p[a] * p[b] / (1 - p[a]) for a, b in orders]
    assert chi_square([pairs.count(order) for order in orders], expected) > LIKELY


def test_bernoulli_and_categorical_have_their_probabilities() -> None:
    hits = R.bernoulli([0.0, 0.3, 1.0], (COUNT, 3), key=KEY).numpy()
    assert hits[:, 0].sum() == 0 and hits[:, 2].sum() == COUNT
    assert chi_square([hits[:, 1].sum(), COUNT - hits[:, 1].sum()], [0.3, 0.7]) > LIKELY
    p = np.array([0.1, 0.2, 0.3, 0.4])
    logits = np.log(np.stack([p, p[::-1]])).astype(np.float32)
    drawn = R.categorical(logits, (COUNT, 2), key=KEY).numpy()
    for column, expected in ((0, p), (1, p[::-1])):
        assert chi_square(np.bincount(drawn[:, column]), expected) > LIKELY
    across = R.categorical(logits.T, key=KEY, axis=0, dtype="int64")
    assert (across.shape, across.dtype) == ((2,), "int64")


@pytest.mark.parametrize("rate", [0.2, 4.0, 9.5, 11.0, 60.0])
def test_poisson_has_its_probabilities(rate: float) -> None:
    x = R.poisson(rate, COUNT, key=KEY).numpy()
    law = stats.poisson(rate)
    low, high = int(law.ppf(0.001)), int(law.ppf(0.999))
    observed = np.bincount(np.clip(x, low, high) - low, minlength=high - low + 1)
    probabilities = law.pmf(np.arange(low, high + 1))
    probabilities[0], probabilities[-1] = law.cdf(low), law.sf(high - 1)
    assert chi_square(observed, probabilities) > LIKELY


def test_large_rates_and_alphas_have_the_moments() -> None:
    x = R.poisson(1e6, COUNT, key=KEY, dtype="int64").numpy()
    assert abs(x.mean() - 1e6) < 5 * 1e3 / np.sqrt(COUNT) and abs(x.std() / 1e3 - 1) < 0.03
    g = R.gamma(1e6, COUNT, key=KEY, dtype="float64").numpy()
    assert abs(g.mean() - 1e6) < 5 * 1e3 / np.sqrt(COUNT) and abs(g.std() / 1e3 - 1) < 0.03


def test_parameters_broadcast_to_the_shape() -> None:
    mean = np.array([0.0, 100.0], np.float64)
    x = R.normal((500, 2), key=KEY, mean=mean)
    assert (x.shape, x.dtype) == ((500, 2), "float64")
    assert_allclose(x.numpy().mean(axis=0), mean, atol=0.3)
    assert R.normal(key=KEY, mean=mean).shape == (2,)
    assert R.normal(key=KEY).shape == ()
    assert R.integers(5, key=KEY).shape == () and R.integers([5, 6, 7], key=KEY).shape == (3,)


def test_uniform_never_gives_the_upper_bound() -> None:
    x = R.uniform(COUNT, key=KEY, low=1e6, high=1e6 + 0.125, dtype="float32").numpy()
    assert set(x.tolist()) == {1e6, 1e6 + 0.0625}


# ---- generators


@pytest.fixture
def seeded() -> None:
    dfc.random.seed(5)


def test_a_seed_makes_a_run_repeatable(seeded: None) -> None:
    def run() -> list[np.ndarray[Any, Any]]:
        draws = (R.normal(3), R.uniform((2, 2)), R.integers(100, shape=4), R.normal(3), R.permutation(9))
        return [x.numpy() for x in draws]

    first, second = run(), run()
    dfc.random.seed(5)
    for a, again in zip(first, run(), strict=True):
        assert_array_equal(a, again)
    assert all((a != b).any() for a, b in zip(first, second, strict=True))
    assert (first[0] != first[3]).any()


def test_steps_draw_the_numbers_that_single_calls_draw(seeded: None) -> None:
    singles = [R.normal(3).numpy() for _ in range(6)]
    dfc.random.seed(5)

    @dfc.function
    def step() -> Any:
        return R.normal(3), R.normal(3), R.normal(3)

    assert_array_equal([x.numpy() for _ in range(2) for x in step()], singles)


def test_equal_draws_are_never_merged_and_nothing_is_folded() -> None:
    generator = R.Generator(1)

    @dfc.function
    def step() -> Any:
        return R.normal(2, key=generator.key()), R.normal(2, key=generator.key())

    a, b = step()
    c, d = step()
    assert len({tuple(x.numpy().tolist()) for x in (a, b, c, d)}) == 4
    assert generator.state.numpy().tolist() == [0, 1, 0, 4]


def test_generators_have_names_of_their_own() -> None:
    first, second = R.Generator(1), R.Generator(1)
    assert first.state.name != second.state.name and first.state.name.startswith("generator")
    assert R.Generator(1, name="noise").state.name == "noise"
    assert_array_equal(first.key().numpy(), second.key().numpy())


def test_seeding_inside_a_step_happens_there() -> None:
    @dfc.function
    def step() -> Any:
        before = R.bits(2)
        dfc.random.seed(5)
        return before, R.bits(2)

    (first, a), (second, b) = step(), step()
    assert_array_equal(a.numpy(), b.numpy())
    assert (first.numpy() != second.numpy()).any()


def test_draws_in_nested_functions_are_in_order() -> None:
    generator = R.Generator(1)

    @dfc.function
    def inner() -> Any:
        return R.bits(1, key=generator.key())

    @dfc.function
    def outer() -> Any:
        return inner(), R.bits(1, key=generator.key()), inner()

    nested = [int(x.numpy()[0]) for x in outer()]
    generator.seed(1)
    assert nested == [int(R.bits(1, key=generator.key()).numpy()[0]) for _ in range(3)]


def test_a_function_of_a_key_is_a_pure_function() -> None:
    @dfc.function
    def f(key: Any) -> Any:
        first, second = R.split(key)
        return R.normal(4, key=first), R.normal(4, key=first), R.normal(4, key=second)

    a, b, c = f(KEY)
    assert_array_equal(a.numpy(), b.numpy())
    assert (a.numpy() != c.numpy()).all()
    assert not f.graph(KEY).variables


def test_threads_never_draw_the_same_numbers() -> None:
    generator, found, lock = R.Generator(3), list[tuple[int, ...]](), threading.Lock()

    @dfc.function
    def step() -> Any:
        return R.bits(2, key=generator.key())

    def work() -> None:
        for i in range(100):
            x = step() if i % 2 else R.bits(2, key=generator.key())
            with lock:
                found.append(tuple(x.numpy().tolist()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(found)) == len(found) == 400
    assert generator.state.numpy().tolist()[3] == 400


def test_the_state_is_saved_and_restored(tmp_path: Path) -> None:
    generator = R.Generator(9, name="noise")
    generator.key()
    saver = dfc.train.Saver([generator.state])
    path = saver.save(tmp_path, 1)
    expected = R.normal(3, key=generator.key()).numpy()
    generator.seed(0)
    saver.restore(path)
    assert_array_equal(R.normal(3, key=generator.key()).numpy(), expected)


def test_the_default_generator_is_a_variable_of_the_step(seeded: None) -> None:
    with dfc.name_scope("layer"):
        graph = dfc.function(lambda: R.normal(3)).graph()
    assert list(graph.variables) == ["random_generator"]
    (variable,) = graph.variables.values()
    assert variable is dfc.random.default_generator().state and not variable.trainable


def test_an_exported_entry_carries_its_generator(tmp_path: Path) -> None:
    generator = R.Generator(4, name="noise")

    @dfc.function(signature=[dfc.TensorSpec(("b", 2), name="x")])
    def noisy(x: Any) -> Any:
        return x + R.normal(x.shape, key=generator.key())

    generator.key()
    path = tmp_path / "model.dfc"
    dfc.compile([noisy], batch=[3]).save(path)
    x = np.zeros((3, 2), np.float32)
    here = [noisy(x).numpy() for _ in range(2)]
    model = dfc.load(path)
    assert_array_equal([np.asarray(model.noisy(x=x)) for _ in range(2)], here)
    assert_array_equal(np.asarray(dfc.load(path).noisy(x=x)), here[0])  # a model starts where it was saved


def test_symbolic_batches_draw_the_same_as_static_ones() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b", 3)), dfc.TensorSpec((2,), "uint32")])
    def f(x: Any, key: Any) -> Any:
        keys = R.split(key, 5)
        order = R.permutation(x.shape[0], key=keys[4])
        return R.normal(x.shape, key=keys[0]), R.gamma(x, key=keys[1]), R.bernoulli(x, key=keys[2]), order

    keys = R.split(KEY, 5)
    for batch in (2, 5):
        x = np.full((batch, 3), 0.5, np.float32)
        normal, gamma, bernoulli, order = (y.numpy() for y in f(x, KEY))
        assert_array_equal(normal, R.normal((batch, 3), key=keys[0]).numpy())
        assert_array_equal(gamma, R.gamma(0.5, (batch, 3), key=keys[1]).numpy())
        assert_array_equal(bernoulli, R.bernoulli(0.5, (batch, 3), key=keys[2]).numpy())
        assert_array_equal(order, R.permutation(batch, key=keys[4]).numpy())


def test_reference_and_device_agree_to_the_bit() -> None:
    @dfc.function
    def f(key: Any) -> Any:
        return (
            R.uniform(1000, key=key),
            R.bernoulli(0.25, 1000, key=key),
            R.integers(-5, 1000, 1000, key=key),
            R.permutation(1000, key=key),
            R.bits(1000, key=key),
        )

    graph = f.graph(KEY)
    for got, expected in zip(f(KEY), reference.run(graph.module, [KEY.numpy()])[0], strict=True):
        assert_array_equal(got.numpy(), expected)


# ---- gradients


def test_gradients_flow_to_location_and_scale_and_not_to_keys() -> None:
    @dfc.function
    def f(mean: Any, stddev: Any, low: Any, high: Any, key: Any) -> Any:
        z = R.normal(100, key=key, mean=mean, stddev=stddev)
        u = R.uniform(100, key=key, low=low, high=high)
        return z, u, dfc.gradients(z, [mean, stddev, key]), dfc.gradients(u, [low, high])

    z, u, (by_mean, by_stddev, by_key), (by_low, by_high) = f(*map(np.float32, (1.0, 2.0, -1.0, 3.0)), KEY)
    assert by_key is None
    assert_allclose(by_mean.numpy(), 100)
    assert_allclose(by_stddev.numpy(), ((z.numpy() - 1) / 2).sum(), rtol=1e-4, atol=1e-4)
    part = (u.numpy() + 1) / 4
    assert_allclose([by_low.numpy(), by_high.numpy()], [(1 - part).sum(), part.sum()], rtol=1e-5)


# ---- errors


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: R.key("a"), InvalidType, "key: a seed is an int, got 'a'"),
        (lambda: R.key(2**64), InvalidArgument, f"key: a seed must have at most 64 bits, got {2**64}"),
        (lambda: R.split(KEY, 1.5), InvalidType, "split: the number of keys is an int, got 1.5"),
        (lambda: R.fold_in(KEY, [1, 2]), InvalidType, "fold_in: data must be an integer scalar, got int32[2]"),
        (
            lambda: R.normal(3, key=[1, 2]),
            InvalidType,
            "random_normal: the key must be uint32[2], got int32[2] [C1]",
        ),
        (
            lambda: R.normal(3, key=KEY, dtype="int32"),
            InvalidType,
            "random_normal: the dtype must be float, got int32 [C2]",
        ),
        (
            lambda: R.uniform(-1, key=KEY),
            InvalidArgument,
            "random_uniform: sizes must not be negative, got (-1) [C3]",
        ),
        (
            lambda: R.normal((2, 3), key=KEY, mean=[1.0, 2.0]),
            InvalidArgument,
            "normal: shapes (2, 3) and (2) don't broadcast: 3 and 2 differ, and neither is 1",
        ),
        (
            lambda: R.normal((1,), key=KEY, mean=[1.0, 2.0]),
            InvalidArgument,
            "normal: the parameters' shape (2) must broadcast to the shape (1)",
        ),
        (
            lambda: R.integers(1.5, key=KEY),
            InvalidType,
            "integers: bounds and dtype must be integers, got int32 and float32 and int32",
        ),
        (
            lambda: R.integers(0, 300, key=KEY, dtype="uint8"),
            InvalidArgument,
            "integers: 300 is outside the range of uint8, 0 to 255",
        ),
        (
            lambda: R.choice(3, 4, key=KEY, replace=False),
            InvalidArgument,
            "choice: 3 parts can't give 4 without repetition",
        ),
        (lambda: R.choice(3, key=KEY, p=[0.5, 0.5]), InvalidArgument, "choice: p must have shape (3), got (2)"),
        (
            lambda: R.categorical(1.0, key=KEY),
            InvalidType,
            "categorical: logits must be floating with at least one axis, got float32[]",
        ),
    ],
)
def test_errors(call: Callable[[], Any], kind: Any, message: str) -> None:
    assert error_of(kind, call, __file__) == message
