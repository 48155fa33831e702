"""Keys and generators: where random numbers come from.

A key is a uint32[2] tensor; a sampler that is given one depends on it alone. A generator gives a new key at each draw;
its state is a variable, so that draws in a step happen in program order and checkpoints hold it.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.immediate import located, operation
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.shape import error_here
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current, suspended
from dfc.frontend.variable import Variable
from dfc.ir.dtypes import uint32
from dfc.ir.ops.random import RandomFoldIn, RandomNext, RandomSplit

DEFAULT_NAME = "random_generator"


def _words(seed: Any, op: str) -> list[int]:
    """The two words of the key of a seed."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise error_here(InvalidType, f"a seed is an int, got {seed!r}", op)
    if not -(2**63) <= seed < 2**64:
        raise error_here(InvalidArgument, f"a seed must have at most 64 bits, got {seed}", op)
    number = int(seed) % 2**64
    return [number >> 32, number % 2**32]


@located
def key(seed: int) -> Tensor:
    """The key of a seed, an int of at most 64 bits: uint32[2], the high word first."""
    return asarray(np.array(_words(seed, "key"), np.uint32))


@operation
def split(key: Operand, number: int = 2) -> Tensor:
    """`number` new keys as a uint32[number, 2] tensor, all independent; the old one should not be used again.

    Raises InvalidType for what is no key, InvalidArgument for a negative number.
    """
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    if isinstance(number, bool) or not isinstance(number, int):
        raise error_here(InvalidType, f"the number of keys is an int, got {number!r}", "split")
    return trace.emit(RandomSplit, (tensor_in(trace, key)._value,), {"number": number})


@operation
def fold_in(key: Operand, data: Operand) -> Tensor:
    """A new key from a key and a number, an integer scalar taken modulo 2^32: a step's or a layer's number, say. It is
    row `data` of what `split` gives. Raises InvalidType for other data."""
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    number = (
        tensor_in(trace, data % 2**32, uint32)
        if isinstance(data, int) and type(data) is not bool
        else tensor_in(trace, data)
    )
    if not number.dtype.is_integer or number.shape:
        raise error_here(
            InvalidType, f"data must be an integer scalar, got {number.dtype}{list(number.shape)}", "fold_in"
        )
    value = trace.convert(number._value, uint32)
    return trace.emit(RandomFoldIn, (tensor_in(trace, key)._value, value))


_made = itertools.count()


def _default_name() -> str:
    number = next(_made)
    return f"generator_{number}" if number else "generator"


class GeneratorState(Variable):
    """The variable of a generator: unlike a weight, any value of it will do where none was saved."""

    in_program_order = True  # two draws must not be the same


class Generator:
    """Gives a new key at each call of `key()`.

    `state` is a variable of uint32[4]: the key of the seed, and how many keys were drawn, 64 bits with the high word
    first. Steps read and write it in program order, each step as a whole, so that no two draws get the same numbers,
    whatever threads they are in. Without a seed the operating system gives one. `name` is the variable's: by default
    `generator`, `generator_1` ... in order of creation.
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        self.state = GeneratorState(
            _initial(seed, "Generator"), name=name or _default_name(), trainable=False, offload=False
        )

    def seed(self, seed: int) -> None:
        """Start again: from here on the numbers are those of a new generator with this seed."""
        self.state.assign(_initial(seed, "seed"))

    def key(self) -> Tensor:
        """The next key."""
        return _next_key(self)

    def __repr__(self) -> str:
        return f"<dfc.random.Generator {self.state.name!r}>"


def _initial(seed: int | None, op: str) -> np.ndarray[Any, Any]:
    return np.array([*_words(secrets.randbits(64) if seed is None else seed, op), 0, 0], np.uint32)


@operation
def _next_key(generator: Generator) -> Tensor:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    op = trace.emit_op(RandomNext, (generator.state.read()._value,))
    drawn = generator.state.assign(Tensor(op.next_state.type, trace, op.next_state))
    return drawn.implied_by(Tensor(op.key.type, trace, op.key))


_default: Generator | None = None
_lock = threading.Lock()


def default_generator() -> Generator:
    """The generator of samplers that are given no key, made at its first use, with a seed from the operating system;
    its variable is called `random_generator`."""
    global _default
    with _lock:
        if _default is None:
            made = Generator(name=DEFAULT_NAME)
            made.state.name = DEFAULT_NAME  # whatever the present scope
            _default = made
        return _default


def host_generator() -> np.random.Generator:
    """A NumPy generator seeded by the next key of the default one: for initial values, which are drawn on the host."""
    with suspended():
        words = default_generator().key().numpy()
    return np.random.Generator(np.random.Philox(int(words[0]) << 32 | int(words[1])))


@located
def seed(number: int) -> None:
    """Make a run repeatable, bit for bit: samplers without a key draw the numbers of this seed from the start."""
    default_generator().seed(number)
