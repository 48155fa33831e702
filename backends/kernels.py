"""Second kernels: what is emitted for an op on one kind of device and for some dtypes, in the place of its one rule.

An op's emission rule serves every device. Where a kind of device has something better for some dtypes, such as a
custom call into a library, it is registered here, and nothing else changes: other devices and dtypes, and the portable
program of an artifact, have the rule.

    @kernel(DotGeneral, device="cpu", dtypes=("float32",))
    def by_library(emitter, op, operands): ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dfc.backends.stablehlo import rules
from dfc.backends.stablehlo.rules import Rule, Value
from dfc.errors import AlreadyExists, InvalidArgument
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.op import Op, short_name
from dfc.ir.types import is_tensor, spec_of

if TYPE_CHECKING:
    from dfc.backends.stablehlo.emit import Emitter

KINDS = ("cpu", "gpu", "tpu")
"""The kinds of device, as in `Op.DEVICES`."""


class Kernel(NamedTuple):
    """One kind of device, the dtypes, and what is emitted."""

    device: str
    dtypes: frozenset[DType]
    rule: Rule


KERNELS: dict[type[Op], tuple[Kernel, ...]] = {}
"""The second kernels of each op that has some."""
_tables: dict[str, dict[type[Op], Rule]] = {}


def kernel(cls: type[Op], *, device: str, dtypes: Sequence[str]) -> Callable[[Rule], Rule]:
    """Register the decorated rule for `cls` on devices of one kind, "cpu", "gpu" or "tpu", where the op's first
    operand, or without any its result, has one of these dtypes. It is a rule as others are: it gets the emitter, the op
    and the operands, and gives the results.

    Programs that are compiled already stay as they are. Raises InvalidArgument for another kind, InvalidType for what
    is no dtype, AlreadyExists where the op has a second kernel for the device and a dtype.
    """
    if device not in KINDS:
        raise InvalidArgument(f"a kernel is for one of {', '.join(KINDS)}, got {device!r}", op=short_name(cls))
    chosen = frozenset(map(as_dtype, dtypes))
    if not chosen:
        raise InvalidArgument("a kernel is for one dtype at least", op=short_name(cls))

    def register(rule: Rule) -> Rule:
        for other in KERNELS.get(cls, ()):
            if other.device == device and (both := other.dtypes & chosen):
                listed = ", ".join(sorted(map(str, both)))
                raise AlreadyExists(f"there is a kernel for {device} and {listed} already", op=short_name(cls))
        KERNELS[cls] = (*KERNELS.get(cls, ()), Kernel(device, chosen, rule))
        _tables.clear()
        return rule

    return register


def unregister(cls: type[Op], rule: Rule) -> None:
    """Take a kernel back."""
    left = tuple(kernel for kernel in KERNELS.get(cls, ()) if kernel.rule is not rule)
    KERNELS.pop(cls, None)
    if left:
        KERNELS[cls] = left
    _tables.clear()


def table_for(device: str) -> Mapping[type[Op], Rule]:
    """What is emitted for each op on a kind of device: for most the op's rule."""
    rules.load()
    own = {cls: tuple(k for k in kernels if k.device == device) for cls, kernels in KERNELS.items()}
    if not any(own.values()):
        return rules.RULES
    found = _tables.get(device)
    if found is None:
        found = _tables[device] = {**rules.RULES, **{cls: _picking(cls, k) for cls, k in own.items() if k}}
    return found


def _picking(cls: type[Op], kernels: Sequence[Kernel]) -> Rule:
    """The rule that asks each op for its dtype."""
    by_dtype = {dtype: kernel.rule for kernel in kernels for dtype in kernel.dtypes}
    usual = rules.RULES[cls]

    def emit(emitter: Emitter, op: Op, operands: list[Value]) -> list[Value]:
        value = op.operands[0] if op.operands else op.results[0]
        dtype = spec_of(value.type).dtype if is_tensor(value.type) else None
        return by_dtype.get(dtype, usual)(emitter, op, operands) if dtype is not None else usual(emitter, op, operands)

    return emit


def kind_of(device: object) -> str:
    """The kind of a PJRT device or of a mesh's devices."""
    platform = getattr(device, "on_platform", None) or getattr(device, "platform", "")
    return "gpu" if platform in ("cuda", "rocm") else str(platform)
