"""The examples that need no file of their own: a few steps of each, and in full, marked slow, what each is to reach."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose

import dfc
from tests.examples_support import last_line, load

pytest.importorskip("tqdm", reason="needs the extra `examples`")


def number_in(line: str, before: str, after: str = "") -> float:
    assert line.startswith(before) and line.endswith(after), line
    return float(line.removeprefix(before).removesuffix(after))


# ---- char_lm


def test_char_lm_learns_the_letters_of_a_small_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    char_lm = load("char_lm", monkeypatch)
    for name, value in {"BATCH": 4, "WINDOW": 4, "UNITS": 16, "FEATURES": 4}.items():
        monkeypatch.setattr(char_lm, name, value)
    (tmp_path / "text").write_text("ab" * 200)
    line = last_line(char_lm, "--text", str(tmp_path / "text"), "--steps", "60", "--length", "5")
    assert number_in(line, "validation loss: ", " nats per character") < np.log(2) / 2


def test_char_lm_windows_continue_each_other_and_targets_are_the_next_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    char_lm = load("char_lm", monkeypatch)
    ids = np.arange(2 * char_lm.BATCH * char_lm.WINDOW + 1 + 17)
    first, second = char_lm.windows(ids)
    assert first[0].shape == (char_lm.BATCH, char_lm.WINDOW)
    np.testing.assert_array_equal(first[1], first[0] + 1)
    np.testing.assert_array_equal(second[0], first[0] + char_lm.WINDOW)
    assert len({*first[0].ravel(), *second[0].ravel()}) == 2 * char_lm.BATCH * char_lm.WINDOW


def test_char_lm_says_when_a_text_is_too_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("ab" * 1000)
    result = CliRunner().invoke(load("char_lm", monkeypatch).main, ["--text", str(tmp_path / "text")])
    assert result.exit_code == 2
    assert "each part of the text must have more than 1024 characters, got 200" in result.stderr


@pytest.mark.slow
def test_g8_l1_a_recurrent_network_learns_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    line = last_line(load("char_lm", monkeypatch))
    assert number_in(line, "validation loss: ", " nats per character") < 2.0


# ---- cartpole


def test_cartpole_plays_and_learns_a_few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    line = last_line(load("cartpole", monkeypatch), "--rounds", "3", "--episodes", "8")
    assert 9 < number_in(line, "mean return of 100 episodes: ") <= 200  # at 9.4, one direction alone


def test_cartpole_moves_as_the_equations_of_motion_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the accelerations solved for, from the balance of forces on both bodies and of moments at the pole."""
    cartpole = load("cartpole", monkeypatch)
    states, actions = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 2
    after = cartpole.physics(states, actions)
    for state, action, result in zip(states, actions, after, strict=True):
        _, speed, angle, turn = state
        coupling = 0.1 * 0.5 * np.cos(angle)
        inertia = np.array([[1.0 + 0.1, coupling], [coupling, 0.1 * 0.5**2 * 4 / 3]])
        forces = [(-10.0, 10.0)[action] + 0.1 * 0.5 * turn**2 * np.sin(angle), 0.1 * 9.8 * 0.5 * np.sin(angle)]
        acceleration, turning = np.linalg.solve(inertia, forces)
        assert_allclose(result, state + 0.02 * np.array([speed, acceleration, turn, turning]), rtol=1e-12)


