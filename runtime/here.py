"""Which executables of an artifact this machine runs, and why not the others: found out without starting a client."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dfc.backends.compile_cache import COMPILED, cpu_features, stamp, stamp_mismatch
from dfc.backends.gpus import GPUS
from dfc.backends.targets import CUDA_DRIVER, PORTABLE, X86_LEVELS, Target, installed, known_targets, parse_target
from dfc.errors import FailedPrecondition, NotFound

CPU_ORDER = ("cpu", *(f"cpu:{level}" for level in sorted(X86_LEVELS, reverse=True)))
"""What the CPU runs, the fastest first."""


@dataclass(frozen=True)
class Choice:
    """The targets whose executables are to be loaded, the first that fits, all of one `platform`; of what was asked for
    by name (`strict`) nothing else will do."""

    targets: tuple[Target, ...]
    platform: str = "cpu"
    strict: bool = False
    portable: bool = False
    """Whether it was asked for that the portable program be compiled."""

    def mismatch(self, target: Target, stored: dict[str, Any], device: Any = None) -> str:
        """Why an executable stamped `stored` does not run on `device`, or on the CPU; nothing where it does."""
        if self.platform == "cpu":
            return stamp_mismatch(stored, stamp()) or ""
        return device_mismatch(target, stored, device)


def choose(path: str, available: Sequence[str], wanted: str | None, *, lean: bool) -> Choice:
    """What to load of an artifact with executables for `available`: for `wanted`, if that is given, else the best that
    is here. `lean` processes have the CPU alone.

    Raises NotFound for what the artifact has not, FailedPrecondition for what this machine does not run.
    """
    if wanted == PORTABLE:
        return Choice((), portable=True)
    if wanted is not None:
        return Choice((target := _wanted(path, available, wanted, lean),), target.platform, strict=True)
    known = known_targets(available)
    if not lean and (found := next(filter(_is_default, sorted(known, key=lambda t: t.devices)), None)):
        return Choice((found,), found.platform)
    cpus = [parse_target(name) for name in CPU_ORDER if name in available]
    if not cpus and not lean:
        cpus = [target for target in known if target.platform == "cpu" and not _why_not_loaded(target, lean)][:1]
    if cpus or not available:
        return Choice(tuple(cpus))
    reasons = [f"{target.name} needs {target.needs}, and {_why_not_loaded(target, lean)}" for target in known]
    reasons += [f"{name} is of a newer dfc" for name in available if name not in {target.name for target in known}]
    raise FailedPrecondition(
        f"{path} has nothing that runs here: {'; '.join(reasons)}",
        hint=next(filter(None, map(_more_devices, known)), "")
        or f"the target {PORTABLE!r} compiles its portable program for this CPU",
    )


def _wanted(path: str, available: Sequence[str], wanted: str, lean: bool) -> Target:
    target = parse_target(wanted)
    if target.name not in available:
        listed = ", ".join([*available, PORTABLE])
        raise NotFound(f"{path} has no executables for {target.name}", hint=f"it has: {listed}")
    if why := why_not_here(target):
        raise FailedPrecondition(f"{path}: the executables for {target.name} need {target.needs}, and {why}")
    if target.devices > 1 and (why := ONE_DEVICE if lean else too_few(target)):
        raise FailedPrecondition(
            f"{path}: the executables for {target.name} need {target.needs}, and {why}", hint=_more_devices(target)
        )
    return target


def too_few(target: Target) -> str:
    """Why a target's executables find too few devices in this process, as the end of a sentence; nothing where they
    don't."""
    from dfc.backends import xla

    n = len(xla.devices("gpu" if target.platform == "cuda" else target.platform))
    return f"here {'are' if n > 1 else 'is'} {n}" if n < target.devices else ""


def _more_devices(target: Target) -> str:
    if target.platform != "cpu":
        return ""
    return (
        f"DFC_CPU_DEVICES={target.devices} in the environment makes as many, with dfc.load(path, lean=False) or "
        f"dfc run --target {target.name}"
    )


def _why_not_loaded(target: Target, lean: bool) -> str:
    if target.platform == "cpu":
        return why_not_here(target) or (ONE_DEVICE if lean else too_few(target))
    return why_not_here(target) or "this process computes on CPUs"


ONE_DEVICE = "this process has one CPU device"


def _is_default(target: Target) -> bool:
    """Whether the target is of the kind that JAX computes on by default, and is here, with all its devices."""
    if target.platform == "cpu" or why_not_here(target):
        return False
    from dfc.backends import xla

    found = xla.default_device()
    same = {"gpu": "cuda"}.get(found.platform, found.platform) == target.platform and fits(target, found.device_kind)
    return same and not too_few(target)


def fits(target: Target, device_kind: str) -> bool:
    """Whether PJRT's name of a device is one of the target's."""
    if target.platform != "cuda":
        return device_kind == target.device_kind
    return f"{device_kind} ".startswith(tuple(f"{name} " for name in GPUS[target.model].names))


def device_mismatch(target: Target, stored: dict[str, Any], device: Any) -> str:
    """Why an executable for a TPU or a GPU with that stamp does not run on `device`; nothing where it does."""
    if not fits(target, device.device_kind):
        return f"the executable needs {target.needs}, and here is {device.device_kind}"
    needs = {"jaxlib": stored.get("jaxlib"), **stored.get("packages", {})}
    has = installed(tuple(needs))
    for name, version in needs.items():
        if has.get(name) != version:
            return f"the executable needs {name} {version}, and here it is {has.get(name, 'not installed')}"
    if stored.get("cuda_driver", 0) > nvidia()[0]:
        return f"the executable needs a driver for CUDA {_dotted(stored['cuda_driver'])}"
    return ""


# ---- what is here


def why_not_here(target: Target) -> str:
    """Why nothing of this machine runs the target's executables, as the end of a sentence; nothing where it may. Of a
    TPU only its client can tell the generation."""
    if target.platform == "cuda":
        return _why_no_gpu(target)
    if target.platform == "tpu":
        found = [*Path("/dev").glob("accel*"), *Path("/dev/vfio").glob("[0-9]*")]
        return "" if found else "here is no TPU"
    if not target.model:
        return ""
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"this is {platform.machine()}"
    lacking = sorted((X86_LEVELS[target.model].features & COMPILED) - set(cpu_features()))
    return f"this CPU lacks {', '.join(lacking)}" if lacking and cpu_features() else ""


def _why_no_gpu(target: Target) -> str:
    driver, gpus = nvidia()
    if not driver:
        return "here is no NVIDIA driver"
    if driver < CUDA_DRIVER:
        return f"the driver here is for CUDA {_dotted(driver)}, where CUDA {_dotted(CUDA_DRIVER)} is needed"
    if sum(fits(target, name) for name in gpus) < target.devices:
        return f"here {'are' if len(gpus) > 1 else 'is'} {', '.join(gpus) or 'none'}"
    return ""


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


@cache
def nvidia() -> tuple[int, tuple[str, ...]]:
    """The CUDA version of the driver, as in 13000 for 13.0, and the names of the GPUs; 0 and none without a driver."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0, ()
    version, count, names = ctypes.c_int(), ctypes.c_int(), []
    cuda.cuDriverGetVersion(ctypes.byref(version))
    if cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0:
        for index in range(count.value):
            device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
            cuda.cuDeviceGet(ctypes.byref(device), index)
            cuda.cuDeviceGetName(name, len(name), device)
            names.append(name.value.decode())
    return version.value, tuple(names)
