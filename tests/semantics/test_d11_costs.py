"""Row D11: sessions that place by costs, what they expect, and what measuring gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest

import dfc
from dfc.errors import DfcError, FailedPrecondition, InvalidArgument, InvalidType
from dfc.ir.devices import local
from tests.device_support import CPUS

BY_COSTS = dfc.SessionConfig(placement="costs")
STEPS, BATCH, UNITS = 256, 4, 32


class Towers(NamedTuple):
    """Two recurrences over sequences of their own; the loss wants their ends to be alike."""

    graph: dfc.Graph
    loss: dfc.Tensor
    gradients: list[Any]
    train: dfc.Operation
    init: dfc.Operation
    feeds: dict[Any, Any]
    variables: list[dfc.Variable]


def towers() -> Towers:
    random = np.random.default_rng(0)
    variables, feeds, ends = [], {}, []
    with dfc.Graph() as graph:
        for tower in range(2):
            start = random.standard_normal((UNITS, UNITS)) / np.sqrt(UNITS)
            w = dfc.Variable(start.astype(np.float32), name=f"w{tower}")
            x = dfc.placeholder("float32", (STEPS, BATCH, UNITS), name=f"x{tower}")

            def row(h: Any, x: Any, w: Any = w) -> Any:
                h = dfc.tanh(x + h @ w)
                return h, h

            end, _ = dfc.scan(row, dfc.zeros((BATCH, UNITS)), x)
            variables.append(w)
            ends.append(end)
            feeds[x] = random.standard_normal((STEPS, BATCH, UNITS)).astype(np.float32)
        loss = dfc.mean((ends[0] @ dfc.matrix_transpose(ends[1]) - 1.0) ** 2)
        gradients = dfc.gradients(loss, variables)
        train, init = dfc.train.SGD(0.01).minimize(loss), dfc.initialize_all()
    return Towers(graph, loss, gradients, train, init, feeds, variables)


def error(kind: type[DfcError], call: Any) -> str:
    with pytest.raises(kind) as raised:
        call()
    assert type(raised.value) is kind
    return str(raised.value)


# ---- asking for it


def test_d11_what_a_config_takes() -> None:
    assert error(InvalidArgument, lambda: dfc.SessionConfig(placement="cost")) == (
        "SessionConfig: placement must be 'rules' or 'costs', got 'cost'"
    )
    assert error(InvalidType, lambda: dfc.SessionConfig(placement="costs", costs={"scan": 1.0})) == (  # type: ignore[arg-type]
        "SessionConfig: costs must be dfc.Costs, got {'scan': 1.0}"
    )
    assert error(InvalidArgument, lambda: dfc.SessionConfig(costs=dfc.Costs())) == (
        "SessionConfig: costs are given, and placement is by rules\n  say placement='costs' too"
    )


def test_d11_rules_expect_nothing() -> None:
    model = towers()
    with dfc.Session(model.graph) as session:
        text = error(FailedPrecondition, lambda: session.expected(model.loss, model.feeds))
    lines = text.splitlines()
    assert lines[0] == "Session.expected: nothing is expected of steps that are placed by rules"
    assert lines[1].startswith("  at ") and "test_d11_costs.py" in lines[1]
    assert lines[2:] == ["  make the session with dfc.SessionConfig(placement='costs')"]


def test_d11_two_towers_are_on_two_devices_and_compute_the_same() -> None:
    model = towers()
    fetches = [model.loss, model.gradients]
    found = []
    for config in (dfc.SessionConfig(), BY_COSTS):
        with dfc.Session(model.graph, config=config) as session:
            session.run(model.init)
            values = session.run(fetches, model.feeds, timeout=60)
            losses = [session.run([model.loss, model.train], model.feeds, timeout=60)[0] for _ in range(3)]
            found.append((*values, losses, session.run(model.variables)))
            if config is BY_COSTS:
                expected = session.expected([model.loss, model.train], model.feeds)
                assert {str(session.state_of(w).device.id) for w in model.variables} == {"0", "1"}
    (loss, gradients, losses, after), (loss2, gradients2, losses2, after2) = found
    np.testing.assert_allclose(loss2, loss, rtol=1e-5)
    np.testing.assert_allclose(losses2, losses, rtol=1e-5)
    np.testing.assert_allclose(gradients2, gradients, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after2, after, rtol=1e-4, atol=1e-5)
    assert losses[-1] < losses[0], "it learns"
    homes = [expected.devices[f"w{tower}"] for tower in range(2)]
    assert sorted(homes) == CPUS[:2]
    assert sorted(expected.devices[name] for name in ("scan", "scan_1")) == CPUS[:2]


def test_d11_two_devices_are_expected_to_beat_one() -> None:
    model = towers()
    fetches = [model.loss, model.train]
    dear = dfc.SessionConfig(placement="costs", costs=dfc.Costs(latency=1.0))
    expected = []
    for config in (BY_COSTS, dear):
        with dfc.Session(model.graph, config=config) as session:
            expected.append(session.expected(fetches, model.feeds))
    two, one = expected
    assert set(two.busy) == set(CPUS[:2]) and set(one.busy) == {CPUS[0]}
    assert two.seconds < 0.6 * one.seconds
    assert one.transfers == one.moved == 0 and one.islands == 1
    assert two.transfers == 3, "an end, its gradient, and a token of an update at the end"
    assert two.moved == 2 * BATCH * UNITS * 4
    assert one.seconds == pytest.approx(sum(one.busy.values()) + dfc.Costs().island)


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_d11_the_bytes_that_are_expected_to_move_are_those_that_do(dtype: str | None) -> None:
    model = towers()
    fetches = [model.loss, model.train]
    config = dfc.SessionConfig(placement="costs", transfer_dtype=dtype)
    with dfc.Session(model.graph, config=config) as session:
        session.run(model.init)
        expected = session.expected(fetches, model.feeds)
        with dfc.Timeline() as timeline:
            session.run(fetches, model.feeds, timeout=60)
    assert expected.moved == 2 * BATCH * UNITS * (2 if dtype else 4)
    assert sum(span.details["bytes"] for span in timeline.spans if span.kind == "transfer") == expected.moved


def test_d11_what_is_simulated_are_the_programs_that_run() -> None:
    """A tower's way back is in another program than the gradient that the other one waits for."""
    model = towers()
    with dfc.Session(model.graph, config=BY_COSTS) as session:
        session.run(model.init)
        for fetches, islands in (([model.loss], [1, 2]), ([model.loss, model.train], [2, 3])):
            expected = session.expected(fetches, model.feeds)
            step: Any = list(session._steps.values())[-1].step
            assert sorted(len(part.step.plan.of_device) for part in step.parts) == islands
            assert expected.islands == sum(islands)


