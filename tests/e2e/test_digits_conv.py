"""The example of a convolutional network: it learns, and predicts by its moving averages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="needs the extra `examples`")
ROOT = Path(__file__).resolve().parents[2]


def test_it_learns_the_digits(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples/convnet.py"), "--epochs", "6"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("accuracy on 360 held-out images: ")
    assert float(last.rpartition(" ")[2]) >= 0.97
