"""Row D1: names of devices, whole and in part, how they combine, and the scopes that ask for them."""

from __future__ import annotations

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.devices import DeviceName, parse, parse_full
from dfc.ir.text import parse_program, print_program

FULL = "/job:ps/replica:0/task:1/device:GPU:2"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", DeviceName()),
        ("/job:a", DeviceName(job="a")),
        ("/task:3", DeviceName(task=3)),
        ("/replica:*/task:*", DeviceName()),
        (FULL, DeviceName("ps", 0, 1, "GPU", 2)),
        ("/job:ps/gpu:1", DeviceName(job="ps", kind="GPU", index=1)),
        ("cpu:0", DeviceName(kind="CPU", index=0)),
        ("/GPU:*", DeviceName(kind="GPU")),
        ("gpu", DeviceName(kind="GPU")),
        ("/device:FAKE:0", DeviceName(kind="FAKE", index=0)),
        ("/device:*:1", DeviceName(index=1)),
        ("/device:gpu", DeviceName(kind="GPU")),
    ],
)
def test_d1_parse(text: str, parts: DeviceName) -> None:
    assert parse(text) == parts
    assert parse(str(parts)) == parts


@pytest.mark.parametrize(
    "text", ["/job:", "/job:1a", "/task:x", "/device:GPU:x", "/foo:1", "/job:a/job:b", "//job:a", "/", "/job:a /task:0"]
)
def test_d1_malformed(text: str) -> None:
    if text == "/":
        assert parse(text) == DeviceName()
        return
    with pytest.raises(InvalidArgument, match="Malformed device specification"):
        parse(text)


def test_d1_a_whole_name_is_needed_for_one_device() -> None:
    assert parse_full(FULL).is_full
    with pytest.raises(InvalidArgument, match="'/job:ps' names no single device"):
        parse_full("/job:ps")


@pytest.mark.parametrize(
    ("a", "b", "merged"),
    [
        ("", "/gpu:0", "/device:GPU:0"),
        ("/job:a", "/gpu", "/job:a/device:GPU:*"),
        ("/job:a/task:1", "/job:a/device:CPU:0", "/job:a/task:1/device:CPU:0"),
        ("/device:GPU:*", "/device:GPU:1", "/device:GPU:1"),
    ],
)
def test_d1_merge(a: str, b: str, merged: str) -> None:
    assert str(parse(a).merged(parse(b))) == str(parse(b).merged(parse(a))) == merged


@pytest.mark.parametrize(
    ("a", "b", "part", "soft"),
    [
        ("/job:a/gpu:0", "/job:b", "jobs", None),
        ("/replica:0", "/replica:1", "replicas", None),
        ("/task:0", "/task:1", "tasks", None),
        ("/job:a/gpu:0", "/cpu:0", "types", "/job:a"),
        ("/job:a/gpu:0", "/gpu:1", "ids", "/job:a/device:GPU:*"),
    ],
)
def test_d1_merge_conflict(a: str, b: str, part: str, soft: str | None) -> None:
    first, second = parse(a), parse(b)
    text = f"Cannot merge devices with incompatible {part}: '{first}' and '{second}'"
    with pytest.raises(InvalidArgument) as raised:
        first.merged(second)
    assert raised.value.diagnostic.message == text
    if soft is None:
        with pytest.raises(InvalidArgument):
            first.merged(second, soft=True)
    else:
        assert str(first.merged(second, soft=True)) == soft


def test_d1_covers() -> None:
    assert parse("/job:ps").covers(parse(FULL)) and parse("gpu").covers(parse(FULL)) and parse(FULL).covers(parse(FULL))
    assert not parse("cpu").covers(parse(FULL)) and not parse("/job:ps/task:0").covers(parse(FULL))


@pytest.mark.parametrize(
    ("outer", "inner", "both"),
    [
        ("/job:a/task:1", "/gpu:0", "/job:a/task:1/device:GPU:0"),
        ("/gpu:1", "/cpu:*", "/device:CPU:*"),
        ("/gpu:1", "/gpu:*", "/device:GPU:1"),
        ("/job:a/gpu:1", "/job:b", "/job:b/device:GPU:1"),
    ],
)
def test_d1_nested_scopes(outer: str, inner: str, both: str) -> None:
    with dfc.Graph() as graph:
        with dfc.device(outer), dfc.device(inner):
            dfc.placeholder("float32", (), name="x")
        dfc.placeholder("float32", (), name="y")
        with dfc.device(outer), dfc.device(None):
            dfc.placeholder("float32", (), name="z")
    assert str(graph).count(f'device = "{both}"') == str(graph).count("device =") == 1


def test_d1_scopes_in_graphs_functions_and_loops_and_in_text() -> None:
    with dfc.Graph() as graph:
        with dfc.device("/cpu:0"):
            v = dfc.Variable(np.zeros(2, np.float32), name="v")
            outside = dfc.placeholder("float32", (2,), name="x")
        with dfc.colocate_with(v), dfc.colocate_with(outside):
            y = dfc.add(outside, outside)
        v.assign_add(y)
    text = str(graph)
    assert 'variable = "v", shape = [2], dtype = float32, device = "/device:CPU:0"' in text
    assert 'device = "/device:CPU:0", name = "x", colocate = "loc:@x"' in text
    assert 'df.add %0, %0 {colocate = "loc:@v loc:@x"}' in text or 'colocate = "loc:@v loc:@x"' in text

    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        with dfc.device("/cpu:0"):
            return dfc.fori_loop(0, 3, lambda i, c: c * 2, x)

    with dfc.device("/gpu:7"):
        program = f.graph(dfc.TensorSpec((2,), "float32"))
    again = print_program(parse_program(str(program)), locations=False)
    assert again == str(program)
    assert 'device = "/device:CPU:0"' in again and "GPU" not in again
    np.testing.assert_array_equal(f(np.ones(2, np.float32)).numpy(), [8, 8])


def test_d1_gradients_and_calls_are_where_the_forward_ops_are() -> None:
    from dfc.passes.manager import parse_pipeline, run

    @dfc.function
    def inner(x: dfc.Tensor) -> dfc.Tensor:
        return dfc.exp(x)

    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        with dfc.device("/gpu:1"):
            y = inner(x)
        return dfc.gradients(y, [x])[0]

    program = f.graph(dfc.TensorSpec((2,), "float32")).module.clone()
    run(program, parse_pipeline("prune,inline,autodiff"))
    func = [line for line in str(program).splitlines() if "df.exp" in line or "df.multiply" in line]
    assert func and all("/device:GPU:1" in line for line in func if "multiply" in line)


def test_d1_errors() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (), name="x")
        malformed = r"device: Malformed device specification '/gpu:one'\n  at .*test_d1"
        with pytest.raises(InvalidArgument, match=malformed), dfc.device("/gpu:one"):
            pass
        with pytest.raises(InvalidType, match="device: a device's name is a text, got 3"), dfc.device(3):  # type: ignore[arg-type]
            pass
        wrong = "colocate_with: a tensor, a variable or an operation is needed, got 'x'"
        with pytest.raises(InvalidType, match=wrong), dfc.colocate_with("x"):
            pass
    del graph, x

    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        with dfc.colocate_with(x):
            return x + 1

    with pytest.raises(InvalidArgument, match="is an input, which is on no device"):
        f(np.ones(2, np.float32))
