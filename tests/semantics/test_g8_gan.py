"""Row G8: a generative adversarial network: two losses, two lists of variables, steps that take turns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose

import dfc
from tests.examples_support import last_line, load

pytest.importorskip("sklearn", reason="needs the extra `examples`")
pytest.importorskip("tqdm", reason="needs the extra `examples`")


def values(module: dfc.Module) -> list[np.ndarray[Any, Any]]:
    return [variable.numpy().copy() for variable in module.trainable_variables]


def test_g8_each_step_updates_its_own_variables_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    gan = load("gan", monkeypatch)
    names = [variable.name for variable in (*gan.generator.variables, *gan.critic.variables)]
    assert {name.partition("/")[0] for name in names} == {"generator", "critic"}
    real = np.random.default_rng(0).uniform(size=(gan.BATCH, gan.PIXELS)).astype(np.float32)
    steps = {gan.critic: lambda: gan.critic_step(real), gan.generator: gan.generator_step}
    for trained, other in ((gan.critic, gan.generator), (gan.generator, gan.critic), (gan.critic, gan.generator)):
        before, kept = values(trained), values(other)
        steps[trained]()
        assert any((new != old).any() for new, old in zip(values(trained), before, strict=True))
        assert all((new == old).all() for new, old in zip(values(other), kept, strict=True))


def test_g8_the_penalty_of_a_linear_critic_and_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """(|w| - 1)^2 and 2 (|w| - 1) w / |w|, wherever the points between lie."""
    gan = load("gan", monkeypatch)
    random = np.random.default_rng(1)
    weights = dfc.Variable(random.normal(size=(gan.PIXELS, 1)).astype(np.float32))
    monkeypatch.setattr(gan, "critic", lambda images: dfc.matmul(images, weights))

    @dfc.function
    def penalty_and_gradient(real: Any, made: Any) -> Any:
        penalty = gan.slope_penalty(real, made)
        return penalty, dfc.gradients(penalty, [weights])[0]

    real, made = random.uniform(size=(2, gan.BATCH, gan.PIXELS)).astype(np.float32)
    penalty, gradient = penalty_and_gradient(real, made)
    w = weights.numpy()
    length = np.linalg.norm(w)
    assert_allclose(penalty.numpy(), (length - 1) ** 2, rtol=1e-5)
    assert_allclose(gradient.numpy(), 2 * (length - 1) * w / length, rtol=1e-4)


def test_g8_a_few_steps_and_a_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs the extra `images`")
    result = CliRunner().invoke(load("gan", monkeypatch).main, ["--steps", "3", "--out", str(tmp_path)])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    samples = np.load(tmp_path / "samples.npy")
    assert samples.shape == (360, 64) and samples.min() >= 0 and samples.max() <= 16
    with image.open(tmp_path / "samples.png") as picture:
        assert picture.size == (640, 400)
        second = np.asarray(picture)[::4, ::4][1:9, 11:19]  # the second image of the first row
    assert_allclose(second, samples[1].reshape(8, 8) * 255 / 16, atol=1.01)


def test_g8_without_pillow_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    result = CliRunner().invoke(load("gan", monkeypatch).main, ["--steps", "1", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr == "Error: a picture needs Pillow: pip install 'dfc[images]'\n"


@pytest.mark.slow
def test_g8_drawn_digits_are_recognised_and_differ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image", reason="needs the extra `images`")
    digits_conv = load("digits_conv", monkeypatch)
    assert digits_conv.train() >= 0.98
    dfc.compile([digits_conv.predict], batch=[360]).save(tmp_path / "model.dfc")
    line = last_line(load("gan", monkeypatch), "--out", str(tmp_path), "--classifier", str(tmp_path / "model.dfc"))
    assert float(line.removeprefix("mean confidence of the classifier: ")) >= 0.8
    answers = dfc.load(tmp_path / "model.dfc").predict(images=np.load(tmp_path / "samples.npy"))
    counts = np.bincount(np.asarray(answers["digit"]), minlength=10)
    assert (counts >= 5).sum() >= 5, f"drawn of each digit: {counts}"
