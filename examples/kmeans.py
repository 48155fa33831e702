"""Cluster scikit-learn's handwritten digits by k-means: no network and no gradient, just state and its update.

    python examples/kmeans.py --clusters 10 --restarts 10

The centres are a variable. A step assigns each image to its nearest centre and moves each centre to the mean of its
images (Lloyd 1982), until no image changes its cluster. The first centres are drawn by k-means++ (Arthur and
Vassilvitskii 2007). Of several restarts the one with the smallest inertia, the sum of the squared distances between
images and their centres, is kept.
"""

from __future__ import annotations

from typing import Any

import click
import numpy as np

import dfc

Images = np.ndarray[Any, np.dtype[np.float32]]


def squared_distances(images: dfc.Tensor, centres: Any) -> dfc.Tensor:
    """(images, centres), from their difference: what the product would save, it would lose in accuracy."""
    return dfc.sum((images[:, None, :] - centres[None, :, :]) ** 2, axis=-1)


class KMeans:
    """Clusters of the rows of `images`; `nearest` is the number of each one's cluster, `distances` are the squared ones
    to the nearest centre while centres are drawn."""

    def __init__(self, images: Images, clusters: int) -> None:
        self.images, self.clusters = dfc.asarray(images), clusters
        self.centres = dfc.Variable(np.zeros((clusters, images.shape[1]), np.float32), name="centres")
        self.nearest = dfc.Variable(np.zeros(len(images), np.int32), name="nearest")
        self.distances = dfc.Variable(np.zeros(len(images), np.float32), name="distances")

    @dfc.function
    def add_centre(self, images: dfc.Tensor, number: dfc.Tensor) -> None:
        """One more centre by k-means++: an image, with a probability in proportion to its squared distance."""
        new = images[dfc.random.categorical(dfc.log(self.distances))]
        self.centres.scatter_update(number, new)
        self.distances.assign(dfc.minimum(self.distances, squared_distances(images, new[None])[:, 0]))

    @dfc.function
    def step(self, images: dfc.Tensor) -> tuple[dfc.Tensor, dfc.Tensor]:
        """Assign the images, move the centres; the inertia before, and how many images changed their cluster."""
        distances = squared_distances(images, self.centres)
        nearest = dfc.astype(dfc.argmin(distances, axis=1), "int32")
        changed = dfc.sum(dfc.astype(nearest != self.nearest, "int32"))
        sums = dfc.segment_sum(images, nearest, self.clusters)
        counts = dfc.segment_sum(dfc.ones_like(images[:, :1]), nearest, self.clusters)
        self.centres.assign(dfc.where(counts > 0, sums / dfc.maximum(counts, 1), self.centres))
        self.nearest.assign(nearest)
        return dfc.sum(dfc.min(distances, axis=1)), changed

    def fit(self, max_steps: int = 300) -> list[float]:
        """From new centres until no image changes its cluster; the inertia at each step."""
        self.distances.assign(np.full(len(self.images), np.finfo(np.float32).max))  # the first draw is uniform
        for number in range(self.clusters):
            self.add_centre(self.images, np.int32(number))
        self.nearest.assign(np.full(len(self.images), -1, np.int32))
        inertias = []
        for _ in range(max_steps):
            inertia, changed = self.step(self.images)
            inertias.append(inertia.item())
            if changed.item() == 0:
                break
        return inertias


def best_of(images: Images, clusters: int, restarts: int) -> tuple[Images, list[list[float]]]:
    """The centres of the best restart, and the inertias of all."""
    from tqdm import trange

    model, histories, centres = KMeans(images, clusters), list[list[float]](), np.empty(0, np.float32)
    with trange(restarts, desc="restarts", unit="restart") as bar:
        for _ in bar:
            histories.append(model.fit())
            best = min(history[-1] for history in histories)
            if histories[-1][-1] == best:
                centres = model.centres.numpy()
            bar.set_postfix(inertia=f"{best:.0f}")
    return centres, histories


@click.command()
@click.option("--clusters", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--restarts", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(clusters: int, restarts: int, seed: int) -> None:
    """Cluster, then print the best inertia and its centres, the first ten of them, as characters."""
    from sklearn.datasets import load_digits

    dfc.random.seed(seed)
    centres, histories = best_of(load_digits().data.astype(np.float32), clusters, restarts)
    shades = np.array(list(" .:-=+*#%@"))
    pictures = shades[(centres[:10] * 9 / 16).round().astype(int)].reshape(-1, 8, 8)
    for row in range(8):
        click.echo("   ".join("".join(picture[row]) for picture in pictures))
    best = min(histories, key=lambda history: history[-1])
    click.echo(f"inertia after {len(best)} steps: {best[-1]:.0f}")


if __name__ == "__main__":
    main()
