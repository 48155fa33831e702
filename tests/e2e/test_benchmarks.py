"""Each benchmark runs: its sides agree, and its JSON has the documented keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRANSFERS = ("cpu0_cpu0", "cpu0_cpu1", "cpu0_gpu0", "gpu0_cpu0", "gpu0_gpu1")
CASES = {
    "dispatch": ["n1", "n10", "n100"],
    "compile": ["a_mlp20", "b_googlenet", "c_chain5000"],
    "coldstart": ["mlp"],
    "executor": ["one_device", "two_devices"],
    "control": ["island", "host"],
    "transfer": [f"{pair}_{size}" for pair in TRANSFERS for size in ("4B", "100MB")],
    "placement": ["forward", "train", "measured", "naive"],
    "costs": ["flops", "memory", "link", "overhead", "island", "latency", "part"],
}


@pytest.mark.parametrize("name", CASES)
def test_smoke(name: str) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/run.py"), name, "--smoke", "--json"]
    environment = {key: value for key, value in os.environ.items() if key != "DFC_CPU_DEVICES"}  # as users run it
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["name"] == name
    assert list(result["ratio"]) == CASES[name]
    ratios = [ratio for ratio in result["ratio"].values() if ratio is not None]  # none without a peer
    assert ratios and all(ratio > 0 for ratio in ratios)
    assert set(result) == {"name", "ratio", "rounds", "versions", "cases"}
    ran = [case for case in result["cases"].values() if case["ours_s"] is not None]
    assert ran and all("not run here" in case["note"] for case in result["cases"].values() if case not in ran)
    assert done.stderr.count("both sides agree") == len(ran)
