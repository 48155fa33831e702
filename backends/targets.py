"""What can be compiled for: the names of targets, what each needs to run, and what must be installed to compile for it.

    cpu                    a CPU like the one that compiles
    cpu:x86-64-v2          any x86-64 CPU of that level (v2, v3, v4 of the x86-64 psABI)
    tpu:v5e                one chip; tpu:v5e:2x2 is four, in a square
    cuda:h100              one GPU; cuda:a100:4 is four of one machine

Nothing here starts a compiler or imports jaxlib; `backends/compile_worker.py` does.
"""

from __future__ import annotations

import platform as machine_platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod

from dfc.backends.gpus import GPUS
from dfc.errors import DfcError, InvalidArgument, NotFound, Unimplemented

BASELINE = "cmov cx8 fxsr mmx sse sse2"
V2 = f"{BASELINE} cx16 sahf popcnt sse3 sse4.1 sse4.2 ssse3"
V3 = f"{V2} avx avx2 bmi bmi2 f16c fma lzcnt movbe"
V4 = f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl"


@dataclass(frozen=True)
class Level:
    """An x86-64 level: the features that its CPUs have, in LLVM's names, and XLA's name of the widest instructions
    among them."""

    features: frozenset[str]
    max_isa: str


X86_LEVELS: Mapping[str, Level] = {
    "x86-64-v2": Level(frozenset(V2.split()), "SSE4_2"),
    "x86-64-v3": Level(frozenset(V3.split()), "AVX2"),
    "x86-64-v4": Level(frozenset(V4.split()), "AVX512"),
}


@dataclass(frozen=True)
class Generation:
    """A generation of TPUs: PJRT's name of the device, and the arrangements of chips there are, one chip first."""

    device_kind: str
    topologies: tuple[str, ...]


SQUARES = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
CUBES = ("1x1x1", "2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8")
TPUS: Mapping[str, Generation] = {
    "v5e": Generation("TPU v5 lite", SQUARES),
    "v5p": Generation("TPU v5", CUBES),
    "v6e": Generation("TPU v6 lite", SQUARES),
}

GPUS_OF_A_MACHINE = 8
CPU_DEVICES = 64
PORTABLE = "portable"
"""Not a target: the name by which loading is asked for the portable program, compiled where it runs."""


@dataclass(frozen=True)
class Target:
    """What executables are made for. `model` is the level, generation or GPU, empty for a CPU like this one; `topology`
    the arrangement of a TPU's chips."""

    platform: str
    model: str = ""
    devices: int = 1
    topology: str = ""

    @property
    def name(self) -> str:
        """The shortest name that `parse_target` reads as this target."""
        parts = [self.platform, *([self.model] if self.model else [])]
        if self.devices > 1:
            parts.append(self.topology or str(self.devices))
        return ":".join(parts)

    @property
    def stem(self) -> str:
        """The name as part of a file's."""
        return self.name.replace(":", "-")

    @property
    def needs(self) -> str:
        """What runs it, in words."""
        if self.platform == "tpu":
            return f"one TPU {self.model} chip" if self.devices == 1 else f"{self.devices} TPU {self.model} chips"
        if self.platform == "cuda":
            title = f"NVIDIA {self.model.upper()}"
            return f"one {title} GPU" if self.devices == 1 else f"{self.devices} {title} GPUs"
        kind = f"an {self.model} CPU" if self.model else "a CPU like the one that compiled it"
        return kind if self.devices == 1 else f"{kind}, as {self.devices} devices"

    @property
    def device_kind(self) -> str:
        """PJRT's name for a device of it; of a GPU the beginning, since variants of one differ in the rest."""
        if self.platform == "tpu":
            return TPUS[self.model].device_kind
        return GPUS[self.model].names[0] if self.platform == "cuda" else "cpu"


def parse_target(text: str) -> Target:
    """The target of that name. Raises NotFound for an unknown one, InvalidArgument for a number or an arrangement of
    devices that can't be had, and Unimplemented for what no compiler here makes."""
    platform, _, rest = text.partition(":")
    model, _, size = rest.partition(":")
    if platform == "cpu":
        return _cpu(text, model, size)
    if platform == "tpu" and model in TPUS:
        return _tpu(text, model, size)
    if platform == "cuda" and model in GPUS:
        return _cuda(text, model, size)
    raise _unknown(text)


def known_targets(texts: Iterable[str]) -> list[Target]:
    """The targets of those of these names that this dfc knows: an artifact of a newer one may have others."""
    found = []
    for text in texts:
        with suppress(DfcError):
            found.append(parse_target(text))
    return found


def _unknown(text: str) -> DfcError:
    from difflib import get_close_matches  # only for this message

    platform = text.partition(":")[0]
    alike = [name for name in names() if name.startswith(f"{platform}:")]
    close = alike[:1] if text == platform else get_close_matches(text, alike or names(), n=1, cutoff=0.5)
    if platform in ("gpu", "nvidia"):
        close = ["cuda:h100"]
    meant = f"did you mean {close[0]!r}? " if close else ""
    return NotFound(f"there is no target {text!r}", hint=f"{meant}targets: {', '.join(names())}")


