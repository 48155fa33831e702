"""The command line, from a model's file to answers. In this process, but for what is about processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner, Result

from dfc.runtime.checkpoint import save
from dfc.tools.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]

MODEL = """
import dfc
import numpy as np

weights = dfc.Variable(np.arange(12, dtype=np.float32).reshape(4, 3), name="weights")
total = dfc.Variable(np.zeros((), np.float32), name="total")


@dfc.function(signature=[dfc.TensorSpec(("batch", 4), "float32", name="x")])
def predict(x):
    logits = dfc.matmul(x, weights)
    return {"best": dfc.argmax(logits, axis=-1), "logits": logits}


@dfc.function(signature=[dfc.TensorSpec((), "float32", name="amount")])
def add(amount):
    total.assign_add(amount)
    return total.read()


@dfc.function
def not_an_entry(x):
    return x


if __name__ == "__main__":
    raise SystemExit("the command must not run this")
"""
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DFC_DEBUG", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


def dfc(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def ok(*arguments: object) -> Result:
    result = dfc(*arguments)
    assert result.exit_code == 0, result.output
    return result


def failure(*arguments: object, code: int = 1) -> str:
    """The message of a command that must fail, with one sentence and no traceback."""
    result = dfc(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    progress, _, message = result.stderr.partition("Error: ")
    assert all(line.startswith(("imported ", "Usage: ", "Try ")) for line in progress.splitlines() if line)
    return message.rstrip("\n")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifact")
    (folder / "model.py").write_text(MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        ok("compile", folder / "model.py", "-o", folder / "model.dfc", "--batch", "2,4")
    return folder / "model.dfc"


def read(path: str) -> dict[str, Any]:
    with np.load(path) as file:
        return dict(file)


# ---- compile


def test_compile_writes_beside_the_caller_and_says_so(here: Path) -> None:
    (here / "elsewhere").mkdir()
    shutil.move("model.py", "elsewhere/model.py")
    result = ok("compile", "elsewhere/model.py", "--batch", "2")
    assert (here / "model.dfc").is_file()
    assert result.stdout == ""
    assert "imported elsewhere/model.py: predict, add" in result.stderr
    assert "compiled predict for batch=2" in result.stderr
    assert "wrote model.dfc" in result.stderr


def test_compile_takes_only_the_entries_that_are_named() -> None:
    ok("compile", "model.py", "--entry", "add", "-o", "add.dfc")
    assert list(json.loads(ok("inspect", "add.dfc", "--json").stdout)["entries"]) == ["add"]


def test_compile_takes_values_from_a_checkpoint(here: Path) -> None:
    values = {"weights": np.ones((4, 3), np.float32), "total": np.array(5, np.float32)}
    values["weights/momentum"] = np.ones((4, 3), np.float32)
    save(here / "checkpoints", 1, {**values, "weights": np.zeros((4, 3), np.float32)})
    save(here / "checkpoints", 2, values)
    told = ok("compile", "model.py", "--batch", "1", "--checkpoint", "checkpoints").stderr.splitlines()
    assert told[1] == "the checkpoint has 1 more, which no entry uses: weights/momentum"
    np.save("x.npy", np.ones((1, 4), np.float32))
    ok("run", "model.dfc", "--entry", "predict", "--input", "x=@x.npy", "--output", "y.npz")
    np.testing.assert_array_equal(read("y.npz")["logits"], np.full((1, 3), 4))
    assert "6." in ok("run", "model.dfc", "--entry", "add", "--input", "amount=1").stdout


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"weights": None}, "checkpoints/ckpt-1 lacks 1 of 2 names: weights"),
        (
            {"weights": np.zeros((3, 4), np.float32)},
            "variable 'weights' is float32[4, 3], and the value given for it is float32[3, 4]",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(change: dict[str, Any], text: str) -> None:
    values: dict[str, Any] = {"weights": WEIGHTS, "total": np.array(0, np.float32), **change}
    save("checkpoints", 1, {name: value for name, value in values.items() if value is not None})
    assert text in failure("compile", "model.py", "--batch", "1", "--checkpoint", "checkpoints")


def test_a_checkpoint_without_the_random_generator(here: Path) -> None:
    (here / "noisy.py").write_text(
        "import dfc\n\nw = dfc.Variable(2.0, name='w')\n\n\n"
        "@dfc.function(signature=[dfc.TensorSpec((3,), name='x')])\n"
        "def noisy(x):\n    return w * x + dfc.random.normal((3,))\n"
    )
    save("checkpoints", 1, {"w": np.array(5, np.float32)})
    told = ok("compile", "noisy.py", "--checkpoint", "checkpoints").stderr.splitlines()
    assert told[1] == "the checkpoint lacks random_generator: the state of a generator keeps its present value"
    assert told[2].startswith("compiled noisy")
    ok("run", "noisy.dfc", "--input", "x=[1,2,3]")


def test_compile_to_a_phase_prints_the_program() -> None:
    trace = ok("compile", "model.py", "--entry", "predict", "--to=trace").stdout
    assert trace.startswith("builtin.module {\n  df.func")
    assert 'model.py":11:' in trace
    graph = ok("compile", "model.py", "--to=graph").stdout
    assert graph.count("df.func") == 2
    assert graph.count("// -----\n") == 1
    clustered = ok("compile", "model.py", "--entry", "add", "--to=clustered").stdout
    assert "df.island" in clustered
    for size in ("2", "3"):
        text = ok("compile", "model.py", "--entry", "predict", "--to=stablehlo", "--batch", size).stdout
        assert f"tensor<{size}x4xf32>" in text
        assert "stablehlo.dot_general" in text
    assert "HloModule" in ok("compile", "model.py", "--entry", "add", "--to=executable").stdout
    assert not Path("model.dfc").exists()


def test_compile_shows_the_passes_at_work() -> None:
    result = ok("compile", "model.py", "--entry", "add", "--print-ir-after-all", "--time-passes", "--to=graph")
    assert "// ----- after inline\nbuiltin.module" in result.stderr
    assert result.stdout.startswith("builtin.module")
    table = result.stderr[result.stderr.index("pass  ") :].splitlines()
    assert [line.split()[0] for line in table] == [
        "pass", "prune", "inline", "loop-products", "autodiff", "feed", "loop-products", "prune", "canonicalize", "cse",
        "canonicalize", "total",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "arguments", "text"),
    [
        (
            MODEL,
            ["--entry", "predic"],
            "model.py has no entry 'predic'\n  did you mean 'predict'? entries: predict, add",
        ),
        (
            MODEL,
            ["--entry", "not_an_entry"],
            "'not_an_entry' in model.py has no signature, so it can't be an entry\n"
            "  give one: @dfc.function(signature=[dfc.TensorSpec(...)])",
        ),
        (
            "x = 1\n",
            [],
            "model.py has no entry\n  an entry is a function at the top level with @dfc.function(signature=[...])",
        ),
        (
            MODEL,
            [],
            "entry 'predict' has the symbolic dimension batch, and no size for it was given\n"
            "  name the sizes to compile, for example --batch 1,8,32",
        ),
        (
            "import dfc\n\nweights = undefined + 1\n",
            [],
            "importing model.py failed: NameError: name 'undefined' is not defined\n"
            "  at {here}/model.py:3: weights = undefined + 1",
        ),
        ("def f(:\n", [], "model.py is not valid Python: invalid syntax\n  at {here}/model.py:1: def f(:"),
        (
            "raise SystemExit(3)\n",
            [],
            'importing model.py ended with sys.exit(3)\n  put it under `if __name__ == "__main__":`',
        ),
        (MODEL, ["--batch", "2", "--checkpoint", "absent"], "there is no checkpoint at absent"),
    ],
)
def test_a_wrong_model_is_one_clear_error(here: Path, source: str, arguments: list[str], text: str) -> None:
    (here / "model.py").write_text(source)
    assert failure("compile", "model.py", *arguments) == text.format(here=here)


def test_a_mistake_in_the_model_names_its_line(here: Path) -> None:
    (here / "model.py").write_text(MODEL.replace("dfc.matmul(x, weights)", "dfc.matmul(weights, x)"))
    message = failure("compile", "model.py", "--batch", "2")
    assert "contracting dimensions must match, got 3 and batch" in message
    assert "model.py:11" in message
    assert "logits = dfc.matmul(weights, x)" in message


@pytest.mark.parametrize("fault", ["{}['gone']", "int('many')", "open('absent.txt')", "helper()"])
def test_an_exception_of_the_model_is_the_models(here: Path, fault: str) -> None:
    (here / "model.py").write_text(MODEL.replace("logits = dfc.matmul(x, weights)", f"logits = {fault}"))
    message = failure("compile", "model.py", "--batch", "2")
    name = {"i": "ValueError", "{": "KeyError", "o": "FileNotFoundError", "h": "NameError"}[fault[0]]
    assert message.startswith(f"model.py failed: {name}: ")
    assert message.endswith(f"\n  at {here}/model.py:11: logits = {fault}")


def test_an_exception_of_dfc_is_not_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfc.frontend.tracing.Trace.emit", None)  # as a fault in dfc would be
    assert failure("compile", "model.py", "--batch", "2") == (
        "an error inside dfc: TypeError: 'NoneType' object is not callable (DFC_DEBUG=1 shows where)"
    )


def test_what_a_model_prints_goes_to_standard_error(here: Path) -> None:
    noisy = MODEL.replace("    logits =", "    print('tracing')\n    logits =") + "\nprint('importing')\n"
    (here / "model.py").write_text(noisy)
    result = ok("compile", "model.py", "--to=graph")
    assert result.stdout.startswith("builtin.module")
    assert "tracing\n" in result.stderr
    assert "importing\n" in result.stderr
    piped = CliRunner().invoke(main, ["opt", "-", "-p", "cse"], input=result.stdout)
    assert piped.exit_code == 0, piped.output
    assert piped.stdout.count("df.func") == 2


def test_sizes_without_a_dimension_and_an_output_without_a_folder(here: Path) -> None:
    assert failure("compile", "model.py", "--entry", "add", "--batch", "8") == (
        "sizes are given (8), and no entry has a symbolic dimension\n"
        '  name a dimension in the signature, as in dfc.TensorSpec(("batch", 4)), or leave the sizes out'
    )
    assert failure("compile", "model.py", "-o", "absent/a.dfc") == (
        "absent/a.dfc can't be written: there is no folder absent\n  make it first"
    )


# ---- run


def test_run_prints_names_types_and_values(artifact: Path) -> None:
    np.save("x.npy", np.eye(4, dtype=np.float32)[:2])
    result = ok("run", artifact, "--entry", "predict", "--input", "x=@x.npy")
    assert result.stdout == "best int32[2]\n  [2 2]\nlogits float32[2, 3]\n  [[0. 1. 2.]\n   [3. 4. 5.]]\n"


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 11])
def test_run_takes_any_batch_that_was_proved(artifact: Path, rows: int) -> None:
    x = np.random.default_rng(rows).normal(size=(rows, 4)).astype(np.float32)
    np.savez("x.npz", first=x, second=-x)
    ok("run", artifact, "--entry", "predict", "--input", "x=@x.npz:second", "--output", "y.npz")
    found = read("y.npz")
    np.testing.assert_allclose(found["logits"], -x @ WEIGHTS, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["best"], (-x @ WEIGHTS).argmax(-1))


def test_run_reads_json_and_bfloat16(here: Path) -> None:
    (here / "model.py").write_text(
        textwrap.dedent(
            """
            import dfc

            @dfc.function(signature=[dfc.TensorSpec((3,), "bfloat16", name="x"), dfc.TensorSpec((), "bool", name="b")])
            def double(x, b):
                return dfc.where(b, x + x, x)
            """
        )
    )
    ok("compile", "model.py")
    np.save("x.npy", np.array([1, 2, 3], ml_dtypes.bfloat16))
    for source in ("@x.npy", "[1, 2, 3]"):
        assert ok("run", "model.dfc", "--input", f"x={source}", "--input", "b=true").stdout == (
            "output_0 bfloat16[3]\n  [2 4 6]\n"
        )
    ok("run", "model.dfc", "--input", "x=@x.npy", "--input", "b=false", "--output", "y.npz")
    assert read("y.npz")["output_0"].tolist() == [1, 2, 3]


def test_run_shows_results_that_are_constants(here: Path) -> None:
    (here / "model.py").write_text(
        "import dfc\n\n\n@dfc.function(signature=[dfc.TensorSpec((), 'int32', name='x')])\n"
        "def f(x):\n    return [x, 'cat', {'kind': (None, 'dog')}]\n"
    )
    ok("compile", "model.py")
    assert ok("run", "model.dfc", "--input", "x=1").stdout == (
        "output_0 int32[]\n  1\noutput_1 string[]\n  'cat'\noutput_2.kind.1 string[]\n  'dog'\n"
    )
    ok("run", "model.dfc", "--input", "x=1", "--output", "y.npz")
    assert {name: str(value) for name, value in read("y.npz").items()} == {
        "output_0": "1", "output_1": "cat", "output_2.kind.1": "dog",
    }  # fmt: skip


def test_run_refuses_what_does_not_fit(artifact: Path) -> None:
    np.save("x.npy", np.zeros((2, 4)))
    np.save("objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    Path("cut.npy").write_bytes(Path("x.npy").read_bytes()[:90])
    np.savez("two.npz", a=np.zeros(1), b=np.zeros(1))
    predict = ["run", str(artifact), "--entry", "predict"]
    cases: list[tuple[list[str], str]] = [
        (["run", str(artifact)], f"{artifact} has the entries predict, add: choose one with --entry"),
        (["run", str(artifact), "--entry", "x"], f"{artifact} has no entry 'x'\n  entries: predict, add"),
        (["run", "absent.dfc"], "there is no file absent.dfc"),
        (predict, "entry 'predict' needs input 'x'\n  inputs: x float32[batch, 4]"),
        ([*predict, "--input", "y=1"], "entry 'predict' has no input 'y'\n  inputs: x float32[batch, 4]"),
        ([*predict, "--input", "x=@x.npy"], "input 'x' of 'predict' must be float32[batch, 4], got float64[2, 4]"),
        ([*predict, "--input", "x=@absent.npy"], "input 'x': there is no file absent.npy"),
        (
            [*predict, "--input", "x=x.npy"],
            "input 'x': 'x.npy' is neither @FILE nor JSON\n  a file is written as NAME=@FILE",
        ),
        ([*predict, "--input", "x=@two.npz"], "input 'x': two.npz has no array ''\n  write two.npz:KEY; keys: a, b"),
        ([*predict, "--input", "x=@two.npz:c"], "input 'x': two.npz has no array 'c'\n  write two.npz:KEY; keys: a, b"),
    ]
    for arguments, text in cases:
        assert failure(*arguments) == text
    for name in ("objects.npy", "cut.npy", "model.py"):
        message = failure(*predict, "--input", f"x=@{name}")
        assert message.startswith(f"input 'x': {name} is not a whole .npy or .npz file of numbers (")
    Path("zip.npz").write_bytes(b"PK\3\4" + bytes(100))
    content = bytearray(Path("two.npz").read_bytes())
    content[content.index(b"NUMPY") + 130] ^= 1
    Path("flipped.npz").write_bytes(content)
    for name, text in {
        "model.py": "it begins as neither of them does",
        "objects.npy": "it holds Python objects, which are never loaded",
        "zip.npz": "File is not a zip file",
        "flipped.npz:a": "Bad CRC-32",
    }.items():
        message = failure(*predict, "--input", f"x=@{name}")
        path = name.removesuffix(":a")
        assert message.startswith(f"input 'x': {path} is not a whole .npy or .npz file of numbers ({text}")
    assert "--input must be NAME=@FILE or NAME=JSON, got 'x'" in failure(*predict, "--input", "x", code=2)
    assert "--input 'x' is given twice" in failure(*predict, "--input", "x=1", "--input", "x=2", code=2)


# ---- inspect, targets, devices


def test_inspect_shows_what_is_inside(artifact: Path) -> None:
    text = ok("inspect", artifact).stdout
    for line in (
        "targets: cpu",
        "entry predict(x: float32[batch, 4])",
        "  compiled for batch = 2, 4; other sizes are padded or split",
        "entry add(amount: float32[])",
        "  compiled for its one size",
        "  writes: total",
        "variables: 2 with 13 elements",
        "  weights: float32[4, 3]",
    ):
        assert line in text.splitlines()
    assert "dot_general 1" in text
    manifest = json.loads(ok("inspect", artifact, "--json").stdout)
    assert manifest["entries"]["predict"]["sizes"] == [{"batch": 2}, {"batch": 4}]
    graph = ok("inspect", artifact, "--graph").stdout
    assert graph.count("df.func") == 2
    assert failure("inspect", "model.py") == (
        "model.py is not a dfc artifact, or it is damaged or truncated: it has no table of members"
    )


def test_targets_and_devices() -> None:
    lines = ok("targets").stdout.splitlines()
    assert re.fullmatch(r"cpu +a CPU like this one: .* +compiled here, runs here", lines[0])
    assert {"cpu:x86-64-v2", "tpu:v5e", "cuda:h100"} <= {line.partition(" ")[0] for line in lines}
    assert any(
        line.startswith("/job:localhost/replica:0/task:0/device:CPU:0  ") for line in ok("devices").stdout.splitlines()
    )


# ---- the command itself


def test_wrong_usage_exits_with_2_and_helps() -> None:
    assert "No such command 'rnu'. Did you mean 'run'?" in failure("rnu", code=2)
    assert failure("compile", "model.py", "--bathc", "1", code=2).startswith("No such option")
    absent = failure("compile", "model.py", "--target", "gpu", code=2)
    assert "there is no target 'gpu'\n  did you mean 'cuda:h100'? targets: cpu, cpu:x86-64-v2, " in absent
    assert "expected positive integers, as in 1,8,32, got '1,x'" in failure(
        "compile", "model.py", "--batch", "1,x", code=2
    )
    assert "'absent.py' does not exist" in failure("compile", "absent.py", code=2)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    assert ok(name, "--help").stdout.startswith(f"Usage: dfc {name} ")
    assert COMMANDS[name].help in ok("--help").stdout


def test_dfc_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_DEBUG", "1")
    result = dfc("run", "absent.dfc")
    assert result.exit_code == 1
    assert type(result.exception).__name__ == "NotFound"


def _python(*arguments: str, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(ROOT), **more}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=check, env=environment)


def test_a_process_of_its_own_runs_without_jax(artifact: Path) -> None:
    np.save("x.npy", np.ones((3, 4), np.float32))
    command = ["-X", "importtime", "-m", "dfc", "run", str(artifact), "--entry", "predict", "--input", "x=@x.npy"]
    done = _python(*command, "--output", "y.npz")
    np.testing.assert_allclose(read("y.npz")["logits"], np.ones((3, 4)) @ WEIGHTS)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert {"numpy", "jaxlib._jax"} <= imported
    heavy = {"jax", "xdsl", "scipy", "asyncio", "safetensors", "dfc.frontend", "dfc.passes", "importlib.metadata"}
    assert not imported & heavy
    failed = _python("-m", "dfc", "run", str(artifact), check=False)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"Error: {artifact} has the entries predict, add: choose one with --entry\n"


def test_a_model_over_several_devices_is_compiled_where_there_is_one(here: Path) -> None:
    (here / "cut.py").write_text(
        "import dfc\n\n"
        "with dfc.device('cpu:1'):\n    w = dfc.Variable([2.0, 3.0], name='w')\n\n\n"
        "@dfc.function(signature=[dfc.TensorSpec((2,), name='x')])\n"
        "def cut(x):\n    with dfc.device('cpu:0'):\n        y = dfc.exp(x)\n"
        "    with dfc.device('cpu:1'):\n        return w * y\n"
    )
    refused = failure("compile", "cut.py")
    assert "a program outside of this process is on one device, and this one was placed on " in refused
    assert "set DFC_CPU_DEVICES=1 in the environment, and what dfc.device asks for gives way" in refused
    _python("-m", "dfc", "compile", "cut.py", DFC_CPU_DEVICES="1")
    ok("run", "cut.dfc", "--input", "x=[0, 1]", "--output", "y.npz")
    np.testing.assert_allclose(read("y.npz")["output_0"], [2, 3 * np.e], rtol=1e-6)


def test_help_costs_little_more_than_python_itself() -> None:
    def seconds(*arguments: str) -> float:
        start = time.perf_counter()
        _python(*arguments)
        return time.perf_counter() - start

    both = [(seconds("-m", "dfc", "--help"), seconds("-c", "pass")) for _ in range(5)]
    assert min(a for a, _ in both) - min(b for _, b in both) < 0.15
