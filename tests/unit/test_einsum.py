"""dfc.einsum against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.errors import InvalidArgument, InvalidType

SIZES = {"i": 2, "j": 3, "k": 4, "l": 5, "m": 2, "n": 3, "b": 2, "c": 3, "a": 2, "d": 4, "e": 5, "X": 3, "z": 2}
PLAIN = """
    i-> i->i ij->ij ij->ji ij-> ij->i ij->j ijk->kji ijk->ki ii ii->i ii-> iij->ij iij->j iji->j iji->ij iii iii->i
    ijij->ij ijij ijji->ij ij ba bca->abc Xa
    i,i i,i-> i,i->i i,j i,j->ij i,j->ji i,j-> ij,j ij,j->i ij,j->ij ij,jk ij,jk->ik ij,jk->ki ij,kj->ik ji,jk->ik
    ij,jk-> ij,jk->j ij,jk->ijk ij,ij ij,ij->ij ij,ji ij,ij->i ij,ij->j ij,kl->ijkl ij,kl->ki bij,bjk->bik bij,bjk->ibk
    bij,bjk->ik bij,jk->bik bij,bjk-> bij,bkj->bik bijk,bkjl->bil bijk,bkjl->lib ii,i ii,ii ii,ij->j ii,jj ii,jj->ij
    ijk,jil->kl ijk,kj->i iij,jk->ik ij,jj->i ij,j,i ij,ik->kj abc,cd->abd abc,bad-> ij,->ij ,ij ,->
    i,i,i i,i,i->i i,j,k i,j,k->kji ij,jk,kl ij,jk,kl->il ij,jk,kl->li ij,jk,kl,lm->im ij,ij,ij ij,ij,ij->i ii,ij,jk->k
    ijk,ilm,njm,nlk,abc-> ijk,ilm,njm,nlk->  bi,bj,bk->ijk bij,bjk,bkl->bil ij,jk,ki ab,cd,ef->fdb
    ea,fb,abcd,gc,hd->efgh
    ij,j,k->ik i,ij,j bij,cij,k->bck ijkl,jk,l->i ij,jk,k->i a,ab,abc->abc a,ab,abc b,b,b,b->b
