"""Which names statements bind, read and need: what a branch or a loop has to hand on.

All of it is by syntax, within one function; functions inside it count by the names that they share with it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
CHANGING = frozenset(
    (
        *("append", "appendleft", "extend", "insert", "pop", "remove", "clear", "sort", "reverse"),
        *("update", "setdefault", "popitem", "add", "discard"),
    )
)
"""Methods of Python's own containers that change them."""


def own_nodes(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All nodes of these statements, without the bodies of functions and classes in them."""
    pending = list(nodes)[::-1]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending += [*getattr(node, "decorator_list", ()), *node.args.defaults]
            pending += [d for d in node.args.kw_defaults if d is not None]
        elif isinstance(node, ast.ClassDef):
            pending += [*node.decorator_list, *node.bases, *(k.value for k in node.keywords)]
        else:
            pending += list(ast.iter_child_nodes(node))[::-1]


def bound_by(node: ast.AST) -> list[str]:
    """The names that this node itself binds or deletes, dotted ones such as `self.x` included."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return [name]
        case ast.Attribute(ctx=ast.Store() | ast.Del()):
            dotted = dotted_name(node)
            return [] if dotted is None else [dotted]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return [name]
        case ast.MatchMapping(rest=str(name)):
            return [name]
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [(alias.asname or alias.name).split(".")[0] for alias in names]
    return []


def dotted_name(node: ast.expr) -> str | None:
    """`a.b.c` for an attribute of a name, `a` for a name; None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted_name(node.value)
        return None if base is None else f"{base}.{node.attr}"
    return None


def bound(nodes: Iterable[ast.AST]) -> set[str]:
    """All names that these statements bind in the function they stand in. Comprehensions bind their own."""
    found: set[str] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        found.update(bound_by(node))
        if isinstance(node, COMPREHENSIONS):
            inner = [n for n in own_nodes([node]) if isinstance(n, ast.NamedExpr)]
            found.update(n.target.id for n in inner)
            continue
        if isinstance(node, SCOPES):
            pending += getattr(node, "decorator_list", ())
        else:
            pending += ast.iter_child_nodes(node)
    return found


def changed(nodes: Iterable[ast.AST]) -> dict[str, int]:
    """Names whose values are changed in place, as Python's containers are, and the line of the first such change."""
    found: dict[str, int] = {}
    for node in own_nodes(nodes):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in CHANGING:
                found.setdefault(name, node.lineno)
            case ast.Call(func=ast.Attribute(attr="set_item" | "update_item"), args=[ast.Name(id=name), *_]):
                found.setdefault(name, node.lineno)  # what assignments to items have become
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                found.setdefault(name, node.lineno)
    return found


@dataclass
class Shared:
    """What functions inside a function have in common with it."""

    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, body: Iterable[ast.AST]) -> Shared:
        found = cls()
        for node in own_nodes(body):
            if isinstance(node, SCOPES):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Name):
                        found.read.add(inner.id)
                    elif isinstance(inner, ast.Nonlocal):
                        found.written.update(inner.names)
        return found


def declared(body: Iterable[ast.AST], kind: type[ast.Global] | type[ast.Nonlocal]) -> set[str]:
    """The names that the function declares `global` or `nonlocal`."""
    return {name for node in own_nodes(body) if isinstance(node, kind) for name in node.names}


# ---- what a body needs from before it


@dataclass
class Needs:
    """Names that are read before they are certainly bound, and those certainly bound where the statements end."""

    read: set[str] = field(default_factory=set)
    sure: set[str] = field(default_factory=set)

    def use(self, expression: ast.AST | None) -> None:
        if expression is None:
            return
        for node in ast.walk(expression):
            dotted = dotted_name(node) if isinstance(node, ast.Name | ast.Attribute) else None
            if dotted is not None and not isinstance(node.ctx, ast.Store):  # type: ignore[attr-defined]
                self.read |= {dotted} - self.sure

    def give(self, target: ast.AST) -> None:
        for node in ast.walk(target):
            if isinstance(node, ast.Subscript | ast.Attribute):
                self.use(node.value)
                if isinstance(node, ast.Subscript):
                    self.use(node.slice)
        self.sure |= {name for node in ast.walk(target) for name in bound_by(node)}

    def copy(self) -> Needs:
        return Needs(self.read, set(self.sure))  # reads are common to all paths

    def block(self, statements: Iterable[ast.stmt]) -> Needs:
        for statement in statements:
            self.statement(statement)
        return self

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                self.use(value)
                for target in targets:
                    self.give(target)
            case ast.AugAssign(target=target, value=value):
                self.use(value)
                dotted = dotted_name(target)
                if dotted is None:
                    self.give(target)
                else:
                    self.read |= {dotted} - self.sure
                    self.sure.add(dotted)
            case ast.AnnAssign(target=target, value=value):
                self.use(value)
                if value is not None:
                    self.give(target)
            case ast.If(test=test, body=body, orelse=orelse):
                self.use(test)
                one, other = self.copy().block(body), self.copy().block(orelse)
                self.sure = one.sure & other.sure
            case ast.While(test=test, body=body):
                self.use(test)
                self.copy().block(body)
            case ast.For(target=target, iter=rows, body=body):
                self.use(rows)
                inside = self.copy()
                inside.give(target)
                inside.block(body)
                self.use(getattr(node, "extra_test", None))
            case ast.With(items=items, body=body):
                for item in items:
                    self.use(item.context_expr)
                    if item.optional_vars is not None:
                        self.give(item.optional_vars)
                self.block(body)
            case ast.FunctionDef() | ast.ClassDef() | ast.Import() | ast.ImportFrom():
                self.use(node)
                self.sure.update(bound_by(node))
            case ast.Expr() | ast.Return() | ast.Raise() | ast.Assert():
                self.use(node)
            case ast.Delete(targets=targets):
                for target in targets:
                    self.use(target)
                self.sure -= bound([node])
            case _:  # try, match and the like: anything may happen in them
                self.use(node)
                for inner in own_nodes([node]):
                    if isinstance(inner, ast.AugAssign) and (dotted := dotted_name(inner.target)):
                        self.read |= {dotted} - self.sure


def needed(body: list[ast.stmt], before: Iterable[ast.AST | None] = (), target: ast.AST | None = None) -> set[str]:
    """The names whose values from before one iteration matter to it or after it: those that the condition or the body
    reads before binding them, and those that the body binds only perhaps."""
    needs = Needs()
    for expression in before:
        needs.use(expression)
    if target is not None:
        needs.give(target)
    needs.block(body)
    return needs.read | (bound(body) - needs.sure)
