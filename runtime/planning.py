"""From a clustered function to a plan: which calls there are, what they take, and what each of them runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from xdsl.ir import SSAValue, Use

from dfc.backends import compile_cache
from dfc.backends.xla import Signature, Spec
from dfc.ir import locations
from dfc.ir.collector import paused
from dfc.ir.dims import is_static
from dfc.ir.op import Op
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.control import INDEX, ControlFlow
from dfc.ir.ops.convolution import Convolution
from dfc.ir.ops.elementwise import Select
from dfc.ir.ops.function import Func, Island, Return, Yield
from dfc.ir.ops.linalg import DotGeneral
from dfc.ir.ops.offload import Evict, Fetch
from dfc.ir.ops.state import Variable
from dfc.ir.sharding import Axes
from dfc.ir.types import CONTROL, is_tensor, spec_behind
from dfc.passes.capacities import guards
from dfc.passes.frames import ROOT, Frame, Frames, has_frames
from dfc.runtime.flow import Label
from dfc.runtime.plan import HostCall, HostValue, LateCall, Plan, ProgramCall

HEAVY = (DotGeneral, Convolution, ControlFlow)
LISTED = 3
"""How many kinds of ops a label names."""


def modules_of(func: Func, name: str, mesh: Axes = (), kind: str = "") -> tuple[Plan, list[Any], list[Op]]:
    """A clustered function as its plan, a StableHLO module for each of the plan's programs, and the host's ops."""
    plan, islands, host_ops = plan_of(func)
    return plan, emitted(islands, name, mesh, kind), host_ops


def emitted(
    islands: Sequence[Island],
    name: str,
    mesh: Axes = (),
    kind: str = "",
    handed_over: Mapping[int, int] | None = None,
) -> list[Any]:
    """The StableHLO modules of these islands, for one device or a mesh of these axes, of a kind ("cpu", "gpu", "tpu")
    whose second kernels they may have, or for any. `handed_over` is as of `program_call`."""
    from dfc.backends.kernels import table_for
    from dfc.backends.stablehlo.emit import emit_island

    context, table = compile_cache.mlir_context(), table_for(kind)
    with paused():
        return [
            emit_island(
                island,
                context=context,
                name=name,
                mesh=mesh,
                table=table,
                alike=(handed_over_in(island) if handed_over is None else handed_over) if mesh else {},
            )
            for island in islands
        ]


def plan_of(func: Func) -> tuple[Plan, list[Island], list[Op]]:
    """How to run a clustered function: the plan, its islands in order, and the host's ops."""
    numbers: dict[SSAValue, int] = {argument: i for i, argument in enumerate(func.block.args)}
    calls: list[ProgramCall | LateCall | HostValue | HostCall] = []
    islands: list[Island] = []
    host_ops: list[Op] = []
    called: dict[SSAValue, int] = {}  # the call that gives each token
    ops = [op for op in func.block.ops if not isinstance(op, Return | Variable)]
    for op in ops:  # all at first: a merge takes values of later calls
        for result in op.results:
            if result.type is not CONTROL:
                numbers[result] = len(numbers)
    frames = Frames(func.block) if has_frames(func.block) else None
    for op in ops:
        after = tuple(dict.fromkeys(called[o] for o in op.operands if o.type is CONTROL))
        called.update((result, len(calls)) for result in op.results if result.type is CONTROL)
        frame = ROOT if frames is None else frames.of(op)
        if isinstance(op, Island):
            calls.append(island_call(op, numbers, after, frame))
            islands.append(op)
        elif isinstance(op, ConstantOp):
            calls.append(HostValue(op.value.data.value))
        else:
            assert isinstance(op, Op), f"{op.name} is not an op of df"
            inputs = tuple(numbers[o] for o in op.operands if o in numbers)
            data = [result for result in op.results if result.type is not CONTROL]
            calls.append(HostCall(len(host_ops), inputs, len(data), after, frame))
            host_ops.append(op)
    outputs = tuple(numbers[value] for value in func.outputs)
    return Plan(len(func.block.args), tuple(calls), outputs), islands, host_ops


