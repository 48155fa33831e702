"""Programs as bytes: StableHLO modules, their portable form, what compiled ones need to run, a cache on disk.

A cache entry is a file named by its key: `MAGIC`, the SHA-256 of the blob, the blob. It is written to a temporary file
and renamed, so processes side by side see whole entries only; anything else found under the name counts as absent.
Reading an executable runs its machine code, so a directory that other users can write to is not used.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import os
import platform
import re
import stat
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from dfc.errors import Internal, InvalidArgument, NotFound, Unimplemented

# As `import jax` does, and for the same reason: jaxlib reads it when it is first imported, which an emitter may do
# before jax is, and would otherwise print INFO lines about its client to the user's terminal (jaxlib 0.10.2).
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")


# --- StableHLO modules ------------------------------------------------------------------------------------------------


Spec = tuple[tuple[int, ...], np.dtype[Any]]
"""A static shape and a NumPy dtype."""

# MLIR's element types that XLA takes at a program's border. Of others some abort the process, so they are refused here.
ELEMENT_TYPES: dict[str, np.dtype[Any]] = {
    "i1": np.dtype(np.bool_),
    **{f"i{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"ui{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"f{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "complex<f32>": np.dtype(np.complex64),
    "complex<f64>": np.dtype(np.complex128),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "i4": np.dtype(ml_dtypes.int4),
    "ui4": np.dtype(ml_dtypes.uint4),
    "f8E4M3FN": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8E5M2": np.dtype(ml_dtypes.float8_e5m2),
}
DTYPES = frozenset(ELEMENT_TYPES.values())


@lru_cache(maxsize=1)
def _mlir() -> tuple[Any, Any, Any, type[Any]]:
    """jaxlib's MLIR, its registry of dialects, one thread pool for all contexts, and a context class that starts empty.

    jax 0.10.2 does the same in `jax._src.interpreters.mlir.make_ir_context`, but importing that imports jax.
    """
    from jaxlib.mlir import ir
    from jaxlib.mlir._mlir_libs import _jax_mlir_ext

    class EmptyContext(ir.Context):
        """A context that loads no dialect by itself: `ir.Context.__init__` would load all that are linked in."""

        def __init__(self) -> None:
            super(ir.Context, self).__init__()

    registry = ir.DialectRegistry()
    _jax_mlir_ext.register_dialects(registry)
    return ir, registry, ir.ThreadPool(), EmptyContext


def mlir_context() -> Any:
    """A new `jaxlib.mlir.ir.Context` with stablehlo, chlo, func, sdy and the upstream dialects; about 4 ms.

    Give each program its own: a context keeps every constant and type it ever saw until it goes away. Contexts are
    independent, so threads that emit side by side need no lock.
    """
    from jaxlib.mlir.dialects import chlo, sdy, stablehlo

    _, registry, pool, empty_context = _mlir()
    context = empty_context()
    context.append_dialect_registry(registry)
    context.load_all_available_dialects()
    context.set_thread_pool(pool)
    for dialect in (sdy, chlo, stablehlo):
        dialect.register_dialect(context)
    return context


def main_of(module: Any) -> Any:
    from jaxlib.mlir import ir

    for op in module.body.operations:
        if "sym_name" in op.attributes and ir.StringAttr(op.attributes["sym_name"]).value == "main":
            return op
    raise Internal("the StableHLO module has no function named main")


def mark_donated(module: Any, donated: Mapping[int, int], n_arguments: int) -> None:
    """Note on the module's `main` which of its arguments hand their memory to which result."""
    if not donated:
        return
    from jaxlib.mlir import ir

    main = main_of(module)
    with module.context:
        given = list(ir.ArrayAttr(main.attributes["arg_attrs"])) if "arg_attrs" in main.attributes else []
        given = given or [ir.DictAttr.get({})] * n_arguments
        attributes = [{entry.name: entry.attr for entry in _entries(each)} for each in given]
        i32 = ir.IntegerType.get_signless(32)
        for argument, result in donated.items():
            attributes[argument]["tf.aliasing_output"] = ir.IntegerAttr.get(i32, result)
        main.attributes["arg_attrs"] = ir.ArrayAttr.get([ir.DictAttr.get(each) for each in attributes])


