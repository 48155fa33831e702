"""A step: one clustered function, compiled for a device and bound to the variables that it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from dfc.backends import xla
from dfc.backends.kernels import kind_of
from dfc.backends.mesh import axes_of
from dfc.errors import NotFound
from dfc.ir import locations
from dfc.ir.collector import paused
from dfc.ir.ops.function import Func, Island
from dfc.ir.ops.state import Variable
from dfc.ir.sharding import Sharding
from dfc.passes.partition import parts_of
from dfc.passes.phases import Phase
from dfc.passes.specialize import specialize
from dfc.runtime.asking import request
from dfc.runtime.device_names import name_of
from dfc.runtime.dispatch import Direct, PlanRun, Values, run_once
from dfc.runtime.executor import Driving, Execution
from dfc.runtime.flow import Flow
from dfc.runtime.frames import execution_of
from dfc.runtime.host import Binding, host_op
from dfc.runtime.late import LateProgram
from dfc.runtime.memory import rooms_in
from dfc.runtime.meshes import divide_inputs
from dfc.runtime.placing import alone, lower
from dfc.runtime.plan import Plan, ProgramCall
from dfc.runtime.planning import emitted, label_of, plan_of
from dfc.runtime.programs import compile_module
from dfc.runtime.rendezvous import Rendezvous
from dfc.runtime.timeline import RECORDING
from dfc.runtime.variables import Device, StandIn, VariableState

Run = Callable[[Values], Values]


class Step:
    """A function with static inputs at phase `clustered`, compiled when it is made; no lock is held meanwhile.

    `step(feeds)` takes one `jax.Array` on `device` an input (NumPy arrays of `bytes` for strings), which it does not
    check, and returns one an output, not awaited. `run` is the same without the frame of `__call__`. Variables are
    given by the names that the function uses; those without a value get their initial one at the first call. `binding`
    is what ops of the host find, by default the variables alone. An island with sizes that are not known before it runs
    is compiled when it is called, once for each set of sizes. `around` gets each island and what runs it, and gives
    what to call instead. Calls from many threads are safe: each is one atomic read and update of an island's variables.
    Errors name the step.

    Raises NotFound for a variable that `variables` lacks, and what emission and XLA raise.
    """

    def __init__(
        self,
        func: Func,
        variables: Mapping[str, VariableState],
        device: Device | None = None,
        name: str | None = None,
        binding: Binding | None = None,
        around: Callable[[Island, Run], Run] | None = None,
    ) -> None:
        self.name = name or func.sym_name.data
        plan, islands, host_ops = plan_of(func)
        self.device = device or xla.default_device()
        binding = replace(binding or Binding(variables), device=self.device)
        runnable = [host_op(op, binding) for op in host_ops]
        known = [isinstance(call, ProgramCall) for call in plan.of_device]
        static = [island for island, known_now in zip(islands, known, strict=True) if known_now]
        modules = emitted(static, self.name, axes_of(self.device), kind_of(self.device))
        for needed in plan.variables:
            if needed not in variables:
                raise NotFound(f"the step needs a variable {needed!r}, which it was not given", op=self.name)
        self.executables = [
            compile_module(module, call.signature, self.device, self.name)
            for module, call in zip(modules, plan.programs, strict=True)
        ]
        self._bound = PlanRun(
            plan,
            self.executables,
            variables,
            self.name,
            runnable,
            self.device,
            where=["" if i.location is func.location else locations.describe(i.location) for i in islands],
            late=[
                LateProgram(island, variables, self.device, self.name, binding.memory)
                for island, static in zip(islands, known, strict=True)
                if not static
            ],
            outputs=func.result_names.data,
            around=_wrappers(binding, variables, islands, known, around),
            labels=[label_of(island, func) for island in islands],
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
    def is_direct(self) -> bool:
        """Whether the step is one program, whose arguments and results are the step's own."""
        return self._bound.is_direct

    @property
    def flow(self) -> Flow:
        """What the executor runs."""
        return self._bound.flow

    @property
    def plan(self) -> Plan:
        """What the step calls, in order."""
        return self._bound.plan

    @property
    def n_outputs(self) -> int:
        return len(self.plan.outputs)

    @property
    def output_devices(self) -> list[Device]:
        """Where each output is, but for strings."""
        return [self.device] * self.n_outputs

    @property
    def variables(self) -> list[str]:
        """The variables that the step reads or writes."""
        return self.plan.variables

    @property
    def kept(self) -> set[int]:
        """The inputs that may be used after the run."""
        return self.flow.kept

    def start(self) -> Driving:
        """A new run, to be fed and driven."""
        return self.execution()

    def execution(self, rendezvous: Rendezvous | None = None) -> Execution:
        """A new run, which meets those of other devices at the rendezvous."""
        return execution_of(self._bound.noting(name_of(self.device)) if RECORDING else self.flow, rendezvous)

    def recorded(self, feeds: Values) -> Values:
        """As `run`, by the executor in any case, so that timelines hear of it."""
        return [xla.placed(value, self.device) for value in run_once(self.start(), feeds)]


