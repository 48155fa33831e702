"""Compile programs for a target in another process, so that what goes wrong there goes no further.

`backends/compile_worker.py` is what runs in it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dfc.errors
from dfc.backends import compile_worker, targets
from dfc.backends.targets import Target
from dfc.errors import DeadlineExceeded, DfcError, Internal

TIME_LIMIT = 1800.0
"""Seconds that a target has for all of its programs, unless the caller says otherwise."""


@dataclass(frozen=True)
class Program:
    """What is to be compiled: a StableHLO portable artifact whose donated arguments are marked, and names of its first
    arguments, for errors."""

    name: str
    code: bytes
    arguments: Sequence[str] = ()


@dataclass(frozen=True)
class Compiled:
    """An executable, its optimised HLO as text, what it needs of a machine (`stamp`), and what it takes and what made
    it (`statistics`)."""

    blob: bytes
    hlo: str
    stamp: Mapping[str, Any]
    statistics: Mapping[str, Any]


def compile_apart(target: Target, programs: Sequence[Program], *, time_limit: float = TIME_LIMIT) -> list[Compiled]:
    """Compile `programs` for `target`, all in one new process.

    Raises Unimplemented where this machine lacks the compiler, ResourceExhausted for a program that the target has no
    memory for, DeadlineExceeded, Internal where the compiler ends the process, and the compiler's own errors as
    dfc's. Where the process ended, by itself or for its time, the error names a file with all that it printed.
    """
    targets.check_compiler(target)
    with tempfile.TemporaryDirectory(prefix="dfc-compile-") as name:
        folder = Path(name)
        for index, program in enumerate(programs):
            (folder / f"{index}.vhlo").write_bytes(program.code)
        listed = [{"name": program.name, "arguments": list(program.arguments)} for program in programs]
        job = {"target": target.name, "programs": listed}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        code = _run(target, folder, programs, time_limit)
        if (folder / "error.json").exists():
            raise _refusal(target, folder)
        if code != 0:
            raise _crash(target, folder, programs, code)
        return [_result(folder / str(index)) for index in range(len(programs))]


def _run(target: Target, folder: Path, programs: Sequence[Program], time_limit: float) -> int:
    """Run the worker; its exit code. Its output goes to a file, and it ends with this call, whatever happens."""
    command = [sys.executable, "-P", "-m", "dfc.backends.compile_worker", str(folder)]
    with open(folder / "log.txt", "wb") as log:
        worker = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(target, folder)
        )
        try:
            return worker.wait(time_limit)
        except subprocess.TimeoutExpired:
            raise DeadlineExceeded(
                f"compiling {_current(folder, programs)} for {target.name} was stopped after {time_limit:g} s",
                hint=f"what the compiler printed is in {_kept_log(target, folder)}",
            ) from None
        finally:
            worker.kill()
            worker.wait()


def _environment(target: Target, folder: Path) -> dict[str, str]:
    """What the worker sees: this process's variables, and what its compiler wants to know before it starts."""
    variables = dict(os.environ)
    package = str(Path(dfc.errors.__file__).resolve().parents[1])
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, (package, variables.get("PYTHONPATH"))))
    variables["TF_CPP_MIN_LOG_LEVEL"] = "0"  # the log is what remains of a crash
    flags = [variables.get("XLA_FLAGS", "")]
    if target.platform == "cpu" and target.model:
        flags.append(compile_worker.level_flags(target, folder))
    if target.platform == "tpu":  # or libtpu asks the cloud's server for the machine that it is on, and waits for it
        variables |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    variables["XLA_FLAGS"] = " ".join(filter(None, flags))
    return variables


def _result(path: Path) -> Compiled:
    found = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    hlo = path.with_suffix(".hlo").read_text(encoding="utf-8")
    return Compiled(path.with_suffix(".exe").read_bytes(), hlo, found["stamp"], found["statistics"])


def _current(folder: Path, programs: Sequence[Program]) -> str:
    """The program that was being compiled: the first one without a result."""
    unfinished = (p.name for index, p in enumerate(programs) if not (folder / f"{index}.json").exists())
    return repr(next(unfinished, programs[-1].name))


def _refusal(target: Target, folder: Path) -> DfcError:
    """The error that the worker ran into."""
    found = json.loads((folder / "error.json").read_text(encoding="utf-8"))
    kind = getattr(dfc.errors, found["kind"], Internal)
    message = found["message"] if target.name in found["message"] else f"{target.name}: {found['message']}"
    hint = f"what the compiler printed is in {_kept_log(target, folder)}" if kind is Internal else found["hint"]
    error = kind(message, hint=hint)
    assert isinstance(error, DfcError)
    return error


_FATAL = re.compile(rb"^F\d{4} [^\]]*\] (.*?)\s*$", re.MULTILINE)


def _crash(target: Target, folder: Path, programs: Sequence[Program], code: int) -> Internal:
    try:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    except ValueError:
        how = f"was ended by signal {-code}"
    said = _FATAL.search((folder / "log.txt").read_bytes())
    reason = f": {said[1].decode(errors='replace')}" if said else ""
    return Internal(
        f"the compiler of {target.name} {how} while it compiled {_current(folder, programs)}{reason}",
        hint=f"what it printed is in {_kept_log(target, folder)}",
    )


def _kept_log(target: Target, folder: Path) -> str:
    """The log's new place, where it stays."""
    descriptor, path = tempfile.mkstemp(prefix=f"dfc-compile-{target.stem}-", suffix=".log")
    with os.fdopen(descriptor, "wb") as file:
        file.write((folder / "log.txt").read_bytes())
    return path
