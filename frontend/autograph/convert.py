"""From a Python function to its converted form: which functions are converted, and once for each code object."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import site
import sysconfig
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any, TypeVar

from dfc.errors import InvalidType
from dfc.frontend.autograph import iteration, source, transform
from dfc.frontend.autograph.iteration import as_known, is_symbolic
from dfc.frontend.autograph.source import Unconvertible
from dfc.frontend.autograph.values import failed
from dfc.frontend.ops import elementwise as e
from dfc.ir import dtypes, locations

F = TypeVar("F", bound=Callable[..., Any])

MARK = "__dfc_converted__"
CALL = "__call__"
OPERATORS = "autograph_"
"""The name under which converted code finds the operators; `_` is appended where the function has the name itself."""


def do_not_convert(function: F) -> F:
    """The function as Python has it, also where converted code calls it: its `if` on a tensor is an error."""

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return plain  # type: ignore[return-value]


def to_code(function: Callable[..., Any]) -> str:
    """The source of what `function`, or a `dfc.function`, becomes, for whoever wants to see it."""
    python = getattr(function, "python_function", function)
    python = getattr(python, "__func__", python)
    if not isinstance(python, FunctionType):
        raise failed(InvalidType, f"a Python function is needed, got {function!r}", "dfc.autograph.to_code")
    return ast.unparse(_tree(python)[0])


def convert(function: Callable[..., Any]) -> Callable[..., Any]:
    """The converted form of what the user decorated. Raises InvalidType with the reason where there is none."""
    try:
        if isinstance(function, MethodType):
            return MethodType(convert(function.__func__), function.__self__)
        if isinstance(function, FunctionType):
            return _converted(function)
        call = getattr(type(function), CALL, None)
        if isinstance(call, FunctionType):
            return MethodType(_converted(call), function)
        raise Unconvertible("it is not written in Python")
    except Unconvertible as error:
        code = getattr(function, "__code__", None)
        name = getattr(function, "__name__", repr(function))
        line = error.line or (code.co_firstlineno if code else 0)
        place = f"{code.co_filename}:{line}" if code else locations.describe(locations.capture())
        raise InvalidType(
            f"{name!r} can't be converted: {error.reason}",
            op="autograph",
            location=place,
            hint="write it with dfc.cond, dfc.while_loop and dfc.scan and leave out autograph=True, or move that part "
            "into a function under @dfc.autograph.do_not_convert",
        ) from None


# ---- calls in converted code


def converted(function: F) -> F:
    """Mark a function that was converted where it stands, inside another."""
    with suppress(AttributeError):  # a decorator of the user's may have made something else of it
        setattr(function, MARK, True)
    return function


def callee(function: Any) -> Any:
    """What a call of `function` in converted code calls."""
    kind = type(function)
    if kind is FunctionType:
        return _called(function)
    if kind is MethodType:
        inner = function.__func__
        if type(inner) is not FunctionType:
            return function
        found = _called(inner)
        return function if found is inner else MethodType(found, function.__self__)
    if kind is BuiltinFunctionType or kind is type:
        return BUILTINS.get(function, function)
    if kind is functools.partial:
        found = callee(function.func)
        return function if found is function.func else functools.partial(found, *function.args, **function.keywords)
    if isinstance(function, type):
        return function
    call = getattr(kind, CALL, None)
    if type(call) is FunctionType and not is_library(call.__code__):
        found = _called(call)
        return function if found is call else MethodType(found, function)
    return function


def _called(function: FunctionType) -> Callable[..., Any]:
    if MARK in function.__dict__:
        return function
    if is_library(function.__code__):
        if function.__module__ in CALLERS and function.__name__ in CALLERS[function.__module__]:
            return _calling(function)
        return function
    try:
        return _converted(function)
    except Unconvertible as error:
        return _as_it_is(function, error.reason)


def _as_it_is(function: FunctionType, reason: str) -> Callable[..., Any]:
    def plain(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except InvalidType as error:
            error.add_note(f"{function.__name__!r} was called as it is, since it can't be converted: {reason}")
            raise

    return plain


CALLERS: dict[str, frozenset[str]] = {
    "dfc.frontend.ops.control": frozenset({"cond", "case"}),
    "dfc.frontend.loops": frozenset({"while_loop", "fori_loop", "scan", "map", "fold"}),
    "dfc.frontend.gradients": frozenset({"grad", "value_and_grad"}),
    "dfc.frontend.derivatives": frozenset({"jvp", "jacobian", "hessian"}),
    "dfc.frontend.custom_gradient": frozenset({"checkpoint"}),
}
"""Functions of dfc that call functions of the user's."""


def _calling(function: FunctionType) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*map(_given, args), **{name: _given(value) for name, value in kwargs.items()})

    return call


def _given(value: Any) -> Any:
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(map(_given, value))
    return callee(value) if isinstance(value, FunctionType | MethodType | functools.partial) else value


@functools.cache
def _library_paths() -> tuple[str, ...]:
    found = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {*site.getsitepackages(), site.getusersitepackages()}
    return tuple(path.rstrip("/\\") + sep for path in found if path for sep in ("/", "\\"))


_library: dict[str, bool] = {}


def is_library(code: CodeType) -> bool:
    """Whether code belongs to Python's library, an installed package or dfc, and so stays as it is."""
    name = code.co_filename
    found = _library.get(name)
    if found is None:
        found = locations.is_internal(code) or name.startswith(("<frozen", *_library_paths()))
        _library[name] = found
    return found


# ---- converting


class _Code:
    """What a code object became, without the variables around it; or why it can't be."""

    def __init__(self, code: CodeType | None, operators: str, reason: Unconvertible | None) -> None:
        self.code, self.operators, self.reason = code, operators, reason


