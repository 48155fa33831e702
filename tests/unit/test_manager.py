from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from xdsl.dialects.builtin import ModuleOp

from dfc.errors import FailedPrecondition, Internal, InvalidArgument, InvalidType
from dfc.ir import locations
from dfc.ir.builder import Builder
from dfc.ir.ops.elementwise import Tanh
from dfc.ir.ops.function import Func
from dfc.ir.text import parse_program
from dfc.passes import manager
from dfc.passes.cse import Cse
from dfc.passes.manager import Entry, Pass, Report, parse_pipeline, run
from dfc.passes.phases import Phase
from dfc.passes.prune import Prune

LOCATED = """
builtin.module {
  df.func {sym_name = "main", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<4xf32>):
    %a = df.tanh %x : tensor<4xf32> loc("model.py":1:1)
    %b = df.tanh %x : tensor<4xf32> loc("model.py":2:1)
    %y = df.add %a, %b : tensor<4xf32> loc("model.py":3:1)
    df.return %y : (tensor<4xf32>) -> () loc("model.py":4:1)
  }) : () -> () loc("model.py":5:1)
}
"""


PACKAGE = """
from dataclasses import dataclass
from typing import ClassVar
from dfc.passes.manager import Pass

@dataclass(frozen=True)
class Count(Pass):
    "Counts functions."
    name: ClassVar[str] = "count"
    times: int = 1
    def apply(self, program):
        return {"functions": self.times * sum(1 for _ in program.ops)}

@dataclass(frozen=True)
class Options(Pass):
    "Has an option of each type."
    name: ClassVar[str] = "options"
    needed: int
    loud: bool = False
    word: str = "plain"
    words: tuple[str, ...] = ()

not_a_pass = len
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installs a package with passes."""
    (tmp_path / "counting_passes.py").write_text(PACKAGE)
    info = tmp_path / "counting_passes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting-passes\nVersion: 1.0\n")
    names = ("count:Count", "options:Options", "wrong:not_a_pass")
    points = [f"{name} = counting_passes:{value}\n" for name, _, value in (n.partition(":") for n in names)]
    (info / "entry_points.txt").write_text("[dfc.passes]\n" + "".join(points))
    monkeypatch.syspath_prepend(str(tmp_path))
    manager._extensions.cache_clear()
    yield
    manager._extensions.cache_clear()
    sys.modules.pop("counting_passes", None)


# ---- pipelines as text


@pytest.mark.parametrize(
    "text",
    [
        "cse",
        "prune,cse",
        "prune{fetches=loss},cse",
        "prune{fetches=model/loss:1,accuracy}",
        "options{needed=-3}",
        "options{needed=0 loud=true word=other words=a,b}",
        'options{needed=1 word="two words" words="x,y",plain,"quo\\"te"}',
        'options{needed=1 word=""}',
    ],
)
@pytest.mark.usefixtures("package")
def test_a_pipeline_prints_as_it_was_written(text: str) -> None:
    assert ",".join(map(str, parse_pipeline(text))) == text


def test_a_pipeline_is_the_passes() -> None:
    assert parse_pipeline("prune{fetches=a,b}, cse ,prune") == [Prune(("a", "b")), Cse(), Prune()]
    assert parse_pipeline("  ") == []


