"""A mistake deep in a long model is reported at the user's line, with both shapes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import dfc

LAYERS = 140


def _long_model(folder: Path, mistake: str) -> tuple[ModuleType, int]:
    lines = ["import dfc", "", "", "def model(x, w, narrow):"]
    for i in range(LAYERS):
        lines += [f"    h{i} = dfc.matmul({'x' if i == 0 else f'h{i - 1}'}, w)", f"    h{i} = dfc.nn.relu(h{i})"]
    position = len(lines) // 2
    lines.insert(position, f"    wrong = {mistake}")
    lines += [f"    return h{LAYERS - 1}", *([""] * 20)]
    path = folder / "long_model.py"
    path.write_text("\n".join(lines) + "\n")
    assert len(lines) > 300
    spec = importlib.util.spec_from_file_location("long_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, position + 1


def test_shape_error_names_the_line_and_both_shapes(tmp_path: Path) -> None:
    module, line = _long_model(tmp_path, "dfc.matmul(x, narrow)")
    specs = [dfc.TensorSpec((8, 16), "float32"), dfc.TensorSpec((16, 16), "float32"), dfc.TensorSpec((5, 3), "float32")]
    with pytest.raises(dfc.errors.InvalidArgument) as caught:
        dfc.function(module.model).graph(*specs)
    message = str(caught.value)
    assert f"long_model.py:{line}" in message
    assert "(8, 16)" in message and "(5, 3)" in message
    assert "dfc.matmul(x, narrow)" in message


def test_dtype_error_names_the_line_and_both_dtypes(tmp_path: Path) -> None:
    module, line = _long_model(tmp_path, "dfc.bitwise_and(x, narrow)")
    specs = [dfc.TensorSpec((8, 16), "float32"), dfc.TensorSpec((16, 16), "float32"), dfc.TensorSpec((8, 16), "int32")]
    with pytest.raises(dfc.errors.InvalidArgument) as caught:
        dfc.function(module.model).graph(*specs)
    assert f"long_model.py:{line}" in str(caught.value)
    assert "float32" in str(caught.value)
