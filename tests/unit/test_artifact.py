"""Artifacts: written, read back in both processes, batches, state, damage."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from dfc.backends import reference
from dfc.errors import AlreadyExists, DataLoss, DfcError, InvalidArgument, InvalidType, NotFound, Unimplemented
from dfc.ir.dims import symbol
from dfc.ir.dtypes import as_dtype
from dfc.ir.ops.elementwise import Add, Multiply
from dfc.ir.ops.function import Func
from dfc.ir.ops.linalg import DotGeneral
from dfc.ir.ops.reduction import ReduceSum
from dfc.ir.ops.shape import BroadcastInDim, Transpose
from dfc.ir.ops.state import AssignAdd, Read
from dfc.ir.text import print_program
from dfc.ir.types import Spec
from dfc.runtime.artifact import EntrySpec, build_artifact, read_graph
from dfc.runtime.container import Reader, Writer
from dfc.runtime.load import ArtifactFile, load
from dfc.runtime.variables import VariableState
from tests.programs import Trace

ROOT = Path(__file__).resolve().parents[2]
F32 = "float32"
B = symbol("b")
WEIGHTS = np.random.default_rng(0).normal(size=(4, 30)).astype(np.float32)
TABLE = np.random.default_rng(1).normal(size=(4, 30)).astype(np.float32)  # too large to be printed


def state(name: str, value: Any) -> VariableState:
    array = np.asarray(value)
    return VariableState(name, Spec(array.shape, as_dtype(array.dtype)), array)


def contract(trace: Trace, x: Any, w: Any) -> Any:
    sides = {"lhs_batch": (), "rhs_batch": (), "lhs_contracting": (1,), "rhs_contracting": (0,)}
    return trace(DotGeneral, x, w, **sides)


def score_program() -> ModuleOp:
    """x (b, 4) times the weights plus x times a constant: rows are independent."""
    trace = Trace({"x": ((B, 4), F32)}, name="score")
    (x,) = trace.inputs
    product = contract(trace, x, trace.op(Read, trace.variable("weights", (4, 30), F32)).value)
    return trace.finish([trace(Add, product, contract(trace, x, trace.constant(TABLE, F32)))])


def score(x: Any) -> Any:
    return x @ WEIGHTS + x @ TABLE


def total_program() -> ModuleOp:
    """The sum of all rows of x (b, 2), and of x: rows are not independent."""
    trace = Trace({"x": ((B, 2), F32)}, name="total")
    trace.at(41)
    return trace.finish([trace(ReduceSum, trace.inputs[0], axes=(0, 1))])


def count_program() -> ModuleOp:
    """Adds x to a counter and returns it, beside a constant of strings."""
    trace = Trace({"x": ((), "int32")}, name="count")
    counter = trace.variable("counter", (), "int32")
    new = trace.op(Read, counter, trace.op(AssignAdd, counter, trace.inputs[0]).token)
    words = trace.constant(np.array([b"one", b"two\0"], object), "string")
    return trace.finish([new.value, words], [new.token])


STRUCTURE = {"dict": {"count": "tensor", "more": {"list": ["tensor", {"static": None}]}}}


def specs() -> list[EntrySpec]:
    counter = state("counter", np.array(100, np.int32))
    return [
        EntrySpec("score", score_program(), {"weights": state("weights", WEIGHTS)}, batch=[8, 2]),
        EntrySpec("total", total_program(), {}, "tensor", batch=[3]),
        EntrySpec("count", count_program(), {"counter": counter}, STRUCTURE),
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "model.dfc"
    build_artifact(specs()).save(path)
    return path


def x_of(rows: int, columns: int = 4) -> Any:
    return np.random.default_rng(rows).normal(size=(rows, columns)).astype(np.float32)


# ---- the file


def test_the_file_is_a_zip_of_stored_members_that_others_read(built: Path) -> None:
    with zipfile.ZipFile(built) as file:
        assert file.testzip() is None
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}
        names = file.namelist()
        manifest = json.loads(file.read("manifest.json"))
        digests = {name: hashlib.sha256(file.read(name)).hexdigest() for name in names if name != "manifest.json"}
    assert manifest["members"] == digests
    assert names[:4] == ["manifest.json", "graph.mlir", "resources/constants.safetensors", "variables.safetensors"]
    assert {"entries/score/b=2/plan.json", "entries/score/b=2/islands/0.vhlo"} < set(names)
    assert {"entries/score/b=8/islands/0.cpu.exe", "entries/count/static/plan.json"} < set(names)
    assert list(manifest["stamps"]) == [name for name in names if name.endswith(".exe")]


def test_weights_are_aligned_in_the_file(built: Path) -> None:
    from dfc.runtime.tensor_file import data_start

    reader = Reader(built)
    for name in ("variables.safetensors", "resources/constants.safetensors"):
        assert (reader.members[name].start + data_start(reader[name])) % 64 == 0
    assert all(m.start % 64 == 0 for name, m in reader.members.items() if not name.endswith(".safetensors"))


def test_equal_programs_give_equal_graphs_and_digests(built: Path, tmp_path: Path) -> None:
    build_artifact(specs()).save(tmp_path / "again.dfc")
    a, b = Reader(built), Reader(tmp_path / "again.dfc")
    assert list(a.members) == list(b.members)
    for name in a.members:
        assert timeless(bytes(a[name])) == timeless(bytes(b[name])), name


def timeless(content: bytes) -> bytes:
    """The manifest without how compiling went, and any other member as it is."""
    return re.sub(rb'"seconds": [0-9.]+,\s*"from_cache": (true|false)', b"", content)


def test_the_graph_comes_back_with_its_constants(built: Path) -> None:
    program = read_graph(built)
    entries = [op for op in program.ops if isinstance(op, Func) and op.sym_name.data == "score"]
    x = x_of(5)
    (found,), _ = reference.run(entries[0], [x], {"weights": WEIGHTS})
    np.testing.assert_allclose(found, score(x), rtol=1e-5, atol=1e-6)
    text = print_program(program)
    assert text.count('loc("model.py":41:1)') == 2  # of the entry total
    assert bytes(Reader(built)["graph.mlir"]).decode() == text


def test_the_manifest_describes_the_entries(built: Path) -> None:
    manifest = ArtifactFile(built).manifest
    found = manifest.entries["score"]
    assert [f"{t.name}: {t}" for t in found.inputs] == ["x: float32[b, 4]"]
    assert [f"{t.name}: {t}" for t in found.outputs] == ["output_0: float32[b, 30]"]
    assert (found.reads, found.writes, found.rows_independent) == (("weights",), (), True)
    assert found.sizes == ({"b": 2}, {"b": 8})
    assert found.ops["dot_general"] == 2
    assert manifest.entries["count"].writes == ("counter",)
    assert not manifest.entries["total"].rows_independent
    assert str(manifest.variables["weights"]) == "float32[4, 30]"


# ---- running, in this process and in one without jax

LEAN = """
import sys
import numpy as np
from dfc.runtime.load import load
assert not {"jax", "xdsl", "scipy", "dfc.frontend", "dfc.passes"} & set(sys.modules)
model = load(sys.argv[1], lean=True)
x = np.load(sys.argv[2])
np.savez(sys.argv[3], *[model.score(x=x[:rows])["output_0"] for rows in (2, 8, 5, 0, 20)],
         total=model.total(x=x[:3, :2]), counts=[model.count(x=[5, -2][i % 2])["count"] for i in range(3)])
