"""What stands around optimisers: schedules, clipping, accumulation, loss scaling, L-BFGS, steps under a condition."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.errors import InvalidArgument

RNG = np.random.default_rng(3)
schedules = dfc.train.schedules

# ---- schedules


def at(schedule: Any, steps: list[int]) -> list[float]:
    run = dfc.function(lambda step: schedule(step))
    return [float(run(np.int32(step)).item()) for step in steps]


def test_polynomial_decay() -> None:
    schedule = schedules.PolynomialDecay(1.0, steps=100, end=0.01, power=2)
    expected = [0.99 * (1 - min(t, 100) / 100) ** 2 + 0.01 for t in (0, 1, 50, 99, 100, 1000)]
    assert_allclose(at(schedule, [0, 1, 50, 99, 100, 1000]), expected, rtol=1e-5)


def test_exponential_decay() -> None:
    assert_allclose(
        at(schedules.ExponentialDecay(2.0, 10, 0.5), [0, 5, 10, 25]), [2, 2 * 0.5**0.5, 1, 2 * 0.5**2.5], 1e-5
    )
    assert_allclose(at(schedules.ExponentialDecay(2.0, 10, 0.5, staircase=True), [0, 9, 10, 25]), [2, 2, 1, 0.5], 1e-6)
    assert_allclose(at(schedules.ExponentialDecay(2.0, 10, 0.5, end=0.8), [10, 100]), [1, 0.8], 1e-6)
    assert_allclose(at(schedules.ExponentialDecay(2.0, 10, 2.0, end=5.0), [10, 100]), [4, 5], 1e-6)


def test_cosine_decay() -> None:
    expected = [3 * (0.9 * 0.5 * (1 + math.cos(math.pi * min(t, 20) / 20)) + 0.1) for t in (0, 7, 20, 21)]
    assert_allclose(at(schedules.CosineDecay(3.0, 20, alpha=0.1), [0, 7, 20, 21]), expected, rtol=1e-5)


def test_piecewise_constant() -> None:
    schedule = schedules.PiecewiseConstant([10, 20], [1.0, 0.1, 0.01])
    assert_allclose(at(schedule, [0, 9, 10, 19, 20, 99]), [1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)


def test_warmup() -> None:
    schedule = schedules.Warmup(10, schedules.ExponentialDecay(1.0, 5, 0.5))
    assert_allclose(at(schedule, [0, 5, 10, 15, 20]), [0, 0.5, 1, 0.5, 0.25], rtol=1e-5)
    assert_allclose(at(schedules.Warmup(4, 0.8), [0, 1, 4, 9]), [0, 0.2, 0.8, 0.8], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.CosineDecay(1.0, 0), "CosineDecay: steps must be positive, got 0"),
        (
            lambda: schedules.PiecewiseConstant([2, 1], [1, 2, 3]),
            "PiecewiseConstant: boundaries must ascend, got (2, 1)",
        ),
        (
            lambda: schedules.PiecewiseConstant([1], [1.0]),
            "PiecewiseConstant: one value more than boundaries is needed, got (1.0,) for (1,)",
        ),
    ],
)
def test_a_schedule_checks_its_numbers(make: Any, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        make()
    assert str(caught.value).splitlines()[0] == message
    assert f"  at {__file__}:" in str(caught.value)


@pytest.mark.parametrize("traced", [True, False])
def test_an_optimizer_follows_its_schedule(traced: bool) -> None:
    w = dfc.Variable(0.0, name="w")
    optimizer = dfc.train.SGD(schedules.PiecewiseConstant([2], [1.0, 0.25]))

    def apply(g: Any) -> None:
        optimizer.apply_gradients([(g, w)])

    step, seen = dfc.function(apply) if traced else apply, []
    for _ in range(4):
        step(np.float32(1))
        seen.append(w.item())
    assert seen == [-1, -2, -2.25, -2.5]
    assert optimizer.iterations.item() == 4
    assert [v.name for v in optimizer.variables] == ["w/SGD_iterations"]


def test_outside_a_trace_a_new_learning_rate_takes_effect_and_needs_no_new_program() -> None:
    w, optimizer = dfc.Variable(0.0), dfc.train.SGD(1.0)
    for rate in (1.0, 100.0, 0.5):
        optimizer.learning_rate = rate
        optimizer.apply_gradients([(np.float32(1), w)])
    assert w.item() == -101.5
    assert "traced 1 times" in repr(optimizer._outside)


def test_a_setting_that_changes_takes_effect() -> None:
    w, optimizer = dfc.Variable(0.0), dfc.train.Momentum(1.0, momentum=0.5)
    optimizer.apply_gradients([(np.float32(1), w)])
    optimizer.momentum = 0.0
    optimizer.apply_gradients([(np.float32(1), w)])
    assert w.item() == -2


@pytest.mark.parametrize("rate", ["a", None, [0.1]])
def test_a_learning_rate_must_be_one(rate: Any) -> None:
    with pytest.raises(InvalidArgument, match="SGD: learning_rate must be a number, a tensor, a Variable or"):
        dfc.train.SGD(rate)


# ---- clipping (row G6)


def test_g6_clip_by_value_and_its_gradient() -> None:
    x = np.array([-2.0, -1.0, 0.5, 3.0, np.nan, -np.inf], np.float32)
    y, grad = (
        dfc.train.clip_by_value(x, -1.5, 2.0),
        dfc.grad(lambda x: dfc.sum(dfc.train.clip_by_value(x, -1.5, 2.0)))(x),
    )
    assert_array_equal(y.numpy(), np.clip(x, -1.5, 2.0))
    assert_array_equal(grad.numpy()[:4], [0, 1, 1, 0])


@pytest.mark.parametrize("axis", [None, 1])
def test_g6_clip_by_norm_and_its_gradient(axis: int | None) -> None:
    x = RNG.normal(size=(3, 4))

    def plain(x: Any) -> Any:
        norm = np.sqrt(np.sum(x * x, axis=axis, keepdims=True))
        return x * np.minimum(1, 1.2 / norm)

    assert_allclose(dfc.train.clip_by_norm(x, 1.2, axis=axis).numpy(), plain(x), rtol=1e-12)
    weights, step = RNG.normal(size=(3, 4)), 1e-6
    got = dfc.grad(lambda x: dfc.sum(dfc.train.clip_by_norm(x, 1.2, axis=axis) * weights))(x).numpy()
    for index in np.ndindex(3, 4):
        moved = np.zeros((3, 4))
        moved[index] = step
        slope = np.sum((plain(x + moved) - plain(x - moved)) * weights) / (2 * step)
        assert_allclose(got[index], slope, rtol=1e-6, atol=1e-8)


def test_g6_clip_by_norm_at_zero() -> None:
    x = np.zeros(3, np.float32)
    assert dfc.train.clip_by_norm(x, 1.0).numpy().tolist() == [0, 0, 0]
    assert dfc.grad(lambda x: dfc.sum(dfc.train.clip_by_norm(x, 1.0)))(x).numpy().tolist() == [1, 1, 1]


def test_g6_clip_by_global_norm() -> None:
    grads = [RNG.normal(size=(3,)), None, RNG.normal(size=(2, 2))]
    norm = math.sqrt(sum(float(np.sum(g * g)) for g in grads if g is not None))
    clipped, got = dfc.train.clip_by_global_norm(grads, 0.5)
    assert_allclose(got.item(), norm, rtol=1e-12)
    assert clipped[1] is None
    for result, g in zip(clipped, grads, strict=True):
        if g is not None and result is not None:
            assert_allclose(result.numpy(), g * 0.5 / norm, rtol=1e-12)
    same, _ = dfc.train.clip_by_global_norm(grads, norm * 2)
    assert_allclose(same[0].numpy(), grads[0], rtol=1e-15)
    bad, _ = dfc.train.clip_by_global_norm([np.array([1.0, np.inf]), np.array([2.0])], 1.0)
    assert np.isnan(bad[0].numpy()).all() and np.isnan(bad[1].numpy()).all()
    with pytest.raises(InvalidArgument, match="global_norm: at least one gradient is needed"):
        dfc.train.global_norm([None])


# ---- under a condition


@pytest.mark.parametrize("make", [lambda: dfc.train.SGD(0.5), lambda: dfc.train.Adam(0.1)])
def test_a_step_may_depend_on_a_condition(make: Any) -> None:
    w, plain = dfc.Variable([1.0, 2.0], name="w"), dfc.Variable([1.0, 2.0], name="w")
    conditional, always = make(), make()

    @dfc.function
    def step(g: Any, when: Any) -> None:
        conditional.apply_gradients([(g, w)], when=when)

    for i, when in enumerate([False, True, False, True, True]):
        g = np.float32([i + 1, -1])
        step(g, np.bool_(when))
        if when:
            always.apply_gradients([(g, plain)])
        assert_allclose(w.numpy(), plain.numpy(), rtol=1e-6)
    for got, expected in zip(conditional.variables, always.variables, strict=True):
        assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6)


# ---- accumulation


def test_accumulated_gradients_equal_one_large_batch() -> None:
    w, whole = dfc.Variable([1.0, -1.0], name="w"), dfc.Variable([1.0, -1.0], name="w")
    optimizer, single = dfc.train.Accumulate(dfc.train.Adam(0.1), every=3), dfc.train.Adam(0.1)
    step = dfc.function(lambda g: _apply(optimizer, g, w))
    grads = RNG.normal(size=(6, 2)).astype(np.float32)
    for i, g in enumerate(grads):
        before = w.numpy()
        step(g)
        if i % 3 < 2:
            assert_array_equal(w.numpy(), before)
        else:
            single.apply_gradients([(grads[i - 2 : i + 1].mean(0), whole)])
            assert_allclose(w.numpy(), whole.numpy(), rtol=1e-6)
    with pytest.raises(InvalidArgument, match="Accumulate: every must be at least 1, got 0"):
        dfc.train.Accumulate(dfc.train.SGD(0.1), every=0)


def _apply(optimizer: Any, g: Any, w: dfc.Variable) -> None:
    optimizer.apply_gradients([(g, w)])


# ---- loss scaling


def test_loss_scaling_keeps_small_gradients_and_leaves_out_bad_steps() -> None:
    w = dfc.Variable(np.float32(1.0), name="w")
    optimizer = dfc.train.LossScale(dfc.train.SGD(1.0), initial=2.0**12, growth_interval=2)

    @dfc.function
    def step(x: Any) -> None:
        optimizer.minimize(dfc.astype(w, "float16") * x, [w])

    step(np.float16(0.5))
    assert (w.item(), optimizer.scale.item()) == (0.5, 2.0**12)
    step(np.float16(np.inf))
    assert (w.item(), optimizer.scale.item()) == (0.5, 2.0**11)
    for _ in range(2):
        step(np.float16(0.125))
    assert (w.item(), optimizer.scale.item()) == (0.25, 2.0**12)


def test_a_gradient_too_small_for_float16_is_seen_only_with_the_scale() -> None:
    def after(optimizer: Any) -> float:
        w = dfc.Variable(np.float32(0.0), name="w")

        @dfc.function
        def step(x: Any) -> None:
            optimizer.minimize(dfc.astype(w, "float16") * x * x, [w])  # its gradient is 0 in float16

        step(np.float16(2.0**-14))
        return float(w.item())

    assert after(dfc.train.SGD(1.0)) == 0
    assert after(dfc.train.LossScale(dfc.train.SGD(1.0))) == -(2.0**-28)


# ---- L-BFGS


def test_lbfgs_steps_equal_optax() -> None:
    optax = pytest.importorskip("optax", reason="optax, the peer, is not installed: pip install optax")
    import jax
    import jax.numpy as jnp

    start, scale = RNG.normal(size=(4, 3)), RNG.uniform(0.2, 3.0, size=(4, 3))
    w, optimizer = dfc.Variable(start, name="w"), dfc.train.LBFGS(0.3, memory=5)

    @dfc.function
    def step(g: Any) -> None:
        optimizer.apply_gradients([(g, w)])

    def gradient(w: Any) -> Any:
        return scale * w + 0.1 * np.sin(3 * w)

    with jax.enable_x64(True):
        peer = optax.chain(optax.scale_by_lbfgs(memory_size=5), optax.scale(-0.3))
        x = jnp.asarray(start)
        state = peer.init(x)
        for i in range(50):
            updates, state = peer.update(jnp.asarray(gradient(np.asarray(x))), state, x)
            x = optax.apply_updates(x, updates)
            step(gradient(w.numpy()))
            assert_allclose(w.numpy(), np.asarray(x), rtol=1e-7, atol=1e-9, err_msg=f"step {i}")


def test_lbfgs_finds_the_minimum_of_a_curved_valley() -> None:
    """Rosenbrock's function from its usual start; the minimum is (1, 1)."""
    x, y = dfc.Variable(np.float64(-1.2), name="x"), dfc.Variable(np.float64(1.0), name="y")
    optimizer = dfc.train.LBFGS()

    def loss() -> Any:
        return (1 - x) ** 2 + 100 * (y - x * x) ** 2

    @dfc.function
    def step() -> Any:
        optimizer.minimize(loss, [x, y])
        return loss()

    losses = [float(step().item()) for _ in range(60)]
    assert all(after <= before for before, after in itertools.pairwise(losses))
    assert_allclose([x.item(), y.item()], [1, 1], atol=1e-6)


