"""The walk from df to StableHLO, straight from xDSL's objects through jaxlib's MLIR bindings.

The module that comes out holds one public function `main`, static shapes, and only ops of `stablehlo` and `func`, so
that it has a portable form. Equal programs give equal text. Every MLIR op carries the position of its df op; an op
inside a scope or with a name of its own carries that too, which is what profilers show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxlib.mlir import ir
from xdsl.dialects.builtin import CallSiteLoc, FileLineColLoc, FusedLoc, LocationAttr, NameLoc, StringAttr
from xdsl.ir import Attribute, Block, BlockArgument, Operation, SSAValue

from dfc.backends.stablehlo import rules
from dfc.backends.stablehlo.legalize import legalize
from dfc.backends.stablehlo.rules import Rule, Value
from dfc.backends.stablehlo.sharding import ProgramLayout, layout_of
from dfc.errors import DfcError, FailedPrecondition, Unimplemented
from dfc.ir import dtypes, locations
from dfc.ir.dtypes import DType
from dfc.ir.op import Op, short_name
from dfc.ir.ops.function import Func, Island
from dfc.ir.ops.state import Variable
from dfc.ir.sharding import Axes
from dfc.ir.types import Spec, spec_of

_ELEMENTS: dict[DType, Callable[[], ir.Type]] = {
    dtypes.bool_: lambda: ir.IntegerType.get_signless(1),
    dtypes.float16: ir.F16Type.get,
    dtypes.bfloat16: ir.BF16Type.get,
    dtypes.float32: ir.F32Type.get,
    dtypes.float64: ir.F64Type.get,
    dtypes.complex64: lambda: ir.ComplexType.get(ir.F32Type.get()),
    dtypes.complex128: lambda: ir.ComplexType.get(ir.F64Type.get()),
}

Body = Callable[[Sequence[Value]], Sequence[Value]]
"""Makes the ops of a region from its arguments; what it returns ends the region."""


def element_type(dtype: DType) -> ir.Type:
    """The MLIR type of an element. Raises Unimplemented for strings: XLA ends the process on types it doesn't know."""
    if dtype.kind == "int":
        return ir.IntegerType.get_signless(dtype.bits)
    if dtype.kind == "uint":
        return ir.IntegerType.get_unsigned(dtype.bits)
    make = _ELEMENTS.get(dtype)
    if make is None:
        raise Unimplemented(
            f"no device holds values of dtype {dtype}",
            hint="only ops that run on the host take strings; keep them out of what is compiled",
        )
    return make()


