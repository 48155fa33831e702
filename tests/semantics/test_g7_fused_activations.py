"""G7: an activation and its gradient are one fused kernel: nothing between them goes through memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dfc

X, G = np.linspace(-4, 4, 8 * 128, dtype=np.float32).reshape(8, 128), np.ones((8, 128), np.float32)
ACTIVATIONS = {
    name: getattr(dfc.nn, name) for name in ("relu", "relu6", "leaky_relu", "elu", "selu", "silu", "mish", "softplus")
} | {"sigmoid": dfc.sigmoid, "tanh": dfc.tanh}


def computed(function: Any, *args: Any) -> list[str]:
    """The instructions of the optimised program that aren't its parameters."""
    (executable,) = function.compiled_for(*args).step.executables
    entry = executable.hlo.partition("ENTRY ")[2].partition("\n}")[0].splitlines()[1:]
    return [line.strip() for line in entry if " parameter(" not in line]


@pytest.mark.parametrize("name", ["sigmoid", *(n for n in ACTIVATIONS if n != "sigmoid")])
def test_an_activation_and_its_gradient_are_one_fusion(name: str) -> None:
    activation: Callable[[Any], Any] = ACTIVATIONS[name]

    @dfc.function
    def backward(x: Any, g: Any) -> Any:
        return dfc.gradients(activation(x), x, grad_ys=g)[0]

    backward(X, G)
    (only,) = computed(backward, X, G)
    assert "fusion(" in only and "kind=kLoop" in only


@pytest.mark.parametrize("name", ["sigmoid", "relu"])
def test_with_the_value_as_a_second_result_there_is_one_fusion_for_each(name: str) -> None:
    @dfc.function
    def both(x: Any, g: Any) -> Any:
        y = ACTIVATIONS[name](x)
        return y, dfc.gradients(y, x, grad_ys=g)[0]

    both(X, G)
    *fusions, root = computed(both, X, G)
    assert root.startswith("ROOT") and "tuple(" in root
    assert len(fusions) <= 2 and all("fusion(" in line for line in fusions)
