"""Random functions of device and host ops: the same values, no path back into an island, and as few as can be."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import BlockArgument, Operation, SSAValue

import dfc
from dfc.backends import reference
from dfc.ir.dtypes import as_dtype
from dfc.ir.locations import UNKNOWN, describe
from dfc.ir.ops.elementwise import Add, Compare, Select, Tanh
from dfc.ir.ops.function import Func, Island
from dfc.ir.ops.state import Assign, AssignAdd, AssignSub, Group, Read
from dfc.ir.types import spec_of
from dfc.passes.cluster import cluster
from dfc.passes.compilable import compilable
from dfc.passes.phases import Phase, check_gate
from dfc.passes.verify import verify
from tests.programs import Trace

SEEDS = range(80)


def func_of(program: ModuleOp) -> Func:
    (func,) = (op for op in program.ops if isinstance(op, Func))
    return func


def islands(program: ModuleOp) -> list[Island]:
    return [op for op in func_of(program).block.ops if isinstance(op, Island)]


class Programs:
    """Makes a random function of float32[2], bool[2] and string[2] values, with two variables whose effects are in
    order as a trace would have them, and, for strings, ops that only a host can run."""

    def __init__(self, seed: int, hosts: bool) -> None:
        self.choose = random.Random(seed)
        self.trace = Trace({"x": ((2,), "float32"), "y": ((2,), "float32"), "s": ((2,), "string")})
        x, y, s = self.trace.inputs
        self.floats, self.strings, self.bools = [x, y], [s], list[SSAValue]()
        self.refs = [self.trace.variable(name, (2,), "float32") for name in ("w", "u")]
        self.last: list[list[SSAValue]] = [[], []]  # the tokens that the next write waits for
        self.write: list[list[SSAValue]] = [[], []]
        for _ in range(self.choose.randrange(4, 25)):
            self.step(hosts)
        outputs = self.choose.choices([*self.floats, *self.strings, *self.bools], k=3)
        tokens = [t for last in self.last for t in last]
        if self.choose.randrange(2) and tokens:
            tokens = [self.trace(Group, *tokens)]
        self.program = self.trace.finish(outputs, tokens)

    def step(self, hosts: bool) -> None:
        pick, trace = self.choose.choice, self.trace
        match self.choose.randrange(8 if hosts else 6):
            case 0:
                self.floats.append(trace(Add, pick(self.floats), pick(self.floats)))
            case 1:
                self.floats.append(trace(Tanh, pick(self.floats)))
            case 2:
                self.bools.append(trace(Compare, pick(self.floats), pick(self.floats), direction="LT"))
            case 3:
                self.floats.append(trace.constant([1.5, -2.0], "float32"))
            case 4:
                k = self.choose.randrange(2)
                read = trace.op(Read, self.refs[k], *self.write[k])
                self.floats.append(read.value)
                self.last[k].append(read.token)
            case 5:
                k = self.choose.randrange(2)
                kind = pick([Assign, AssignAdd, AssignSub])
                token = trace(kind, self.refs[k], pick(self.floats), *self.last[k])
                self.last[k], self.write[k] = [token], [token]
            case 6:
                self.bools.append(trace(Compare, pick(self.strings), pick(self.strings), direction="EQ"))
                self.floats.append(trace(Select, self.bools[-1], pick(self.floats), pick(self.floats)))
            case 7:
                pred = pick(self.bools) if self.bools else trace.constant([True, False], "bool")
                other = trace.constant(np.array([b"a", b"b"], object), "string")
                self.strings.append(trace(Select, pred, pick(self.strings), other))


def fewest_islands(func: Func) -> int:
    """How many islands any clustering needs: the most runs of device ops, parted by host ops, on a path."""
    runs: dict[Operation, int] = {}  # the most on a path to and with this op
    closed: dict[Operation, bool] = {}  # True where a later device op on such a path starts another run
    for op in func.block.ops:
        before = [operand.owner for operand in op.operands if isinstance(operand.owner, Operation)]
        if compilable(op):
            runs[op] = max([1, *(runs[b] + closed[b] for b in before)])
            closed[op] = False
        else:
            runs[op] = max([0, *(runs[b] for b in before)])
            neutral = op.name in ("df.group", "df.variable")
            closed[op] = any(closed[b] and runs[b] == runs[op] for b in before) if neutral else True
    return max(runs.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_clustering_keeps_values_and_state(seed: int) -> None:
    program = Programs(seed, hosts=True).program
    arguments: list[Any] = [
        np.array([0.5, -1.0], np.float32),
        np.array([2.0, 0.25], np.float32),
        np.array([b"a", b"c"], object),
    ]
    variables = {"w": np.array([1.0, 2.0], np.float32), "u": np.array([-1.0, 0.0], np.float32)}
    outputs, state = reference.run(program, arguments, variables)
    needed = fewest_islands(func_of(program))
    cluster(program)
    verify(program)  # each operand is made before it is used, so no path leads back into an island
    check_gate(program, Phase.CLUSTERED)
    clustered_outputs, clustered_state = reference.run(program, arguments, variables)
    for a, b in zip(outputs, clustered_outputs, strict=True):
        np.testing.assert_array_equal(a, b)
    for name, value in state.items():
        np.testing.assert_array_equal(value, clustered_state[name])
    assert len(islands(program)) <= max(needed, 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_host_ops_there_is_one_island(seed: int) -> None:
    program = Programs(seed, hosts=False).program
    work = [op for op in func_of(program).block.ops if compilable(op)]
    counts = cluster(program)
    assert counts["islands"] == len(islands(program)) <= 1
    assert counts["islands"] == 1 or all(op.name == "df.constant" for op in work)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_op_keeps_a_position(seed: int) -> None:
    program = Programs(seed, hosts=True).program
    cluster(program)
    assert all(describe(op.location) for op in func_of(program).walk())
    for island in islands(program):
        assert all(a.location != UNKNOWN for a in island.block.args if spec_of(a.type).dtype == as_dtype("bool"))


def test_an_update_keeps_its_line_and_name() -> None:
    trace = Trace({"x": ((2,), "float32")})
    w = trace.variable("w", (2,), "float32")
    trace.at(7)
    program = trace.finish([], [trace(AssignSub, w, trace.inputs[0])])
    cluster(program)
    (island,) = islands(program)
    subtract = island.block.first_op
    assert subtract is not None
    assert (subtract.name, describe(subtract.location)) == ("df.subtract", "model.py:7:1")


def test_clustering_twice_changes_nothing() -> None:
    program = Programs(3, hosts=True).program
    cluster(program)
    text = str(program)
    assert cluster(program) == {"islands": 0, "ops in them": 0}
    assert str(program) == text


def test_unordered_writes_keep_the_blocks_order() -> None:
    """Nothing orders the two writes, so any order is right; the block's is taken."""
    trace = Trace({"x": ((2,), "float32"), "y": ((2,), "float32")})
    w = trace.variable("w", (2,), "float32")
    x, y = trace.inputs
    program = trace.finish([], [trace(Assign, w, x), trace(Assign, w, y)])
    cluster(program)
    (island,) = islands(program)
    assert island.written.data == (0,)
    (value,) = island.block.last_op.operands  # type: ignore[union-attr]
    assert isinstance(value, BlockArgument)
    assert island.operands[value.index] is func_of(program).block.args[1]


