"""Rows D2 to D11: which device each op gets, and what is said where there is none."""

from __future__ import annotations

import inspect
import re
from typing import Any, ClassVar

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation
from xdsl.irdl import irdl_op_definition, operand_def, result_def

import dfc
from dfc.errors import DfcError, FailedPrecondition, Internal, InvalidArgument, Unimplemented
from dfc.ir import locations
from dfc.ir.builder import Builder, create
from dfc.ir.devices import ASSIGNED, COLOCATE, REQUEST, parse_full
from dfc.ir.dtypes import float32
from dfc.ir.op import Attributes, Effect, Op, Types
from dfc.ir.ops.function import Func, Return, single_block_region
from dfc.ir.ops.shape import DimSize
from dfc.ir.types import RefType, tensor_type
from dfc.passes.costs import Costs
from dfc.passes.place import Placement, place

TASK = "/job:a/replica:0/task:0"
CPU, GPU = f"{TASK}/device:CPU:0", f"{TASK}/device:GPU:0"
BOTH = [CPU, GPU]
F = tensor_type((2,), float32)
R = RefType(F)


class Tried(Op):
    """Base of the ops of these tests."""

    EFFECT: ClassVar = Effect.STATEFUL


class Generator(Tried):
    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        return (F,)


class Var(Tried):
    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        return (R,)


class Use(Tried):
    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        return (F,)


def op(base: type[Tried], name: str, devices: tuple[str, ...], operands: int) -> Any:
    body: dict[str, Any] = {"name": f"df.{name}", "__doc__": name, "result": result_def()}
    for index in range(operands):
        body[f"x{index}"] = operand_def()
    made: Any = irdl_op_definition(type(name, (base,), body))
    made.DEVICES = devices
    return made


BY = {"cpu": ("cpu",), "gpu": ("gpu",), "any": ("cpu", "gpu")}
VAR = {k: op(Var, f"variable_{k}", d, 0) for k, d in BY.items()}
ASSIGN = {k: op(Use, f"assign_{k}", d, 2) for k, d in BY.items()}
RELU = {k: op(Use, f"relu_{k}", d, 1) for k, d in BY.items()}
INPUT = {k: op(Generator, f"input_{k}", d, 0) for k, d in BY.items()}
NONE = op(Use, "nothing", (), 1)


class Made:
    """A function that is being made of these ops."""

    def __init__(self) -> None:
        region, self.block = single_block_region([])
        empty = {"sym_name": "main", "arg_names": (), "result_names": ()}
        self.func = create(Func, (), empty, location=locations.UNKNOWN, regions=[region])
        self.module = ModuleOp([self.func])
        self.line = 0

    def __call__(self, cls: Any, *operands: Operation, name: str = "", device: str = "", **more: str) -> Operation:
        self.line += 1
        annotations = {k: StringAttr(v) for k, v in {"name": name, REQUEST: device, **more}.items() if v}
        at = locations.file_location("model.py", self.line)
        build = Builder(self.block, location=at, annotations=annotations)
        return build.op(cls, *(o.results[0] for o in operands))

    def place(self, devices: list[str] | None = None, **options: Any) -> Placement:
        if not isinstance(self.block.last_op, Return):
            self.block.add_op(create(Return, (), location=locations.UNKNOWN))
        return place(self.func, [parse_full(d) for d in (BOTH if devices is None else devices)], **options)

    def fails(self, kind: type[DfcError] = InvalidArgument, **options: Any) -> str:
        with pytest.raises(kind) as raised:
            self.place(**options)
        assert type(raised.value) is kind
        return raised.value.diagnostic.message


@pytest.fixture
def make() -> Made:
    return Made()


def on(done: Placement, *ops: Operation) -> list[str]:
    return [str(done.of(o)) for o in ops]


# ---- D2: feasible sets