"""
DOTS = [
    ("...", [(2, 3)]),
    ("...->...", [(2, 3)]),
    ("i...", [(2, 3, 4)]),
    ("i...->...i", [(2, 3, 4)]),
    ("...ij->...ji", [(2, 3, 4, 5)]),
    ("...ii->...i", [(2, 3, 4, 4)]),
    ("...ii", [(2, 4, 4)]),
    ("i...i", [(4, 2, 4)]),
    ("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 5)]),
    ("...ij,...jk->...ik", [(7, 2, 3, 4), (2, 4, 5)]),
    ("...ij,...jk->...ik", [(3, 4), (2, 4, 5)]),
    ("...ij,...jk->...ik", [(2, 1, 3, 4), (1, 6, 4, 5)]),
    ("...ij,...jk", [(2, 3, 4), (2, 4, 5)]),
    ("i...,i...", [(3, 4), (3, 4)]),
    ("i...,...", [(3, 4), (4,)]),
    ("...i,...i->...", [(2, 3), (3,)]),
    ("...,...,...->...", [(2, 1), (3,), ()]),
    ("...a,ab,b...->...", [(5, 2), (2, 3), (3, 5)]),
    ("...a,a...->a...", [(5, 2), (2, 5)]),
    ("ij...,jk...->ik...", [(2, 3, 6), (3, 4, 6)]),
    ("i,i", [(1,), (3,)]),
    ("ij,jk->ik", [(2, 1), (3, 4)]),
    ("ij,ij->ij", [(1, 3), (2, 1)]),
    (" i j , j k -> i k ", [(2, 3), (3, 4)]),
    ("ij,jk->ik", [(2, 0), (0, 4)]),
    ("ij->i", [(0, 4)]),
]


def shapes_of(subscripts: str) -> list[tuple[int, ...]]:
    """Letters of an operand with a repeated letter have one size, as all axes of a letter."""
    texts = subscripts.split("->")[0].split(",")
    return [tuple(SIZES.get(letter, 2) for letter in text) for text in texts]


CASES = [*((s, shapes_of(s)) for s in PLAIN.split()), *DOTS]


def operands(shapes: Any, dtype: str) -> list[Any]:
    rng = np.random.default_rng(len(shapes))
    values = [rng.normal(size=shape) * 2 for shape in shapes]
    return [np.asarray((v + 1j * v[::-1]) if dtype == "complex128" and v.ndim else v).astype(dtype) for v in values]


@pytest.mark.parametrize("dtype", ["float64", "int32", "complex128"])
def test_against_numpy(dtype: str) -> None:
    """All in one program."""
    given = [operands(shapes, dtype) for _, shapes in CASES]

    @dfc.function
    def all_at_once(groups: list[list[dfc.Tensor]]) -> Any:
        return [dfc.einsum(s, *xs) for (s, _), xs in zip(CASES, groups, strict=True)]

    for (subscripts, _), xs, got in zip(CASES, given, all_at_once(given), strict=True):
        want = np.asarray(np.einsum(subscripts, *xs))
        assert got.numpy().shape == want.shape, subscripts
        assert got.numpy().dtype == want.dtype, subscripts
        if dtype == "int32":
            assert_array_equal(got.numpy(), want, err_msg=subscripts)
        else:
            assert_allclose(got.numpy(), want, rtol=1e-10, atol=1e-10, err_msg=subscripts)


def test_dtypes_meet() -> None:
    assert dfc.einsum("i,i->i", np.ones(2, np.float32), np.ones(2, np.float64)).dtype == "float64"
    assert dfc.einsum("ij->i", np.ones((2, 3), np.int8)).dtype == "int8"


def test_gradients_of_a_diagonal_and_a_product() -> None:
    x, y = (np.random.default_rng(i).normal(size=(3, 3)) for i in range(2))
    by_x = dfc.grad(lambda v: dfc.einsum("ii,ij,j->", v, dfc.asarray(y), dfc.asarray(y[0])))(x).numpy()
    assert_allclose(by_x, np.diag(y @ y[0]), rtol=1e-12)


def test_a_cheap_order_is_taken() -> None:
    """A product of a column, a row and a vector must not make the large matrix."""
    f = dfc.function(lambda a, b, c: dfc.einsum("i,j,j->i", a, b, c))
    a, b = np.ones(50, np.float32), np.ones(70, np.float32)
    assert "70" not in str(f.graph(a, b, b)).split("df.return")[0].split("df.dot_general")[-1]
    assert_array_equal(f(a, b, b).numpy(), np.full(50, 70, np.float32))


def test_symbolic_sizes() -> None:
    signature = [dfc.TensorSpec(("b", 3), dfc.float32), dfc.TensorSpec((3, 2), dfc.float32)]
    f = dfc.function(signature=signature)(lambda x, w: dfc.einsum("bi,ij,bi->bj", x, w, x))
    x, w = np.ones((4, 3), np.float32), np.ones((3, 2), np.float32)
    assert_array_equal(f(x, w).numpy(), np.full((4, 2), 3, np.float32))


@pytest.mark.parametrize(
    ("subscripts", "shapes", "message"),
    [
        ("ij,jk", [(2, 3)], "einsum: there must be subscripts for each of 1 operands, in 'ij,jk'"),
        ("ij", [(2,)], "einsum: 'ij' does not fit to an operand of rank 1, in 'ij'"),
        ("i", [(2, 3)], "einsum: 'i' does not fit to an operand of rank 2, in 'i'"),
        ("i1", [(2, 3)], r"einsum: an operand has letters and at most one '\.\.\.', got 'i1', in 'i1'"),
        ("ij,jk", [(2, 3), (4, 5)], "einsum: 'j' has the sizes 3 and 4, in 'ij,jk'"),
        ("...,...", [(3,), (4,)], r"einsum: an axis of '\.\.\.' has the sizes 3 and 4"),
        ("ij->ik", [(2, 3)], "einsum: no operand has 'k', which the result has, in 'ij->ik'"),
        ("ij->ii", [(2, 3)], "einsum: the result must have distinct letters, in 'ij->ii'"),
        ("i...->i", [(2, 3)], r"einsum: the result must have the '\.\.\.' of the operands"),
    ],
)
def test_bad_subscripts(subscripts: str, shapes: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        dfc.einsum(subscripts, *(np.ones(s, np.float32) for s in shapes))


def test_booleans_are_refused() -> None:
    with pytest.raises(InvalidType, match="einsum: operands must be numeric, got bool"):
        dfc.einsum("i->", np.ones(2, np.bool_))