class Emitter:
    """Makes MLIR ops at one place, for rules. Used inside `with context, location`.

    Types and positions are made once each: building one costs as much as building an op.
    """

    def __init__(self, mesh: Axes = (), table: Mapping[type[Op], Rule] | None = None) -> None:
        self.mesh = mesh
        """The axes of the mesh that the program is for; none without one."""
        self.table = rules.RULES if table is None else table
        """What is emitted for each op."""
        self.location: ir.Location = ir.Location.unknown()
        self._unknown = self.location
        self.insertion: ir.InsertionPoint | None = None
        self._types: dict[int, ir.Type] = {}  # by id: types are interned, and the program keeps them alive
        self._tensors: dict[Spec, ir.Type] = {}
        self._locations: dict[Any, ir.Location] = {}
        self.uses_chlo = False
        """Set by rules that make an op of chlo, which becomes stablehlo at the end: chlo has no portable form."""

    def type(self, type: Attribute) -> ir.Type:
        """The MLIR type of a df tensor or of the tensor behind a reference."""
        found = self._types.get(id(type))
        if found is None:
            found = self._types[id(type)] = self.tensor(*spec_of(type))
        return found

    def tensor(self, shape: Sequence[Any], dtype: DType) -> ir.Type:
        """The MLIR type of tensors of this shape and dtype.

        Raises FailedPrecondition for a symbolic shape and Unimplemented for strings.
        """
        spec = Spec(tuple(shape), dtype)
        found = self._tensors.get(spec)
        if found is None:
            sizes = [d for d in spec.shape if isinstance(d, int)]
            if len(sizes) != len(spec.shape):
                raise FailedPrecondition(
                    f"every shape must be static before emission, got {spec}",
                    hint="run the pass specialize with a size for each symbol",
                )
            found = self._tensors[spec] = ir.RankedTensorType.get(sizes, element_type(dtype))
        return found

    def create(
        self,
        name: str,
        type: ir.Type,
        operands: Sequence[Value],
        attributes: dict[str, ir.Attribute] | None = None,
    ) -> Value:
        """A new op with one result; its result."""
        return ir.Operation.create(name, (type,), operands, attributes, None, 0, self.location, self.insertion).result

    def constant(self, value: np.ndarray[Any, Any], dtype: DType) -> Value:
        """A constant; one element that is the same everywhere is stored once."""
        type_, contiguous = self.tensor(value.shape, dtype), np.ascontiguousarray(value)
        data: Any = contiguous  # its buffer; ml_dtypes' arrays have one too, which the stubs don't know
        attribute = ir.DenseElementsAttr.get(data, type=element_type(dtype), shape=list(value.shape))
        return self.create("stablehlo.constant", type_, (), {"value": attribute})

    def scalar(self, value: Any, dtype: DType) -> Value:
        """A constant of rank 0."""
        return self.constant(np.asarray(value).astype(dtype.numpy), dtype)

    def filled(self, value: Any, shape: Sequence[Any], dtype: DType) -> Value:
        """A tensor with `value` everywhere."""
        scalar = self.scalar(value, dtype)
        if not shape:
            return scalar
        everywhere = {"broadcast_dimensions": integers(())}
        return self.create("stablehlo.broadcast_in_dim", self.tensor(shape, dtype), [scalar], everywhere)

    def reduce(
        self,
        operands: Sequence[Value],
        initial: Sequence[Value],
        axes: Sequence[int],
        results: Sequence[ir.Type],
        body: Body,
    ) -> list[Value]:
        """`stablehlo.reduce`; `body` takes the accumulated scalars, then the next ones, and gives the new ones."""
        attributes = {"dimensions": integers(axes)}
        op = self._with_regions("stablehlo.reduce", results, [*operands, *initial], attributes, 1)
        self._fill(op.regions[0], [v.type for v in initial] * 2, body)
        return list(op.results)

    def loop(self, initial: Sequence[Value], condition: Body, body: Body) -> list[Value]:
        """`stablehlo.while`; `condition` gives one scalar, `body` the next values."""
        types = [v.type for v in initial]
        op = self._with_regions("stablehlo.while", types, initial, {}, 2)
        self._fill(op.regions[0], types, condition)
        self._fill(op.regions[1], types, body)
        return list(op.results)

    def with_bodies(
        self,
        name: str,
        results: Sequence[ir.Type],
        operands: Sequence[Value],
        attributes: dict[str, ir.Attribute],
        bodies: Sequence[tuple[Sequence[ir.Type], Body]],
    ) -> list[Value]:
        """A new op with regions, each given by the types of its arguments and what makes its ops; its results."""
        op = self._with_regions(name, results, operands, attributes, len(bodies))
        for region, (types, body) in zip(op.regions, bodies, strict=True):
            self._fill(region, types, body)
        return list(op.results)

    def _with_regions(
        self,
        name: str,
        results: Sequence[ir.Type],
        operands: Sequence[Value],
        attributes: dict[str, ir.Attribute],
        regions: int,
    ) -> ir.Operation:
        made = ir.Operation.create(
            name, results, operands, attributes, regions=regions, loc=self.location, ip=self.insertion
        )
        return made.operation

    def _fill(self, region: ir.Region, types: Sequence[ir.Type], body: Body) -> None:
        """Put `body` into an empty region: one block, ended by what `body` gives."""
        block = region.blocks.append(*types, arg_locs=[self.location] * len(types))
        outside, self.insertion = self.insertion, ir.InsertionPoint(block)
        outputs = body(list(block.arguments))
        ir.Operation.create("stablehlo.return", (), outputs, loc=self.location, ip=self.insertion)
        self.insertion = outside

    # ---- positions

    def position_of(self, op: Operation) -> ir.Location:
        """The MLIR location of a df op, under the op's name in the user's program where it has one."""
        location = op.location
        if not op.attributes:
            found = self._locations.get(id(location))
            return found if found is not None else self.position(location)
        scope, name = op.attributes.get("scope"), op.attributes.get("name")
        key = (id(location), type(op), scope, name)
        found = self._locations.get(key)
        if found is None:
            parts = [a.data for a in (scope, name) if isinstance(a, StringAttr)]
            label = "/".join(parts if name is not None else [*parts, short_name(op)])
            found = self._locations[key] = ir.Location.name(label, self.position(location))
        return found

    def position(self, location: Any) -> ir.Location:
        """The MLIR location of a df location."""
        found = self._locations.get(id(location))
        if found is None:
            found = self._locations[id(location)] = self._position(location)
        return found

    def _position(self, location: Any) -> ir.Location:
        match location:
            case FileLineColLoc():
                return ir.Location.file(location.filename.data, location.line.data, location.column.data)
            case NameLoc():
                return ir.Location.name(location.desc.data, self.position(location.location))
            case FusedLoc():
                return ir.Location.fused([self.position(part) for part in location.locations.data])  # type: ignore[attr-defined]
            case CallSiteLoc():
                return ir.Location.callsite(self.position(location.callee), [self.position(location.caller)])
        return self._unknown

    # ---- the walk

    def block(self, block: Block, values: dict[SSAValue, Value]) -> None:
        """Emit all ops of a block but its terminator; `values` holds the block's arguments and takes the results."""
        table, terminator = self.table, block.last_op
        for op in block.ops:
            if op is terminator:
                break
            self.location = self.position_of(op)
            emit = table.get(type(op))
            try:
                if emit is None:
                    raise missing(op)
                made = emit(self, op, [values[o] for o in op.operands])
            except DfcError as error:
                raise error.at(op=short_name(op), location=locations.describe(op.location)) from None
            for result, value in zip(op.results, made, strict=True):
                values[result] = value
        self.location = self._unknown


