"""Row K5: values on several devices are brought to where they are used, at once, in functions and in sessions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import dfc
from dfc.errors import InvalidArgument
from dfc.ir.devices import local

A, B = np.float32([1, 2]), np.float32([3, 5])


def on(index: int) -> Any:
    return dfc.device(f"/device:CPU:{index}")


def there(value: Any, index: int) -> dfc.Tensor:
    """A tensor that a function has made on another device."""

    @dfc.function
    def make(x: dfc.Tensor) -> dfc.Tensor:
        with on(index):
            return dfc.identity(x)

    made: dfc.Tensor = make(dfc.asarray(value))
    assert made.device == f"cpu:{index}"
    return made


@pytest.fixture
def a() -> dfc.Tensor:
    return dfc.asarray(A)


@pytest.fixture
def b() -> dfc.Tensor:
    return there(B, 1)


def check(found: Any, expected: Any, device: str) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    assert found.device == device


@pytest.fixture(autouse=True)
def _no_call_is_refused(capfd: pytest.CaptureFixture[str]) -> Any:
    """XLA prints a line for each call that it refuses since an argument is elsewhere: inputs are brought before."""
    yield
    assert "Buffer passed to Execute()" not in capfd.readouterr().err


AT_ONCE: dict[str, tuple[Callable[[Any, Any], Any], Any, str]] = {
    "the first operand's": (lambda a, b: a + b, A + B, "cpu:0"),
    "the first operand's, which is there": (lambda a, b: b + a, A + B, "cpu:1"),
    "one operand": (lambda a, b: -b, -B, "cpu:1"),
    "numbers go to the tensor": (lambda a, b: 2.0 * b, 2 * B, "cpu:1"),
    "arrays go to the tensor": (lambda a, b: dfc.add(A, b), A + B, "cpu:1"),
    "lists and numbers, too": (lambda a, b: dfc.where(b > 3.0, b, 0.0), np.where(B > 3, B, 0), "cpu:1"),
    "a list of tensors": (lambda a, b: dfc.concat([b, a]), np.concatenate([B, A]), "cpu:1"),
    "settings": (lambda a, b: dfc.sum(b, axis=0), B.sum(), "cpu:1"),
    "an item": (lambda a, b: b[1], B[1], "cpu:1"),
    "a mask, on the host": (lambda a, b: b[b > 4], B[B > 4], "cpu:1"),
    "rows": (lambda a, b: dfc.argwhere(b), [[0], [1]], "cpu:1"),
    "parts": (lambda a, b: dfc.dynamic_stitch([[1], [0]], [b[:1], a[:1]]), [1, 3], "cpu:1"),
    "an element of a loop": (lambda a, b: list(b)[1], B[1], "cpu:1"),
    "a branch": (lambda a, b: dfc.cond(dfc.sum(b) > 1, lambda: b * a, lambda: b), A * B, "cpu:1"),
    "a loop": (lambda a, b: dfc.while_loop(lambda x: dfc.sum(x) < 99, lambda x: x + x, b), 16 * B, "cpu:1"),
    "strings pass by the host": (lambda a, b: dfc.strings.to_number(dfc.strings.as_string(b)) + b, 2 * B, "cpu:0"),
    "a gradient": (lambda a, b: dfc.grad(lambda x, y: dfc.sum(x * y))(b, a), A, "cpu:1"),
    "a gradient of one's own": (lambda a, b: dfc.custom_gradient(lambda x: (x * x, lambda d: d))(b), B * B, "cpu:1"),
    "three devices": (lambda a, b: a * b + there(A, 2), A * B + A, "cpu:0"),
}


@pytest.mark.parametrize("case", list(AT_ONCE))
def test_operations_at_once_run_where_their_first_operand_is(case: str, a: dfc.Tensor, b: dfc.Tensor) -> None:
    compute, expected, device = AT_ONCE[case]
    for _ in range(2):  # as compiled, and as found again
        check(compute(a, b), expected, device)


def test_a_device_asked_for_is_that_of_what_is_done_at_once(a: dfc.Tensor, b: dfc.Tensor) -> None:
    v = there(A, 3)
    with on(2):
        for made, expected in (
            (a + b, A + B),
            (dfc.asarray(B), B),
            (dfc.asarray(b), B),
            (dfc.identity(a), A),
            (dfc.zeros((2,)), [0, 0]),
            (dfc.arange(3), [0, 1, 2]),
            (b[0], B[0]),
            (a * 2.5, 2.5 * A),
            (dfc.random.normal((2,)) * 0, [0, 0]),
            (dfc.grad(lambda x: dfc.sum(x * x))(b), 2 * B),
        ):
            check(made, expected, "cpu:2")
        with dfc.device(None):
            check(a + b, A + B, "cpu:0")
        with dfc.device("cpu:3"):
            check(a + b, A + B, "cpu:3")
        with dfc.colocate_with(v):
            check(a + b, A + B, "cpu:3")
    with dfc.device("/device:TPU:9"):  # gives way, as in a function
        check(b + a, A + B, "cpu:0")
    check(a + b, A + B, "cpu:0")


@dfc.function
def plus_one(x: dfc.Tensor) -> dfc.Tensor:
    return x + 1


def test_a_function_runs_where_its_operations_are_placed(a: dfc.Tensor, b: dfc.Tensor) -> None:
    check(plus_one(a), A + 1, "cpu:0")
    for x in (b, there(B, 2), there(B, 2)):
        check(plus_one(x), B + 1, "cpu:0")

    @dfc.function
    def apart(x: dfc.Tensor, y: dfc.Tensor) -> dfc.Tensor:
        with on(1):
            return x * y

    for x, y in ((a, b), (b, a), (b, b), (A, b)):
        check(apart(x, y), np.asarray(x) * np.asarray(y), "cpu:1")
    step = apart.compiled_for(a, b).step
    assert step.is_direct  # one program, on the other device
    with on(3):
        check(plus_one(b), B + 1, "cpu:0")  # a body asks for itself


def test_functions_of_any_arguments(b: dfc.Tensor) -> None:
    @dfc.function
    def weighted(inputs: Any, scale: Any = 1.0, by: Any = None) -> dfc.Tensor:
        return inputs["x"] * inputs["y"][0] * scale + (0 if by is None else by)

    a = dfc.asarray(A)
    check(weighted({"x": a, "y": [b]}), A * B, "cpu:0")
    check(weighted({"x": b, "y": [A]}, scale=2.0, by=b), 2 * A * B + B, "cpu:0")
    assert weighted.explain().count("at ") == 2  # devices are no part of a signature

    @dfc.function(signature=[dfc.TensorSpec(("n",), "float32"), dfc.TensorSpec(("n",), "float32")])
    def both(x: dfc.Tensor, y: dfc.Tensor) -> Any:
        with on(2):
            return {"there": x - y}, [x + y]

    result = both(b, [1.0, 2.0])
    check(result[0]["there"], B - A, "cpu:2")
    assert [t.device for t in plus_and_minus(b, a)] == ["cpu:0", "cpu:1"]


@dfc.function
def plus_and_minus(x: dfc.Tensor, y: dfc.Tensor) -> Any:
    with on(1):
        minus = x - y
    return x + y, minus


def test_a_training_step_takes_inputs_from_elsewhere(a: dfc.Tensor, b: dfc.Tensor) -> None:
    w, m = dfc.Variable(A), dfc.Variable(A * 0)

    @dfc.function
    def step(x: dfc.Tensor) -> dfc.Tensor:
        m.assign(m * 0.5 + x)
        w.assign_sub(m)
        return dfc.sum(w)

    velocity, weights = A * 0, A
    for x in (a, b, a, b, b, a, there(A, 3)):
        velocity = velocity * 0.5 + x.numpy()
        weights = weights - velocity
        check(step(x), weights.sum(), "cpu:0")
    check(w.read(), weights, "cpu:0")


def test_results_are_inputs_of_what_is_compiled_later_too(b: dfc.Tensor) -> None:
    @dfc.function
    def rows(x: dfc.Tensor) -> dfc.Tensor:
        """Its number of rows is known when it runs."""
        queue.enqueue(x)
        queue.enqueue(x)
        return dfc.sum(queue.dequeue_up_to(2), axis=0) * x

    queue = dfc.FIFOQueue(4, "float32", shapes=[(2,)])
    check(rows(b), 2 * B * B, "cpu:0")


# ---- variables


def test_a_variable_lives_where_it_was_asked_for(a: dfc.Tensor, b: dfc.Tensor) -> None:
    with on(1):
        v = dfc.Variable(A, name="v")
    with dfc.colocate_with(v):
        beside = dfc.Variable(lambda: B)
    assert (v.device, beside.device, dfc.Variable(A).device) == ("cpu:1", "cpu:1", "cpu:0")
    check(v.read(), A, "cpu:1")
    check(v + a, 2 * A, "cpu:1")
    check(a + v, 2 * A, "cpu:0")
    check(dfc.sum(v), A.sum(), "cpu:1")
    for given in (a, b, there(B, 2), A):
        v.assign(given)
        check(v.read(), np.asarray(given), "cpu:1")
        check(v.assign_add(given).value(), 2 * np.asarray(given), "cpu:1")
    v.assign(A)
    v.scatter_add([1], there(B, 2)[:1])
    check(v.read(), [1, 5], "cpu:1")
    w = dfc.Variable(A)
    w.assign(b)
    w.assign_sub(there(A, 2))
    check(w.read(), B - A, "cpu:0")

    @dfc.function
    def read(x: dfc.Tensor) -> dfc.Tensor:
        v.assign_add(x)
        return v + x + w

    check(read(a), [1 + 1 + 1 + 2, 5 + 2 + 2 + 3], "cpu:0")
    check(v.read(), [2, 7], "cpu:1")


def test_later_steps_are_placed_around_a_variable(a: dfc.Tensor, capfd: pytest.CaptureFixture[str]) -> None:
    w, u = dfc.Variable(A, name="w"), dfc.Variable(A, name="u")

    @dfc.function
    def train(x: dfc.Tensor) -> dfc.Tensor:
        w.assign_add(x)
        u.assign_add(x)
        return w + u

    @dfc.function
    def evaluate(x: dfc.Tensor) -> dfc.Tensor:
        with on(1):
            return w * x + u

    check(train(a), 4 * A, "cpu:0")
    check(evaluate(a), 2 * A * A + 2 * A, "cpu:1")  # it reads w where w is
    assert w.device == u.device == "cpu:0"
    check(train(there(A, 2)), 6 * A, "cpu:0")

    first, second = dfc.Variable(A, name="first"), dfc.Variable(A, name="second")

    @dfc.function
    def apart(x: dfc.Tensor) -> dfc.Tensor:
        with on(2):
            return first * x

    @dfc.function
    def together(x: dfc.Tensor) -> dfc.Tensor:
        first.assign_add(x)
        second.assign_add(first)
        return second + x

    check(apart(a), A * A, "cpu:2")
    check(together(a), 4 * A, "cpu:0")  # it writes `first` where that is
    assert (first.device, second.device) == ("cpu:2", "cpu:0")
    check(apart(a), 2 * A * A, "cpu:2")

    spec = dfc.TensorSpec((2,), "float32", name="x")
    with dfc.Session(evaluate, spec, config=dfc.SessionConfig(log_device_placement=True)) as session:
        np.testing.assert_allclose(session.run("add", {"x": A}), 3 * A * A + 3 * A)
    log = capfd.readouterr().err
    assert f"read: '/device:CPU:1' can't be heeded, what it uses is on {local('cpu', 0)}" in log
    strict = dfc.Session(evaluate, spec, config=dfc.SessionConfig(soft_placement=False))
    with strict as session, pytest.raises(InvalidArgument) as caught:
        session.run("add", {"x": A})
    assert (
        "Could not satisfy explicit device specification '/device:CPU:1' because the node {{colocation_node read}} was "
        f"colocated with a group of nodes that required incompatible device '{local('cpu', 0)}'"
    ) in caught.value.diagnostic.message


def test_programs_that_are_placed_at_the_same_time_agree_on_a_variable() -> None:
    for _ in range(4):
        w = dfc.Variable(lambda: A)

        def on_device(index: int, w: dfc.Variable = w) -> Callable[[Any], Any]:
            @dfc.function
            def scaled(x: dfc.Tensor) -> dfc.Tensor:
                with on(index):
                    return w * x

            return scaled

        functions = [on_device(index) for index in range(4)]
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda function: function(B), functions))
        for index, result in enumerate(results):
            check(result, A * B, f"cpu:{index}")
        w.assign_add(there(A, 3))
        check(functions[1](B), 2 * A * B, "cpu:1")


def test_what_is_done_beside_a_variable_moves_it_nowhere(a: dfc.Tensor, b: dfc.Tensor) -> None:
    w = dfc.Variable(A)
    check(b * w, A * B, "cpu:1")
    check(dfc.grad(lambda x: dfc.sum(w * x * x))(b), 2 * A * B, "cpu:1")
    with on(2):
        check(dfc.add(w, a), 2 * A, "cpu:2")
    assert w.device == "cpu:0"


def test_state_of_an_optimizer_is_beside_its_variable(a: dfc.Tensor) -> None:
    w = dfc.Variable(A)

    @dfc.function
    def use(x: dfc.Tensor) -> dfc.Tensor:
        with on(1):
            return w * x

    use(a)
    optimizer, average = dfc.train.Momentum(0.5), dfc.train.ExponentialMovingAverage(0.5)
    optimizer.apply_gradients([(a, w)])
    average.apply([w])
    w.assign_add(A)
    average.apply([w])
    assert [v.device for v in (w, *optimizer.variables, average.average(w))] == ["cpu:1"] * 3
    check(w.read(), 1.5 * A, "cpu:1")
    check(average.average(w).read(), A, "cpu:1")


def test_a_label_of_a_variable_that_the_program_lacks(a: dfc.Tensor) -> None:
    with on(2):
        v = dfc.Variable(A)

    @dfc.function
    def beside(x: dfc.Tensor) -> dfc.Tensor:
        with dfc.colocate_with(v):
            return x * 2

    check(beside(a), 2 * A, "cpu:2")


def test_checkpoints_and_optimizers_of_variables_on_several_devices(tmp_path: Any, b: dfc.Tensor) -> None:
    variables = []
    for index in range(3):
        with on(index):
            variables.append(dfc.Variable(A + index, name=f"v{index}"))
    optimizer = dfc.train.Momentum(0.01, 0.9)

    @dfc.function
    def train(x: dfc.Tensor) -> dfc.Tensor:
        loss = sum(dfc.sum((v * x) ** 2) for v in variables)
        optimizer.minimize(loss, variables)
        return loss

    losses = [float(train(b)) for _ in range(3)]
    assert losses[2] < losses[0] == pytest.approx(sum(((A + i) ** 2 * B**2).sum() for i in range(3)))
    saver = dfc.train.Saver(variables)
    path = saver.save(tmp_path, 1)
    saved = [v.numpy() for v in variables]
    train(dfc.asarray(A))
    saver.restore(path)
    for index, (variable, value) in enumerate(zip(variables, saved, strict=True)):
        check(variable.read(), value, f"cpu:{index}")


# ---- arrays of JAX, sessions, queues


def committed(value: Any, index: int) -> Any:
    return jax.device_put(value, jax.devices()[index])


def test_arrays_of_jax_stay_where_they_are(a: dfc.Tensor) -> None:
    array = committed(B, 2)
    found = dfc.asarray(array)
    check(found, B, "cpu:2")
    assert found._array is array
    check(a + array, A + B, "cpu:0")
    check(dfc.negative(array), -B, "cpu:2")
    for _ in range(2):
        check(plus_one(array), B + 1, "cpu:0")
    with on(1):
        check(dfc.asarray(array), B, "cpu:1")
    sharded = jax.device_put(B, NamedSharding(Mesh(np.array(jax.devices()[:2]), ("x",)), PartitionSpec("x")))
    for many in (sharded, jax.device_put(B, NamedSharding(Mesh(np.array(jax.devices()), ("x",)), PartitionSpec()))):
        check(plus_one(many), B + 1, "cpu:0")
        check(dfc.asarray(many), B, "cpu:0")
    np.testing.assert_array_equal(np.from_dlpack(there(B, 3)), B)
    assert repr(found) == "<dfc.Tensor float32[2] on cpu:2 [3., 5.]>"
    assert repr(a) == "<dfc.Tensor float32[2] [1., 2.]>"


def test_feeds_of_sessions(b: dfc.Tensor) -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        y = x + 1
        with on(1):
            z = y * 3
        counted = dfc.py_call(lambda v: v + 1, [x], dfc.TensorSpec((2,))) * 2
    with dfc.Session(graph) as session:
        for given in (b, committed(B, 2), there(B, 3), B):
            for fetch, expected in ((y, B + 1), (z, 3 * B + 3), (counted, 2 * B + 2)):
                np.testing.assert_array_equal(session.run(fetch, {x: given}), expected)
                np.testing.assert_array_equal(session.make_callable(fetch, [x])(given), expected)
                np.testing.assert_array_equal(session.submit(fetch, {x: given}).result(timeout=20), expected)
            np.testing.assert_array_equal(session.run(x, {x: given}), B)
            handle = session.partial_run_setup([y, z], [x])
            np.testing.assert_array_equal(session.partial_run(handle, z, {x: given}), 3 * B + 3)


def test_elements_of_queues_and_accumulators(a: dfc.Tensor, b: dfc.Tensor) -> None:
    queue = dfc.FIFOQueue(8, "float32", shapes=[(2,)])

    @dfc.function
    def put(x: dfc.Tensor) -> None:
        with on(1):
            queue.enqueue(x * 2)

    @dfc.function
    def take(n: int) -> dfc.Tensor:
        return queue.dequeue() + 1 if n == 1 else dfc.sum(queue.dequeue_many(n), axis=0)

    put(a)
    check(take(1), 2 * A + 1, "cpu:0")
    for value in (a, b, there(A, 2)):
        queue.enqueue(value)
    check(take(3), 2 * A + B, "cpu:0")
    queue.enqueue(b)
    check(queue.dequeue(), B, "cpu:1")
    queue.enqueue_many(dfc.stack([a, b]))
    put(b)
    check(queue.dequeue_many(3), [A, B, 2 * B], "cpu:0")
    sums = dfc.ConditionalAccumulator("float32", shape=(2,))
    sums.apply_grad(b, 0)
    sums.apply_grad(a, 0)
    check(sums.take_grad(2), (A + B) / 2, "cpu:0")


def test_a_queue_of_a_graph_between_devices() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,))
        queue = dfc.FIFOQueue(4, "float32", shapes=[(2,)])
        with on(1):
            put = queue.enqueue(x * 2)
        with on(2):
            taken = queue.dequeue() + 1
    with dfc.Session(graph) as session:
        for value in (A, there(B, 3)):
            session.run(put, {x: value})
            np.testing.assert_array_equal(session.run(taken), 2 * np.asarray(value) + 1)
