"""Checkpoints: what comes back, what is kept, what damage and a kill leave (rows I2 to I4, part of I7)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from dfc.errors import DataLoss, DfcError, InvalidArgument, NotFound
from dfc.runtime import tensor_file
from dfc.runtime.checkpoint import latest_checkpoint, restore, save

ROOT = Path(__file__).resolve().parents[2]
SHARD = "00000-of-00001.safetensors"
ARRAYS: dict[str, Any] = {
    "layer/weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "layer/bias": np.array([1.5, -2], ml_dtypes.bfloat16),
    "step": np.array(7, np.int64),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float64),
    "spectrum": np.array([1 + 2j, -3j]),
    "small": np.array([1j], np.complex64),
    "words": np.array([[b"a", b""], [b"nul\0inside\0", "gr\u00fcn".encode()]], object),
    "transposed": np.arange(6.0).reshape(2, 3).T,
}


def small(value: float = 0.0) -> dict[str, Any]:
    return {"w": np.full(3, value, np.float32)}


def kept(folder: Path) -> list[str]:
    return sorted((p.name for p in folder.iterdir() if p.is_dir()), key=lambda name: int(name.rpartition("-")[2]))


def test_i1_every_dtype_comes_back_bit_for_bit(tmp_path: Path) -> None:
    found = restore(save(tmp_path, 1, ARRAYS))
    assert sorted(found) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tolist() == array.tolist(), name


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    from safetensors import safe_open

    save(tmp_path, 1, {"w": ARRAYS["layer/weights"], "s": ARRAYS["words"]})
    with safe_open(tmp_path / "ckpt-1" / SHARD, framework="numpy") as file:
        assert sorted(file.keys()) == ["s", "s:offsets", "w"]
        np.testing.assert_array_equal(file.get_tensor("w"), ARRAYS["layer/weights"])
        np.testing.assert_array_equal(file.get_tensor("s:offsets"), [0, 1, 1, 12, 17])


def test_i2_files_have_their_names_and_nothing_temporary_stays(tmp_path: Path) -> None:
    assert save(tmp_path, 20, small()) == str(tmp_path / "ckpt-20")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "ckpt-20"]
    assert sorted(p.name for p in (tmp_path / "ckpt-20").iterdir()) == [SHARD, "index.json"]
    index = json.loads((tmp_path / "ckpt-20" / "index.json").read_text())
    assert index["step"] == 20
    assert index["tensors"] == {"w": {"dtype": "float32", "shape": [3], "file": SHARD}}


def test_i3_the_state_file_is_relative_so_a_copy_restores(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    for step in (10, 20):
        save(folder, step, small(step))
    assert json.loads((folder / "checkpoint").read_text()) == {"latest": "ckpt-20", "all": ["ckpt-10", "ckpt-20"]}
    shutil.copytree(folder, tmp_path / "b")
    shutil.rmtree(folder)
    latest = latest_checkpoint(tmp_path / "b")
    assert latest == str(tmp_path / "b" / "ckpt-20")
    np.testing.assert_array_equal(restore(latest)["w"], np.full(3, 20))


def test_i3_without_a_checkpoint_there_is_no_latest(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "absent") is None


def test_i3_a_deleted_latest_falls_back_to_the_one_before(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, step, small(step))
    shutil.rmtree(tmp_path / "ckpt-2")
    assert latest_checkpoint(tmp_path) == str(tmp_path / "ckpt-1")


def test_i4_the_last_five_are_kept(tmp_path: Path) -> None:
    for step in range(1, 8):
        save(tmp_path, step, small(step))
    assert kept(tmp_path) == [f"ckpt-{step}" for step in range(3, 8)]


@pytest.mark.parametrize("limit", [0, None])
def test_i4_no_limit_keeps_all(tmp_path: Path, limit: int | None) -> None:
    for step in range(1, 8):
        save(tmp_path, step, small(step), max_to_keep=limit)
    assert kept(tmp_path) == [f"ckpt-{step}" for step in range(1, 8)]


def test_i4_saving_a_step_again_makes_it_the_newest(tmp_path: Path) -> None:
    for step in (1, 2, 1, 3):
        save(tmp_path, step, small(10 + step), max_to_keep=2)
    assert kept(tmp_path) == ["ckpt-1", "ckpt-3"]
    save(tmp_path, 1, small(99), max_to_keep=2)
    np.testing.assert_array_equal(restore(tmp_path / "ckpt-1")["w"], np.full(3, 99))
    assert latest_checkpoint(tmp_path) == str(tmp_path / "ckpt-1")


def test_i4_at_most_one_is_deleted_a_save(tmp_path: Path) -> None:
    for step in range(1, 6):
        save(tmp_path, step, small(step))
    save(tmp_path, 6, small(), max_to_keep=2)
    assert kept(tmp_path) == [f"ckpt-{step}" for step in range(2, 7)]


def test_i7_some_names_only(tmp_path: Path) -> None:
    path = save(tmp_path, 1, ARRAYS)
    assert list(restore(path, ["step"])) == ["step"]


def test_i7_errors_for_what_is_not_there(tmp_path: Path) -> None:
    path = save(tmp_path, 1, {"a": np.zeros(1), "b": np.zeros(1)})
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: restore(path, ["a", "c", "d"]), f"the checkpoint {path} lacks 2 of 3 names: c, d\n  it has a, b"),
        (lambda: restore(path, ["c"]), f"the checkpoint {path} has no c\n  it has a, b"),
        (lambda: restore(tmp_path / "ckpt-9"), f"there is no checkpoint at {tmp_path / 'ckpt-9'}"),
    ]
    for call, text in cases:
        with pytest.raises(NotFound) as caught:
            call()
        assert str(caught.value) == text
    with pytest.raises(InvalidArgument) as nothing:
        save(tmp_path, 2, {})
    assert str(nothing.value) == "no variables to save"


def test_i7_many_missing_names_are_counted_and_near_ones_named(tmp_path: Path) -> None:
    there = [f"net/layer_{i}/weights" for i in range(9)]
    path = save(tmp_path, 1, {name: np.zeros(1) for name in [*there, "net/first/b", "scale"]})
    wanted = ["scale", "net/layer_3/weight", "nothing alike", "b", *(f"absent_{i}" for i in range(40))]
    with pytest.raises(NotFound) as caught:
        restore(path, wanted)
    assert str(caught.value) == (
        f"the checkpoint {path} lacks 43 of 44 names: net/layer_3/weight, nothing alike, b, absent_0, absent_1 "
        "and 38 more\n"
        "  did you mean 'net/layer_3/weights' for 'net/layer_3/weight', 'net/first/b' for 'b'? it has "
        "net/first/b, net/layer_0/weights, net/layer_1/weights, net/layer_2/weights, net/layer_3/weights and 6 more"
    )


def test_a_name_that_strings_need_for_their_offsets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as caught:
        save(tmp_path, 1, {"s": np.array([b"a"], object), "s:offsets": np.zeros(2, np.int64)})
    assert str(caught.value) == "the name 's:offsets' is needed for the offsets of the strings 's'"
    assert list(tmp_path.iterdir()) == []


def _flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def _newer(path: Path) -> None:
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))


def _entry(path: Path, entry: Any) -> None:
    index = json.loads(path.read_text())
    path.write_text(json.dumps({**index, "tensors": {"w": entry}}))


@pytest.mark.parametrize(
    ("damage", "kind", "text"),
    [
        (lambda p: _flip(p / SHARD, -1), DataLoss, f"{SHARD} does not have the digest that the index states"),
        (lambda p: (p / SHARD).write_bytes(b""), DataLoss, f"{SHARD} does not have the digest that the index states"),
        (lambda p: (p / SHARD).unlink(), DataLoss, f"{SHARD} can't be read (No such file or directory)"),
        (lambda p: (p / "index.json").write_text('{"format'), DataLoss, "index.json is not JSON"),
        (lambda p: (p / "index.json").write_text("[]"), DataLoss, "index.json states no format"),
        (lambda p: _entry(p / "index.json", {}), DataLoss, "index.json does not say what 'w' is"),
        (lambda p: _entry(p / "index.json", 3), DataLoss, "index.json does not say what 'w' is"),
        (lambda p: (p / "index.json").write_bytes(b"\xff\xfe"), DataLoss, "index.json is not JSON"),
        (lambda p: _newer(p / "index.json"), InvalidArgument, "has format 2; this dfc reads up to 1"),
    ],
)
def test_damage_is_one_clear_error(
    tmp_path: Path, damage: Callable[[Path], Any], kind: type[DfcError], text: str
) -> None:
    path = Path(save(tmp_path, 1, small()))
    damage(path)
    with pytest.raises(kind) as caught:
        restore(path)
    assert str(caught.value).startswith(f"the checkpoint {path} ")
    assert text in str(caught.value)


def test_a_damaged_state_file_is_an_error(tmp_path: Path) -> None:
    save(tmp_path, 1, small())
    names = ("", ".", "..", "ckpt-", "ckpt-1/x")
    listed = [json.dumps({"latest": "ckpt-1", "all": [name, "ckpt-1"]}) for name in names]
    for content in ("{", "[]", '{"latest": "../x", "all": []}', *listed):
        (tmp_path / "checkpoint").write_text(content)
        with pytest.raises(DataLoss, match=f"^the state file {tmp_path / 'checkpoint'} is damaged: "):
            latest_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 8 + b"{}", b"\x02" + b"\0" * 7 + b"[]", b"\x04" + b"\0" * 7 + b"{x}}"]
)
def test_a_damaged_tensor_file_is_an_error(content: bytes) -> None:
    with pytest.raises(DataLoss, match=r"^f is damaged: its header can't be read"):
        tensor_file.TensorFile(content, "f")


@pytest.mark.parametrize(
    ("old", "new"), [(b"[0,12]", b"[0,13]"), (b"[0,12]", b"[9,12]"), (b'"F32"', b'"F99"'), (b"[3]", b"[4]")]
)
def test_a_damaged_tensor_is_an_error(old: bytes, new: bytes) -> None:
    content = tensor_file.pack(small()).replace(old, new)
    assert new in content
    with pytest.raises(DataLoss, match=r"^f is damaged: tensor 'w' can't be read"):
        tensor_file.TensorFile(content, "f")["w"]


def test_a_damaged_state_file_deletes_nothing(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("x")
    (tmp_path / "checkpoint").write_text('{"latest": "ckpt-1", "all": ["", "ckpt-1"]}')
    with pytest.raises(DataLoss, match="'' is not the name of a checkpoint, ckpt-STEP"):
        save(tmp_path, 7, small(), max_to_keep=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "precious.txt"]


def test_a_folder_that_is_no_checkpoint_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "ckpt-1").mkdir()
    (tmp_path / "ckpt-1" / "notes.txt").write_text("x")
    (tmp_path / "checkpoint").write_text('{"latest": "ckpt-1", "all": ["ckpt-1"]}')
    save(tmp_path, 2, small(), max_to_keep=1)
    assert (tmp_path / "ckpt-1" / "notes.txt").read_text() == "x"
    assert latest_checkpoint(tmp_path) == str(tmp_path / "ckpt-2")


def test_saves_from_many_threads_are_all_listed(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for step in range(first, first + 8):
                save(tmp_path, step, small(step), max_to_keep=None)
                save(tmp_path, 10**6, small(step), max_to_keep=None)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(100 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    listed = json.loads((tmp_path / "checkpoint").read_text())["all"]
    assert sorted(listed) == sorted(kept(tmp_path))
    assert len(listed) == 4 * 8 + 1
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("ckpt-")) == ["checkpoint"]


SAVER = """
import itertools, sys
import numpy as np
from dfc.runtime.checkpoint import save
for i in itertools.count(1):
    if i == 3:
        print("ready", flush=True)
    arrays = {f"w{k}": np.full(50_000, i, np.float32) for k in range(4)}
    save(sys.argv[1], i if sys.argv[2] == "steps" else 1, arrays, max_to_keep=2)
"""


@pytest.mark.parametrize("mode", ["steps", "again"])
def test_i2_a_kill_in_the_middle_leaves_a_whole_checkpoint(tmp_path: Path, mode: str) -> None:
    rng = np.random.default_rng(0)
    last = 0.0
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path), mode],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        latest = latest_checkpoint(tmp_path)
        assert latest is not None
        found = restore(latest)
        assert len({float(value) for array in found.values() for value in np.unique(array)}) == 1
        last = max(last, float(found["w0"][0]))
    assert last > 1  # it did get to save
    save(tmp_path, 10**6, small(), max_to_keep=2)  # and the folder can be used again
    assert latest_checkpoint(tmp_path) == str(tmp_path / "ckpt-1000000")
