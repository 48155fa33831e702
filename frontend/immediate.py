"""Operations outside a trace: each public operation is a little traced function, compiled once a signature."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from dfc.errors import DfcError
from dfc.frontend import interop
from dfc.frontend.promotion import NUMBERS, check_fits, result_type
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import current
from dfc.ir import locations
from dfc.ir.dtypes import DType

if TYPE_CHECKING:
    from dfc.frontend.function import Function

P = ParamSpec("P")
R = TypeVar("R")


def operation(body: Callable[P, R]) -> Callable[P, R]:
    """A public operation from its body, which emits ops: called in a trace it is the body, outside it runs at once."""
    run: Function[P, R] | None = None

    @functools.wraps(body)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal run
        try:
            if current() is not None:
                return body(*args, **kwargs)
            if run is None:
                run = _compiled(body)
            return run(*args, **kwargs)
        except DfcError as error:
            _locate(error, body)
            raise

    return call


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


def elementwise(body: Callable[P, R]) -> Callable[P, R]:
    """As `operation`; Python numbers outside a trace become inputs, so that a new number needs no new program."""
    run: Function[P, R] | None = None

    @functools.wraps(body)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal run
        try:
            if current() is not None:
                return body(*args, **kwargs)
            if run is None:
                run = _compiled(body)
            for arg in args:
                if type(arg) in NUMBERS:
                    args = _with_tensors(args)  # type: ignore[assignment]
                    break
            return run(*args, **kwargs)
        except DfcError as error:
            _locate(error, body)
            raise

    return call


_lock = threading.RLock()  # a signal handler may come here too
_functions: dict[Callable[..., Any], Any] = {}


def _compiled(body: Callable[P, R]) -> Function[P, R]:
    from dfc.frontend.function import Function

    with _lock:
        found: Function[P, R] | None = _functions.get(body)
        if found is None:
            found = _functions[body] = Function(body)
        return found


def _with_tensors(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Python numbers among `args` in the dtype that all of them meet in."""
    lifted = [arg if type(arg) in NUMBERS else interop.to_tensor(_read(arg)) for arg in args]
    target = result_type(*lifted)
    return tuple(arg if isinstance(arg, Tensor) else scalar(arg, target) for arg in lifted)


def _read(arg: Any) -> Any:
    return arg.__dfc_tensor__() if hasattr(arg, "__dfc_tensor__") else arg


def scalar(number: Any, dtype: DType) -> Tensor:
    """A concrete scalar tensor."""
    return _scalar(type(number).__name__, repr(number), number, dtype)  # the text tells 0.0 from -0.0


@lru_cache(maxsize=1024)
def _scalar(kind: str, text: str, number: Any, dtype: DType) -> Tensor:
    check_fits(number, dtype)
    return interop.put(np.asarray(number).astype(dtype.numpy))
