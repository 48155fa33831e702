"""The main job on real input: train, compile, run the artifact in another process, to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `examples`")
ROOT = Path(__file__).resolve().parents[2]


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    _run(str(ROOT / "examples/digits.py"), "--out", str(folder), cwd=folder)
    _run(
        *("-m", "dfc", "compile", str(ROOT / "examples/digits.py")),
        *("--checkpoint", str(folder / "checkpoints"), "-o", str(folder / "model.dfc"), "--batch", "1,360"),
        cwd=folder,
    )
    return folder


def test_artifact_scores_the_held_out_digits_in_another_process(built: Path) -> None:
    output = _run(str(ROOT / "examples/score.py"), str(built / "model.dfc"), str(built / "held_out.npz"), cwd=built)
    last = output.strip().splitlines()[-1]
    assert last.startswith("accuracy: 0.9")
    assert float(last.removeprefix("accuracy: ")) >= 0.95
    assert "to the last bit: yes" in output


def test_dfc_run_gives_the_same_bits_as_the_training_process(built: Path) -> None:
    data = np.load(built / "held_out.npz")
    np.save(built / "images.npy", data["images"])
    _run(
        *("-m", "dfc", "run", str(built / "model.dfc"), "--entry", "predict"),
        *("--input", f"images=@{built / 'images.npy'}", "--output", str(built / "out.npz")),
        cwd=built,
    )
    answers = np.load(built / "out.npz")
    assert sorted(answers) == ["digit", "probabilities"]
    for name in answers:
        np.testing.assert_array_equal(answers[name], data[name])


def test_a_batch_between_the_compiled_sizes_is_padded_or_split(built: Path) -> None:
    data = np.load(built / "held_out.npz")
    rows = np.concatenate([data["images"], data["images"][:7]])
    np.save(built / "more.npy", rows)
    _run(
        *("-m", "dfc", "run", str(built / "model.dfc"), "--input", f"images=@{built / 'more.npy'}"),
        *("--output", str(built / "more.npz")),
        cwd=built,
    )
    answers = np.load(built / "more.npz")
    np.testing.assert_array_equal(answers["digit"], np.concatenate([data["digit"], data["digit"][:7]]))


def test_to_graph_prints_located_ops_that_opt_reads_back(built: Path) -> None:
    text = _run("-m", "dfc", "compile", str(ROOT / "examples/digits.py"), "--to=graph", cwd=built)
    operations = [line for line in text.splitlines() if " df." in line or line.startswith("df.")]
    assert len(operations) > 10
    assert not [line for line in operations if "loc(unknown)" in line]
    again = subprocess.run(
        [sys.executable, "-m", "dfc", "opt", "-"],
        input=text,
        cwd=built,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "DFC_VERIFY": "2"},
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout == text
