"""The reference interpreter: runs a program on NumPy arrays by the meaning (`evaluate`) of its ops, one by one.

Slow and simple on purpose: it says what a program means. Works on programs of any phase up to clustered, symbolic
dimensions included; calls need not be inlined, requests for gradients must be expanded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from dfc.errors import DfcError, FailedPrecondition, Internal, InvalidArgument, NotFound
from dfc.ir import locations
from dfc.ir.dims import SymbolicDim, match, substitute
from dfc.ir.op import Op, short_name
from dfc.ir.ops import state as st
from dfc.ir.ops.control import Branches, If, Loop, NeedLength, Scan, While
from dfc.ir.ops.function import Call, Checkpoint, CustomGradient, Func, Gradients, Island, Return, Yield
from dfc.ir.ops.indexing import require_in_range
from dfc.ir.ops.offload import Evict, Fetch, Hold, LetGo, OffloadOp
from dfc.ir.types import Spec, is_tensor, spec_of

Array = np.ndarray[Any, Any]
ROOM = 4
"""How many iterations a loop has room for at first, whose length is for whoever runs it to choose."""
Variables = dict[str, Array]


def run(
    program: ModuleOp | Func, arguments: Sequence[Array], variables: Mapping[str, Array] = {}
) -> tuple[list[Array], Variables]:
    """The outputs of the function, and the variables' values after it; what is passed in stays as it is.

    `program` is a function or a program whose last function is the one to run (the others are called by it).
    `arguments` fit the function's inputs in dtype and shape, where a symbol takes the size that it meets first;
    `variables` maps names to values. Raises InvalidArgument, NotFound for a variable without a value, and what
    `evaluate` raises, with the user's line.
    """
    func = _entry(program)
    lengths: dict[str, int] = {}
    while True:
        interpreter = _Interpreter(func, {name: np.array(value) for name, value in variables.items()}, lengths)
        try:
            return interpreter.call(func, list(arguments)), interpreter.variables
        except _TooShort as short:
            lengths[short.symbol] = short.count


def run_island(func: Func, island: Island, arguments: Sequence[Array]) -> list[Array]:
    """What the island of the function yields for its inputs and the values of its references: its results, then the new
    values of those that it writes."""
    return [np.asarray(value) for value in _Interpreter(func, {}, {}).region(island.block, list(arguments), {})]


class _TooShort(Exception):
    """A loop of a length that is chosen had more iterations."""

    def __init__(self, symbol: str, count: int) -> None:
        super().__init__(symbol)
        self.symbol, self.count = symbol, count


def _entry(program: ModuleOp | Func) -> Func:
    if isinstance(program, Func):
        return program
    functions = [op for op in program.ops if isinstance(op, Func)]
    if not functions:
        raise InvalidArgument("the program has no function to run")
    return functions[-1]


SCATTERS: dict[type[Op], Callable[[Array, Array], Array]] = {
    st.ScatterAdd: np.add,
    st.ScatterSub: np.subtract,
    st.ScatterMul: np.multiply,
    st.ScatterDiv: np.divide,
    st.ScatterMin: np.minimum,
    st.ScatterMax: np.maximum,
}
"""A row after a scatter, from the row before and the update."""


class _Interpreter:
    """One run: the variables' values and the functions of the program."""

    def __init__(self, func: Func, variables: Variables, lengths: dict[str, int]) -> None:
        self.variables = variables
        parent = func.parent_op()
        siblings = parent.ops if isinstance(parent, ModuleOp) else [func]
        self.functions = {f.sym_name.data: f for f in siblings if isinstance(f, Func)}
        self.lengths = lengths

    def call(self, func: Func, arguments: list[Array]) -> list[Array]:
        bindings = _bind(func, arguments)
        env: dict[SSAValue, Any] = dict(zip(func.block.args, arguments, strict=True))
        outputs = self.block(func.block.first_op, env, bindings)
        return outputs[: len(func.outputs)]

    def block(self, first: Operation | None, env: dict[SSAValue, Any], bindings: dict[str, int]) -> list[Any]:
        """Runs ops from `first` to the terminator, whose operands' values it returns. Tokens have the value None,
        handles the variable's name."""
        op = first
        while op is not None:
            operands = [env[o] for o in op.operands]
            if isinstance(op, Return | Yield):
                return operands
            assert isinstance(op, Op), f"{op.name} is not an op of df"
            try:
                results = self.step(op, operands, bindings)
            except DfcError as error:
                raise error.at(op=short_name(op), location=locations.describe(op.location)) from None
            env.update(zip(op.results, results, strict=True))
            op = op.next_op
        return []

    def step(self, op: Op, operands: list[Any], bindings: dict[str, int]) -> list[Any]:
        """The values of the op's results."""
        match op:
            case st.Variable():
                return [op.variable.data]
            case st.Read():
                return [self.value_of(operands[0]), None]
            case st.Update():
                self.write(op, *operands[:2])
                return [None]
            case st.Scatter():
                self.scatter(op, *operands[:3])
                return [None]
            case st.Group():
                return [None]
            case Branches() | While() | Scan() | NeedLength():
                return self.control(op, operands, bindings)
            case OffloadOp():
                return self.offload(op, operands)
            case Call():
                return self.call_op(op, operands)
            case Island():
                return self.island(op, operands, bindings)
            case CustomGradient():
                return operands[: op.n_ys.data]
            case Checkpoint():
                inner: dict[SSAValue, Any] = dict(zip(op.block.args, operands, strict=True))
                return self.block(op.block.first_op, inner, bindings)
            case Gradients():
                raise FailedPrecondition("gradients must be expanded before they can be computed: run pass autodiff")
        results = op.evaluate(operands, _attributes(op, bindings))
        _check(op, results, bindings)
        return list(results)

    def value_of(self, variable: str) -> Array:
        if variable not in self.variables:
            raise NotFound(f"the variable '{variable}' has no value", hint=f"values given: {sorted(self.variables)}")
        return self.variables[variable]

    def write(self, op: st.Update, variable: str, value: Array) -> None:
        # Arithmetic in the variable's dtype; a copy, so that no later write shows through an earlier read.
        with np.errstate(all="ignore"):
            if isinstance(op, st.AssignAdd):
                value = self.value_of(variable) + value
            elif isinstance(op, st.AssignSub):
                value = self.value_of(variable) - value
        self.variables[variable] = np.array(value)

    def scatter(self, op: st.Scatter, variable: str, indices: Array, updates: Array) -> None:
        """Row by row, in the order of the updates."""
        value = np.array(self.value_of(variable))
        require_in_range(indices, len(value))
        rows = updates.reshape(indices.size, *value.shape[1:])
        with np.errstate(all="ignore"):
            for index, row in zip(indices.ravel(), rows, strict=True):
                value[index] = row if isinstance(op, st.ScatterUpdate) else SCATTERS[type(op)](value[index], row)
        self.variables[variable] = value

    def offload(self, op: OffloadOp, operands: list[Any]) -> list[Any]:
        """A handle has the values as they were when it was made, and new ones until it is let go."""
        n_refs = len(op.refs)
        match op:
            case Hold():
                return [({operands[i]: self.value_of(operands[i]) for i in op.read.data}, {}), None]
            case Fetch():
                lent = operands[1 + n_refs : 1 + n_refs + len(op.tensors)]
                return [*(operands[0][0][name] for name in operands[1 : 1 + n_refs]), *lent]
            case Evict():
                operands[0][1].update(
                    zip(operands[1 : 1 + n_refs], map(np.array, operands[1 + n_refs :]), strict=False)
                )
            case LetGo():
                self.variables.update(operands[0][1])
        return [None] * len(op.results)

    # ---- control flow

    def control(self, op: Op, operands: list[Any], bindings: dict[str, int]) -> list[Any]:
        match op:
            case Branches():
                number = (0 if operands[0] else 1) if isinstance(op, If) else int(operands[0])
                n = len(op.passed)
                block = op.blocks[number if 0 <= number < len(op.blocks) else -1]
                results = self.region(block, operands[1 : 1 + n], bindings)
            case While():
                results = self.while_loop(op, operands, bindings)
            case Scan():
                results = self.scan(op, operands, bindings)
            case _:
                return []
        n_data = len(op.data)
        return [*results[:n_data], *([None] if op.stateful.data else [])]

    def region(self, block: Block, arguments: Sequence[Any], bindings: dict[str, int]) -> list[Any]:
        """What the block yields: values, then None for each token."""
        for argument, value in zip(block.args, arguments, strict=True):
            if is_tensor(argument.type):
                _bind_sizes(spec_of(argument.type), value, bindings)
        return self.block(block.first_op, dict(zip(block.args, arguments, strict=True)), bindings)

    def while_loop(self, op: While, operands: list[Any], bindings: dict[str, int]) -> list[Any]:
        n = op.n_carried.data
        carried, rest = operands[:n], operands[n : n + op.n_captured.data + op.n_handles.data]
        rows: list[list[Any]] = []
        count = 0
        while self.region(op.condition, [np.int32(count), *carried, *rest], bindings)[0]:
            yielded = self.region(op.body, [np.int32(count), *carried, *rest], bindings)
            carried = yielded[:n]
            rows.append(yielded[n : n + len(op.ys)])
            count += 1
        for result, value in zip(op.finals, carried, strict=True):
            _bind_sizes(spec_of(result.type), value, bindings)
        return [*carried, np.int32(count), *self.stacked(op, rows, range(count), bindings)]

    def scan(self, op: Scan, operands: list[Any], bindings: dict[str, int]) -> list[Any]:
        n, n_xs, counted = op.n_carried.data, op.n_xs.data, bool(op.counted.data)
        count = int(operands[0]) if counted else int(substitute(op.length.data, bindings)[0])
        carried, xs = operands[counted : n + counted], operands[n + counted : n + n_xs + counted]
        rest = operands[n + n_xs + counted :][: op.n_captured.data + op.n_handles.data]
        order = list(reversed(range(count)) if op.reverse.data else range(count))
        rows: list[list[Any]] = []
        for i in order:
            yielded = self.region(op.body, [np.int32(i), *carried, *(x[i] for x in xs), *rest], bindings)
            carried = yielded[:n]
            rows.append(yielded[n : n + len(op.ys)])
        return [*carried, *self.stacked(op, rows, order, bindings)]

    def stacked(self, op: Loop, rows: list[list[Any]], order: Sequence[int], bindings: dict[str, int]) -> list[Any]:
        """The ys: rows where their iterations say, and zeros. A length that may be chosen is chosen once for a run."""
        if not op.ys:
            return []
        name, count = op.open_length, len(rows)
        if name is not None and bindings.setdefault(name, self.lengths.setdefault(name, ROOM)) < count:
            raise _TooShort(name, count)
        length = substitute(op.length.data, bindings)
        made = []
        for k, spec in enumerate(op.ys_.data):
            y = np.zeros((*length, *substitute(spec.shape, bindings)), spec.dtype.numpy)
            for i, row in zip(order, rows, strict=True):
                y[i] = row[k]
            made.append(y)
        return made

    def call_op(self, op: Call, operands: list[Any]) -> list[Any]:
        func = self.functions.get(op.callee.data)
        if func is None:
            raise NotFound(f"the program has no function @{op.callee.data}")
        outputs: list[Any] = self.call(func, operands[: len(func.block.args)])
        return outputs + [None] * (len(op.results) - len(outputs))

    def island(self, op: Island, operands: list[Any], bindings: dict[str, int]) -> list[Any]:
        n_inputs, n_refs = op.n_inputs.data, op.n_refs.data
        names = operands[n_inputs : n_inputs + n_refs]
        values = [*operands[:n_inputs], *(self.value_of(name) for name in names)]
        yielded = self.block(op.block.first_op, dict(zip(op.block.args, values, strict=True)), bindings)
        n_results = len(op.results_.data)
        written = yielded[n_results : n_results + len(op.written.data)]
        for index, value in zip(op.written.data, written, strict=True):
            self.variables[names[index]] = np.array(value)
        return yielded[:n_results] + [None] * (len(op.results) - n_results)


