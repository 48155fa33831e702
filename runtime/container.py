"""The zip behind an artifact: members stored as they are, placed so that their data can be mapped and used in place.

Written by the standard library and readable with `unzip`; read by a few lines of our own, since `zipfile` copies what
it reads and costs a tenth of `dfc run`'s start. Nothing in a member is ever unpickled.
"""

from __future__ import annotations

import binascii
import mmap
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from dfc.errors import DataLoss, InvalidArgument, NotFound

if TYPE_CHECKING:
    import zipfile

ALIGNMENT = 64
PADDING_FIELD = 0xD935  # the extra field that Android's zipalign uses for the same purpose

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_SATURATED = 0xFFFFFFFF


def check_folder(path: str | Path) -> None:
    """Raise NotFound unless the folder that `path` is to be written in exists."""
    parent = Path(path).parent
    if not parent.is_dir():
        raise NotFound(f"{path} can't be written: there is no folder {parent}", hint="make it first")


class Writer:
    """Writes an artifact's zip. It appears under its name when `close` has written everything, or not at all."""

    def __init__(self, path: str | Path) -> None:
        import zipfile  # not needed to read

        self.path = Path(path)
        check_folder(self.path)
        self._temporary = self.path.with_name(f".tmp-{self.path.name}-{os.getpid()}-{os.urandom(4).hex()}")
        self._file: IO[bytes] = open(self._temporary, "wb")  # noqa: SIM115  # closed by close or abandon
        self._zip: zipfile.ZipFile = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)

    def add(self, name: str, content: bytes, *, data_at: int = 0) -> None:
        """Store a member so that its byte number `data_at` stands at a multiple of 64 in the file."""
        import zipfile

        info = zipfile.ZipInfo(name)  # its date is 1980: equal content gives equal files
        info.external_attr = 0o644 << 16
        header = _LOCAL.size + len(name.encode()) + 4 + (20 if len(content) * 1.05 > zipfile.ZIP64_LIMIT else 0)
        padding = -(self._file.tell() + header + data_at) % ALIGNMENT
        info.extra = struct.pack("<HH", PADDING_FIELD, padding) + bytes(padding)
        self._zip.writestr(info, content)

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._zip.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temporary, self.path)

    def abandon(self) -> None:
        """Give up: nothing is left behind."""
        with suppress(OSError):  # a full disk, perhaps the reason for giving up
            self._zip.close()
        with suppress(OSError):
            self._file.close()
        with suppress(FileNotFoundError):
            self._temporary.unlink()


class Member(NamedTuple):
    """Where a member's data stand in the file, and their CRC-32."""

    start: int
    size: int
    crc: int


class Reader:
    """An artifact's zip, mapped into memory; members are views of the mapping.

    The file may be replaced or deleted while it is open, but not be truncated in place. Raises NotFound where there
    is no file and DataLoss where it is not a whole zip of stored members.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < _END.size:
                    raise DataLoss(f"{path} is not a dfc artifact, or it is truncated: it has {size} bytes")
                self._content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"there is no file {path}") from error
        except OSError as error:
            raise InvalidArgument(f"{path} can't be read: {error.strerror}") from error
        try:
            self.members = self._directory()
        except (struct.error, UnicodeDecodeError, ValueError) as error:
            raise DataLoss(f"{path} is not a dfc artifact, or it is damaged or truncated: {error}") from error

    def __getitem__(self, name: str) -> memoryview:
        """The data of a member, mapped. Raises DataLoss where it is missing: members are looked up by the manifest."""
        member = self.members.get(name)
        if member is None:
            raise DataLoss(f"{self.path} is damaged: it lacks {name}")
        return self._content[member.start : member.start + member.size]

    def checked(self, name: str) -> bytes:
        """A copy of a small member, compared with the zip's own CRC-32."""
        data = bytes(self[name])
        if binascii.crc32(data) != self.members[name].crc:
            raise DataLoss(f"{self.path} is damaged: {name} does not have the checksum that the zip states")
        return data

    def _directory(self) -> dict[str, Member]:
        """Read the table at the end. Raises ValueError or struct.error where it doesn't fit the file."""
        content = self._content
        tail_start = max(0, len(content) - (1 << 16) - _END.size)
        found = bytes(content[tail_start:]).rfind(b"PK\5\6")
        if found < 0:
            raise ValueError("it has no table of members")
        end = tail_start + found
        _, _, _, _, count, size, offset, _ = _END.unpack_from(content, end)
        if offset == _SATURATED or size == _SATURATED or count == 0xFFFF:
            signature, _, position, _ = _END64_LOCATOR.unpack_from(content, end - _END64_LOCATOR.size)
            if signature != b"PK\6\7" or position > end:
                raise ValueError("its table of members can't be found")
            count, size, offset = _END64.unpack_from(content, position)[7:10]
        if offset + size > end:
            raise ValueError("its table of members lies outside the file")
        members: dict[str, Member] = {}
        position = offset
        for _ in range(count):
            name, member, position = self._entry(position)
            members[name] = member
        return members

    def _entry(self, position: int) -> tuple[str, Member, int]:
        """One row of the table: name, place and the position of the next row."""
        content = self._content
        (signature, _, _, flags, method, _, _, crc, packed, size, n_name, n_extra, n_comment, _, _, _, header) = (
            _CENTRAL.unpack_from(content, position)
        )
        if signature != b"PK\1\2":
            raise ValueError("its table of members is damaged")
        after = position + _CENTRAL.size
        name = bytes(content[after : after + n_name]).decode()
        if _SATURATED in (size, packed, header):
            size, packed, header = _zip64(
                bytes(content[after + n_name : after + n_name + n_extra]), size, packed, header
            )
        if method != 0 or flags & 1 or size != packed:
            raise ValueError(f"its member {name!r} is compressed or encrypted")
        local = _LOCAL.unpack_from(content, header)
        start = header + _LOCAL.size + local[9] + local[10]
        local_name = bytes(content[header + _LOCAL.size : header + _LOCAL.size + local[9]])
        if local[0] != b"PK\3\4" or local_name != name.encode() or start + size > len(content):
            raise ValueError(f"its member {name!r} is not where the table says")
        return name, Member(start, size, crc), after + n_name + n_extra + n_comment


def _zip64(extra: bytes, *fields: int) -> list[int]:
    """The 64-bit values of those `fields` (size, packed size, header's offset) that don't fit 32 bits."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, position + 4))
            return [next(wide, field) if field == _SATURATED else field for field in fields]
        position += 4 + length
    raise ValueError("it lacks its 64-bit sizes")