assert model.count(x=0)["more"] == [model.count(x=0)["more"][0], None]
assert model.count(x=0)["more"][0].tolist() == [b"one", b"two\\0"]
loaded = {name.partition(".")[0] for name in sys.modules if sys.modules[name] is not None}
loaded |= {name for name in sys.modules if name in ("dfc.frontend", "dfc.passes")}
assert not {"jax", "xdsl", "scipy", "safetensors", "asyncio", "dfc.frontend", "dfc.passes"} & loaded, loaded
"""


def test_it_runs_the_same_without_jax(built: Path, tmp_path: Path) -> None:
    x = x_of(20)
    np.save(tmp_path / "x.npy", x)
    done = subprocess.run(
        [sys.executable, "-c", LEAN, str(built), str(tmp_path / "x.npy"), str(tmp_path / "out.npz")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found, model = np.load(tmp_path / "out.npz"), load(built)
    for index, rows in enumerate((2, 8, 5, 0, 20)):
        np.testing.assert_allclose(found[f"arr_{index}"], score(x[:rows]), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found[f"arr_{index}"], model.score(x=x[:rows])["output_0"])
    np.testing.assert_allclose(found["total"], x[:3, :2].sum(), rtol=1e-5)
    assert found["counts"].tolist() == [105, 103, 108]


def test_state_lasts_as_long_as_the_model(built: Path) -> None:
    model = load(built)
    assert [int(model.count(x=value)["count"]) for value in (1, 10)] == [101, 111]
    assert int(load(built).count(x=0)["count"]) == 100


def test_the_original_nest_comes_back(built: Path) -> None:
    nest = load(built).count(1)
    assert sorted(nest) == ["count", "more"]
    assert nest["more"][0].tolist() == [b"one", b"two\0"]
    assert nest["more"][1] is None
    assert float(load(built).total(np.ones((3, 2), np.float32))) == 6.0


def test_nested_inputs_go_by_their_parameter(tmp_path: Path) -> None:
    trace = Trace({"pair.left": ((2,), F32), "pair.right.0": ((2,), F32), "scale": ((), F32)}, name="f")
    left, right, scale = trace.inputs
    wide = trace(BroadcastInDim, scale, shape=(2,), dims=())
    program = trace.finish([trace(Multiply, trace(Add, left, right), wide)])
    build_artifact([EntrySpec("f", program, {}, {"namedtuple": "Answer", "fields": {"y": "tensor"}})]).save(
        tmp_path / "f.dfc"
    )
    entry = load(tmp_path / "f.dfc").f

    class Pair(NamedTuple):
        left: Any
        right: Any

    one, two = np.ones(2, np.float32), np.full(2, 2, np.float32)
    for answer in (entry({"left": one, "right": [two]}, 3), entry(pair=Pair(one, (two,)), scale=3.0)):
        assert type(answer).__name__ == "Answer"
        assert answer.y.tolist() == [9, 9]
    assert entry(**{"pair.left": one, "pair.right.0": two, "scale": 1}).y.tolist() == [3, 3]


def test_values_given_to_the_writer_replace_the_variables(tmp_path: Path) -> None:
    build_artifact(specs()[:1], values={"weights": np.zeros_like(WEIGHTS)}).save(tmp_path / "m.dfc")
    found = load(tmp_path / "m.dfc").score(x=x_of(2))["output_0"]
    np.testing.assert_allclose(found, x_of(2) @ TABLE, rtol=1e-5, atol=1e-6)


# ---- errors of the writer


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda s: build_artifact([]), InvalidArgument, "an artifact needs at least one entry"),
        (lambda s: build_artifact([s[0], s[0]]), AlreadyExists, "two entries are called 'score'"),
        (
            lambda s: build_artifact([replace(s[0], name="a/b")]),
            InvalidArgument,
            "an entry's name must be an identifier, got 'a/b'",
        ),
        (
            lambda s: build_artifact([replace(s[0], func="other")]),
            NotFound,
            "the program of entry 'score' has no function 'other'",
        ),
        (
            lambda s: build_artifact([replace(s[0], batch=())]),
            InvalidArgument,
            "entry 'score' has the symbolic dimension b, and no size for it was given\n"
            "  name the sizes to compile, for example --batch 1,8,32",
        ),
        (
            lambda s: build_artifact([replace(s[0], batch=[0])]),
            InvalidArgument,
            "batch sizes must be positive, got 0",
        ),
        (
            lambda s: build_artifact([s[0], replace(s[2], variables={"weights": state("weights", WEIGHTS)})]),
            AlreadyExists,
            "two variables of the artifact are called 'weights'; entry 'count' uses the second\n"
            "  give each variable a name of its own",
        ),
        (
            lambda s: build_artifact(s[:1], values={"weights": np.zeros((3, 4), np.float32)}),
            InvalidArgument,
            "variable 'weights' is float32[4, 30], and the value given for it is float32[3, 4]",
        ),
    ],
)
def test_the_writer_refuses(make: Callable[[Any], Any], kind: type[DfcError], text: str) -> None:
    with pytest.raises(kind) as caught:
        make(specs())
    assert str(caught.value) == text


def test_two_symbols_are_refused() -> None:
    trace = Trace({"x": ((B, symbol("h")), F32)}, name="f")
    with pytest.raises(InvalidArgument) as caught:
        build_artifact([EntrySpec("f", trace.finish([trace(Add, *trace.inputs * 2)]), {}, batch=[1])])
    assert str(caught.value) == "entry 'f' has the symbolic dimensions b, h; only one can get batch sizes"


def test_string_ops_are_refused() -> None:
    trace = Trace({"words": ((2, 3), "string")}, name="f")
    program = trace.finish([trace(Transpose, trace.inputs[0], permutation=(1, 0))])
    with pytest.raises(Unimplemented) as caught:
        build_artifact([EntrySpec("f", program, {})])
    assert str(caught.value) == (
        "entry 'f' needs the host for 1 ops on strings, and an artifact holds compiled programs and string constants "
        "only\n  at model.py:1:1"
    )


def test_without_a_target_the_portable_program_is_compiled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build_artifact(specs()[:1], targets=[]).save(tmp_path / "m.dfc")
    with caplog.at_level(logging.WARNING, logger="dfc"):
        found = load(tmp_path / "m.dfc").score(x=x_of(2))["output_0"]
    np.testing.assert_allclose(found, score(x_of(2)), rtol=1e-5, atol=1e-6)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'm.dfc'}: it holds no executable for 'score' on the CPU; the portable program is compiled instead"
    ]


def test_a_file_that_could_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a.dfc")
    writer.add("x", b"1")
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


# ---- errors of a call

BAD_CALLS: list[tuple[str, dict[str, Any], type[DfcError], str]] = [
    ("score", {}, InvalidArgument, "entry 'score' needs input 'x'\n  inputs: x float32[b, 4]"),
    ("score", {"x": 1, "y": 2}, InvalidArgument, "entry 'score' has no input 'y'\n  inputs: x float32[b, 4]"),
    (
        "score",
        {"x": np.zeros((2, 4))},
        InvalidType,
        "input 'x' of 'score' must be float32[b, 4], got float64[2, 4]",
    ),
    (
        "score",
        {"x": np.zeros((2, 5), np.float32)},
        InvalidArgument,
        "input 'x' of 'score' must be float32[b, 4], where b = 2, got float32[2, 5]",
    ),
    (
        "score",
        {"x": np.zeros(4, np.float32)},
        InvalidArgument,
        "input 'x' of 'score' must be float32[b, 4], got float32[4]",
    ),
    (
        "count",
        {"x": "many"},
        InvalidType,
        "input 'x' of 'count' must be int32[], got 'many'",
    ),
    *(
        ("count", {"x": wrong}, InvalidType, f"input 'x' of 'count' must be int32[], got {wrong!r}")
        for wrong in (1.5, True, "2", None, {"a": 1})
    ),
    ("score", {"x": [[True]]}, InvalidType, "input 'x' of 'score' must be float32[b, 4], got [[True]]"),
    *(
        ("count", {"x": wrong}, InvalidArgument, f"input 'x' of 'count' must be int32[], which {wrong} does not fit")
        for wrong in (99999999999, -(2**31) - 1, 2**64, -(2**70))
    ),
    (
        "score",
        {"x": [[1e39, 0, 0, 0]]},
        InvalidArgument,
        "input 'x' of 'score' must be float32[b, 4], which [[1e+39, 0, 0, 0]] does not fit",
    ),
    (
        "count",
        {"x": np.zeros(2, np.int32)},
        InvalidArgument,
        "input 'x' of 'count' must be int32[], got int32[2]",
    ),
]


@pytest.mark.parametrize(("entry", "inputs", "kind", "text"), BAD_CALLS)
def test_a_wrong_call_is_one_sentence(
    built: Path, entry: str, inputs: dict[str, Any], kind: type[DfcError], text: str
) -> None:
    with pytest.raises(kind) as caught:
        load(built).entry(entry)(**inputs)
    assert str(caught.value) == text


def test_arguments_by_position_are_counted(built: Path) -> None:
    with pytest.raises(InvalidArgument) as many:
        load(built).count(1, 2)
    assert str(many.value) == "entry 'count' takes 1 arguments, got 2"
    with pytest.raises(InvalidArgument) as twice:
        load(built).count(1, x=2)
    assert str(twice.value) == "entry 'count' got input 'x' by position and by name"


def test_dependent_rows_are_neither_padded_nor_split(built: Path) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load(built).total(x=x_of(2, 2))
    first, second = str(caught.value).splitlines()
    assert first.startswith(
        "entry 'total' is compiled for b = 3, got 2; it can be neither padded nor split, because its rows may depend "
        "on each other: "
    )
    assert "model.py:41" in first
    assert second == "  compile it with --batch 2,3"


def test_an_entry_that_is_not_there(built: Path) -> None:
    model = load(built)
    with pytest.raises(NotFound) as caught:
        model.entry("predict")
    assert str(caught.value) == f"{built} has no entry 'predict'\n  entries: score, total, count"
    with pytest.raises(AttributeError, match="has no entry 'predict'"):
        _ = model.predict
    assert not hasattr(model, "_private")
    assert {"score", "entries"} <= set(dir(model))


# ---- damage


def changed(source: Path, target: Path, change: Callable[[dict[str, bytes]], None], *, keep_digests: bool) -> Path:
    """A copy of an artifact with other members."""
    reader = Reader(source)
    members = {name: bytes(reader[name]) for name in reader.members}
    change(members)
    if not keep_digests:
        manifest = json.loads(members["manifest.json"])
        for name in manifest["members"]:
            if name in members:
                manifest["members"][name] = hashlib.sha256(members[name]).hexdigest()
        members["manifest.json"] = json.dumps(manifest).encode()
    writer = Writer(target)
    for name, content in members.items():
        writer.add(name, content)
    writer.close()
    return target


def edit(**values: Any) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps({**json.loads(members["manifest.json"]), **values}).encode()

    return change


def drop(name: str) -> Callable[[dict[str, bytes]], None]:
    return lambda members: members.__delitem__(name)


def corrupt(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        content = bytearray(members[name])
        content[-1] ^= 1
        members[name] = bytes(content)

    return change


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        load(tmp_path / "none.dfc")
    assert str(caught.value) == f"there is no file {tmp_path / 'none.dfc'}"
    with pytest.raises(InvalidArgument) as folder:
        load(tmp_path)
    assert str(folder.value) == f"{tmp_path} can't be read: Is a directory"


@pytest.mark.parametrize("length", [0, 10, 100, 1000, -1, -30, -2000])
def test_a_truncated_file_is_one_clear_error(built: Path, tmp_path: Path, length: int) -> None:
    path = tmp_path / "cut.dfc"
    path.write_bytes(built.read_bytes()[:length])
    with pytest.raises(DataLoss) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path} is not a dfc artifact, or it is ")
    assert "truncated" in str(caught.value)


def test_other_files_are_not_artifacts(tmp_path: Path) -> None:
    (tmp_path / "text.dfc").write_text("hello " * 100)
    with pytest.raises(
        DataLoss, match="is not a dfc artifact, or it is damaged or truncated: it has no table of members"
    ):
        load(tmp_path / "text.dfc")
    with zipfile.ZipFile(tmp_path / "other.dfc", "w") as file:
        file.writestr("a.txt", "hello")
    with pytest.raises(DataLoss, match=r"is a zip without manifest\.json, so it is not a dfc artifact"):
        load(tmp_path / "other.dfc")
    with zipfile.ZipFile(tmp_path / "packed.dfc", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("manifest.json", "hello" * 100)
    with pytest.raises(DataLoss, match=r"its member 'manifest\.json' is compressed or encrypted"):
        load(tmp_path / "packed.dfc")


def test_any_flipped_byte_of_the_table_is_found(built: Path, tmp_path: Path) -> None:
    content = built.read_bytes()
    start = content.index(b"PK\1\2")
    path, rng = tmp_path / "flipped.dfc", np.random.default_rng(0)
    for position in rng.integers(start, len(content), 60):
        broken = bytearray(content)
        broken[position] ^= 1 << rng.integers(8)
        path.write_bytes(broken)
        try:  # some bytes, such as dates, mean nothing; none may give another answer or another kind of error
            found = load(path).score(x=x_of(2))["output_0"]
            np.testing.assert_allclose(found, score(x_of(2)), rtol=1e-5, atol=1e-6)
        except DataLoss:
            pass


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (edit(format=2), "has format 2, and this dfc reads formats up to 1\n  it was written by dfc "),
        (edit(format="x"), "is damaged: its manifest can't be read (invalid literal for int()"),
        (edit(entries={"score": {}}), "is damaged: its manifest is not complete (KeyError('inputs'))"),
    ],
)
def test_a_wrong_manifest_is_refused(
    built: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], text: str
) -> None:
    path = changed(built, tmp_path / "m.dfc", change, keep_digests=True)
    with pytest.raises(DfcError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path} {text}")
    assert isinstance(caught.value, InvalidArgument if "reads formats" in text else DataLoss)


EXECUTABLE = "entries/score/b=2/islands/0.cpu.exe"


@pytest.mark.parametrize("member", ["variables.safetensors", EXECUTABLE, "entries/score/b=2/plan.json"])
def test_a_damaged_member_is_found_when_it_is_used(built: Path, tmp_path: Path, member: str) -> None:
    broken = changed(built, tmp_path / "m.dfc", corrupt(member), keep_digests=True)
    assert load(broken).total(x=np.ones((3, 2), np.float32)) == 6  # which uses none of them
    with pytest.raises(DataLoss) as caught:
        load(broken).score(x=x_of(2))
    assert str(caught.value) == f"{broken} is damaged: {member} does not have the digest that the manifest states"
    lacking = changed(built, tmp_path / "n.dfc", drop(member), keep_digests=True)
    with pytest.raises(DataLoss) as missing:
        load(lacking).score(x=x_of(2))
    assert str(missing.value) == f"{lacking} is damaged: it lacks {member}"


def test_a_plan_that_makes_no_sense_is_refused(built: Path, tmp_path: Path) -> None:
    for plan in (b"{", b"{}", b'{"n_inputs": 1, "calls": [], "outputs": [5]}'):

        def change(members: dict[str, bytes], plan: bytes = plan) -> None:
            members["entries/score/b=2/plan.json"] = plan

        path = changed(built, tmp_path / "m.dfc", change, keep_digests=False)
        with pytest.raises(DataLoss, match=r"plan\.json is (damaged|not JSON)|is damaged: .*plan\.json is not JSON"):
            load(path).score(x=x_of(2))


@pytest.mark.parametrize(
    ("stamp", "why"),
    [
        ({"cpu_features": ["avx512f", "quantum"]}, "the executable needs the CPU features "),
        ({"jaxlib": "0.0.1"}, "the executable needs jaxlib '0.0.1', and here it is "),
    ],
)
def test_an_executable_for_another_machine_is_compiled_anew_and_said_once(
    built: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, stamp: dict[str, Any], why: str
) -> None:
    def change(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        for name in manifest["stamps"]:
            manifest["stamps"][name].update(stamp)
        members["manifest.json"] = json.dumps(manifest).encode()

    path = changed(built, tmp_path / "m.dfc", change, keep_digests=True)
    model = load(path)
    with caplog.at_level(logging.WARNING, logger="dfc"):
        for rows in (2, 8):
            np.testing.assert_allclose(model.score(x=x_of(rows))["output_0"], score(x_of(rows)), rtol=1e-5, atol=1e-6)
        assert int(model.count(x=1)["count"]) == 101
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"{path}: {why}")
    assert message.endswith("; the portable program is compiled instead")


def test_the_file_may_be_deleted_while_it_is_open(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.dfc"
    shutil.copy(built, path)
    model = load(path)
    path.unlink()
    np.testing.assert_allclose(model.score(x=x_of(2))["output_0"], score(x_of(2)), rtol=1e-5, atol=1e-6)