def test_d11_the_same_step_is_always_placed_alike() -> None:
    def devices() -> dict[str, str]:
        model = towers()
        with dfc.Session(model.graph, config=BY_COSTS) as session:
            return session.expected([model.loss, model.train], model.feeds).devices

    first = devices()
    assert all(devices() == first for _ in range(10))


def test_d11_the_log_ends_in_what_is_expected(capfd: pytest.CaptureFixture[str]) -> None:
    model = towers()
    config = dfc.SessionConfig(placement="costs", log_device_placement=True)
    with dfc.Session(model.graph, config=config) as session:
        expected = session.expected(model.loss, model.feeds)
    lines = capfd.readouterr().err.splitlines()
    assert lines[-1] == str(expected)
    assert lines[-1].startswith("expected ") and lines[-1].endswith(f"1 transfers, {BATCH * UNITS * 4} bytes")
    assert f"scan: (scan): {expected.devices['scan']}" in lines


def test_d11_what_was_asked_for_holds() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        with dfc.device("/cpu:3"):
            y = dfc.tanh(x)
        z = dfc.exp(y)
    with dfc.Session(graph, config=BY_COSTS) as session:
        feeds = {x: np.zeros(2, np.float32)}
        expected = session.expected(z, feeds)
        assert expected.devices == {"tanh": CPUS[3], "exponential": CPUS[3]} and expected.transfers == 0
        np.testing.assert_array_equal(session.run(z, feeds), [1, 1])


