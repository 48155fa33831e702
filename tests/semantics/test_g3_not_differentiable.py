"""Row G3: what is not differentiable passes no gradient, and says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.passes.autodiff import NON_DIFFERENTIABLE

X = np.array([0.3, -1.2, 2.5], np.float32)

THROUGH: dict[str, Callable[[Any], Any]] = {
    "argmax": lambda x: dfc.argmax(x),
    "argsort": lambda x: dfc.argsort(x),
    "a comparison": lambda x: x > 0,
    "a conversion to integers": lambda x: dfc.astype(x, "int32"),
    "sign": lambda x: dfc.sign(x),
    "floor": lambda x: dfc.floor(x),
    "stop_gradient": lambda x: dfc.stop_gradient(x),
    "searchsorted": lambda x: dfc.searchsorted(np.array([0.0, 1.0], np.float32), x),
    "unique": lambda x: dfc.unique(x, size=3).values,
    "quantize": lambda x: dfc.quantize(x, 0.1),
    "nonzero": lambda x: dfc.nonzero(x, size=3)[0],
}


@pytest.mark.parametrize("name", THROUGH)
def test_g3_no_gradient_passes(name: str) -> None:
    @dfc.function
    def gradients(x: Any) -> Any:
        y = dfc.astype(THROUGH[name](x), "float32")
        assert dfc.gradients(dfc.sum(y), [x]) == [None]
        return dfc.gradients(dfc.sum(y) + dfc.sum(x * x), [x])[0]

    np.testing.assert_allclose(gradients(X).numpy(), 2 * X, rtol=1e-6)


def test_g3_no_gradient_reaches_a_key() -> None:
    @dfc.function
    def body(x: Any) -> Any:
        key = dfc.random.key(1)
        noise = dfc.random.normal((3,), key=key)
        first, second = dfc.gradients(dfc.sum(noise * x), [key, x])
        assert first is None
        return noise, second

    noise, gradient = body(X)
    np.testing.assert_array_equal(noise.numpy(), gradient.numpy())


def test_g3_every_such_op_has_a_reason() -> None:
    assert len(NON_DIFFERENTIABLE) > 20
    assert all(len(reason) > 8 for reason in NON_DIFFERENTIABLE.values())
