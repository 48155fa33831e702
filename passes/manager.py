"""Passes, pipelines as text, and running them.

A pass is a plain function that does the work and a frozen dataclass named for it: its fields are the pass's options.
`parse_pipeline("prune{fetches=loss},cse")` gives the instances, `str` prints them back.
"""

from __future__ import annotations

import difflib
import importlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from importlib.metadata import entry_points
from time import perf_counter
from typing import Any, ClassVar, get_type_hints

from xdsl.dialects.builtin import ModuleOp

from dfc.errors import DfcError, Internal, InvalidArgument, InvalidType
from dfc.passes.phases import Phase, check_gate
from dfc.passes.verify import op_without_location, verify

BUILT_IN: Mapping[str, str] = {
    "prune": "dfc.passes.prune:Prune",
    "inline": "dfc.passes.inline:Inline",
    "loop-products": "dfc.passes.loop_products:LoopProducts",
    "autodiff": "dfc.passes.autodiff:Autodiff",
    "feed": "dfc.passes.feed:Feed",
    "canonicalize": "dfc.passes.canonicalize:Canonicalize",
    "cse": "dfc.passes.cse:Cse",
    "place": "dfc.passes.place:Place",
    "lower-control-flow": "dfc.passes.lower_control_flow:LowerControlFlow",
    "partition": "dfc.passes.partition:Partition",
    "functionalise": "dfc.passes.functionalise:Functionalise",
    "divide-receives": "dfc.passes.divide_receives:DivideReceives",
    "cluster": "dfc.passes.cluster:Cluster",
    "offload": "dfc.passes.offload:Offload",
    "schedule-receives": "dfc.passes.schedule_receives:ScheduleReceives",
    "specialize": "dfc.passes.specialize:Specialize",
}
"""Name of each pass -> where its dataclass is; a module is imported when its pass is first named."""


@dataclass(frozen=True)
class Pass:
    """Base of all passes. A subclass has a `name`, in kebab case the stem of its file, and its options as fields of
    type int, bool, str or tuple[str, ...], each with a default where it may be left out."""

    name: ClassVar[str]
    SETTLES: ClassVar[bool] = False
    """Whether a second run of the pass would find nothing to do: then there is none until something has changed."""

    def apply(self, program: ModuleOp) -> dict[str, int]:
        """Rewrite the program in place; returns how much of what changed, as in `{"merged": 3}`."""
        raise NotImplementedError

    def __str__(self) -> str:
        given = [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]
        options = " ".join(f"{name}={_option_text(value)}" for name, value in given)
        return f"{self.name}{{{options}}}" if options else self.name


# ---- the registry


@cache
def _extensions() -> Mapping[str, Callable[[], Any]]:
    return {point.name: point.load for point in entry_points(group="dfc.passes")}


def pass_names() -> list[str]:
    """Every pass that a pipeline can name: dfc's own, then those of other packages."""
    return [*BUILT_IN, *(name for name in _extensions() if name not in BUILT_IN)]


def pass_class(name: str) -> type[Pass]:
    """The dataclass of the pass called `name`. Raises InvalidArgument for an unknown one."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        found = getattr(importlib.import_module(module), attribute)
    elif name in _extensions():
        found = _extensions()[name]()
    else:
        raise InvalidArgument(f"there is no pass {name!r}", hint=did_you_mean(name, pass_names(), "passes"))
    if not (isinstance(found, type) and issubclass(found, Pass)):
        raise InvalidType(f"the pass {name!r} must be a subclass of dfc.passes.manager.Pass, got {found!r}")
    return found


def did_you_mean(word: str, known: Iterable[str], kind: str) -> str:
    """`did you mean 'prune'?` and the list of what there is."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    start = f"did you mean {close[0]!r}? " if close else ""
    return f"{start}{kind}: {', '.join(names) or 'none'}"


# ---- pipelines as text: `a,b{option=1 other=x,y}`

_TOKEN = re.compile(r'\s*(?:([{},=])|("(?:[^"\\]|\\.)*")|([^\s{},="]+))')
_BARE = re.compile(r'[^\s{},="]+')


def _option_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(map(_option_text, value))
    text = str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text)


class _Tokens:
    """The words and the marks `{ } , =` of a pipeline, with one token of look-ahead."""

    def __init__(self, text: str) -> None:
        self.text, self.position = text, 0

    def peek(self) -> str:
        found = _TOKEN.match(self.text, self.position)
        return found.group().strip() if found else ""

    def take(self, expected: str = "") -> str:
        found = _TOKEN.match(self.text, self.position)
        token = found.group().strip() if found else ""
        if not found or (expected and token != expected) or (not expected and token in "{},="):
            got = repr(token) if token else repr(self.text[self.position :].strip()[:10] or "the end")
            raise InvalidArgument(
                f"a pipeline reads name{{option=value other=a,b}},name; expected {expected or 'a word'!r}, got {got} "
                f"at position {self.position} of {self.text!r}"
            )
        self.position = found.end()
        return token

    def word(self) -> str:
        token = self.take()
        return str(json.loads(token)) if token.startswith('"') else token

    def done(self) -> bool:
        return not self.text[self.position :].strip()


