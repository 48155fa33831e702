"""Threefry-2x32 with 20 rounds, a counter-based generator, and how tensors take their bits from it.

The generator is that of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A key is two words of
32 bits; a block is the hash of two counter words under a key. Element i (in C order) of a tensor takes its blocks
j = 0, 1 ... from the counters (2**24 j + i div 2**32, i mod 2**32): an element's bits depend on the key and its place
alone, not on how many elements there are. The layout of block 0 is that of `jax.random.bits`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
BLOCK_SHIFT = 24
"""The number of a block stands above so many bits of the first counter word."""


def threefry2x32(key: Array, high: Array, low: Array) -> tuple[Array, Array]:
    """The two words of the blocks with counters (high, low), uint32 arrays of one shape."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(PARITY))
    with np.errstate(over="ignore"):
        x, y = high + schedule[0], low + schedule[1]
        for group in range(5):
            for rotation in ROTATIONS[group % 2]:
                x = x + y
                y = (y << np.uint32(rotation)) | (y >> np.uint32(32 - rotation))
                y = y ^ x
            x = x + schedule[(group + 1) % 3]
            y = y + (schedule[(group + 2) % 3] + np.uint32(group + 1))
    return x, y


def blocks(key: Array, shape: tuple[int, ...], number: int = 0) -> tuple[Array, Array]:
    """The two words of block `number` of each element of a tensor."""
    index = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.uint64).reshape(shape)
    high = (index >> np.uint64(32)).astype(np.uint32) + np.uint32(number << BLOCK_SHIFT)
    return threefry2x32(key, high, index.astype(np.uint32))


def words(key: Array, shape: tuple[int, ...], bits: int, number: int = 0) -> Array:
    """One random word of `bits` bits (8, 16, 32 or 64) an element: block `number`'s two words joined, the first one
    high, or their exclusive or, of which 8 and 16 bits take the low ones."""
    x, y = blocks(key, shape, number)
    if bits == 64:
        return (x.astype(np.uint64) << np.uint64(32)) | y
    return np.asarray(x ^ y).astype(f"uint{bits}")
