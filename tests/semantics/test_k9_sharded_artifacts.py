"""Rows K9 and K10: entries that are divided over a mesh, in artifacts for targets of several devices."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.backends.targets import missing, parse_target
from dfc.errors import FailedPrecondition, InvalidArgument, Unimplemented
from dfc.runtime.load import ArtifactFile
from dfc.tools.inspect import hlo_texts, summary
from tests.semantics.test_k9_sharding import COLLECTIVE, W, X

ROOT = Path(__file__).resolve().parents[2]


class Model:
    """Logits whose weights are divided by columns, then rows, over images that are divided, and how many calls."""

    def __init__(self, mesh: Any) -> None:
        self.first = dfc.shard(dfc.Variable(W, name="first"), (None, "model"), mesh)
        self.second = dfc.shard(dfc.Variable(W.T.copy(), name="second"), ("model",), mesh)
        self.calls = dfc.Variable(0, name="calls")

        @dfc.function(signature=[dfc.TensorSpec(("n", 16), "float32", name="x")])
        def score(x: dfc.Tensor) -> dict[str, dfc.Tensor]:
            self.calls.assign_add(1)
            hidden = dfc.tanh(dfc.shard(x, ("data",), mesh) @ self.first)
            return {"y": hidden @ self.second, "calls": self.calls.read()}

        self.score = score


EXPECTED = np.tanh(X @ W) @ W.T


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = dfc.compile(Model(dfc.mesh({"data": -1, "model": 2})).score, target=["cpu", "cpu:4", "cpu:2"], batch=8)
    assert not made.failures
    path = tmp_path_factory.mktemp("sharded") / "m.dfc"
    made.save(path)
    return path


@pytest.mark.parametrize("target", ["cpu", "cpu:2", "cpu:4", "portable"])
def test_k10_a_sharded_entry_runs_over_all_devices_of_its_mesh(path: Path, target: str) -> None:
    model = dfc.load(path, target=target)
    for call in (1, 2, 3):
        found = model.score(x=X)
        assert_allclose(found["y"], EXPECTED, rtol=1e-4, atol=1e-4)
        assert found["calls"] == call


def test_k10_what_a_device_has_is_its_part(path: Path) -> None:
    file = ArtifactFile(path)
    text = summary(file.manifest, "m.dfc", 1)
    assert "cpu:4: divided over the mesh data=2, model=2; memory and FLOPs are one device's" in text
    assert "cpu:2: divided over the mesh data=1, model=2; memory and FLOPs are one device's" in text
    flops = {row[1]: int(row[4].replace(",", "")) for row in (re.split(r" {2,}", t) for t in text.splitlines()[4:7])}
    products = 2 * 8 * 16 * 12 * 2
    for target, devices in (("cpu", 1), ("cpu:2", 2), ("cpu:4", 4)):
        assert products / devices <= flops[target] < 1.3 * products / devices, target
    (hlo,) = hlo_texts(file, "cpu:4")
    assert COLLECTIVE.findall(hlo) == ["all-reduce"]  # of what the rows of the second matrix give


def run(path: Path, code: str, **environment: str) -> str:
    variables = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), **environment}
    variables.pop("DFC_CPU_DEVICES", None) if "DFC_CPU_DEVICES" not in environment else None
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], env=variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


NEEDS = "a CPU like the one that compiled it, as 4 devices"
MORE_DEVICES = (
    "  DFC_CPU_DEVICES=4 in the environment makes as many, with dfc.load(path, lean=False) or dfc run --target cpu:4"
)
REFUSED = """
import sys
import dfc
try:
    dfc.load(sys.argv[1], target="cpu:4", lean=%s)
except dfc.errors.FailedPrecondition as error:
    print(error)
