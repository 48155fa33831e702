"""Structured control flow: branches and loops, whose bodies are regions of the op.

A region uses nothing from outside: what its ops need are operands of the op, the same for all of its regions. They
stand in groups, tensors first, then handles (references to variables, queues and the like), then tokens to wait for.
A region yields values and, where the op has effects, tokens; the op gives one token after its results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_region_def,
    var_result_def,
)
from xdsl.traits import IsolatedFromAbove
from xdsl.utils.exceptions import VerifyException

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Dims, Flag, Int, Specs
from dfc.ir.dims import SymbolicDim
from dfc.ir.dtypes import bool_, int32
from dfc.ir.op import Attributes, Effect, Op, Types, end_of
from dfc.ir.types import (
    CONTROL,
    ControlType,
    RefType,
    ResourceType,
    Spec,
    is_tensor,
    spec_of,
    tensor_type,
)


def is_handle(type: Attribute) -> bool:
    """Whether a value of this type names something that has a state."""
    return isinstance(type, RefType | ResourceType)


def split(operands: Types, attributes: Attributes, *counts: str) -> list[Types]:
    """The operands in groups of the sizes that these attributes give, then the handles, `n_handles`, then the tokens.

    Raises InvalidArgument where they are not that.
    """
    groups: list[Types] = []
    start = 0
    for name in (*counts, "n_handles"):
        groups.append(operands[start : start + attributes[name]])
        start += attributes[name]
    groups.append(operands[start:])
    tensors = [t for group in groups[:-2] for t in group]
    fits = start <= len(operands) and all(map(is_tensor, tensors)) and all(map(is_handle, groups[-2]))
    if not fits or not all(isinstance(t, ControlType) for t in groups[-1]):
        sizes = ", ".join(f"{name} = {attributes[name]}" for name in (*counts, "n_handles"))
        raise InvalidArgument(
            f"operands must be tensors, handles, tokens with {sizes}, got ({', '.join(map(str, operands))})", label="C1"
        )
    return groups


def require_scalar(type: Attribute, dtypes: Sequence[Any], what: str, label: str) -> None:
    """Raise InvalidType unless this is a scalar of one of these dtypes."""
    spec = spec_of(type)
    if spec.shape or spec.dtype not in dtypes:
        names = " or ".join(d.name for d in dtypes)
        raise InvalidType(f"{what} must be a scalar of dtype {names}, got {spec}", label=label)


class ControlFlow(Op):
    """An op with regions whose ops run never, once or many times.

    `n_handles` counts the handles among the operands; `stateful` says that there are effects inside.
    """

    n_handles = prop_def(Int)
    stateful = prop_def(Flag)
    arguments = var_operand_def()
    outputs = var_result_def()
    EFFECT: ClassVar = Effect.STATEFUL
    """Of some: `stateful` says whether this one has effects."""
    traits = traits_def(IsolatedFromAbove())

    @property
    def blocks(self) -> list[Block]:
        return [region.block for region in self.regions]

    @property
    def tokens(self) -> list[SSAValue]:
        """The tokens that the op waits for."""
        return [o for o in self.operands if o.type is CONTROL]

    @property
    def handles(self) -> list[SSAValue]:
        return [o for o in self.operands if is_handle(o.type)]

    @property
    def token(self) -> SSAValue | None:
        """What comes when all effects have happened."""
        return self.results[-1] if self.stateful.data else None

    @property
    def data(self) -> list[SSAValue]:
        """The results that are tensors."""
        return list(self.results[:-1] if self.stateful.data else self.results)

    def _require_block(
        self, index: int, takes: Types, gives: Sequence[Spec], label: str, *, exact: bool = True
    ) -> None:
        """Raise VerifyException unless the region takes these values and yields those, then tokens if any."""
        block = self.regions[index].block
        last = end_of(block)
        yielded = list(last.operand_types)
        data = [t for t in yielded if t is not CONTROL]
        wanted = [tensor_type(*spec) for spec in gives]
        fits = data == wanted if exact else _fit(data, gives)
        if list(block.arg_types) != list(takes) or not fits or yielded[: len(data)] != data:
            raise VerifyException(
                f"{self.name}: region {index} must take {_listed(takes)} and yield {_listed(wanted)}, then tokens, "
                f"got {_listed(block.arg_types)} and {_listed(yielded)} [{label}]"
            )
        if len(yielded) > len(data) and not self.stateful.data:
            raise VerifyException(f"{self.name}: region {index} has effects, so stateful must be true [{label}]")


class Branches(ControlFlow):
    """Runs one of its regions: a selector, `n_inputs` tensors, handles, tokens.

    C1: the operands fit the counts. C2: the selector is a scalar of the op's dtype. C3: each region takes the inputs
    and the handles and yields `results`, then tokens.
    """

    n_inputs = prop_def(Int)
    results_ = prop_def(Specs, prop_name="results")
    branches = var_region_def("single_block")
    SELECTOR: ClassVar[Any] = int32

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        if not operands or not is_tensor(operands[0]):
            raise InvalidArgument("the first operand must be the selector", label="C1")
        require_scalar(operands[0], (cls.SELECTOR,), "the selector", "C2")
        split(operands[1:], attributes, "n_inputs")
        results: list[Attribute] = [tensor_type(*s) for s in attributes["results"]]
        return [*results, CONTROL] if attributes["stateful"] else results

    def verify_(self) -> None:
        super().verify_()
        takes = self.operand_types[1 : 1 + self.n_inputs.data + self.n_handles.data]
        for index in range(len(self.regions)):
            self._require_block(index, takes, self.results_.data, "C3")

    @property
    def selector(self) -> SSAValue:
        return self.operands[0]

    @property
    def inputs(self) -> list[SSAValue]:
        return list(self.operands[1 : 1 + self.n_inputs.data])

    @property
    def passed(self) -> list[SSAValue]:
        """What each region takes: inputs and handles."""
        return list(self.operands[1 : 1 + self.n_inputs.data + self.n_handles.data])


@irdl_op_definition
class If(Branches):
    """Runs its first region where the selector is true, else its second."""

    name = "df.if"
    SELECTOR: ClassVar = bool_

    def verify_(self) -> None:
        if len(self.regions) != 2:
            raise VerifyException(f"df.if: there must be two regions, got {len(self.regions)} [C3]")
        super().verify_()


@irdl_op_definition
class Case(Branches):
    """Runs the region that the selector counts, from 0; the last one for a selector out of range."""

    name = "df.case"

    def verify_(self) -> None:
        if not self.regions:
            raise VerifyException("df.case: there must be a region [C3]")
        super().verify_()


class Loop(ControlFlow):
    """Runs its body again and again: carried values go in and come out changed; captured ones stay.

    A body takes the number of the iteration (int32), then carried values, slices of `xs`, captured values, handles. It
    yields the next carried values, then slices of the results `ys`, then tokens. `length` has one dimension, that of
    the xs and ys along their first axis, or none where there are neither. `ys` has the spec of each slice. An
    iteration's effects come after those of the iteration before.

    `parallel_iterations` is how many iterations may run at once where the host runs them. `swap_memory` lets what
    gradients need of each iteration go to the host's memory.
    """

    n_carried = prop_def(Int)
    n_captured = prop_def(Int)
    length = prop_def(Dims)
    ys_ = prop_def(Specs, prop_name="ys")
    parallel_iterations = prop_def(Int)
    swap_memory = prop_def(Flag)

    @staticmethod
    def require_options(attributes: Attributes, label: str) -> None:
        """Raise InvalidArgument for a length that is no dimension, or no iterations at once."""
        length, parallel = attributes["length"], attributes["parallel_iterations"]
        if len(length) > 1 or (attributes["ys"] and not length) or parallel < 1:
            raise InvalidArgument(
                "a loop with ys has one length, and each runs one iteration at least at a time, got "
                f"length={list(length)} and parallel_iterations={parallel}",
                label=label,
            )

    @staticmethod
    def stacked(attributes: Attributes) -> list[Attribute]:
        """The types of the ys."""
        return [tensor_type((*attributes["length"], *s.shape), s.dtype) for s in attributes["ys"]]

    @property
    def open_length(self) -> str | None:
        """The symbol of a length that whoever runs the loop chooses; None where there is none."""
        if not self.ys_.data or any(is_tensor(t) and self._mentions(t) for t in self.operand_types):
            return None
        (size,) = self.length.data
        return size.text if isinstance(size, SymbolicDim) and size.text.isidentifier() else None

    def _mentions(self, type: Attribute) -> bool:
        (size,) = self.length.data
        own = size.symbols if isinstance(size, SymbolicDim) else frozenset()
        return any(isinstance(d, SymbolicDim) and own & d.symbols for d in spec_of(type).shape)

    @property
    def carried(self) -> list[SSAValue]:
        """What the first iteration starts from."""
        raise NotImplementedError

    @property
    def captured(self) -> list[SSAValue]:
        raise NotImplementedError

    @property
    def body(self) -> Block:
        raise NotImplementedError

    @property
    def count(self) -> SSAValue | None:
        """The number of iterations: a result of a df.while, an operand of a df.scan if it has one."""
        raise NotImplementedError

    @property
    def xs(self) -> list[SSAValue]:
        return []

    @property
    def finals(self) -> list[SSAValue]:
        """The carried values after the last iteration."""
        return list(self.results[: self.n_carried.data])

    @property
    def ys(self) -> list[SSAValue]:
        raise NotImplementedError

    @property
    def yielded(self) -> list[SSAValue]:
        """What the body yields: carried values, slices of ys, tokens."""
        return list(end_of(self.body).operands)

    @property
    def body_carried(self) -> list[SSAValue]:
        """The body's arguments that are carried values."""
        return list(self.body.args[1 : 1 + self.n_carried.data])

    @property
    def body_xs(self) -> list[SSAValue]:
        start = 1 + self.n_carried.data
        return list(self.body.args[start : start + len(self.xs)])

    @property
    def body_captured(self) -> list[SSAValue]:
        start = 1 + self.n_carried.data + len(self.xs)
        return list(self.body.args[start : start + self.n_captured.data])

    @property
    def body_handles(self) -> list[SSAValue]:
        return list(self.body.args[len(self.body.args) - self.n_handles.data :])


