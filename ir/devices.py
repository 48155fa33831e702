"""Names of devices: `/job:ps/replica:0/task:1/device:GPU:0`, whole or in part, and how they combine.

A part that is not said stands for any: `/job:ps` is any device of that job, `/device:GPU:*` any GPU. Short forms are
`/gpu:0`, `GPU:0` and `gpu`. The scheme is TensorFlow's (`DeviceNameUtils`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from dfc.errors import InvalidArgument

REQUEST, COLOCATE, ASSIGNED = "device", "colocate", "assigned"
"""Attributes of ops: the device that the user asked for; labels of the groups that the op is colocated with, with
blanks between; and the device that the op has once it is placed."""

MESH = "MESH"
"""The type of a mesh of devices, on which programs are as on one; its number is that of this process."""
PRIORITY: Sequence[str] = ("TPU", "GPU", "CPU", MESH)
"""Types of devices, the one to take first where an op may be on several."""

_JOB = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
HINT = (
    "a device reads /job:NAME/replica:N/task:N/device:TYPE:N, each part of which may be left out, as in /device:CPU:0"
)


@dataclass(frozen=True)
class DeviceName:
    """The parts of a name; None stands for any. `str` gives the text, the same for equal names."""

    job: str | None = None
    replica: int | None = None
    task: int | None = None
    kind: str | None = None
    index: int | None = None

    def __str__(self) -> str:
        parts = [
            f"/{part}:{value}"
            for part, value in (("job", self.job), ("replica", self.replica), ("task", self.task))
            if value is not None
        ]
        if self.kind is not None or self.index is not None:
            parts.append(f"/device:{self.kind or '*'}:{'*' if self.index is None else self.index}")
        return "".join(parts)

    @property
    def is_full(self) -> bool:
        """Whether it names one device."""
        return None not in (self.job, self.replica, self.task, self.kind, self.index)

    @property
    def task_only(self) -> DeviceName:
        """The same without type and number of the device."""
        return DeviceName(self.job, self.replica, self.task)

    def covers(self, other: DeviceName) -> bool:
        """Whether each part that this says, `other` says too."""
        return all(mine is None or mine == theirs for mine, theirs in zip(self._parts, other._parts, strict=True))

    def overridden_by(self, inner: DeviceName) -> DeviceName:
        """The parts of `inner`, and of this where `inner` says nothing: what nested scopes ask for. The number of a
        device goes with its type."""
        other_kind = inner.kind not in (None, self.kind)
        return DeviceName(
            self.job if inner.job is None else inner.job,
            self.replica if inner.replica is None else inner.replica,
            self.task if inner.task is None else inner.task,
            self.kind if inner.kind is None else inner.kind,
            self.index if inner.index is None and not other_kind else inner.index,
        )

    def merged(self, other: DeviceName, *, soft: bool = False) -> DeviceName:
        """What both say. Where they say different things: InvalidArgument, or with `soft`, of type and number, any."""
        found: list[str | int | None] = []
        for part, mine, theirs in zip(_PARTS, self._parts, other._parts, strict=True):
            if mine is None or theirs is None or mine == theirs:
                found.append(theirs if mine is None else mine)
            elif soft and part == "types":
                return self.task_only.merged(other.task_only)
            elif soft and part == "ids":
                found.append(None)
            else:
                raise InvalidArgument(f"Cannot merge devices with incompatible {part}: '{self}' and '{other}'")
        return DeviceName(*found)  # type: ignore[arg-type]

    @property
    def _parts(self) -> tuple[str | int | None, ...]:
        return self.job, self.replica, self.task, self.kind, self.index

    @property
    def sort_key(self) -> tuple[str, int, int, str, int]:
        """Jobs by name, then by number; any comes first."""
        numbers = [-1 if n is None else n for n in (self.replica, self.task, self.index)]
        return self.job or "", numbers[0], numbers[1], self.kind or "", numbers[2]


_PARTS = ("jobs", "replicas", "tasks", "types", "ids")
ANY = DeviceName()


@cache
def parse(text: str) -> DeviceName:
    """The name that `text` says, `""` for any. Raises InvalidArgument for what is none."""
    said: dict[str, str | int | None] = {}

    def say(part: str, value: str | int | None) -> None:
        if part in said:
            raise InvalidArgument(f"Malformed device specification '{text}': it says its {part} twice", hint=HINT)
        said[part] = value

    body = text.removeprefix("/")
    for word in body.split("/") if body else ():
        part, _, value = word.partition(":")
        lowered = part.lower()
        if lowered == "job" and _JOB.fullmatch(value):
            say("job", value)
        elif lowered in ("replica", "task") and (value == "*" or value.isdecimal()):
            say(lowered, _number(value))
        elif lowered == "device":
            kind, _, index = value.partition(":")
            if not (kind == "*" or _KIND.fullmatch(kind)) or not (index in ("", "*") or index.isdecimal()):
                raise _malformed(text)
            say("kind", None if kind == "*" else kind.upper())
            said["index"] = _number(index)
        elif part.upper() in PRIORITY and (value in ("", "*") or value.isdecimal()):
            say("kind", part.upper())
            said["index"] = _number(value)
        else:
            raise _malformed(text)
    return DeviceName(**said)  # type: ignore[arg-type]


def _malformed(text: str) -> InvalidArgument:
    return InvalidArgument(f"Malformed device specification '{text}'", hint=HINT)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def parse_full(text: str) -> DeviceName:
    """The device that `text` names. Raises InvalidArgument unless it says all parts."""
    name = parse(text)
    if not name.is_full:
        raise InvalidArgument(f"'{text}' names no single device", hint=HINT)
    return name


LOCAL = DeviceName("localhost", 0, 0)
"""The task that a process is where there is no cluster."""


def local(kind: str, index: int) -> DeviceName:
    """A device of this process."""
    return replace(LOCAL, kind=kind.upper(), index=index)


def listed(names: Iterable[DeviceName]) -> str:
    """Names for a message, in order."""
    return ", ".join(map(str, sorted(names, key=lambda name: name.sort_key)))


def priority(name: DeviceName) -> tuple[int, tuple[str, int, int, str, int]]:
    """Sorts devices: by type, then by name."""
    kind = name.kind or ""
    return PRIORITY.index(kind) if kind in PRIORITY else -1, name.sort_key