def test_d2_kernels_and_priority_decide_and_the_result_is_always_the_same(make: Made) -> None:
    ops = [make(INPUT[k]) for k in ("cpu", "gpu", "any")]
    ops += [make(RELU["any"], ops[0]), make(RELU["cpu"], ops[1])]
    expected = [CPU, GPU, GPU, GPU, CPU]
    more = [*BOTH, f"{TASK}/device:GPU:1", f"{TASK}/device:CPU:1"]
    for attempt in range(100):
        assert on(make.place(more[attempt % 4 :] + more[: attempt % 4]), *ops) == expected


def test_d2_an_op_without_kernel(make: Made) -> None:
    make(NONE, make(INPUT["any"]), name="n")
    message = make.fails()
    assert message.startswith(
        "Cannot assign a device for operation n: No OpKernel was registered to support Op 'nothing' used by "
        "{{colocation_node n}}"
    )


# ---- D3: groups


@pytest.mark.parametrize("variable", ["cpu", "gpu", "any"])
@pytest.mark.parametrize("assign", ["cpu", "gpu", "any"])
def test_d3_reference_connection(make: Made, variable: str, assign: str) -> None:
    x = make(INPUT["any"])
    v = make(VAR[variable], name="v")
    a = make(ASSIGN[assign], v, x, name="a")
    if {variable, assign} == {"cpu", "gpu"}:
        assert (
            "Cannot colocate nodes {{colocation_node a}} and {{colocation_node v}} because no device type supports "
            "both of those nodes and the other nodes colocated with them." in make.fails()
        )
    else:
        expected = CPU if "cpu" in (variable, assign) else GPU
        assert on(make.place(), v, a) == [expected, expected]


def test_d3_explicit_groups_intersect_requests(make: Made) -> None:
    a = make(INPUT["any"], **{COLOCATE: "loc:@a"})
    b = make(RELU["any"], a, device="/job:a", **{COLOCATE: "loc:@a loc:@c"})
    c = make(RELU["any"], b, device="/cpu:*", **{COLOCATE: "loc:@c"})
    d = make(RELU["any"], c)
    assert on(make.place(), a, b, c, d) == [CPU, CPU, CPU, GPU]


# ---- D4 and D8: requests


def test_d4_requests_are_strict(make: Made) -> None:
    x = make(INPUT["any"], device="/cpu:0")
    y = make(RELU["any"], x, device="/job:a/gpu:*")
    assert on(make.place(), x, y) == [CPU, GPU]
    make.block.erase_op(make.block.last_op)
    make(RELU["cpu"], y, device="/gpu:0", name="z")
    message = make.fails()
    assert "Could not satisfy explicit device specification '/device:GPU:0' because no supported kernel" in message
    assert "for GPU devices is available.\nRegistered kernels:\n  device='CPU'" in message


def test_d8_soft_placement_keeps_job_and_task(make: Made) -> None:
    x = make(INPUT["any"])
    y = make(RELU["cpu"], x, device="/job:b/task:0/gpu:0")
    z = make(RELU["any"], x, device="/job:b/gpu:3")
    other = "/job:b/replica:0/task:0/device"
    devices = [*BOTH, f"{other}:CPU:0", f"{other}:GPU:0"]
    done = make.place(devices, soft=True)
    assert on(done, y, z) == [f"{other}:CPU:0", f"{other}:GPU:0"]
    assert any("can't be heeded" in note for note in done.notes)


def test_d8_soft_placement_does_not_change_the_task(make: Made) -> None:
    make(INPUT["any"], device="/job:c/cpu:0", name="x")
    assert "was explicitly assigned to /job:c/device:CPU:0 but available devices are [ " in make.fails(soft=True)


def test_d8_failing_colocation_is_ignored_with_a_note(make: Made) -> None:
    x = make(INPUT["gpu"], **{COLOCATE: "loc:@x"})
    y = make(RELU["cpu"], x, **{COLOCATE: "loc:@x"})
    done = make.place(soft=True)
    assert on(done, x, y) == [GPU, CPU]
    assert any(note.startswith("Ignored: Cannot colocate nodes") for note in done.notes)


