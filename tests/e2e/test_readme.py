"""The README's first model and its training programs: what they print is what the README shows."""

from __future__ import annotations

import contextlib
import io
import linecache
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose

from dfc.tools.cli import main

TEXT = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def printed(source: str, name: str = "example") -> str:
    stream, names, file = io.StringIO(), dict[str, Any](__name__=name), f"<README.md {hash(source)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)  # as notebooks have it
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        exec(compile(source, file, "exec"), names)
    return stream.getvalue()


def run(line: str) -> str:
    """What a command of dfc prints."""
    result = CliRunner().invoke(main, shlex.split(line)[1:])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_the_readme_shows_is_what_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # `dfc compile` adds the model's folder
    model, load, train, net, control, loops, clients, host, cut, divided = blocks("python")
    answer, trained, fitted, controlled, looped, added, said, parts, whole = blocks("text")
    Path("model.py").write_text(model)
    (commands,) = (block for block in blocks("sh") if block.startswith("dfc compile model.py\n"))
    result = [run(line) for line in commands.splitlines()][-1]
    number = re.compile(r"0\.\d+")  # of which CPUs give the last digit in their own way
    assert number.sub("", result).split() == number.sub("", answer).split()
    assert_allclose([float(n) for n in number.findall(result)], [float(n) for n in number.findall(answer)], 1e-5)
    assert printed(load) == "[0 1 1 1]\n"
    assert printed(train) == trained
    assert printed(net) == fitted
    assert printed(control) == controlled
    assert printed(loops) == looped
    assert printed(clients) == added
    assert printed(host) == said
    check_parts(cut, parts)
    check_divided(divided, whole)


def check_parts(program: str, expected: str) -> None:
    """The section on several devices, of which tests have four."""
    Path("cut.py").write_text(program)
    (commands,) = (block for block in blocks("sh") if "dfc devices" in block)
    *_, compiling = commands.splitlines()
    command = re.fullmatch(r"(dfc .*?) 2> /dev/null \| grep -oE '(.*)'", compiling)
    assert command is not None
    devices = "".join(run("dfc devices").splitlines(keepends=True)[:2])
    found = "".join(f"{match.group()}\n" for match in re.finditer(command[2], run(command[1])))
    assert devices + printed(program, "__main__") + found == expected


def check_divided(program: str, expected: str) -> None:
    """The section on meshes, of four devices, which tests have."""
    Path("divided.py").write_text(program)
    (commands,) = (block for block in blocks("sh") if "dfc inspect divided.dfc" in block)
    _, _, compiling, *searching = commands.splitlines()
    run(compiling.partition(" 2>")[0])
    found = printed(program, "__main__")
    for line in searching:
        command = re.fullmatch(r"(dfc .*?) \| grep (-oE )?'?(.*?)'?", line)
        assert command is not None
        pattern = command[3] if command[2] else f".*{command[3]}.*"
        found += "".join(f"{match.group()}\n" for match in re.finditer(pattern, run(command[1])))
    assert found == expected
