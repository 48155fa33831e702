"""dfc.linalg against NumPy and SciPy."""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.errors import InvalidArgument, InvalidType

la = np.linalg
RNG = np.random.default_rng(8)
A = RNG.normal(size=(2, 3, 3))
Z = A + 1j * RNG.normal(size=A.shape)
TALL, WIDE = RNG.normal(size=(4, 2)), RNG.normal(size=(2, 4))
S = A @ np.swapaxes(A, -1, -2) + np.eye(3)
H = Z @ np.conj(np.swapaxes(Z, -1, -2)) + np.eye(3)
B, V = RNG.normal(size=(2, 3, 4)), RNG.normal(size=3)
LOW = np.tril(A) + 3 * np.eye(3)
SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
RANK_ONE = np.outer([1.0, 2, 3, 4], [1.0, -1])


def adjoint(x: Any) -> Any:
    return np.conj(np.swapaxes(x, -1, -2))


Case = tuple[Callable[..., Any], Any, tuple[Any, ...]]
CASES: dict[str, Case] = {
    "cholesky": (dfc.linalg.cholesky, la.cholesky(S), (S,)),
    "cholesky complex": (dfc.linalg.cholesky, la.cholesky(H), (H,)),
    "cholesky upper": (lambda x: dfc.linalg.cholesky(x, upper=True), adjoint(la.cholesky(H)), (np.triu(H),)),
    "eigvalsh": (dfc.linalg.eigvalsh, la.eigvalsh(H), (H,)),
    "eigvalsh upper": (lambda x: dfc.linalg.eigvalsh(x, UPLO="U"), la.eigvalsh(H), (np.triu(H),)),
    "svdvals": (dfc.linalg.svdvals, la.svd(Z, compute_uv=False), (Z,)),
    "solve": (dfc.linalg.solve, la.solve(A, B), (A, B)),
    "solve complex": (dfc.linalg.solve, la.solve(Z, B), (Z, B)),
    "solve vector": (dfc.linalg.solve, la.solve(A[0], V), (A[0], V)),
    "solve batch": (dfc.linalg.solve, la.solve(A, B[0]), (A, B[0])),
    "solve batch of a": (dfc.linalg.solve, la.solve(A[0], B), (A[0], B)),
    "solve_triangular": (
        lambda a, b: dfc.linalg.solve_triangular(a, b, lower=True),
        np.stack([scipy.linalg.solve_triangular(a, b, lower=True) for a, b in zip(LOW, B, strict=True)]),
        (LOW, B),
    ),
    "solve_triangular transposed": (
        lambda a, b: dfc.linalg.solve_triangular(a, b, trans="T"),
        scipy.linalg.solve_triangular(Z[0], V, trans="T"),
        (Z[0], V),
    ),
    "solve_triangular adjoint": (
        lambda a, b: dfc.linalg.solve_triangular(a, b, trans="C", unit_diagonal=True),
        scipy.linalg.solve_triangular(Z[0], V, trans="C", unit_diagonal=True),
        (Z[0], V),
    ),
    "inv": (dfc.linalg.inv, la.inv(A), (A,)),
    "inv complex": (dfc.linalg.inv, la.inv(Z), (Z,)),
    "det": (dfc.linalg.det, la.det(A), (A,)),
    "det complex": (dfc.linalg.det, la.det(Z), (Z,)),
    "det singular": (dfc.linalg.det, np.float64(0), (SINGULAR,)),
    "det of nothing": (dfc.linalg.det, np.float64(1), (np.zeros((0, 0)),)),
    "slogdet": (dfc.linalg.slogdet, tuple(la.slogdet(-A)), (-A,)),
    "slogdet complex": (dfc.linalg.slogdet, tuple(la.slogdet(Z)), (Z,)),
    "slogdet singular": (dfc.linalg.slogdet, tuple(la.slogdet(np.zeros((2, 2)))), (np.zeros((2, 2)),)),
    "pinv": (dfc.linalg.pinv, la.pinv(TALL), (TALL,)),
    "pinv complex": (dfc.linalg.pinv, la.pinv(Z), (Z,)),
    "pinv rank one": (dfc.linalg.pinv, la.pinv(RANK_ONE), (RANK_ONE,)),
    "matrix_rank": (dfc.linalg.matrix_rank, np.int32(1), (RANK_ONE,)),
    "matrix_rank rtol": (lambda x: dfc.linalg.matrix_rank(x, rtol=0.5), np.int32(1), (np.diag([1.0, 0.4]),)),
    "matrix_power": (lambda x: dfc.linalg.matrix_power(x, 5), la.matrix_power(A, 5), (A,)),
    "matrix_power 0": (lambda x: dfc.linalg.matrix_power(x, 0), la.matrix_power(A, 0), (A,)),
    "matrix_power -3": (lambda x: dfc.linalg.matrix_power(x, -3), la.matrix_power(A, -3), (A,)),
    "expm": (dfc.linalg.expm, scipy.linalg.expm(A), (A,)),
    "expm large": (dfc.linalg.expm, scipy.linalg.expm(9 * LOW), (9 * LOW,)),
    "expm small": (dfc.linalg.expm, scipy.linalg.expm(1e-3 * A), (1e-3 * A,)),
    "expm complex": (dfc.linalg.expm, scipy.linalg.expm(3 * Z), (3 * Z,)),
    "expm rotation": (
        dfc.linalg.expm,
        np.array([[np.cos(40), -np.sin(40)], [np.sin(40), np.cos(40)]]),
        (np.array([[0.0, -40], [40, 0]]),),
    ),
    "cond": (dfc.linalg.cond, la.cond(A), (A,)),
    "cond -2": (lambda x: dfc.linalg.cond(x, p=-2), la.cond(A, -2), (A,)),
    "cond 1": (lambda x: dfc.linalg.cond(x, p=1), la.cond(A, 1), (A,)),
    "cond fro": (lambda x: dfc.linalg.cond(x, p="fro"), la.cond(A, "fro"), (A,)),
    **{
        f"matrix_norm {ord}": (lambda x, o=ord: dfc.linalg.matrix_norm(x, ord=o), la.matrix_norm(Z, ord=ord), (Z,))
        for ord in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)
    },
    "matrix_norm kept": (
        lambda x: dfc.linalg.matrix_norm(x, keepdims=True, ord=1), la.matrix_norm(Z, keepdims=True, ord=1), (Z,)
    ),
    **{
        f"vector_norm {ord}": (
            lambda x, o=ord: dfc.linalg.vector_norm(x, axis=1, ord=o), la.vector_norm(Z, axis=1, ord=ord), (Z,)
        )
        for ord in (0, 1, 2, 3, 0.5, -1, math.inf, -math.inf)
    },
    "vector_norm of all": (dfc.linalg.vector_norm, la.vector_norm(Z), (Z,)),
    "vector_norm kept": (
        lambda x: dfc.linalg.vector_norm(x, axis=(0, 2), keepdims=True),
        la.vector_norm(A, axis=(0, 2), keepdims=True),
        (A,),
    ),
    "norm": (dfc.linalg.norm, la.norm(A), (A,)),
    "norm of a matrix": (lambda x: dfc.linalg.norm(x, 1), la.norm(TALL, 1), (TALL,)),
    "norm by axes": (lambda x: dfc.linalg.norm(x, 1, axis=(2, 0)), la.norm(A, 1, axis=(2, 0)), (A,)),
    "norm kept": (
        lambda x: dfc.linalg.norm(x, "nuc", axis=(0, 2), keepdims=True),
        la.norm(A, "nuc", axis=(0, 2), keepdims=True),
        (A,),
    ),
    "norm by axis": (lambda x: dfc.linalg.norm(x, 3, axis=1), la.norm(A, 3, axis=1), (A,)),
    "multi_dot": (
        lambda *xs: dfc.linalg.multi_dot(xs), la.multi_dot([TALL, WIDE, TALL, WIDE]), (TALL, WIDE, TALL, WIDE)
    ),
    "multi_dot vectors": (lambda *xs: dfc.linalg.multi_dot(xs), la.multi_dot([V, A[0], A[1], V]), (V, A[0], A[1], V)),
    "multi_dot two": (lambda *xs: dfc.linalg.multi_dot(xs), TALL @ WIDE, (TALL, WIDE)),
    "trace": (dfc.linalg.trace, la.trace(A), (A,)),
    "trace offset": (lambda x: dfc.linalg.trace(x, offset=1), la.trace(A, offset=1), (A,)),
    **{
        f"diagonal {offset}": (
            lambda x, o=offset: dfc.linalg.diagonal(x, offset=o), la.diagonal(x, offset=offset), (x,)
        )
        for x in (TALL, WIDE)
        for offset in range(-4, 5)
    },
    "diagonal axes": (lambda x: dfc.linalg.diagonal(x, axis1=2, axis2=0), np.diagonal(A, 0, 2, 0), (A,)),
    "outer": (dfc.linalg.outer, np.outer(V, TALL[:, 0]), (V, TALL[:, 0])),
    "cross": (dfc.linalg.cross, np.cross(A, V), (A, V)),
    "cross axis": (lambda x, y: dfc.linalg.cross(x, y, axis=1), np.cross(A, B[:, :, :3], axis=1), (A, B[:, :, :3])),
    "kron": (dfc.linalg.kron, np.kron(TALL, WIDE), (TALL, WIDE)),
    "kron ranks": (dfc.linalg.kron, np.kron(V, TALL), (V, TALL)),
    "matmul": (dfc.linalg.matmul, TALL @ WIDE, (TALL, WIDE)),
    "tensordot": (lambda x, y: dfc.linalg.tensordot(x, y, axes=1), np.tensordot(TALL, WIDE, 1), (TALL, WIDE)),
    "vecdot": (dfc.linalg.vecdot, la.vecdot(A, V), (A, V)),
    "matrix_transpose": (dfc.linalg.matrix_transpose, la.matrix_transpose(TALL), (TALL,)),
}  # fmt: skip


