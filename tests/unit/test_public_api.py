"""The public face: every name is there, found lazily, and known to type checkers; importing it costs nothing."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dfc

ROOT = Path(__file__).resolve().parents[2]
SOURCE = (ROOT / "dfc/__init__.py").read_text(encoding="utf-8")


def declared() -> dict[str, str]:
    """Name -> module, as type checkers read it."""
    (block,) = (node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name
            found[alias.name] = f"{node.module}.{alias.name}" if node.module == "dfc.frontend" else str(node.module)
    return found


def test_what_type_checkers_see_is_what_there_is() -> None:
    assert declared() == {**dfc._HOME, **dfc._SUBMODULES}
    assert sorted(dfc.__all__) == sorted(["errors", *declared()])


@pytest.mark.parametrize("name", sorted(set(dfc.__all__) - {"errors"}))
def test_every_name_is_there(name: str) -> None:
    value = getattr(dfc, name)
    assert name in dir(dfc)
    if name not in dfc._SUBMODULES:
        assert value is getattr(importlib.import_module(declared()[name]), name)
    if callable(value):
        assert value.__doc__, f"dfc.{name} has no docstring"


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'dfc' has no attribute 'tensor_flow'"):
        _ = dfc.tensor_flow


def _seconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
    return time.perf_counter() - started


def test_import_dfc_costs_less_than_150_ms() -> None:
    assert min(_seconds("import dfc") for _ in range(3)) - min(_seconds("pass") for _ in range(3)) < 0.15


def test_tracing_needs_no_jax() -> None:
    code = (
        "import sys, dfc\n"
        "v = dfc.Variable([1.0, 2.0])\n"
        "f = dfc.function(signature=[dfc.TensorSpec(('b', 2))])(lambda x: dfc.nn.softmax(x + v))\n"
        "print(f.graph())\n"
        "assert 'jax' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "df.exponential" in done.stdout


def test_array_api_names_are_there() -> None:
    """The elementwise, reducing and shaping functions of the Python Array API 2023.12 that dfc has so far."""
    wanted = """
        abs add atan2 bitwise_and bitwise_invert bitwise_or bitwise_xor ceil cos divide equal exp expm1 floor
        floor_divide greater greater_equal isfinite isinf isnan less less_equal log log1p logical_and logical_not
        logical_or logical_xor maximum minimum multiply negative not_equal positive pow remainder round sign sin sqrt
        square subtract tan tanh trunc where astype result_type matmul matrix_transpose tensordot vecdot all any argmax
        argmin max mean min prod std sum var broadcast_to concat expand_dims flip permute_dims reshape squeeze stack
        arange asarray full full_like ones ones_like zeros zeros_like"""
    namespace: Any = np
    for name in wanted.split():
        assert callable(getattr(dfc, name))
        assert hasattr(namespace, name), f"NumPy has no {name}: is it the Array API's?"
