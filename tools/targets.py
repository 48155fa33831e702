"""`dfc targets` and `dfc devices`: what can be compiled for, and what is here to run on."""

from __future__ import annotations

import platform

import click


@click.command()
def targets() -> None:
    """List what `dfc compile --target` takes, one a line: name and what the executables then need."""
    from dfc.backends.compile_cache import cpu_features
    from dfc.runtime.artifact import TARGETS

    needs = {
        "cpu": f"a CPU like this one: {platform.machine()} with {', '.join(cpu_features()) or 'no known features'}"
    }
    for target in TARGETS:
        click.echo(f"{target}  {needs[target]}")


@click.command()
def devices() -> None:
    """List the devices of this process, one a line: name, as for dfc.device, and kind. DFC_CPU_DEVICES=4 makes 4 of
    the CPU."""
    from dfc.runtime.placing import local_devices

    for name, device in local_devices().items():
        click.echo(f"{name}  {device.device_kind}")
