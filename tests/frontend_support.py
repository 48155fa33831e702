"""What tests of the frontend share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dfc.errors import DfcError


def error_of(kind: type[DfcError], call: Callable[[], Any], file: str) -> str:
    """The text of the error that `call` raises, without the position, which must be a line of `file`."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    lines = str(caught.value).splitlines()
    places = [line for line in lines if line.startswith("  at ")]
    assert len(places) == 1, f"no position: {caught.value}"
    assert places[0].startswith(f"  at {file}:"), places[0]
    return "\n".join(line for line in lines if line not in places)
