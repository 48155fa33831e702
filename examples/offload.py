"""A network four times as large as the memory of the device that trains it.

    python examples/offload.py --width 512

With `dfc.offload()` around them, a layer's weights and what Adam keeps of them live in the host's memory. A step is cut
into parts whose variables fit: a part's come while the one before is computed, are updated as soon as their gradient is
there, and go back. `device_memory_limit` says how much there may be of the device.
"""

from __future__ import annotations

import time

import click
import numpy as np

import dfc

LAYERS = 8
BATCH = 256


@click.command()
@click.option("--width", type=click.IntRange(min=8), default=512, show_default=True, help="units of each layer")
@click.option("--steps", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--whole", is_flag=True, help="keep the variables on the device, without a limit")
def main(width: int, steps: int, whole: bool) -> None:
    """Train a network to give its input back."""
    random = np.random.default_rng(0)
    nbytes = 3 * LAYERS * 4 * width * width  # weights, and two averages of the gradient of each
    limit = None if whole else nbytes // 4 + 4  # and the number of steps
    with dfc.Graph() as graph, dfc.offload(not whole):
        x = dfc.placeholder("float32", (BATCH, width), name="x")
        h = x
        for number in range(LAYERS):
            start = random.standard_normal((width, width), np.float32) / np.float32(np.sqrt(width))
            h = dfc.tanh(h @ dfc.Variable(start, name=f"w{number}"))
        loss = dfc.mean((h - x) ** 2)
        train, init = dfc.train.Adam(1e-3).minimize(loss), dfc.initialize_all()
    inputs = random.uniform(-0.5, 0.5, (BATCH, width)).astype(np.float32)
    device = "without a limit" if limit is None else f"on a device of {limit / 1e6:.1f} MB"
    click.echo(f"{nbytes / 1e6:.1f} MB of variables {device}")
    with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=limit)) as session:
        session.run(init)
        first, _ = session.run([loss, train], {x: inputs})
        started = time.perf_counter()
        for _ in range(steps):
            last, _ = session.run([loss, train], {x: inputs})
    milliseconds = (time.perf_counter() - started) / steps * 1e3
    click.echo(f"{milliseconds:.1f} ms a step")
    click.echo(f"loss {first:.6f} at first, {last:.6f} after {steps} steps")


if __name__ == "__main__":
    main()
