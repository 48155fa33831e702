"""`dfc.custom_gradient` and `dfc.checkpoint`: values, orders of derivatives, nesting, variables, errors, the graph."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc
from dfc.backends import pipeline, reference
from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType
from dfc.ir.ops.function import Func
from dfc.ir.text import parse_program, print_program
from dfc.passes.manager import parse_pipeline, run
from dfc.passes.phases import Phase, check_gate
from dfc.passes.verify import op_without_location, verify

X = np.array([0.5, -1.0, 2.0], np.float32)


@dfc.custom_gradient
def log1pexp(x: Any) -> Any:
    e = dfc.exp(x)
    return dfc.log1p(e), lambda dy: dy * (1 - 1 / (1 + e))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


# ---- custom gradients


def test_the_stated_gradient_is_used_in_and_out_of_a_trace() -> None:
    """The default one is NaN at 100: inf / inf."""
    assert np.isnan(dfc.grad(lambda x: dfc.log1p(dfc.exp(x)))(100.0).item())
    assert dfc.grad(log1pexp)(100.0).item() == 1
    assert_allclose(log1pexp(X).numpy(), np.log1p(np.exp(X)), rtol=1e-6)
    inside = dfc.function(lambda x: dfc.gradients(log1pexp(x), x)[0])
    assert_allclose(inside(X).numpy(), sigmoid(X), rtol=1e-6)


def test_a_gradient_that_is_wrong_on_purpose_shows() -> None:
    wrong = dfc.custom_gradient(lambda x: (x * x, lambda dy: dy * 7))
    assert dfc.grad(lambda x: 3 * wrong(x))(2.0).item() == 21


def test_second_gradients_are_those_of_the_stated_gradient() -> None:
    s = sigmoid(1.0)
    assert_allclose(dfc.grad(dfc.grad(log1pexp))(1.0).item(), s * (1 - s), rtol=1e-5)
    assert_allclose(dfc.grad(dfc.grad(dfc.grad(log1pexp)))(1.0).item(), s * (1 - s) * (1 - 2 * s), rtol=1e-4)
    cubed = dfc.custom_gradient(lambda x: (x**3, lambda dy: dy * 5 * x))  # not 3 x^2
    assert dfc.grad(dfc.grad(cubed))(2.0).item() == 5


def test_nested_custom_gradients() -> None:
    inner = dfc.custom_gradient(lambda x: (x * 2, lambda dy: dy * 10))

    @dfc.custom_gradient
    def outer(x: Any) -> Any:
        y = inner(x)
        return y * y, lambda dy: dy * inner(x)

    assert dfc.grad(lambda x: inner(inner(x)))(1.0).item() == 100
    assert dfc.grad(outer)(3.0).item() == 6
    assert dfc.grad(dfc.grad(outer))(3.0).item() == 10  # of inner(x)


def test_several_arguments_results_nests_and_none() -> None:
    @dfc.custom_gradient
    def f(pair: Any, n: Any, *, scale: float = 1.0) -> Any:
        a, b = pair["a"], pair["b"]

        def gradient(dy: Any, dn: Any, dz: Any) -> Any:
            assert dn is None
            return dy * 2 + dz, None, None

        return {"y": a * scale, "n": n + 1, "z": b}, gradient

    @dfc.function
    def g(a: Any, b: Any, n: Any) -> Any:
        out = f({"a": a, "b": b}, n, scale=4.0)
        return out["n"], dfc.gradients([out["y"], out["z"]], [a, b, n], [None, X]), dfc.gradients(out["y"], [a, b])

    n, (by_a, by_b, by_n), (alone, _) = g(X, X, np.int32(3))
    assert n.item() == 4
    assert by_a.numpy().tolist() == (2 + X).tolist()
    assert by_b is None and by_n is None
    assert alone.numpy().tolist() == [2, 2, 2]  # nothing flows into z: its gradient is zeros


def test_variables_that_are_read_get_the_gradients_that_are_stated() -> None:
    w, counter = dfc.Variable(3.0, name="w"), dfc.Variable(1.0, trainable=False)

    @dfc.custom_gradient
    def f(x: Any) -> Any:
        def gradient(dy: Any, variables: Any) -> Any:
            assert variables == [w]
            return dy * w, [dy * 100]

        return x * w * counter, gradient

    both = dfc.function(lambda x: dfc.gradients(f(x) + w, [x, w, counter]))
    by_x, by_w, by_counter = both(np.float32(2))
    assert (by_x.item(), by_w.item(), by_counter) == (3, 101, None)
    layer = dfc.function(lambda x: f(x))  # the read is in a function that is called
    found = dfc.function(lambda x: dfc.gradients(layer(x), [w]))(np.float32(2))
    assert found[0].item() == 100


def test_variables_without_a_parameter_for_them_are_an_error() -> None:
    w = dfc.Variable(3.0, name="w")
    f = dfc.custom_gradient(lambda x: (x * w, lambda dy: dy))
    with pytest.raises(InvalidType) as caught:
        f(1.0)
    assert str(caught.value).startswith(
        "custom_gradient: the gradient function needs a parameter `variables`, since variable 'w' is read\n"
    )


def test_what_does_not_fit_is_an_error() -> None:
    x = dfc.asarray(X)
    with pytest.raises(InvalidType) as caught:
        dfc.custom_gradient(lambda x: x * 2)(x)
    message = "custom_gradient: the function must return (y, gradient function), got a Tensor\n"
    assert str(caught.value).startswith(message)
    with pytest.raises(InvalidArgument) as misfit:
        dfc.custom_gradient(lambda x: (x, lambda dy: dy[0]))(x)
    message = "custom_gradient: the gradient of input 0 must be float32[3], got float32[]\n"
    assert str(misfit.value).startswith(message)
    with pytest.raises(InvalidArgument) as count:
        dfc.custom_gradient(lambda x, y: (x, lambda dy: dy))(x, x)
    message = "custom_gradient: the gradient function must return 2 gradients of arguments, got 1\n"
    assert str(count.value).startswith(message)
    v = dfc.Variable(1.0, name="v", trainable=False)
    with pytest.raises(FailedPrecondition) as write:
        dfc.custom_gradient(lambda x: (x, lambda dy: (v.assign(1.0), dy)[1]))(x)
    message = (
        "custom_gradient: variable 'v' can't be written inside custom_gradient: what is in it may run never or twice"
    )
    assert str(write.value).startswith(message)


def test_a_tensor_from_outside_gets_no_gradient_through_it() -> None:
    @dfc.function
    def f(x: Any, z: Any) -> Any:
        y = dfc.custom_gradient(lambda x: (x * z, lambda dy: dy * z))(x)
        return dfc.gradients(y, [x, z])

    by_x, by_z = f(X, X)
    assert by_x.numpy().tolist() == X.tolist()
    assert by_z is None


def test_symbolic_sizes() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b", 2))])
    def f(x: Any) -> Any:
        def scaled(x: Any) -> Any:
            return dfc.sum(x), lambda dy: dfc.broadcast_to(dy, x.shape) * dfc.astype(dfc.dim_size(x, 0), "float32")

        return dfc.gradients(dfc.custom_gradient(scaled)(x), x)[0], dfc.grad(dfc.checkpoint(lambda x: dfc.sum(x * x)))(
            x
        )

    for b in (1, 3):
        first, second = f(np.ones((b, 2), np.float32))
        assert first.numpy().tolist() == [[b, b]] * b
        assert second.numpy().tolist() == [[2, 2]] * b


# ---- the graph


def traced() -> dfc.Function[..., Any]:
    helper = dfc.function(lambda x: dfc.sin(x) * 2)

    @dfc.function
    def f(x: Any) -> Any:
        y = log1pexp(x) + dfc.checkpoint(lambda x: helper(dfc.exp(x)))(x)
        return y, dfc.gradients(y, x)[0]

    return dfc.function(lambda x: f(x))


def expected(x: Any) -> tuple[Any, Any]:
    e = np.exp(x)
    return np.log1p(e) + 2 * np.sin(e), sigmoid(x) + 2 * np.cos(e) * e


def test_text_interpreter_and_any_order_of_passes_agree() -> None:
    graph = traced().graph(dfc.TensorSpec((3,), "float64"))
    text = print_program(graph.module)
    assert text.count("df.custom_gradient") == text.count("df.checkpoint") == 1
    x = X.astype(np.float64)
    for passes in (
        "inline, autodiff",
        "cse, canonicalize, inline, cse, canonicalize, prune, autodiff, cse, canonicalize",
    ):
        program = parse_program(text)
        assert print_program(program) == text
        run(program, parse_pipeline(passes))
        check_gate(program, Phase.GRAPH)
        (func,) = (op for op in program.ops if isinstance(op, Func) and len(op.outputs) == 2)
        for found, want in zip(reference.run(func, [x])[0], expected(x), strict=True):
            assert_allclose(found, want, rtol=1e-12)
    for found, want in zip(traced()(x), expected(x), strict=True):
        assert_allclose(found.numpy(), want, rtol=1e-12)


def test_the_interpreter_runs_them_before_autodiff() -> None:
    graph = dfc.function(lambda x: log1pexp(dfc.checkpoint(dfc.exp)(x))).graph(dfc.TensorSpec((3,), "float64"))
    x = X.astype(np.float64)
    assert_allclose(reference.run(graph.module, [x])[0][0], np.log1p(np.exp(np.exp(x))), rtol=1e-12)


def test_gates_name_the_pass_that_takes_them_away() -> None:
    for f, op in ((log1pexp, "custom_gradient"), (dfc.checkpoint(dfc.exp), "checkpoint")):
        program = dfc.function(f).graph(dfc.TensorSpec((3,))).module
        with pytest.raises(FailedPrecondition, match=f"{op}: this op must be gone at phase graph"):
            check_gate(program, Phase.GRAPH)
        with pytest.raises(FailedPrecondition, match="the pass autodiff removes it"):
            run(program, parse_pipeline("cluster"))


# ---- checkpoints


def chain(x: Any) -> Any:
    for _ in range(4):
        x = dfc.sin(x) * 1.5
    return x


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_checkpoint_changes_no_derivative(order: int) -> None:
    plain, kept = chain, dfc.checkpoint(chain)
    for _ in range(order):
        plain, kept = dfc.grad(plain), dfc.grad(kept)
    x = np.float64(0.7)
    assert_allclose(kept(x).item(), plain(x).item(), rtol=1e-12)


def test_a_checkpoint_with_variables_nests_and_kinds() -> None:
    w = dfc.Variable(np.float64(3.0))
    inner = dfc.checkpoint(lambda x: dfc.sin(x * w))
    outer = dfc.checkpoint(lambda x, unused, k: {"y": inner(x) * w, "z": x * 1.0, "k": k})

    @dfc.function
    def f(x: Any, u: Any) -> Any:
        out = outer(x, u, k=2)
        return out, dfc.gradients(out["y"], [x, w, u])

    out, (by_x, by_w, by_u) = f(np.float64(0.5), np.float64(1))
    assert_allclose(out["y"].item(), 3 * np.sin(1.5))
    assert out["k"].item() == 2
    assert_allclose(by_x.item(), 9 * np.cos(1.5))
    assert_allclose(by_w.item(), np.sin(1.5) + 3 * 0.5 * np.cos(1.5))
    assert by_u is None
    with pytest.raises(FailedPrecondition, match="can't be written inside checkpoint"):
        dfc.checkpoint(lambda x: w.assign(x))(np.float64(1))


WEIGHTS = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32) / 8
BLOCKS, LAYERS, ROWS = 4, 6, 256


def deep(checkpoint: Any) -> Any:
    """A function of blocks of layers that are not elementwise, so that what they keep must be stored."""

    def block(x: Any) -> Any:
        for _ in range(LAYERS):
            x = dfc.sin(x @ WEIGHTS)
        return x

    kept = checkpoint(block)

    def loss(x: Any) -> Any:
        for _ in range(BLOCKS):
            x = kept(x)
        return dfc.sum(x)

    return dfc.value_and_grad(loss)


def test_the_inside_is_computed_again_and_nothing_undoes_that() -> None:
    texts = [dfc.function(deep(how)).lower(dfc.TensorSpec((ROWS, 64))).text for how in (lambda f: f, dfc.checkpoint)]
    layers = BLOCKS * LAYERS
    assert [text.count("stablehlo.sine") for text in texts] == [
        layers,
        2 * layers - BLOCKS,
    ]  # a block's last isn't needed
    assert [len(re.findall("stablehlo.optimization_barrier", text)) for text in texts] == [0, BLOCKS]


def test_xla_needs_less_memory_for_layers_computed_again() -> None:
    """Without, every activation is kept; with, one a block, and those of one block while it is computed again."""
    x = np.random.default_rng(1).normal(size=(ROWS, 64)).astype(np.float32)
    results, activations = [], []
    for how in (lambda f: f, dfc.checkpoint):
        function = dfc.function(deep(how))
        results.append(function(x))
        (executable,) = function.compiled_for(x).step.executables
        activations.append(executable.loaded.get_compiled_memory_stats().temp_size_in_bytes / x.nbytes)
    (value, plain), (again, kept) = results
    assert_allclose(again.item(), value.item(), rtol=1e-5)
    assert_allclose(kept.numpy(), plain.numpy(), rtol=1e-4, atol=1e-5)
    assert activations[0] >= BLOCKS * LAYERS - 1
    assert activations[1] <= BLOCKS + LAYERS + 4


def test_pipeline_leaves_no_region() -> None:
    program = traced().graph(dfc.TensorSpec((3,))).module.clone()
    pipeline.lower(program, to=Phase.GRAPH)
    assert all(not op.regions for f in program.ops if isinstance(f, Func) for op in f.block.ops)


def test_every_op_keeps_the_users_position() -> None:
    program = traced().graph(dfc.TensorSpec((3,))).module.clone()
    for phase in (Phase.TRACE, Phase.GRAPH):
        pipeline.lower(program, to=phase, start=Phase.TRACE)
        verify(program)
        assert op_without_location(program) is None
    assert "test_custom_gradient.py" in print_program(program)
