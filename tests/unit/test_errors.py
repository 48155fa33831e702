"""Errors: one rendering, built-in bases, the user's source line."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from dfc import errors

BASES = {
    "InvalidArgument": ValueError,
    "InvalidType": TypeError,
    "NoGradient": LookupError,
    "NotFound": LookupError,
    "OutOfRange": IndexError,
    "FailedPrecondition": RuntimeError,
    "Aborted": RuntimeError,
    "Cancelled": RuntimeError,
    "Internal": RuntimeError,
    "DataLoss": RuntimeError,
    "DeadlineExceeded": TimeoutError,
    "Unavailable": ConnectionError,
    "ResourceExhausted": MemoryError,
    "AlreadyExists": ValueError,
    "Unimplemented": NotImplementedError,
}


def test_every_class_has_its_built_in_base() -> None:
    classes = {n: c for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, errors.DfcError)}
    del classes["DfcError"]
    assert set(classes) == set(BASES)
    assert all(issubclass(classes[name], base) for name, base in BASES.items())
    assert issubclass(errors.InvalidType, errors.InvalidArgument)
    assert issubclass(errors.NoGradient, errors.InvalidArgument)


def test_rendering_has_the_op_the_label_the_line_and_the_hint(tmp_path: Path) -> None:
    source = tmp_path / "model.py"
    source.write_text("import dfc\ny = dfc.matmul(a, b)\n")
    error = errors.InvalidArgument(
        "contracting dimensions must match, got 3 and 4", label="C6", location=f"{source}:2:5", hint="transpose b"
    )
    assert str(error.at(op="matmul")) == (
        "matmul: contracting dimensions must match, got 3 and 4 [C6]\n"
        f"  at {source}:2:5: y = dfc.matmul(a, b)\n"
        "  transpose b"
    )


def test_a_gradient_position_still_finds_the_line(tmp_path: Path) -> None:
    source = tmp_path / "model.py"
    source.write_text("y = f(x)\n")
    assert errors.source_line(f"{source}:1:5 (in its gradient)") == ": y = f(x)"
    assert errors.source_line("nowhere.py:7") == ""
    assert errors.source_line("") == ""


def test_what_is_known_stays() -> None:
    error = errors.InvalidArgument("m", op="add", location="a.py:1:1").at(op="other", location="b.py:2:2")
    assert error.diagnostic.op == "add"
    assert error.diagnostic.location == "a.py:1:1"


def test_at_keeps_the_class() -> None:
    with pytest.raises(errors.InvalidType):
        raise errors.InvalidType("m").at(op="add")
