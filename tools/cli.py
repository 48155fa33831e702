"""The command `dfc`. Each subcommand lives in a module of its own, imported when it is called and not before."""

from __future__ import annotations

import importlib
import os
from typing import Any, NamedTuple

import click

from dfc.errors import DfcError


class Subcommand(NamedTuple):
    """Where a command is, and the line about it in `dfc --help`."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "compile": Subcommand("dfc.tools.compile", "compile_command", "Compile a model's functions into one artifact."),
    "run": Subcommand("dfc.tools.run", "run", "Run an entry of an artifact on arrays from files."),
    "inspect": Subcommand("dfc.tools.inspect", "inspect", "Show what an artifact holds."),
    "opt": Subcommand("dfc.tools.opt", "opt", "Run passes on a df program in text form."),
    "ops": Subcommand("dfc.tools.ops", "ops", "List the standard operations."),
    "targets": Subcommand("dfc.tools.targets", "targets", "List what can be compiled for."),
    "devices": Subcommand("dfc.tools.targets", "devices", "List the devices of this machine."),
    "timeline": Subcommand("dfc.tools.timeline", "timeline", "Show what ran when, from a recorded timeline."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, and turns errors into one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        command = getattr(importlib.import_module(found.module), found.attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches  # only for this message

            close = get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {name!r}.{meant} Commands: {', '.join(COMMANDS)}.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except DfcError as error:
            if debugging():
                raise
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if debugging() or isinstance(error, BrokenPipeError):
                raise
            raise click.ClickException(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")) from error
        except Exception as error:
            if debugging():
                raise
            text = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
            raise click.ClickException(f"an error inside dfc: {text} (DFC_DEBUG=1 shows where)") from error

    def main(self, *args: Any, **extra: Any) -> Any:
        extra.setdefault("prog_name", "dfc")
        return super().main(*args, **extra)


def debugging() -> bool:
    """Whether DFC_DEBUG asks for tracebacks."""
    return os.environ.get("DFC_DEBUG", "0") not in ("", "0")


@click.group("dfc", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """dfc, a dataflow compiler: compile programs to one file, look into it, run it.

    A failure exits with code 1 and one sentence, wrong usage with code 2. DFC_DEBUG=1 shows tracebacks.
    """