def test_d11_a_function_is_placed_by_costs_in_a_session_of_its_own() -> None:
    w = [dfc.Variable(np.eye(UNITS, dtype=np.float32), name=f"v{k}") for k in range(2)]

    @dfc.function
    def ends(x: dfc.Tensor) -> list[dfc.Tensor]:
        return [dfc.fori_loop(0, 50, lambda i, h, w=v: dfc.tanh(h @ w), x) for v in w]

    x = np.full((BATCH, UNITS), 0.5, np.float32)
    with dfc.Session(ends, dfc.TensorSpec((BATCH, UNITS), "float32"), config=BY_COSTS) as session:
        fetches = ["output_0", "output_1"]
        expected = session.expected(fetches, {"x": x})
        assert len(expected.busy) == 2
        found = session.run(fetches, {"x": x})
    assert sorted(str(local("cpu", v.state.device.id)) for v in w) == CPUS[:2]
    np.testing.assert_allclose([t.numpy() for t in ends(x)], found, rtol=1e-5)
    h = x
    for _ in range(50):
        h = np.tanh(h)
    np.testing.assert_allclose(found, [h, h], rtol=1e-4)


# ---- where variables are


def test_d11_what_gives_variables_values_does_so_wherever_they_are() -> None:
    model = towers()
    with model.graph:
        ones = dfc.group(*[w.assign(dfc.ones((UNITS, UNITS))) for w in model.variables])
        given = dfc.placeholder("float32", (UNITS, UNITS), name="given")
        fed = dfc.group(*[w.assign(given) for w in model.variables])
        double = [w.assign(w.read() * 2.0) for w in model.variables]
    with dfc.Session(model.graph, config=BY_COSTS) as session:
        states = [session.state_of(w) for w in model.variables]
        setting = session.make_callable(ones)
        feeding = session.make_callable(fed, [given])
        session.run(model.init)
        start = [state.numpy() for state in states]
        setting()
        assert all((state.numpy() == 1).all() for state in states)
        feeding(start[0])
        session.run(model.init)
        assert [state.device.id for state in states] == [0, 0] and not any(state.is_settled for state in states)
        session.run(model.train, model.feeds)
        assert sorted(state.device.id for state in states) == [0, 1] and all(state.is_settled for state in states)
        setting()
        np.testing.assert_array_equal(session.run(model.variables), np.ones((2, UNITS, UNITS)))
        feeding(start[0])
        np.testing.assert_array_equal(session.run(model.variables), [start[0], start[0]])
        session.run(model.init)
        np.testing.assert_array_equal(session.run(model.variables), start)
        session.run(double)
        np.testing.assert_array_equal(session.run(model.variables), np.multiply(start, 2))
        session.run(model.train, model.feeds)
        with model.graph:
            zeros = [w.assign(dfc.zeros((UNITS, UNITS))) for w in model.variables]
        assert not np.any(session.run(zeros)) and not np.any(session.run(model.variables))
        assert sorted(state.device.id for state in states) == [0, 1]


def test_d11_a_value_that_is_given_in_a_branch_alone_counts_as_a_use() -> None:
    with dfc.Graph() as graph:
        v = dfc.Variable(np.float32([1, 2]), name="v")
        chosen = dfc.placeholder("bool", (), name="chosen")
        maybe = dfc.cond(chosen, lambda: v.assign([3.0, 4.0]), lambda: dfc.group())
        init = dfc.initialize_all()
    with dfc.Session(graph, config=BY_COSTS) as session:
        session.run(init)
        assert not session.state_of(v).is_settled
        session.run(maybe, {chosen: False})
        assert session.state_of(v).is_settled
        np.testing.assert_array_equal(session.run(v), [1, 2])
        session.run(maybe, {chosen: True})
        np.testing.assert_array_equal(session.run(v), [3, 4])


def test_d11_an_update_counts_as_a_use_and_a_question_does_not() -> None:
    with dfc.Graph() as graph:
        v, w = dfc.Variable(np.float32([1, 2]), name="v"), dfc.Variable(np.float32([3, 4]), name="w")
        slot = dfc.Variable(v.initialized_value() * 2.0, name="slot")
        asked = [each.is_initialized() for each in (v, w, slot)]
        init = dfc.initialize_all()
        more, rows = v.assign_add([1.0, 1.0]), w.scatter_add([0], [5.0])
        both = dfc.group(slot.assign([0.0, 0.0]), more)
    with dfc.Session(graph, config=BY_COSTS) as session:
        states = [session.state_of(each) for each in (v, w, slot)]
        assert session.run(asked) == [False] * 3
        session.run(init)
        assert session.run(asked) == [True] * 3
        assert not any(state.is_settled for state in states)
        session.run(both)
        assert [state.is_settled for state in states] == [True, False, True], "what is written along with it, too"
        session.run(rows)
        assert states[1].is_settled
        np.testing.assert_array_equal(session.run([v, w, slot]), [[2, 3], [8, 4], [0, 0]])