def _bind(func: Func, arguments: list[Array]) -> dict[str, int]:
    """Check the arguments against the function's inputs and give each symbol its size."""
    block, names = func.block, func.arg_names.data
    if len(arguments) != len(block.args):
        raise InvalidArgument(
            f"@{func.sym_name.data} takes {len(block.args)} inputs ({', '.join(names)}), got {len(arguments)}"
        )
    bindings: dict[str, int] = {}
    for name, argument, value in zip(names, block.args, arguments, strict=True):
        want = spec_of(argument.type)
        fits = want.dtype.numpy == value.dtype and len(want.shape) == value.ndim
        if not fits or not all(match(d, n, bindings) for d, n in zip(want.shape, value.shape, strict=True)):
            raise InvalidArgument(f"input '{name}' must be {want}, got {value.dtype}{list(value.shape)}")
    return bindings


def _bind_sizes(spec: Spec, value: Array, bindings: dict[str, int]) -> None:
    for dim, size in zip(spec.shape, value.shape, strict=True):
        if isinstance(dim, SymbolicDim) and dim.text.isidentifier():
            bindings[dim.text] = size


def _attributes(op: Op, bindings: dict[str, int]) -> dict[str, Any]:
    """The op's attributes with sizes in the place of symbols."""
    values = op.values()
    for name, value in values.items():
        if type(value) is tuple and any(isinstance(d, SymbolicDim) for d in value):
            values[name] = substitute(value, bindings)
    return values


def _check(op: Op, results: Sequence[Array], bindings: dict[str, int]) -> None:
    """The results must have the types that `infer` promised."""
    for result, value in zip(op.results, results, strict=True):
        if is_tensor(result.type):
            promised = spec_of(result.type)
            want = Spec(substitute(promised.shape, bindings), promised.dtype)
            if (value.shape, value.dtype) != (want.shape, want.dtype.numpy):
                raise Internal(f"the result must be {want}, got {value.dtype}{list(value.shape)}")