INDEX = tensor_type((), int32)


@irdl_op_definition
class While(Loop):
    """A loop that goes on while its condition holds: carried values, captured ones, handles, tokens.

    The first region, the condition, takes what the body takes and yields a bool, then tokens; the second is the body.
    Results: the last carried values, the number of iterations (int32), the ys, a token if `stateful`. Rows of the ys
    that no iteration wrote are zeros. `length` is the room for iterations: where it is a number, no run has more; where
    it is a symbol that none of the operands has, whoever runs the loop makes room as needed.

    Where sizes change from iteration to iteration, `invariants` has the specs of the carried values inside, with a
    symbol for each such size, and `results` the specs afterwards.
    C1: the operands fit the counts. C2: length and parallel_iterations are as said. C3: initial values fit the
    invariants. C4: the condition yields a scalar of dtype bool. C5: the body yields values that fit the invariants,
    then the slices of the ys.
    """

    name = "df.while"
    invariants = opt_prop_def(Specs)
    results_ = opt_prop_def(Specs, prop_name="results")
    condition_ = region_def("single_block")
    body_ = region_def("single_block")

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        carried, *_ = split(operands, attributes, "n_carried", "n_captured")
        cls.require_options(attributes, "C2")
        invariants, finals = attributes.get("invariants"), attributes.get("results")
        results: list[Attribute] = list(carried)
        if invariants is not None or finals is not None:
            if invariants is None or finals is None or len(invariants) != len(finals):
                raise InvalidArgument("invariants and results must be given together, one for each value", label="C3")
            if not _fit(carried, invariants):
                raise InvalidArgument(
                    f"the initial values must fit the invariants ({_specs(invariants)}), got {_listed(carried)}",
                    label="C3",
                )
            results = [tensor_type(*s) for s in finals]
        results += [INDEX, *cls.stacked(attributes)]
        return [*results, CONTROL] if attributes["stateful"] else results

    def verify_(self) -> None:
        super().verify_()
        inside = self.inside
        takes = [INDEX, *(tensor_type(*s) for s in inside), *self.operand_types[self.n_carried.data : self._n_passed]]
        self._require_block(0, takes, [Spec((), bool_)], "C4")
        self._require_block(1, takes, [*inside, *self.ys_.data], "C5", exact=self.invariants is None)

    @property
    def inside(self) -> list[Spec]:
        """The specs of the carried values in the regions."""
        return [spec_of(v.type) for v in self.carried] if self.invariants is None else list(self.invariants.data)

    @property
    def _n_passed(self) -> int:
        return self.n_carried.data + self.n_captured.data + self.n_handles.data

    @property
    def carried(self) -> list[SSAValue]:
        return list(self.operands[: self.n_carried.data])

    @property
    def captured(self) -> list[SSAValue]:
        return list(self.operands[self.n_carried.data : self.n_carried.data + self.n_captured.data])

    @property
    def condition(self) -> Block:
        return self.regions[0].block

    @property
    def body(self) -> Block:
        return self.regions[1].block

    @property
    def count(self) -> SSAValue:
        return self.results[self.n_carried.data]

    @property
    def ys(self) -> list[SSAValue]:
        start = self.n_carried.data + 1
        return list(self.results[start : start + len(self.ys_.data)])


