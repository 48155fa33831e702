"""The syntax tree of a function, found in its file by its place: positions in it are those of the user's lines."""

from __future__ import annotations

import ast
import linecache
import threading
from collections.abc import Iterator
from types import CodeType

FunctionNode = ast.FunctionDef | ast.Lambda
Context = tuple[str, ...]


class Unconvertible(Exception):
    """Why a function can't be converted, and at which line of its file where that is known."""

    def __init__(self, reason: str, node: ast.AST | None = None) -> None:
        super().__init__(reason)
        self.reason, self.node = reason, node
        self.line: int | None = getattr(node, "lineno", None)


class _File:
    """A file's functions by the line that their code objects name."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.functions: dict[int, list[ast.AST]] = {}
        for node in ast.walk(ast.parse("".join(lines))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                self.functions.setdefault(_first_line(node), []).append(node)


def _first_line(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> int:
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min([node.lineno, *(d.lineno for d in decorators)])


_files: dict[str, _File] = {}
_lock = threading.Lock()


def tree_of(code: CodeType) -> FunctionNode:
    """The definition, or the lambda, that a code object was compiled from; shared, not to be changed.

    Raises Unconvertible where there is no source, or where the file is no longer what was compiled.
    """
    lines = linecache.getlines(code.co_filename)
    if not lines:
        raise Unconvertible(f"its source is not to be had: {code.co_filename} can't be read")
    with _lock:
        file = _files.get(code.co_filename)
        if file is None or file.lines != lines:
            try:
                file = _files[code.co_filename] = _File(lines)
            except SyntaxError as error:
                raise Unconvertible(f"its file can't be parsed now: {error}") from None
    found = [node for node in file.functions.get(code.co_firstlineno, ()) if _fits(node, code)]
    if len(found) > 1:
        found = _at_columns(found, code)
    if len(found) != 1:
        raise Unconvertible("its file does not have it at this line any more" if not found else "there are several")
    node = found[0]
    if isinstance(node, ast.AsyncFunctionDef):
        raise Unconvertible("it is async", node)
    assert isinstance(node, ast.FunctionDef | ast.Lambda)
    return node


def parameters(arguments: ast.arguments) -> list[str]:
    """The names of all parameters, in the order of a code object's variables."""
    plain = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    stars = [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
    return [a.arg for a in (*plain, *stars)]


def _fits(node: ast.AST, code: CodeType) -> bool:
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
    names = parameters(node.args)
    found = code.co_varnames[: len(names)]
    return code.co_name == name and all(a == b or b.endswith(a) for a, b in zip(names, found, strict=True))


def _at_columns(nodes: list[ast.AST], code: CodeType) -> list[ast.AST]:
    """Of several lambdas of one line, the one that all positions of the code are in."""
    places = list(_places(code))
    inside = []
    for node in nodes:
        body = node.body if isinstance(node, ast.Lambda) else node
        assert isinstance(body, ast.expr)
        start, end = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
        if places and all(start <= place <= end for place in places):
            inside.append(node)
    if len(inside) > 1:  # one inside another: the inner one
        inside = sorted(inside, key=lambda n: (n.lineno, n.col_offset))[-1:]  # type: ignore[attr-defined]
    return inside


def _places(code: CodeType) -> Iterator[tuple[int, int]]:
    for index, (line, end_line, column, end_column) in enumerate(code.co_positions()):
        if index and None not in (line, end_line, column, end_column) and (end_column or 0) > (column or 0):
            yield line or 0, column or 0