def test_lbfgs_keeps_to_its_variables() -> None:
    a, b, n = dfc.Variable(1.0, name="a"), dfc.Variable(1.0, name="b"), dfc.Variable(1, name="n")
    optimizer = dfc.train.LBFGS()
    dfc.function(lambda: _minimize(optimizer, lambda: a * a, [a]))()
    with pytest.raises(InvalidArgument, match="LBFGS: an optimiser keeps to its variables, a, got b"):
        dfc.function(lambda: _minimize(optimizer, lambda: b * b, [b]))()
    with pytest.raises(InvalidArgument, match="LBFGS: the loss must be a function of no arguments"):
        dfc.function(lambda: _minimize(optimizer, a * a, [a]))()
    with pytest.raises(
        InvalidArgument, match="LBFGS: the variables must have one floating dtype, got a float32, n int32"
    ):
        dfc.function(lambda: _minimize(dfc.train.LBFGS(), lambda: a * a, [a, n]))()


def _minimize(optimizer: Any, loss: Any, variables: Any) -> None:
    optimizer.minimize(loss, variables)


def test_clip_by_value_and_its_gradient_at_the_bounds() -> None:
    @dfc.function
    def clipped(x: Any, low: Any, high: Any) -> Any:
        y = dfc.train.clip_by_value(x, low, high)
        other = dfc.nn.clip(x, low, high)
        return y, dfc.gradients(y, [x, low, high]), dfc.gradients(other, [x, low, high])

    x = np.array([-3.0, -1.0, 0.0, 2.0, 5.0, 7.0])
    y, by, others = clipped(x, np.float64(-1), np.float64(2))
    assert y.numpy().tolist() == [-1, -1, 0, 2, 2, 2]
    assert [t.numpy().tolist() for t in by] == [[0, 1, 1, 1, 0, 0], 1, 2]
    assert [t.numpy().tolist() for t in others] == [t.numpy().tolist() for t in by]
    y, by, _ = clipped(x, np.float64(3), np.float64(1))  # crossed: high holds everywhere
    assert y.numpy().tolist() == [1] * 6
    assert [t.numpy().tolist() for t in by] == [[0] * 6, 0, 6]
    assert np.isnan(dfc.train.clip_by_value(np.array([np.nan]), 0, 1).numpy()).all()
    assert dfc.train.clip_by_value(np.array([[1, 9], [-4, 3]]), 0, np.array([2, 3])).numpy().tolist() == [
        [1, 3],
        [0, 3],
    ]