@irdl_op_definition
class Scan(Loop):
    """A loop over the rows of `xs`: a count if `counted`, carried values, `n_xs` xs, captured ones, handles, tokens.

    With a count, an int32 scalar, that many rows are visited, the first ones; rows of the ys that belong to no
    iteration are zeros. Without one `length` says how many iterations there are; with one it is the room for them, as
    in df.while. With `reverse` the visited rows come last to first, and an iteration's number is its row's. Results:
    the last carried values, the ys, a token if `stateful`.
    C1: the operands fit the counts. C2: length and parallel_iterations are as said. C3: the count is an int32 scalar.
    C4: each of xs has `length` rows. C5: the body takes and yields these values.
    """

    name = "df.scan"
    n_xs = prop_def(Int)
    counted = prop_def(Flag)
    reverse = prop_def(Flag)
    body_ = region_def("single_block")

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        counted = bool(attributes["counted"])
        carried, xs, *_ = split(operands[counted:], attributes, "n_carried", "n_xs", "n_captured")
        cls.require_options(attributes, "C2")
        if counted:
            if not operands or not is_tensor(operands[0]):
                raise InvalidArgument("the first operand must be the count", label="C1")
            require_scalar(operands[0], (int32,), "the count", "C3")
        length = attributes["length"]
        if not length and not counted:
            raise InvalidArgument("a scan needs a length or a count", label="C2")
        for x in xs:
            spec = spec_of(x)
            if spec.shape[:1] != length or not length:
                raise InvalidArgument(
                    f"each of xs must have as many rows as length={list(length)}, got {spec}", label="C4"
                )
        results = [*carried, *cls.stacked(attributes)]
        return [*results, CONTROL] if attributes["stateful"] else results

    def verify_(self) -> None:
        super().verify_()
        start = int(self.counted.data)
        carried = [spec_of(v.type) for v in self.carried]
        rows = [Spec(s.shape[1:], s.dtype) for s in (spec_of(x.type) for x in self.xs)]
        rest = self.operand_types[start + len(carried) + len(rows) :]
        takes = [
            INDEX,
            *(tensor_type(*s) for s in (*carried, *rows)),
            *rest[: self.n_captured.data + self.n_handles.data],
        ]
        self._require_block(0, takes, [*carried, *self.ys_.data], "C5")

    @property
    def count(self) -> SSAValue | None:
        return self.operands[0] if self.counted.data else None

    @property
    def carried(self) -> list[SSAValue]:
        start = int(self.counted.data)
        return list(self.operands[start : start + self.n_carried.data])

    @property
    def xs(self) -> list[SSAValue]:
        start = int(self.counted.data) + self.n_carried.data
        return list(self.operands[start : start + self.n_xs.data])

    @property
    def captured(self) -> list[SSAValue]:
        start = int(self.counted.data) + self.n_carried.data + self.n_xs.data
        return list(self.operands[start : start + self.n_captured.data])

    @property
    def body(self) -> Block:
        return self.regions[0].block

    @property
    def ys(self) -> list[SSAValue]:
        return list(self.results[self.n_carried.data : self.n_carried.data + len(self.ys_.data)])


