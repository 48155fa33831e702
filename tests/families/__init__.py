"""What is tested of every op, a file a family: the op's values, what it refuses, its gradients.

A family's module has `ROWS`, an op's cases by its name (see `rows.Rows`), `BROKEN`, a row for each labelled constraint,
and `GRADIENTS`; each may be left out where the family has nothing of the kind. The tests that run them are in
`tests/numerics` and `tests/unit`.
"""

from __future__ import annotations

import importlib
from typing import Any

from dfc.ir.dialect import FAMILIES
from tests.families.rows import Broken, GradientCase, Rows
from tests.numerics.values import Case


def _gathered(name: str) -> list[Any]:
    """The entries that the families' modules have under this name, one after another."""
    modules = [importlib.import_module(f"tests.families.{family}") for family in FAMILIES]
    return [entry for module in modules for entry in getattr(module, name, ())]


ROWS: Rows = Rows()
for _family in FAMILIES:
    ROWS |= getattr(importlib.import_module(f"tests.families.{_family}"), "ROWS", {})
BROKEN: dict[str, Broken] = {row[0]: row for row in _gathered("BROKEN")}
GRADIENTS: list[GradientCase] = _gathered("GRADIENTS")
NEVER_BROKEN: dict[str, str] = {
    op: why
    for family in FAMILIES
    for op, why in getattr(importlib.import_module(f"tests.families.{family}"), "NEVER_BROKEN", {}).items()
}
"""Labels that no operands can break, each with the reason."""


def cases(name: str) -> list[Case]:
    """The cases of the op called `name`, without the dialect."""
    return ROWS[name]()
