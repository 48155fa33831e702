"""Row L10 with loops and branches: steps on variables in the host's memory whose parts don't fit the device either."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import dfc
from dfc.errors import ResourceExhausted
from dfc.runtime.memory import Account

LAYERS = 6
WIDTH = 64
UNIT = 4 * WIDTH * WIDTH
"""Bytes of one layer's weights."""
BATCH = 9
ROW = 4 * WIDTH * BATCH
"""Bytes of a batch, of which each layer keeps one an iteration."""
HERE = "test_l10_offload_loops.py"
ROUNDS = (3, 0, 40, 5)  # more than there is room for at first, too


class Model(NamedTuple):
    """Layers that are gone through again and again, how often is known when the step runs; and an optimiser."""

    graph: dfc.Graph
    loss: Any
    train: Any
    init: Any
    variables: list[dfc.Variable]
    x: Any
    rounds: Any

    def losses(self, limit: int | None) -> tuple[list[float], list[Any], Account]:
        """The losses of some steps, the variables after them, and what was used of the device."""
        values = np.random.default_rng(1).standard_normal(self.x.shape, np.float32)
        with dfc.Session(self.graph, config=dfc.SessionConfig(device_memory_limit=limit)) as session:
            session.run(self.init)
            feeds = [{self.x: values, self.rounds: rounds} for rounds in ROUNDS]
            found = [float(session.run([self.loss, self.train], feed)[0]) for feed in feeds]
            return found, session.run(self.variables), session._state.memory


def layers(offload: bool) -> list[dfc.Variable]:
    random = np.random.default_rng(0)
    starts = [random.standard_normal((WIDTH, WIDTH), np.float32) / 8 for _ in range(LAYERS)]
    return [dfc.Variable(start, name=f"w{k}", offload=offload) for k, start in enumerate(starts)]


def model(offload: bool, counted: bool = False, swap: bool = False, batch: int = BATCH) -> Model:
    with dfc.Graph() as graph, dfc.offload(offload):
        x = dfc.placeholder("float32", (batch, WIDTH), name="x")
        rounds = dfc.placeholder("int32", (), name="rounds")
        weights = layers(offload)

        def through(h: Any) -> Any:
            for w in weights:
                h = dfc.tanh(h @ w)
            return h

        if counted:
            h = dfc.fori_loop(0, rounds, lambda i, h: through(h), x, swap_memory=swap)
        else:
            start = (0, x)
            h = dfc.while_loop(lambda i, h: i < rounds, lambda i, h: (i + 1, through(h)), start, swap_memory=swap)[1]
        loss = dfc.mean((h - 0.5) ** 2)
        train, init = dfc.train.Adam(1e-2).minimize(loss, weights), dfc.initialize_all()
    return Model(graph, loss, train, init, weights, x, rounds)