@irdl_op_definition
class NeedLength(Op):
    """Says how many iterations a loop had whose room, the length `length`, is chosen when it runs.

    The count is what the loop is given or gives, or what a branch or loop around it gives.

    C1: the count is an int32 scalar. C2: there is one length.
    """

    name = "df.need_length"
    length = prop_def(Dims)
    count = operand_def()
    EFFECT: ClassVar = Effect.STATEFUL

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_scalar(operands[0], (int32,), "the count", "C1")
        if len(attributes["length"]) != 1:
            raise InvalidArgument(f"there must be one length, got {list(attributes['length'])}", label="C2")
        return ()


def open_lengths(ops: Iterable[Operation]) -> list[str]:
    """The symbols of lengths that whoever runs the ops chooses: of loops among them, and of those inside."""
    loops = (inner for op in ops if op.regions for inner in op.walk() if isinstance(inner, Loop))
    return list(dict.fromkeys(name for loop in loops if (name := loop.open_length) is not None))


def fits(spec: Spec, pattern: Spec) -> bool:
    """Whether a value of this spec may be where `pattern` is expected: a symbol stands for any size."""
    return (
        spec.dtype is pattern.dtype
        and len(spec.shape) == len(pattern.shape)
        and all(isinstance(p, SymbolicDim) or p == d for d, p in zip(spec.shape, pattern.shape, strict=True))
    )


def _fit(given: Types, patterns: Sequence[Spec]) -> bool:
    return len(given) == len(patterns) and all(
        is_tensor(t) and fits(spec_of(t), p) for t, p in zip(given, patterns, strict=True)
    )


def _specs(specs: Sequence[Spec]) -> str:
    return ", ".join(map(str, specs))


def _listed(types: Types) -> str:
    return f"({', '.join(map(str, types))})"
