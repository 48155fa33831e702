"""Types: interned, decoded once, and a reference is no tensor."""

from __future__ import annotations

import pytest

from dfc.errors import InvalidType
from dfc.ir import dtypes, types
from dfc.ir.builder import Builder
from dfc.ir.dims import symbol
from dfc.ir.ops.elementwise import Add
from dfc.ir.ops.function import single_block_region
from dfc.ir.ops.state import Variable


def test_one_object_a_type() -> None:
    b = symbol("b")
    assert types.tensor_type((b * 2, 3), dtypes.float32) is types.tensor_type((2 * b, 3), dtypes.float32)
    assert types.spec_of(types.tensor_type((b, 3), dtypes.int8)) == types.Spec((b, 3), dtypes.int8)


@pytest.mark.parametrize("dtype", dtypes.ALL)
def test_every_dtype_has_an_element_type_and_comes_back(dtype: dtypes.DType) -> None:
    type_ = types.tensor_type((2,), dtype)
    assert types.spec_of(types.interned(type(type_)(type_.element_type, [2]))) == types.Spec((2,), dtype)


def test_a_reference_is_not_taken_for_a_tensor() -> None:
    _, block = single_block_region(())
    b = Builder(block)
    ref = b(Variable, variable="w", shape=(2,), dtype=dtypes.float32)
    assert types.spec_behind(ref.type) == types.Spec((2,), dtypes.float32)
    with pytest.raises(InvalidType, match=r"add: expected a tensor, got !df\.ref<tensor<2xf32>>"):
        b(Add, ref, ref)


def test_a_dynamic_size_needs_its_expression() -> None:
    from xdsl.dialects.builtin import DYNAMIC_INDEX, Float32Type, TensorType

    with pytest.raises(InvalidType, match="needs its dimension in the encoding"):
        types.spec_of(TensorType(Float32Type(), [DYNAMIC_INDEX]))
