"""Programs of branches and loops at random, with effects: what comes out and what happens, as Python would have it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dfc


def random_program(seed: int) -> list[Any]:
    """Branches and loops in each other, with notes and a variable: of each op its kind, a number, and its blocks."""
    random = np.random.default_rng(seed)

    def block(depth: int) -> list[Any]:
        kinds = ["note", "add", "write", "read", "constant", "plain"]
        kinds += ["if", "while", "case", "scan", "back"] * 2 if depth < 3 else []
        made: list[Any] = []
        for _ in range(int(random.integers(1, 4))):
            kind = str(random.choice(kinds))
            number = int(random.integers(1, 4))
            inner = [
                block(depth + 1) for _ in range({"if": 2, "case": 3, "while": 1, "scan": 1, "back": 1}.get(kind, 0))
            ]
            made.append((kind, number, inner))
        return made

    return block(0)


def python(program: list[Any], x: int, state: dict[str, int], log: list[int]) -> int:
    for kind, number, inner in program:
        if kind == "note":
            log.append(x + number)
        elif kind == "add":
            x = x * 3 % 101 + number
        elif kind == "write":
            state["v"] = (state["v"] + x) % 53
        elif kind == "read":
            x = x + state["v"]
        elif kind == "constant":
            x = number
        elif kind == "if":
            x = python(inner[0] if x % 2 == 1 else inner[1], x, state, log)
        elif kind == "case":
            k = x % 4
            x = python(inner[k if k < 3 else 2], x, state, log)
        elif kind == "plain":
            for i in range(number):
                x = (x * 2 + i) % 101
        elif kind == "while":
            for i in range(number):
                x = python(inner[0], x + i, state, log) % 101
        else:
            rows = []
            for i in range(number) if kind == "scan" else reversed(range(number)):
                rows.append(x + i)
                x = python(inner[0], x + i, state, log) % 101
            x = sum(rows) + x
    return x


def traced(program: list[Any], x: Any, v: Any, log: Any) -> Any:
    for kind, number, inner in program:
        if kind == "note":
            log.note(x + number)
        elif kind == "add":
            x = x * 3 % 101 + number
        elif kind == "write":
            v.assign((v + x) % 53)
        elif kind == "read":
            x = x + v.read()
        elif kind == "constant":
            x = dfc.asarray(np.int32(number))
        elif kind == "if":
            branches = [lambda block=block, x=x: traced(block, x, v, log) for block in inner]
            x = dfc.cond(dfc.equal(x % 2, 1), *branches)
        elif kind == "case":
            x = dfc.case(x % 4, [lambda block=block, x=x: traced(block, x, v, log) for block in inner])
        elif kind == "plain":
            x = dfc.fori_loop(0, number, lambda i, x: (x * 2 + i) % 101, x)
        elif kind == "while":

            def body(i: Any, x: Any, inner: Any = inner) -> Any:
                return i + 1, traced(inner[0], x + i, v, log) % 101

            _, x = dfc.while_loop(lambda i, x, number=number: i < number, body, (0, x))
        else:

            def step(x: Any, i: Any, inner: Any = inner) -> Any:
                return traced(inner[0], x + i, v, log) % 101, x + i

            x, rows = dfc.scan(step, x, dfc.arange(number), reverse=kind == "back")
            x = dfc.sum(rows) + x
    return x


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_do_what_python_does(seed: int) -> None:
    program = random_program(seed)
    queue = dfc.FIFOQueue(10_000, "int32", shapes=[()])
    v = dfc.Variable(np.int32(1))

    class Noting:
        def note(self, value: Any) -> None:
            queue.enqueue(value)

    @dfc.function
    def f(x: Any) -> Any:
        return traced(program, x, v, Noting())

    state = {"v": 1}
    for x in (0, 1, 17):
        log: list[int] = []
        expected = python(program, x, state, log)
        assert int(f(dfc.asarray(np.int32(x)))) == expected
        assert [int(queue.dequeue()) for _ in range(int(queue.size()))] == log
        assert int(v.numpy()) == state["v"]
