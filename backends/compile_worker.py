"""Compile programs for one target, in a process of its own: `python -m dfc.backends.compile_worker FOLDER`.

XLA's compilers end the process on some programs, want settings in the environment before they start, and a TPU's or a
GPU's would look for devices in the user's process. So `backends/compiling.py` writes a folder with `job.json` and the
programs, `K.vhlo`, and starts this; it writes for each program `K.exe`, `K.hlo`, `K.json`, or `error.json` for the
first that fails. jax is not imported: jaxlib has all that compiling takes.

Checked with jaxlib 0.10.2 and 0.12.0.1.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from dfc.backends import compile_cache, statistics
from dfc.backends.gpus import GPUS
from dfc.backends.mesh import devices_behind, mesh_of
from dfc.backends.status import translate
from dfc.backends.targets import (
    CUDA_DRIVER,
    X86_LEVELS,
    Target,
    compiler_packages,
    installed,
    loader_packages,
    parse_target,
)
from dfc.errors import DfcError, Internal, ResourceExhausted, Unimplemented

ATTRIBUTES = "attributes.csv"
DUMP = "dump"


class Made(NamedTuple):
    """What a compiler gives for a program."""

    blob: bytes
    executable: Any
    from_cache: bool = False
    """Then it does not know this program's source lines, but those of the first one like it."""


Compiler = Callable[[Any, bytes, str], Made]
"""From a module, its bytes without locations, and its name."""


def main(folder: Path) -> None:
    """Do the job in `folder`. Raises nothing: what goes wrong is in error.json, or the process ends."""
    sys.modules["jax"] = None  # type: ignore[assignment]  # jaxlib would import it, which would look for devices
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    target = parse_target(job["target"])
    index = 0
    try:
        compiler, stamp = _compiler(target, folder)
        for index, program in enumerate(job["programs"]):
            _compile(target, compiler, stamp, folder / str(index), program)
    except Exception as error:  # the parent raises it again
        known = translate(error, job["programs"][index]["name"])
        said = known.diagnostic
        content = {"kind": type(known).__name__, "message": said.message, "hint": said.hint}
        (folder / "error.json").write_text(json.dumps(content), encoding="utf-8")


def _compile(
    target: Target, compiler: Compiler, stamp: Callable[[bytes], dict[str, Any]], path: Path, program: Mapping[str, Any]
) -> None:
    module = compile_cache.module_from_portable(path.with_suffix(".vhlo").read_bytes())
    started = perf_counter()
    try:
        made = compiler(module, compile_cache.bytecode(module), program["name"])
    except Exception as error:
        known = translate(error, program["name"])
        if isinstance(known, ResourceExhausted):
            raise _too_large(target, known.diagnostic.message, module, program["arguments"]) from error
        raise known from error
    seconds = perf_counter() - started
    found = statistics.of(made.executable, module)
    limit = GPUS[target.model].memory if target.platform == "cuda" else None
    if limit and (needed := statistics.memory_of(found)) > limit:  # XLA's compiler for GPUs leaves that to the run
        memory = ", ".join(f"{name} {statistics.size(n)}" for name, n in found["memory"].items() if n)
        message = f"it needs {statistics.size(needed)} ({memory}), and {target.needs} has {statistics.size(limit)}"
        raise _too_large(target, message, module, program["arguments"])
    found |= {"seconds": round(seconds, 3), "from_cache": made.from_cache}
    found["versions"] = installed(compiler_packages(target))
    path.with_suffix(".exe").write_bytes(made.blob)
    path.with_suffix(".hlo").write_text(
        statistics.hlo_text(made.executable, lines=not made.from_cache), encoding="utf-8"
    )
    content = {"stamp": stamp(made.blob), "statistics": found}
    path.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")


def _too_large(target: Target, why: str, module: Any, arguments: Sequence[str]) -> ResourceExhausted:
    listed = "".join(f"\n    {line}" for line in statistics.largest(module, arguments))
    text = re.sub(r"^(XLA: |RESOURCE_EXHAUSTED: |E\d+: |\w+: )*", "", why).strip().partition("\n")[0]
    takes, gives = map(statistics.size, statistics.border(module))
    return ResourceExhausted(
        f"the program is too large for {target.name}: {text}\n  it takes {takes} of arguments and gives {gives} of "
        f"results; its largest values:{listed}"
    )


