"""Random functions of nested branches, loops and jumps: converted, on tensors, they give what Python gives on NumPy.

Loops run over copies: a NumPy array that is written while it is looped over shows the new elements, a tensor does not.
"""

from __future__ import annotations

import linecache
import random
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc

NAMES = ("a", "b", "c")
INPUTS = [
    ([0.5, -1.0, 2.0, 0.25], 0.75, -1.5, 2.0, 3),
    ([-0.5, 1.0, -2.0, 1.25], -0.75, 0.5, 1.0, 2),
    ([1.5, 1.0, -2.0, 3.25], 1.75, 2.5, -1.0, 0),
]


class Program:
    """The source of a function of a vector, three numbers and a count."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loops = 0
        body = self.block(3, False, 1)
        self.source = "\n".join(["def f(xs, a, b, c, m):", *body, "    return a, b + c\n"])

    def name(self) -> str:
        return self.random.choice(NAMES)

    def value(self) -> str:
        one, other = self.name(), self.name()
        return self.random.choice(
            [
                f"{one} * {self.random.choice(('0.5', '-0.75', '1.25'))}",
                f"{one} + {other}",
                f"{one} - {other} * 0.5",
                f"xs[{self.random.randrange(4)}] + {one}",
                f"({one} if {self.condition()} else {other} + 1.0)",
                f"{self.random.choice(('1.5', '-2.0', '0.25'))} + {one} * 0.0",
            ]
        )

    def condition(self) -> str:
        other = self.random.choice((*NAMES, "0.0", "1.0", "xs[1]"))
        one = f"{self.name()} {self.random.choice('<>')} {other}"
        kind = self.random.random()
        if kind < 0.6:
            return one
        if kind < 0.7:
            return f"not {one}"
        if kind < 0.9:
            return f"({one} {self.random.choice(('and', 'or'))} {self.condition()})"
        return f"-3.0 < {self.name()} <= {self.name()} + 1.0"

    def block(self, depth: int, in_loop: bool, indent: int) -> list[str]:
        lines = []
        for _ in range(self.random.randint(1, 3)):
            lines += self.statement(depth, in_loop, indent)
        return lines

    def statement(self, depth: int, in_loop: bool, indent: int) -> list[str]:
        space, kind = "    " * indent, self.random.random()
        if kind < 0.35 or depth == 0:
            return [f"{space}{self.name()} {self.random.choice(('=', '=', '+='))} {self.value()}"]
        if kind < 0.4:
            return [f"{space}xs[{self.random.randrange(4)}] = {self.value()}"]
        if kind < 0.48 and in_loop:
            return [f"{space}if {self.condition()}:", f"{space}    {self.random.choice(('break', 'continue'))}"]
        if kind < 0.54:
            return [f"{space}if {self.condition()}:", f"{space}    return {self.name()}, {self.name()} * 2.0"]
        if kind < 0.58:
            handler = [f"{space}except ValueError as error:", f"{space}    raise error"]
            after = [f"{space}finally:", f"{space}    c = c + 0.125"]
            return [f"{space}try:", *self.block(depth - 1, in_loop, indent + 1), *handler, *after]
        heads = [f"if {self.condition()}:"]
        before, after, first = [], [], []
        if kind > 0.75:
            self.loops += 1
            i = f"i{self.loops}"
            heads = [
                f"for {i} in {rows}:"
                for rows in ("range(m)", "xs * 1.0", "range(len(xs))", "range(2)", "xs[::-1] * 1.0")
            ]
            after = [f"{space}    {self.name()} += {i} * 0.125"]
        if kind > 0.88:
            heads, before, after = [f"while {i} < m and {self.condition()}:", "while True:"], [f"{space}{i} = 0"], []
            first = [f"{space}    {i} += 1", f"{space}    if {i} > m:", f"{space}        break"]
        looping = in_loop or kind > 0.75
        made = [*before, space + self.random.choice(heads), *first, *self.block(depth - 1, looping, indent + 1), *after]
        if self.random.random() < 0.4:
            made += [f"{space}else:", *self.block(depth - 1, in_loop, indent + 1)]
        return made


@pytest.mark.parametrize("seed", range(60))
def test_random_control_flow(seed: int) -> None:
    source, file = Program(seed).source, f"<program {seed}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names: dict[str, Any] = {}
    exec(compile(source, file, "exec"), names)
    converted = dfc.function(autograph=True)(names["f"])
    for vector, *numbers, count in INPUTS:
        xs, floats = np.array(vector), [np.float64(n) for n in numbers]
        want = names["f"](xs.copy(), *floats, count)
        found = [v.numpy() for v in converted(xs, *floats, np.int32(count))]
        assert_allclose(found, want, rtol=1e-9, err_msg=source)
