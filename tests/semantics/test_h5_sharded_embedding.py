"""Row H5: tables in several parts, by `mod` and by `div`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc

LAYOUTS = {
    "mod": [[0, 5, 10], [1, 6, 11], [2, 7, 12], [3, 8], [4, 9]],
    "div": [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10], [11, 12]],
}
"""Of 13 rows in 5 tables: the rows of each table."""
WHOLE = np.random.default_rng(0).normal(size=(13, 2))


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("strategy", LAYOUTS)
def test_h5_tables_of_thirteen_rows(strategy: str, traced: bool) -> None:
    tables = [WHOLE[rows] for rows in LAYOUTS[strategy]]

    def look_up(ids: Any) -> Any:
        return dfc.nn.embedding_lookup(tables, ids, partition_strategy=strategy)

    call = dfc.function(look_up) if traced else look_up
    for ids in (np.arange(13), np.array([[12, 0], [7, 7], [3, 9]]), np.zeros((0, 3), np.int32)):
        assert_array_equal(call(ids).numpy(), WHOLE[ids])


@pytest.mark.parametrize("strategy", LAYOUTS)
def test_h5_fewer_rows_than_tables(strategy: str) -> None:
    tables = [WHOLE[:1], WHOLE[1:2], WHOLE[:0]]
    found = dfc.nn.embedding_lookup(tables, [1, 0, 1], partition_strategy=strategy)
    assert_array_equal(found.numpy(), WHOLE[[1, 0, 1]])


def test_h5_mod_is_the_default_and_norms_are_clipped() -> None:
    tables = [WHOLE[rows] for rows in LAYOUTS["mod"]]
    found = dfc.nn.embedding_lookup(tables, np.arange(13), max_norm=0.5).numpy()
    assert_allclose(found, WHOLE * np.minimum(1, 0.5 / np.linalg.norm(WHOLE, axis=1, keepdims=True)), rtol=1e-12)


@pytest.mark.parametrize("strategy", LAYOUTS)
def test_h5_gradients_go_to_the_rows_of_each_table(strategy: str) -> None:
    variables = [dfc.Variable(WHOLE[rows]) for rows in LAYOUTS[strategy]]
    ids = np.array([0, 4, 4, 12])
    weights = np.arange(8.0).reshape(4, 2)

    @dfc.function
    def step(ids: Any) -> Any:
        rows = dfc.nn.embedding_lookup(variables, ids, partition_strategy=strategy)
        return dfc.gradients(dfc.sum(rows * weights), variables)

    expected = np.zeros_like(WHOLE)
    np.add.at(expected, ids, weights)
    for gradient, rows in zip(step(ids), LAYOUTS[strategy], strict=True):
        assert_allclose(dfc.asarray(gradient).numpy(), expected[rows])
