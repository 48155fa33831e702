"""Functions, calls, gradient requests and islands: the ops that hold or name other ops."""

from __future__ import annotations

from typing import ClassVar

from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import IsolatedFromAbove, IsTerminator
from xdsl.utils.exceptions import VerifyException

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import types
from dfc.ir.attributes import Flag, Int, Ints, Specs, Text, Texts
from dfc.ir.op import Arrays, Attributes, Effect, Op, Types, end_of
from dfc.ir.ops.elementwise import require_kind
from dfc.ir.types import CONTROL, ControlType, RefType, Spec, spec_behind, spec_of, tensor_type


def split_tokens(values: list[SSAValue] | tuple[SSAValue, ...]) -> tuple[list[SSAValue], list[SSAValue]]:
    """Data values and, after them, control tokens."""
    data = [v for v in values if not isinstance(v.type, ControlType)]
    return data, [v for v in values if isinstance(v.type, ControlType)]


@irdl_op_definition
class Func(Op):
    """A named graph. Its block's arguments are the inputs; `df.return` lists the outputs, then the tokens of effects
    that a call implies. Of a graph that is one of several, a device each, `part_inputs` and `part_results` say which of
    the whole's inputs and outputs its own are.

    C1: the body ends in df.return. C2: one name an input and one an output.
    """

    name = "df.func"
    sym_name = prop_def(Text)
    arg_names = prop_def(Texts)
    result_names = prop_def(Texts)
    part_inputs = opt_prop_def(Ints)
    part_results = opt_prop_def(Ints)
    body = region_def("single_block")
    traits = traits_def(IsolatedFromAbove())

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        return ()

    def verify_(self) -> None:
        last = self.body.block.last_op
        if not isinstance(last, Return):
            raise VerifyException(f"df.func @{self.sym_name.data}: the body must end in df.return [C1]")
        outputs, _ = split_tokens(list(last.operands))
        counts = (len(self.arg_names.data), len(self.result_names.data))
        if counts != (len(self.body.block.args), len(outputs)):
            raise VerifyException(
                f"df.func @{self.sym_name.data}: {counts[0]} input and {counts[1]} output names for "
                f"{len(self.body.block.args)} inputs and {len(outputs)} outputs [C2]"
            )

    @property
    def block(self) -> Block:
        return self.body.block

    @property
    def terminator(self) -> Operation:
        return end_of(self.body.block)

    @property
    def outputs(self) -> list[SSAValue]:
        """The returned data values."""
        return split_tokens(list(self.terminator.operands))[0]

    @property
    def tokens(self) -> list[SSAValue]:
        """The returned tokens: the effects that belong to a call."""
        return split_tokens(list(self.terminator.operands))[1]


@irdl_op_definition
class Return(Op):
    """Ends a function: outputs, then tokens.

    C1: no data value after a token.
    """

    name = "df.return"
    values_ = var_operand_def()
    traits = traits_def(IsTerminator())

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        kinds = [isinstance(t, ControlType) for t in operands]
        if kinds != sorted(kinds):
            raise InvalidArgument("control tokens must come after all outputs", label="C1")
        return ()


@irdl_op_definition
class Call(Op):
    """Calls a function of the same program: inputs, then tokens to wait for; outputs, then one token if `stateful`.

    C1: operands are tensors, then tokens.
    """

    name = "df.call"
    callee = prop_def(Text)
    results_ = prop_def(Specs, prop_name="results")
    stateful = prop_def(Flag)
    arguments = var_operand_def()
    outputs = var_result_def()
    EFFECT: ClassVar = Effect.STATEFUL

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        kinds = [isinstance(t, ControlType) for t in operands]
        if kinds != sorted(kinds):
            raise InvalidArgument("control tokens must come after all inputs", label="C1")
        outputs: list[Attribute] = [tensor_type(*s) for s in attributes["results"]]
        return [*outputs, CONTROL] if attributes["stateful"] else outputs


DENSE, SPARSE, NONE = "dense", "sparse", "none"


