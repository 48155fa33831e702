"""The likeliest lines that begin so, from the language model of `lm.py`: a beam search, compiled into an artifact.

    python examples/lm.py --out build/lm
    dfc compile examples/beam_search.py --checkpoint build/lm/checkpoints -o build/lm/decoder.dfc
    python examples/beam_search.py build/lm/decoder.dfc "if the object" --words build/lm/words.txt --save start.npy
    dfc run build/lm/decoder.dfc --input start=@start.npy

The search (Graves 2012; length normalisation of Wu et al. 2016, eq. 14) keeps the BEAMS likeliest beginnings and
lengthens each by every word. It is a loop in the compiled program, and how long it runs depends on what it finds: it
stops when no beginning can become better than the best line that has ended, or when lines have LONGEST words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from lm import END, UNKNOWN, initial_state, join_words, network, split_words

import dfc

BEAMS, LONGEST, START = 8, 60, 8
NORMALISATION = 0.6


class Lines(NamedTuple):
    """BEAMS lines, best first: their words (BEAMS, LONGEST), with END after the last one, and their scores (BEAMS,)."""

    words: dfc.Tensor
    scores: dfc.Tensor


class Beams(NamedTuple):
    """What the search knows after `length` words: beginnings, with sums of logarithms of probabilities as scores and
    the network's state before the last word; and lines that have ended, with normalised scores."""

    length: dfc.Tensor
    open: Lines
    last: dfc.Tensor
    state: Any
    ended: Lines


def normalised(scores: dfc.Tensor, length: Any) -> dfc.Tensor:
    """Scores by which lines of different lengths, END included, compare."""
    return scores / ((5 + dfc.astype(length, "float32")) / 6) ** NORMALISATION


def best(*lines: Lines) -> Lines:
    """The BEAMS best of all."""
    scores, places = dfc.top_k(dfc.concat([each.scores for each in lines]), BEAMS)
    return Lines(dfc.take(dfc.concat([each.words for each in lines]), places, axis=0), scores)


def can_improve(beams: Beams) -> dfc.Tensor:
    """Scores only fall, and count for most in the longest lines: is the best beginning's then above the best line's?"""
    return (beams.length < LONGEST) & (normalised(beams.open.scores[0], LONGEST) > beams.ended.scores[0])


def lengthen(beams: Beams) -> Beams:
    """All beginnings end here, or go on with the likeliest words; `<unk>` is none."""
    logits, state = network.next(beams.last, beams.state)
    scores = dfc.expand_dims(beams.open.scores, axis=1) + dfc.nn.log_softmax(logits)
    number = dfc.arange(logits.shape[1])
    length = beams.length + 1
    ended = Lines(beams.open.words, normalised(scores[:, END], length))

    going_on = dfc.where((number == END) | (number == UNKNOWN), -np.inf, scores)
    found, places = dfc.top_k(dfc.reshape(going_on, (-1,)), BEAMS)
    parents, last = places // logits.shape[1], places % logits.shape[1]
    here = dfc.arange(LONGEST) == beams.length
    words = dfc.where(here, dfc.expand_dims(last, axis=1), dfc.take(beams.open.words, parents, axis=0))
    state = tuple(dfc.take(part, parents, axis=0) for part in state)
    return Beams(length, Lines(words, found), last, state, best(beams.ended, ended))


@dfc.function(signature=[dfc.TensorSpec((START,), "int32", name="start")])
def decode(start: dfc.Tensor) -> dict[str, dfc.Tensor]:
    """How the best lines go on that begin with `start`, words with END after the last one: what follows, (BEAMS,
    LONGEST), best first and with END after its last word; scores (BEAMS,); and how many words it looked ahead."""
    before = dfc.concat([dfc.asarray([END], dtype="int32"), start])
    count = dfc.sum(dfc.astype(start != END, "int32"))
    lengths = dfc.expand_dims(count, axis=0)
    _, state = network.features(dfc.expand_dims(before, axis=0), lengths, initial_state(1))
    # All beams begin as the same one, so only the first counts.
    none = np.full((BEAMS, LONGEST), END, np.int32)
    first = Lines(none, np.where(np.arange(BEAMS) == 0, 0, -np.inf).astype(np.float32))
    beams = Beams(
        length=0,
        open=first,
        last=dfc.broadcast_to(before[count], (BEAMS,)),
        state=tuple(dfc.broadcast_to(part, (BEAMS, *part.shape[1:])) for part in state),
        ended=Lines(none, np.full(BEAMS, -np.inf, np.float32)),
    )
    beams = dfc.while_loop(can_improve, lengthen, beams)
    # What is still open in the end counts as it is.
    cut = dfc.where(beams.length == LONGEST, normalised(beams.open.scores, LONGEST), -np.inf)
    words, scores = best(beams.ended, Lines(beams.open.words, cut))
    return {"words": words, "scores": scores, "steps": beams.length}


def numbers_of(start: str, words: list[str]) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The numbers of a start's words, as `decode` takes them. Raises UsageError for more than START words."""
    given = split_words(start)
    if len(given) > START:
        raise click.UsageError(f"a start has at most {START} words, got {len(given)}")
    number = {word: i for i, word in enumerate(words)}
    return np.array([*(number.get(word, UNKNOWN) for word in given), *[END] * (START - len(given))], np.int32)


@click.command()
@click.argument("artifact", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("start")
@click.option(
    "--words", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True, help="As lm.py has them."
)
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the numbers of START's words to this .npy file.",
)
def main(artifact: Path, start: str, words: Path, save: Path | None) -> None:
    """Print the likeliest lines that begin with START, with their scores, as ARTIFACT has them."""
    vocabulary = words.read_text().splitlines()
    numbers = numbers_of(start, vocabulary)
    if save is not None:
        np.save(save, numbers)
    found = dfc.load(artifact).decode(start=numbers)
    for line, score in zip(found["words"], found["scores"], strict=True):
        if score == -np.inf:
            break  # the search ended before there were BEAMS lines
        following = [vocabulary[i] for i in line if i != END]
        click.echo(f"{score:8.3f}  {join_words([*split_words(start), *following])}")
    click.echo(f"searched {found['steps']} words ahead")


if __name__ == "__main__":
    main()