def _cpu(text: str, model: str, size: str) -> Target:
    if size and not model:
        raise _unknown(text)
    if model.isdecimal() and not size:
        model, size = "", model
    if size and not (size.isdecimal() and 1 <= int(size) <= CPU_DEVICES):
        raise InvalidArgument(
            f"target {text!r}: the number of CPU devices must be from 1 to {CPU_DEVICES}, got {size!r}",
            hint="cpu:4 and cpu:x86-64-v3:4 are four devices of one CPU",
        )
    if model in ("aarch64", "arm64", "armv8"):
        here = machine_platform.machine()
        raise Unimplemented(
            f"target {text!r}: XLA compiles for CPUs of the architecture that it runs on, and here that is {here}",
            hint="compile on an aarch64 machine, with --target cpu",
        )
    if model in X86_LEVELS or not model:
        return Target("cpu", model, int(size or 1))
    raise _unknown(text)


def _tpu(text: str, model: str, size: str) -> Target:
    topologies = TPUS[model].topologies
    if size and size not in topologies:
        raise InvalidArgument(
            f"target {text!r}: TPU {model} chips come as {', '.join(topologies)}, got {size!r}",
            hint=f"tpu:{model} is one chip, tpu:{model}:{topologies[1]} four",
        )
    topology = size or topologies[0]
    return Target("tpu", model, prod(map(int, topology.split("x"))), topology)


def _cuda(text: str, model: str, size: str) -> Target:
    if size and not (size.isdecimal() and 1 <= int(size) <= GPUS_OF_A_MACHINE):
        raise InvalidArgument(
            f"target {text!r}: the number of GPUs must be from 1 to {GPUS_OF_A_MACHINE}, got {size!r}"
        )
    return Target("cuda", model, int(size or 1))


def names() -> list[str]:
    """The targets of one device."""
    return ["cpu", *(f"cpu:{m}" for m in X86_LEVELS), *(f"tpu:{m}" for m in TPUS), *(f"cuda:{m}" for m in GPUS)]


def every() -> Iterator[Target]:
    """The targets of one device."""
    return map(parse_target, names())


# ---- what compiling needs


def check_compiler(target: Target) -> None:
    """Raise Unimplemented for a target that this machine has no compiler for, with what to install."""
    if lacking := missing(target):
        why, remedy = lacking
        raise Unimplemented(f"target {target.name!r} can't be compiled for here: {why}", hint=remedy)


def missing(target: Target) -> tuple[str, str] | None:
    """Why this machine can't compile for `target`, and what to install or to do; None where it can."""
    machine = machine_platform.machine()
    if target.platform == "cpu":
        if target.model and machine not in ("x86_64", "AMD64"):
            return (
                f"XLA compiles for CPUs like the machine's own, and this is {machine}",
                "compile on an x86-64 machine",
            )
        return None
    if sys.platform != "linux" or (target.platform == "tpu" and machine != "x86_64"):
        of_what = "x86-64" if target.platform == "tpu" else "x86-64 or aarch64"
        return f"its compiler exists for Linux on {of_what} only", "compile on such a machine, or in its container"
    return _missing_tpu() if target.platform == "tpu" else _missing_cuda()


def _missing_tpu() -> tuple[str, str] | None:
    if find_spec("libtpu") is None:
        return "libtpu, the TPU's compiler, is not installed", "pip install 'dfc[tpu]'"
    return None


CUDA_PACKAGES = ("jax-cuda13-pjrt", "nvidia-cuda-nvcc", "nvidia-nvvm")
"""What compiling for CUDA takes: XLA's compiler, ptxas and libdevice. No cuDNN, no cuBLAS, no driver."""


def _missing_cuda() -> tuple[str, str] | None:
    found = installed(CUDA_PACKAGES)
    remedy = "pip install 'dfc[cuda13]', or 'dfc[cuda13-compile]' where nothing is to run"
    if absent := [name for name in CUDA_PACKAGES if name not in found]:
        return f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed", remedy
    jaxlib = installed(("jaxlib",))["jaxlib"]
    if found["jax-cuda13-pjrt"] != jaxlib:
        why = f"jax-cuda13-pjrt {found['jax-cuda13-pjrt']} does not fit jaxlib {jaxlib}"
        return why, f"pip install jax-cuda13-plugin=={jaxlib} jax-cuda13-pjrt=={jaxlib}"
    return None


CUDA_DRIVER = 13000
"""The oldest driver that runs what is compiled here, as CUDA numbers it: 13.0."""


def installed(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of those of these packages that are installed."""
    from importlib.metadata import PackageNotFoundError, version  # 20 ms, which `dfc run` does without

    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def compiler_packages(target: Target) -> tuple[str, ...]:
    """The packages whose versions decide what an executable for the target is."""
    extra = {"tpu": ("libtpu",), "cuda": CUDA_PACKAGES}.get(target.platform, ())
    return ("jaxlib", *extra)


def loader_packages(target: Target) -> tuple[str, ...]:
    """The packages beside jaxlib that load an executable for the target, and only in the version that compiled it."""
    return {"tpu": ("libtpu",), "cuda": CUDA_PACKAGES[:1]}.get(target.platform, ())
