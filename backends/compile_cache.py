"""Compiled programs on disk, and what a compiled program needs of the machine that runs it.

An entry is a file named by its key: `MAGIC`, the SHA-256 of the blob, the blob. It is written to a temporary file and
renamed, so processes side by side see whole entries only; anything else found under the name counts as absent.
Reading an executable runs its machine code, so a directory that other users can write to is not used.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import re
import stat
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

logger = logging.getLogger("dfc")

MAGIC = b"dfc-exe1"
HEADER = len(MAGIC) + 32
DEFAULT_MAX_BYTES = 2 << 30
MAX_ENTRIES = 20_000  # a scan of the directory stays near 0.1 s

# LLVM's name of a feature -> the name in /proc/cpuinfo, where they differ by more than "." and "_". Only features that
# a compiler uses for ordinary code are here or in COMPILED_X86: a blob also lists `shstk`, `pku` or `wbnoinvd`, which
# no generated loop ever needs and which virtual machines hide at will.
CPUINFO_NAMES = {
    "sse3": "pni",
    "lzcnt": "abm",
    "sha": "sha_ni",
    "pclmul": "pclmulqdq",
    "rdrnd": "rdrand",
    "avxvnni": "avx_vnni",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vnni": "avx512_vnni",
    "avx512bitalg": "avx512_bitalg",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "avx512bf16": "avx512_bf16",
    "avx512fp16": "avx512_fp16",
    "avx512vp2intersect": "avx512_vp2intersect",
    "avxifma": "avx_ifma",
    "avxvnniint8": "avx_vnni_int8",
    "avxneconvert": "avx_ne_convert",
    "neon": "asimd",
    "dotprod": "asimddp",
    "fullfp16": "asimdhp",
    "lse": "atomics",
    "rdm": "asimdrdm",
    "aes": "aes",
}
COMPILED_X86 = (
    "sse sse2 sse3 ssse3 sse4.1 sse4.2 sse4a avx avx2 fma fma4 f16c xop bmi bmi2 tbm popcnt lzcnt movbe adx aes sha gfni "
    "pclmul vaes vpclmulqdq avx512f avx512bw avx512cd avx512dq avx512vl avx512ifma avx512vbmi avx512vbmi2 avx512vnni "
    "avx512bitalg avx512vpopcntdq avx512bf16 avx512fp16 avx512vp2intersect avxvnni avxifma avxvnniint8 avxneconvert "
    "amx-tile amx-int8 amx-bf16 amx-fp16"
)
COMPILED_ARM = "neon dotprod fullfp16 lse rdm sve sve2 bf16 i8mm"
COMPILED = frozenset((COMPILED_X86 + " " + COMPILED_ARM).split())


class CompileCache:
    """A bounded directory of blobs by key. `hits` and `misses` count this process's look-ups; all methods may be
    called from any thread and never raise for a full, read-only or damaged disk: the program is compiled instead."""

    def __init__(self, directory: str | Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.directory = Path(directory)
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self._unscanned = max_bytes  # the first write of a process looks at the whole directory
        self._lock = threading.Lock()
        self._disabled = False

    def get(self, key: str) -> bytes | None:
        """The blob stored under `key`, or None; a hit makes the entry the most recently used."""
        blob = None if self._disabled else self._read(self.directory / key)
        with self._lock:
            self.hits += blob is not None
            self.misses += blob is None
        return blob

    def discard(self, key: str) -> None:
        """Turn the last hit of `key` into a miss: the blob was whole, but XLA could not load it."""
        with suppress(OSError):
            (self.directory / key).unlink()
        with self._lock:
            self.hits -= 1
            self.misses += 1

    def put(self, key: str, blob: bytes) -> None:
        """Store `blob` under `key`, replacing what is there, and evict the least recently used beyond the bound."""
        if self._disabled or len(blob) + HEADER > self.max_bytes:
            return
        try:
            if self._usable():
                self._write(key, blob)
                self._evict_sometimes(len(blob))
        except OSError as error:
            self._disable(f"can't write to the compile cache in {self.directory}: {error}")

    def _read(self, path: Path) -> bytes | None:
        try:
            if not self._usable(create=False):
                return None
            content = path.read_bytes()
            if content[: len(MAGIC)] != MAGIC or content[len(MAGIC) : HEADER] != digest(content[HEADER:]):
                return None
            with suppress(OSError):  # a read-only cache still serves
                os.utime(path)
            return content[HEADER:]
        except OSError:
            return None

    def _write(self, key: str, blob: bytes) -> None:
        descriptor, temporary = tempfile.mkstemp(prefix="tmp-", dir=self.directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(MAGIC + digest(blob))
                file.write(blob)
            os.replace(temporary, self.directory / key)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def _usable(self, *, create: bool = True) -> bool:
        if create:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.directory.stat()
        if hasattr(os, "geteuid") and (found.st_mode & stat.S_IWOTH or found.st_uid not in (os.geteuid(), 0)):
            self._disable(f"the compile cache {self.directory} can be written by other users, so it is not used")
            return False
        return True

    def _disable(self, why: str) -> None:
        if not self._disabled:
            self._disabled = True
            logger.warning("%s; programs are compiled anew (DFC_CACHE_DIR names another directory)", why)

    def _evict_sometimes(self, written: int) -> None:
        with self._lock:
            self._unscanned += written
            if self._unscanned < self.max_bytes // 16:
                return
            self._unscanned = 0
        entries = []
        with os.scandir(self.directory) as found:
            for entry in found:
                with suppress(OSError):  # another process evicts too
                    status = entry.stat()
                    entries.append((status.st_mtime_ns, status.st_size, entry.path))
        entries.sort(reverse=True)
        total = 0
        for index, (_, size, path) in enumerate(entries):
            total += size
            if total > self.max_bytes or index >= MAX_ENTRIES:
                with suppress(OSError):
                    os.unlink(path)


_caches: dict[tuple[str, int], CompileCache] = {}


def default_cache() -> CompileCache | None:
    """The cache that DFC_CACHE_DIR (default `~/.cache/dfc`; empty: none) and DFC_CACHE_MAX_BYTES (2 GiB) ask for now."""
    directory = os.environ.get("DFC_CACHE_DIR")
    if directory is None:
        directory = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "dfc")
    limit = os.environ.get("DFC_CACHE_MAX_BYTES", "")
    max_bytes = int(limit) if limit.isdecimal() else DEFAULT_MAX_BYTES
    if not directory or not max_bytes:
        return None
    return _caches.setdefault((directory, max_bytes), CompileCache(directory, max_bytes))


def digest(content: bytes) -> bytes:
    """SHA-256, 32 bytes."""
    return hashlib.sha256(content).digest()


def key_of(*parts: bytes) -> str:
    """The key of what `parts` say: 64 hexadecimal digits. Lengths are hashed too, so parts can't run together."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


