"""Segment operations against NumPy, outside a trace and in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidArgument, InvalidType
from tests.frontend_support import error_of

DATA = np.array([[1, 2], [3, 4], [5, -6], [7, 8]], np.float32)
IDS = np.array([2, 0, 2, -1], np.int32)
INF = np.inf
EXPECTED = {
    "segment_sum": [[3, 4], [0, 0], [6, -4]],
    "segment_prod": [[3, 4], [1, 1], [5, -12]],
    "segment_min": [[3, 4], [INF, INF], [1, -6]],
    "segment_max": [[3, 4], [-INF, -INF], [5, 2]],
    "segment_mean": [[3, 4], [0, 0], [3, -2]],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_segments(name: str) -> None:
    operation = getattr(dfc, name)
    want = np.array(EXPECTED[name], np.float32)
    np.testing.assert_array_equal(operation(DATA, IDS, 3).numpy(), want)
    np.testing.assert_array_equal(operation(DATA, IDS).numpy(), want)  # one more than the largest id
    np.testing.assert_array_equal(dfc.function(lambda x, i: operation(x, i, 3))(DATA, IDS).numpy(), want)
    np.testing.assert_array_equal(dfc.function(lambda x: operation(x, IDS))(DATA).numpy(), want)


def test_segments_of_any_number_of_rows() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b", 2)), dfc.TensorSpec(("b",), "int32")])
    def means(x: Any, ids: Any) -> Any:
        return dfc.segment_mean(x, ids, 2)

    np.testing.assert_array_equal(means(DATA[:2], np.array([1, 1], np.int32)).numpy(), [[0, 0], [2, 3]])
    np.testing.assert_array_equal(means(DATA[:1], np.array([0], np.int32)).numpy(), [[1, 2], [0, 0]])


def test_a_segment_out_of_range_is_left_out_in_compiled_code() -> None:
    np.testing.assert_array_equal(dfc.segment_sum(DATA, np.array([0, 5, 0, 1], np.int32), 2).numpy(), [[6, -4], [7, 8]])


def test_gradient_of_a_mean() -> None:
    gradient = dfc.grad(lambda x: dfc.sum(dfc.segment_mean(x, IDS, 3)))(DATA).numpy()
    np.testing.assert_array_equal(gradient, [[0.5, 0.5], [1, 1], [0.5, 0.5], [0, 0]])


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (
            lambda: dfc.segment_sum(DATA, IDS[:2], 3),
            InvalidArgument,
            "segment_sum: the shape of segment_ids must begin that of data, got (2) and (4, 2)",
        ),
        (
            lambda: dfc.segment_max(DATA, DATA[:, 0], 3),
            InvalidType,
            "segment_max: indices must be integers, got float32",
        ),
        (
            lambda: dfc.segment_mean(IDS, IDS, 3),
            InvalidType,
            "segment_mean: data must be float or complex, got int32",
        ),
        (
            lambda: dfc.function(lambda x, i: dfc.segment_sum(x, i))(DATA, IDS),
            InvalidArgument,
            "segment_sum: num_segments must be given where the ids aren't known while tracing",
        ),
    ],
)
def test_wrong_segments(call: Any, kind: Any, text: str) -> None:
    assert error_of(kind, call, __file__) == text
