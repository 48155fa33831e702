"""Protocol-buffer text, the syntax of Caffe's model files: nested messages of named fields.

    layer { name: "conv1" type: "Convolution" convolution_param { num_output: 20 kernel_size: 5 } }

A message becomes a `Message`: its fields in order, each a list of values, since any field may be repeated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dfc.errors import InvalidArgument

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r,;]+|\#[^\n]*) | (?P<newline>\n) | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | (?P<number>[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)f?(?![\w.])) | (?P<name>[A-Za-z_]\w*)
      | (?P<mark>[:{}<>\[\]])""",
    re.VERBOSE,
)
CLOSING = {"{": "}", "<": ">"}


@dataclass(frozen=True)
class Token:
    """A piece of the text and the line that it is on."""

    kind: str
    text: str
    line: int


@dataclass
class Message:
    """Fields by name, each with all its values in order: numbers, strings, bools, enum names or messages."""

    line: int = 1
    fields: dict[str, list[Any]] = field(default_factory=dict)

    def all(self, name: str) -> list[Any]:
        """The values of a repeated field."""
        return self.fields.get(name, [])

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field that stands once; the last, where it is repeated, as protocol buffers have it."""
        values = self.fields.get(name)
        return values[-1] if values else default

    def message(self, name: str) -> Message:
        """The message in a field; an empty one where it is absent. Raises InvalidArgument where it is no message."""
        found = self.get(name)
        if found is None:
            return Message(self.line)
        if not isinstance(found, Message):
            raise InvalidArgument(f"line {self.line}: {name} must be a message in braces, got {found!r}")
        return found


def parse(text: str) -> Message:
    """The message that a text holds. Raises InvalidArgument with the line of what can't be read."""
    reader = _Reader(list(_tokens(text)))
    message = reader.message(None, 1)
    return message


def _tokens(text: str) -> Iterator[Token]:
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise InvalidArgument(f"line {line}: can't read {text[at : at + 20]!r}")
        kind = str(match.lastgroup)
        if kind == "newline":
            line += 1
        elif kind != "space":
            yield Token(kind, match.group(), line)
        at = match.end()
    yield Token("end", "the end of the text", line)


class _Reader:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.at = tokens, 0

    def next(self) -> Token:
        token = self.tokens[self.at]
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def peek(self) -> str:
        return self.tokens[self.at].text

    def message(self, closing: str | None, line: int) -> Message:
        found = Message(line)
        while True:
            token = self.next()
            if (token.kind == "end" and closing is None) or (token.kind == "mark" and token.text == closing):
                return found
            if token.kind != "name":
                expected = "a field's name" + (f" or {closing!r} for the brace of line {line}" if closing else "")
                raise InvalidArgument(f"line {token.line}: expected {expected}, got {token.text!r}")
            found.fields.setdefault(token.text, []).extend(self.values(token))

    def values(self, name: Token) -> list[Any]:
        colon = self.peek() == ":"
        if colon:
            self.next()
        token = self.next()
        if token.text in CLOSING and token.kind == "mark":
            return [self.message(CLOSING[token.text], token.line)]
        if not colon:
            raise InvalidArgument(f"line {token.line}: expected ':' or '{{' after {name.text}, got {token.text!r}")
        if token.text == "[" and token.kind == "mark":
            return self.listed()
        return [self.scalar(token)]

    def listed(self) -> list[Any]:
        found = []
        while (token := self.next()).text != "]":
            found.append(self.scalar(token))
        return found

    def scalar(self, token: Token) -> Any:
        if token.kind == "string":
            value = ast.literal_eval(token.text)
            while self.tokens[self.at].kind == "string":  # neighbours are one string
                value += ast.literal_eval(self.next().text)
            return value
        if token.kind == "number":
            digits = token.text.rstrip("f")
            return float(digits) if any(c in digits for c in ".eE") else int(digits)
        if token.kind == "name":
            return {"true": True, "false": False}.get(token.text, token.text)
        raise InvalidArgument(f"line {token.line}: expected a value, got {token.text!r}")
