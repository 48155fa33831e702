"""Score an artifact on held-out images, in a process that never sees the model's code.

python examples/score.py build/digits/model.dfc build/digits/held_out.npz
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

import dfc


@click.command()
@click.argument("artifact", type=click.Path(exists=True, path_type=Path))
@click.argument("held_out", type=click.Path(exists=True, path_type=Path))
def main(artifact: Path, held_out: Path) -> None:
    """Classify the images in HELD_OUT with ARTIFACT and print the share that it gets right."""
    data = np.load(held_out)
    answers = dfc.load(artifact).predict(images=data["images"])
    same = all(np.array_equal(np.asarray(answers[name]), data[name]) for name in answers)
    click.echo(f"same answers as the process that trained it, to the last bit: {'yes' if same else 'no'}")
    click.echo(f"accuracy: {np.mean(np.asarray(answers['digit']) == data['labels']):.3f}")


if __name__ == "__main__":
    main()