def agree(found: tuple[list[float], list[Any], Account], wanted: tuple[list[float], list[Any], Account]) -> None:
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-4)
    for a, b in zip(found[1], wanted[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert found[2].taken == 0


@pytest.mark.parametrize("counted", [False, True])
def test_l10_a_loop_whose_variables_do_not_fit_has_the_same_losses(counted: bool) -> None:
    """Nor does what it keeps: of forty iterations that is four times the memory."""
    wanted = model(False, counted).losses(None)
    limit = 4 * UNIT + 4
    found = model(True, counted, swap=True).losses(limit)
    agree(found, wanted)
    assert found[2].most_taken <= limit < LAYERS * UNIT < 40 * LAYERS * ROW


def test_l10_a_loop_whose_variables_fit_stays_one_program_beside_which_the_rest_is_cut() -> None:
    """Where there is room for all the weights, and not for Adam's state, and for what forty iterations keep."""
    wanted = model(False, batch=1).losses(None)
    kept = 64 * (LAYERS + 1) * WIDTH * 4
    limit = LAYERS * UNIT + kept + 4
    assert limit < 3 * LAYERS * UNIT
    with dfc.Timeline() as timeline:
        found = model(True, batch=1).losses(limit)
    agree(found, wanted)
    names = [span.name for span in timeline.spans]
    assert "stack_push" not in names
    assert names.count("fetch") > 2 * len(ROUNDS)
    assert LAYERS * UNIT < found[2].most_taken <= limit


@pytest.mark.parametrize("limit", [2, 3, 5, 8, 13])
def test_l10_loops_without_gradients(limit: int) -> None:
    def run(offload: bool, limit: int | None) -> list[Any]:
        made = model(offload)
        values = np.random.default_rng(1).standard_normal((BATCH, WIDTH), np.float32)
        with dfc.Session(made.graph, config=dfc.SessionConfig(device_memory_limit=limit)) as session:
            session.run(made.init)
            found = [session.run(made.loss, {made.x: values, made.rounds: rounds}) for rounds in ROUNDS]
            assert limit is None or session._state.memory.most_taken <= limit
            return found

    np.testing.assert_allclose(run(True, limit * UNIT), run(False, None), rtol=1e-5)


def test_l10_a_loop_that_changes_variables_which_do_not_fit() -> None:
    def run(offload: bool, limit: int | None) -> tuple[list[Any], int]:
        with dfc.Graph() as graph:
            rounds, x = dfc.placeholder("int32", (), name="rounds"), np.ones((BATCH, WIDTH), np.float32)
            weights = layers(offload)

            def body(i: Any, h: Any) -> Any:
                for w in weights:
                    h = dfc.tanh(h @ w)
                    with dfc.control_dependencies([w.assign(w * 0.9)]):
                        h = h + 0.0
                return i + 1, h

            _, h = dfc.while_loop(lambda i, h: i < rounds, body, (0, x))
            init = dfc.initialize_all()
        with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=limit)) as session:
            session.run(init)
            return [session.run(h, {rounds: 3}), *session.run(weights)], session._state.memory.most_taken

    wanted, _ = run(False, None)
    found, most = run(True, 2 * UNIT)
    assert most == 2 * UNIT
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_l10_a_branch_whose_variables_do_not_fit() -> None:
    def run(offload: bool, limit: int | None) -> list[Any]:
        with dfc.Graph() as graph:
            x, way = dfc.placeholder("float32", (BATCH, WIDTH), name="x"), dfc.placeholder("bool", (), name="way")
            a, b, *others = layers(offload)

            def through(h: Any) -> Any:
                for w in others:
                    h = dfc.tanh(h @ w)
                return h

            y = dfc.cond(way, lambda: x @ a @ b, lambda: through(x))
            slopes = dfc.gradients(dfc.sum(y), [x])
            init = dfc.initialize_all()
        values = np.random.default_rng(1).standard_normal((BATCH, WIDTH), np.float32)
        with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=limit)) as session:
            session.run(init)
            found = [session.run([y, *slopes], {x: values, way: w}) for w in (True, False)]
            assert limit is None or session._state.memory.most_taken == 2 * UNIT
            return [array for arrays in found for array in arrays]

    for a, b in zip(run(True, 2 * UNIT), run(False, None), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_l10_a_loop_has_the_values_of_its_beginning() -> None:
    """An assignment from outside, in the middle of it, is for those who read later."""
    w = dfc.Variable(np.full((WIDTH, WIDTH), 0.5, np.float32), name="w", offload=True)
    others = [dfc.Variable(np.eye(WIDTH, dtype=np.float32), name=f"o{k}", offload=True) for k in range(3)]

    def change(i: Any) -> Any:
        if i == 1:
            w.assign(np.zeros((WIDTH, WIDTH), np.float32))
        return i

    with dfc.Graph() as graph:

        def body(i: Any, total: Any) -> Any:
            i = dfc.py_call(change, [i], dfc.TensorSpec((), "int32"))
            return i + 1, total + dfc.sum(w @ others[0] @ others[1] @ others[2])

        _, total = dfc.while_loop(lambda i, total: i < 4, body, (0, dfc.asarray(np.float32(0.0))))
        again = dfc.sum(w)
    with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=2 * UNIT)) as session:
        assert session.run(total) == 4 * 0.5 * WIDTH * WIDTH
        assert session.run(again) == 0
        assert session._state.memory.most_taken == 2 * UNIT


# ---- refused


def test_l10_one_operation_of_a_loop_that_needs_too_much() -> None:
    made = model(True)
    with dfc.Session(made.graph, config=dfc.SessionConfig(device_memory_limit=UNIT - 1)) as session:
        session.run(made.init)
        with pytest.raises(ResourceExhausted) as caught:
            session.run(made.loss, {made.x: np.zeros((BATCH, WIDTH), np.float32), made.rounds: 3})
    message, where, hint = str(caught.value).split("\n")
    assert message == (
        "dot_general: 16,384 bytes of variables in the host's memory are needed on the device at once and "
        "device_memory_limit is 16,383, of which other variables take 4; the largest: variable 'w0': 16,384 bytes"
    )
    assert HERE in where
    assert "h = dfc.tanh(h @ w)" in where
    assert hint == "  raise device_memory_limit, or make several smaller variables of a large one"


def test_l10_what_a_loop_keeps_that_does_not_fit() -> None:
    made = model(True)
    with dfc.Session(made.graph, config=dfc.SessionConfig(device_memory_limit=4 * UNIT)) as session:
        session.run(made.init)
        feeds = {made.x: np.ones((BATCH, WIDTH), np.float32), made.rounds: 40}
        with pytest.raises(ResourceExhausted) as caught:
            session.run([made.loss, made.train], feeds)
    assert "an element of stack 'rows': 2,304 bytes" in str(caught.value)
    assert "swap_memory=True" in str(caught.value)
    assert HERE in str(caught.value)