def missing(op: Operation) -> DfcError:
    """The error for an op that can't be emitted."""
    why = rules.NOT_EMITTED.get(type(op))  # type: ignore[arg-type]
    if why is not None:
        return FailedPrecondition(f"must be gone before emission: {why}")
    hint = "register one with dfc.backends.stablehlo.rules.rule"
    return Unimplemented("the op has no StableHLO emission rule", hint=hint)


def integer(value: int) -> ir.Attribute:
    """One integer as StableHLO takes it: 64 bits."""
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)


def integers(values: Sequence[Any]) -> ir.Attribute:
    """A list of integers as StableHLO takes it: `array<i64: 0, 1>`."""
    return ir.DenseI64ArrayAttr.get(list(values))


def pairs(values: Sequence[Sequence[Any]]) -> ir.Attribute:
    """A list of pairs of integers as StableHLO takes it, as for padding: `dense<[[0, 1]]> : tensor<1x2xi64>`."""
    data: Any = np.array(values, np.int64)
    return ir.DenseElementsAttr.get(data, type=ir.IntegerType.get_signless(64), shape=[len(values), 2])


def parameter_order(island: Island) -> list[int]:
    """The island's block arguments in the order of `main`'s parameters: references that are written (in the order of
    `written`), references that are only read, inputs."""
    n_inputs, written = island.n_inputs.data, list(island.written.data)
    read_only = [i for i in range(island.n_refs.data) if i not in written]
    return [*(n_inputs + i for i in written + read_only), *range(n_inputs)]


def emit_island(
    island: Island,
    *,
    context: ir.Context,
    name: str,
    donate: bool = False,
    mesh: Axes = (),
    table: Mapping[type[Op], Rule] | None = None,
    alike: Mapping[int, int] = {},
) -> ir.Module:
    """The StableHLO module of an island: `main(written references' values, the other references' values, inputs) ->
    (new values of the written references, results, numbers of iterations)`.

    `donate` marks parameter i, for each written reference, with `tf.aliasing_output = i`: the new value may take the
    old one's memory. With a `mesh`, parameters and results say how they are divided over it; `alike` maps
    parameters to results that are divided as they are. `table` has what is emitted for each op, by default its one
    rule.

    Raises Unimplemented for dtypes and ops that no device takes, FailedPrecondition for symbolic shapes and
    InvalidArgument for sizes that the mesh does not divide, each with the user's line.
    """
    arguments = list(island.block.args)
    yielded = list(island.block.last_op.operands) if island.block.last_op is not None else []
    n_results, n_written = len(island.results_.data), len(island.written.data)
    end = n_results + n_written
    outputs = [*yielded[n_results:end], *yielded[:n_results], *yielded[end:]]
    operands = [*island.inputs, *island.refs]
    parameters = [(arguments[i], operands[i]) for i in parameter_order(island)]
    return _emit(
        island.block,
        [(inside, _operand_name(operand)) for inside, operand in parameters],
        outputs,
        context=context,
        name=name,
        location=island.location,
        aliases=n_written if donate else 0,
        layout=layout_of(parameters, outputs, n_written, mesh, alike) if mesh else None,
        table=table,
    )