def test_d11_many_threads_may_give_variables_values_while_a_step_settles_them() -> None:
    model = towers()
    with dfc.Session(model.graph, config=BY_COSTS) as session:
        session.run(model.init)
        start = [session.state_of(w).numpy() for w in model.variables]
        with ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(session.run, model.init) for _ in range(200)]
            session.run(model.loss, model.feeds)
            for run in runs:
                run.result(60)
        np.testing.assert_array_equal(session.run(model.variables), start)
        assert sorted(session.state_of(w).device.id for w in model.variables) == [0, 1]


def test_d11_variables_stay_where_the_first_step_that_reads_them_has_them() -> None:
    model = towers()
    with dfc.Session(model.graph, config=BY_COSTS) as session:
        session.run(model.init)
        session.run(model.variables)
        homes = session.expected(model.loss, model.feeds).devices
        assert {homes[f"w{k}"] for k in range(2)} == {CPUS[0]}
        session.run(model.train, model.feeds)
        assert {session.state_of(w).device.id for w in model.variables} == {0}


def test_d11_an_initialiser_says_nothing_about_where_variables_are() -> None:
    model = towers()
    with dfc.Session(model.graph, config=BY_COSTS) as session:
        homes = session.expected(model.loss, model.feeds).devices
        dear = session.expected([model.loss, model.gradients[0]], model.feeds).devices
        assert [homes[f"w{k}"] for k in range(2)] == [dear[f"w{k}"] for k in range(2)]
        message = error(FailedPrecondition, lambda: session.expected(model.init))
        assert "nothing is expected of steps" in message, "an initialiser is placed where variables are"


# ---- times


def test_d11_measuring_gives_the_times_of_ops_and_changes_no_variable() -> None:
    model = towers()
    fetches = [model.loss, model.train]
    with dfc.Session(model.graph) as session:
        session.run(model.init)
        before = session.run(model.variables)
        costs = session.measure(fetches, model.feeds, repeats=3)
        np.testing.assert_array_equal(session.run(model.variables), before)
    measured = dict(costs.measured)
    loops = [measured.pop(name) for name in ("scan", "scan_1", "scan_2", "scan_3")]
    assert min(loops) > 64e-7, "64 products took longer than that"
    assert all(seconds >= 0 for seconds in measured.values())
    with dfc.Session(model.graph, config=dfc.SessionConfig(placement="costs", costs=costs)) as session:
        expected = session.expected(fetches, model.feeds)
        assert set(measured) <= set(expected.devices)
        assert sum(expected.busy.values()) >= sum(loops)


def test_d11_measured_times_decide() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        y = dfc.tanh(x) + dfc.exp(x)
    slow = dfc.Costs().with_measured({"tanh": 1e-2, "exponential": 1e-2})
    feeds = {x: np.ones(2, np.float32)}
    for costs, devices in ((None, 1), (slow, 2)):
        with dfc.Session(graph, config=dfc.SessionConfig(placement="costs", costs=costs)) as session:
            assert len(session.expected(y, feeds).busy) == devices
            np.testing.assert_allclose(session.run(y, feeds), np.tanh([1, 1]) + np.exp([1, 1]), rtol=1e-6)


def test_d11_a_loop_that_the_host_runs_counts_as_one() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")

        def body(i: Any, h: Any) -> Any:
            with dfc.control_dependencies([dfc.print("at", i)]):
                return dfc.tanh(h)

        y = dfc.exp(dfc.fori_loop(0, 3, body, x))
    with dfc.Session(graph) as session:
        costs = session.measure(y, {x: np.ones(2, np.float32)}, repeats=1)
    assert set(costs.measured) == {"scan", "exponential"}


def test_d11_measuring_says_what_is_wrong() -> None:
    model = towers()
    with dfc.Session(model.graph) as session:
        assert error(InvalidArgument, lambda: session.measure(model.loss, model.feeds, repeats=0)).startswith(
            "Session.measure: repeats must be a positive int, got 0"
        )
        assert "Attempting to use uninitialized value 'w" in error(
            FailedPrecondition, lambda: session.measure(model.loss, model.feeds)
        )