"""


@pytest.mark.parametrize(("lean", "here"), [(False, "here is 1"), (True, "this process has one CPU device")])
def test_k10_too_few_devices_are_an_error_with_what_is_needed_and_here(path: Path, lean: bool, here: str) -> None:
    said = run(path, REFUSED % lean)
    assert said.splitlines() == [
        f"{path}: the executables for cpu:4 need {NEEDS}, and {here}",
        MORE_DEVICES,
    ]


def test_k10_an_artifact_for_several_devices_alone(tmp_path: Path) -> None:
    path = tmp_path / "only.dfc"
    dfc.compile(Model(dfc.mesh({"data": -1, "model": 2})).score, target=["cpu:4"], batch=8).save(path)
    assert_allclose(dfc.load(path).score(x=X)["y"], EXPECTED, rtol=1e-4, atol=1e-4)
    code = "import sys, dfc\ntry:\n  dfc.load(sys.argv[1])\nexcept dfc.errors.FailedPrecondition as e: print(e)"
    assert run(path, code).splitlines() == [
        f"{path} has nothing that runs here: cpu:4 needs {NEEDS}, and here is 1",
        MORE_DEVICES,
    ]


def test_k10_without_a_target_one_device_is_taken(path: Path) -> None:
    code = "import sys, dfc, numpy; print(dfc.load(sys.argv[1]).score(x=numpy.ones((8, 16), 'float32'))['calls'])"
    assert run(path, code) == "1\n"


def test_k10_dfc_run_makes_the_devices_of_the_target(path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    command = [sys.executable, "-m", "dfc", "run", str(path), "--target", "cpu:4", "--input", f"x=@{tmp_path}/x.npy"]
    variables = {key: value for key, value in os.environ.items() if key != "DFC_CPU_DEVICES"}
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "y.npz")],
        env={**variables, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "y.npz") as found:
        assert_allclose(found["y"], EXPECTED, rtol=1e-4, atol=1e-4)


def test_k10_a_mesh_of_another_size_is_an_error_of_that_target_alone() -> None:
    made = dfc.compile(Model(dfc.mesh({"data": 2, "model": 1})).score, target=["cpu", "cpu:4", "cpu:2"], batch=8)
    assert made.manifest.targets == ("cpu", "cpu:2")
    assert list(made.failures) == ["cpu:4"]
    error = made.failures["cpu:4"]
    assert isinstance(error, InvalidArgument)
    assert "the mesh (data=2, model=1) takes 2 devices, and here it has 4" in str(error)
    assert "test_k9_sharded_artifacts.py:" in str(error)


def test_k10_sizes_that_can_t_be_divided_are_an_error_of_that_target_alone() -> None:
    made = dfc.compile(Model(dfc.mesh({"data": -1, "model": 1})).score, target=["cpu", "cpu:4"], batch=6)
    assert made.manifest.targets == ("cpu",)
    assert "dimension 0 of size 6 can't be divided evenly among data=4" in str(made.failures["cpu:4"])


def test_k10_an_entry_is_divided_over_one_mesh() -> None:
    one, other = dfc.mesh({"a": -1}), dfc.mesh({"b": -1})

    @dfc.function(signature=[dfc.TensorSpec((8, 16), "float32", name="x")])
    def f(x: dfc.Tensor) -> dfc.Tensor:
        return dfc.shard(dfc.shard(x, ("a",), one) + 1.0, (None, "b"), other)

    made = dfc.compile(f, target=["cpu", "cpu:2"])
    assert isinstance(made.failures["cpu:2"], Unimplemented)
    assert "an artifact's entry is divided over one mesh, and this is over (a=-1) and another" in str(
        made.failures["cpu:2"]
    )


def test_k10_what_divides_nothing_is_computed_by_each_device(tmp_path: Path) -> None:
    @dfc.function(signature=[dfc.TensorSpec((8, 16), "float32", name="x")])
    def f(x: dfc.Tensor) -> dfc.Tensor:
        return x @ W

    dfc.compile(f, target=["cpu:2"]).save(tmp_path / "m.dfc")
    assert_allclose(dfc.load(tmp_path / "m.dfc", target="cpu:2").f(x=X), X @ W, rtol=1e-4, atol=1e-5)
    text = summary(ArtifactFile(tmp_path / "m.dfc").manifest, "m.dfc", 1)
    assert "cpu:2: nothing is divided, so each device computes all of it" in text


def test_k10_a_training_step_of_an_artifact_updates_what_is_divided(tmp_path: Path) -> None:
    mesh = dfc.mesh({"model": -1})
    w = dfc.shard(dfc.Variable(W, name="w"), (None, "model"), mesh)
    optimizer = dfc.train.Momentum(0.1, 0.9)

    @dfc.function(signature=[dfc.TensorSpec((8, 16), "float32", name="x")])
    def train(x: dfc.Tensor) -> dfc.Tensor:
        loss = dfc.mean(dfc.square(x @ w))
        optimizer.minimize(loss, [w])
        return loss

    @dfc.function(signature=[])
    def weights() -> dfc.Tensor:
        return w + 0.0

    dfc.compile([train, weights], target=["cpu", "cpu:4"]).save(tmp_path / "m.dfc")
    alone, divided = (dfc.load(tmp_path / "m.dfc", target=target) for target in ("cpu", "cpu:4"))
    losses = [(alone.train(x=X), divided.train(x=X)) for _ in range(4)]
    assert_allclose([b for _, b in losses], [a for a, _ in losses], rtol=1e-5)
    assert losses[-1][0] < losses[0][0]
    assert_allclose(divided.weights(), alone.weights(), rtol=1e-4, atol=1e-6)
    assert_array_equal(w.numpy(), W)


def test_k10_a_target_that_is_not_in_the_file_is_named(path: Path) -> None:
    with pytest.raises(Exception, match="has no executables for cpu:8") as caught:
        dfc.load(path, target="cpu:8")
    assert not isinstance(caught.value, FailedPrecondition)


@pytest.mark.parametrize("target", ["tpu:v5e:2x2", "cuda:a100:4"])
def test_k10_collectives_of_targets_that_are_not_attached(target: str, tmp_path: Path) -> None:
    if lacking := missing(parse_target(target)):
        pytest.skip(f"{lacking[0]}: {lacking[1]}")
    made = dfc.compile(Model(dfc.mesh({"data": -1, "model": 2})).score, target=["cpu:4", target], batch=8)
    assert not made.failures
    made.save(tmp_path / "m.dfc")
    file = ArtifactFile(tmp_path / "m.dfc")
    (hlo,) = hlo_texts(file, target)
    assert COLLECTIVE.findall(hlo) == ["all-reduce"]
    assert f"{target}: divided over the mesh data=2, model=2" in summary(file.manifest, "m.dfc", 1)
