"""The language model of words beside Kneser-Ney models, and its decoder beside a beam search in plain Python."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose, assert_array_equal

from tests.examples_support import EXAMPLES, last_line, load
from tests.kneser_ney import KneserNey

pytest.importorskip("tqdm", reason="needs the extra `examples`")


def perplexity_in(line: str) -> float:
    assert line.startswith("validation perplexity: "), line
    return float(line.removeprefix("validation perplexity: "))


# ---- the baseline


def test_kneser_ney_of_a_few_words_by_hand() -> None:
    """Lines "a b", "a b", "a c" with a, b, c, end = 0 .. 3. Bigrams: 3a 3, ab 2, b3 2, ac 1, c3 1, so the discount is
    2 / (2 + 4); continuations: a 1, b 1, c 1, 3 2, so 3 / (3 + 2)."""
    model = KneserNey([[0, 1, 3], [0, 1, 3], [0, 2, 3]], order=2, words=4, end=3)
    lower = {word: (count - 0.6 + 0.6 * 4 / 4) / 5 for word, count in enumerate([1, 1, 1, 2])}
    assert_allclose(model.probability((0, 1)), (2 - 1 / 3 + 1 / 3 * 2 * lower[1]) / 3)
    assert_allclose(model.probability((0, 3)), (0 + 1 / 3 * 2 * lower[3]) / 3)
    assert_allclose(model.probability((3, 0)), (3 - 1 / 3 + 1 / 3 * 1 * lower[0]) / 3)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_kneser_ney_probabilities_add_up_to_one(order: int) -> None:
    random = np.random.default_rng(0)
    lines = [[*random.integers(1, 8, size=n), 0] for n in random.integers(1, 9, size=30)]
    model = KneserNey(lines, order, words=10, end=0)
    for before in itertools.product(range(10), repeat=order - 1):
        assert_allclose(sum(model.probability((*before, word)) for word in range(10)), 1)


# ---- the text


def test_chunks_hold_every_word_of_a_batch_once_and_what_comes_after(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = load("lm", monkeypatch)
    random = np.random.default_rng(0)
    lines = [np.append(random.integers(2, 99, size=n), lm.END).astype(np.int32) for n in (0, 5, 31, 32, 70)]
    read: list[list[int]] = [[] for _ in lines]
    shapes = set()
    for ids, after, lengths in lm.chunks(lines, steps=32):
        shapes.add(ids.shape)
        for line, row, following, length in zip(read, ids, after, lengths, strict=False):
            assert_array_equal(row[:length], [line[-1] if line else lm.END, *following[: length - 1]][:length])
            line.extend(following[:length])
    for line, whole in zip(read, lines, strict=True):
        assert_array_equal(line, whole)
    assert shapes == {(lm.BATCH, 32), (lm.BATCH, 8)}


def test_held_out_lines_are_others_and_bring_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = load("lm", monkeypatch)
    data = lm.prepare([f"word{i} is a word" for i in range(100)], seed=0)
    assert [len(data.train), len(data.held_out)] == [90, 10]
    assert data.words[:2] == ["<unk>", "</s>"] and set(data.words[2:5]) == {"is", "a", "word"}
    assert len(data.words) == 5 + 90
    for line in data.held_out:
        assert [data.words[i] for i in line] == ["<unk>", "is", "a", "word", "</s>"]


# ---- the network


def test_a_line_in_chunks_has_the_losses_of_the_whole_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = load("lm", monkeypatch)
    random = np.random.default_rng(0)
    lines = [np.append(random.integers(2, 99, size=n), lm.END).astype(np.int32) for n in (3, 20, 41)]
    assert_allclose(lm.perplexity(lines, steps=48), lm.perplexity(lines, steps=8), rtol=1e-5)


@pytest.mark.parametrize("softmax", ["full", "sampled"])
def test_lm_learns_lines_that_repeat(softmax: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lm = load("lm", monkeypatch)
    (tmp_path / "text").write_text("one two three four five six\n\n" * 320)
    arguments = ["--text", tmp_path / "text", "--out", tmp_path, "--epochs", 6, "--steps", 5, "--softmax", softmax]
    assert perplexity_in(last_line(lm, *map(str, arguments))) < 1.1
    assert (tmp_path / "words.txt").read_text() == "<unk>\n</s>\none\ntwo\nthree\nfour\nfive\nsix\n"
    assert "one two three four five six" in (tmp_path / "sample.txt").read_text().splitlines()


def test_lm_says_when_a_text_is_too_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("one\n\ntwo\n" * 4)
    result = CliRunner().invoke(load("lm", monkeypatch).main, ["--text", str(tmp_path / "text")])
    assert result.exit_code == 2
    assert "the text must have at least 10 lines, one to hold out, got 8" in result.stderr


def test_lm_says_when_a_file_is_no_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"\x80\n" * 20)
    result = CliRunner().invoke(load("lm", monkeypatch).main, ["--text", str(tmp_path / "text")])
    assert result.exit_code == 2
    assert "text must be text in UTF-8: 'utf-8' codec can't decode byte 0x80 in position 0" in result.stderr


class Trained(NamedTuple):
    lm: Any
    folder: Path
    last_line: str


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """After a quarter of the passes over pydoc's paragraphs that the example usually makes."""
    folder = tmp_path_factory.mktemp("lm")
    with pytest.MonkeyPatch.context() as monkeypatch:
        lm = load("lm", monkeypatch)
        return Trained(lm, folder, last_line(lm, "--epochs", "3", "--out", str(folder)))


