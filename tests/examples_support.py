"""The programs in `examples/`, loaded and run in the process of a test."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A new module of the example, with new variables; it may import others of its folder."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("DFC_CPU_DEVICES", "4")  # as tests have; some examples would set it for good
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def last_line(module: ModuleType, *arguments: str) -> str:
    result = CliRunner().invoke(module.main, arguments)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.stdout.strip().splitlines()[-1]
