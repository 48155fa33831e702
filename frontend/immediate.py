"""Operations outside a trace: each public operation is a little traced function, compiled once a signature."""

from __future__ import annotations

import functools
import inspect
import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from dfc.errors import DfcError
from dfc.frontend import interop, locality
from dfc.frontend.names import placement
from dfc.frontend.promotion import NUMBERS, check_fits, result_type
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import current
from dfc.ir import locations
from dfc.ir.dtypes import DType, as_dtype, string
from dfc.ir.types import mark_of

if TYPE_CHECKING:
    from dfc.frontend.function import Function

P = ParamSpec("P")
R = TypeVar("R")


def operation(body: Callable[P, R]) -> Callable[P, R]:
    """A public operation from its body, which emits ops: called in a trace it is the body, outside it runs at once.

    NumPy's integers among its settings (parameters that are no Operand) are Python's.
    """
    operands = {p.name for p in inspect.signature(body).parameters.values() if "Operand" in str(p.annotation)}
    places = tuple(name in operands for name in inspect.signature(body).parameters)

    def prepared(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        for name, value in kwargs.items():
            if name not in operands:
                kwargs[name] = _python_integers(value)
        pairs = itertools.zip_longest(args, places[: len(args)], fillvalue=True)
        settings = [value if is_operand else _python_integers(value) for value, is_operand in pairs]
        return tuple(settings)

    return _public(body, prepared)


def elementwise(body: Callable[P, R]) -> Callable[P, R]:
    """As `operation`; Python numbers outside a trace become inputs, so that a new number needs no new program."""

    def prepared(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        for arg in args:
            if type(arg) in NUMBERS:
                return _with_tensors(args)
        return args

    return _public(body, prepared)


Prepare = Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...]]


def _public(body: Callable[P, R], prepared: Prepare) -> Callable[P, R]:
    """`body` in a trace; outside, the program of it for what `prepared` makes of the arguments."""
    run: Function[P, R] | None = None

    @functools.wraps(body)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal run
        try:
            if current() is not None:
                return body(*args, **kwargs)
            if placement() and (device := locality.asked()):
                return _compiled(body, device)(*prepared(args, kwargs), **kwargs)
            if run is None:
                run = _compiled(body)
            return run(*prepared(args, kwargs), **kwargs)
        except DfcError as error:
            if current() is None and not any(map(_is_users_code, (*args, *kwargs.values()))):
                _relocate(error)  # the program may have been made for a call from elsewhere
            _locate(error, body)
            raise

    return call


def _is_users_code(argument: Any) -> bool:
    """Whether an operation may call it, and so meet errors of its lines: not a class that only says a dtype."""
    if not callable(argument):
        return False
    try:
        dtype = as_dtype(argument)
    except DfcError:
        return True
    return dtype is string and argument not in (str, bytes)  # NumPy takes any class for that of objects


def _python_integers(value: Any) -> Any:
    kind = type(value)
    if kind is int or kind is str or value is None:
        return value
    if isinstance(value, np.integer):
        return int(value)
    return kind(map(_python_integers, value)) if kind is tuple or kind is list else value


def located(body: Callable[P, R]) -> Callable[P, R]:
    """A public function whose errors name it and the user's line."""

    @functools.wraps(body)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return body(*args, **kwargs)
        except DfcError as error:
            _locate(error, body)
            raise

    return call


def _locate(error: DfcError, body: Callable[..., Any]) -> None:
    if not error.diagnostic.op or not error.diagnostic.location:
        error.at(op=getattr(body, "__name__", ""), location=locations.describe(locations.capture()))


def _relocate(error: DfcError) -> None:
    error.diagnostic = replace(error.diagnostic, location=locations.describe(locations.capture()))


_lock = threading.RLock()  # a signal handler may come here too
_functions: dict[tuple[Callable[..., Any], str | None], Any] = {}


def at_once(body: Callable[..., Any], name: str) -> Callable[..., Any]:
    """What runs a function made of operations, outside a trace, as one of them: where `dfc.device` around the call asks
    for, else where its first tensor is."""
    from dfc.frontend.function import Function

    functions: dict[str | None, Function[..., Any]] = {}

    def run(*args: Any, **kwargs: Any) -> Any:
        device = (locality.asked() or None) if placement() else None
        found = functions.get(device) or functions.setdefault(device, Function(body, name=name, device=device))
        return found(*args, **kwargs)

    return run


def _compiled(body: Callable[P, R], device: str | None = None) -> Function[P, R]:
    """The program of a body on the device asked for, by default where its first tensor is."""
    from dfc.frontend.function import Function

    with _lock:
        found: Function[P, R] | None = _functions.get((body, device))
        if found is None:
            found = _functions[body, device] = Function(body, device=device)
        return found


def _with_tensors(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Python numbers among `args` in the dtype that all of them meet in, where the first tensor is, as arrays are."""
    given = [arg if type(arg) in READY else _read(arg) for arg in args]
    device = locality.here() if placement() else None
    if device is None:
        for arg in given:
            if type(arg) is Tensor:
                device = mark_of(arg._type)
                break
    lifted = [arg if type(arg) in READY else _on(device, arg) for arg in given]
    target = result_type(*lifted)
    return tuple([arg if type(arg) is Tensor else scalar(arg, target, device) for arg in lifted])


READY = (Tensor, *NUMBERS)


def _read(arg: Any) -> Any:
    return arg.__dfc_tensor__() if hasattr(arg, "__dfc_tensor__") else arg


def _on(device: Any, operand: Any) -> Tensor:
    if interop.is_jax_array(operand):
        return interop.to_tensor(operand)
    return interop.put(interop.to_numpy(operand), device)


def scalar(number: Any, dtype: DType, device: Any = None) -> Tensor:
    """A concrete scalar tensor."""
    return _scalar(type(number).__name__, repr(number), number, dtype, device)  # the text tells 0.0 from -0.0


@lru_cache(maxsize=1024)
def _scalar(kind: str, text: str, number: Any, dtype: DType, device: Any) -> Tensor:
    check_fits(number, dtype)
    return interop.put(np.asarray(number).astype(dtype.numpy), device)