def test_lm_is_better_than_a_bigram_kneser_ney_model(trained: Trained) -> None:
    found = perplexity_in(trained.last_line)
    assert found < baselines(trained.lm, found)[2]


@pytest.mark.slow
@pytest.mark.parametrize("softmax", ["full", "sampled"])
def test_lm_is_better_than_a_trigram_kneser_ney_model(
    softmax: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lm = load("lm", monkeypatch)
    found = perplexity_in(last_line(lm, "--out", str(tmp_path), "--softmax", softmax))
    assert found < baselines(lm, found)[3]


def baselines(lm: Any, found: float) -> dict[int, float]:
    """The perplexities of the bigram and the trigram model on the same lines; printed beside the network's."""
    data = lm.prepare(lm.read_lines(None), seed=0)
    models = {order: KneserNey(data.train, order, len(data.words), lm.END) for order in (2, 3)}
    perplexities = {order: model.perplexity(data.held_out) for order, model in models.items()}
    print(f"perplexity: bigrams {perplexities[2]:.2f}, trigrams {perplexities[3]:.2f}, the network {found:.2f}")
    return perplexities


# ---- the decoder


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


class InNumPy:
    """The network with these values of its variables."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = {name: np.asarray(value, np.float64) for name, value in values.items()}

    def __call__(self, word: int, state: Any) -> tuple[Any, Any]:
        """Logarithms of the probabilities of the next word, and the state."""
        v, (h, c) = self.values, state
        gates = v["embedding/table"][word] @ v["cell/kernel"] + h @ v["cell/recurrent"] + v["cell/bias"]
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        logits = v["embedding/table"] @ h + v["bias"]
        return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max(), (h, c)


def search(network: InNumPy, start: list[int], example: Any) -> tuple[list[tuple[float, list[int]]], int]:
    """The lines found, best first, with normalised scores; and the number of words looked ahead. UNKNOWN 0, END 1."""

    def normalised(score: float, length: int) -> float:
        return float(score / ((5 + length) / 6) ** example.NORMALISATION)

    state = (np.zeros(example.network.cell.units),) * 2
    last = 1
    for word in start:
        _, state = network(last, state)
        last = word
    opened, ended = [(0.0, [last], state)], list[tuple[float, list[int]]]()
    for steps in range(example.LONGEST + 1):
        if steps == example.LONGEST:
            ended += [(normalised(score, steps), words[1:]) for score, words, _ in opened]
            break
        if ended and max(ended)[0] >= normalised(opened[0][0], example.LONGEST):
            break
        candidates = []
        for score, words, before in opened:
            after, state = network(words[-1], before)
            ended.append((normalised(score + after[1], steps + 1), words[1:]))
            likeliest = np.argsort(-after)[: example.BEAMS + 2]
            candidates += [(score + after[word], [*words, int(word)], state) for word in likeliest if word > 1]
        opened = sorted(candidates, key=lambda candidate: -candidate[0])[: example.BEAMS]
    return sorted(ended, reverse=True)[: example.BEAMS], steps


def lines_of(words: Any) -> list[list[int]]:
    return [[int(word) for word in row[: np.append(row, 1).tolist().index(1)]] for row in words]


@pytest.mark.parametrize("end", [30.0, 15.0, 8.0, -100.0])
def test_beam_search_finds_the_lines_of_a_plain_one(end: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a network of random weights, in which lines end soon, later, after different times, and not at all."""
    example = load("beam_search", monkeypatch)
    monkeypatch.setattr(example, "LONGEST", 20)
    random = np.random.default_rng(0)
    for name, variable in example.network.named_variables().items():
        variable.assign(random.normal(0, 2.0 if name == "embedding/table" else 0.1, variable.shape).astype(np.float32))
    example.network.bias.assign(example.network.bias.read().at[1].set(end))
    network = InNumPy({name: variable.numpy() for name, variable in example.network.named_variables().items()})
    for start in ([], [7, 9], [5, 4, 3, 2, 6, 7, 8, 9]):
        found = example.decode(np.array([*start, *[1] * (example.START - len(start))], np.int32))
        expected, steps = search(network, start, example)
        assert found["steps"].item() == steps
        assert lines_of(found["words"].numpy())[: len(expected)] == [words for _, words in expected]
        scores = [score for score, _ in expected] + [-np.inf] * (example.BEAMS - len(expected))
        assert_allclose(found["scores"].numpy(), scores, rtol=1e-4)


def test_the_artifact_of_the_decoder_goes_on_with_a_line(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`dfc compile`, then the example and `dfc run`, each in a new process, beside the plain search."""
    artifact, words = tmp_path / "decoder.dfc", trained.folder / "words.txt"

    def run(*command: object) -> str:
        done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    program = EXAMPLES / "beam_search.py"
    run("-m", "dfc", "compile", program, "--checkpoint", trained.folder / "checkpoints", "-o", artifact)
    text = run(program, artifact, "if the object", "--words", words, "--save", tmp_path / "start.npy")
    results = "--output", tmp_path / "lines.npz"
    run("-m", "dfc", "run", artifact, "--input", f"start=@{tmp_path / 'start.npy'}", *results)

    vocabulary = words.read_text().splitlines()
    example = load("beam_search", monkeypatch)
    found = np.load(tmp_path / "lines.npz")
    variables = trained.lm.network.named_variables()
    network = InNumPy({name: variable.numpy() for name, variable in variables.items()})
    expected, steps = search(network, [vocabulary.index(word) for word in ("if", "the", "object")], example)
    assert found["steps"] == steps
    assert lines_of(found["words"])[0] == expected[0][1]
    assert_allclose(found["scores"], [score for score, _ in expected], rtol=1e-3)
    first = text.splitlines()[0].split(maxsplit=1)
    assert_allclose(float(first[0]), expected[0][0], atol=2e-3)
    assert first[1] == example.join_words(["if", "the", "object", *(vocabulary[i] for i in expected[0][1])])
    assert text.splitlines()[-1] == f"searched {steps} words ahead"


def test_the_decoder_says_when_a_start_is_too_long(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "decoder.dfc").touch()
    arguments = [tmp_path / "decoder.dfc", "a b c d e f g h i", "--words", trained.folder / "words.txt"]
    result = CliRunner().invoke(load("beam_search", monkeypatch).main, [*map(str, arguments)])
    assert result.exit_code == 2
    assert "a start has at most 8 words, got 9" in result.stderr