@lru_cache(maxsize=1)
def cpu_features() -> tuple[str, ...]:
    """What this machine's CPU offers to compiled code, in LLVM's names, sorted; empty where the kernel doesn't say."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # the first core's lines are enough
            line = next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        line = ""
    return features_in(line)


def features_in(cpuinfo_line: str) -> tuple[str, ...]:
    """LLVM's names of the features in a `flags` or `Features` line of /proc/cpuinfo that compiled code may use."""
    flags = set(cpuinfo_line.partition(":")[2].split())
    return tuple(sorted(name for name in COMPILED if CPUINFO_NAMES.get(name, re.sub("[.-]", "_", name)) in flags))


def needed_features(blob: bytes) -> tuple[str, ...]:
    """What compiled code in `blob` may use, in LLVM's names, sorted.

    jaxlib 0.10.2: XLA CPU writes LLVM's target features (`+avx,+avx2,-avx512f`) into the executable, once a kernel
    library; nothing in jaxlib reads them back. A program with no compiled kernel has none.
    """
    lists = re.findall(rb"(?:[+-][a-z0-9][a-z0-9._-]*,){8,}[+-][a-z0-9][a-z0-9._-]*", blob)
    names = {item[1:].decode() for found in lists for item in found.split(b",") if item.startswith(b"+")}
    return tuple(sorted(names & COMPILED))


def stamp_mismatch(stored: Mapping[str, object], here: Mapping[str, object]) -> str | None:
    """Why an executable stamped `stored` can't run under the stamp `here`, as one sentence, or None where it fits.

    Both come from `dfc.backends.xla.stamp`. Versions, platform, machine and device kind must be equal (XLA promises
    nothing across versions); the CPU features needed must be a subset of those here, because XLA loads a blob that
    needs more with only a log line, and its first call then dies of SIGILL.
    """
    for field in ("platform", "machine", "device_kind", "jaxlib", "xla"):
        if stored.get(field) != here.get(field):
            return f"the executable needs {field} {stored.get(field)!r}, and here it is {here.get(field)!r}"
    needs, has = stored.get("cpu_features"), here.get("cpu_features")
    if not isinstance(needs, list | tuple) or not isinstance(has, list | tuple):
        return "the executable's stamp does not list the CPU features that it needs"
    missing = sorted(set(map(str, needs)) - set(map(str, has)))
    if missing:
        return f"the executable needs the CPU features {', '.join(missing)}, which this machine ({', '.join(has)}) lacks"
    return None