def _compiler(target: Target, folder: Path) -> tuple[Compiler, Callable[[bytes], dict[str, Any]]]:
    """What compiles for the target, and what gives a compiled program's stamp."""
    if target.platform != "cpu":
        devices, plugin = _topology(target)
        return _for_devices(devices), lambda blob: _device_stamp(target, devices, plugin)
    from jaxlib import xla_client

    client = xla_client.make_cpu_client(num_devices=target.devices)
    several = {"devices": target.devices} if target.devices > 1 else {}
    if not target.model:
        return _for_this_cpu(client), lambda blob: {**compile_cache.stamp(blob), **several}
    features = X86_LEVELS[target.model].features

    def levelled(blob: bytes) -> dict[str, Any]:
        return {**compile_cache.stamp(blob), "cpu_features": sorted(features & compile_cache.COMPILED), **several}

    return _for_level(client, target, folder), levelled


# ---- CPUs


def _for_this_cpu(client: Any) -> Compiler:
    from dfc.backends import xla

    def compile_program(module: Any, program: bytes, name: str) -> Made:
        loaded, cached = xla.compile_cached(client, _all_of(client, module), program, module, name)
        return Made(cached or bytes(client.serialize_executable(loaded)), loaded, cached is not None)

    return compile_program


def _all_of(client: Any, module: Any) -> Any:
    """The client's device, or all of its devices as the mesh that the program is for."""
    devices = client.local_devices()
    return devices[0] if len(devices) == 1 else mesh_of(compile_cache.mesh_axes(module, len(devices)), devices)


def level_flags(target: Target, folder: Path) -> str:
    """XLA's flags with which a process compiles for a level of x86-64.

    `xla_cpu_max_isa` bounds the vectors, but leaves the compiling CPU's other features, such as BMI2 or AMD's SSE4A.
    Those can be set only by function: LLVM reads attributes of functions from a file, and the dump has their names.
    """
    isa = X86_LEVELS[target.model].max_isa
    dump = f"--xla_dump_to={folder / DUMP} --xla_dump_emitter_re=^llvm"  # jaxlib 0.12.0.1 dumps no LLVM unless asked
    # XLA's own functions, such as a vector's tanh, come later, with the CPU's features: they are to be inlined as well.
    options = f"-forceattrs-csv-path={folder / ATTRIBUTES},-ignore-tti-inline-compatible"
    return f"--xla_cpu_max_isa={isa} {dump} --xla_backend_extra_options={options}"


ROUNDS = 4
"""Compilations of a program for a level: one to know the functions, one with attributes, and further ones where a
function shows up that others had swallowed before."""


def _for_level(client: Any, target: Target, folder: Path) -> Compiler:
    from jaxlib import _jax

    from dfc.backends import xla

    dump = folder / DUMP

    def compile_once(module: Any, name: str) -> Any:
        shutil.rmtree(dump, ignore_errors=True)
        device = _all_of(client, module)
        devices = _jax.DeviceList(devices_behind(device))
        try:
            return client.compile_and_load(
                module, devices, xla.compile_options(device, compile_cache.free_results(module))
            )
        except RuntimeError as error:
            if "f16c" not in X86_LEVELS[target.model].features and re.search(r"\bf16\b|xf16", str(module)):
                # jaxlib 0.10.2 and 0.12.0.1: the code calls __extendhfsf2, which XLA does not have.
                raise Unimplemented(
                    f"{name!r} uses float16, and XLA compiles that for CPUs with F16C only, which {target.model} "
                    "does not promise",
                    hint="use float32 or bfloat16, or compile for cpu:x86-64-v3",
                ) from error
            raise translate(error, name) from error

    def compile_program(module: Any, program: bytes, name: str) -> Made:
        compile_cache.initialise_lapack(program)
        known: set[str] = set()
        (folder / ATTRIBUTES).write_text("")
        for _ in range(ROUNDS):
            loaded = compile_once(module, name)
            blob = bytes(client.serialize_executable(loaded))
            astray = functions_beyond(dump, target.model)
            if not astray:
                return Made(blob, loaded)
            known |= astray
            (folder / ATTRIBUTES).write_text("".join(attribute_lines(known, target.model, all_features(blob))))
        raise Internal(f"LLVM does not hold {', '.join(sorted(astray))} to {target.model}", op=name)

    return compile_program


def all_features(blob: bytes) -> set[str]:
    """What LLVM was told that the CPU has, of all kinds."""
    lists = re.findall(rb"(?:[+-][a-z0-9][a-z0-9._-]*,){8,}[+-][a-z0-9][a-z0-9._-]*", blob)
    return {item[1:].decode() for found in lists for item in found.split(b",") if item.startswith(b"+")}


