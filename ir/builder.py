"""Making, replacing and erasing ops. The only door: it types results by `infer`, interns attributes, and keeps the
user's position on every op (xDSL's own builders and rewriters drop it)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from dfc.errors import DfcError
from dfc.ir import attributes as attribute_values
from dfc.ir import locations
from dfc.ir.construct import append, construct
from dfc.ir.devices import ASSIGNED, COLOCATE, REQUEST
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
        return cls(block, before=op, location=op.location, annotations=placement_of(op))

    def op(self, cls: type[OpT], *operands: SSAValue, regions: Sequence[Region] = (), **attributes: Any) -> OpT:
        made = create(cls, operands, attributes, location=self.location, regions=regions, annotations=self.annotations)
        self.add(made)
        return made

    def add(self, op: Operation) -> None:
        """Put an op that is nowhere yet in the builder's place."""
        if self.before is None:
            append(self.block, op)
        else:
            self.block.insert_op_before(op, self.before)

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


_NOWHERE: Mapping[str, Attribute] = {}


def placement_of(op: Operation) -> Mapping[str, Attribute]:
    """The op's attributes that say where it is to be placed: those of ops that are made in its stead or for it."""
    attributes = op.attributes
    if REQUEST not in attributes and COLOCATE not in attributes and ASSIGNED not in attributes:
        return _NOWHERE
    return {key: attributes[key] for key in (REQUEST, COLOCATE, ASSIGNED) if key in attributes}


def remade(op: OpT, operands: Sequence[SSAValue] | None = None, **changes: Any) -> OpT:
    """The op again, in front of it, with other operands and attributes. It has the position, the annotations and, taken
    out of the old one, the regions; what used the old one's results still does."""
    block = op.parent
    assert block is not None, "the op must be in a block"
    made = create(
        type(op),
        op.operands if operands is None else operands,
        {**op.values(), **changes},
        location=op.location,
        regions=[op.detach_region(0) for _ in list(op.regions)],
        annotations=op.attributes,
    )
    block.insert_op_before(made, op)
    return made


def replace(op: Operation, values: Sequence[SSAValue]) -> None:
    """Put `values` in the place of the op's results and erase it; the ops that define them take its position too."""
    replace_uses(dict(zip(op.results, values, strict=True)))
    for value in values:
        _add_location(value, op)
    erase(op)


def replace_uses(values: Mapping[SSAValue, SSAValue], where: Callable[[Operation], bool] = lambda user: True) -> None:
    """Put a value in the place of each key, in the ops for which `where` holds. An op's operands are set once, however
    many change: each setting copies them all."""
    users: dict[int, Operation] = {}
    for value, new in values.items():
        _add_name(new, value)
        use = value.first_use
        while use is not None:
            users[id(use.operation)] = use.operation
            use = use._next_use
    for user in users.values():
        if where(user):
            user.operands = [values.get(o, o) for o in user._operands]


class Replacing:
    """`replace` for a walk that meets operands before their users: what an op's operands became is put into the op when
    the walk comes to it, all at once.

    Call `visit` for each op, `replace` instead of the function `replace`, and `finish` at the end.
    """

    def __init__(self) -> None:
        self._values: dict[SSAValue, SSAValue] = {}
        self._users: dict[int, Operation] = {}  # that have not been visited since an operand of theirs was replaced
        self._replaced: list[Operation] = []

    def visit(self, op: Operation) -> None:
        """Bring the op's operands up to date."""
        if self._users.pop(id(op), None) is not None:
            op.operands = [self._latest(o) for o in op._operands]

    def replace(self, op: Operation, values: Sequence[SSAValue]) -> None:
        """Take the op out of its block; `values` stand for its results, and their ops take its position too."""
        for result, value in zip(op.results, values, strict=True):
            use = result.first_use
            while use is not None:
                self._users[id(use.operation)] = use.operation
                use = use._next_use
            self._values[result] = value
            _add_name(value, result)
            _add_location(value, op)
        self._replaced.append(op)
        block = op.parent
        assert block is not None, "the op must be in a block"
        block.detach_op(op)

    def finish(self) -> None:
        """Erase what was replaced."""
        for op in list(self._users.values()):
            self.visit(op)
        for op in self._replaced:
            erase(op)

    def _latest(self, value: SSAValue) -> SSAValue:
        while (newer := self._values.get(value)) is not None:
            value = newer
        return value


def _add_name(value: SSAValue, replaced: SSAValue) -> None:
    if value.name_hint is None:
        value.name_hint = replaced.name_hint


def _add_location(value: SSAValue, replaced: Operation) -> None:
    owner = value.owner
    if isinstance(owner, Operation) and owner.location is not replaced.location:
        owner.location = locations.fuse(owner.location, replaced.location)


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