@pytest.mark.usefixtures("package")
def test_options_have_their_types() -> None:
    (made,) = parse_pipeline("options{needed=007 loud=true word=3 words=4}")
    assert vars(made) == {"needed": 7, "loud": True, "word": "3", "words": ("4",)}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "prnue",
            "there is no pass 'prnue'\n"
            "  did you mean 'prune'? passes: prune, inline, loop-products, autodiff, feed, canonicalize, cse, "
            "place, lower-control-flow, partition, functionalise, divide-receives, cluster, offload, "
            "schedule-receives, specialize",
        ),
        (
            "zzz",
            "there is no pass 'zzz'\n  passes: prune, inline, loop-products, autodiff, feed, canonicalize, cse, "
            "place, lower-control-flow, partition, functionalise, divide-receives, cluster, offload, "
            "schedule-receives, specialize",
        ),
        (
            "prune{fetch=loss}",
            "the pass 'prune' has no option 'fetch'\n  did you mean 'fetches'? options: fetches",
        ),
        ("cse{fetches=loss}", "the pass 'cse' has no option 'fetches'\n  options: none"),
        (
            "canonicalize{limit=many}",
            "the option 'limit' of the pass 'canonicalize' must be an integer, got many",
        ),
        (
            "canonicalize{limit=1,2}",
            "the option 'limit' of the pass 'canonicalize' must be an integer, got 1,2",
        ),
        ("specialize", "the pass 'specialize' needs the option 'bindings'"),
        (
            "prune{fetches",
            "a pipeline reads name{option=value other=a,b},name; expected '=', got 'the end' at position 13 of "
            "'prune{fetches'",
        ),
        (
            "prune cse",
            "a pipeline reads name{option=value other=a,b},name; expected ',', got 'cse' at position 5 of 'prune cse'",
        ),
        (
            "prune,,cse",
            "a pipeline reads name{option=value other=a,b},name; expected 'a word', got ',' at position 6 of "
            "'prune,,cse'",
        ),
    ],
)
def test_a_wrong_pipeline_is_explained(text: str, error: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_pipeline(text)
    assert str(raised.value) == error


@pytest.mark.usefixtures("package")
def test_a_flag_is_true_or_false() -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_pipeline("options{needed=1 loud=yes}")
    assert str(raised.value) == "the option 'loud' of the pass 'options' must be true or false, got yes"


# ---- passes of other packages


@pytest.mark.usefixtures("package")
def test_another_package_adds_a_pass() -> None:
    passes = parse_pipeline("count{times=3},cse")
    assert str(passes[0]) == "count{times=3}"
    assert "count" in manager.pass_names()
    report = run(parse_program(LOCATED), passes)
    assert [e.summary for e in report] == ["functions 3", "merged 1"]


@pytest.mark.usefixtures("package")
def test_an_entry_point_must_be_a_pass() -> None:
    with pytest.raises(InvalidType) as raised:
        parse_pipeline("wrong")
    assert str(raised.value) == (
        "the pass 'wrong' must be a subclass of dfc.passes.manager.Pass, got <built-in function len>"
    )


# ---- running


def test_a_report_says_what_changed() -> None:
    report = Report([Entry("prune{fetches=loss}", 0.0015, {"erased": 0}), Entry("cse", 0.0005, {"merged": 3, "x": 1})])
    assert str(report) == (
        "pass                   ms  share  changed\n"
        "prune{fetches=loss}  1.50    75%  nothing\n"
        "cse                  0.50    25%  merged 3, x 1\n"
        "total                2.00"
    )


def test_run_adds_to_a_report_and_tells_observers() -> None:
    program, seen, report = parse_program(LOCATED), [], Report()
    run(program, [Cse()], report=report, observers=[lambda entry, at: seen.append((entry.summary, len(ops(at))))])
    run(program, [Cse()], report=report)
    assert seen == [("merged 1", 3)]
    assert [(e.text, e.summary) for e in report] == [("cse", "merged 1"), ("cse", "nothing")]


def ops(program: ModuleOp) -> list[str]:
    return [op.name for func in program.ops if isinstance(func, Func) for op in func.block.ops]


@dataclass(frozen=True)
class Breaks(Pass):
    """Moves the first op to the end: its value is used before it is made."""

    name: ClassVar[str] = "breaks"

    def apply(self, program: ModuleOp) -> dict[str, int]:
        (func,) = (op for op in program.ops if isinstance(op, Func))
        first = func.block.first_op
        assert first is not None
        first.detach()
        func.block.insert_op_before(first, func.terminator)
        return {"broken": 1}


@dataclass(frozen=True)
class Forgets(Pass):
    """Adds an op without a position."""

    name: ClassVar[str] = "forgets"

    def apply(self, program: ModuleOp) -> dict[str, int]:
        (func,) = (op for op in program.ops if isinstance(op, Func))
        Builder(func.block, before=func.terminator, location=locations.UNKNOWN)(Tanh, func.block.args[0])
        return {}


def test_dfc_verify_names_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_VERIFY", "2")
    with pytest.raises(Internal) as raised:
        run(parse_program(LOCATED), [Breaks(), Prune()])
    assert str(raised.value) == (
        "the program is not valid after the pass breaks: add: operand 0 is used before it is made\n  at model.py:3:1"
    )


def test_dfc_verify_1_looks_at_boundaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_VERIFY", "1")
    with pytest.raises(Internal) as raised:
        run(parse_program(LOCATED), [Breaks(), Prune()])
    assert str(raised.value) == (
        "the program is not valid after the pass prune: add: operand 0 is used before it is made\n  at model.py:3:1\n"
        "  DFC_VERIFY=2 looks after each pass and so finds the one that broke it"
    )
    run(parse_program(LOCATED), [Breaks(), Breaks(), Breaks()])  # three turns of three ops


@pytest.mark.parametrize("level", ["0", ""])
def test_by_default_nothing_is_verified(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_VERIFY", level)
    program = parse_program(LOCATED)
    run(program, [Breaks()], reaches=Phase.GRAPH)
    assert ops(program) == ["df.tanh", "df.add", "df.tanh", "df.return"]


def test_dfc_verify_2_misses_no_lost_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_VERIFY", "2")
    with pytest.raises(Internal) as raised:
        run(parse_program(LOCATED), [Cse(), Forgets()])
    assert str(raised.value) == (
        "df.tanh has no source position after the pass forgets, though every op had one before"
    )
    bare = "\n".join(line.partition(" loc(")[0] for line in LOCATED.splitlines())
    run(parse_program(bare), [Forgets()])  # without positions to begin with there is nothing to lose


def test_dfc_verify_is_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_VERIFY", "yes")
    with pytest.raises(InvalidArgument) as raised:
        run(parse_program(LOCATED), [])
    assert str(raised.value) == "DFC_VERIFY must be 0, 1 or 2, got 'yes'"


# ---- gates


def test_a_gate_names_the_op_the_line_and_the_pass() -> None:
    program = parse_program(
        """
builtin.module {
  df.func {sym_name = "main", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<f32>):
    %y = df.call %x {callee = "g", results = [tensor<f32>], stateful = false} : tensor<f32> loc("model.py":7:3)
    df.return %y : (tensor<f32>) -> ()
  }) : () -> ()
}
"""
    )
    with pytest.raises(FailedPrecondition) as raised:
        run(program, [Cse()], reaches=Phase.GRAPH)
    assert str(raised.value) == (
        "call: this op must be gone at phase graph\n"
        "  at model.py:7:3\n"
        "  the pass inline removes it: run inline earlier in the pipeline"
    )


def test_at_phase_clustered_islands_hold_what_a_device_can_do() -> None:
    program = parse_program(LOCATED)
    with pytest.raises(FailedPrecondition) as raised:
        run(program, [Cse()], reaches=Phase.CLUSTERED)
    assert str(raised.value) == (
        "tanh: this op must be gone at phase clustered\n"
        "  at model.py:1:1\n"
        "  the pass cluster removes it: run cluster earlier in the pipeline"
    )
    run(program, parse_pipeline("cluster"), reaches=Phase.CLUSTERED)


def test_every_phase_has_a_sentence() -> None:
    assert [p.value for p in Phase] == [
        *("trace", "graph", "placed", "partitioned", "clustered", "stablehlo", "executable"),
    ]
    assert all(p.help.endswith(".") and p.help.count(". ") == 0 for p in Phase)
    assert Phase.GRAPH.position < Phase.CLUSTERED.position


def test_a_pass_that_would_find_nothing_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from dfc.passes.canonicalize import Canonicalize

    runs = []

    def counted(self: Canonicalize, program: ModuleOp) -> dict[str, int]:
        runs.append(self)
        return {"folded": 2 if len(runs) == 1 else 0}

    monkeypatch.setattr(Canonicalize, "apply", counted)
    entries = manager.run(ModuleOp([]), manager.parse_pipeline("canonicalize,cse,canonicalize")).entries
    assert (len(runs), [e.text for e in entries]) == (1, ["canonicalize", "cse", "canonicalize"])
    assert [e.summary for e in entries] == ["folded 2", "nothing", "nothing"]