TOGETHER_AND_EACH_ALONE = pytest.mark.parametrize("together", [True, False])
ROUNDS = (0, 3, 40, 100)  # 32 is what there is room for at first


def twisted(x: dfc.Tensor, n: dfc.Tensor) -> dfc.Tensor:
    """A loop whose gradient needs what it had in each of its n iterations."""
    return dfc.fori_loop(0, n, lambda i, h: dfc.sin(h) + h * 0.5, x)


def slopes(x: np.ndarray[Any, Any], n: int) -> list[np.ndarray[Any, Any]]:
    """The first and second derivatives of `twisted`, by the chain rule."""
    first, second = np.ones_like(x), np.zeros_like(x)
    for _ in range(n):
        slope, x, bend = np.cos(x) + 0.5, np.sin(x) + x * 0.5, -np.sin(x)
        first, second = first * slope, second * slope + bend * first**2
    return [first, second]


@TOGETHER_AND_EACH_ALONE
def test_a_loop_that_is_given_how_many_iterations_it_has_is_with_what_says_how_many_it_needed(together: bool) -> None:
    with dfc.Graph() as graph:
        x, n = dfc.placeholder("float64", (3,), name="x"), dfc.placeholder("int32", (), name="n")
        found = dfc.gradients(dfc.sum(twisted(x, n)), [x])
    values = np.array([0.5, 0.75, 1.0])
    with dfc.Session(graph, config=dfc.SessionConfig(cluster=together)) as session:
        for rounds in ROUNDS:
            (slope,) = session.run(found, {x: values, n: rounds})
            np.testing.assert_allclose(slope, slopes(values, rounds)[0], rtol=1e-9)


