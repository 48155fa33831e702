"""`dfc.Graph`: a program, traced from a function or built by hand."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import ref

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, SSAValue

from dfc.errors import FailedPrecondition, NotFound
from dfc.frontend import names
from dfc.frontend.graph_trace import GraphTrace
from dfc.frontend.interior import Interior
from dfc.frontend.operation import Operation
from dfc.frontend.structure import LEAF, Structure
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace, activity, set_current
from dfc.ir.op import Op, short_name
from dfc.ir.ops.function import Func, Return
from dfc.ir.text import print_program
from dfc.ir.types import CONTROL, RefType, Spec, is_tensor, spec_of
from dfc.passes.manager import did_you_mean

if TYPE_CHECKING:
    from dfc.frontend.resources import Resource
    from dfc.frontend.variable import Variable

_entered: ContextVar[tuple[tuple[Any, Any], ...]] = ContextVar("dfc_entered_graphs", default=())


class Graph:
    """A program: `func` in `module`, at phase `trace`. Passes and steps work on copies. `str(graph)` is its text.

    `with dfc.Graph() as g:` makes one by hand: operations inside become part of it, placeholders stand for what steps
    are fed, variables made inside belong to it (their values to sessions), and only `dfc.control_dependencies` order
    effects. It can be entered again, and grow while sessions run it; two threads must not build one graph at once.
    `function.graph(...)` is the trace of a function for one signature, which is complete.

    `variables` are the variables used, by their names in the graph, `resources` the queues and the like.
    """

    module: ModuleOp
    func: Func
    variables: Mapping[str, Variable]
    resources: Mapping[str, Resource]
    structure: Structure
    """The nest of the results of a traced function; see `Structure.to_json`."""

    def __init__(self) -> None:
        trace = GraphTrace()
        self.trace: Trace = trace
        trace.graph = ref(self)
        self.func, self.structure = trace.func, LEAF
        self._take_from(trace)

    @classmethod
    def traced(cls, trace: Trace, func: Func, structure: Structure) -> Graph:
        """The graph of a function whose trace has ended."""
        self = object.__new__(cls)
        self.trace, self.structure = trace, structure
        self.func = func
        self._take_from(trace)
        return self

    def _take_from(self, trace: Trace) -> None:
        program = trace.program
        self.module, self.variables, self.resources = program.module, program.variables, program.resources
        self._unfeedable: set[SSAValue] = set()
        self._unfetchable: set[SSAValue] = set()

    # ---- building it

    def __enter__(self) -> Graph:
        if not isinstance(self.trace, GraphTrace):
            raise FailedPrecondition(f"the graph of the function {self.name!r} is complete: nothing can be added")
        activity.count += 1
        _entered.set((*_entered.get(), (set_current(self.trace), names.enter_fresh_scope())))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        *outer, (token, scope) = _entered.get()
        _entered.set(tuple(outer))
        names.leave_fresh_scope(scope)
        token.var.reset(token)
        activity.count -= 1

    def prevent_feeding(self, tensor: Tensor) -> None:
        """Make feeding the tensor an error."""
        self._unfeedable.add(self.value_of(tensor))

    def is_feedable(self, tensor: Tensor) -> bool:
        """Whether steps may give the tensor another value."""
        return self.may_be_fed(self.value_of(tensor))

    def prevent_fetching(self, tensor: Tensor) -> None:
        """Make fetching the tensor an error."""
        self._unfetchable.add(self.value_of(tensor))

    def is_fetchable(self, tensor: Tensor) -> bool:
        """Whether steps may return the tensor."""
        return self.may_be_fetched(self.value_of(tensor))

    # ---- what it has

    @property
    def name(self) -> str:
        return self.func.sym_name.data

    @property
    def input_names(self) -> list[str]:
        return list(self.func.arg_names.data)

    @property
    def output_names(self) -> list[str]:
        return list(self.func.result_names.data)

    @property
    def input_specs(self) -> list[Spec]:
        return [spec_of(argument.type) for argument in self.func.block.args]

    @property
    def output_specs(self) -> list[Spec]:
        return [spec_of(value.type) for value in self.func.outputs]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added yet."""
        return self.func.block.first_op is None

    def tensor(self, name: str) -> Tensor:
        """The tensor called `scope/op`, or `scope/op:k` for result k of an op; an input or output of a traced function
        by its name. Raises NotFound."""
        value = self.named_value(name)
        if not is_tensor(value.type):
            raise NotFound(f"{name!r} is an operation without results, no tensor", hint="use graph.operation(name)")
        return Tensor(value.type, self.trace, value)

    def operation(self, name: str) -> Operation:
        """The operation with an effect called `scope/op`, such as a write. Raises NotFound."""
        op = self.trace.names.op_called(name)
        tokens = [] if op is None else [result for result in op.results if result.type is CONTROL]
        if not tokens:
            raise NotFound(f"there is no operation with an effect called {name!r} in the graph {self.name!r}")
        return Operation(tokens[0], self.trace, name)

    def named_value(self, name: str) -> SSAValue:
        """The value that `tensor` finds, or the token of an operation without results. Raises NotFound."""
        if isinstance(self.func.block.last_op, Return):
            for known, values in ((self.output_names, self.func.outputs), (self.input_names, self.func.block.args)):
                if name in known:
                    return values[known.index(name)]
        base, _, index = name.partition(":")
        op = self.trace.names.op_called(base)
        results: list[SSAValue] = [] if op is None else [r for r in op.results if r.type is not CONTROL]
        if op is not None and not results and not index:
            return op.results[0]
        k = int(index) if index.isdecimal() else 0 if not index else -1
        if not 0 <= k < len(results) or isinstance(results[k].type, RefType):
            known = [*self.input_names, *self.output_names, *self.trace.names.all()]
            raise NotFound(
                f"there is no tensor called {name!r} in the graph {self.name!r}",
                hint=did_you_mean(name, known[:1000], "names"),
            )
        return results[k]

    def value_of(self, tensor: Tensor) -> SSAValue:
        """The tensor's value. Raises what the trace raises for a tensor of another."""
        trace = tensor._trace
        while isinstance(trace, Interior):
            trace = trace.outside
        if trace is not self.trace:
            raise NotFound(f"the tensor {tensor!r} is not an element of the graph {self.name!r}")
        return tensor._value

    def name_of(self, value: SSAValue) -> str:
        return self.trace.names.of(value)

    def may_be_fed(self, value: SSAValue) -> bool:
        return is_tensor(value.type) and value not in self._unfeedable and self.op_around(value) is None

    def may_be_fetched(self, value: SSAValue) -> bool:
        return value not in self._unfetchable and self.op_around(value) is None

    def op_around(self, value: SSAValue) -> str | None:
        """What the value is inside of, such as a branch, which runs never, once or many times in a step."""
        block = value.owner if isinstance(value.owner, Block) else value.owner.parent
        if block is self.func.block:
            return None
        around = None if block is None else block.parent_op()
        return short_name(around) if isinstance(around, Op) else "a region"

    def __str__(self) -> str:
        return print_program(self.module, locations=False)

    def __repr__(self) -> str:
        n_ops = sum(1 for _ in self.func.block.ops)
        return f"<dfc.Graph {self.name!r}: {n_ops} ops, {len(self.variables)} variables>"
