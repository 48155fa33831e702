"""Attribute values: constants that repeat one element."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from dfc.ir import attributes
from dfc.ir.attributes import SPLAT_BLOCK, Array
from dfc.ir.dims import symbol
from dfc.ir.dtypes import as_dtype
from dfc.ir.types import Spec, spec_of, tensor_type

LONG = 3 * SPLAT_BLOCK + 7


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "float32", "float64", "complex128", ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (LONG,)])
def test_one_element_that_is_repeated(dtype: Any, shape: tuple[int, ...]) -> None:
    value = np.full(shape, 1, dtype)
    assert Array.of(value).splat == 1
    assert Array.of(np.broadcast_to(np.asarray(1, dtype), shape)).splat == 1
    if value.size > 1:
        value[(-1,) * value.ndim] = 0
        assert Array.of(value).splat is None


def test_elements_are_compared_by_their_bits() -> None:
    assert Array.of(np.float32([0.0, -0.0])).splat is None
    assert np.signbit(Array.of(np.float32([-0.0, -0.0])).splat)
    assert np.isnan(Array.of(np.full((2, 2), np.nan)).splat)
    assert Array.of(np.array([np.nan, -np.nan])).splat is None
    assert Array.of(np.array([1, 1 + 1j])).splat is None


def test_nothing_is_repeated_in_these() -> None:
    assert Array.of(np.zeros((0, 3))).splat is None
    assert Array.of(np.array([b"a", b"a"], object)).splat is None
    assert Array(None, Array.of(np.zeros(2)).dtype, (2,), "digest").splat is None
    assert Array.of(np.arange(12).reshape(3, 4)[:, ::2]).splat is None


def test_the_search_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    array, runs = Array.of(np.ones(1000)), []
    search = attributes._splat
    monkeypatch.setattr(attributes, "_splat", lambda a: runs.append(a) or search(a))
    assert [array.splat, array.splat, array.splat] == [1, 1, 1]
    assert runs == [array]


def test_a_digest_does_not_depend_on_the_memory_layout() -> None:
    rows = np.arange(12, dtype=np.int32).reshape(3, 4)
    assert Array.of(np.asfortranarray(rows)).digest == Array.of(rows).digest != Array.of(rows.T).digest


def test_equal_numbers_print_alike() -> None:
    """Equal keys are interned once, so what came first must not show: sizes here are in no other test."""
    kind = attributes.Ints
    assert attributes.make(kind, (True, 98765, np.int64(3))).data == (1, 98765, 3)
    assert repr(attributes.make(kind, (1, 98765, 3)).data) == "(1, 98765, 3)"
    assert repr(attributes.make(attributes.Int, True).data) == "1"
    assert attributes.make(attributes.Flag, 1).data is True
    assert repr(attributes.make(attributes.Dims, (True, symbol("b"), np.int64(98765))).data) == "(1, b, 98765)"
    specs = attributes.make(attributes.Specs, (Spec((True, 98765), as_dtype("int8")),)).data
    assert repr(specs[0].shape) == "(1, 98765)"
    assert repr(spec_of(tensor_type((True, np.int64(98765)), as_dtype("int16"))).shape) == "(1, 98765)"