@TOGETHER_AND_EACH_ALONE
@pytest.mark.parametrize("counted", [True, False])
def test_a_loop_that_runs_after_a_wait_is_with_what_says_how_many_iterations_it_needed(
    counted: bool, together: bool
) -> None:
    """It reads a variable and is used after the wait, so it runs after it; the count is there before."""
    values = np.array([0.5, 0.75, 1.0])
    with dfc.Graph() as graph:
        queue, n = dfc.FIFOQueue(4, ["float64"], [()]), dfc.placeholder("int32", (), name="n")
        put = queue.enqueue([dfc.asarray(np.float64(2.0))])
        x = dfc.Variable(values, name="x").read()
        if counted:
            y = twisted(x, n)
        else:
            _, y = dfc.while_loop(lambda i, h: i < n, lambda i, h: (i + 1, dfc.sin(h) + h * 0.5), (0, x))
        found, init = dfc.gradients(dfc.sum(y) * queue.dequeue(), [x]), dfc.initialize_all()
    with dfc.Session(graph, config=dfc.SessionConfig(cluster=together)) as session:
        session.run(init)
        for rounds in ROUNDS:
            session.run(put)
            (slope,) = session.run(found, {n: rounds}, timeout=60)
            np.testing.assert_allclose(slope, 2 * slopes(values, rounds)[0], rtol=1e-9)


@TOGETHER_AND_EACH_ALONE
def test_a_loop_that_a_checkpoint_computes_again_has_a_length_of_its_own(together: bool) -> None:
    with dfc.Graph() as graph:
        x, n = dfc.placeholder("float64", (3,), name="x"), dfc.placeholder("int32", (), name="n")
        slope = dfc.checkpoint(lambda x: dfc.gradients(dfc.sum(twisted(x, n)), [x])[0])(x)
        bend = dfc.gradients(dfc.sum(slope), [x])[0]
    values = np.array([0.5, 0.75, 1.0])
    with dfc.Session(graph, config=dfc.SessionConfig(cluster=together)) as session:
        for rounds in ROUNDS:
            found = session.run([slope, bend], {x: values, n: rounds})
            np.testing.assert_allclose(found, slopes(values, rounds), rtol=1e-9)


def test_ops_that_are_islands_by_themselves_take_what_tells_their_sizes() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (), name="x")
        _, y = dfc.while_loop(lambda i, a: a < 9, lambda i, a: (i + 1, a * a + 1), (0, x))
        slope = dfc.gradients(y, [x])[0]
    found = []
    for config in (dfc.SessionConfig(), dfc.SessionConfig(cluster=False)):
        with dfc.Session(graph, config=config) as session:
            found.append(session.run([y, slope], {x: np.float32(0.5)}))
    assert found[0] == found[1]