def _entries(attribute: Any) -> Any:
    from jaxlib.mlir import ir

    return ir.DictAttr(attribute)


def mesh_axes(module: Any, n_devices: int) -> tuple[tuple[str, int], ...]:
    """The axes of the mesh that a program is for; of one that says nothing an axis of all devices, each of which then
    computes all of it."""
    from jaxlib.mlir.dialects import sdy

    for op in module.body.operations:
        if op.operation.name == "sdy.mesh":
            return tuple(
                (axis.name, axis.size) for axis in map(sdy.MeshAxisAttr, sdy.MeshAttr(op.attributes["mesh"]).axes)
            )
    return (("devices", n_devices),)


def free_results(module: Any) -> list[bool]:
    """Of each result of a program on a mesh: whether it does not say how it is divided."""
    from jaxlib.mlir import ir

    main = main_of(module)
    with module.context:
        if "res_attrs" not in main.attributes:
            n_results = len(ir.FunctionType(ir.TypeAttr(main.attributes["function_type"]).value).results)
            return ["mhlo.num_partitions" in module.operation.attributes] * n_results
        return ["sdy.sharding" not in ir.DictAttr(each) for each in ir.ArrayAttr(main.attributes["res_attrs"])]


def verify_module(module: Any, name: str) -> None:
    """MLIR's verifier: what it would find kills the process inside XLA."""
    from jaxlib.mlir import ir

    try:
        module.operation.verify()
    except ir.MLIRError as error:
        raise Internal(f"the emitted StableHLO is wrong: {error}", op=name) from error


def specs_of(module: Any) -> tuple[tuple[Spec, ...], tuple[Spec, ...]]:
    """The specs of the arguments and of the results of a module's `main`. Unimplemented for a type XLA can't take."""
    from jaxlib.mlir import ir

    with module.context:
        signature = ir.FunctionType(ir.TypeAttr(main_of(module).attributes["function_type"]).value)
        return tuple(map(_spec_of, signature.inputs)), tuple(map(_spec_of, signature.results))


def _spec_of(type_: Any) -> Spec:
    from jaxlib.mlir import ir

    tensor = ir.RankedTensorType(type_)
    if not tensor.has_static_shape:  # a `?` that reaches XLA aborts the process
        raise Internal(f"main must have static shapes only, got {tensor}")
    element = str(tensor.element_type)
    if element not in ELEMENT_TYPES:
        raise Unimplemented(f"XLA can't take {tensor} as an argument or a result")
    return tuple(tensor.shape), ELEMENT_TYPES[element]


def bytecode(module: Any, passes: str = "strip-debuginfo") -> bytes:
    """The module's bytecode after `passes` on a copy of it: without locations, so equal programs are equal bytes."""
    from jaxlib.mlir import passmanager

    with module.context:
        clone = module.operation.clone()
        passmanager.PassManager.parse(f"builtin.module({passes})").run(clone)
        output = io.BytesIO()
        clone.write_bytecode(output)
        return output.getvalue()


