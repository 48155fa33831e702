"""The command `dfc opt`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dfc.tools.opt import opt

PROGRAM = """builtin.module {
  df.func {sym_name = "main", arg_names = ["x"], result_names = ["loss", "y"]} ({
  ^bb0(%x: tensor<4xf32> loc("model.py":1:1)):
    %loss = df.tanh %x : tensor<4xf32> loc("model.py":2:1)
    %again = df.tanh %x : tensor<4xf32> loc("model.py":3:1)
    %y = df.negate %again : tensor<4xf32> loc("model.py":4:1)
    df.return %loss, %y : (tensor<4xf32>, tensor<4xf32>) -> () loc("model.py":5:1)
  }) : () -> () loc("model.py":1:1)
} loc(unknown)
"""


def invoke(*arguments: str, text: str = PROGRAM) -> Result:
    return CliRunner().invoke(opt, arguments, input=text)


def test_without_passes_the_program_comes_back() -> None:
    assert invoke("-").stdout == PROGRAM


def test_positions_can_be_left_out() -> None:
    result = invoke("-", "--no-locations", "-p", "prune{fetches=loss}")
    assert result.stdout == (
        "builtin.module {\n"
        '  df.func {sym_name = "main", arg_names = ["x"], result_names = ["loss"]} ({\n'
        "  ^bb0(%x: tensor<4xf32>):\n"
        "    %loss = df.tanh %x : tensor<4xf32>\n"
        "    df.return %loss : (tensor<4xf32>) -> ()\n"
        "  }) : () -> ()\n"
        "}\n"
    )


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "program.mlir"
    file.write_text(PROGRAM)
    assert invoke(str(file)).stdout == PROGRAM


def test_merged_ops_have_both_lines() -> None:
    merged = '%loss = df.tanh %x : tensor<4xf32> loc(fused["model.py":2:1, "model.py":3:1])'
    assert merged in invoke("-", "-p", "cse").stdout


def test_every_step_can_be_seen() -> None:
    result = invoke("-", "-p", "cse,prune{fetches=loss}", "--print-ir-after-all", "--no-locations")
    assert result.stderr.startswith("// after cse: merged 1\nbuiltin.module {\n")
    assert "// after prune{fetches=loss}: erased 1\nbuiltin.module {\n" in result.stderr
    assert result.stderr.count("df.negate") == 1
    assert result.stdout.count("df.negate") == 0


def test_time_passes_says_what_each_changed() -> None:
    lines = invoke("-", "-p", "cse,prune", "--time-passes").stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["pass", "cse", "prune", "total"]
    assert lines[1].endswith("merged 1")
    assert lines[2].endswith("nothing")


def test_the_passes_are_listed() -> None:
    lines = invoke("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["prune", "inline", "loop-products", "autodiff"]
    assert "cse Merge pure ops that compute the same." in [" ".join(line.split()) for line in lines]


@pytest.mark.parametrize(
    ("arguments", "text", "error"),
    [
        (("-", "-p", "cs"), PROGRAM, "Error: there is no pass 'cs'\n  did you mean 'cse'? passes: prune, inline"),
        (("-", "-p", "prune{fetches=los}"), PROGRAM, "did you mean 'loss'? names: loss, y"),
        (("-",), "builtin.module {", "Error: the text is not a df program: "),
        (
            ("-",),
            PROGRAM.replace("%loss = df.tanh %x", "%loss = df.tanh %y"),
            "Error: tanh: operand 0 is used before it is made\n  at model.py:2:1",
        ),
    ],
)
def test_an_error_is_said_and_the_status_is_1(arguments: tuple[str, ...], text: str, error: str) -> None:
    result = invoke(*arguments, text=text)
    assert result.exit_code == 1
    assert error in result.stderr
    assert result.stdout == ""


def test_a_file_is_needed() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert "a file with a df program is needed, or - for standard input" in result.stderr


def test_parts_of_a_file_are_programs() -> None:
    text = f"{PROGRAM}// -----\nbuiltin.module {{ oops }}\n// -----\n{PROGRAM}"
    result = invoke("-", "--split-input-file", "--print-errors", text=text)
    first, error, last = result.stdout.split("// -----\n")
    assert (first, last) == (PROGRAM, PROGRAM)
    assert error.startswith("error: the text is not a df program: ")
    assert ":11:" in error, "the line is the file's, not the part's"
    assert invoke("-", "--split-input-file", text=text).exit_code == 1


def test_two_programs_are_two_without_being_asked(tmp_path: Path) -> None:
    found = invoke("-", "--no-locations", "-p", "prune{fetches=loss}", text=f"{PROGRAM}// -----\n{PROGRAM}")
    assert found.exit_code == 0
    assert found.stdout.count("df.negate") == 0
    assert found.stdout.count("// -----\n") == 1
    assert "nosuch" in invoke("-", "-p", "prune{fetches=nosuch}", text=f"{PROGRAM}// -----\n{PROGRAM}").stderr


@pytest.mark.parametrize("text", [PROGRAM * 2, f"builtin.module {{\n{PROGRAM}}}"])
def test_modules_in_one_program_are_refused(text: str) -> None:
    found = invoke("-", "-p", "prune{fetches=loss}", text=text)
    assert found.exit_code == 1
    assert found.stderr == "Error: <stdin> has several modules in one program\n  put a line of '// -----' between\n"


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.mlir").write_bytes(b"\xff\xfe\x00PK")
    found = invoke(str(tmp_path / "x.mlir"))
    assert found.exit_code == 1
    assert found.stderr == f"Error: {tmp_path / 'x.mlir'} is not a df program: it is not text in UTF-8\n"
