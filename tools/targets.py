"""`dfc targets` and `dfc devices`: what can be compiled for, and what is here to run on."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dfc.backends.targets import Target


@click.command()
def targets() -> None:
    """List what `dfc compile --target` takes, one a line: the name, what the executables need to run, whether they can
    be compiled here and run here; then what to install. Each may be several devices, as in cpu:4, tpu:v5e:2x2 and
    cuda:a100:4, among which `dfc.shard` divides a program."""
    from dfc.backends.targets import every, missing

    found = list(every())
    width, needs = (max(map(len, column)) for column in ([t.name for t in found], [_needs(t) for t in found]))
    remedies: dict[tuple[str, str], list[str]] = {}
    for target in found:
        lacking = missing(target)
        if lacking:
            remedies.setdefault(lacking, []).append(target.name)
        compiled = "not compiled here" if lacking else "compiled here"
        click.echo(f"{target.name:{width}}  {_needs(target):{needs}}  {compiled}, {_runs(target)}")
    for (why, remedy), names in remedies.items():
        click.echo(f"\nfor {', '.join(names)}: {why}\n  {remedy}")


def _needs(target: Target) -> str:
    if target.platform == "cpu" and not target.model:
        return f"a CPU like this one: {platform.machine()}"
    return target.needs


def _runs(target: Target) -> str:
    from dfc.runtime.here import why_not_here

    return f"not run here: {why}" if (why := why_not_here(target)) else "runs here"


@click.command()
def devices() -> None:
    """List the devices of this process, one a line: name, as for dfc.device, and kind. DFC_CPU_DEVICES=4 makes 4 of
    the CPU."""
    from dfc.runtime.device_names import local_devices

    for name, device in local_devices().items():
        click.echo(f"{name}  {device.device_kind}")
