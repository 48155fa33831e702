"""`dfc ops`, or `python -m dfc.tools.ops`: the standard operations of the dialect, and what each of them has."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import click

from dfc.ir import dialect
from dfc.ir.op import Effect, Op, short_name

STRUCTURE = (
    *("func", "return", "call", "island", "yield", "group", "placeholder", "feed", "after"),
    *("gradients", "custom_gradient", "checkpoint"),
    *("switch", "merge", "enter", "exit", "next_iteration", "loop_cond", "control_trigger"),
    *("send", "recv", "computed"),
    *("if", "case", "while", "scan", "need_length"),
)
"""Ops that only hold, name or order other ops, and requests that a pass replaces: not counted."""


@dataclass(frozen=True)
class Row:
    """What the table says of one operation.

    `dtypes` are the kinds that the main operand may have, or the result where that is what a user chooses. `gradient`
    is `yes`, or the reason why no gradient passes. `kernels` are what runs it, by device. `test` is where its values
    are checked; of an op that acts on a variable, the constraints.
    """

    name: str
    family: str
    dtypes: tuple[str, ...]
    gradient: str
    kernels: str
    test: str


def rows() -> list[Row]:
    """A row for each standard operation, by family."""
    found = [_row(op, family) for family in dialect.FAMILIES for op in dialect.family_ops(family)]
    return [row for row in found if row.name not in STRUCTURE]


def _row(op: type[Op], family: str) -> Row:
    from dfc.passes.autodiff import rules

    name = short_name(op)
    gradient = "yes" if op in rules.RULES else rules.NON_DIFFERENTIABLE.get(op, "missing")
    checked = "ROWS" if op.evaluate is not Op.evaluate else "BROKEN"
    return Row(name, family, op.KINDS, gradient, kernels(op), f"tests/families/{family}.py::{checked}[{name}]")


def kernels(op: type[Op]) -> str:
    """What runs the op: XLA on the devices that it is emitted for; string tensors are the host's."""
    if op.HOST_ONLY:
        return "host"
    compiled = f"xla: {', '.join(op.DEVICES)}"
    computes = op.EFFECT is Effect.PURE and op.evaluate is not Op.evaluate
    return f"{compiled}; host: string" if computes and "string" in op.KINDS else compiled


def structural() -> list[str]:
    """The ops that are not counted, by family."""
    names = [short_name(op) for family in dialect.FAMILIES for op in dialect.family_ops(family)]
    return [name for name in names if name in STRUCTURE]


def table(found: list[Row]) -> str:
    """The rows as text: a line each, columns aligned, dtypes by kind."""
    cells = [("op", "family", "dtypes", "gradient", "kernels", "test")]
    cells += [(r.name, r.family, _kinds(r.dtypes), r.gradient, r.kernels, r.test) for r in found]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    lines += ["", f"not counted, since they only structure programs: {', '.join(structural())}"]
    return "\n".join([*lines, f"{len(found)} operations"])


def _kinds(kinds: tuple[str, ...]) -> str:
    return "every" if len(kinds) == len(Op.KINDS) else " ".join(kinds)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def ops(as_json: bool) -> None:
    """List the standard operations: dtypes, gradient, kernels by device, test. The last line is their number.

    An operation that no gradient passes through says why. Ops that only structure programs are listed apart.
    """
    found = rows()
    if as_json:
        import json

        click.echo(json.dumps({"ops": [asdict(row) for row in found]}, indent=1))
    else:
        click.echo(table(found))


if __name__ == "__main__":
    ops()
