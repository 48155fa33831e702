"""A step: one clustered function, compiled for a device and bound to the variables that it uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from dfc.backends import compile_cache, pipeline, xla
from dfc.backends.xla import Signature, Spec
from dfc.errors import DfcError, NotFound, Unimplemented
from dfc.ir import locations
from dfc.ir.collector import paused
from dfc.ir.op import Effect, Op, short_name
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.function import Func, Island, Return
from dfc.ir.ops.state import Group, Variable
from dfc.ir.types import CONTROL, is_tensor, spec_behind
from dfc.passes.phases import Phase
from dfc.passes.specialize import specialize
from dfc.runtime.dispatch import Direct, HostOp, PlanRun, Values
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
        plan, modules, host_ops = modules_of(func, self.name)
        for needed in plan.variables:
            if needed not in variables:
                raise NotFound(f"the step needs a variable {needed!r}, which it was not given", op=self.name)
        self.device = device or xla.default_device()
        self.executables = [
            compile_module(module, call.signature, self.device, self.name)
            for module, call in zip(modules, plan.programs, strict=True)
        ]
        self._bound = PlanRun(plan, self.executables, variables, self.name, host_ops, self.device)
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


def modules_of(func: Func, name: str) -> tuple[Plan, list[Any], list[HostOp]]:
    """A clustered function as its plan, a StableHLO module for each of the plan's programs, and the host's ops."""
    from dfc.backends.stablehlo.emit import emit_island

    plan, islands, host_ops = plan_of(func)
    context = compile_cache.mlir_context()
    with paused():
        return plan, [emit_island(island, context=context, name=name) for island in islands], host_ops


def plan_of(func: Func) -> tuple[Plan, list[Island], list[HostOp]]:
    """How to run a clustered function: the plan, the islands of its programs in order, and the host's ops.

    Raises Unimplemented for ops on variables outside islands: those of variables that hold strings.
    """
    numbers: dict[SSAValue, int] = {argument: i for i, argument in enumerate(func.block.args)}
    calls: list[ProgramCall | HostValue | HostCall] = []
    islands: list[Island] = []
    host_ops: list[HostOp] = []
    for op in func.block.ops:
        if isinstance(op, Return | Variable | Group):
            continue
        if isinstance(op, Island):
            calls.append(_program_call(op, numbers))
            islands.append(op)
        elif isinstance(op, ConstantOp):
            calls.append(HostValue(op.value.data.value))
        else:
            assert isinstance(op, Op), f"{op.name} is not an op of df"
            host_ops.append(_host_op(op))
            calls.append(HostCall(len(host_ops) - 1, tuple(numbers[o] for o in op.operands), len(op.results)))
        for result in op.results:
            if result.type is not CONTROL:
                numbers[result] = len(numbers)
    outputs = tuple(numbers[value] for value in func.outputs)
    return Plan(len(func.block.args), tuple(calls), outputs), islands, host_ops


def _static(spec_like: Any) -> Spec:
    spec = spec_behind(spec_like)
    return tuple(int(size) for size in spec.shape), spec.dtype.numpy  # emission needs static


def _program_call(island: Island, numbers: Mapping[SSAValue, int]) -> ProgramCall:
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
    return ProgramCall(names, len(written), tuple(numbers[value] for value in island.inputs), signature)


def _variable_name(ref: SSAValue) -> str:
    owner = ref.owner
    assert isinstance(owner, Variable), "a reference comes from df.variable"
    return owner.variable.data


def _host_op(op: Op) -> HostOp:
    """A host op as a function on NumPy arrays; its errors name it and the user's line."""
    if op.EFFECT is not Effect.PURE:
        raise Unimplemented(
            "the host can't run ops on variables, and no device holds strings", op=short_name(op), location=_where(op)
        )
    evaluate, attributes = op.evaluate, op.values()

    def run(arrays: list[np.ndarray[Any, Any]]) -> Sequence[np.ndarray[Any, Any]]:
        try:
            return evaluate(arrays, attributes)
        except DfcError as error:
            raise error.at(op=short_name(op), location=_where(op)) from None

    return run


def _where(op: Op) -> str:
    return locations.describe(op.location)