def test_cartpole_advantages_are_discounted_returns_beside_those_of_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cartpole = load("cartpole", monkeypatch)
    lengths = np.array([1, 3, 2])
    running = np.arange(4)[:, None] < lengths
    returns = np.array([[sum(0.99**k for k in range(n - t)) for n in lengths] for t in range(4)])
    baseline = [np.mean([returns[t, i] for i in range(3) if t < lengths[i]] or [0]) for t in range(4)]
    expected = np.where(running, returns - np.array(baseline)[:, None], 0)
    assert_allclose(cartpole.advantages_of(running), expected / expected[running].std(), rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_g8_l1_a_policy_learns_to_balance_the_pole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert number_in(last_line(load("cartpole", monkeypatch)), "mean return of 100 episodes: ") >= 195


# ---- kmeans


def test_kmeans_finds_clusters_that_are_far_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    kmeans = load("kmeans", monkeypatch)
    random = np.random.default_rng(0)
    middles = 100 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    points = (middles[:, None] + random.normal(size=(4, 25, 2))).reshape(100, 2).astype(np.float32)
    dfc.random.seed(0)
    centres, histories = kmeans.best_of(points, clusters=4, restarts=2)
    means = points.reshape(4, 25, 2).mean(axis=1)
    assert_allclose(centres[np.lexsort(centres.round(-2).T)], means, rtol=1e-4, atol=1e-3)
    spread = ((points.reshape(4, 25, 2) - means[:, None]) ** 2).sum()
    assert_allclose(min(history[-1] for history in histories), spread, rtol=1e-4)


@pytest.mark.slow
def test_kmeans_on_the_digits_is_as_good_as_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = pytest.importorskip("sklearn.cluster", reason="needs the extra `examples`")
    digits = pytest.importorskip("sklearn.datasets").load_digits().data
    dfc.random.seed(0)
    centres, histories = load("kmeans", monkeypatch).best_of(digits.astype(np.float32), clusters=10, restarts=10)
    inertia = ((digits[:, None] - centres) ** 2).sum(axis=2).min(axis=1).sum()
    theirs = cluster.KMeans(10, n_init=10, random_state=0).fit(digits).inertia_
    assert inertia <= 1.02 * theirs
    assert_allclose(min(history[-1] for history in histories), inertia, rtol=1e-6)
    for history in histories:
        assert len(history) < 300, "an image still changed its cluster at the last step"
        assert all(after < before * (1 + 1e-6) for before, after in itertools.pairwise(history))
        assert history[-1] < history[0]


# ---- offload


def test_l10_offload_has_the_losses_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    offload, arguments = load("offload", monkeypatch), ("--width", "64", "--steps", "3")
    cut, whole = last_line(offload, *arguments), last_line(offload, *arguments, "--whole")
    found, wanted = (number_in(line[line.index("first, ") :], "first, ", " after 3 steps") for line in (cut, whole))
    assert_allclose(found, wanted, rtol=1e-5)


# ---- recurrence


def test_recurrence_gives_what_its_loop_says_and_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    recurrence = load("recurrence", monkeypatch)
    inputs = np.random.default_rng(1).normal(size=(7, recurrence.BATCH, 1)).astype(np.float32)
    state, want = np.zeros((recurrence.BATCH, recurrence.UNITS), np.float32), np.zeros_like(inputs)
    w = {name: v.numpy() for name, v in recurrence.cell.named_variables().items()}
    for i in range(len(inputs)):
        state = np.tanh(state @ w["recurrent"] + inputs[i] @ w["given"] + w["bias"])
        want[i] = state @ w["out"]
    assert_allclose(recurrence.predict(inputs).numpy(), want, atol=1e-5)
    line = last_line(recurrence, "--steps", "40", "--length", "8")
    assert number_in(line, "mean squared error on sequences of 80: ") < 1 / 3  # that of saying 0
    assert recurrence.predict.explain().startswith("predict was traced once")


@pytest.mark.slow
def test_recurrence_remembers_two_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert number_in(last_line(load("recurrence", monkeypatch)), "mean squared error on sequences of 200: ") < 0.02


# ---- two_devices


def test_two_devices_have_the_losses_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(load("two_devices", monkeypatch).main, ["--epochs", "2"])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    hidden, output, first, second, difference = result.stdout.splitlines()
    assert [hidden, output] == ["the hidden layer is on cpu:0", "the output layer is on cpu:1"]
    losses = [[float(n) for n in re.findall(r"0\.\d+", line)] for line in (first, second)]
    assert losses[1][0] < losses[0][0] / 2
    assert_allclose([a for a, _ in losses], [b for _, b in losses], atol=2e-5)
    assert number_in(difference, "largest difference: ") < 1e-5


# ---- transformer


def test_k9_transformer_has_one_devices_losses_however_it_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = []
    for data, model in ((1, 1), (4, 1), (2, 2)):
        result = CliRunner().invoke(
            load("transformer", monkeypatch).main, ["--data", str(data), "--model", str(model), "--steps", "20"]
        )
        assert result.exit_code == 0, result.output
        losses, speed = result.stdout.splitlines()
        assert speed.endswith(" ms a step on 1 device" if data * model == 1 else f" on {data * model} devices")
        printed.append(losses)
    assert len(set(printed)) == 1
    assert number_in(printed[0], "step 20: loss ") < 1.6


# ---- own_optimizer: the rule is in tests/semantics/test_l1_own_optimizer.py


@pytest.mark.slow
def test_l1_own_optimizer_trains_the_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn", reason="needs the extra `examples`")
    line = last_line(load("own_optimizer", monkeypatch))
    assert number_in(line, "accuracy on 360 held-out images: ") >= 0.95
