"""dfc.train.Saver: variables to checkpoints and back."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import dfc
from dfc import train
from dfc.errors import InvalidArgument, InvalidType, NotFound
from dfc.frontend.train.saver import _alive as alive

Saver, latest_checkpoint = train.Saver, train.latest_checkpoint


def test_save_and_restore(tmp_path: Path) -> None:
    a, b = dfc.Variable([1.0, 2.0], name="a"), dfc.Variable(np.array([[3]], ml_dtypes.bfloat16), name="layer/b")
    saver = Saver([a, b])
    path = saver.save(tmp_path, step=7)
    assert path == str(tmp_path / "ckpt-7")
    a.assign([0.0, 0.0])
    b.assign(np.array([[0]], ml_dtypes.bfloat16))
    saver.restore(path)
    assert_array_equal(a.numpy(), [1, 2])
    assert b.numpy().astype(np.float32).tolist() == [[3]]
    assert latest_checkpoint(tmp_path) == path


def test_a_restored_variable_needs_no_initial_value(tmp_path: Path) -> None:
    Saver([dfc.Variable([1.0, 2.0], name="w")]).save(tmp_path, 1)
    v = dfc.Variable(dfc.TensorSpec((2,)), name="w")
    Saver([v]).restore(tmp_path / "ckpt-1")
    assert_array_equal(v.numpy(), [1, 2])


def test_names_of_a_dict_and_max_to_keep(tmp_path: Path) -> None:
    v = dfc.Variable(0.0, name="v")
    saver = Saver({"other": v}, max_to_keep=2)
    for step in range(4):
        v.assign(float(step))
        saver.save(tmp_path, step)
    assert sorted(p.name for p in tmp_path.glob("ckpt-*")) == ["ckpt-2", "ckpt-3"]
    saver.restore(tmp_path / "ckpt-2")
    assert v.item() == 2
    with pytest.raises(NotFound, match="has no v"):
        Saver([v]).restore(tmp_path / "ckpt-3")


def test_nothing_is_set_unless_all_fit(tmp_path: Path) -> None:
    Saver({"a": dfc.Variable(1.0), "b": dfc.Variable([2.0])}).save(tmp_path, 1)
    a, b = dfc.Variable(5.0), dfc.Variable([6.0, 6.0], name="b")
    with pytest.raises(InvalidArgument, match=r"variable 'b' holds float32\[2\], got float32\[1\]"):
        Saver({"a": a, "b": b}).restore(tmp_path / "ckpt-1")
    assert a.item() == 5
    with pytest.raises(InvalidType, match=r"holds int32\[1\], got float32\[1\]"):
        Saver({"a": a, "b": dfc.Variable([1])}).restore(tmp_path / "ckpt-1")
    assert a.item() == 5


def test_a_variable_that_nothing_but_garbage_holds_is_in_nobodys_way() -> None:
    gc.collect()
    gc.disable()
    try:
        ring: list[object] = [dfc.Variable(1.0, name="again")]
        ring.append(ring)
        del ring
        again = dfc.Variable(2.0, name="again")
        assert [v for v in alive() if v.name == "again"] == [again]
    finally:
        gc.enable()


def test_what_is_alive_is_looked_at_when_it_is_saved() -> None:
    saver = Saver()
    same = [dfc.Variable(0.0, name="same"), dfc.Variable(0.0, name="same")]
    with pytest.raises(InvalidArgument, match="two variables are called"):
        saver.save("nowhere", 1)
    assert len(same) == 2


def test_two_variables_of_one_name_and_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Saver([dfc.Variable(0.0, name="same"), dfc.Variable(0.0, name="same")])
    assert str(caught.value) == ("two variables are called 'same'\n  give the Saver a dict of names and variables")
    with pytest.raises(InvalidArgument, match="no variables to save"):
        Saver([]).save(tmp_path, 0)
    with pytest.raises(NotFound, match="there is no checkpoint at"):
        Saver([]).restore(tmp_path / "ckpt-9")
    assert latest_checkpoint(tmp_path) is None


def test_what_a_saver_refuses(tmp_path: Path) -> None:
    v = dfc.Variable(0.0, name="v")
    for wrong in ([dfc.asarray([1.0])], {"v": 3.0}):
        with pytest.raises(InvalidType, match=r"^a Saver takes variables, got "):
            Saver(wrong)  # type: ignore[arg-type]
    for step in (-1, 1.5, True, "3", None):
        with pytest.raises(InvalidArgument) as caught:
            Saver([v]).save(tmp_path / "new", step)  # type: ignore[arg-type]
        assert str(caught.value) == f"a checkpoint's step must be a whole number from 0 on, got {step!r}"
    assert not (tmp_path / "new").exists()
    Saver([v]).save(tmp_path, np.int64(3))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"^a variable can't be saved as '__metadata__'"):
        Saver({"__metadata__": v}).save(tmp_path, 4)
    with pytest.raises(NotFound) as directory:
        Saver([v]).restore(tmp_path)
    assert str(directory.value) == (
        f"there is no checkpoint at {tmp_path}\n  it is a directory of checkpoints: "
        f"dfc.train.latest_checkpoint('{tmp_path}') names the newest"
    )


def test_a_saver_without_a_list_takes_the_variables_there_are(tmp_path: Path) -> None:
    from dfc.frontend import variable

    kept = dfc.Variable(4.0, name="kept")
    names = [v.name for v in variable.alive_variables()]
    assert "kept" in names
    if len(set(names)) == len(names):  # other tests' variables may be alive here
        Saver().save(tmp_path, 1)
    else:
        Saver([kept]).save(tmp_path, 1)
    kept.assign(0.0)
    Saver([kept]).restore(tmp_path / "ckpt-1")
    assert kept.item() == 4


# ---- an optimiser's state before its first step

ONE = np.float32([1.0, 1.0])


def _model() -> tuple[dfc.Variable, Any]:
    return dfc.Variable(ONE, name="w"), train.Momentum(0.5, 0.5)


def _trained(tmp_path: Path, *, steps: int = 3) -> tuple[str, np.ndarray[Any, Any]]:
    """A checkpoint after some steps, and what the weights are after one more."""
    w, optimizer = _model()
    for _ in range(steps):
        optimizer.apply_gradients([(ONE, w)])
    path = Saver([w, optimizer]).save(tmp_path, steps)
    optimizer.apply_gradients([(ONE, w)])
    return path, w.numpy()


def test_a_saver_that_has_the_optimizer_restores_state_that_is_made_later(tmp_path: Path) -> None:
    path, expected = _trained(tmp_path)
    w, optimizer = _model()
    Saver([w, optimizer]).restore(path)
    assert optimizer.variables == []
    optimizer.apply_gradients([(ONE, w)])
    assert_array_equal(w.numpy(), expected)
    second, other = _model()
    other.apply_gradients([(ONE, second)])  # now it is there, and restored with the weights
    Saver([second, other]).restore(path)
    other.apply_gradients([(ONE, second)])
    assert_array_equal(second.numpy(), expected)


def test_the_state_has_the_value_of_the_last_restoring_once(tmp_path: Path) -> None:
    w, optimizer = _model()
    saver = Saver([w, optimizer])
    for steps in (3, 1):
        path, expected = _trained(tmp_path, steps=steps)
        saver.restore(path)
    optimizer.apply_gradients([(ONE, w)])
    assert_array_equal(w.numpy(), expected)
    anew = train.Momentum(0.5, 0.5)
    assert anew.slot(w, "momentum").numpy().tolist() == [0, 0], "it was taken by the other"


def test_a_renamed_variable_and_a_graphs_optimizer_have_the_state_too(tmp_path: Path) -> None:
    path, expected = _trained(tmp_path)
    w, optimizer = _model()
    Saver([w, optimizer]).restore(path)
    w.rename("other/name")
    with dfc.Graph() as graph:
        step, init = optimizer.apply_gradients([(ONE, w)]), dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)
        session.run(step)
    assert_array_equal(w.numpy(), expected)


def test_state_that_begins_anew_though_a_checkpoint_has_it_is_told_once(tmp_path: Path) -> None:
    w, optimizer = dfc.Variable(ONE, name="w"), train.Adam(0.5)
    optimizer.apply_gradients([(ONE, w)])
    path = Saver([w, *optimizer.variables]).save(tmp_path, 1)
    again, other = dfc.Variable(ONE, name="w"), train.Adam(0.5)
    Saver([again, *other.variables]).restore(path)  # which has none yet
    with pytest.warns(RuntimeWarning) as told:
        other.apply_gradients([(ONE, again)])
    assert [str(each.message) for each in told] == [
        f"the state 'w/m' begins anew, though the checkpoint {path} has it: what restored its variable was not given "
        "the optimiser, as in dfc.train.Saver([weights, optimizer]), or was for a session. Where it shall begin anew, "
        "optimizer.build([weights]) before restoring makes it without this warning"
    ]
    assert told[0].filename == __file__
    fresh, built = dfc.Variable(ONE, name="w"), train.Adam(0.5)
    built.build([fresh])
    Saver(fresh).restore(path)
    built.apply_gradients([(ONE, fresh)])
    assert_array_equal(fresh.numpy(), again.numpy())


def test_state_of_another_shape_does_not_fit(tmp_path: Path) -> None:
    w, optimizer = _model()
    path = Saver({"w": w, "w/momentum": dfc.Variable([1.0])}).save(tmp_path, 1)
    Saver([w, optimizer]).restore(path)
    with pytest.raises(InvalidArgument) as caught:
        optimizer.apply_gradients([(ONE, w)])
    assert f"'w/momentum' is float32[1] in the checkpoint {path} that was restored, and float32[2] is needed" in str(
        caught.value
    )


def test_a_checkpoint_that_lacks_state_which_was_restored_says_so(tmp_path: Path) -> None:
    path, _ = _trained(tmp_path)
    w, optimizer = _model()
    saver = Saver([w, optimizer])
    saver.restore(path)
    with pytest.warns(RuntimeWarning, match=rf"^nothing has taken w/momentum of the checkpoint {re.escape(path)} that"):
        saver.save(tmp_path, 9)
    saver.save(tmp_path, 10)  # told once


def test_what_a_saver_takes_beside_variables(tmp_path: Path) -> None:
    layer, w = dfc.nn.Dense(2, 2), dfc.Variable(1.0, name="one")
    path = Saver([layer, w]).save(tmp_path, 1)
    w.assign(0.0)
    Saver([w]).restore(path)
    assert w.item() == 1
    assert Saver(layer).save(tmp_path, 2).endswith("ckpt-2")


RESUMED = """
import sys
import numpy as np
import dfc

