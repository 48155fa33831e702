"""Constants."""

from __future__ import annotations

import numpy as np

from dfc.ir.attributes import Array as ConstantArray
from tests.families.rows import Rows
from tests.numerics.values import (
    EVERY,
    Case,
    counted,
    variants,
)

ROWS = Rows()
row = ROWS.row


@row("constant")
def constant() -> list[Case]:
    values = [x for dtype in EVERY for x in variants(dtype)]
    values += [np.full((3, 2), 7, np.int32), np.ones((20,), bool), np.asfortranarray(counted((2, 3), "float32"))]
    return [Case((), (x.copy(),), {"value": ConstantArray.of(x)}) for x in values]