def attribute_lines(functions: set[str], level: str, features: set[str]) -> list[str]:
    """The lines of LLVM's file of attributes that hold functions to an x86-64 level on a CPU with these features."""
    allowed = X86_LEVELS[level].features
    settings = [f"+{name}" for name in sorted(allowed)] + [
        f"-{name}" for name in sorted(features - allowed - {"64bit"})
    ]
    return [
        f"{name},{key}={value}\n"
        for name in sorted(functions)
        for key, value in (("target-cpu", level), ("target-features", ",".join(settings)))
    ]


_DEFINED = re.compile(r'^define [^@]*@(?:"([^"]+)"|([^\s(]+))\(.*$', re.MULTILINE)


def functions_beyond(dump: Path, level: str) -> set[str]:
    """The functions in a dump that were not compiled for the level. Raises Internal where it lacks a function."""
    astray: set[str] = set()
    for compiled in dump.glob("*.obj-file.*.o"):
        start, _, stem = compiled.name.removesuffix(".o").partition("obj-file.")
        file = dump / f"{start}{stem}.ir-with-opt.ll"
        if not file.exists():
            raise Internal(f"XLA does not tell what it compiles, so {level} can't be promised: no {file.name}")
        text = file.read_text()
        pattern = rf'^attributes (#\d+) = {{.*"target-cpu"="{level}".*"target-features"='
        groups = set(re.findall(pattern, text, re.MULTILINE))
        for match in _DEFINED.finditer(text):
            if not groups & set(re.findall(r"#\d+", match[0])):
                astray.add(match[1] or match[2])
    return astray


# ---- TPUs and GPUs


def _topology(target: Target) -> tuple[list[Any], str]:
    """Devices to compile for, which are not there, and the version of the plugin that compiles."""
    from jaxlib import _jax, xla_client

    if target.platform == "tpu":
        library, name = _library("libtpu", "libtpu.so"), f"{target.model}:{target.topology}"
        # One chip is less than a host has, so it has to be said that this host has one.
        options: dict[str, Any] = {"chips_per_host_bounds": (1, 1, 1)} if target.devices == 1 else {}
    else:
        library, name = _library("jax_plugins.xla_cuda13", "xla_cuda_plugin.so"), ""
        config = GPUS[target.model].config
        options = {"target_config": config, "topology": f"1x1x{target.devices}"}  # slices x hosts x GPUs
    if not xla_client.pjrt_plugin_loaded(target.platform):
        xla_client.load_pjrt_plugin_dynamically(target.platform, library)
    if not xla_client.pjrt_plugin_initialized(target.platform):
        xla_client.initialize_pjrt_plugin(target.platform)
    topology = _jax.get_default_c_api_topology(target.platform, name, options)
    devices = topology._make_compile_only_devices()
    if len(devices) != target.devices:
        raise Internal(f"{target.name} should have {target.devices} devices, and the compiler makes {len(devices)}")
    return devices, str(topology.platform_version)


def _library(package: str, file: str) -> str:
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return os.path.join(next(iter(folders or ("",))), file)


def _for_devices(devices: list[Any]) -> Compiler:
    from jaxlib import xla_client

    options = xla_client.CompileOptions()
    inside = options.executable_build_options
    options.num_replicas = inside.num_replicas = 1
    options.num_partitions = inside.num_partitions = len(devices)
    inside.use_spmd_partitioning = inside.use_shardy_partitioner = len(devices) > 1
    assignment = xla_client.DeviceAssignment.create(np.array([[device.id for device in devices]]))
    options.device_assignment = inside.device_assignment = assignment

    def compile_program(module: Any, program: bytes, name: str) -> Made:
        inside.allow_spmd_sharding_propagation_to_output = compile_cache.free_results(module) or [False]
        try:
            made = devices[0].client.compile(module, xla_client.DeviceList(tuple(devices)), compile_options=options)
            return Made(bytes(made.serialize()), made)
        except RuntimeError as error:
            raise translate(error, name) from error

    return compile_program


def _device_stamp(target: Target, devices: list[Any], plugin: str) -> dict[str, Any]:
    """As `compile_cache.stamp`, of devices that need not be here; `runtime/here.py` compares it."""
    return {
        **compile_cache.stamp(None),
        "platform": target.platform,
        "device_kind": target.device_kind,
        "devices": len(devices),
        "xla": plugin if target.platform == "tpu" else "",
        "cpu_features": [],
        "packages": installed(loader_packages(target)),
        **({"cuda_driver": CUDA_DRIVER} if target.platform == "cuda" else {}),
    }


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except DfcError as error:
        sys.exit(str(error))