path, resumes = sys.argv[1], sys.argv[2] == "resume"
if not resumes:
    dfc.random.seed(3)
w, optimizer, saver = dfc.Variable([1.0, 2.0], name="w"), dfc.train.Adam(0.1), dfc.train.Saver()
average = dfc.train.ExponentialMovingAverage(0.5, zero_debias=True)

@dfc.function
def step():
    optimizer.minimize(dfc.sum((w - dfc.random.normal((2,))) ** 2), [w])
    average.apply([w])

if resumes:
    saver.restore(dfc.train.latest_checkpoint(path))
else:
    for _ in range(3):
        step()
    other = dfc.Variable(0.0, name="gone")
    saver.save(path, 3)
for _ in range(2):
    step()
print(w.numpy().tolist(), average.average(w).numpy().tolist())
"""


def test_a_process_resumes_another_one_to_the_bit(tmp_path: Path) -> None:
    """With a Saver of all variables, those that are made after restoring too: Adam's, averages, the generator's."""

    def run(mode: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", RESUMED, str(tmp_path / "checkpoints"), mode]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)

    straight, resumed = run("straight"), run("resume")
    assert resumed.stdout == straight.stdout != ""
    assert straight.stderr == ""
    assert "has names of no variable here, which are not restored: gone; " in resumed.stderr