# ---- found by use


def test_adam_trains_variables_of_16_bits() -> None:
    for dtype in ("bfloat16", "float16"):
        w, wide = dfc.Variable([1.0, 1.0], dtype=dtype), dfc.Variable([1.0, 1.0])
        optimizer, peer = dfc.train.Adam(0.1), dfc.train.Adam(0.1)
        for _ in range(3):
            optimizer.apply_gradients([(dfc.astype(np.float32([2, 0]), dtype), w)])
            peer.apply_gradients([(np.float32([2, 0]), wide)])
        assert_allclose(w.numpy().astype(np.float32), wide.numpy(), rtol=0.02)


@pytest.mark.parametrize("rows", [10, 1000])
def test_rows_that_do_not_exist_change_nothing(rows: int) -> None:
    table, optimizer = dfc.Variable(np.zeros((rows, 2), np.float32)), dfc.train.Momentum(1.0, 0.0)

    @dfc.function
    def step(ids: Any) -> Any:
        (gradient,) = dfc.gradients(dfc.sum(dfc.take(table, ids, axis=0)), [table])
        optimizer.apply_gradients([(gradient, table)])
        return dfc.train.global_norm([gradient])

    norm = step(np.array([3, -1, 5, -1, rows], np.int32)).item()
    assert_allclose(norm, 2.0, rtol=1e-6)
    expected = np.zeros((rows, 2))
    expected[[3, 5]] = -1
    assert_array_equal(table.numpy(), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: dfc.train.Adam(schedules.ExponentialDecay(0.1, 2, 0.5)),
        lambda: dfc.train.Accumulate(dfc.train.Momentum(0.1), 2),
        lambda: dfc.train.LossScale(dfc.train.Adam(0.1)),
        lambda: dfc.train.LBFGS(0.1, memory=3),
    ],
)
@pytest.mark.parametrize("built", [True, False])
def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(make: Any, built: bool, tmp_path: Any) -> None:
    def model() -> tuple[Any, Any, Any]:
        w, optimizer = dfc.Variable(np.float32([1.0, -2.0]), name="w"), make()

        @dfc.function
        def step(x: Any) -> None:
            loss = dfc.sum(dfc.square(w - x))
            if isinstance(optimizer, dfc.train.LBFGS):
                optimizer.apply_gradients(zip(dfc.gradients(loss, [w]), [w], strict=True))
            else:
                optimizer.minimize(loss, [w])

        return w, optimizer, step

    w, optimizer, step = model()
    for i in range(5):
        step(np.float32([i, 1]))
    path = dfc.train.Saver([w, *optimizer.variables]).save(tmp_path, 5)
    again, other, resumed = model()
    if built:
        state = other.build([again])
        assert sorted(v.name for v in state) == sorted(v.name for v in optimizer.variables)
        assert again.numpy().tolist() == [1, -2]
        dfc.train.Saver([again, *state]).restore(path)
    else:
        dfc.train.Saver([again, other]).restore(path)
    for i in range(4):
        step(np.float32([1, i]))
        resumed(np.float32([1, i]))
        assert_array_equal(again.numpy(), w.numpy())


def test_accumulation_in_mixed_precision() -> None:
    w, scale = dfc.Variable(np.float32(1.0), name="w"), 2.0**12
    optimizer = dfc.train.LossScale(dfc.train.Accumulate(dfc.train.SGD(1.0), 2), initial=scale)

    @dfc.function
    def step(x: Any) -> None:
        optimizer.minimize(dfc.astype(w, "float16") * x, [w])

    seen = []
    for x in (0.25, np.inf, 0.5, 0.125, 0.125):
        step(np.float16(x))
        seen.append(w.item())
    assert seen == [1, 1, 0.625, 0.625, 0.5]
    with pytest.raises(InvalidArgument, match="Accumulate takes an optimiser, got <dfc"):
        dfc.train.Accumulate(dfc.train.LossScale(dfc.train.SGD(1.0)), 2)


def test_lbfgs_leaves_a_hilltop() -> None:
    w, optimizer = dfc.Variable(np.float64(0.1), name="w"), dfc.train.LBFGS()
    step = dfc.function(lambda: _minimize(optimizer, lambda: dfc.cos(w), [w]))
    for _ in range(25):
        step()
    assert_allclose(w.item(), np.pi, rtol=1e-6)
