"""Making, replacing and erasing ops. The only door: it types results by `infer`, interns attributes, and keeps the
user's position on every op (xDSL's own builders and rewriters drop it)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from dfc.errors import DfcError
from dfc.ir import attributes as attribute_values
from dfc.ir import locations
from dfc.ir.construct import append, construct
from dfc.ir.op import Op, attribute_classes, short_name

OpT = TypeVar("OpT", bound=Op)


def create(
    cls: type[OpT],
    operands: Sequence[SSAValue] = (),
    attributes: Mapping[str, Any] = {},
    *,
    location: LocationAttr,
    regions: Sequence[Region] = (),
    annotations: Mapping[str, Attribute] = {},
) -> OpT:
    """A detached op. `attributes` are plain values; `annotations` are extra attributes such as `scope`.

    Raises the error of `infer` with the op's name and `location` in it.
    """
    try:
        result_types = cls.infer([o.type for o in operands], attributes)
    except DfcError as error:
        raise error.at(op=short_name(cls), location=locations.describe(location)) from None
    if attributes:
        classes = attribute_classes(cls)
        properties: dict[str, Attribute] = {k: attribute_values.make(classes[k], v) for k, v in attributes.items()}
    else:
        properties = {}
    return construct(cls, operands, result_types, properties, dict(annotations), regions, location)


class Builder:
    """Creates ops in one place: at the end of `block`, or before the op `before`.

    >>> b = Builder(block, location=op.location)
    >>> y = b(Multiply, x, x)                 # the value, for ops with one result
    >>> op = b.op(Read, ref)                  # the op
    """

    def __init__(
        self,
        block: Block,
        *,
        before: Operation | None = None,
        location: LocationAttr = locations.UNKNOWN,
        annotations: Mapping[str, Attribute] = {},
    ) -> None:
        self.block, self.before, self.location, self.annotations = block, before, location, annotations

    @classmethod
    def before_op(cls, op: Operation) -> Builder:
        """A builder in front of `op` with its location."""
        block = op.parent
        assert block is not None, "the op must be in a block"
        return cls(block, before=op, location=op.location)

    def op(self, cls: type[OpT], *operands: SSAValue, regions: Sequence[Region] = (), **attributes: Any) -> OpT:
        made = create(cls, operands, attributes, location=self.location, regions=regions, annotations=self.annotations)
        if self.before is None:
            append(self.block, made)
        else:
            self.block.insert_op_before(made, self.before)
        return made

    def __call__(self, cls: type[Op], *operands: SSAValue, **attributes: Any) -> SSAValue:
        return self.op(cls, *operands, **attributes).results[0]

    @contextmanager
    def at(self, location: LocationAttr) -> Iterator[None]:
        """Ops made inside carry `location`."""
        previous, self.location = self.location, location
        try:
            yield
        finally:
            self.location = previous


def replace(op: Operation, values: Sequence[SSAValue]) -> None:
    """Put `values` in the place of the op's results and erase it; the ops that define them take its position too."""
    for result, value in zip(op.results, values, strict=True):
        if result.first_use is not None:
            result.replace_all_uses_with(value)
        owner = value.owner
        if isinstance(owner, Operation) and owner.location is not op.location:
            owner.location = locations.fuse(owner.location, op.location)
    erase(op)


def erase(op: Operation) -> None:
    """Take an op without uses out of the program."""
    block = op.parent
    if block is None:
        op.erase()
    else:
        block.erase_op(op)


def clone_into(op: OpT, builder: Builder, mapping: dict[SSAValue, SSAValue]) -> OpT:
    """Copy an op (regions included) to the builder's place with operands mapped; its results enter `mapping`.

    Types and attributes are taken as they are: the copy is of the same op, at the same position in the user's code.
    """
    copy = construct(
        type(op),
        [mapping.get(o, o) for o in op._operands],
        [r.type for r in op.results],
        dict(op.properties),
        dict(op.attributes),
        [_clone_region(r, mapping) for r in op.regions],
        op.location,
    )
    if builder.before is None:
        append(builder.block, copy)
    else:
        builder.block.insert_op_before(copy, builder.before)
    mapping.update(zip(op.results, copy.results, strict=True))
    return copy


def _clone_region(region: Region, mapping: dict[SSAValue, SSAValue]) -> Region:
    copy = Region()
    region.clone_into(copy, value_mapper=dict(mapping))
    return copy
