"""Compile StableHLO and run it through PJRT: with arrays.py and compile_cache.py all that touches the internals of JAX
and jaxlib.

Two modes. In the user's process (`compile_program`, `load_program`) values are `jax.Array`s on JAX's own client, so
they mix with the user's JAX code. In the process of `dfc run` and `dfc serve` (`lean_client`) jax is never imported:
jaxlib alone loads and runs, 0.6 s sooner. Nothing is imported from jax or jaxlib before it is needed.

Everything here was checked with jax and jaxlib 0.10.2. What depends on the version says so where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter, is_not, methodcaller
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from dfc.backends.arrays import (
    Array,
    aval_of,
    brought,
    copy,
    default_device,
    device_of,
    devices,
    division_of,
    fed,
    host_view,
    is_mesh,
    placed,
    sharding_on,
    to_device,
    to_int,
    to_numpy,
    transfer,
    truth,
    upload,
    uploadable,
    wait,
)
from dfc.backends.compile_cache import (
    Spec,
    bytecode,
    default_cache,
    environment,
    free_results,
    initialise_lapack,
    key_of,
    mark_donated,
    mlir_context,
    module_from_portable,
    portable_artifact,
    register_kernel,
    specs_of,
    stamp,
    stamp_mismatch,
    verify_module,
)
from dfc.backends.mesh import Layout, Mesh, devices_behind, launches, layouts_of
from dfc.backends.status import translate
from dfc.errors import DfcError, Internal, InvalidArgument

if TYPE_CHECKING:
    import jax

# fmt: off
__all__ = [
    "Array", "Executable", "Signature", "Spec", "brought", "compile_program", "copy", "default_device", "device_of",
    "devices", "division_of", "fed", "is_mesh", "load_program", "mlir_context", "module_from_portable", "placed",
    "portable_artifact", "register_kernel", "serialize_executable", "specs_of", "stamp", "stamp_mismatch",
    "to_device", "to_int", "to_numpy", "transfer", "truth", "upload", "uploadable", "wait",
]
# fmt: on

# --- compile, load, run -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signature:
    """How a program is called. Its arguments are `n_state` state values, then feeds; its results are `n_new_state`
    new state values, then outputs. `donated` maps an argument to the result that takes over its buffer: state to new
    state, or a feed to an output."""

    inputs: tuple[Spec, ...]
    results: tuple[Spec, ...]
    n_state: int = 0
    n_new_state: int = 0
    donated: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.n_state <= len(self.inputs) or not 0 <= self.n_new_state <= len(self.results):
            raise Internal(
                f"{self.n_state} of {len(self.inputs)} arguments can't be state with {self.n_new_state} of "
                f"{len(self.results)} results"
            )
        if len(set(self.donated.values())) != len(self.donated):
            raise Internal(f"two donated arguments can't share a result: {dict(self.donated)}")
        for argument, result in self.donated.items():
            if (argument < self.n_state) != (result < self.n_new_state):
                raise Internal(f"state can be donated to new state only, feeds to outputs, got {argument} -> {result}")
            if self.inputs[argument] != self.results[result]:
                raise Internal(
                    f"a donated argument must be like its result, got {show(self.inputs[argument])} and "
                    f"{show(self.results[result])}"
                )


def show(spec: Spec) -> str:
    """A spec as text: `float32[2,3]`."""
    return f"{spec[1]}[{','.join(map(str, spec[0]))}]"


Call = Callable[[list["jax.Array"], list["jax.Array"]], tuple[list["jax.Array"], list["jax.Array"]]]


@dataclass(frozen=True, eq=False)
class Executable:
    """A compiled program on one device, or on all of a mesh; may be called from any thread.

    `call(state, feeds)` takes two lists of `jax.Array`s and returns the new state and the outputs, not awaited. It
    checks nothing but byte sizes, which XLA does (jaxlib 0.10.2 reads an int32[4] given for a float32[4] as if it were
    one): callers know what they pass, and of a program on a mesh divide arguments as `layouts` says, and
    launch it as `mesh.launches` says. Calling the object itself checks first, and does all that.
    """

    name: str
    signature: Signature
    device: Any
    call: Call = field(repr=False)
    loaded: Any = field(repr=False)
    avals: tuple[Any, ...] = field(repr=False)
    handlers: list[Any] = field(repr=False)
    layouts: tuple[Layout, ...] = ()  # of a program on a mesh: how its arguments must be divided
    blob: bytes | None = field(repr=False, default=None)  # what it was loaded from, if it was not compiled here
    shared: Any = field(repr=False, default=None)  # keeps the loaded program for equal ones

    @property
    def from_cache(self) -> bool:
        """Whether it was loaded, from the disk cache or by `load_program`, and not compiled."""
        return self.blob is not None

    @property
    def hlo(self) -> str:
        """The optimised HLO as text: what is fused, and in which layouts."""
        return "\n".join(module.to_string() for module in self.loaded.hlo_modules())

    def __call__(self, state: list[jax.Array], feeds: list[jax.Array]) -> tuple[list[jax.Array], list[jax.Array]]:
        """`call` after `check`; of a program on a mesh the arguments may lie in any way."""
        self.check(state, feeds)
        if not self.layouts:
            return self.call(state, feeds)
        arguments = self.divided([*state, *feeds], self.layouts)
        with launches.lock:
            launches.settle()
            new, outputs = self.call(arguments[: len(state)], arguments[len(state) :])
            launches.note([*new, *outputs])
            return new, outputs

    @staticmethod
    def divided(values: Sequence[Any], layouts: Sequence[Layout]) -> list[jax.Array]:
        """Values of the host, of a device, or divided in other ways, as these layouts say."""
        return [placed(value, layout) for value, layout in zip(values, layouts, strict=True)]

    def channel(self) -> tuple[list[list[jax.Array]], Iterator[list[jax.Array]]]:
        """The fastest way to call, for one thread at a time: append the arguments to the list, then take the results
        from the iterator, in a `for` statement.

        Both C++ calls happen inside the iterator, which is made once: 0.1 of jax.jit's time less than `call` at one
        variable. Like `call` it leaves no room for a KeyboardInterrupt: FOR_ITER does not look for signals, so what
        the loop's body stores before its first call is stored for sure. An interrupt before the loop leaves the
        arguments in the list: clear it. XLA's own errors come out untranslated, and the iterator goes on after them.
        """
        waiting: list[list[Any]] = []
        wrap = methodcaller("consume_with_handlers", self.handlers)
        return waiting, map(wrap, map(self.loaded.execute_sharded, iter(waiting.pop, None)))

    def check(self, state: Sequence[jax.Array], feeds: Sequence[jax.Array]) -> None:
        """Raise InvalidArgument unless count, shapes and dtypes are those the program was compiled for."""
        expected, n_state = self.signature.inputs, self.signature.n_state
        if len(state) != n_state or len(state) + len(feeds) != len(expected):
            raise InvalidArgument(
                f"expects {n_state} state values and {len(expected) - n_state} feeds, "
                f"got {len(state)} and {len(feeds)}",
                op=self.name,
            )
        values = [*state, *feeds]
        if any(map(is_not, map(attrgetter("aval"), values), self.avals)):  # arrays that dfc made share their aval
            check_specs(values, expected, self.name)


def check_specs(values: Sequence[Any], expected: Sequence[Spec], name: str) -> None:
    for index, (argument, (shape, dtype)) in enumerate(zip(values, expected, strict=True)):
        value = getattr(argument, "aval", argument)  # without jax, arrays have no shape of their own
        if value.shape != shape or value.dtype != dtype:
            raise InvalidArgument(
                f"argument {index} must be {show((shape, dtype))}, got {show((value.shape, value.dtype))}", op=name
            )


def _dispatcher(loaded: Any, handlers: list[Any], n_new_state: int, donates: bool, name: str) -> Call:
    """The function that runs `loaded`: two calls into C++, execute and wrap the results, 0.8 to 0.95 of jax.jit's time.

    jaxlib 0.10.2: `execute_sharded` is what JAX's own C++ path calls, and result handlers make the arrays in C++. What
    is left out is jit's: flattening, a cache look-up over every argument's type and sharding, Python on a miss. There
    is no slow first call. Results are futures, as jit's are.

    With donation, `map` inside `map` runs both calls within one bytecode: CPython 3.11 (measured; a test repeats it on
    the running version) looks for signals after each CALL and at each function's start, but neither in UNPACK_SEQUENCE
    nor on return from a Python function. So no KeyboardInterrupt falls between giving up the old buffers and holding
    the new ones, up to and including the caller's `holder.buffers, outputs = executable.call(holder.buffers, feeds)`.
    That holds for this function, not for `Executable.__call__`, which is entered through a C slot.
    """
    execute, wrap, tidy = loaded.execute_sharded, methodcaller("consume_with_handlers", handlers), tidier()

    def pure(state: list[Any], feeds: list[Any]) -> tuple[list[Any], list[Any]]:
        tidy()
        try:
            results = execute(state + feeds).consume_with_handlers(handlers)
        except Exception as error:
            raise translate(error, name) from error
        return results[:n_new_state], results[n_new_state:]

    def donating(state: list[Any], feeds: list[Any]) -> tuple[list[Any], list[Any]]:
        tidy()
        try:
            (results,) = map(wrap, map(execute, (state + feeds,)))
        except Exception as error:
            raise translate(error, name) from error
        return results[:n_new_state], results[n_new_state:]

    return donating if donates else pure


class _Loaded:
    """A loaded program. Equal programs on one device share one, for as long as an Executable has it."""

    __slots__ = ("__weakref__", "blob", "loaded")

    def __init__(self, loaded: Any, blob: bytes | None) -> None:
        self.loaded, self.blob = loaded, blob


_alive: WeakValueDictionary[tuple[Any, ...], _Loaded] = WeakValueDictionary()


def _assemble(program: _Loaded, signature: Signature, device: Any, name: str) -> Executable:
    avals, results = [[aval_of(*spec) for spec in specs] for specs in (signature.inputs, signature.results)]
    layouts: tuple[Layout, ...] = ()
    if isinstance(device, Mesh):
        layouts, given = layouts_of(program.loaded, device, avals, results)
        handlers = [result_handlers([aval], at.sharding)[0] for aval, at in zip(results, given, strict=True)]
    else:
        handlers = result_handlers(results, sharding_on(device))
    call = _dispatcher(program.loaded, handlers, signature.n_new_state, bool(signature.donated), name)
    return Executable(
        name, signature, device, call, program.loaded, tuple(avals), handlers, layouts, program.blob, program
    )


def compile_program(
    module: Any,
    *,
    input_specs: Sequence[Spec],
    n_state: int = 0,
    donated: Mapping[int, int] | None = None,
    n_new_state: int = 0,
    device: Any = None,
    name: str = "main",
    share: bool = False,
) -> Executable:
    """Compile a StableHLO module (entry `main`, static shapes) for one device or a mesh, or take it from the disk
    cache; with `share` the one of an equal program that is loaded already.

    `main`'s arguments have `input_specs`: first `n_state` state values, then feeds. Its first `n_new_state` results
    are new state, the rest outputs. `donated` maps state arguments to the new state that replaces them (same spec);
    it is written into `module` as `tf.aliasing_output`. Raises Internal for a module that breaks this or does not
    verify, Unimplemented for types XLA can't take, and XLA's own errors as dfc's.
    """
    device = device or default_device()
    inputs, results = specs_of(module)
    if inputs != tuple((tuple(shape), np.dtype(dtype)) for shape, dtype in input_specs):
        raise Internal(f"main takes {', '.join(map(show, inputs))}, not {', '.join(map(show, input_specs))}", op=name)
    signature = Signature(inputs, results, n_state, n_new_state, dict(donated or {}))
    mark_donated(module, signature.donated, len(signature.inputs))
    verify_module(module, name)
    program = bytecode(module)
    key = (device, program)
    found = _alive.get(key) if share else None
    if found is None:
        found = _alive[key] = _Loaded(*compile_cached(device.client, device, program, module, name))
    return _assemble(found, signature, device, name)


def load_program(blob: bytes, signature: Signature, *, device: Any = None, name: str = "main") -> Executable:
    """The executable that `serialize_executable` wrote, on `device`; donation is kept. About 1 ms.

    The caller has compared stamps (`stamp_mismatch`) and trusts the blob: loading it runs its machine code. Raises
    InvalidArgument for a damaged one where XLA sees it.
    """
    device = device or default_device()
    return _assemble(_Loaded(load_blob(device.client, device, blob, name), blob), signature, device, name)


def compile_options(device: Any, free: Sequence[bool] = ()) -> Any:
    """XLA's options for a program on one device or a mesh; of the `free` results XLA chooses how they are divided, by
    whole axes (jaxlib 0.10.2: Shardy divides no argument or result by parts of one)."""
    from jaxlib import xla_client

    devices = devices_behind(device)
    options = xla_client.CompileOptions()  # XLA_FLAGS are in it
    options.num_replicas, options.num_partitions = 1, len(devices)
    options.device_assignment = xla_client.DeviceAssignment.create(np.array([[each.id for each in devices]]))
    if isinstance(device, Mesh):
        inside = options.executable_build_options
        inside.use_spmd_partitioning = inside.use_shardy_partitioner = True
        inside.allow_spmd_sharding_propagation_to_output = list(free)
    return options


def compile_cached(client: Any, device: Any, program: bytes, module: Any, name: str) -> tuple[Any, bytes | None]:
    """The loaded executable of `module`, whose location-free form is `program`; and the blob from the disk cache where
    it came from there. JAX's persistent cache and its settings are neither used nor changed."""
    from jaxlib import _jax

    initialise_lapack(program)
    cache = default_cache()
    key = key_of(program, environment(client, device)) if cache else ""
    if cache and (blob := cache.get(key)) is not None:
        try:
            return load_blob(client, device, blob, name), blob
        except DfcError:
            cache.discard(key)
    try:
        options = compile_options(device, free_results(module) if isinstance(device, Mesh) else ())
        loaded = client.compile_and_load(module, _jax.DeviceList(devices_behind(device)), options)
    except RuntimeError as error:
        raise translate(error, name) from error
    if cache:
        with suppress(RuntimeError):  # some plugins can't serialise; the program still runs
            cache.put(key, client.serialize_executable(loaded))
    return loaded, None


