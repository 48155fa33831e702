"""What the host does beside computing: it calls Python functions, prints and checks. The executor's side of
`ir/ops/host.py`, and the same for calls outside of any graph."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from typing import Any

import numpy as np

from dfc.errors import DfcError, Internal, InvalidArgument
from dfc.ir.op import short_name
from dfc.ir.ops import host as ho
from dfc.ir.types import Spec
from dfc.runtime.flow import ALL, Done, HostOp, Values, on_host
from dfc.runtime.host import Binding, maker, simple, where_of
from dfc.runtime.in_thread import InThread
from dfc.runtime.python_results import arrays_of

Array = np.ndarray[Any, Any]
QUICK = 200e-6
"""Seconds: a function that took less may be called in a thread that has other things to do."""

# ---- Python functions


class PythonCall:
    """A Python function as a program calls it: with NumPy arrays, for results that fit `specs` in the nest `nest`, in a
    thread of its own, for `timeout` seconds at most.

    What it is given is read-only and stays as it is for as long as the function keeps it. What it returns is copied.
    """

    def __init__(
        self, function: Callable[..., Any], name: str, nest: Any, specs: Sequence[Spec], timeout: float | None
    ) -> None:
        self.function, self.name, self.nest, self.specs, self.timeout = function, name, nest, specs, timeout
        self._seconds = inf  # that the latest call took

    def begin(self, values: Values, done: Done) -> InThread:
        """The call with these values as an attempt."""

        def call() -> list[Array]:
            start = monotonic()
            arrays = [read_only(value) for value in values]
            values.clear()
            if self.timeout is not None:
                attempt.within(self.timeout)
            results = self._checked(arrays)
            self._seconds = monotonic() - start
            return results

        attempt = InThread(call, done, f"the Python function {self.name}", self._seconds < QUICK)
        return attempt

    def _checked(self, arrays: list[Array]) -> list[Array]:
        try:
            returned = self.function(*arrays)
        except DfcError:
            raise
        except BaseException as error:
            text = str(error)
            raise Internal(f"{self.name} raised {type(error).__name__}{text and f': {text}'}") from error
        return arrays_of(returned, self.nest, self.specs, self.name)


def read_only(value: Any) -> Array:
    """The value as an array that nobody writes to: of a device array a view where that is possible."""
    array: Array = value.copy() if isinstance(value, np.ndarray) else np.asarray(on_host(value))
    array.flags.writeable = False
    return array


@maker(ho.PyCall)
def py_call(op: ho.PyCall, binding: Binding) -> HostOp:
    function, nest = op.function.data, ast.literal_eval(op.nest.data)
    timeout = None if op.timeout is None else op.timeout.data
    try:
        call = PythonCall(function.resolve(), function.name, nest, op.results_.data, timeout)
    except DfcError as error:
        raise error.at(op=short_name(op), location=where_of(op)) from error.__cause__
    return HostOp(short_name(op), where_of(op), begin=call.begin)


# ---- text


def write(stream: str, text: str) -> None:
    """Write to what `sys.stdout` or `sys.stderr` is now, in one call, so that texts of several threads stay whole."""
    file: Any = getattr(sys, stream)
    if file is None:  # a program without a console
        return
    try:
        file.write(text)
    except UnicodeEncodeError:
        encoding = file.encoding
        file.write(text.encode(encoding, "backslashreplace").decode(encoding))


def joined(pieces: Sequence[str], arrays: Sequence[Array], summarize: int) -> str:
    """The text with the arrays between its pieces."""
    texts = (shown(array, summarize) + piece for array, piece in zip(arrays, pieces[1:], strict=True))
    return pieces[0] + "".join(texts)


def shown(array: Array, summarize: int) -> str:
    """The array as NumPy prints it, with `summarize` elements at the edges of each axis, or all where that is negative;
    strings as UTF-8, with the bytes that are none as escapes."""
    if array.dtype == object:
        decoded = np.array([bytes(item).decode("utf-8", "backslashreplace") for item in array.flat], object)
        array = decoded.reshape(array.shape)
    if not array.ndim:
        return str(array[()])
    options: dict[str, Any] = {"threshold": sys.maxsize} if summarize < 0 else {"threshold": 0, "edgeitems": summarize}
    options["formatter"] = {"object": _quoted}
    return np.array2string(array, **options)


def _quoted(text: str) -> str:
    return repr(text).replace("\\\\", "\\")  # escapes are there once


@maker(ho.Print)
def print_(op: ho.Print, binding: Binding) -> HostOp:
    pieces, stream, summarize = op.text.data, op.stream.data, op.summarize.data

    def run(values: Values) -> Sequence[Any]:
        write(stream, joined(pieces, values, summarize))
        return ()

    return simple(op, run, arrays=ALL)


# ---- checks


def failed(pieces: Sequence[str], data: Sequence[Any], summarize: int) -> InvalidArgument:
    """The error of an assertion that does not hold."""
    return InvalidArgument(joined(pieces, [on_host(value) for value in data], summarize))


@maker(ho.Assert)
def assert_(op: ho.Assert, binding: Binding) -> HostOp:
    pieces, summarize = op.text.data, op.summarize.data

    def run(values: Values) -> Sequence[Any]:
        if not values[0]:
            raise failed(pieces, values[1:], summarize)
        return ()

    return simple(op, run, arrays=1)


@maker(ho.CheckNumerics)
def check_numerics(op: ho.CheckNumerics, binding: Binding) -> HostOp:
    message = op.message.data

    def run(values: Values) -> Sequence[Any]:
        finite, x = values
        if not finite:
            raise ho.not_finite(on_host(x), message)
        return (x,)

    return simple(op, run, arrays=1)