def label_of(island: Island, func: Func) -> Callable[[], Label]:
    """What says in short what is in an island of the function: the kinds of ops that take long, then the commonest
    ones, and how many ops it has; and the user's line of the first op of the kind that is named first. They are counted
    now, since the island is not kept."""
    ops = [op for op in island.block.ops if type(op) is not Yield]
    kinds = Counter(type(op) for op in ops)
    first = {type(op): op.location for op in reversed(ops)}
    # an operation at once is at the line of the call that its program was made for, and may serve others
    shared = locations.is_own(func.location)

    def label() -> Label:
        order = sorted(kinds, key=lambda kind: (not issubclass(kind, HEAVY), -kinds[kind]))
        names = [kind.name.removeprefix("df.") for kind in order]
        text = f"{', '.join(names[:LISTED])} ({len(ops)} ops)" if len(ops) > 1 else "".join(names)
        lines = (locations.describe(first[kind]) for kind in order)
        return Label(text, "" if shared else next(filter(None, lines), ""))

    return label


def _static(spec_like: Any) -> Spec:
    spec = spec_behind(spec_like)
    return tuple(int(size) for size in spec.shape), spec.dtype.numpy  # emission needs static


class _State(NamedTuple):
    """The variables of an island, the `n_written` that it writes first, and which of these need no value before."""

    refs: list[SSAValue]
    n_written: int
    overwritten: tuple[int, ...]

    @classmethod
    def of(cls, island: Island) -> _State:
        written = list(island.written.data)
        order = [*written, *(i for i in range(len(island.refs)) if i not in written)]
        before = island.block.args[len(island.inputs) :]
        overwritten = tuple(i for i in range(len(written)) if all(map(_keeps_old, before[order[i]].uses)))
        return cls([island.refs[i] for i in order], len(written), overwritten)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(map(_variable_name, self.refs))


def _keeps_old(use: Use) -> bool:
    """Whether a variable's old value is used only in case that a loop had too little room."""
    op, block = use.operation, use.operation.parent
    return isinstance(op, Select) and use.index == 2 and block is not None and guards(op)


def island_call(
    island: Island, numbers: Mapping[SSAValue, int], after: tuple[int, ...] = (), frame: Frame = ROOT
) -> ProgramCall | LateCall:
    """How an island is called."""
    data = [result.type for result in island.results if is_tensor(result.type)]
    types = [*data, *(value.type for value in island.inputs)]
    if not island.needed and all(is_static(spec_behind(type).shape) for type in types):
        return program_call(island, numbers, after, frame)
    state = _State.of(island)
    taken = tuple(numbers[value] for value in island.inputs)
    return LateCall(state.names, state.n_written, taken, len(data), state.overwritten, after, frame)


def program_call(
    island: Island,
    numbers: Mapping[SSAValue, int],
    after: tuple[int, ...] = (),
    frame: Frame = ROOT,
    handed_over: Mapping[int, int] | None = None,
) -> ProgramCall:
    """How an island is called whose sizes are all known: `main` takes the written variables, then the others, then the
    inputs, and gives the variables' new values, the results, the numbers of iterations of loops. `handed_over` is what
    the function of that name says, for an island that is a copy of one in a function."""
    state = _State.of(island)
    n = state.n_written
    results = [_static(ref.type) for ref in state.refs[:n]]
    results += [_static(result.type) for result in island.results if is_tensor(result.type)]
    results += [_static(INDEX)] * len(island.needed)
    inputs = tuple(_static(value.type) for value in [*state.refs, *island.inputs])
    donated = {i: i for i in range(n)} | dict(handed_over_in(island) if handed_over is None else handed_over)
    signature = Signature(inputs, tuple(results), len(state.refs), n, donated)
    taken = tuple(numbers[value] for value in island.inputs)
    return ProgramCall(state.names, n, taken, signature, state.overwritten, after, frame)


def handed_over_in(island: Island) -> dict[int, int]:
    """By argument, the result that takes its memory over: what was fetched of variables in the host's memory, which
    only the island has, and their new values."""
    n_refs, n_written = len(island.refs), len(island.written.data)
    new: dict[SSAValue, int] = {}
    for index, result in enumerate(island.results):
        for use in result.uses:
            if isinstance(use.operation, Evict) and (ref := use.operation.in_place_of(result)) is not None:
                new[ref] = n_written + index
    before = {}
    for index, value in enumerate(island.inputs):
        if isinstance(value.owner, Fetch) and not value.owner.on_host.data:
            before[n_refs + index] = value.owner.ref_of(value)
    return {argument: new[ref] for argument, ref in before.items() if ref in new}


def _variable_name(ref: SSAValue) -> str:
    owner = ref.owner
    assert isinstance(owner, Variable), "a reference comes from df.variable"
    return owner.variable.data