def test_against_numpy() -> None:
    """All in one program."""
    functions = [function for function, _, _ in CASES.values()]
    run = dfc.function(lambda groups: [f(*xs) for f, xs in zip(functions, groups, strict=True)])
    for (name, (_, want, _)), got in zip(CASES.items(), run([list(xs) for *_, xs in CASES.values()]), strict=True):
        pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
        for g, w in pairs:
            assert (g.numpy().shape, g.numpy().dtype) == (np.shape(w), np.asarray(w).dtype), name
            assert_allclose(g.numpy(), w, rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("x", [A, Z, TALL, WIDE, A.astype(np.float32)], ids=["A", "Z", "tall", "wide", "float32"])
def test_factors_make_the_matrix(x: Any) -> None:
    near = {"rtol": 0, "atol": 1e-4 if x.dtype == np.float32 else 1e-12}
    least = min(x.shape[-2:])
    q, r = (t.numpy() for t in dfc.linalg.qr(x))
    u, s, vh = (t.numpy() for t in dfc.linalg.svd(x))
    assert_allclose(q @ r, x, **near)
    assert_allclose((u * s[..., None, :]) @ vh, x, **near)
    for basis in (q, u, adjoint(vh)):
        assert_allclose(adjoint(basis) @ basis, np.broadcast_to(np.eye(least), (*x.shape[:-2], least, least)), **near)
    assert_allclose(r, np.triu(r), atol=0)
    assert (np.diagonal(r, axis1=-2, axis2=-1) >= 0).all()
    lu, pivots, order = (t.numpy() for t in dfc.linalg.lu_factor(x))
    low = np.tril(lu, -1)[..., :least] + np.eye(x.shape[-2], least)
    moved = np.take_along_axis(x, np.broadcast_to(order[..., None], x.shape), -2)
    assert_allclose(low @ np.triu(lu)[..., :least, :], moved, **near)
    assert pivots.shape == (*x.shape[:-2], least)


@pytest.mark.parametrize("x", [TALL, WIDE, Z, np.eye(4, 2), np.zeros((3, 0)), TALL[None] + 1j])
def test_whole_bases(x: Any) -> None:
    m, n = x.shape[-2:]
    q, r = (t.numpy() for t in dfc.linalg.qr(x, mode="complete"))
    u, s, vh = (t.numpy() for t in dfc.linalg.svd(x, full_matrices=True))
    assert (q.shape[-2:], r.shape[-2:], u.shape[-2:], vh.shape[-2:]) == ((m, m), (m, n), (m, m), (n, n))
    for basis in (q, u, vh):
        assert_allclose(adjoint(basis) @ basis, np.broadcast_to(np.eye(basis.shape[-1]), basis.shape), atol=1e-12)
    assert_allclose(q @ r, x, atol=1e-12)
    assert_allclose((u[..., : min(m, n)] * s[..., None, :]) @ vh[..., : min(m, n), :], x, atol=1e-12)


@pytest.mark.parametrize("x", [S, H])
def test_eigh(x: Any) -> None:
    w, v = (t.numpy() for t in dfc.linalg.eigh(x))
    assert_allclose(x @ v, v * w[..., None, :], atol=1e-12)
    assert_allclose(adjoint(v) @ v, np.broadcast_to(np.eye(3), x.shape), atol=1e-12)


def test_least_squares() -> None:
    b = RNG.normal(size=(4, 3))
    got = dfc.linalg.lstsq(TALL, b)
    for ours, theirs in zip(got, la.lstsq(TALL, b), strict=True):
        assert_allclose(ours.numpy(), theirs, rtol=1e-10)
    x, residuals, rank, _ = dfc.linalg.lstsq(RANK_ONE, b[:, 0])
    assert_allclose(x.numpy(), la.lstsq(RANK_ONE, b[:, 0])[0], rtol=1e-10)
    assert_allclose(residuals.item(), np.sum((b[:, 0] - RANK_ONE @ x.numpy()) ** 2), rtol=1e-10)
    assert rank.item() == 1


def test_what_fails_is_nan() -> None:
    bad = np.array([[[2.0, 1], [1, 2]], [[1, 2], [2, 1]]])
    got = dfc.linalg.cholesky(bad).numpy()
    assert_allclose(got[0], la.cholesky(bad[0]))
    assert_array_equal(got[1], [[np.nan, 0], [np.nan, np.nan]])
    assert np.isnan(dfc.linalg.svdvals(np.array([[np.inf, 1], [0, 1]])).numpy()).all()
    assert np.isnan(dfc.linalg.expm(np.array([[1e6]])).numpy()).all()
    assert not np.isfinite(dfc.linalg.inv(SINGULAR).numpy()).any()


def numeric(f: Callable[[Any], Any], x: Any, step: float = 1e-6) -> Any:
    slopes = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = np.array(x), np.array(x)
        up[i] += step
        down[i] -= step
        slopes[i] = (f(up) - f(down)) / (2 * step)
    return slopes


GRADIENTS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], Any]] = {
    "inv": (lambda x: dfc.sum(dfc.sin(dfc.linalg.inv(x))), lambda x: np.sum(np.sin(la.inv(x))), A),
    "expm": (
        lambda x: dfc.sum(dfc.sin(dfc.linalg.expm(2 * x))),
        lambda x: np.sum(np.sin(scipy.linalg.expm(2 * x))),
        A / 2,
    ),
    "det": (lambda x: dfc.sum(dfc.linalg.det(x)), lambda x: np.sum(la.det(x)), A),
    "slogdet": (lambda x: dfc.sum(dfc.linalg.slogdet(x).logabsdet), lambda x: np.sum(la.slogdet(x)[1]), A),
    "pinv": (lambda x: dfc.sum(dfc.sin(dfc.linalg.pinv(x))), lambda x: np.sum(np.sin(la.pinv(x))), TALL),
    "nuclear": (lambda x: dfc.linalg.matrix_norm(x, ord="nuc"), lambda x: la.matrix_norm(x, ord="nuc"), WIDE),
    "norm 3": (lambda x: dfc.linalg.vector_norm(x, ord=3), lambda x: la.vector_norm(x, ord=3), TALL),
    "lstsq": (
        lambda x: dfc.sum(dfc.sin(dfc.linalg.lstsq(x, np.arange(4.0)).x)),
        lambda x: np.sum(np.sin(la.lstsq(x, np.arange(4.0))[0])),
        TALL,
    ),
    "diagonal": (
        lambda x: dfc.sum(dfc.sin(dfc.linalg.diagonal(x, offset=-1))),
        lambda x: np.sum(np.sin(np.diagonal(x, -1, -2, -1))),
        A,
    ),
    "null space": (
        lambda x: dfc.sum(dfc.square(dfc.linalg.svd(x, full_matrices=True).U[:, 2:] * TALL[:, :1])[0]),
        lambda x: np.sum((scipy.linalg.null_space(x.T) ** 2).sum(1)[0] * TALL[0, 0] ** 2),
        TALL,
    ),
    "upper eigenvectors": (
        lambda x: dfc.sum(dfc.square(dfc.linalg.eigh(x, UPLO="U").eigenvectors) * dfc.asarray(A[0])),
        lambda x: np.sum(la.eigh(x, UPLO="U")[1] ** 2 * A[0]),
        S[0],
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    ours, theirs, x = GRADIENTS[name]
    assert_allclose(dfc.grad(ours)(x).numpy(), numeric(theirs, x), rtol=1e-5, atol=1e-6)


def of_all(*factors: Any) -> Any:
    """A scalar in whose second derivatives every element of the factors meets every other."""
    weights = np.random.default_rng(3)
    sums = [dfc.sum(dfc.sin(x) * weights.normal(size=[int(n) for n in x.shape])) for x in factors]
    total = functools.reduce(dfc.add, sums)
    return total + dfc.square(total)


SQUARE = np.diag([1.0, 2.0, 4.0]) + 0.1 * np.arange(9).reshape(3, 3)
APART = {"square": SQUARE, "tall": TALL + 2 * np.eye(4, 2), "wide": WIDE + 2 * np.eye(2, 4)}
HESSIANS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    **{f"pinv {name}": (lambda x: dfc.sum(dfc.square(dfc.linalg.pinv(x))), x) for name, x in APART.items()},
    **{f"svd {name}": (lambda x: of_all(*dfc.linalg.svd(x)), x) for name, x in APART.items()},
    "left vectors": (lambda x: of_all(dfc.linalg.svd(x).U), SQUARE),
    "right vectors": (lambda x: of_all(dfc.linalg.svd(x).Vh), SQUARE),
    "qr": (lambda x: of_all(*dfc.linalg.qr(x)), SQUARE),
    "lu": (lambda x: of_all(dfc.linalg.lu_factor(x)[0]), SQUARE),
    "eigh": (lambda x: of_all(*dfc.linalg.eigh(x)), SQUARE),
    "cholesky": (lambda x: of_all(dfc.linalg.cholesky(x)), SQUARE),
}


@pytest.mark.parametrize("name", HESSIANS)
def test_hessians(name: str) -> None:
    f, x = HESSIANS[name]
    found = dfc.hessian(f)(x).numpy().reshape(x.size, x.size)
    assert_allclose(found, found.T, rtol=1e-9, atol=1e-9 * np.abs(found).max())
    slope, slopes = dfc.function(dfc.grad(f)), []
    for step in 1e-5 * np.eye(x.size).reshape(x.size, *x.shape):
        slopes.append((slope(x + step).numpy() - slope(x - step).numpy()).ravel() / 2e-5)
    assert_allclose(found, slopes, rtol=1e-6, atol=1e-6 * np.abs(found).max())


def test_gradients_at_edges() -> None:
    assert_array_equal(dfc.grad(dfc.linalg.norm)(np.zeros(3)).numpy(), np.zeros(3))
    # All eigenvalues are equal: the sum of their squares is the sum of the squares of x, read below the diagonal.
    got = dfc.grad(lambda x: dfc.sum(dfc.square(dfc.linalg.eigvalsh(x))))(2 * np.eye(3)).numpy()
    assert_allclose(got, 4 * np.eye(3), atol=1e-12)

    def rebuilt(x: Any) -> Any:
        w, v = dfc.linalg.eigh(x)
        return dfc.sum(dfc.linalg.matmul(v * w, dfc.linalg.matrix_transpose(v)) * dfc.asarray(A[0]))

    half = A[0] + A[0].T
    assert_allclose(dfc.grad(rebuilt)(S[0]).numpy(), np.tril(half, -1) + np.diag(np.diag(half)) / 2, atol=1e-10)


def test_a_batch_may_be_symbolic() -> None:
    f = dfc.function(signature=[dfc.TensorSpec(("b", 3, 3), dfc.float64)])(lambda x: dfc.linalg.inv(x))
    assert_allclose(f(A).numpy(), la.inv(A), rtol=1e-10)


def test_integers_are_taken_as_float32() -> None:
    assert dfc.linalg.det(np.array([[1, 2], [3, 4]])).dtype == "float32"


MODEL = """
import dfc

@dfc.function(signature=[dfc.TensorSpec((3, 3), "float32", name="x")])
def factors(x):
    q, r = dfc.linalg.qr(x)
    u, s, vh = dfc.linalg.svd(x)
    w, v = dfc.linalg.eigh(x)
    return {"qr": dfc.matmul(q, r), "usv": dfc.matmul(u * s, vh), "w": w, "inv": dfc.linalg.inv(x),
            "chol": dfc.linalg.cholesky(x), "y": dfc.abs(dfc.fft.rfft(x))}
"""


RECOMPILED = """
import sys
from dfc.runtime import here
from dfc.tools.run import run
here.stamp_mismatch = lambda *_: "as on another machine"
run(["model.dfc", "--input", "x=@x.npy", "--output", "again.npz"], standalone_mode=False)
assert sys.modules["jax"] is None
"""


def test_an_artifact_runs_without_jax(tmp_path: Path) -> None:
    """`dfc run`, a process that has jaxlib alone, finds LAPACK, in machine code and in the portable program."""
    (tmp_path / "model.py").write_text(MODEL)
    x = S[0].astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "DFC_CACHE_DIR": ""}
    for arguments in (
        ["-m", "dfc", "compile", "model.py", "-o", "model.dfc"],
        ["-m", "dfc", "run", "model.dfc", "--input", "x=@x.npy", "--output", "out.npz"],
        ["-c", RECOMPILED],
    ):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr + done.stdout
    assert "the portable program is compiled instead" in done.stderr
    near = {"rtol": 1e-3, "atol": 1e-4}
    for name in ("out.npz", "again.npz"):
        got = np.load(tmp_path / name)
        for key in ("qr", "usv"):
            assert_allclose(got[key], x, **near)
        assert_allclose(got["w"], la.eigvalsh(x), **near)
        assert_allclose(got["inv"], la.inv(x), **near)
        assert_allclose(got["chol"], la.cholesky(x), **near)
        assert_allclose(got["y"], np.abs(np.fft.rfft(x)), **near)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: dfc.linalg.inv(TALL), InvalidArgument, r"inv: the last two axes must have equal sizes, got \(4, 2\)"),
        (lambda: dfc.linalg.svd(V), InvalidArgument, "svd: x must have two axes or more, the last two of known sizes"),
        (lambda: dfc.linalg.qr(np.zeros((2, 2), np.float16)), InvalidType, "qr: the dtype must be float32, float64,"),
        (lambda: dfc.linalg.qr(TALL, mode="r"), InvalidArgument, "qr: mode must be 'reduced' or 'complete', got 'r'"),
        (lambda: dfc.linalg.eigh(S, UPLO="X"), InvalidArgument, "eigh: UPLO must be 'L' or 'U', got 'X'"),
        (lambda: dfc.linalg.solve(A, TALL), InvalidArgument, "solve: b must have as many rows as a, got shapes"),
        (lambda: dfc.linalg.solve_triangular(A, B, trans="H"), InvalidArgument, "trans must be 'N', 'T' or 'C', got"),
        (lambda: dfc.linalg.matrix_norm(A, ord=3), InvalidArgument, "matrix_norm: ord must be 'fro', 'nuc', 1, -1, 2"),
        (lambda: dfc.linalg.norm(A, "fro"), InvalidArgument, "norm: there must be one axis or two"),
        (lambda: dfc.linalg.norm(V, "fro"), InvalidArgument, "norm: ord of a vector must be a number, got 'fro'"),
        (lambda: dfc.linalg.outer(A, V), InvalidArgument, "outer: operands must be vectors"),
        (lambda: dfc.linalg.cross(TALL, TALL), InvalidArgument, r"cross: the axis must have size 3, got \(4, 2\)"),
        (lambda: dfc.linalg.multi_dot([TALL]), InvalidArgument, "multi_dot: there must be two matrices or more"),
        (lambda: dfc.linalg.diagonal(V), InvalidArgument, r"diagonal: x must have two axes or more, got \(3\)"),
    ],
)
def test_bad_arguments(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
