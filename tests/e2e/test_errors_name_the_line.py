"""A mistake deep in a long model is reported at the user's line, with both shapes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from xdsl.irdl import irdl_op_definition

import dfc
from dfc.frontend import tracing
from dfc.ir.ops.elementwise import Unary
from dfc.ir.ops.reduction import ReduceSum
from dfc.passes.autodiff import RULES, RuleBuilder, rule

LAYERS = 140


def _long_model(folder: Path, mistake: str, result: str = f"h{LAYERS - 1}") -> tuple[ModuleType, int]:
    lines = ["import dfc", "", "", "def model(x, w, narrow):"]
    for i in range(LAYERS):
        lines += [f"    h{i} = dfc.matmul({'x' if i == 0 else f'h{i - 1}'}, w)", f"    h{i} = dfc.nn.relu(h{i})"]
    position = len(lines) // 2
    lines.insert(position, f"    wrong = {mistake}")
    lines += [f"    return {result}", *([""] * 20)]
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


@irdl_op_definition
class Cube(Unary):
    """x cubed, as somebody's own op with a gradient that forgot the shape."""

    name = "test.cube"
    KINDS: ClassVar = ("float",)

    @classmethod
    def compute(cls, x: Any) -> Any:
        return x**3


@pytest.fixture
def broken_gradient() -> Iterator[None]:
    @rule(Cube)
    def cube(op: Cube, grads: Any, b: RuleBuilder) -> list[Any]:
        return [b(ReduceSum, grads[0], axes=(0,))]

    yield
    del RULES[Cube]


@pytest.mark.usefixtures("broken_gradient")
def test_an_error_found_in_the_backward_pass_names_the_forward_line_and_both_shapes(tmp_path: Path) -> None:
    module, line = _long_model(tmp_path, "current().emit(Cube, [current().value_of(x)])", result="wrong")
    module.__dict__.update(Cube=Cube, current=tracing.current)

    def step(x: dfc.Tensor, w: dfc.Tensor) -> list[Any]:
        return dfc.gradients(dfc.sum(module.model(x, w, None)), [x])

    with pytest.raises(dfc.errors.InvalidArgument) as caught:
        dfc.function(step).lower(dfc.TensorSpec((8, 16), "float32"), dfc.TensorSpec((16, 16), "float32"))
    message = str(caught.value)
    assert f"long_model.py:{line}" in message
    assert "cube" in message
    assert "[16]" in message
    assert "[8, 16]" in message


def test_an_op_without_a_gradient_is_named_with_its_line_when_gradients_are_asked_for() -> None:
    def step(x: dfc.Tensor) -> list[Any]:
        trace = tracing.current()
        assert trace is not None
        y = trace.emit(Cube, [trace.value_of(x)])
        return dfc.gradients(dfc.sum(y), [x])

    with pytest.raises(dfc.errors.NoGradient, match=r"No gradient defined for operation 'test\.cube'") as caught:
        dfc.function(step).graph(dfc.TensorSpec((4,), "float32"))
    assert f"{__file__}:{step.__code__.co_firstlineno + 3}" in str(caught.value)
