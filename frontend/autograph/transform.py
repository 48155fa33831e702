"""A function's tree with its control flow as calls of `operators`.

The blocks of branches and loops become functions inside the function, which share its variables (`nonlocal`), so that
on Python values everything happens as in the original. Every new node has the position of what it stands for.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from dfc.frontend.autograph import scopes
from dfc.frontend.autograph.jumps import Jumps
from dfc.frontend.autograph.source import FunctionNode, Unconvertible, parameters

FRAMES = ("locals", "eval", "exec", "vars", "dir")
"""Built-ins that look at the frame they are called from."""
RESULT = "the returned value"
"""What the variable that holds it is called in errors."""
INNER = "block_"
"""How the functions that blocks become are named, so that tracebacks can show the user's name instead."""

NodeT = TypeVar("NodeT", bound=ast.AST)


def transform(node: FunctionNode, owner: str | None, operators: str) -> ast.FunctionDef:
    """The converted function. `owner` is the class that it is written in, for names such as `__x`; `operators` is the
    name under which it finds the operators. Raises Unconvertible."""
    used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
        a.arg for a in ast.walk(node) if isinstance(a, ast.arg)
    }
    node = copy.deepcopy(node)
    if isinstance(node, ast.Lambda):
        function = _function("lambda_", [_at(ast.Return(node.body), node.body)])
        function.args = node.args
        node = _at(function, node)
    if owner is not None:
        node = _Mangled(owner).visit(node)
    assert isinstance(node, ast.FunctionDef)
    node.decorator_list, node.returns = [], None
    for argument in ast.walk(node.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    nothing = _at(ast.Constant(None), node)
    node.args.defaults = [nothing for _ in node.args.defaults]  # the function that is converted has them
    node.args.kw_defaults = [None if d is None else nothing for d in node.args.kw_defaults]
    converted = _Function(node, _Names(used), operators).converted()
    ast.fix_missing_locations(converted)
    return converted


class _Names:
    def __init__(self, used: set[str]) -> None:
        self._used = used

    def __call__(self, stem: str) -> str:
        name, number = stem, 1
        while name in self._used:
            number += 1
            name = f"{stem}_{number}"
        self._used.add(name)
        return name


class _Mangled(ast.NodeTransformer):
    """Names such as `__x` as Python has them in a class."""

    def __init__(self, owner: str) -> None:
        self._prefix = f"_{owner.lstrip('_')}"

    def _mangled(self, name: str) -> str:
        private = name.startswith("__") and not name.endswith("__") and "." not in name
        return f"{self._prefix}{name}" if private and len(self._prefix) > 1 else name

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for field in ("id", "attr", "arg"):
            if isinstance(name := getattr(node, field, None), str):
                setattr(node, field, self._mangled(name))
        return super().generic_visit(node)


class _Function(ast.NodeTransformer):
    """One function: its own statements, and the functions in it, each by one of these of its own."""

    def __init__(self, node: ast.FunctionDef, fresh: _Names, operators: str) -> None:
        self._node, self._fresh, self._operators = node, fresh, operators
        self._first = next(iter([*node.args.posonlyargs, *node.args.args]), None)
        self._refuse()
        self._locals = scopes.bound(node.body) | set(parameters(node.args))
        self._jumps = Jumps(fresh)
        self._returns = self._jumps.lower(node)
        self._globals = scopes.declared(node.body, ast.Global)
        self._nonlocals = scopes.declared(node.body, ast.Nonlocal)
        self._states: set[str] = set()
        """The names that blocks share with the function."""
        self._temporaries: set[str] = set()
        node.body = [s for statement in node.body for s in self._items(statement)]
        self._shared = scopes.Shared.of(node.body)

    def _refuse(self) -> None:
        for node in scopes.own_nodes(self._node.body):
            if isinstance(node, ast.Yield | ast.YieldFrom):
                raise Unconvertible("it is a generator", node)
            if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith):
                raise Unconvertible("it is async", node)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
                if name in FRAMES and not (name in ("vars", "dir") and node.args):
                    raise Unconvertible(f"it calls {name}(), which looks at the function's own frame", node)

    def converted(self) -> ast.FunctionDef:
        node = self._node
        node.body = self._block(node.body)
        shown = [n for n in sorted(self._states) if "." not in n]
        local = [n for n in shown if n not in self._globals | self._nonlocals]
        if local:  # never run: it makes them variables of this function, for the blocks to share
            targets: list[ast.expr] = [ast.Name(name, ast.Store()) for name in local]
            binding = ast.Assign(targets, ast.Constant(None))
            unbound = ast.If(ast.Constant(False), [binding], [])
            node.body.insert(0, _everywhere(unbound, node))
        moved = [_at(cls(sorted(names)), node) for cls, names in self._declared() if names]
        node.body = [*moved, *(s for s in node.body if not isinstance(s, ast.Global | ast.Nonlocal))]
        _Loads(self._states, self._operators).function(node)
        return node

    def _declared(self) -> list[tuple[Any, set[str]]]:
        return [(ast.Global, self._globals), (ast.Nonlocal, self._nonlocals)]

    def _block(self, statements: Iterable[ast.stmt]) -> list[ast.stmt]:
        done: list[ast.stmt] = []
        for statement in statements:
            made = self.visit(statement)
            done += made if isinstance(made, list) else [] if made is None else [made]
        return done

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, self._block(value) or [_at(ast.Pass(), node)])
            elif isinstance(value, list):
                setattr(node, name, [self.visit(v) if isinstance(v, ast.AST) else v for v in value])
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node

    # ---- items of tensors: `out[i] = v` gives `out` a new value

    def _items(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statement with assignments to items of the function's variables as assignments to the variables."""
        match statement:
            case ast.Assign(targets=targets) if any(self._holds_item(t) for t in targets):
                return self._assigned(statement)
            case ast.AugAssign(target=ast.Subscript(value=ast.Name(id=name)) as target, op=op) if name in self._locals:
                key = self._key(target.slice)
                function = _at(ast.Constant(type(op).__name__), statement)
                base = _at(ast.Name(name, ast.Load()), target.value)
                call = self._call("update_item", [base, key, function, statement.value], statement)
                return [_at(ast.Assign([_at(ast.Name(name, ast.Store()), target)], call), statement)]
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return [statement]
        for field in ("body", "orelse", "finalbody"):
            if isinstance(block := getattr(statement, field, None), list):
                setattr(statement, field, [s for inner in block for s in self._items(inner)])
        for holder in [*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())]:
            holder.body = [s for inner in holder.body for s in self._items(inner)]
        return [statement]

    def _holds_item(self, target: ast.expr) -> bool:
        if isinstance(target, ast.Tuple | ast.List):
            return any(self._holds_item(t) for t in target.elts)
        if isinstance(target, ast.Starred):
            return self._holds_item(target.value)
        named = isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name)
        return named and target.value.id in self._locals  # type: ignore[attr-defined]

    def _assigned(self, node: ast.Assign) -> list[ast.stmt]:
        whole = self._temporary()
        done: list[ast.stmt] = [_at(ast.Assign([_at(ast.Name(whole, ast.Store()), node)], node.value), node)]
        for target in node.targets:
            done += self._unpacked(target, _at(ast.Name(whole, ast.Load()), node), node)
        return done

    def _unpacked(self, target: ast.expr, value: ast.expr, node: ast.stmt) -> list[ast.stmt]:
        """`target = value`, element by element in Python's order."""
        if not self._holds_item(target):
            return [_at(ast.Assign([target], value), node)]
        if isinstance(target, ast.Subscript):
            assert isinstance(target.value, ast.Name)
            base = _at(ast.Name(target.value.id, ast.Load()), target.value)
            call = self._call("set_item", [base, self._key(target.slice), value], target)
            return [_at(ast.Assign([_at(ast.Name(base.id, ast.Store()), target)], call), node)]
        assert isinstance(target, ast.Tuple | ast.List)
        parts: list[ast.expr] = []
        later: list[ast.stmt] = []
        for element in target.elts:
            name = self._temporary()
            inner = element.value if isinstance(element, ast.Starred) else element
            part: ast.expr = _at(ast.Name(name, ast.Store()), inner)
            parts.append(_at(ast.Starred(part, ast.Store()), element) if isinstance(element, ast.Starred) else part)
            later += self._unpacked(inner, _at(ast.Name(name, ast.Load()), inner), node)
        return [_at(ast.Assign([_at(ast.Tuple(parts, ast.Store()), target)], value), node), *later]

    def _temporary(self) -> str:
        name = self._fresh("value_")
        self._temporaries.add(name)
        return name

    def _key(self, key: ast.expr) -> ast.expr:
        """A subscript's key as an expression."""
        if isinstance(key, ast.Slice):
            bounds = [b if b is not None else ast.Constant(None) for b in (key.lower, key.upper, key.step)]
            return _everywhere(self._call("slice", bounds, key), key)
        if isinstance(key, ast.Tuple):
            return _at(ast.Tuple([self._key(k) for k in key.elts], ast.Load()), key)
        return key

    # ---- statements

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if not isinstance(node.target, ast.Name):
            return self.generic_visit(node)
        if node.value is None:
            return _at(ast.Pass(), node)
        return self.visit(_at(ast.Assign([node.target], node.value), node))

    def visit_If(self, node: ast.If) -> list[ast.stmt]:
        both = [*node.body, *node.orelse]
        names = self._state_of(both)
        read = scopes.needed(node.body) | scopes.needed(node.orelse)
        changed = {n: line for n, line in scopes.changed(both).items() if n in read}
        place = _heading(node, node.test)
        body, orelse = self._inner("if", node.body, names), self._inner("else", node.orelse, names)
        get, put = self._accessors(names, place)
        arguments = [self.visit(node.test), body.name, orelse.name, get.name, put.name]
        call = self._operator("if_", arguments, names, changed, place)
        return [body, orelse, get, put, call]

    def visit_While(self, node: ast.While) -> list[ast.stmt]:
        names = self._state_of([*node.body, node.test])
        needed = scopes.needed(node.body, [node.test])
        assigned = scopes.bound([node.test])
        changed = {n: line for n, line in scopes.changed(node.body).items() if n in needed}
        place = _heading(node, node.test)
        body = self._inner("while", node.body, names)
        test = self._inner("test", [_at(ast.Return(node.test), node.test)], names)
        get, put = self._accessors(names, place)
        extra = [("needed", self._listed(names, needed)), ("test_binds", _constants(sorted(assigned)))]
        call = self._operator("while_", [test.name, body.name, get.name, put.name], names, changed, place, extra)
        return [body, test, get, put, call]

    def visit_For(self, node: ast.For) -> list[ast.stmt]:
        extra_test: ast.expr | None = getattr(node, "extra_test", None)
        names = self._state_of([*node.body, node.target])
        needed = scopes.needed(node.body, [extra_test], node.target)
        changed = {n: line for n, line in scopes.changed(node.body).items() if n in needed}
        place = _heading(node, node.iter)
        item = self._fresh("item_")
        given = _at(ast.Assign([node.target], _at(ast.Name(item, ast.Load()), node.target)), node.target)
        body = self._inner("for", [given, *node.body], names, item)
        made: list[ast.stmt] = [body]
        test: Any = ast.Constant(None)
        if extra_test is not None:
            function = self._inner("test", [_at(ast.Return(extra_test), extra_test)], names)
            made.append(function)
            test = function.name
        get, put = self._accessors(names, place)
        extra = [("needed", self._listed(names, needed))]
        arguments = [self.visit(node.iter), test, body.name, get.name, put.name]
        return [*made, get, put, self._operator("for_", arguments, names, changed, place, extra)]

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        message = _everywhere(_lambda(self.visit(node.msg) if node.msg is not None else ast.Constant(None)), node)
        return _at(ast.Expr(self._call("assert_", [self.visit(node.test), message], node)), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        decorators = [self.visit(d) for d in node.decorator_list]
        node.args.defaults = [self.visit(d) for d in node.args.defaults]
        node.args.kw_defaults = [None if d is None else self.visit(d) for d in node.args.kw_defaults]
        defaults, others = node.args.defaults, node.args.kw_defaults
        node.decorator_list = []
        try:
            inner = _Function(copy.deepcopy(node), self._fresh, self._operators).converted()
        except Unconvertible:  # a generator, say: as Python has it
            node.decorator_list = decorators
            return node
        inner.args.defaults, inner.args.kw_defaults = defaults, others
        mark = _everywhere(ast.Attribute(ast.Name(self._operators, ast.Load()), "converted", ast.Load()), node)
        inner.decorator_list = [*decorators, mark]
        return inner

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.stmt:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        return node

    def _state_of(self, nodes: Sequence[ast.AST]) -> list[str]:
        """The variables that these statements may give another value."""
        found = scopes.bound(nodes) - self._temporaries
        if self._shared.written and any(isinstance(n, ast.Call) for s in nodes for n in ast.walk(s)):
            found |= self._shared.written & self._locals
        self._states |= found
        return sorted(found)

    def _listed(self, names: list[str], needed: set[str]) -> ast.expr:
        """Which of the names a loop needs the values of before it; those that inner functions see always."""
        always = self._shared.read | self._globals | self._nonlocals
        return _constants([self._shown(n) for n in names if n in needed | always])

    def _inner(self, kind: str, body: list[ast.stmt], names: list[str], *arguments: str) -> ast.FunctionDef:
        name = self._fresh(INNER + kind)
        place: ast.AST = body[0] if body else self._node
        parts: list[ast.stmt] = [*self._sharing(names), *(self._block(body) or [ast.Pass()])]
        return _everywhere(_function(name, parts, *arguments), place)

    def _sharing(self, names: list[str]) -> list[ast.stmt]:
        """What lets an inner function assign the names."""
        plain = [n for n in names if "." not in n]
        one = [n for n in plain if n in self._globals]
        other = [n for n in plain if n not in self._globals]
        return [*([ast.Global(one)] if one else []), *([ast.Nonlocal(other)] if other else [])]

    def _accessors(self, names: list[str], place: ast.AST) -> tuple[ast.FunctionDef, ast.FunctionDef]:
        """Functions that get and set the values of the names."""
        reads: list[ast.expr] = []
        for name in names:
            read = _lambda(_dotted(name, ast.Load()))
            read.body.raw = True  # type: ignore[attr-defined]
            reads.append(self._call("peek", [read, ast.Constant(self._shown(name))], place))
        get = _function(self._fresh(INNER + "get"), [ast.Return(ast.Tuple(reads, ast.Load()))])
        values = self._fresh("values_")
        assigns: list[ast.stmt] = []
        for index, name in enumerate(names):
            value = ast.Subscript(ast.Name(values, ast.Load()), ast.Constant(index), ast.Load())
            if "." in name:
                base, _, attribute = name.rpartition(".")
                given = [_lambda(_dotted(base, ast.Load())), ast.Constant(attribute), value]
                assigns.append(ast.Expr(self._call("set_attribute", given, place)))
            else:
                assigns.append(ast.Assign([ast.Name(name, ast.Store())], value))
        put = _function(self._fresh(INNER + "set"), [*self._sharing(names), *(assigns or [ast.Pass()])], values)
        return _everywhere(get, place), _everywhere(put, place)

    def _shown(self, name: str) -> str:
        return RESULT if name == self._jumps.result else name

    def _operator(
        self,
        operator: str,
        arguments: list[Any],
        names: list[str],
        changed: dict[str, int],
        place: ast.AST,
        extra: Sequence[tuple[str, ast.expr]] = (),
    ) -> ast.stmt:
        given = [ast.Name(a, ast.Load()) if isinstance(a, str) else a for a in arguments]
        changed = {n: line for n, line in changed.items() if n in self._locals}  # others may only take notes
        keys: list[ast.expr | None] = [ast.Constant(n) for n in changed]
        reads: list[ast.expr] = []
        for n, line in changed.items():
            read = _lambda(ast.Name(n, ast.Load()))
            read.body.raw = True  # type: ignore[attr-defined]
            reads.append(ast.Tuple([ast.Constant(line), read], ast.Load()))
        call = self._call(operator, [*given, _constants([self._shown(n) for n in names])], place)
        call.keywords = [ast.keyword("changed", ast.Dict(keys, reads))] if changed else []
        call.keywords += [ast.keyword(k, v) for k, v in extra]
        return _everywhere(_at(ast.Expr(call), place), place)

    # ---- expressions

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        node.args.defaults = [self.visit(d) for d in node.args.defaults]
        node.args.kw_defaults = [None if d is None else self.visit(d) for d in node.args.kw_defaults]
        node.body = self.visit(node.body)
        return self._call("converted", [node], node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        is_super = isinstance(node.func, ast.Name) and node.func.id == "super"
        if is_super and not node.args and self._first is not None:
            node.args = [ast.Name("__class__", ast.Load()), ast.Name(self._first.arg, ast.Load())]
            return _everywhere(node, node)
        self.generic_visit(node)
        if not is_super and not self._is_operator(node.func):
            node.func = self._call("callee", [node.func], node.func)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if node.attr == "shape" and isinstance(node.ctx, ast.Load):
            return self._call("shape", [node.value], node)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        if _binds(node.body, node.orelse):
            return self.generic_visit(node)  # type: ignore[return-value]
        self.generic_visit(node)
        branches = [_everywhere(_lambda(x), x) for x in (node.body, node.orelse)]
        return self._call("if_exp", [node.test, *branches], node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        first, *others = node.values
        if _binds(*others):
            return self.generic_visit(node)  # type: ignore[return-value]
        later: list[ast.expr] = [_everywhere(_lambda(self.visit(x)), x) for x in others]
        return self._call("and_" if isinstance(node.op, ast.And) else "or_", [self.visit(first), *later], node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        return self._call("not_", [node.operand], node) if isinstance(node.op, ast.Not) else node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        if len(node.ops) == 1 or _binds(*node.comparators):
            return self.generic_visit(node)  # type: ignore[return-value]
        self.generic_visit(node)
        arguments = [node.left]
        for op, other in zip(node.ops, node.comparators, strict=True):
            pair = ast.Tuple([ast.Constant(type(op).__name__), _lambda(other)], ast.Load())
            arguments.append(_everywhere(pair, other))
        return self._call("compare", arguments, node)

    def _call(self, operator: str, arguments: list[Any], place: ast.AST) -> ast.Call:
        function = ast.Attribute(ast.Name(self._operators, ast.Load()), operator, ast.Load())
        return _at(ast.Call(_everywhere(function, place), arguments, []), place)

    def _is_operator(self, function: ast.expr) -> bool:
        return isinstance(function, ast.Attribute) and dotted_root(function) == self._operators


class _Loads(ast.NodeTransformer):
    """Reads of variables that a branch or a loop may have left without a value go through `load`, which says so."""

    def __init__(self, names: set[str], operators: str) -> None:
        self._names, self._operators = {n for n in names if "." not in n}, operators

    def function(self, node: ast.FunctionDef) -> None:
        node.body = [self.visit(s) for s in node.body]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self._names or not isinstance(node.ctx, ast.Load) or hasattr(node, "raw"):
            return node
        function = ast.Attribute(ast.Name(self._operators, ast.Load()), "load", ast.Load())
        done = _everywhere(ast.Call(function, [node], []), node)
        node.raw = True  # type: ignore[attr-defined]
        return done

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        return node


def dotted_root(node: ast.expr) -> str | None:
    name = scopes.dotted_name(node)
    return None if name is None else name.split(".")[0]


# ---- making nodes


def _at(node: NodeT, place: ast.AST) -> NodeT:
    return ast.copy_location(node, place)


def _everywhere(node: NodeT, place: ast.AST) -> NodeT:
    """The position of `place` for all nodes in `node` that have none."""
    for inner in ast.walk(node):
        if "lineno" in inner._attributes and not hasattr(inner, "lineno"):
            ast.copy_location(inner, place)
    return node


def _heading(node: ast.If | ast.While | ast.For, last: ast.expr) -> ast.AST:
    """The place of a statement without its blocks."""
    place = _at(ast.Pass(), node)
    place.end_lineno, place.end_col_offset = last.end_lineno, last.end_col_offset
    return place


def _lambda(body: ast.expr) -> ast.Lambda:
    return ast.Lambda(ast.arguments([], [], None, [], [], None, []), body)


def _function(name: str, body: list[ast.stmt], *arguments: str) -> ast.FunctionDef:
    given = ast.arguments([], [ast.arg(a) for a in arguments], None, [], [], None, [])
    made = ast.FunctionDef(name, given, body, [], None, None)
    made.type_params = []  # type: ignore[attr-defined]  # from Python 3.12 on there must be some
    return made


def _constants(names: Sequence[str]) -> ast.expr:
    return ast.Tuple([ast.Constant(n) for n in names], ast.Load())


def _dotted(name: str, context: ast.expr_context) -> ast.expr:
    first, *rest = name.split(".")
    node: ast.expr = ast.Name(first, ast.Load() if rest else context)
    for index, attribute in enumerate(rest):
        node = ast.Attribute(node, attribute, context if index == len(rest) - 1 else ast.Load())
    return node


def _binds(*nodes: ast.expr) -> bool:
    """Whether there is a `:=` in them: a lambda would take it for its own."""
    return any(isinstance(n, ast.NamedExpr) for node in nodes for n in ast.walk(node))