def portable_artifact(module: Any, *, locations: bool = False) -> bytes:
    """The module as a StableHLO portable artifact that any reader of the last 12 weeks or later takes, for 5 years;
    with the user's source positions if `locations` says so.

    chlo operations become stablehlo ones first: only those are versioned. Raises Unimplemented for what has no
    portable form. `module` is left as it is (jaxlib 0.10.2 leaves half-converted operations behind when it fails).
    """
    from jaxlib import _jax
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import stablehlo

    from dfc.backends.stablehlo.legalize import CHLO_TO_STABLEHLO, register_passes

    register_passes()
    week_12 = stablehlo.StablehloCompatibilityRequirement.WEEK_12
    try:
        code = bytecode(module, CHLO_TO_STABLEHLO if locations else f"{CHLO_TO_STABLEHLO},strip-debuginfo")
        version = stablehlo.get_version_from_compatibility_requirement(week_12)
        if "mhlo.num_partitions" in module.operation.attributes:  # a mesh's program: sdy's attributes stay as they are
            return bytes(_jax.mlir.serialize_portable_artifact(code, version, True))
        copied = ir.Module.parse(code, module.context)
        return bytes(stablehlo.serialize_portable_artifact(copied, version))
    except (RuntimeError, ValueError, ir.MLIRError) as error:
        raise Unimplemented(f"the program has no portable form: {error}") from error


def module_from_portable(artifact: bytes, context: Any = None) -> Any:
    """The module of a portable artifact, in a new context unless one is given; InvalidArgument where it is damaged."""
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import stablehlo

    try:
        return stablehlo.deserialize_portable_artifact(context or mlir_context(), artifact)
    except (RuntimeError, ValueError, ir.MLIRError) as error:
        raise InvalidArgument(f"not a StableHLO portable artifact, or a damaged or newer one: {error}") from error


# --- the cache --------------------------------------------------------------------------------------------------------

MAGIC = b"dfc-exe1"
HEADER = len(MAGIC) + 32
DEFAULT_MAX_BYTES = 2 << 30
MAX_ENTRIES = 20_000  # a scan of the directory stays near 0.1 s


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
        import tempfile  # 9 ms, and only needed after compiling

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
        if hasattr(os, "geteuid") and (_others_write(found) or found.st_uid not in (os.geteuid(), 0)):
            self._disable(f"the compile cache {self.directory} can be written by other users, so it is not used")
            return False
        return True

    def _disable(self, why: str) -> None:
        if not self._disabled:
            self._disabled = True
            import logging

            logging.getLogger("dfc").warning(
                "%s; programs are compiled anew (DFC_CACHE_DIR names another directory)", why
            )

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


def _others_write(status: os.stat_result) -> bool:
    """Whether users other than the owner may write there. A user's own group, which many systems make with the user
    and the umask 002 counts on, holds nobody else."""
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_own_group(status.st_gid)


def _is_own_group(group: int) -> bool:
    import grp
    import pwd

    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}


_caches: dict[tuple[str, int], CompileCache] = {}


def default_cache() -> CompileCache | None:
    """The cache that DFC_CACHE_DIR (`~/.cache/dfc`; empty: none) and DFC_CACHE_MAX_BYTES (2 GiB) ask for now."""
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


# --- what a compiled program needs ------------------------------------------------------------------------------------

# LLVM's name of a feature -> the name in /proc/cpuinfo, where they differ by more than "." and "_". Only features that
# a compiler uses for ordinary code are here or in COMPILED_X86: a blob also lists `shstk`, `pku` or `wbnoinvd`, which
# no generated loop ever needs and which virtual machines hide at will.
CPUINFO_NAMES = {
    "sse3": "pni",
    "bmi": "bmi1",
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
}
COMPILED_X86 = (
    "sse sse2 sse3 ssse3 sse4.1 sse4.2 sse4a avx avx2 fma fma4 f16c xop bmi bmi2 tbm popcnt lzcnt movbe adx aes sha "
    "gfni pclmul vaes vpclmulqdq avx512f avx512bw avx512cd avx512dq avx512vl avx512ifma avx512vbmi avx512vbmi2 "
    "avx512vnni avx512bitalg avx512vpopcntdq avx512bf16 avx512fp16 avx512vp2intersect avxvnni avxifma avxvnniint8 "
    "avxneconvert amx-tile amx-int8 amx-bf16 amx-fp16"
)
COMPILED_ARM = "neon dotprod fullfp16 lse rdm sve sve2 bf16 i8mm"
COMPILED = frozenset((COMPILED_X86 + " " + COMPILED_ARM).split())


