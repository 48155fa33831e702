"""Checkpoints: named arrays in a directory, published by one rename (spec rows I2 to I4).

    DIR/checkpoint                                    {"latest": "ckpt-20", "all": ["ckpt-10", "ckpt-20"]}, relative
    DIR/ckpt-20/index.json                            step, files with their SHA-256, each array's dtype, shape and file
    DIR/ckpt-20/00000-of-00001.safetensors            the arrays

A save writes under a temporary name beginning with `.tmp-`; one that a killed process left is never read and may be
deleted. Everything is flushed to the disk before the rename, so a crash leaves the previous checkpoint whole. Saves of
one directory take turns from the rename on, between threads and, by a lock on the directory, between processes.
"""

from __future__ import annotations

import ctypes
import difflib
import hashlib
import json
import operator
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dfc.errors import DataLoss, InvalidArgument, NotFound
from dfc.ir.dtypes import as_dtype
from dfc.runtime import tensor_file
from dfc.runtime.tensor_file import Array, TensorFile

FORMAT = 1
STATE_FILE = "checkpoint"
INDEX_FILE = "index.json"
PREFIX = "ckpt-"
LISTED = 5
"""How many names an error lists."""
_NAME = re.compile(rf"{PREFIX}\d+")
_METADATA = "__metadata__"  # what safetensors calls the part of its header that is no tensor

_publishing = threading.RLock()  # one for all directories: what it guards is short
_within: list[Path] = []


def save(directory: str | Path, step: int, arrays: Mapping[str, Array], max_to_keep: int | None = 5) -> str:
    """Write `arrays` as checkpoint `step` of `directory` and return its path.

    Of more than `max_to_keep` checkpoints (0 or None: no limit) the oldest is deleted, at most one a save; saving a
    step again makes it the newest. Raises InvalidArgument where there is nothing to save, and for a step that is no
    whole number from 0 on; DataLoss for a damaged state file, before anything is written.
    """
    if not arrays:
        raise InvalidArgument("no variables to save")
    if _METADATA in arrays:
        raise InvalidArgument(
            f"a variable can't be saved as {_METADATA!r}: the file format keeps that name for itself",
            hint="give the Saver a dict with another name for it",
        )
    step = _checked_step(step)
    root = Path(directory)
    root.mkdir(parents=True, exist_ok=True)
    _state(root)
    name = f"{PREFIX}{step}"
    temporary = root / f".tmp-{name}-{os.getpid()}-{os.urandom(4).hex()}"
    temporary.mkdir()
    try:
        _write(temporary, step, arrays)
        with _turn(root):
            _publish(temporary, root / name)
            kept = [other for other in _state(root)["all"] if other != name] + [name]
            oldest = kept.pop(0) if max_to_keep and len(kept) > max_to_keep else None
            _write_file(root / STATE_FILE, json.dumps({"latest": name, "all": kept}, indent=1).encode(), replace=True)
            if oldest is not None:
                _delete(root / oldest)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return str(root / name)


def _checked_step(step: Any) -> int:
    try:
        number = operator.index(step)
    except TypeError:
        number = -1
    if number < 0 or isinstance(step, bool):
        raise InvalidArgument(f"a checkpoint's step must be a whole number from 0 on, got {step!r}")
    return number


@contextmanager
def _turn(root: Path) -> Iterator[None]:
    """Keep others from changing the directory's state: threads of this process, and processes where the system has
    `flock`. A signal handler's save in the middle of another one does not wait for itself."""
    with _publishing:
        descriptor = os.open(root, os.O_RDONLY)
        try:
            with suppress(ImportError, OSError):  # Windows; file systems without locks
                import fcntl

                fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if _within else 0))
            _within.append(root)
            try:
                yield
            finally:
                _within.pop()
        finally:
            os.close(descriptor)  # and with it the lock


def latest_checkpoint(directory: str | Path) -> str | None:
    """The path of the newest checkpoint in `directory`, or None. Raises DataLoss for a damaged state file."""
    root = Path(directory)
    state = _state(root)
    for name in [state["latest"], *reversed(state["all"])]:
        if name is not None and (root / name / INDEX_FILE).is_file():
            return str(root / name)
    return None


def restore(path: str | Path, names: Iterable[str] | None = None) -> dict[str, Array]:
    """The arrays of the checkpoint at `path`, all or those called `names`: views of the file's bytes in memory.

    Raises NotFound for a path that holds no checkpoint and for missing names, and DataLoss for a damaged one.
    """
    index = _index(Path(path))
    _check_entries(Path(path), index)
    wanted = list(index["tensors"] if names is None else names)
    if any(name not in index["tensors"] for name in wanted):
        raise lacking(path, wanted, index["tensors"])
    files: dict[str, TensorFile] = {}
    found: dict[str, Array] = {}
    for name in wanted:
        entry = index["tensors"][name]
        file = files.get(entry["file"])
        if file is None:
            file = files[entry["file"]] = _shard(Path(path), entry["file"], index["files"])
        found[name] = file[name]
        if as_dtype(found[name].dtype) != entry["dtype"] or list(found[name].shape) != entry["shape"]:
            raise DataLoss(f"the checkpoint {path} is damaged: the index and the file disagree on {name!r}")
    return found


def names_in(path: str | Path) -> list[str]:
    """The names of the arrays in the checkpoint at `path`. Raises NotFound where there is none, and DataLoss."""
    index = _index(Path(path))
    _check_entries(Path(path), index)
    return list(index["tensors"])