def _wrappers(
    binding: Binding,
    variables: Mapping[str, VariableState],
    islands: Sequence[Island],
    known: Sequence[bool],
    around: Callable[[Island, Run], Run] | None,
) -> Sequence[Callable[[Run], Run]]:
    """What is to be done around each island: to count the memory that loops keep, to hand over what stand-ins got."""
    if around is not None:
        return [partial(around, island) for island in islands]
    stand_ins = {name: state for name, state in variables.items() if isinstance(state, StandIn)}
    if binding.memory.limit is None and not stand_ins:
        return ()  # nobody asks

    def wrapper(island: Island, static: bool) -> Callable[[Run], Run]:
        counted = partial(binding.memory.around, needs=rooms_in(island) if static else ())
        owners = [ref.owner for ref in island.refs]
        given = [stand_ins.get(op.variable.data) for op in owners if isinstance(op, Variable)]
        states = [state for state in given if state is not None]
        return (lambda run: _handing_over(counted(run), states)) if states else counted

    return [wrapper(island, static) for island, static in zip(islands, known, strict=True)]


def _handing_over(run: Run, states: Sequence[StandIn]) -> Run:
    def handing_over(values: Values) -> Values:
        results = run(values)
        for state in states:
            state.hand_over()
        return results

    return handing_over


def standing_in(funcs: Sequence[Func], variables: Mapping[str, VariableState]) -> Mapping[str, VariableState]:
    """The variables, with stand-ins for those that the functions only give values to and that are not settled."""
    ops = [op for func in funcs for op in func.block.ops if isinstance(op, Variable)]
    found = {op.variable.data: state for op in ops if (state := variables.get(op.variable.data)) is not None}
    passing = {name: StandIn(s) for name, s in found.items() if not s.is_settled and not s.is_offloaded}
    return {**variables, **passing} if passing else variables


def clustered(program: ModuleOp, name: str, bindings: Mapping[str, int], **options: Any) -> Func:
    """The one function of `clustered_parts`, for use outside of this process: all variables are the device's, or the
    mesh's that it is then compiled for. Raises Unimplemented for one that is not on the first device alone."""
    return alone(clustered_parts(program, name, bindings, passes={Phase.CLUSTERED: "cluster"}, meshes=False, **options))


def clustered_parts(
    program: ModuleOp,
    name: str,
    bindings: Mapping[str, int],
    *,
    start: Phase = Phase.TRACE,
    passes: Mapping[Phase, str] = {},
    observers: Sequence[Any] = (),
    variables: Mapping[str, VariableState] = {},
    device: str = "",
    meshes: bool = True,
    divided: Sequence[Sharding | None] = (),
) -> list[Func]:
    """The function called `name` of a copy of `program`, which is at phase `start`: with its sizes fixed and after the
    default passes up to phase `clustered`, but for those in `passes`. The functions, one a device, that it has become.
    What asks for nothing asks for `device`, or else, unless `meshes` says no, for the mesh that something is divided
    over. `divided` says how inputs come."""
    with paused():
        copy = specialize(program, bindings)
        if divided:
            divide_inputs(copy, name, divided)
        if device:
            request(copy, device)
        lower(copy, start=start, passes=passes, observers=observers, variables=variables, meshes=meshes)
        return parts_of(copy, name)
