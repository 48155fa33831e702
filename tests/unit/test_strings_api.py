"""`dfc.strings` as users call it: string tensors in and out of functions, at once, and between islands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import DataLoss, DfcError, InvalidArgument, InvalidType, OutOfRange, Unimplemented
from dfc.ir.op import short_name
from dfc.runtime.step import clustered

strings: Any = dfc.strings


def values(tensor: Any) -> Any:
    return tensor.numpy().tolist()


# ---- tensors of strings


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("größe", "größe".encode()),
        (b"\0a\0", b"\0a\0"),
        (["a", b"b"], [b"a", b"b"]),
        ([["a"], ["bcd"]], [[b"a"], [b"bcd"]]),
        (np.array(["ä", "b"]), ["ä".encode(), b"b"]),
        (np.array([b"x", b"yz"]), [b"x", b"yz"]),
        (np.array(["p", b"q\0"], object), [b"p", b"q\0"]),
        (np.str_("s"), b"s"),
    ],
)
def test_what_becomes_a_tensor_of_strings(given: Any, expected: Any) -> None:
    tensor = dfc.asarray(given)
    assert tensor.dtype is dfc.string and tensor.device == "host"
    assert values(tensor) == expected
    assert values(dfc.function(lambda: dfc.asarray(given))()) == expected


def test_a_tensor_keeps_its_strings() -> None:
    mine = np.array([b"a", b"b"], object)
    tensor = dfc.asarray(mine)
    mine[0] = b"changed"
    tensor.numpy()[1] = b"changed"
    assert values(tensor) == [b"a", b"b"]
    assert tensor[0].item() == b"a"
    assert [values(element) for element in dfc.asarray([b"x\0", b"y"])] == [b"x\0", b"y"]
    assert values(dfc.full((2,), "z")) == [b"z", b"z"]
    assert repr(tensor) == "<dfc.Tensor string[2] [b'a', b'b']>"


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: dfc.asarray(["a", 1]), InvalidArgument, "the nested list is not an array of strings"),
        (lambda: dfc.asarray([["a"], ["b", "c"]]), InvalidArgument, "the nested list is not an array of strings"),
        (lambda: dfc.asarray(np.array([None])), InvalidType, "an array of strings holds str and bytes, got a NoneType"),
        (lambda: dfc.asarray("1", dtype="int32"), InvalidType, "strings don't convert to int32"),
        (lambda: dfc.asarray(np.array(["1"]), dtype="int32"), InvalidType, "strings don't convert to numbers or back"),
        (lambda: dfc.asarray(np.array([1]), dtype="string"), InvalidType, "strings don't convert to numbers or back"),
        (lambda: dfc.asarray(["a"]) + 1, InvalidType, "string and the number 1 have no common dtype"),
        (lambda: dfc.Variable(["a"]), InvalidType, "a variable can't hold strings"),
        (lambda: dfc.Variable(dfc.TensorSpec((2,), "string")), InvalidType, "a variable can't hold strings"),
        (lambda: dfc.zeros(2, dtype="string"), InvalidType, "a number can't be a string, got 0"),
        (lambda: strings.upper([1.0]), InvalidType, "strings are needed, got float32[1]"),
        (lambda: strings.join([]), InvalidArgument, "at least one input is needed"),
        (lambda: strings.split("a", 3, size=1), InvalidType, "the separator must be a Python string"),
        (lambda: strings.regex_full_match("a", "("), InvalidArgument, "the pattern '(' is wrong"),
        (lambda: strings.to_number(["1", "x"]), InvalidArgument, "b'x' is not a number of float32"),
        (lambda: strings.to_number("300", dtype="int8"), InvalidArgument, "b'300' is outside the range of int8"),
        (lambda: strings.to_number("1_0", dtype="int8"), InvalidArgument, "b'1_0' is not a number of int8"),
        (lambda: strings.length(b"\xff", characters=True), InvalidArgument, "the bytes must be UTF-8, got b'\\xff'"),
        (lambda: strings.decode_base64("Z"), InvalidArgument, "b'Z' is not base64"),
        (lambda: strings.decode_base64("Z+=="), InvalidArgument, "b'Z+==' is not base64"),
        (lambda: strings.decode_raw("abc", dtype="int16", size=1), InvalidArgument, "1 elements of int16 need 2 bytes"),
        (lambda: strings.unicode_encode([0xD800]), InvalidArgument, "[55296] are not all code points"),
        (lambda: dfc.take(dfc.asarray(["a"]), [1]), OutOfRange, "indices[0] = 1 is not in [0, 1)"),
    ],
)
def test_errors_say_what_is_wrong_and_where(make: Any, kind: type[DfcError], message: str) -> None:
    with pytest.raises(DfcError) as caught:
        make()
    assert type(caught.value) is kind
    assert message in str(caught.value)
    assert "test_strings_api.py:" in str(caught.value)


# ---- operations


def test_operations_at_once() -> None:
    assert values(strings.length(["a", "größe"])) == [1, 7]
    assert values(strings.length("größe", characters=True)) == 5
    assert values(strings.upper("straße", unicode=True)) == b"STRASSE"
    assert values(strings.lower("ABC")) == b"abc"
    assert values(strings.strip(dfc.asarray(" x "))) == b"x"
    assert values(strings.substring(["hello", "abc"], -2, 5)) == [b"lo", b"bc"]
    assert values(strings.find("banana", "nan")) == 2
    assert values(strings.join([["a", "b"], "-", ["x", "y"]])) == [b"a-x", b"b-y"]
    assert values(strings.join(dfc.asarray([["a", "b"], ["c", "d"]]), separator="+")) == [b"a+c", b"b+d"]
    assert values(strings.reduce_join([["a", "b"], ["c", "d"]], axis=-1)) == [b"ab", b"cd"]
    assert values(strings.reduce_join([["a", "b"], ["c", "d"]], separator=" ")) == b"a b c d"
    parts = strings.split(["a b", " c "], size=2)
    assert values(parts.values) == [[b"a", b"b"], [b"c", b""]] and values(parts.counts) == [2, 1]
    assert values(strings.regex_replace("a1b2", r"([a-z])(\d)", r"\2\1")) == b"1a2b"
    assert values(strings.regex_full_match(["12", "x"], rb"\d+")) == [True, False]
    assert values(strings.to_number(["1", "2"], dtype="int64")) == [1, 2]
    assert values(strings.as_string([0.1, 2.0])) == [b"0.1", b"2.0"]
    assert values(strings.as_string([1, 2])) == [b"1", b"2"]
    assert values(strings.encode_base64("foob", pad=True)) == b"Zm9vYg=="
    assert values(strings.decode_base64("Zm9vYg")) == b"foob"
    assert values(strings.decode_raw(["\1\2", "\3\4"], dtype="uint8", size=2)) == [[1, 2], [3, 4]]
    assert values(strings.encode_raw(np.array([[1, 2]], np.uint8))) == [b"\1\2"]
    points = strings.unicode_decode("aß", size=3)
    assert values(points.values) == [97, 223, -1] and points.counts.item() == 2
    assert values(strings.unicode_encode(points.values)) == "aß".encode()


def test_hash_buckets_spread_and_stay() -> None:
    buckets = strings.to_hash_bucket([str(i) for i in range(4000)], 10).numpy()
    assert buckets.dtype == np.int64
    counts = np.bincount(buckets, minlength=10)
    assert ((counts > 300) & (counts < 500)).all()
    assert strings.to_hash_bucket("hello", 1 << 62).item() == 0x7D34E501A8EDB6A7 % (1 << 62)


def test_comparison_selection_and_shape_work_on_strings() -> None:
    x = dfc.asarray([["a", "b"], ["c", "a"]])
    assert values(x == "a") == [[True, False], [False, True]]
    assert values(x != x.T) == [[False, True], [True, False]]
    assert values(dfc.where(x == "a", "-", x)) == [[b"-", b"b"], [b"c", b"-"]]
    assert values(dfc.concat([x[0], x[1, ::-1]])) == [b"a", b"b", b"a", b"c"]
    assert values(dfc.broadcast_to("z", (2,))) == [b"z", b"z"]
    assert values(dfc.take(x, [1, 0], axis=0)) == [[b"c", b"a"], [b"a", b"b"]]


@pytest.mark.parametrize("value", [np.arange(6.0).reshape(2, 3), np.array(True), np.array(["a", "é"])])
def test_serialized_tensors_come_back(value: Any) -> None:
    tensor = dfc.asarray(value)
    data = strings.serialize_tensor(tensor)
    again = strings.parse_tensor(data, shape=tensor.shape, dtype=tensor.dtype)
    assert again.dtype is tensor.dtype and values(again) == values(tensor)
    with pytest.raises(InvalidArgument, match="the string must hold int8\\[7\\], got "):
        strings.parse_tensor(data, shape=(7,), dtype="int8")


@pytest.mark.parametrize("cut", [0, 3, 5, 12, 20, -1])
def test_damaged_tensors_are_data_loss(cut: int) -> None:
    whole = strings.serialize_tensor(["ab", "c"]).item()
    with pytest.raises(DataLoss, match="holds no tensor"):
        strings.parse_tensor(whole[:cut], shape=(2,), dtype="string")


# ---- in functions


def test_islands_on_both_sides_of_the_host() -> None:
    @dfc.function
    def f(x: Any, names: Any) -> Any:
        rows = dfc.sum(x * 2, axis=1)
        labels = strings.join([names, strings.as_string(rows)], separator="=")
        return labels, dfc.astype(strings.length(labels), "float32") + rows, x + 1

    x, names = np.array([[1, 2], [30, 40]], np.float32), np.array(["a", "bc"])
    labels, numbers, plus = f(x, names)
    assert values(labels) == [b"a=6.0", b"bc=140.0"]
    assert values(numbers) == [5 + 6, 8 + 140]
    assert values(plus) == [[2, 3], [31, 41]]
    spec = dfc.TensorSpec
    func = clustered(f.graph(spec((2, 2), "float32"), spec((2,), "string")).module, "f", {})
    ops = [short_name(type(op)) for op in func.block.ops]
    assert ops.count("island") == 2
    assert ops.index("island") < ops.index("string_join") < len(ops) - 1 - ops[::-1].index("island")
    assert f(x, names + "!")[0].numpy().tolist() == [b"a!=6.0", b"bc!=140.0"]


def test_any_batch() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b",), "string", name="text")])
    def words(text: Any) -> Any:
        return strings.split(text, size=2).counts * 2

    assert values(words(["a b", "c"])) == [4, 2]
    assert values(words(np.array(["a b c d"]))) == [8]


def test_state_and_strings_in_one_function() -> None:
    total = dfc.Variable(0.0)

    @dfc.function
    def count(x: Any) -> Any:
        total.assign_add(dfc.sum(strings.to_number(x)))
        return total.read()

    assert count(dfc.asarray(["1", "2"])).item() == 3
    assert count(dfc.asarray(["4", "5.5"])).item() == 12.5
    with pytest.raises(InvalidArgument, match="b'x' is not a number"):
        count(dfc.asarray(["x", "1"]))
    assert total.numpy() == 12.5


def test_new_strings_need_no_new_trace() -> None:
    from dfc.frontend.immediate import _functions

    assert values(strings.upper("first")) == b"FIRST"
    (function,) = (f for f in _functions.values() if f.__module__ == strings.upper.__module__ and f.name == "upper")
    before = function.explain()
    for i in range(5):
        assert values(strings.upper(f"x{i}")) == f"X{i}".encode()
    assert function.explain() == before


def test_no_gradient_passes() -> None:
    def f(x: Any) -> Any:
        return x * strings.to_number(strings.as_string(x))

    assert dfc.grad(f)(dfc.asarray(3.0)).item() == 3.0


def test_an_artifact_refuses_host_operations(tmp_path: Path) -> None:
    @dfc.function(signature=[dfc.TensorSpec((2,), "string", name="x")])
    def f(x: Any) -> Any:
        return strings.upper(x)

    with pytest.raises(Unimplemented, match="entry 'f' needs the host for 1 ops on strings"):
        dfc.compile([f]).save(tmp_path / "m.dfc")


def test_the_line_of_an_error_is_that_of_the_call() -> None:
    """Not that of an earlier one, for which the same program was made."""
    strings.to_number(["1.5", "2", "3"])
    with pytest.raises(InvalidArgument, match=r"test_strings_api\.py:\d+:\d+: strings\.to_number\(wrong\)"):
        wrong = ["1", "2", "here"]
        strings.to_number(wrong)


@pytest.mark.parametrize("dtype", [np.float64, float, "int32"])
def test_that_is_so_where_a_class_says_a_dtype(dtype: Any) -> None:
    strings.to_number(["1", "2"], dtype=dtype)
    with pytest.raises(InvalidArgument, match=r"test_strings_api\.py:\d+:\d+: strings\.to_number\(there"):
        there = ["1", "here"]
        strings.to_number(there, dtype=dtype)