def lacking(path: str | Path, wanted: Sequence[str], present: Iterable[str], limit: int = LISTED) -> NotFound:
    """The error for names that are wanted of a checkpoint, and not all present: how many are missing, the first
    `limit` of them, and names there that may be meant."""
    known = list(present)
    missing = [name for name in wanted if name not in set(known)]
    what = f"has no {missing[0]}" if len(wanted) == 1 else f"lacks {len(missing)} of {len(wanted)} names"
    text = f"the checkpoint {path} {what}" + (f": {listed(missing, limit)}" if len(wanted) > 1 else "")
    others = [name for name in known if name not in set(wanted)]
    near = [f"{close!r} for {name!r}" for name in missing[:LISTED] if (close := _near(name, others)) is not None]
    hint = f"did you mean {', '.join(near)}? " if near else ""
    return NotFound(text, hint=f"{hint}it has {listed(sorted(known))}")


def _near(name: str, others: Sequence[str]) -> str | None:
    """One of the other names that is spelt alike, or is in another scope."""
    close = difflib.get_close_matches(name, others, n=1)
    local = name.rpartition("/")[2]
    return close[0] if close else next((other for other in others if other.rpartition("/")[2] == local), None)


def listed(names: Sequence[str], limit: int = LISTED) -> str:
    """The first `limit` names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "nothing") + more


def _state(root: Path) -> dict[str, Any]:
    try:
        content = json.loads((root / STATE_FILE).read_bytes())
        latest, every = content["latest"], content["all"]
        wrong = [name for name in [latest, *every] if not (isinstance(name, str) and _NAME.fullmatch(name))]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not the name of a checkpoint, {PREFIX}STEP")
        return {"latest": latest, "all": every}
    except (FileNotFoundError, NotADirectoryError):
        return {"latest": None, "all": []}
    except (ValueError, KeyError, TypeError) as error:
        raise DataLoss(f"the state file {root / STATE_FILE} is damaged: {error}") from error


def _index(path: Path) -> dict[str, Any]:
    try:
        content = json.loads((path / INDEX_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        hint = ""
        if (path / STATE_FILE).is_file():
            hint = f"it is a directory of checkpoints: dfc.train.latest_checkpoint({str(path)!r}) names the newest"
        raise NotFound(f"there is no checkpoint at {path}", hint=hint) from error
    except ValueError as error:
        raise DataLoss(f"the checkpoint {path} is damaged: {INDEX_FILE} is not JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise DataLoss(f"the checkpoint {path} is damaged: {INDEX_FILE} states no format")
    if content["format"] > FORMAT:
        raise InvalidArgument(f"the checkpoint {path} has format {content['format']}; this dfc reads up to {FORMAT}")
    if not isinstance(content.get("tensors"), dict) or not isinstance(content.get("files"), dict):
        raise DataLoss(f"the checkpoint {path} is damaged: {INDEX_FILE} lists no tensors")
    return content


def _check_entries(path: Path, index: Mapping[str, Any]) -> None:
    for name, entry in index["tensors"].items():
        known = isinstance(entry, dict) and isinstance(entry.get("shape"), list)
        if not known or not all(isinstance(entry.get(key), str) for key in ("dtype", "file")):
            raise DataLoss(f"the checkpoint {path} is damaged: {INDEX_FILE} does not say what {name!r} is")


def _shard(path: Path, name: str, digests: Mapping[str, str]) -> TensorFile:
    try:
        content = (path / os.path.basename(name)).read_bytes()
    except OSError as error:
        raise DataLoss(f"the checkpoint {path} is damaged: {name} can't be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != digests.get(name):
        raise DataLoss(f"the checkpoint {path} is damaged: {name} does not have the digest that the index states")
    return TensorFile(content, str(path / name))


def _write(folder: Path, step: int, arrays: Mapping[str, Array]) -> None:
    file = "00000-of-00001.safetensors"
    content = tensor_file.pack(arrays)
    tensors = {
        name: {"dtype": as_dtype(array.dtype).name, "shape": list(array.shape), "file": file}
        for name, array in arrays.items()
    }
    files = {file: hashlib.sha256(content).hexdigest()}
    index = {"format": FORMAT, "step": step, "files": files, "tensors": tensors}
    _write_file(folder / file, content)
    _write_file(folder / INDEX_FILE, json.dumps(index, indent=1).encode())
    _flush_folder(folder)


def _write_file(path: Path, content: bytes, *, replace: bool = False) -> None:
    target = path.with_name(f".tmp-{path.name}-{os.getpid()}-{os.urandom(4).hex()}") if replace else path
    with open(target, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if replace:
        os.replace(target, path)
        _flush_folder(path.parent)


def _publish(temporary: Path, final: Path) -> None:
    """Give the written folder its name. A step saved before is exchanged for it, so one of the two is always there."""
    if not final.exists():
        os.rename(temporary, final)
    elif _exchange(temporary, final):
        _delete(temporary)
    else:
        _delete(final)
        os.rename(temporary, final)
    _flush_folder(final.parent)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two names in one step, where the system can (Linux); whether it did."""
    if sys.platform != "linux":
        return False
    at_cwd, rename_exchange = -100, 2
    with suppress(AttributeError):
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        return bool(rename(at_cwd, os.fsencode(a), at_cwd, os.fsencode(b), rename_exchange) == 0)
    return False


def _delete(folder: Path) -> None:
    """Delete a checkpoint, and nothing that isn't one. It loses its name first, so no half of it is ever taken for a
    whole one."""
    if not (folder / INDEX_FILE).is_file():
        return
    if not folder.name.startswith(".tmp-"):
        with suppress(FileNotFoundError):
            doomed = folder.with_name(f".tmp-deleted-{folder.name}-{os.getpid()}-{os.urandom(4).hex()}")
            os.rename(folder, doomed)
            folder = doomed
    shutil.rmtree(folder, ignore_errors=True)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