def environment(client: Any, device: Any) -> bytes:
    """All that a compiled program depends on besides the program; devices of one kind share it."""
    import jaxlib.version
    from jaxlib import xla_client

    facts = (
        jaxlib.version.__version__,
        xla_client._version,
        client.platform,
        client.platform_version,
        device.device_kind,
        os.environ.get("XLA_FLAGS", ""),
        *cpu_features(),
        *((len(device.devices),) if hasattr(device, "devices") else ()),  # of a mesh
    )
    return repr(facts).encode() + bytes(xla_client.CompileOptions().SerializeAsString())


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


def stamp(blob: bytes | None = None, device: Any = None) -> dict[str, object]:
    """What a blob needs (with `blob`), or what is here (without), for `stamp_mismatch`; JSON-able. Without `device` it
    speaks of the CPU, starts no client and imports no jax."""
    import jaxlib.version
    from jaxlib import xla_client

    cpu = device is None or device.platform == "cpu"
    return {
        "platform": "cpu" if cpu else device.platform,
        "device_kind": "cpu" if cpu else device.device_kind,
        "machine": platform.machine(),
        "jaxlib": jaxlib.version.__version__,
        "xla": str(xla_client._version) if cpu else f"{xla_client._version} {device.client.platform_version}",
        "cpu_features": list(cpu_features() if blob is None else needed_features(blob)),
    }


def stamp_mismatch(stored: Mapping[str, object], here: Mapping[str, object]) -> str | None:
    """Why an executable stamped `stored` can't run under the stamp `here`, as one sentence, or None where it fits.

    Both come from `stamp`. Versions, platform, machine and device kind must be equal (XLA promises
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
        return (
            f"the executable needs the CPU features {', '.join(missing)}, which this machine ({', '.join(has)}) lacks"
        )
    return None


# --- native functions that a program calls ----------------------------------------------------------------------------

_libraries: dict[str, ctypes.CDLL] = {}
_initialised: set[str] = set()
_kernel_lock = threading.Lock()


def register_kernel(name: str, library: str | Path, symbol: str, platform: str = "cpu") -> None:
    """Make the XLA FFI handler `symbol` of a shared library the target of `stablehlo.custom_call @name`.

    Works in both modes, before the program is compiled or loaded; again with the same arguments does nothing.
    jaxlib 0.10.2 refuses a library built against another FFI version: Internal. NotFound for a missing file or symbol.
    """
    from jaxlib import xla_client

    mark = f"{name}@{library}:{symbol}:{platform}"
    with _kernel_lock:
        if mark in _initialised:
            return
        try:
            loaded = _libraries.setdefault(str(library), ctypes.CDLL(str(library)))
            address = ctypes.cast(getattr(loaded, symbol), ctypes.c_void_p)
        except (OSError, AttributeError) as error:
            raise NotFound(f"kernel {name}: {error}") from error
        new_capsule = ctypes.pythonapi.PyCapsule_New
        new_capsule.restype, new_capsule.argtypes = (
            ctypes.py_object,
            (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p),
        )
        try:
            xla_client.register_custom_call_target(name, new_capsule(address, None, None), platform, api_version=1)
        except RuntimeError as error:
            raise Internal(f"XLA does not take the kernel {name}: {error}") from error
        _initialised.add(mark)


def initialise_lapack(program: bytes) -> None:
    """jaxlib 0.10.2: LAPACK's entry points are taken from SciPy on request, and registered by importing jax, if that
    is imported. Importing SciPy costs 0.1 s, so only for programs that name such a target."""
    if b"lapack_" not in program or "lapack" in _initialised:
        return
    from jaxlib import lapack, xla_client
    from jaxlib.cpu import _lapack

    _lapack.initialize()
    if sys.modules.get("jax") is None:
        for name, target, api_version in lapack.registrations()["cpu"]:
            xla_client.register_custom_call_target(name, target, "cpu", api_version=api_version)
    _initialised.add("lapack")