def test_d8_what_a_resource_asks_for_comes_first(make: Made) -> None:
    x = make(INPUT["any"])
    with dfc.Graph() as graph:
        with dfc.device("/cpu:0"):
            v = dfc.Variable(1.0, name="v")
        with dfc.device("/gpu:0"):
            v.assign_add(2.0)
    del x
    func = graph.func
    func.block.add_op(create(Return, (), location=locations.UNKNOWN))
    done = place(func, [parse_full(d) for d in BOTH], soft=True)
    found = {o.name: str(done.of(o)) for o in done.ops}
    assert found["df.variable"] == found["df.assign_add"] == CPU


# ---- D5 and D6: heuristics


def test_d5_a_generator_goes_with_its_users(make: Made) -> None:
    free, bound, shared = (make(INPUT[k]) for k in ("any", "gpu", "any"))
    v, w = make(VAR["cpu"]), make(VAR["gpu"])
    for generator in (free, bound):
        make(ASSIGN["any"], v, generator)
    make(ASSIGN["any"], v, shared)
    make(ASSIGN["any"], w, shared)
    assert on(make.place(), free, bound, shared) == [CPU, GPU, GPU]


def test_d6_what_asks_for_a_size_goes_with_its_input(make: Made) -> None:
    x = make(INPUT["cpu"])
    y = make(RELU["cpu"], x)
    size = Builder(make.block).op(DimSize, y.results[0], axis=0)
    z = make(RELU["any"], y)
    assert on(make.place(), y, size, z) == [CPU, CPU, GPU]


# ---- D7: what is placed stays


def test_d7_assigned_ops_do_not_move(make: Made) -> None:
    x = make(INPUT["any"], device="/gpu:0", **{ASSIGNED: CPU})
    assert on(make.place(), x) == [CPU]


def test_d7_assigned_where_there_is_no_kernel(make: Made) -> None:
    make(INPUT["cpu"], name="x", **{ASSIGNED: GPU})
    assert "does not have registered OpKernel support for input_cpu" in make.fails(Internal)


def test_d7_incompatible_assigned_devices(make: Made) -> None:
    v = make(VAR["any"], **{ASSIGNED: CPU})
    make(ASSIGN["any"], v, make(INPUT["any"]), **{ASSIGNED: GPU})
    assert (
        "Cannot place the graph because a reference or resource edge connects colocation groups with incompatible "
        f"assigned devices: {CPU} vs {GPU}" in make.fails()
    )


# ---- D9: errors, whole


def test_d9_colocation_whole_text(make: Made) -> None:
    v = make(VAR["cpu"], name="v", device="/cpu:0")
    make(ASSIGN["gpu"], v, make(INPUT["any"]), name="a")
    with pytest.raises(InvalidArgument) as raised:
        make.place()
    assert str(raised.value) == (
        "assign_gpu: Cannot assign a device for operation a: Cannot colocate nodes {{colocation_node a}} and "
        "{{colocation_node v}} because no device type supports both of those nodes and the other nodes colocated with "
        "them.\n"
        "Colocation Debug Info:\n"
        "Colocation group had the following types and supported devices:\n"
        "  variable_cpu: CPU\n"
        "  assign_gpu: GPU\n"
        "Colocation members, user-requested devices, and framework assigned devices, if any:\n"
        "  v (variable_cpu) /device:CPU:0 at model.py:1\n"
        "  a (assign_gpu) at model.py:3\n"
        "  at model.py:3"
    )


def test_d9_no_such_device(make: Made) -> None:
    make(INPUT["any"], name="x", device="/job:b")
    assert make.fails().startswith(
        "Cannot assign a device for operation x: {{colocation_node x}} was explicitly assigned to /job:b but available "
        f"devices are [ {CPU}, {GPU} ]. Make sure the device specification refers to a valid device.\n"
        "Colocation Debug Info:\n"
    )


def test_d9_a_group_that_needs_another_device(make: Made) -> None:
    v = make(VAR["cpu"], name="v")
    make(ASSIGN["any"], v, make(INPUT["any"]), name="a", device="/gpu:0")
    message = make.fails()
    assert "Could not satisfy explicit device specification" in message
    assert "was colocated with a group of nodes that required incompatible device" in message
    assert f"All available devices [ {CPU}, {GPU} ]." in message


