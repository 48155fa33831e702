"""Every op against an independent expectation, in NumPy's meaning and through XLA.

Integers and booleans must agree exactly, floats within the case's tolerance: `evaluate` against the expectation, and
what XLA computes against both. What only the host runs goes through a step instead.
"""

from __future__ import annotations

import numpy as np
import pytest

from dfc.backends import xla
from dfc.passes.cluster import cluster
from dfc.runtime.step import Step
from tests.families import ROWS, cases
from tests.numerics.values import check
from tests.support import OPS, function_of, program_of, run_xla, spec


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_CACHE_DIR", "")


@pytest.mark.parametrize("name", ROWS)
def test_numpy_meaning(name: str) -> None:
    for case in cases(name):
        results = OPS[name].evaluate(case.operands, case.attributes)
        assert len(results) == len(case.expected)
        for actual, expected in zip(results, case.expected, strict=True):
            check(np.asarray(actual), expected, case, f"evaluate of {name}", units=case.units)


ON_HOST = [name for name in ROWS if OPS[name].HOST_ONLY]


@pytest.mark.parametrize("name", [name for name in ROWS if name not in ON_HOST])
def test_xla(name: str) -> None:
    """All cases of an op are one compiled program, with every operand a parameter so that nothing is folded."""
    rows = cases(name)
    function = function_of([(OPS[name], [spec(x) for x in c.operands], c.attributes) for c in rows])
    results = iter(run_xla(function, [x for case in rows for x in case.operands]))
    for case in rows:
        meaning = OPS[name].evaluate(case.operands, case.attributes)
        for expected, reference in zip(case.expected, meaning, strict=True):
            actual, units = next(results), case.xla_units or case.units
            check(actual, expected, case, f"XLA's {name}", units=units, flush=True)
            apart = case.units + units
            check(actual, np.asarray(reference), case, f"XLA's {name} against evaluate", units=apart, flush=True)


@pytest.mark.parametrize("name", ON_HOST)
def test_host(name: str) -> None:
    """What only the host runs, in a step: numbers come from the device and go back to it."""
    rows = cases(name)
    function = function_of([(OPS[name], [spec(x) for x in c.operands], c.attributes) for c in rows])
    cluster(program_of(function))
    operands = [x for case in rows for x in case.operands]
    results = iter(Step(function, {})([x if x.dtype == object else xla.to_device(x) for x in operands]))
    for case in rows:
        for expected in case.expected:
            actual = next(results)
            assert isinstance(actual, np.ndarray) == (expected.dtype == object)
            value = actual if expected.dtype == object else xla.to_numpy(actual)
            check(value, expected, case, f"the host's {name}", units=case.units)
