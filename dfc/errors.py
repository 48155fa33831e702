"""The errors of dfc: one class a kind, one rendering.

Every class derives from `DfcError` and from the Python built-in that callers already catch for that kind of mistake.
"""

from __future__ import annotations

import linecache
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Diagnostic:
    """What an error says: the requirement with the values it got, the operation, the constraint's label, the user's
    source position (`file:line:col`) and what to do about it. The only place where an error becomes text."""

    message: str
    op: str = ""
    label: str = ""
    location: str = ""
    hint: str = ""

    def render(self) -> str:
        text = f"{self.op}: {self.message}" if self.op else self.message
        if self.label:
            text += f" [{self.label}]"
        if self.location:
            text += f"\n  at {self.location}{source_line(self.location)}"
        if self.hint:
            text += f"\n  {self.hint}"
        return text


def source_line(location: str) -> str:
    """The text of the line at `file:line[:col]`, as `: code`, or nothing where the file can't be read."""
    parts = location.split(" ")[0].rsplit(":", 2)
    while len(parts) > 1 and not parts[1].isdigit():
        parts = [":".join(parts[:2]), *parts[2:]]
    if len(parts) < 2:
        return ""
    line = linecache.getline(parts[0], int(parts[1])).strip()
    return f": {line}" if line else ""


class DfcError(Exception):
    """Base of all errors that dfc raises on purpose."""

    def __init__(self, message: str, *, op: str = "", label: str = "", location: str = "", hint: str = "") -> None:
        self.diagnostic = Diagnostic(message, op, label, location, hint)
        super().__init__(message)

    def __str__(self) -> str:
        return self.diagnostic.render()

    def at(self, *, op: str = "", location: str = "") -> DfcError:
        """The same error with the operation and the source position filled in where they are still unknown."""
        known = self.diagnostic
        self.diagnostic = replace(known, op=known.op or op, location=known.location or location)
        return self


class InvalidArgument(DfcError, ValueError):
    """A value, shape or option breaks a stated requirement."""


class InvalidType(InvalidArgument, TypeError):
    """A dtype or a Python type breaks a stated requirement."""


class NoGradient(InvalidArgument, LookupError):
    """An operation on the path has no gradient rule."""


class NotFound(DfcError, LookupError):
    """A name, key, file or entry does not exist."""


class OutOfRange(DfcError, IndexError):
    """An index or a read goes past the end."""


class FailedPrecondition(DfcError, RuntimeError):
    """The system is not in the state that the call needs."""


class Aborted(DfcError, RuntimeError):
    """The call was aborted by a concurrent one."""


class Cancelled(DfcError, RuntimeError):
    """The call was cancelled before it finished."""


class Internal(DfcError, RuntimeError):
    """Something that dfc relies on failed; the original error is the cause."""


class DataLoss(DfcError, RuntimeError):
    """A file is damaged or truncated."""


class DeadlineExceeded(DfcError, TimeoutError):
    """The time limit passed first."""


class Unavailable(DfcError, ConnectionError):
    """A task or a service cannot be reached now."""


class ResourceExhausted(DfcError, MemoryError):
    """Memory or another bounded resource ran out."""


class AlreadyExists(DfcError, ValueError):
    """A name is taken."""


class Unimplemented(DfcError, NotImplementedError):
    """The operation exists, but not for these dtypes or this device."""
