"""Symbolic dimensions get sizes: the program again, with every type inferred anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from dfc.errors import InvalidArgument, NotFound
from dfc.ir.builder import Builder, clone_into, create
from dfc.ir.cycles import Cycles
from dfc.ir.dims import Bindings, SymbolicDim, is_static, substitute
from dfc.ir.op import Op, error_at
from dfc.ir.types import CONTROL, ResourceType, Spec, is_tensor, spec_behind, spec_of, tensor_type
from dfc.passes.manager import Pass, did_you_mean


@dataclass(frozen=True)
class Specialize(Pass):
    """Give symbolic dimensions sizes: `specialize{bindings=b:8,h:4}`.

    Requires: every symbol in `bindings` is a dimension of the program.
    Ensures: none of these symbols is in a type or an attribute any more; every type is inferred anew from the sizes,
    and every op keeps its position.
    """

    name: ClassVar[str] = "specialize"
    bindings: tuple[str, ...]

    def apply(self, program: ModuleOp) -> dict[str, int]:
        sizes = {}
        for entry in self.bindings:
            symbol, _, size = entry.partition(":")
            if not size.isdecimal():
                raise InvalidArgument(f"a binding is symbol:size, as in b:8, got {entry!r}")
            sizes[symbol] = int(size)
        known = symbols_of_types(program)
        for symbol in sizes:
            if symbol not in known:
                raise NotFound(
                    f"no dimension is called {symbol!r}", hint=did_you_mean(symbol, sorted(known), "symbols")
                )
        made = specialize(program, sizes)
        program.detach_region(0)
        program.add_region(made.detach_region(0))
        return {"symbols bound": len(sizes)}


def specialize(program: ModuleOp, bindings: Mapping[str, int]) -> ModuleOp:
    """A copy of the program with sizes in the place of symbols; the program itself stays as it is.

    Raises InvalidArgument, with the user's line, where a size becomes negative or an op doesn't accept the sizes.
    """
    for symbol, size in bindings.items():
        if size < 0:
            raise InvalidArgument(f"a dimension is not negative, got {symbol} = {size}")
    copy = program.clone_without_regions()
    _fill(program.regions[0], copy.regions[0], bindings, {})
    return copy


def specialized_region(region: Region, bindings: Bindings) -> Region:
    """A copy of a region that uses nothing from outside, with sizes in the place of symbols."""
    copy = Region()
    _fill(region, copy, bindings, {})
    return copy


def symbols_of_types(program: ModuleOp) -> set[str]:
    """The symbols in the types of all values."""
    values: list[SSAValue] = []
    for op in program.walk():
        values += op.results
        values += [argument for region in op.regions for block in region.blocks for argument in block.args]
    dims = [d for v in values if is_tensor(v.type) for d in spec_of(v.type).shape]
    return {s for d in dims if isinstance(d, SymbolicDim) for s in d.symbols}


def respecialized(op: Operation, bindings: Bindings, mapping: dict[SSAValue, SSAValue]) -> Op:
    """A detached copy of the op with symbols replaced, operands mapped and types inferred; its results enter
    `mapping`."""
    assert isinstance(op, Op)
    regions = []
    for region in op.regions:
        regions.append(Region())
        _fill(region, regions[-1], bindings, mapping)
    values = {k: bound(v, bindings) for k, v in op.values().items()}
    copy = create(
        type(op),
        [mapping[o] for o in op.operands],
        values,
        location=op.location,
        regions=regions,
        annotations=op.attributes,
    )
    for old, new in zip(op.results, copy.results, strict=True):
        if is_tensor(new.type):
            _require_sizes(spec_of(new.type), op, spec_of(old.type))
            _require_formula(spec_of(new.type), op, bound(spec_of(old.type), bindings))
        mapping[old] = new
    return copy


def _fill(source: Region, target: Region, bindings: Bindings, mapping: dict[SSAValue, SSAValue]) -> None:
    for block in source.blocks:
        copy = Block(arg_types=[_bound_type(argument.type, bindings) for argument in block.args])
        for argument, made in zip(block.args, copy.args, strict=True):
            made.location = argument.location
            mapping[argument] = made
            if is_tensor(made.type) and (owner := source.parent) is not None:
                _require_sizes(spec_of(made.type), owner, spec_of(argument.type))
        builder, cycles = Builder(copy), Cycles(mapping)
        for op in block.ops:
            cycles.before(op)
            if op.regions or (bindings and _mentions_symbols(op)):
                copy.add_op(respecialized(op, bindings, mapping))
            else:
                clone_into(op, builder, mapping)  # nothing changes, so nothing needs inferring
        cycles.finish()
        target.add_block(copy)


def _mentions_symbols(op: Operation) -> bool:
    for values in (op.results, op.operands):
        for value in values:
            type = value.type
            if type is not CONTROL and not isinstance(type, ResourceType) and not is_static(spec_behind(type).shape):
                return True
    return any(has_symbols(v.data) for v in op.properties.values())  # type: ignore[attr-defined]


def has_symbols(value: Any) -> bool:
    """Whether an attribute's value has a symbolic dimension in it."""
    if isinstance(value, tuple):
        return any(map(has_symbols, value))
    return isinstance(value, SymbolicDim)


def _bound_type(type: Attribute, bindings: Bindings) -> Attribute:
    if not is_tensor(type):
        return type
    spec = spec_of(type)
    return tensor_type(substitute(spec.shape, bindings), spec.dtype)


def bound(value: Any, bindings: Bindings) -> Any:
    """An attribute's value with the symbols in its dimensions replaced: of shapes and of lists of specs."""
    if isinstance(value, SymbolicDim):
        return value.substitute(bindings)
    if isinstance(value, Spec):
        return Spec(substitute(value.shape, bindings), value.dtype)
    if isinstance(value, tuple):
        return tuple(bound(v, bindings) for v in value)
    return value


def _require_formula(got: Spec, op: Operation, wanted: Spec) -> None:
    """What was made from the symbolic type, a gradient's padding perhaps, is right only if its formula holds here."""
    if got != wanted:
        raise error_at(
            InvalidArgument,
            op,
            f"at these sizes the result must be {wanted}, as its symbolic type says, got {got}",
            "the formula for this dimension doesn't hold at these sizes: use a static dimension, or other sizes",
        )


def _require_sizes(spec: Spec, op: Operation, before: Spec) -> None:
    for size, dim in zip(spec.shape, before.shape, strict=True):
        if isinstance(size, int) and size < 0:
            raise error_at(InvalidArgument, op, f"the dimension {dim} becomes {size}, and a size is not negative")