def test_d9_conflicting_requests(make: Made) -> None:
    v = make(VAR["any"], name="v", device="/cpu:0")
    make(ASSIGN["any"], v, make(INPUT["any"]), name="a", device="/gpu:0")
    assert (
        "Cannot colocate nodes {{colocation_node a}} and {{colocation_node v}}: Cannot merge devices with incompatible "
        "types: '/device:CPU:0' and '/device:GPU:0'" in make.fails()
    )


def _line() -> int:
    return inspect.currentframe().f_back.f_lineno  # type: ignore[union-attr]


def _lines_of(error: DfcError, member: str) -> list[int]:
    """The lines of this file that the error gives for a member of a group."""
    return [int(n) for n in re.findall(rf"^  {member} \(.* at {re.escape(__file__)}:(\d+)", str(error), re.M)]


def test_d9_a_variable_is_at_the_line_that_made_it() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        with dfc.device("/cpu:1"):
            v = dfc.Variable(np.ones(2, np.float32), name="v")
            first = _line() - 1
        with dfc.device("/cpu:2"):
            w = dfc.Variable(np.ones(2, np.float32), name="w")
            second = _line() - 1
        with dfc.colocate_with(v), dfc.colocate_with(w):
            y = dfc.tanh(x)
        total = v + w + y
    strict = dfc.SessionConfig(soft_placement=False)
    with dfc.Session(graph, config=strict) as session, pytest.raises(InvalidArgument) as raised:
        session.run(total, {x: np.ones(2, np.float32)})
    assert "Cannot merge devices with incompatible ids" in str(raised.value)
    assert _lines_of(raised.value, "v") == [first]
    assert _lines_of(raised.value, "w") == [second]


def test_d9_in_functions_too_and_where_the_error_is_about_the_variable_alone() -> None:
    with dfc.device("/gpu:7"):
        v = dfc.Variable(np.ones(2, np.float32), name="w")
        made = _line() - 1

    @dfc.function
    def f() -> dfc.Tensor:
        return v + 1

    strict = dfc.SessionConfig(soft_placement=False)
    with dfc.Session(f, config=strict) as session, pytest.raises(InvalidArgument) as raised:
        session.run("output_0")
    assert "explicitly assigned to /device:GPU:7" in str(raised.value)
    assert str(raised.value.diagnostic.location).startswith(f"{__file__}:{made}:")
    assert _lines_of(raised.value, "w") == [made]


def test_d9_no_devices(make: Made) -> None:
    assert make.fails(FailedPrecondition, devices=[]) == "No devices are registered"


# ---- D10: the log


def test_d10_log_device_placement(capfd: pytest.CaptureFixture[str]) -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        y = dfc.identity(x * x, name="h")
    config = dfc.SessionConfig(log_device_placement=True)
    with dfc.Session(graph, config=config) as session:
        np.testing.assert_array_equal(session.run(y, {x: np.ones(2, np.float32)}), [1, 1])
    lines = capfd.readouterr().err.splitlines()
    assert lines and all(
        re.fullmatch(r"\S+: \(\w+\): /job:localhost/replica:0/task:0/device:[A-Z]+:\d+", line) for line in lines
    )


# ---- D11: by cost


def towers() -> Made:
    """Two chains that meet at the end."""
    made = Made()
    ends = []
    for _ in range(2):
        y = made(INPUT["any"])
        for _ in range(10):
            y = made(RELU["any"], y)
        ends.append(y)
    made(ASSIGN["any"], *ends, name="end")
    return made


def test_d11_two_towers_use_both_devices_and_the_estimate_adds_up() -> None:
    made = towers()
    two = [f"{TASK}/device:CPU:{i}" for i in range(2)]
    measured = {f"relu_any{'' if i == 0 else f'_{i}'}": 1e-3 for i in range(20)} | {"end": 1e-3}
    costs = Costs(measured=measured, latency=1e-4, link=1e9)
    done = made.place(two, costs=costs)
    assert done.expected is not None and {str(d) for d in done.used} == set(two)
    assert done.expected.transfers == 1 and done.expected.moved == 8
    assert done.expected.seconds == pytest.approx(11e-3 + 1e-4, rel=0.01)
    one = made.place(two[:1], costs=costs).expected
    assert one is not None and one.seconds == pytest.approx(21e-3, rel=0.01)
    assert str(done.expected).startswith("expected 11.1")


