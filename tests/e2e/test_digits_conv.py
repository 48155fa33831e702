"""The convolutional network on the digits: it learns, and its artifact says the same in another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dfc
from tests.examples_support import EXAMPLES, last_line, load

pytest.importorskip("sklearn", reason="needs the extra `examples`")
pytest.importorskip("tqdm", reason="needs the extra `examples`")


def test_two_epochs_and_a_checkpoint_of_what_predict_uses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    digits_conv = load("digits_conv", monkeypatch)
    line = last_line(digits_conv, "--epochs", "2", "--out", str(tmp_path))
    assert float(line.removeprefix("accuracy on 360 held-out images: ")) >= 0.8
    artifact = dfc.compile([digits_conv.predict], batch=[360], checkpoint=tmp_path / "checkpoints")
    artifact.save(tmp_path / "model.dfc")
    data = np.load(tmp_path / "held_out.npz")
    answers = dfc.load(tmp_path / "model.dfc").predict(images=data["images"])
    np.testing.assert_allclose(answers["probabilities"], data["probabilities"], rtol=1e-4, atol=1e-6)


def test_images_are_shifted_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    digits_conv = load("digits_conv", monkeypatch)
    images = np.random.default_rng(0).uniform(1, 16, (200, 8, 8)).astype(np.float32)
    wide, shifts = np.pad(images, ((0, 0), (1, 1), (1, 1))), set()
    for image, moved in zip(wide, digits_conv.shifted(dfc.asarray(images.reshape(200, 64))).numpy(), strict=True):
        starts = [
            (i, j) for i in range(3) for j in range(3) if (image[i : i + 8, j : j + 8] == moved.reshape(8, 8)).all()
        ]
        assert len(starts) == 1
        shifts |= {*starts}
    assert len(shifts) == 9


@pytest.mark.slow
def test_its_artifact_scores_98_percent_in_another_process(tmp_path: Path) -> None:
    def run(*command: object) -> str:
        whole = [sys.executable, *map(str, command)]
        done = subprocess.run(whole, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip().rpartition(": ")[2]

    program, model = EXAMPLES / "digits_conv.py", tmp_path / "model.dfc"
    trained = run(program, "--out", tmp_path)
    run("-m", "dfc", "compile", program, "--checkpoint", tmp_path / "checkpoints", "-o", model, "--batch", "1,360")
    scored = run(EXAMPLES / "score.py", model, tmp_path / "held_out.npz")
    assert float(scored) >= 0.98
    assert scored == trained
