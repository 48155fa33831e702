"""Row A8: over two hundred standard operations, each lowered, tested and with a gradient or the reason for none."""

from __future__ import annotations

import json

from click.testing import CliRunner

from dfc.tools.cli import main


def test_a8_at_least_200_operations() -> None:
    done = CliRunner().invoke(main, ["ops", "--json"])
    assert done.exit_code == 0
    entries = json.loads(done.output)["ops"]
    assert len({entry["name"] for entry in entries}) == len(entries) >= 200
    assert all(all(entry.values()) for entry in entries)


def test_a8_maths_arrays_and_state_are_there() -> None:
    entries = json.loads(CliRunner().invoke(main, ["ops", "--json"]).output)["ops"]
    wanted = {"add", "exponential", "dot_general", "reduce_sum", "reshape", "concatenate", "take", "sort"}
    wanted |= {"convolution", "variable", "assign_add", "scatter_add", "constant"}
    assert wanted <= {entry["name"] for entry in entries}