_codes: dict[int, tuple[weakref.ref[CodeType], _Code]] = {}
_lock = threading.RLock()


def _converted(function: FunctionType) -> FunctionType:
    """A function with the variables, the defaults and the globals of `function`."""
    if MARK in function.__dict__:
        return function
    code = function.__code__
    found = _codes.get(id(code))
    if found is None:
        with _lock:
            found = _codes.get(id(code))
            if found is None:
                key = id(code)
                found = _codes[key] = (weakref.ref(code, lambda _: _codes.pop(key, None)), _convert(function))
    made = found[1]
    if made.reason is not None:
        raise Unconvertible(made.reason.reason, made.reason.node)
    assert made.code is not None
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    cells[made.operators] = _operators_cell()
    closure = tuple(cells[name] for name in made.code.co_freevars)
    result = FunctionType(made.code, function.__globals__, function.__name__, function.__defaults__, closure)
    result.__kwdefaults__ = function.__kwdefaults__
    result.__qualname__, result.__module__ = function.__qualname__, function.__module__
    setattr(result, MARK, True)
    return result


@functools.cache
def _operators_cell() -> Any:
    from dfc.frontend.autograph import operators

    def holder() -> Any:
        return operators

    assert holder.__closure__ is not None
    return holder.__closure__[0]


def _convert(function: FunctionType) -> _Code:
    try:
        tree, operators = _tree(function)
    except Unconvertible as error:
        return _Code(None, "", error)
    code = function.__code__
    tree.name = f"{transform.INNER}function"  # its own name may be one of a variable around it
    names = [*code.co_freevars, operators]
    outer = transform._function("variables", [tree], *names)
    module = ast.fix_missing_locations(ast.Module([outer], []))
    future = code.co_flags & __future__annotations
    try:
        compiled = compile(module, code.co_filename, "exec", flags=future, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        return _Code(None, "", Unconvertible(f"its converted form can't be compiled: {error}"))
    holder = next(c for c in compiled.co_consts if isinstance(c, CodeType))
    inner = next(c for c in holder.co_consts if isinstance(c, CodeType) and c.co_name == tree.name)
    return _Code(_renamed(inner, code), operators, None)


__future__annotations = 0x1000000  # CO_FUTURE_ANNOTATIONS


def _tree(function: FunctionType) -> tuple[ast.FunctionDef, str]:
    node = source.tree_of(function.__code__)
    operators = OPERATORS
    while any(isinstance(n, ast.Name) and n.id == operators for n in ast.walk(node)):
        operators += "_"
    owner, _, _ = function.__qualname__.rpartition(".")
    owner = owner.rpartition(".")[2]
    return transform.transform(node, owner if owner and owner != "<locals>" else None, operators), operators


def _renamed(code: CodeType, original: CodeType) -> CodeType:
    """The code, and the blocks in it, under the name that the user gave, as tracebacks show it."""

    def block(inner: CodeType, name: str, qualified: str) -> CodeType:
        own = inner.co_name.startswith((transform.INNER, "<lambda>"))
        name, qualified = (name, qualified) if own else (inner.co_name, inner.co_qualname)
        parts = tuple(block(c, name, qualified) if isinstance(c, CodeType) else c for c in inner.co_consts)
        return inner.replace(co_consts=parts, co_name=name, co_qualname=qualified)

    name, qualified = original.co_name, original.co_qualname
    parts = tuple(block(c, name, qualified) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_consts=parts, co_name=name, co_qualname=qualified)


# ---- built-ins on tensors


def _int(*args: Any, **options: Any) -> Any:
    value: Any = as_known(args[0]) if args else None
    if is_symbolic(value):
        return value if value.dtype.is_integer else e.astype(value, dtypes.int32)
    return builtins.int(*args, **options)


def _float(*args: Any) -> Any:
    value: Any = as_known(args[0]) if args else None
    if is_symbolic(value):
        return value if value.dtype.kind == "float" else e.astype(value, dtypes.float32)
    return builtins.float(*args)


def _bool(*args: Any) -> Any:
    value: Any = as_known(args[0]) if args else None
    return iteration.truth(value, "bool") if is_symbolic(value) else builtins.bool(*args)


def _extreme(plain: Callable[..., Any], combine: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def of(*args: Any, **options: Any) -> Any:
        known = [as_known(a) for a in args]
        scalars = len(known) > 1 and all(not is_symbolic(a) or a.shape == () for a in known)
        if not options and scalars and any(map(is_symbolic, known)):
            return functools.reduce(combine, known)
        return plain(*args, **options)

    return of


def host_operation(name: str) -> Callable[..., Any] | None:
    """What the host does in the middle of a step, where there is that."""
    try:
        return getattr(importlib.import_module("dfc.frontend.ops.host"), name, None)
    except ImportError:
        return None


def _print(*args: Any, **options: Any) -> None:
    if any(map(is_symbolic, args)) and not options and (show := host_operation("print")) is not None:
        show(*args)
        return
    builtins.print(*args, **options)


BUILTINS: dict[Any, Callable[..., Any]] = {
    builtins.range: iteration.range_,
    builtins.len: iteration.length,
    builtins.zip: iteration.zip_,
    builtins.enumerate: iteration.enumerate_,
    builtins.reversed: iteration.reversed_,
    builtins.int: _int,
    builtins.float: _float,
    builtins.bool: _bool,
    builtins.min: _extreme(builtins.min, e.minimum),
    builtins.max: _extreme(builtins.max, e.maximum),
    builtins.print: _print,
}
