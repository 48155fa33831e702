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


def printed(source: str) -> str:
    stream, names, file = io.StringIO(), dict[str, Any](__name__="example"), f"<README.md {hash(source)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)  # as notebooks have it
    with contextlib.redirect_stdout(stream):
        exec(compile(source, file, "exec"), names)
    return stream.getvalue()


def test_what_the_readme_shows_is_what_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # `dfc compile` adds the model's folder
    model, load, train, net, control, loops, clients, host = blocks("python")
    answer, trained, fitted, controlled, looped, added, said = blocks("text")
    Path("model.py").write_text(model)
    (commands,) = (block for block in blocks("sh") if block.startswith("dfc compile model.py\n"))
    for line in commands.splitlines():
        result = CliRunner().invoke(main, shlex.split(line)[1:])
        assert result.exit_code == 0, result.output
    number = re.compile(r"0\.\d+")  # of which CPUs give the last digit in their own way
    assert number.sub("", result.stdout).split() == number.sub("", answer).split()
    assert_allclose([float(n) for n in number.findall(result.stdout)], [float(n) for n in number.findall(answer)], 1e-5)
    assert printed(load) == "[0 1 1 1]\n"
    assert printed(train) == trained
    assert printed(net) == fitted
    assert printed(control) == controlled
    assert printed(loops) == looped
    assert printed(clients) == added
    assert printed(host) == said
