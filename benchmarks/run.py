"""Run a benchmark: `python benchmarks/run.py NAME [--json] [--quick | --smoke]`."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import FULL, QUICK, SMOKE

NAMES = (
    "dispatch",
    "compile",
    "coldstart",
    "executor",
    "loopgrad",
    "control",
    "lstm",
    "transfer",
    "placement",
    "costs",
)


@click.command()
@click.argument("name", type=click.Choice(NAMES))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--quick", is_flag=True, help="Under a minute.")
@click.option("--smoke", is_flag=True, help="A few seconds: only shows that it works.")
@click.option("--case", "only", multiple=True, help="Only the cases whose names begin so.")
def main(name: str, as_json: bool, quick: bool, smoke: bool, only: tuple[str, ...]) -> None:
    """Measure dfc, beside its peer where there is one: the ratios of times (lower is better), or what is done a
    second."""
    effort = SMOKE if smoke else QUICK if quick else FULL
    result = importlib.import_module(f"benchmarks.{name}_bench").run(effort, only)
    click.echo(json.dumps(result.as_json()) if as_json else result.as_table())


if __name__ == "__main__":
    main()
