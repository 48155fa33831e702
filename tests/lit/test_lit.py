"""Runs every .mlir file beside this one: its RUN line in this process, and FileCheck over what that prints."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import Options
from filecheck.parser import Parser

from dfc.ir.text import parse_program, print_program
from dfc.tools.opt import SEPARATOR, opt

FILES = sorted(Path(__file__).parent.glob("*.mlir"))


def output_of(file: Path) -> str:
    """What the file's RUN line, `dfc opt %s ...`, prints."""
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    mark, _, command = first.partition("RUN: dfc opt ")
    assert mark == "// ", f"{file.name}: the first line must be '// RUN: dfc opt %s ...', got {first!r}"
    arguments = [str(file) if word == "%s" else word for word in shlex.split(command)]
    result = CliRunner().invoke(opt, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.stderr
    return result.stdout


def check(file: Path, output: str) -> int:
    """FileCheck's exit code: 0 where the output is as the file's CHECK lines say."""
    options = Options(str(file))
    return Matcher(options, FInput("output", output), Parser.from_opts(options)).run()


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_file(file: Path) -> None:
    output = output_of(file)
    assert check(file, output) == 0, f"{file.name} printed\n{output}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_output_is_a_program_again(file: Path) -> None:
    for part in output_of(file).split(f"{SEPARATOR}\n"):
        if not part.startswith("error: "):
            assert print_program(parse_program(part), locations=False) == part


def test_there_are_files() -> None:
    assert len(FILES) > 5


def test_a_wrong_output_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wrong.mlir"
    file.write_text(
        "// RUN: dfc opt %s --no-locations\n// CHECK: builtin.module\n// CHECK-NEXT: df.func\nbuiltin.module {\n}\n"
    )
    output = output_of(file)
    assert output == "builtin.module {\n}\n"
    assert check(file, output) == 1
    assert "df.func" in capsys.readouterr().err


def test_a_file_needs_a_run_line(tmp_path: Path) -> None:
    file = tmp_path / "none.mlir"
    file.write_text("builtin.module {\n}\n")
    with pytest.raises(AssertionError, match="the first line must be '// RUN: dfc opt %s"):
        output_of(file)
