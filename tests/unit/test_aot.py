"""dfc.compile and dfc.load: functions to one file and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.errors import InvalidArgument, InvalidType, NotFound
from dfc.frontend import aot

Spec = dfc.TensorSpec


def make() -> tuple[Any, dfc.Variable]:
    w = dfc.Variable([[1.0, 0.0], [0.5, 2.0]], name="w")

    @dfc.function(signature=[Spec(("batch", 2), "float32", name="images")])
    def predict(images: Any) -> Any:
        logits = images @ w
        return {"logits": logits, "parts": [dfc.nn.softmax(logits), (dfc.argmax(logits, axis=-1), None)]}

    return predict, w


def test_an_artifact_gives_the_functions_results_in_their_nest(tmp_path: Path) -> None:
    predict, _ = make()
    path = tmp_path / "model.dfc"
    dfc.compile([predict], target=["cpu"], batch=[1, 3]).save(path)
    model = dfc.load(path)
    images = np.array([[1, 2], [3, 4], [5, -6]], np.float32)
    found, expected = model.predict(images=images), predict(images)
    assert list(found) == ["logits", "parts"]
    assert_array_equal(found["logits"], expected["logits"].numpy())
    assert_allclose(found["parts"][0], expected["parts"][0].numpy())
    assert_array_equal(found["parts"][1][0], expected["parts"][1][0].numpy())
    assert found["parts"][1][1] is None


def test_values_come_from_a_checkpoint(tmp_path: Path) -> None:
    predict, w = make()
    w.assign(np.zeros((2, 2), np.float32))
    dfc.train.Saver([w]).save(tmp_path / "checkpoints", 5)
    w.assign(np.ones((2, 2), np.float32))
    dfc.compile([predict], batch=1, checkpoint=tmp_path / "checkpoints").save(tmp_path / "model.dfc")
    assert dfc.load(tmp_path / "model.dfc").predict(images=np.ones((1, 2), np.float32))["logits"].tolist() == [[0, 0]]
    assert aot.variables_of([predict]) == {"w": w}


def test_a_checkpoint_must_hold_exactly_the_entries_variables(tmp_path: Path) -> None:
    predict, w = make()
    extra = dfc.Variable(0.0, name="extra")
    path = dfc.train.Saver([w, extra]).save(tmp_path / "more", 1)
    with pytest.raises(InvalidArgument) as caught:
        dfc.compile([predict], batch=1, checkpoint=path)
    assert str(caught.value) == (
        f"the checkpoint {path} has the variables extra, which no entry uses\n"
        "  save only the variables that the entries use: dfc.train.Saver(variables)"
    )
    path = dfc.train.Saver([extra]).save(tmp_path / "less", 1)
    with pytest.raises(NotFound) as missing:
        dfc.compile([predict], batch=1, checkpoint=path)
    assert str(missing.value) == f"the checkpoint {path} lacks the variables w"


def test_what_is_no_entry() -> None:
    with pytest.raises(InvalidArgument) as caught:
        dfc.compile([dfc.function(lambda x: x, name="f")])
    assert str(caught.value) == (
        "'f' has no signature, so it can't be an entry\n  give one: @dfc.function(signature=[dfc.TensorSpec(...)])"
    )
    with pytest.raises(InvalidType, match=r"an entry must be a dfc\.function, got 3"):
        dfc.compile([3])  # type: ignore[list-item]


def test_results_that_a_file_cannot_describe() -> None:
    f = dfc.function(signature=[Spec(())])(lambda x: [x, (1, Path)])
    with pytest.raises(InvalidType, match=r"an entry can't return <class 'pathlib\.Path'>"):
        aot.entry_specs([f])
    g = dfc.function(signature=[Spec(())])(lambda x: {1: x})
    with pytest.raises(InvalidType, match=r"the keys of an entry's results must be strings, got \[1\]"):
        aot.entry_specs([g])