def test_d11_measured_times_are_of_a_type_of_device(make: Made) -> None:
    make(INPUT["any"], name="x")
    for on, seconds in (("CPU", 1e-3), ("GPU", 4e-3)):
        costs = Costs(measured={"x": 1e-3}, measured_on=on, speed={"GPU": 4.0})
        expected = make.place([CPU], costs=costs).expected
        assert expected is not None and expected.busy == {CPU: pytest.approx(seconds)}
    costs = Costs(measured={"x": 1e-3}, speed={"GPU": 4.0})
    expected = make.place([CPU, GPU], costs=costs).expected
    assert expected is not None and expected.busy == {GPU: pytest.approx(2.5e-4)}


def test_d11_dear_transfers_keep_all_on_one_device() -> None:
    two = [f"{TASK}/device:CPU:{i}" for i in range(2)]
    done = towers().place(two, costs=Costs(latency=1.0))
    assert len(done.used) == 1 and done.expected is not None and done.expected.transfers == 0


def test_d11_groups_and_requests_hold(make: Made) -> None:
    v = make(VAR["any"], device=f"{CPU}")
    a = make(ASSIGN["any"], v, make(INPUT["any"]))
    b = make(RELU["any"], a, device="/gpu:0")
    assert on(make.place(costs=Costs()), v, a, b) == [CPU, CPU, GPU]


# ---- what can't run yet says so


def test_d4_a_step_on_a_device_that_is_not_there() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        with dfc.device("/gpu:7"):
            y = x + x
    feeds = {x: np.ones(2, np.float32)}
    absent = "was explicitly assigned to /device:GPU:7 but available devices are"
    strict = dfc.SessionConfig(soft_placement=False)
    with dfc.Session(graph, config=strict) as session, pytest.raises(InvalidArgument, match=absent):
        session.run(y, feeds)
    with dfc.Session(graph) as session:
        np.testing.assert_array_equal(session.run(y, feeds), [2, 2])


def test_d4_a_step_runs_where_it_was_asked_for() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        a = dfc.tanh(x)
        with dfc.device("/cpu:2"):
            b = dfc.exp(a)
    with dfc.Session(graph) as session:
        np.testing.assert_allclose(session.run([a, b], {x: np.zeros(2, np.float32)}), [[0, 0], [1, 1]])

    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        with dfc.device("/cpu:1"):
            return x + 1

    once = f(np.zeros(2, np.float32))
    assert str(once._array.devices()) == "{CpuDevice(id=1)}"
    np.testing.assert_array_equal(f(once), [2, 2])


def test_d4_stablehlo_is_of_the_first_device() -> None:
    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        a = dfc.tanh(x)
        with dfc.device("/cpu:1"):
            return a + 1

    with pytest.raises(Unimplemented, match="a program outside of this process is on one device") as raised:
        f.lower(dfc.TensorSpec((2,), "float32"))
    assert "test_d2_d11_place.py" in str(raised.value)
    assert raised.value.diagnostic.hint == (
        "ask for one device only, /job:localhost/replica:0/task:0/device:CPU:0, or for none; or set DFC_CPU_DEVICES=1 "
        "in the environment, and what dfc.device asks for gives way to that device"
    )


def test_d5_constants_are_with_their_users_whatever_scope_made_them() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (), name="x")
        with dfc.device("/cpu:1"):
            y = x * 3.0
        with dfc.device("/cpu:0"), dfc.control_dependencies([y]):
            x * 3.0
    graph.func.block.add_op(create(Return, (), location=locations.UNKNOWN))
    done = place(graph.func, [parse_full(f"{TASK}/device:CPU:{i}") for i in range(2)])
    found = [(o.name, done.of(o).index) for o in done.ops if o.name != "df.constant"]
    assert found.count(("df.multiply", 0)) == found.count(("df.multiply", 1)) == 1
    assert ("df.after", 0) in found
