"""Train a generative adversarial network on scikit-learn's handwritten digits, and draw digits with it.

    python examples/gan.py --out build/gan
    python examples/gan.py --out build/gan --classifier build/digits_conv/model.dfc

A generator makes images of noise; a critic learns to score real images above made ones, and the generator to make
images that score high (Goodfellow et al. 2014, with the losses of Wasserstein GANs, Arjovsky et al. 2017). The critic
pays for slopes other than 1 (Gulrajani et al. 2017): the gradient of a gradient. Two losses, two lists of variables,
and steps that take turns. The second command asks an artifact of `digits_conv.py` which digits were drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from digits import load_data

import dfc

PIXELS, NOISE, HIDDEN, BATCH, SAMPLES = 64, 32, 256, 64, 360
CRITIC_STEPS, PENALTY = 3, 10.0


class Generator(dfc.Module):
    """Images (batch, 64) with pixels from 0 to 1 of noise (batch, 32)."""

    def __init__(self) -> None:
        super().__init__("generator")
        self.net = dfc.nn.Sequential(
            dfc.nn.Dense(NOISE, HIDDEN, dfc.nn.relu),
            dfc.nn.Dense(HIDDEN, HIDDEN, dfc.nn.relu),
            dfc.nn.Dense(HIDDEN, PIXELS, dfc.sigmoid),
        )

    def __call__(self, noise: dfc.Tensor) -> dfc.Tensor:
        return self.net(noise)


class Critic(dfc.Module):
    """Scores (batch, 1) of images (batch, 64): high for what looks real."""

    def __init__(self) -> None:
        super().__init__("critic")
        self.net = dfc.nn.Sequential(
            dfc.nn.Dense(PIXELS, HIDDEN, dfc.nn.leaky_relu),
            dfc.nn.Dense(HIDDEN, HIDDEN, dfc.nn.leaky_relu),
            dfc.nn.Dense(HIDDEN, 1),
        )

    def __call__(self, images: dfc.Tensor) -> dfc.Tensor:
        return self.net(images)


dfc.random.seed(0)
generator, critic = Generator(), Critic()
generator_optimizer = dfc.train.Adam(5e-4, beta1=0.5, beta2=0.9)
critic_optimizer = dfc.train.Adam(5e-4, beta1=0.5, beta2=0.9)


def drawn(count: Any) -> dfc.Tensor:
    """`count` images of the generator."""
    return generator(dfc.random.normal((count, NOISE)))


def slope_penalty(real: dfc.Tensor, made: dfc.Tensor) -> dfc.Tensor:
    """The mean squared distance from 1 of the critic's slope, at points between real and made images."""
    share = dfc.random.uniform((BATCH, 1))
    between = real * share + made * (1 - share)
    (slope,) = dfc.gradients(critic(between), [between])
    return dfc.mean((dfc.sqrt(dfc.sum(slope**2, axis=1) + 1e-12) - 1) ** 2)


@dfc.function
def critic_step(real: dfc.Tensor) -> dfc.Tensor:
    """One step of the critic on real images; returns how much higher it scores them than made ones."""
    made = drawn(BATCH)
    distance = dfc.mean(critic(real)) - dfc.mean(critic(made))
    loss = PENALTY * slope_penalty(real, made) - distance
    critic_optimizer.minimize(loss, critic.trainable_variables)
    return distance


@dfc.function
def generator_step() -> None:
    """One step of the generator."""
    generator_optimizer.minimize(-dfc.mean(critic(drawn(BATCH))), generator.trainable_variables)


@dfc.function
def draw() -> dfc.Tensor:
    """360 images with pixels from 0 to 16, the range of the data."""
    return drawn(SAMPLES) * 16.0


def train(steps: int) -> None:
    """Train for `steps` steps of the generator, each after three of the critic, with a progress bar."""
    from tqdm import trange

    images = load_data()[0][0] / np.float32(16)
    order = np.random.default_rng(0)
    with trange(steps, desc="training", unit="step") as bar:
        for step in bar:
            for _ in range(CRITIC_STEPS):
                distance = critic_step(images[order.choice(len(images), BATCH, replace=False)])
            generator_step()
            if step % 100 == 0:
                bar.set_postfix(distance=f"{distance.item():.3f}")


def picture(images: np.ndarray[Any, Any], rows: int = 10, columns: int = 16, scale: int = 4) -> Any:
    """The first rows * columns images in a grid, each in a frame of a pixel."""
    try:
        from PIL import Image
    except ImportError:
        raise click.ClickException("a picture needs Pillow: pip install 'dfc[images]'") from None
    tiles = np.pad(images[: rows * columns].reshape(rows, columns, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
    grid = tiles.swapaxes(1, 2).reshape(rows * 10, columns * 10)
    pixels = np.clip(grid * (255 / 16), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((columns * 10 * scale, rows * 10 * scale), Image.Resampling.NEAREST)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/gan"), show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=5000, show_default=True)
@click.option("--classifier", type=click.Path(exists=True, path_type=Path), help="Artifact that recognises digits.")
def main(out: Path, steps: int, classifier: Path | None) -> None:
    """Train, then write 360 drawn images as `samples.npy` to OUT, and pictures: `samples.png` beside `real.png`."""
    out.mkdir(parents=True, exist_ok=True)
    picture(load_data()[0][0]).save(out / "real.png")
    train(steps)
    samples = draw().numpy()
    np.save(out / "samples.npy", samples)
    picture(samples).save(out / "samples.png")
    if classifier is not None:
        answers = dfc.load(classifier).predict(images=samples)
        counts = np.bincount(np.asarray(answers["digit"]), minlength=10)
        confidence = np.asarray(answers["probabilities"]).max(axis=1).mean()
        click.echo("drawn of each digit: " + ", ".join(f"{digit}: {count}" for digit, count in enumerate(counts)))
        click.echo(f"mean confidence of the classifier: {confidence:.3f}")


if __name__ == "__main__":
    main()
