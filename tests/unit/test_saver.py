"""dfc.train.Saver: variables to checkpoints and back."""

from __future__ import annotations

import gc
from pathlib import Path

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