def parse_pipeline(text: str) -> list[Pass]:
    """The passes that `text` names, in order. Raises InvalidArgument for what isn't a pipeline, an unknown pass, an
    unknown option, or a value of the wrong type."""
    tokens = _Tokens(text)
    passes: list[Pass] = []
    while not tokens.done():
        if passes:
            tokens.take(",")
        cls = pass_class(tokens.word())
        options: dict[str, list[str]] = {}
        if tokens.peek() == "{":
            tokens.take("{")
            while tokens.peek() != "}":
                name = tokens.word()
                tokens.take("=")
                options[name] = [tokens.word()]
                while tokens.peek() == ",":
                    tokens.take(",")
                    options[name].append(tokens.word())
            tokens.take("}")
        passes.append(_instance(cls, options))
    return passes


def _instance(cls: type[Pass], options: Mapping[str, list[str]]) -> Pass:
    types = get_type_hints(cls)
    known = [f.name for f in fields(cls)]
    for name in options:
        if name not in known:
            raise InvalidArgument(
                f"the pass {cls.name!r} has no option {name!r}", hint=did_you_mean(name, known, "options")
            )
    for f in fields(cls):
        if f.name not in options and f.default is MISSING and f.default_factory is MISSING:
            raise InvalidArgument(f"the pass {cls.name!r} needs the option {f.name!r}")
    return cls(**{name: _value(cls, name, types[name], words) for name, words in options.items()})


def _value(cls: type[Pass], name: str, type: Any, words: list[str]) -> Any:
    if type == tuple[str, ...]:
        return tuple(words)
    if len(words) == 1:
        (word,) = words
        if type is str:
            return word
        if type is bool and word in ("true", "false"):
            return word == "true"
        if type is int and re.fullmatch(r"-?\d+", word):
            return int(word)
    kind = {bool: "true or false", int: "an integer", str: "one word"}.get(type, str(type))
    raise InvalidArgument(f"the option {name!r} of the pass {cls.name!r} must be {kind}, got {','.join(words)}")


# ---- running


@dataclass(frozen=True)
class Entry:
    """One run of one pass: its text, its time, and what it changed."""

    text: str
    seconds: float
    changes: Mapping[str, int]

    @property
    def summary(self) -> str:
        """`merged 3`, or `nothing`."""
        return ", ".join(f"{what} {count}" for what, count in self.changes.items() if count) or "nothing"


@dataclass
class Report:
    """What ran, how long it took and what it changed."""

    entries: list[Entry] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(e.seconds for e in self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __str__(self) -> str:
        """A table, a row a pass: milliseconds, share of the total, changes."""
        rows = [("pass", "ms", "share", "changed")]
        total = self.seconds or 1.0
        rows += [(e.text, f"{e.seconds * 1e3:.2f}", f"{e.seconds / total:.0%}", e.summary) for e in self.entries]
        rows.append(("total", f"{self.seconds * 1e3:.2f}", "", ""))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        return "\n".join(
            f"{name:<{widths[0]}}  {ms:>{widths[1]}}  {share:>{widths[2]}}  {changed}".rstrip()
            for name, ms, share, changed in rows
        )


Observer = Callable[[Entry, ModuleOp], None]
"""Called after each pass with what it did and the program as it stands then."""


def verify_level() -> int:
    """DFC_VERIFY: 0 checks gates only, 1 verifies the program at phase boundaries, 2 after every pass."""
    text = os.environ.get("DFC_VERIFY", "0") or "0"
    if text not in ("0", "1", "2"):
        raise InvalidArgument(f"DFC_VERIFY must be 0, 1 or 2, got {text!r}")
    return int(text)


def run(
    program: ModuleOp,
    passes: Sequence[Pass],
    *,
    observers: Sequence[Observer] = (),
    reaches: Phase | None = None,
    report: Report | None = None,
) -> Report:
    """Run the passes on `program`, in place; with `reaches`, check that phase's gate at the end.

    Results are added to `report` if one is given. Raises the passes' own errors, FailedPrecondition from the gate, and
    Internal that names the pass where DFC_VERIFY finds a program broken.
    """
    report = Report() if report is None else report
    level = verify_level()
    located = level == 2 and op_without_location(program) is None
    settled: dict[Pass, dict[str, int]] = {}  # those that would find nothing, and what they would say of it
    for item in passes:
        start = perf_counter()
        changes = settled[item] if item in settled else item.apply(program)
        if any(changes.values()):
            settled.clear()
        if item.SETTLES:
            settled[item] = dict.fromkeys(changes, 0)
        entry = Entry(str(item), perf_counter() - start, changes)
        report.entries.append(entry)
        if level == 2:
            _verify_after(program, entry.text, located=located)
        for observer in observers:
            observer(entry, program)
    if reaches is not None:
        check_gate(program, reaches)
    if level == 1 and passes:
        hint = "DFC_VERIFY=2 looks after each pass and so finds the one that broke it"
        _verify_after(program, report.entries[-1].text, located=False, hint=hint)
    return report


def _verify_after(program: ModuleOp, text: str, *, located: bool, hint: str = "") -> None:
    try:
        verify(program)
    except DfcError as error:
        raise Internal(f"the program is not valid after the pass {text}: {error}", hint=hint) from error
    lost = op_without_location(program) if located else None
    if lost is not None:
        raise Internal(
            f"{lost.name} has no source position after the pass {text}, though every op had one before", hint=hint
        )
