"""A step: one clustered function, compiled for a device and bound to the variables that it uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from dfc.backends import compile_cache, pipeline, xla
from dfc.backends.xla import Signature, Spec
from dfc.errors import NotFound
from dfc.ir import locations
from dfc.ir.collector import paused
from dfc.ir.op import Op
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.function import Func, Island, Return
from dfc.ir.ops.state import Variable
from dfc.ir.types import CONTROL, is_tensor, spec_behind
from dfc.passes.phases import Phase
from dfc.passes.specialize import specialize
from dfc.runtime.dispatch import Direct, PlanRun, Values
from dfc.runtime.host import Binding, host_op
from dfc.runtime.plan import HostCall, HostValue, Plan, ProgramCall
from dfc.runtime.programs import compile_module
from dfc.runtime.variables import Device, VariableState


class Step:
    """A static function at phase `clustered`, compiled when it is made; no lock is held meanwhile.

    `step(feeds)` takes one `jax.Array` on `device` an input (NumPy arrays of `bytes` for strings), which it does not
    check, and returns one an output, not awaited. `run` is the same without the frame of `__call__`. Variables are
    given by the names that the function uses; those without a value get their initial one at the first call. Calls
    from many threads are safe: each is one atomic read and update of an island's variables. Errors name the step.

    Raises NotFound for a variable that `variables` lacks, and what emission and XLA raise.
    """

    def __init__(
        self,
        func: Func,
        variables: Mapping[str, VariableState],
        device: Device | None = None,
        name: str | None = None,
    ) -> None:
        self.name = name or func.sym_name.data
        plan, islands, host_ops = plan_of(func)
        modules = emitted(islands, self.name)
        for needed in plan.variables:
            if needed not in variables:
                raise NotFound(f"the step needs a variable {needed!r}, which it was not given", op=self.name)
        self.device = device or xla.default_device()
        self.executables = [
            compile_module(module, call.signature, self.device, self.name)
            for module, call in zip(modules, plan.programs, strict=True)
        ]
        binding = Binding(variables)
        self._bound = PlanRun(
            plan,
            self.executables,
            variables,
            self.name,
            [host_op(op, binding) for op in host_ops],
            self.device,
            ["" if island.location is func.location else locations.describe(island.location) for island in islands],
        )
        self.run = self._bound.run

    def __call__(self, feeds: Values) -> Values:
        """One step; see the class."""
        return self.run(feeds)

    @property
    def direct(self) -> Direct | None:
        """What a call can do in its own frame, where that is possible: see `PlanRun.direct`."""
        return self._bound.direct

    @property
    def plan(self) -> Plan:
        """What the step calls, in order."""
        return self._bound.plan


def function_of(program: ModuleOp, name: str) -> Func:
    """The program's function called `name`. Raises NotFound."""
    for op in program.ops:
        if isinstance(op, Func) and op.sym_name.data == name:
            return op
    raise NotFound(f"the program has no function {name!r}")


def clustered(
    program: ModuleOp,
    name: str,
    bindings: Mapping[str, int],
    *,
    start: Phase = Phase.TRACE,
    observers: Sequence[Any] = (),
) -> Func:
    """The function called `name` of a copy of `program`, which is at phase `start`: with its sizes fixed and after the
    default passes up to phase `clustered`."""
    with paused():
        copy = specialize(program, bindings)
        pipeline.lower(copy, start=start, to=Phase.CLUSTERED, observers=observers)
        return function_of(copy, name)


def modules_of(func: Func, name: str) -> tuple[Plan, list[Any], list[Op]]:
    """A clustered function as its plan, a StableHLO module for each of the plan's programs, and the host's ops."""
    plan, islands, host_ops = plan_of(func)
    return plan, emitted(islands, name), host_ops


def emitted(islands: Sequence[Island], name: str) -> list[Any]:
    """The StableHLO modules of these islands."""
    from dfc.backends.stablehlo.emit import emit_island

    context = compile_cache.mlir_context()
    with paused():
        return [emit_island(island, context=context, name=name) for island in islands]


def plan_of(func: Func) -> tuple[Plan, list[Island], list[Op]]:
    """How to run a clustered function: the plan, the islands of its programs in order, and the host's ops."""
    numbers: dict[SSAValue, int] = {argument: i for i, argument in enumerate(func.block.args)}
    calls: list[ProgramCall | HostValue | HostCall] = []
    islands: list[Island] = []
    host_ops: list[Op] = []
    called: dict[SSAValue, int] = {}  # the call that gives each token
    for op in func.block.ops:
        if isinstance(op, Return | Variable):
            continue
        after = tuple(dict.fromkeys(called[o] for o in op.operands if o.type is CONTROL))
        called.update((result, len(calls)) for result in op.results if result.type is CONTROL)
        if isinstance(op, Island):
            calls.append(_program_call(op, numbers, after))
            islands.append(op)
        elif isinstance(op, ConstantOp):
            calls.append(HostValue(op.value.data.value))
        else:
            assert isinstance(op, Op), f"{op.name} is not an op of df"
            inputs = tuple(numbers[o] for o in op.operands if o in numbers)
            data = [result for result in op.results if result.type is not CONTROL]
            calls.append(HostCall(len(host_ops), inputs, len(data), after))
            host_ops.append(op)
        for result in op.results:
            if result.type is not CONTROL:
                numbers[result] = len(numbers)
    outputs = tuple(numbers[value] for value in func.outputs)
    return Plan(len(func.block.args), tuple(calls), outputs), islands, host_ops


def _static(spec_like: Any) -> Spec:
    spec = spec_behind(spec_like)
    return tuple(int(size) for size in spec.shape), spec.dtype.numpy  # emission needs static


def _program_call(island: Island, numbers: Mapping[SSAValue, int], after: tuple[int, ...]) -> ProgramCall:
    """How an island is called: `main` takes the written variables, then the others, then the inputs."""
    written = list(island.written.data)
    order = [*written, *(i for i in range(len(island.refs)) if i not in written)]
    refs = [island.refs[i] for i in order]
    results = [_static(ref.type) for ref in refs[: len(written)]]
    results += [_static(result.type) for result in island.results if is_tensor(result.type)]
    inputs = tuple(_static(value.type) for value in [*refs, *island.inputs])
    donated = {i: i for i in range(len(written))}
    signature = Signature(inputs, tuple(results), len(refs), len(written), donated)
    names = tuple(_variable_name(ref) for ref in refs)
    before = island.block.args[len(island.inputs) :]
    overwritten = tuple(i for i in range(len(written)) if before[order[i]].first_use is None)
    taken = tuple(numbers[value] for value in island.inputs)
    return ProgramCall(names, len(written), taken, signature, overwritten, after)


def _variable_name(ref: SSAValue) -> str:
    owner = ref.owner
    assert isinstance(owner, Variable), "a reference comes from df.variable"
    return owner.variable.data
