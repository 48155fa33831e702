"""`dfc opt`: a df program through passes, text to text."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from dfc.passes.manager import Entry, Pass

SEPARATOR = "// -----"


@click.command()
@click.argument("file", type=click.File(), required=False, metavar="FILE.mlir|-")
@click.option("-p", "--pipeline", default="", metavar="PASSES", help="such as 'prune{fetches=loss},cse'")
@click.option("--print-ir-after-all", is_flag=True, help="write the program after every pass to standard error")
@click.option("--time-passes", is_flag=True, help="write a table of times and changes to standard error")
@click.option("--locations/--no-locations", default=True, help="source positions in the output", show_default=True)
@click.option(
    "--split-input-file/--no-split-input-file",
    default=True,
    help=f"parts between lines of '{SEPARATOR}' are programs of their own",
    show_default=True,
)
@click.option("--print-errors", is_flag=True, help="an error is output in the place of its program, not a failure")
@click.option("--list", "list_passes", is_flag=True, help="the passes, a line each")
def opt(
    file: TextIO | None,
    pipeline: str,
    print_ir_after_all: bool,
    time_passes: bool,
    locations: bool,
    split_input_file: bool,
    print_errors: bool,
    list_passes: bool,
) -> None:
    """Run passes on a df program and print what they make of it."""
    from dfc.errors import DfcError
    from dfc.ir.text import parse_program, print_program
    from dfc.passes import manager
    from dfc.passes.verify import verify

    if list_passes:
        click.echo(_listing())
        return
    if file is None:
        raise click.UsageError("a file with a df program is needed, or - for standard input")

    def after(entry: Entry, program: ModuleOp) -> None:
        click.echo(f"// after {entry.text}: {entry.summary}", err=True)
        click.echo(print_program(program, locations=locations), err=True, nl=False)

    report = manager.Report()
    try:
        text = file.read()
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{file.name} is not a df program: it is not text in UTF-8") from error
    passes: list[Pass] = []
    try:
        passes = manager.parse_pipeline(pipeline)
    except DfcError as error:
        raise click.ClickException(str(error)) from error
    outputs = []
    for part in _parts(text) if split_input_file else [text]:
        try:
            program = parse_program(part, name=file.name)
            _require_one_program(program, file.name)
            verify(program)
            manager.run(program, passes, observers=[after] if print_ir_after_all else [], report=report)
            outputs.append(print_program(program, locations=locations))
        except DfcError as error:
            if not print_errors:
                raise click.ClickException(str(error)) from error
            outputs.append(f"error: {error}\n")
    click.echo(f"{SEPARATOR}\n".join(outputs), nl=False)
    if time_passes:
        click.echo(str(report), err=True)


def _require_one_program(program: ModuleOp, name: str) -> None:
    """Passes look at the functions of one module: those of a module inside it would silently stay as they are."""
    from xdsl.dialects.builtin import ModuleOp

    from dfc.errors import InvalidArgument

    if any(isinstance(op, ModuleOp) for op in program.ops):
        raise InvalidArgument(f"{name} has several modules in one program", hint=f"put a line of '{SEPARATOR}' between")


def _parts(text: str) -> list[str]:
    """The programs of a file, each with as many empty lines before it as make its line numbers right."""
    parts, lines = [""], text.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if line.strip() == SEPARATOR:
            parts.append("\n" * number)
        else:
            parts[-1] += line
    return parts


def _listing() -> str:
    from dfc.passes import manager

    rows = [
        (name, (manager.pass_class(name).__doc__ or "").strip().partition("\n")[0]) for name in manager.pass_names()
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)
