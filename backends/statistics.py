"""What a compiled program takes, for people: memory, operations, and which of its values are the largest."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from math import prod
from typing import Any

from dfc.backends.compile_cache import ELEMENT_TYPES, main_of, specs_of

SHOWN = 5
"""How many of the largest values an error names."""
WORTH_NAMING = 0.01
"""What part of the largest one such a value has at least."""


def of(executable: Any, module: Any) -> dict[str, Any]:
    """`memory`, in bytes, and `flops` and `transcendentals` of a compiled program, or of `module` where its compiler
    does not count (`counted` says which). JSON-able."""
    found = executable.get_compiled_memory_stats()
    memory = {
        "arguments": found.argument_size_in_bytes,
        "outputs": found.output_size_in_bytes,
        "aliased": found.alias_size_in_bytes,
        "temporaries": found.temp_size_in_bytes,
        "code": found.generated_code_size_in_bytes,
    }
    counted, cost = "executable", None
    with suppress(RuntimeError):  # jaxlib 0.10.2 and 0.12.0.1: the CUDA plugin's executables don't know
        cost = executable.cost_analysis()
    if cost is None:
        counted, cost = "program", _cost_of(module)
    numbers = {name: int(cost.get(key, 0)) for name, key in COSTS.items()}
    if counted == "program":
        del numbers["bytes_accessed"]  # nothing is fused yet, so that would be no estimate
    return {"memory": memory, **numbers, "counted": counted}


COSTS = {"flops": "flops", "transcendentals": "transcendentals", "bytes_accessed": "bytes accessed"}


def _cost_of(module: Any) -> Mapping[str, float]:
    """XLA's count of the operations of a program as it is written."""
    from jaxlib import _jax, xla_client

    computation = _jax.mlir.mlir_module_to_xla_computation(str(module))
    cost: Mapping[str, float] = _jax.hlo_module_cost_analysis(
        xla_client.make_cpu_client(), computation.get_hlo_module()
    )
    return cost


def memory_of(statistics: Mapping[str, Any]) -> int:
    """What a device must have for the program, in bytes."""
    memory: Mapping[str, int] = statistics["memory"]
    return sum(memory.values()) - 2 * memory["aliased"]


def hlo_text(executable: Any, *, lines: bool) -> str:
    """The optimised HLO, with the source lines of the program or without."""
    options = import_module("jaxlib._hlo").HloPrintOptions()
    options.print_metadata = lines
    return "\n".join(module.to_string(options) for module in executable.hlo_modules()).rstrip() + "\n"


def size(count: float) -> str:
    """A number of bytes for people: `1.5 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


# ---- the largest values


def border(module: Any) -> tuple[int, int]:
    """The bytes of a StableHLO module's arguments and of its results."""
    given, made = specs_of(module)
    inside, outside = (sum(prod(shape) * dtype.itemsize for shape, dtype in specs) for specs in (given, made))
    return inside, outside


def largest(module: Any, arguments: Sequence[str]) -> list[str]:
    """The largest values of a StableHLO module, one a line: size, type, what makes it, and the user's line."""
    main = main_of(module)
    block = main.regions[0].blocks[0]
    named = list(zip(arguments, block.arguments, strict=False))
    found = [(_bytes(value.type), f"{_type(value.type)}, {name}") for name, value in named]
    found += [
        (_bytes(value.type), f"{_type(value.type)} of {_source(op)}") for op in _walk(block) for value in op.results
    ]
    first = heapq.nlargest(SHOWN, dict.fromkeys(found))
    return [f"{size(count)}: {text}" for count, text in first if count >= first[0][0] * WORTH_NAMING]


def _walk(block: Any) -> Iterator[Any]:
    for op in block.operations:
        yield op.operation
        for region in op.operation.regions:
            for inner in region.blocks:
                yield from _walk(inner)


def _shape(type_: Any) -> tuple[tuple[int, ...], str]:
    from jaxlib.mlir import ir

    try:
        tensor = ir.RankedTensorType(type_)
    except ValueError:  # a token
        return (0,), ""
    return tuple(tensor.shape), str(tensor.element_type)


def _bytes(type_: Any) -> int:
    shape, element = _shape(type_)
    return prod(shape) * (ELEMENT_TYPES[element].itemsize if element in ELEMENT_TYPES else 1)


def _type(type_: Any) -> str:
    shape, element = _shape(type_)
    return f"{ELEMENT_TYPES.get(element, element)}[{','.join(map(str, shape))}]"


def _source(op: Any) -> str:
    name = op.name.partition(".")[2]
    place = re.search(r'"([^"]+)":(\d+)', str(op.location))
    return f"{name} at {place[1]}:{place[2]}" if place else name
