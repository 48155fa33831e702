"""Source positions: the user's frame, fusing, text."""

from __future__ import annotations

import inspect
import sys

from xdsl.dialects.builtin import FileLineColLoc, FusedLoc

from dfc.ir import locations


def test_capture_gives_file_line_and_column_of_the_call() -> None:
    line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    found = locations.capture()
    assert isinstance(found, FileLineColLoc)
    assert (found.filename.data, found.line.data) == (__file__, line)
    assert found.column.data == 13  # 1-based, of `locations.capture()` behind `    found = `


def test_two_calls_on_one_line_differ_by_column_and_repeats_are_one_object() -> None:
    pairs = [(locations.capture(), locations.capture()) for _ in range(2)]
    (first, second), (again, _) = pairs
    assert first != second
    assert first is again


def test_code_from_a_notebook_cell_has_its_own_name() -> None:
    scope = {"locations": locations}
    exec(compile("x = 1\nfound = locations.capture()", "<ipython-input-3>", "exec"), scope)
    assert locations.describe(scope["found"]).startswith("<ipython-input-3>:2")


def test_fuse_names_each_once_and_few() -> None:
    a, b = locations.file_location("a.py", 1), locations.file_location("b.py", 2)
    assert locations.fuse(a, a) is a
    assert locations.fuse(locations.UNKNOWN, a) is a
    assert locations.fuse() is locations.UNKNOWN
    both = locations.fuse(a, b, a)
    assert isinstance(both, FusedLoc)
    assert locations.describe(both) == "a.py:1"
    many = locations.fuse(both, *(locations.file_location("c.py", i) for i in range(20)))
    assert len(many.locations.data) == locations.MAX_FUSED  # type: ignore[attr-defined]


def test_backward_positions_say_so() -> None:
    forward = locations.file_location("m.py", 3, 7)
    grad = locations.grad_location(forward)
    assert str(grad) == 'loc("grad"("m.py":3:7))'
    assert locations.describe(grad) == "m.py:3:7 (in its gradient)"
    assert locations.grad_location(forward) is grad


def test_capture_is_cheap() -> None:
    # One dictionary look-up once a line is known: nothing is formatted, no file is read.
    before = len(locations._positions)
    for _ in range(1000):
        locations.capture()
    assert len(locations._positions) == before + 1
    assert "linecache" not in locations.__dict__
    assert sys.getsizeof(locations._positions) < 10_000_000
