"""Programs that end while something is still under way end as others do: soon, with status 0, and saying nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

START = """
import time
import numpy as np
import dfc

long = dfc.function(lambda x: dfc.fori_loop(0, 20_000, lambda i, h: dfc.tanh(h @ x), x))
x = np.ones((64, 64), np.float32)
"""
ENDS = {
    "a device computes for a thread": """
from dfc.runtime.workers import WORKERS
result = long(x)
WORKERS.submit(lambda: [result.numpy()].clear())
time.sleep(0.01)
""",
    "a timeline has just ended": """
with dfc.Timeline() as timeline:
    long(x)
""",
    "a step that was submitted goes round for ever": """
with dfc.Graph() as graph:
    tick = dfc.while_loop(lambda i: i >= 0, lambda i: dfc.py_call(lambda a: a, [i], dfc.TensorSpec((), "int32")), (0,))
session = dfc.Session(graph)
future = session.submit(tick)
time.sleep(0.2)
""",
    "a function of the user's sleeps": """
with dfc.Graph() as graph:
    slept = dfc.py_call(lambda: time.sleep(600), [], None)
session = dfc.Session(graph)
future = session.submit(slept)
time.sleep(0.2)
""",
}


def test_user_code_is_not_waited_for_wherever_its_file_is(tmp_path: Path) -> None:
    program = tmp_path / "jax" / "program.py"
    program.parent.mkdir()
    program.write_text(START + ENDS["a function of the user's sleeps"])
    start = time.monotonic()
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - start < 25


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_a_program(end: str) -> None:
    for _ in range(2):
        start = time.monotonic()
        done = subprocess.run([sys.executable, "-c", START + ENDS[end]], capture_output=True, text=True, timeout=100)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert time.monotonic() - start < 60
