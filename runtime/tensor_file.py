"""Named arrays as safetensors, in artifacts and checkpoints.

The format lacks two of dfc's dtypes. A string tensor is stored as one uint8 tensor, its elements end to end, and
int64 offsets under `NAME:offsets`; a complex128 one as float64 with a last axis of 2. Which these are, and their
shapes, stand in the file's own metadata under `dfc`: a file is complete, and other readers see plain tensors.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfc.errors import DataLoss, InvalidArgument, NotFound
from dfc.ir import dtypes

Array = NDArray[Any]
OFFSETS = ":offsets"

_STORED = {
    "BOOL": dtypes.bool_,
    **{f"I{bits}": dtypes.as_dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"U{bits}": dtypes.as_dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"F{bits}": dtypes.as_dtype(f"float{bits}") for bits in (16, 32, 64)},
    "BF16": dtypes.bfloat16,
    "C64": dtypes.complex64,
}


class Special(NamedTuple):
    """How a tensor that safetensors can't hold was stored: its dtype's name and its shape."""

    dtype: str
    shape: list[int]


def pack(arrays: Mapping[str, Array]) -> bytes:
    """The file's content. Arrays of any dtype of dfc; strings are arrays of `bytes` objects or of NumPy's S and U.

    Raises InvalidType for other dtypes and InvalidArgument for two names that need the same place.
    """
    from safetensors.numpy import save  # not needed to read

    stored: dict[str, Array] = {}
    special: dict[str, Special] = {}
    for name, value in arrays.items():
        array = np.asarray(value)
        dtype = dtypes.as_dtype(array.dtype)
        if dtype == dtypes.string:
            special[name] = Special("string", list(array.shape))
            stored[name], stored[name + OFFSETS] = pack_strings(array)
        elif dtype == dtypes.complex128:
            special[name] = Special("complex128", list(array.shape))
            stored[name] = np.stack([array.real, array.imag], axis=-1)
        else:
            stored[name] = np.asarray(array, order="C", dtype=dtype.numpy)
    for name in special:
        if name + OFFSETS in arrays and special[name].dtype == "string":
            raise InvalidArgument(f"the name {name + OFFSETS!r} is needed for the offsets of the strings {name!r}")
    metadata = {"dfc": json.dumps({k: [v.dtype, v.shape] for k, v in special.items()})} if special else None
    return bytes(save(stored, metadata))


def pack_strings(array: Array) -> tuple[Array, Array]:
    """The elements end to end as uint8, and the n + 1 offsets of their ends."""
    elements = [e.encode() if isinstance(e, str) else bytes(e) for e in array.ravel()]
    offsets = np.zeros(len(elements) + 1, np.int64)
    np.cumsum([len(e) for e in elements], out=offsets[1:])
    return np.frombuffer(b"".join(elements), np.uint8), offsets


def data_start(content: bytes | memoryview) -> int:
    """Where the first tensor's bytes stand in a file's content."""
    return 8 + int(struct.unpack_from("<Q", content)[0])


class TensorFile:
    """The arrays in `content` (mapped memory as well as bytes): views of it, made when asked for.

    `source` names the file in errors. Raises DataLoss where the content is not whole.
    """

    def __init__(self, content: bytes | memoryview, source: str) -> None:
        self._content = memoryview(content)
        self._source = source
        try:
            self._start = data_start(self._content)
            if self._start > len(self._content):
                raise ValueError("it is cut off")
            header = json.loads(bytes(self._content[8 : self._start]))
            metadata = header.pop("__metadata__", {})
            self._special = {k: Special(*v) for k, v in json.loads(metadata.get("dfc", "{}")).items()}
            self._entries: dict[str, dict[str, Any]] = header
        except (ValueError, struct.error, TypeError, AttributeError) as error:
            raise DataLoss(f"{source} is damaged: its header can't be read ({error})") from error
        offsets = {name + OFFSETS for name, special in self._special.items() if special.dtype == "string"}
        self.names: tuple[str, ...] = tuple(name for name in self._entries if name not in offsets)

    def __getitem__(self, name: str) -> Array:
        """The array called `name`, read-only. Raises NotFound or DataLoss."""
        if name not in self.names:
            raise NotFound(f"{self._source} has no tensor {name!r}", hint=f"it has {', '.join(sorted(self.names))}")
        special = self._special.get(name)
        stored = self._stored(name)
        try:
            if special is None:
                return stored
            if special.dtype == "complex128":
                return stored.view(np.complex128).reshape(special.shape)
            return unpack_strings(stored, self._stored(name + OFFSETS), special.shape)
        except ValueError as error:
            raise DataLoss(f"{self._source} is damaged: tensor {name!r} does not fit its shape ({error})") from error

    def read(self, names: Iterable[str] | None = None) -> dict[str, Array]:
        """The arrays called `names`, or all."""
        return {name: self[name] for name in (self.names if names is None else names)}

    def _stored(self, name: str) -> Array:
        try:
            entry = self._entries[name]
            begin, end = entry["data_offsets"]
            dtype = _STORED[entry["dtype"]].numpy
            data = self._content[self._start + begin : self._start + end]
            if begin < 0 or len(data) != end - begin:
                raise ValueError("its data lie outside the file")
            view = np.frombuffer(data, dtype).reshape(entry["shape"])
            view.flags.writeable = False
            return view
        except (ValueError, KeyError, TypeError) as error:
            raise DataLoss(f"{self._source} is damaged: tensor {name!r} can't be read ({error})") from error


def unpack_strings(data: Array, offsets: Array, shape: list[int]) -> Array:
    """An object array of `bytes`. Raises ValueError where the offsets don't fit."""
    if (
        offsets.ndim != 1
        or len(offsets) == 0
        or offsets[0] != 0
        or offsets[-1] != data.size
        or (np.diff(offsets) < 0).any()
    ):
        raise ValueError("its offsets don't fit its data")
    flat = np.empty(len(offsets) - 1, object)
    content = data.tobytes()
    for i in range(len(flat)):
        flat[i] = content[offsets[i] : offsets[i + 1]]
    return flat.reshape(shape)