@irdl_op_definition
class Gradients(Op):
    """A request: the gradients of the sum of ys, weighted by grad_ys, by each of xs (tensors or references).

    Operands are `n_ys` ys, `n_xs` xs, then none or `n_ys` grad_ys. `kinds`, fixed by `autodiff.plan`, has one entry
    an x: `dense` (one result of the x's type), `sparse` (two: rows of the x's gradient, and the indices of these rows,
    which may repeat) or `none` (no result). `rows` has shape and dtype of the indices of each sparse x.
    C1: the operands fit the counts. C2: grad_ys have the types of ys. C3: one kind an x. C4: an x has a floating or
    complex dtype where its kind is not none. C5: rows has a vector of integers for each sparse x, which has rows.
    """

    name = "df.gradients"
    n_ys = prop_def(Int)
    n_xs = prop_def(Int)
    kinds = prop_def(Texts)
    rows = opt_prop_def(Specs)
    arguments = var_operand_def()
    outputs = var_result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        n_ys, n_xs, kinds = attributes["n_ys"], attributes["n_xs"], attributes["kinds"]
        if len(operands) not in (n_ys + n_xs, n_ys + n_xs + n_ys):
            raise InvalidArgument(
                f"{len(operands)} operands don't fit {n_ys} ys, {n_xs} xs and none or {n_ys} grad_ys", label="C1"
            )
        for y, seed in zip(operands, operands[n_ys + n_xs :], strict=False):
            if spec_of(y) != spec_of(seed):
                raise InvalidArgument(f"grad_ys must match ys, got {spec_of(seed)} for {spec_of(y)}", label="C2")
        if len(kinds) != n_xs or any(k not in (DENSE, SPARSE, NONE) for k in kinds):
            raise InvalidArgument(
                f"kinds must be dense, sparse or none, one for each of {n_xs} xs, got {kinds}", label="C3"
            )
        given = attributes.get("rows") or ()
        if len(given) != kinds.count(SPARSE):
            raise InvalidArgument(f"{kinds.count(SPARSE)} sparse xs need as many rows, got {len(given)}", label="C5")
        rows, results = iter(given), list[Attribute]()
        for x, kind in zip(operands[n_ys : n_ys + n_xs], kinds, strict=True):
            if kind == NONE:
                continue
            spec = spec_behind(x)
            if not spec.dtype.is_inexact:
                raise InvalidType(f"a gradient needs a floating or complex x, got {spec}", label="C4")
            results += [tensor_type(*spec)] if kind == DENSE else Gradients._sparse_types(spec, next(rows))
        return results

    @staticmethod
    def _sparse_types(x: Spec, rows: Spec) -> list[Attribute]:
        if len(rows.shape) != 1 or not rows.dtype.is_integer or not x.shape:
            raise InvalidArgument(
                f"a sparse gradient needs an x with rows and a vector of integers, got {x} and {rows}", label="C5"
            )
        return [tensor_type((*rows.shape, *x.shape[1:]), x.dtype), tensor_type(*rows)]

    @property
    def ys(self) -> list[SSAValue]:
        return list(self.operands[: self.n_ys.data])

    @property
    def xs(self) -> list[SSAValue]:
        return list(self.operands[self.n_ys.data : self.n_ys.data + self.n_xs.data])

    @property
    def grad_ys(self) -> list[SSAValue]:
        return list(self.operands[self.n_ys.data + self.n_xs.data :])


@irdl_op_definition
class CustomGradient(Op):
    """Values with a gradient of their own: what the region computes, instead of what leads to the values.

    Operands are `n_ys` ys, `n_xs` xs (tensors or references), then tensors that the region needs. The results are the
    ys. The block takes the gradient of each floating or complex y, then the needed tensors; it yields the gradient of
    each x that `given` indexes. No gradient passes to the ys and to what is needed, other than through these.
    C1: the operands fit the counts. C2: `given` indexes floating or complex xs. C3: the block takes and yields these.
    """

    name = "df.custom_gradient"
    n_ys = prop_def(Int)
    n_xs = prop_def(Int)
    given = prop_def(Ints)
    arguments = var_operand_def()
    outputs = var_result_def()
    body = region_def("single_block")
    traits = traits_def(IsolatedFromAbove())

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        n_ys, n_xs = attributes["n_ys"], attributes["n_xs"]
        if len(operands) < n_ys + n_xs:
            raise InvalidArgument(f"{len(operands)} operands don't fit {n_ys} ys and {n_xs} xs", label="C1")
        xs = operands[n_ys : n_ys + n_xs]
        if any(not 0 <= i < n_xs or not spec_behind(xs[i]).dtype.is_inexact for i in attributes["given"]):
            raise InvalidArgument(f"given={attributes['given']} must index floating or complex xs", label="C2")
        return list(operands[:n_ys])

    def verify_(self) -> None:
        super().verify_()
        last = self.block.last_op
        flowing = [y.type for y in self.ys if spec_of(y.type).dtype.is_inexact]
        takes = [*flowing, *(v.type for v in self.needed)]
        gives = [tensor_type(*spec_behind(x.type)) for x in self.differentiated]
        if list(self.block.arg_types) != takes or last is None or list(last.operand_types) != gives:
            raise VerifyException(
                f"df.custom_gradient: the block must take {_listed(takes)} and yield {_listed(gives)} [C3]"
            )

    @property
    def ys(self) -> list[SSAValue]:
        return list(self.operands[: self.n_ys.data])

    @property
    def differentiated(self) -> list[SSAValue]:
        """The xs that have a gradient."""
        return [self.operands[self.n_ys.data + i] for i in self.given.data]

    @property
    def needed(self) -> list[SSAValue]:
        return list(self.operands[self.n_ys.data + self.n_xs.data :])

    @property
    def block(self) -> Block:
        return self.body.block


