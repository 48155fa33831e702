"""`dfc timeline`: what a recorded timeline says, as a table and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import click

from dfc.errors import DataLoss
from dfc.runtime.container import check_folder
from dfc.runtime.timeline import Span, covered, rows

COLOURS = {"step": "#9aa5b1", "host": "#e0a030", "island": "#3b7dd8", "transfer": "#4caf6d"}
ROW, THIN, GAP, MARGIN, LABEL = 18, 6, 10, 24, 150
"""Heights of a row with names and of one of transfers, and distances, in pixels."""
PLURALS = {"step": "steps", "island": "islands", "transfer": "transfers"}
SUFFIX = ".svg"
FONT = "font-family='sans-serif' font-size='11'"


@click.command()
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write a picture there, a .svg.")
@click.option("--width", default=1000, show_default=True, type=click.IntRange(400, 20_000), help="In pixels.")
def timeline(trace: Path, output: Path | None, width: int) -> None:
    """Show a TRACE that dfc.Timeline.save wrote: of each device, what ran and how much of the time."""
    if output is not None:
        if output.suffix.lower() != SUFFIX:
            raise click.BadParameter(f"the picture is an SVG, for a file *{SUFFIX}, got {output}", param_hint="'-o'")
        check_folder(output)
    spans = read(trace)
    whole = max((s.end for s in spans), default=0.0) - min((s.start for s in spans), default=0.0)
    click.echo(f"{len(spans)} spans in {whole * 1e3:.3f} ms")
    for (device, kind), those in tracks(spans).items():
        part = covered(those) / whole if whole else 0.0
        click.echo(f"{device}  {kind}: {len(those)}, {covered(those) * 1e3:.3f} ms, {part:.0%} of the time")
    if output is not None:
        output.write_text(drawn(spans, width))
        click.echo(f"wrote {output}")


def read(trace: Path) -> list[Span]:
    """The spans of a trace. Raises DataLoss for a file that is none."""
    try:
        events = json.loads(trace.read_text())["traceEvents"]
        devices = {e["pid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "process_name"}
        return [_span(event, devices) for event in events if event["ph"] == "X"]
    except (ValueError, KeyError, TypeError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataLoss(f"{trace} is no trace that dfc.Timeline has saved: {what}") from error


def _span(event: Mapping[str, Any], devices: Mapping[int, str]) -> Span:
    start = event["ts"] / 1e6
    end = start + event["dur"] / 1e6
    return Span(event["name"], event["cat"], devices[event["pid"]], start, end, event.get("args", {}))


def tracks(spans: Sequence[Span]) -> dict[tuple[str, str], list[Span]]:
    """The spans by device and kind: the host first, and of a device what it computes first."""
    order = {kind: number for number, kind in enumerate(COLOURS)}
    keys = sorted({(s.device, s.kind) for s in spans}, key=lambda k: (k[0] != "host", k[0], order.get(k[1], 9)))
    return {key: [s for s in spans if (s.device, s.kind) == key] for key in keys}


def drawn(spans: Sequence[Span], width: int) -> str:
    """The picture: time from left to right, a band for each device and kind, names where there is room."""
    first = min((s.start for s in spans), default=0.0)
    whole = max((s.end for s in spans), default=1.0) - first or 1.0
    scale = (width - LABEL - MARGIN) / whole
    bars, y = [], MARGIN
    for (device, kind), those in tracks(spans).items():
        bars.append(f"<text x='8' y='{y + 13}' {FONT}>{escape(short(device))} {PLURALS.get(kind, kind)}</text>")
        height = THIN if kind == "transfer" else ROW
        band = rows(those)
        for number, row in enumerate(band):
            for span in row:
                x = LABEL + (span.start - first) * scale
                bars.append(_box(span, x, y + number * height, span.seconds * scale, height))
        y += max(ROW, len(band) * height) + GAP
    axis = []
    for tick in range(6):
        x = LABEL + tick / 5 * whole * scale
        axis.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{MARGIN}' y2='{y}' stroke='#ddd'/>")
        axis.append(
            f"<text x='{x:.1f}' y='{y + 14}' text-anchor='middle' {FONT}>{tick / 5 * whole * 1e3:.1f} ms</text>"
        )
    size = f"width='{width}' height='{y + MARGIN}'"
    body = "\n".join([*axis, *bars])
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size}>\n<rect {size} fill='white'/>\n{body}\n</svg>\n"


def _box(span: Span, x: float, y: float, width: float, height: int) -> str:
    colour = COLOURS.get(span.kind, "#888")
    line = f"\n{span.details['line']}" if "line" in span.details else ""
    title = f"<title>{escape(span.name)}: {span.seconds * 1e3:.3f} ms{escape(line)}</title>"
    box = (
        f"<rect x='{x:.2f}' y='{y}' width='{max(width, 0.5):.2f}' height='{height - 2}' fill='{colour}'>{title}</rect>"
    )
    fits = int((width - 6) / 6.2)
    if fits < 4 or height < ROW:
        return box
    name = span.name if len(span.name) <= fits else span.name[: fits - 1] + "…"
    return f"{box}<text x='{x + 3:.2f}' y='{y + 11}' fill='white' {FONT}>{escape(name)}</text>"


def short(device: str) -> str:
    """The part of a device's name that tells it from others of its process."""
    return device.rpartition("/device:")[2] or device
