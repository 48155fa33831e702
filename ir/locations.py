"""Source positions: captured cheaply from the user's frame, formatted only when somebody reads them."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from types import CodeType, FrameType
from typing import Any

from xdsl.dialects.builtin import (
    ArrayAttr,
    CallSiteLoc,
    FileLineColLoc,
    FusedLoc,
    IntAttr,
    LocationAttr,
    NameLoc,
    NoneAttr,
    StringAttr,
    UnknownLoc,
)

UNKNOWN = UnknownLoc()
MAX_FUSED = 8
_NONE = NoneAttr()
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_package_prefixes: set[str] = set()
_positions: dict[tuple[CodeType, int], FileLineColLoc] = {}
_internal: dict[CodeType, bool] = {}


def add_internal_prefix(path: str) -> None:
    """Frames of files under `path`, or of the file that it is, are never a user's line, as dfc's own."""
    _package_prefixes.add(path if path.endswith(".py") else os.path.join(path, ""))
    _internal.clear()


def capture() -> LocationAttr:
    """The position of the innermost frame outside dfc."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        internal = _internal.get(code)
        if internal is None:
            internal = _internal[code] = _is_internal(code)
        if not internal:
            key = (code, frame.f_lasti)
            return _positions.get(key) or _position(key, frame)
        frame = frame.f_back
    return UNKNOWN


def is_internal(code: CodeType) -> bool:
    """Whether the code is dfc's own, by its file."""
    return any(code.co_filename.startswith(p) for p in _package_prefixes)


def is_own(location: Any) -> bool:
    """Whether the position is in dfc's own code, as that of a function is which is made of an operation at once."""
    return isinstance(location, FileLineColLoc) and any(map(location.filename.data.startswith, _package_prefixes))


def _is_internal(code: CodeType) -> bool:
    if code.co_filename == "<string>" and code.co_name == "__init__" and "__post_init__" in code.co_names:
        return True  # what `dataclass` writes
    return is_internal(code) or code.co_filename.startswith("<frozen") or code.co_filename == contextlib.__file__


def _position(key: tuple[CodeType, int], frame: FrameType) -> FileLineColLoc:
    code, last = key
    line, column = frame.f_lineno, 0
    for index, position in enumerate(code.co_positions()):
        if index == last // 2:
            line, column = position[0] or line, (position[2] or 0) + 1
            break
    return _positions.setdefault(key, file_location(code.co_filename, line, column))


def file_location(file: str, line: int, column: int = 0) -> FileLineColLoc:
    return FileLineColLoc(StringAttr(file), IntAttr(line), IntAttr(column))


_grad: dict[int, tuple[LocationAttr, NameLoc]] = {}


def grad_location(forward: LocationAttr) -> LocationAttr:
    """`grad(forward)`: the position of an op that autodiff made for a forward op."""
    found = _grad.get(id(forward))
    if found is None:
        found = _grad[id(forward)] = (forward, NameLoc(StringAttr("grad"), forward))
    return found[1]


def fuse(*locations: LocationAttr) -> LocationAttr:
    """One location that names each of `locations` once, the first `MAX_FUSED` of them."""
    parts: list[LocationAttr] = []
    for location in locations:
        members: Any = location.locations.data if isinstance(location, FusedLoc) else (location,)  # type: ignore[attr-defined]
        for member in members:
            if not isinstance(member, UnknownLoc) and not any(member is p or member == p for p in parts):
                parts.append(member)
    if not parts:
        return UNKNOWN
    return parts[0] if len(parts) == 1 else FusedLoc(ArrayAttr(parts[:MAX_FUSED]), _NONE)


def is_known(location: Any) -> bool:
    return not isinstance(location, UnknownLoc | NoneAttr)


def describe(location: Any) -> str:
    """`file:line:col` for errors; `file:line:col (in its gradient)` for backward ops; empty where unknown."""
    if isinstance(location, FileLineColLoc):
        column = f":{location.column.data}" if location.column.data else ""
        return f"{location.filename.data}:{location.line.data}{column}"
    if isinstance(location, NameLoc):
        inner = describe(location.location)
        return f"{inner} (in its gradient)" if inner and location.desc.data == "grad" else inner
    if isinstance(location, FusedLoc):
        return next((d for d in map(describe, location.locations.data) if d), "")  # type: ignore[attr-defined]
    if isinstance(location, CallSiteLoc):
        return describe(location.callee)
    return ""


add_internal_prefix(_PACKAGE)


def warn(text: str, location: Any) -> None:
    """A RuntimeWarning at the user's line."""
    file, line = "<unknown>", 1
    if isinstance(location, FileLineColLoc):
        file, line = location.filename.data, location.line.data
    warnings.warn_explicit(text, RuntimeWarning, file, line)
