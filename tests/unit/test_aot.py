"""dfc.compile and dfc.load: functions to one file and back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.errors import InvalidArgument, InvalidType, NotFound
from dfc.frontend import aot

ROOT = Path(__file__).resolve().parents[2]
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


def test_a_checkpoint_of_training_holds_more_than_an_entry_needs(tmp_path: Path) -> None:
    predict, w = make()
    w.assign(np.ones((2, 2), np.float32))
    optimizer, lines = dfc.train.Adam(0.0), list[str]()
    optimizer.apply_gradients([(np.zeros((2, 2), np.float32), w)])
    path = dfc.train.Saver([w, *optimizer.variables]).save(tmp_path / "training", 1)
    w.assign(np.zeros((2, 2), np.float32))
    dfc.compile([predict], batch=1, checkpoint=path, progress=lines.append).save(tmp_path / "model.dfc")
    assert lines[0] == ("the checkpoint has 3 more, which no entry uses: w/Adam_iterations, w/m, w/v")
    assert dfc.load(tmp_path / "model.dfc").predict(images=np.ones((1, 2), np.float32))["logits"].tolist() == [[2, 2]]


def test_a_checkpoint_must_hold_the_entries_variables(tmp_path: Path) -> None:
    extra = dfc.Variable(0.0, name="extra")
    path = dfc.train.Saver([extra]).save(tmp_path / "less", 1)
    with pytest.raises(NotFound) as missing:
        dfc.compile([make()[0]], batch=1, checkpoint=path)
    assert str(missing.value) == f"the checkpoint {path} has no w\n  it has extra"
    many = [dfc.Variable(1.0, name=f"part_{i}") for i in range(8)]

    @dfc.function(signature=[Spec((), name="x")])
    def total(x: Any) -> Any:
        return sum(many, x)

    path = dfc.train.Saver([*many[:1], extra]).save(tmp_path / "one", 1)
    with pytest.raises(NotFound, match=r"lacks 7 of 8 names: part_1, part_2, part_3, part_4, part_5, part_6, part_7\n"):
        dfc.compile([total], checkpoint=path)


def test_a_checkpoint_may_lack_the_states_of_generators(tmp_path: Path) -> None:
    w, noise = dfc.Variable([1.0, 2.0], name="w"), dfc.random.Generator(3, name="noise")

    @dfc.function(signature=[Spec(("b", 2), name="x")])
    def noisy(x: Any) -> Any:
        return x * w + dfc.random.normal(x.shape, key=noise.key())

    x, lines = np.ones((4, 2), np.float32), list[str]()
    lacking = dfc.train.Saver([w]).save(tmp_path / "lacking", 1)
    dfc.compile(noisy, batch=4, checkpoint=lacking, progress=lines.append).save(tmp_path / "lacking.dfc")
    assert lines[0] == "the checkpoint lacks noise: the state of a generator keeps its present value"
    noise.key()
    whole = dfc.train.Saver([w, noise.state]).save(tmp_path / "whole", 1)
    lines.clear()
    noise.seed(4)
    dfc.compile(noisy, batch=4, checkpoint=whole, progress=lines.append).save(tmp_path / "whole.dfc")
    assert [line.split(" (")[0] for line in lines] == ["compiled noisy for b=4"]
    noise.seed(3)
    expected = [noisy(x).numpy() for _ in range(2)]
    assert_array_equal([dfc.load(tmp_path / f"{name}.dfc").noisy(x=x) for name in ("lacking", "whole")], expected)
    with pytest.raises(NotFound, match=r"has no w\n"):
        dfc.compile(noisy, batch=4, checkpoint=dfc.train.Saver([noise.state]).save(tmp_path / "no_w", 1))


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


@pytest.mark.parametrize("lean", [False, True])
def test_entries_may_be_called_as_the_models_own_names(tmp_path: Path, lean: bool) -> None:
    functions = {
        name: dfc.function(signature=[Spec((), "int32", name="x")], name=name)(lambda x, k=k: x + k)
        for k, name in enumerate(["file", "entry", "entries", "predict"])
    }
    dfc.compile(functions).save(tmp_path / "model.dfc")
    if lean:  # in a process of its own, since jax is barred there
        for k, name in enumerate(functions):
            code = f"from dfc.runtime.load import load; print(load('model.dfc', lean=True).{name}(5))"
            found = subprocess.run(
                [sys.executable, "-c", code],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=True,
            )
            assert found.stdout == f"{5 + k}\n"
        return
    model = dfc.load(tmp_path / "model.dfc")
    assert [getattr(model, name)(5) for name in functions] == [5, 6, 7, 8]
    assert repr(model) == f"<dfc model {tmp_path / 'model.dfc'}: file, entry, entries, predict>"


def test_one_function_will_do_and_an_artifact_is_shown_in_short(tmp_path: Path) -> None:
    predict, _ = make()
    made = dfc.compile(predict, batch=1)
    assert re.fullmatch(r"<dfc artifact of predict: 0\.\d\d MB>", repr(made))
    with pytest.raises(NotFound) as caught:
        made.save(tmp_path / "absent" / "model.dfc")
    path = tmp_path / "absent" / "model.dfc"
    assert str(caught.value) == f"{path} can't be written: there is no folder {path.parent}\n  make it first"


def test_sizes_that_nothing_has_a_dimension_for_are_refused() -> None:
    f = dfc.function(signature=[Spec((2,))])(lambda x: x)
    with pytest.raises(InvalidArgument, match=r"^sizes are given \(8\), and no entry has a symbolic dimension"):
        dfc.compile(f, batch=8)
    predict, _ = make()
    aot.entry_specs([f, predict], 8)
