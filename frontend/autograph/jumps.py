"""`return`, `break` and `continue` as flags: what may follow a jump is put under an `if`, and loops test their flags.

Afterwards a function has one `return`, its last statement, and loops go on or end by their conditions alone. Where one
branch of an `if` always jumps, what follows the `if` becomes the other branch: both then give a result, and no flag is
asked.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dfc.frontend.autograph.source import Unconvertible

RETURN, BREAK, CONTINUE = "return", "break", "continue"


@dataclass
class _Loop:
    broke: str
    skips: str


class Jumps:
    """The jumps of one function. `fresh` gives names that it does not use."""

    def __init__(self, fresh: Callable[[str], str]) -> None:
        self._fresh = fresh
        self.result = fresh("result")
        self._returned = fresh("returned")

    def lower(self, node: ast.FunctionDef) -> bool:
        """Whether returns had to become flags; the function then ends in a return of `self.result`."""
        *before, last = node.body
        if RETURN not in _jumps(before) and (isinstance(last, ast.Return) or RETURN not in _jumps([last])):
            node.body = [*self._block(before, None), *([last] if isinstance(last, ast.Return) else [])]
            if not isinstance(last, ast.Return):
                node.body += self._block([last], None)
            return False
        body = list(node.body)
        if not _always(body):
            body.append(ast.copy_location(ast.Return(ast.copy_location(ast.Constant(None), last)), last))
        returns = next(n for s in body for n in ast.walk(s) if isinstance(n, ast.Return))
        node.body = [
            self._flag(self._returned, False, node.body[0]),
            *self._block(body, None),
            ast.copy_location(ast.Return(_name(self.result, returns)), returns),
        ]
        return True

    # ---- statements

    def _block(self, statements: Sequence[ast.stmt], loop: _Loop | None) -> list[ast.stmt]:
        done: list[ast.stmt] = []
        for index, node in enumerate(statements):
            rest = list(statements[index + 1 :])
            match node:
                case ast.Return(value=value):
                    given = value if value is not None else ast.copy_location(ast.Constant(None), node)
                    done.append(ast.copy_location(ast.Assign([_name(self.result, node, ast.Store())], given), node))
                    return [*done, self._flag(self._returned, True, node)]
                case ast.Break():
                    assert loop is not None
                    return [*done, self._flag(loop.broke, True, node)]
                case ast.Continue():
                    assert loop is not None
                    return [*done, self._flag(loop.skips, True, node)]
                case ast.For() | ast.While():
                    return [*done, *self._loop(node, rest, loop)]
            kinds = _jumps([node])
            if isinstance(node, ast.If) and kinds and rest and (_always(node.body) or _always(node.orelse)):
                if _always(node.body):
                    node.orelse = [*node.orelse, *rest]
                else:
                    node.body = [*node.body, *rest]
                rest = []
            done.append(self._inside(node, loop))
            if kinds:
                return [*done, *self._guarded(kinds, rest, loop, node)]
        return done

    def _inside(self, node: ast.stmt, loop: _Loop | None) -> ast.stmt:
        """A statement, with the blocks that it has."""
        match node:
            case ast.If() | ast.With():
                node.body = self._block(node.body, loop)
                if isinstance(node, ast.If):
                    node.orelse = self._block(node.orelse, loop)
            case ast.Try() | ast.TryStar():
                if jump := _jumps(node.finalbody):
                    raise Unconvertible(f"it has a {min(jump)} in a `finally`", node.finalbody[0])
                kinds = _jumps(node.body)
                node.body = self._block(node.body, loop)
                node.orelse = self._guarded(kinds, node.orelse, loop, node)
                for handler in node.handlers:
                    handler.body = self._block(handler.body, loop)
                node.finalbody = self._block(node.finalbody, loop)
            case ast.Match():
                for case_ in node.cases:
                    case_.body = self._block(case_.body, loop)
        return node

    def _loop(self, node: ast.For | ast.While, rest: list[ast.stmt], outer: _Loop | None) -> list[ast.stmt]:
        loop = _Loop(self._fresh("broke"), self._fresh("skips"))
        kinds = _jumps(node.body)
        after = [*node.orelse, *rest]
        if node.orelse and BREAK in kinds:
            after = [_if(_not(_name(loop.broke, node)), node.orelse, node), *rest]
        endless = isinstance(node, ast.While) and _is_true(node.test) and BREAK not in kinds
        body = self._block(node.body, loop)
        if CONTINUE in kinds:
            body.insert(0, self._flag(loop.skips, False, node.body[0]))
        node.body, node.orelse = body, []
        flags = self._flags(kinds - {CONTINUE}, loop, node)
        if flags:
            if isinstance(node, ast.While):
                node.test = ast.copy_location(ast.BoolOp(ast.And(), [_not(_any(flags)), node.test]), node.test)
            else:
                node.extra_test = _not(_any(flags))  # type: ignore[attr-defined]
        before = [self._flag(loop.broke, False, node)] if BREAK in kinds else []
        if endless:
            return [*before, node]
        return [*before, node, *self._guarded(kinds & {RETURN}, after, outer, node)]

    # ---- flags

    def _guarded(self, kinds: set[str], rest: list[ast.stmt], loop: _Loop | None, node: ast.stmt) -> list[ast.stmt]:
        """What follows a statement with such jumps."""
        if not rest:
            return []
        flags = self._flags(kinds, loop, rest[0])
        if not flags:
            return self._block(rest, loop)
        return [_if(_not(_any(flags)), self._block(rest, loop), rest[0])]

    def _flags(self, kinds: set[str], loop: _Loop | None, node: ast.AST) -> list[ast.expr]:
        names = {RETURN: self._returned}
        if loop is not None:
            names |= {BREAK: loop.broke, CONTINUE: loop.skips}
        return [_name(names[kind], node) for kind in sorted(kinds)]

    def _flag(self, name: str, value: bool, node: ast.AST) -> ast.stmt:
        return ast.copy_location(
            ast.Assign([_name(name, node, ast.Store())], ast.copy_location(ast.Constant(value), node)), node
        )


# ---- by syntax


def _jumps(statements: Sequence[ast.stmt]) -> set[str]:
    """The kinds of jumps out of these statements."""
    found: set[str] = set()
    for node in statements:
        match node:
            case ast.Return():
                found.add(RETURN)
            case ast.Break():
                found.add(BREAK)
            case ast.Continue():
                found.add(CONTINUE)
            case ast.For(body=body, orelse=orelse) | ast.While(body=body, orelse=orelse):
                found |= _jumps(body) & {RETURN} | _jumps(orelse)
            case ast.Match(cases=cases):
                for case_ in cases:
                    found |= _jumps(case_.body)
            case ast.If() | ast.With() | ast.Try() | ast.TryStar():
                for name in ("body", "orelse", "finalbody"):
                    found |= _jumps(getattr(node, name, []))
                for handler in getattr(node, "handlers", []):
                    found |= _jumps(handler.body)
    return found


def _always(statements: Sequence[ast.stmt]) -> bool:
    """Whether what follows these statements is never reached."""
    for node in statements:
        match node:
            case ast.Return() | ast.Break() | ast.Continue() | ast.Raise():
                return True
            case ast.If(body=body, orelse=orelse) if _always(body) and _always(orelse):
                return True
            case ast.While(test=test, body=body) if _is_true(test) and BREAK not in _jumps(body):
                return True
    return False


def _is_true(test: ast.expr) -> bool:
    return isinstance(test, ast.Constant) and bool(test.value)


# ---- making nodes


def _name(name: str, place: ast.AST, context: ast.expr_context | None = None) -> ast.expr:
    return ast.copy_location(ast.Name(name, context or ast.Load()), place)


def _not(test: ast.expr) -> ast.expr:
    return ast.copy_location(ast.UnaryOp(ast.Not(), test), test)


def _any(flags: list[ast.expr]) -> ast.expr:
    return flags[0] if len(flags) == 1 else ast.copy_location(ast.BoolOp(ast.Or(), flags), flags[0])


def _if(test: ast.expr, body: list[ast.stmt], place: ast.AST) -> ast.stmt:
    return ast.copy_location(ast.If(test, body, []), place)
