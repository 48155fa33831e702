"""Row G4: AdaGrad, Adam and Momentum beside the seven node tests of ONNX's training operators."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc

pytestmark = pytest.mark.slow  # needs the extra `bench`
pytest.importorskip("onnx", reason="onnx, which has the node tests, is not installed: pip install onnx")

CASES = {"adagrad": 2, "adam": 2, "momentum": 3}
LATE = 10**6
"""A step at which Adam's corrections are 1: ONNX corrects nothing at its step 0."""


def recorded(module_name: str) -> list[tuple[dict[str, Any], list[Any], list[Any]]]:
    """The attributes, inputs and outputs of each node test of an operator."""
    import onnx

    module = importlib.import_module(f"onnx.backend.test.case.node.{module_name}")
    found = []

    def expect(node: Any, inputs: list[Any], outputs: list[Any], **_: Any) -> None:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        found.append((attributes, inputs, outputs))

    original, module.expect = module.expect, expect
    try:
        (cls,) = (v for k, v in vars(module).items() if k.lower() == module_name)
        for name in sorted(vars(cls)):
            if name.startswith("export"):
                getattr(cls, name)()
    finally:
        module.expect = original
    return found


def made(module_name: str, attributes: dict[str, Any], rate: float) -> tuple[dfc.train.Optimizer, list[str]]:
    """dfc's optimiser with the operator's attributes, and its slots in the operator's order."""
    if module_name == "adagrad":
        return dfc.train.AdaGrad(rate, epsilon=attributes["epsilon"], epsilon_root=0.0), ["accumulator"]
    if module_name == "adam":
        betas = attributes["alpha"], attributes["beta"]
        return dfc.train.Adam(rate, *betas, epsilon=attributes["epsilon"]), ["m", "v"]
    nesterov = attributes["mode"] == b"nesterov"
    return dfc.train.Momentum(rate, momentum=attributes["alpha"], use_nesterov=nesterov), ["momentum"]


@pytest.mark.parametrize("name", CASES)
def test_g4_steps_equal_onnx(name: str) -> None:
    tests = recorded(name)
    assert len(tests) == CASES[name]
    for attributes, inputs, outputs in tests:
        optimizer, slots = made(name, attributes, float(inputs[0]))
        groups = np.arange(len(inputs) - 2).reshape(2 + len(slots), -1) + 2  # X..., G..., then each slot
        variables = [dfc.Variable(inputs[i], name=f"x{i}") for i in groups[0]]
        pairs = []
        for variable, g in zip(variables, groups[1], strict=True):
            pairs.append((inputs[g] + np.float32(attributes["norm_coefficient"]) * variable.numpy(), variable))
        for slot, places in zip(slots, groups[2:], strict=True):
            for variable, place in zip(variables, places, strict=True):
                optimizer.slot(variable, slot).assign(inputs[place])
        if name == "adam":
            optimizer.iterations.assign(np.int32(LATE))
        optimizer.apply_gradients(pairs)
        got = [v.numpy() for v in variables]
        got += [optimizer.slot(v, slot).numpy() for slot in slots for v in variables]
        for value, expected in zip(got, outputs, strict=True):
            assert_allclose(value, expected, rtol=1e-5)