def load_blob(client: Any, device: Any, blob: bytes, name: str) -> Any:
    from jaxlib import _jax

    initialise_lapack(blob)
    try:
        options = compile_options(device)
        return client.deserialize_executable(blob, _jax.DeviceList(devices_behind(device)), options)
    except RuntimeError as error:
        raise translate(error, name) from error


def serialize_executable(executable: Executable) -> bytes:
    """The compiled program for `load_program` or `LeanClient.load_serialized`, on a machine with a fitting `stamp`."""
    if executable.blob is not None:  # jaxlib 0.10.2: a loaded one serialises without its code, and fails when run
        return executable.blob
    try:
        return bytes(executable.device.client.serialize_executable(executable.loaded))
    except RuntimeError as error:
        raise translate(error, executable.name) from error


# --- for dfc.backends.lean too, whose client works without jax --------------------------------------------------------


def result_handlers(avals: Sequence[Any], sharding: Any) -> list[Any]:
    """What makes results into arrays in C++, one for each of `avals`, which the arrays then carry."""
    from jaxlib import _jax, version

    told = {} if version.__version_info__ >= (0, 11) else {"_skip_checks": True}  # jaxlib 0.12.0.1 needs no telling
    return [_jax.array_result_handler(aval, sharding, committed=True, **told) for aval in avals]


@cache
def tidier() -> Callable[[], None]:
    """What frees the places in the user's code that jaxlib noted for calls whose arrays are gone: 100 to 300 bytes a
    call. It keeps them until Python's collector runs (which a loop that makes no garbage puts off for ever) or somebody
    asks, as `jax.jit` does at each call, and we do: 0.06 us."""
    from jaxlib import _jax

    collect: Callable[[], None] = _jax.collect_garbage
    return collect


def execute(loaded: Any, handlers: list[Any], buffers: list[Any], name: str) -> list[Any]:
    """Run on buffers of one device; the results, not awaited."""
    tidier()()
    try:
        results: list[Any] = loaded.execute_sharded(buffers).consume_with_handlers(handlers)
        return results
    except Exception as error:
        raise translate(error, name) from error


def to_host_view(array: Any, name: str) -> Array:
    """The value of a CPU array as a read-only NumPy array that may alias it."""
    try:
        view = host_view(array, on_host=True)
    except RuntimeError as error:
        raise translate(error, name) from error
    view.flags.writeable = False
    return view