def emit_func(func: Func, *, context: ir.Context, name: str | None = None) -> ir.Module:
    """The StableHLO module of a function of pure ops: `main(inputs) -> outputs`. Raises as `emit_island` does."""
    return _emit(
        func.block,
        list(zip(func.block.args, func.arg_names.data, strict=True)),
        func.outputs,
        context=context,
        name=func.sym_name.data if name is None else name,
        location=func.location,
        aliases=0,
    )


def _emit(
    block: Block,
    parameters: Sequence[tuple[BlockArgument, str]],
    outputs: Sequence[SSAValue],
    *,
    context: ir.Context,
    name: str,
    location: LocationAttr,
    aliases: int,
    layout: ProgramLayout | None = None,
    table: Mapping[type[Op], Rule] | None = None,
) -> ir.Module:
    rules.load()
    with context, ir.Location.unknown():
        emitter = Emitter(layout.mesh if layout else (), table)
        whole = emitter.position(location)
        module = ir.Module.create(whole)
        module.operation.attributes["sym_name"] = ir.StringAttr.get(name)
        types = [_parameter_type(emitter, value, label, location) for value, label in parameters]
        signature = ir.FunctionType.get(types, [_result_type(emitter, o) for o in outputs])
        attributes: dict[str, ir.Attribute] = {
            "function_type": ir.TypeAttr.get(signature),
            "sym_name": ir.StringAttr.get("main"),
            "sym_visibility": ir.StringAttr.get("public"),
        }
        taken, given = _aliasing(aliases, len(parameters)), list[dict[str, ir.Attribute]]()
        if layout:
            layout.declare(module)
            divided, given = layout.marks([_rank(value) for value, _ in parameters], list(map(_rank, outputs)))
            taken = [{**mark, **own} for mark, own in zip(taken, divided, strict=True)]
        for where, marks in (("arg_attrs", taken), ("res_attrs", given)):
            if any(marks):
                attributes[where] = ir.ArrayAttr.get(list(map(ir.DictAttr.get, marks)))
        main = ir.Operation.create(
            "func.func", (), (), attributes, regions=1, loc=whole, ip=ir.InsertionPoint(module.body)
        )
        places = [ir.Location.name(label, whole) if label else whole for _, label in parameters]
        entry = main.regions[0].blocks.append(*types, arg_locs=places)
        emitter.insertion = ir.InsertionPoint(entry)
        values: dict[SSAValue, Value] = dict(zip((value for value, _ in parameters), entry.arguments, strict=True))
        emitter.block(block, values)
        ir.Operation.create("func.return", (), [values[o] for o in outputs], loc=whole, ip=emitter.insertion)
        if emitter.uses_chlo:
            legalize(module)
    return module


def _rank(value: SSAValue) -> int:
    return len(spec_of(value.type).shape)


def _parameter_type(emitter: Emitter, value: BlockArgument, label: str, location: LocationAttr) -> ir.Type:
    try:
        return emitter.type(value.type)
    except DfcError as error:
        # A parameter has no position of its own: the op that first takes it is the user's nearest line.
        first = next(iter(value.uses), None)
        place = locations.describe(first.operation.location if first is not None else location)
        raise error.at(op=f"input {label!r}" if label else "input", location=place) from None


def _result_type(emitter: Emitter, value: SSAValue) -> ir.Type:
    try:
        return emitter.type(value.type)
    except DfcError as error:
        if isinstance(value.owner, Operation):
            error.at(op=short_name(value.owner), location=locations.describe(value.owner.location))
        raise


def _aliasing(n_written: int, n_parameters: int) -> list[dict[str, ir.Attribute]]:
    i32 = ir.IntegerType.get_signless(32)
    return [{"tf.aliasing_output": ir.IntegerAttr.get(i32, i)} if i < n_written else {} for i in range(n_parameters)]


def _operand_name(operand: SSAValue) -> str:
    """What the user calls an island's operand: a variable's or a function input's name; nothing where it has none."""
    owner = operand.owner
    if isinstance(owner, Variable):
        return owner.variable.data
    if isinstance(operand, BlockArgument) and isinstance(func := operand.block.parent_op(), Func):
        return func.arg_names.data[operand.index]
    return ""
