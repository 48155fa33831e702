"""Copies and pickles of tensors, variables and functions; operators on the first tensor of a process."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidType
from tests.frontend_support import error_of

ROOT = Path(__file__).resolve().parents[2]


@dfc.function
def doubled(x: Any) -> Any:
    return x * 2


class Model:
    @dfc.function
    def score(self, x: Any) -> Any:
        return x + 1


@pytest.mark.parametrize("values", [np.arange(6.0).reshape(2, 3), np.float32(2.5), np.array([1, 2], np.int8)])
def test_a_pickled_tensor_has_its_elements_and_works_in_a_function_that_knows_its_type(values: Any) -> None:
    tensor = dfc.asarray(values)
    expected = doubled(tensor).numpy()
    loaded = pickle.loads(pickle.dumps([tensor, tensor]))
    assert loaded[0] is loaded[1]
    assert loaded[0].dtype is tensor.dtype
    np.testing.assert_array_equal(doubled(loaded[0]).numpy(), expected)


def test_a_tensor_never_changes_so_that_a_copy_is_itself() -> None:
    tensor = dfc.asarray([1.0])
    assert copy.copy(tensor) is tensor
    assert copy.deepcopy({"a": [tensor]})["a"][0] is tensor


def test_a_tensor_of_a_trace_can_be_copied_but_not_pickled() -> None:
    def body(x: Any) -> Any:
        assert copy.deepcopy([x])[0] is x
        pickle.dumps(x)

    text = error_of(InvalidType, lambda: dfc.function(body)(dfc.asarray([1.0])), __file__)
    assert text == (
        "pickle: the value of 'x' (float32[1]) isn't known while 'body' is traced\n  pickle what the function returns"
    )


@pytest.mark.parametrize("call", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_variable_refuses_to_be_copied(call: Callable[[Any], Any]) -> None:
    v = dfc.Variable(1.0, name="v")
    assert error_of(InvalidType, lambda: call(v), __file__) == (
        "variable 'v' is state, which can't be copied or pickled\n"
        "  dfc.Variable(v.numpy()) makes a second one; dfc.train.Saver writes values to a file"
    )


def test_a_function_copies_and_pickles_as_pythons_functions_do() -> None:
    assert copy.copy(doubled) is doubled and copy.deepcopy(doubled) is doubled
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(dfc.function(lambda x: x))
    model = Model()
    assert copy.copy(model.score)(1.0).item() == 2.0
    assert pickle.loads(pickle.dumps(model.score))(1.0).item() == 2.0
    assert model.score == model.score and hash(model.score) == hash(model.score)
    assert model.score != Model().score


def test_state_is_not_read_as_numpy_while_tracing(tmp_path: Path) -> None:
    v = dfc.Variable([1.0], name="v")
    saver = dfc.train.Saver(v)
    path = saver.save(tmp_path, 1)
    hint = "\n  compute it outside the function, or return it and read it after the call"
    known = "numpy(): the value of 'read' (float32[1]) isn't known while 'body' is traced" + hint

    def tracing(call: Callable[[], Any]) -> Callable[[], Any]:
        def body() -> Any:
            return call()

        return dfc.function(body)

    assert error_of(InvalidType, tracing(lambda: dfc.asarray(v.numpy())), __file__) == known
    assert error_of(InvalidType, tracing(lambda: saver.save(tmp_path, 2)), __file__) == known
    assert error_of(dfc.errors.FailedPrecondition, tracing(lambda: saver.restore(path)), __file__) == (
        "Saver.restore: variables can't be restored while a function is traced"
    )


@pytest.mark.parametrize(
    ("first", "printed"),
    [
        ("(dfc.ones((2,)) == 1.0).numpy().tolist()", "[True, True]"),
        ("(1.0 - dfc.asarray([1.5])).numpy().tolist()", "[-0.5]"),
        ("dfc.zeros(2)[0].item()", "0.0"),
    ],
)
def test_a_tensor_has_its_operators_whatever_was_imported_first(first: str, printed: str) -> None:
    command = [sys.executable, "-c", f"import dfc; print({first})"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == printed


def test_every_operator_waits_for_its_first_use() -> None:
    from dfc.frontend import operators, tensor

    groups = (operators.BINARY, operators.COMPARISONS, operators.UNARY, operators.OTHER)
    installed = {name for group in groups for name in group} | {f"r{name}" for name in operators.BINARY}
    assert set(tensor.OPERATORS) == installed
