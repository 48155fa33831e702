"""NVIDIA's GPUs as XLA's compiler has to know them, from NVIDIA's data sheets and architecture papers.

XLA takes a `GpuTargetConfigProto` in text form in place of a device that it could ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One GPU. `names` are the first words of CUDA's name of it; sizes are in bytes, `clock` is in GHz, `bandwidth` in
    bytes a second, `memory` is what programs can use of it."""

    names: tuple[str, ...]
    capability: tuple[int, int]
    multiprocessors: int
    lanes: int
    threads: int
    shared_memory: int
    shared_memory_of_a_block: int
    l2: int
    clock: float
    memory: int
    bandwidth: int

    @property
    def config(self) -> str:
        """The GPU as XLA's `GpuTargetConfigProto`, in text form."""
        major, minor = self.capability
        # From Hopper on the tensor cores' full instruction set is a feature of the very architecture, `sm_90a`.
        feature = " feature_extension: ACCELERATED_FEATURES" if major >= 9 else ""
        info = {
            "threads_per_block_limit": 1024,
            "threads_per_warp": 32,
            "threads_per_core_limit": self.threads,
            "shared_memory_per_block": 48 << 10,
            "shared_memory_per_block_optin": self.shared_memory_of_a_block,
            "shared_memory_per_core": self.shared_memory,
            "core_count": self.multiprocessors,
            "fpus_per_core": self.lanes,
            "block_dim_limit_x": 2**31 - 1,
            "block_dim_limit_y": 2**16 - 1,
            "block_dim_limit_z": 2**16 - 1,
            "registers_per_core_limit": 65536,
            "registers_per_block_limit": 65536,
            "memory_bandwidth": self.bandwidth,
            "l2_cache_size": self.l2,
            "clock_rate_ghz": self.clock,
            "device_memory_size": self.memory,
        }
        lines = [f"  {name}: {value}" for name, value in info.items()]
        lines.append(f"  cuda_compute_capability {{ major: {major} minor: {minor}{feature} }}")
        versions = "dnn_version_info { major: 9 minor: 10 }\nruntime_version { major: 13 }"
        described = f'platform_name: "CUDA"\ndevice_description_str: "{self.names[0]}"'
        return "gpu_device_info {\n" + "\n".join(lines) + f"\n}}\n{versions}\n{described}\n"


KB, MB, GB = 1 << 10, 1 << 20, 1 << 30

GPUS: Mapping[str, Gpu] = {
    "t4": Gpu(
        ("Tesla T4", "NVIDIA T4"), (7, 5), 40, 64, 1024, 64 * KB, 64 * KB, 4 * MB, 1.59, int(14.7 * GB), 320 * 10**9
    ),
    "a100": Gpu(
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB", "NVIDIA A100-80GB"),
        *((8, 0), 108, 64, 2048, 164 * KB, 163 * KB, 40 * MB, 1.41, 79 * GB, 2039 * 10**9),
    ),
    "l4": Gpu(("NVIDIA L4",), (8, 9), 58, 128, 1536, 100 * KB, 99 * KB, 48 * MB, 2.04, 22 * GB, 300 * 10**9),
    "l40s": Gpu(("NVIDIA L40S",), (8, 9), 142, 128, 1536, 100 * KB, 99 * KB, 96 * MB, 2.52, 44 * GB, 864 * 10**9),
    "h100": Gpu(
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100"),
        *((9, 0), 132, 128, 2048, 228 * KB, 227 * KB, 50 * MB, 1.98, 79 * GB, 3352 * 10**9),
    ),
    "h200": Gpu(("NVIDIA H200",), (9, 0), 132, 128, 2048, 228 * KB, 227 * KB, 50 * MB, 1.98, 139 * GB, 4800 * 10**9),
    "b200": Gpu(("NVIDIA B200",), (10, 0), 148, 128, 2048, 228 * KB, 227 * KB, 126 * MB, 1.96, 178 * GB, 8000 * 10**9),
}