@irdl_op_definition
class Checkpoint(Op):
    """What its region computes from the operands: gradients compute it again instead of keeping values of the inside.

    C1: operands are tensors. C2: the block takes the operands and yields the results.
    """

    name = "df.checkpoint"
    results_ = prop_def(Specs, prop_name="results")
    arguments = var_operand_def()
    outputs = var_result_def()
    body = region_def("single_block")
    traits = traits_def(IsolatedFromAbove())

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        for t in operands:
            if not types.is_tensor(t):
                raise InvalidType(f"operands must be tensors, got {t}", label="C1")
        return [tensor_type(*s) for s in attributes["results"]]

    def verify_(self) -> None:
        super().verify_()
        last = self.block.last_op
        fits = last is not None and list(last.operand_types) == list(self.result_types)
        if list(self.block.arg_types) != list(self.operand_types) or not fits:
            raise VerifyException("df.checkpoint: the block must take the operands and yield the results [C2]")

    @property
    def block(self) -> Block:
        return self.body.block


@irdl_op_definition
class OptimizationBarrier(Op):
    """Its operands as they are. Work behind it is not merged with work before it and does not start before all operands
    are there. `hidden` indexes those of which compilers that drop barriers must not see either that they are the same:
    that costs a copy.

    C1: operands are tensors that devices hold. C2: `hidden` indexes operands.
    """

    name = "df.optimization_barrier"
    hidden = prop_def(Ints)
    values_ = var_operand_def()
    outputs = var_result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("bool", "int", "uint", "float", "complex")

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        for t in operands:
            require_kind(spec_of(t).dtype, cls.KINDS, "C1")
        if any(not 0 <= i < len(operands) for i in attributes["hidden"]):
            raise InvalidArgument(f"hidden={attributes['hidden']} must index {len(operands)} operands", label="C2")
        return list(operands)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return list(operands)


@irdl_op_definition
class Island(Op):
    """A run of ops that one device executes as one program.

    Operands: `n_inputs` tensors, `n_refs` references, then tokens. The block has one argument an input and one a
    reference (the variable's value before); it yields the results, then the new value of each reference in `written`,
    then for each symbol of `needs` the number of iterations that a loop of that length had: the size of the symbol is
    chosen when the island runs. Results: the tensors of `results`, then a token.
    C1: operands are tensors, references, tokens in the stated numbers. C2: `written` indexes references.
    """

    name = "df.island"
    n_inputs = prop_def(Int)
    n_refs = prop_def(Int)
    written = prop_def(Ints)
    results_ = prop_def(Specs, prop_name="results")
    needs = opt_prop_def(Texts)
    arguments = var_operand_def()
    outputs = var_result_def()
    body = region_def("single_block")
    EFFECT: ClassVar = Effect.STATEFUL

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        n_inputs, n_refs = attributes["n_inputs"], attributes["n_refs"]
        kinds = [
            *(types.is_tensor(t) for t in operands[:n_inputs]),
            *(isinstance(t, RefType) for t in operands[n_inputs : n_inputs + n_refs]),
            *(isinstance(t, ControlType) for t in operands[n_inputs + n_refs :]),
        ]
        if len(operands) < n_inputs + n_refs or not all(kinds):
            raise InvalidArgument(
                f"operands must be {n_inputs} tensors, {n_refs} references, then tokens, got "
                f"({', '.join(map(str, operands))})",
                label="C1",
            )
        if any(not 0 <= i < n_refs for i in attributes["written"]):
            raise InvalidArgument(f"written={attributes['written']} must index {n_refs} references", label="C2")
        return [*(tensor_type(*s) for s in attributes["results"]), CONTROL]

    @property
    def inputs(self) -> list[SSAValue]:
        return list(self.operands[: self.n_inputs.data])

    @property
    def refs(self) -> list[SSAValue]:
        return list(self.operands[self.n_inputs.data : self.n_inputs.data + self.n_refs.data])

    @property
    def needed(self) -> tuple[str, ...]:
        """The symbols of `needs`."""
        return () if self.needs is None else self.needs.data

    @property
    def block(self) -> Block:
        return self.body.block


@irdl_op_definition
class Yield(Op):
    """Ends the body of an op with a region: the values that the op gives."""

    name = "df.yield"
    values_ = var_operand_def()
    traits = traits_def(IsTerminator())

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        return ()


def single_block_region(arg_types: Types) -> tuple[Region, Block]:
    """A region with one empty block that takes `arg_types`."""
    block = Block(arg_types=list(arg_types))
    return Region([block]), block


def _listed(types: Types) -> str:
    return f"({', '.join(map(str, types))})"


def specs_of(values: list[SSAValue]) -> tuple[Spec, ...]:
    return tuple(spec_of(v.type) for v in values)
