"""Namespaces can be imported as modules, and are the same however they are reached."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dfc

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", sorted(dfc._SUBMODULES))
def test_a_namespace_is_one_module(name: str) -> None:
    assert importlib.import_module(f"dfc.{name}") is getattr(dfc, name)
    assert getattr(dfc, name).__name__ == dfc._SUBMODULES[name]


@pytest.mark.parametrize("name", [*sorted(dfc._SUBMODULES), "nn.initializers", "train.schedules"])
def test_dir_shows_the_public_names_alone(name: str) -> None:
    namespace: Any = dfc
    for part in name.split("."):
        namespace = getattr(namespace, part)
    assert [found for found in dir(namespace) if not found.startswith("__")] == sorted(namespace.__all__)
    assert all(hasattr(namespace, found) for found in dir(namespace))


def test_dir_is_the_same_where_a_namespace_is_imported_as_a_module() -> None:
    code = "import dfc.sparse as s; print(*(n for n in dir(s) if n[0] != '_'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted(dfc.sparse.__all__)


@pytest.mark.parametrize(
    "line", ["import dfc.train as t; t.SGD", "from dfc.train import SGD", "from dfc import train; train.SGD"]
)
def test_whatever_is_imported_first(line: str) -> None:
    command = [sys.executable, "-c", f"{line}; import dfc; print(dfc.train.SGD(0.1).learning_rate)"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.1"
