"""Row E11, in a process: how values go from device to device, by one table."""

from __future__ import annotations

import numpy as np
import pytest

import dfc
from dfc.errors import Unimplemented
from dfc.ir.devices import DeviceName, local, parse_full
from dfc.runtime.device_names import local_devices
from dfc.runtime.transports import (
    DOWNLOAD,
    HANDED_OVER,
    HOST_COPY,
    PEER_COPY,
    TRANSPORTS,
    UPLOAD,
    Relation,
    Transport,
    relation,
    transport_between,
)
from tests.device_support import CPUS


@pytest.mark.parametrize(
    ("source", "target", "transport"),
    [
        (local("cpu", 0), local("cpu", 0), HANDED_OVER),
        (local("cpu", 0), local("cpu", 1), HOST_COPY),
        (local("cpu", 0), local("gpu", 0), UPLOAD),
        (local("gpu", 1), local("cpu", 0), DOWNLOAD),
        (local("gpu", 0), local("gpu", 1), PEER_COPY),
        (local("gpu", 1), local("gpu", 1), HANDED_OVER),
        (local("cpu", 0), local("tpu", 3), UPLOAD),
        (local("fpga", 0), local("cpu", 0), PEER_COPY),
    ],
)
def test_e11_the_choice_by_pair(source: DeviceName, target: DeviceName, transport: Transport) -> None:
    assert transport_between(source, target) is transport


def test_e11_the_table_has_every_pair_of_types_in_a_process() -> None:
    kinds = ("CPU", "GPU", "TPU")
    same = {(Relation.SAME_DEVICE, kind, kind) for kind in kinds}
    pairs = {(Relation.SAME_PROCESS, a, b) for a in kinds for b in kinds if {a, b} != {"GPU", "TPU"}}
    assert set(TRANSPORTS) == same | pairs, "no process has GPUs and TPUs"


def test_e11_other_processes_are_refused() -> None:
    here, there = local("cpu", 0), parse_full("/job:worker/replica:0/task:1/device:CPU:0")
    assert relation(here, there) is Relation.OTHER_PROCESS
    with pytest.raises(
        Unimplemented, match=r"^send: nothing carries a value from .*CPU:0 to /job:worker.* another pro"
    ):
        transport_between(here, there)


@pytest.mark.parametrize("size", [1, 25_000_000 // 16])
def test_e11_what_each_does_with_a_value(size: int) -> None:
    one, two = local_devices()[local("cpu", 0)], local_devices()[local("cpu", 1)]
    value = dfc.asarray(np.arange(size, dtype=np.float32))._array
    assert HANDED_OVER.move(value, one) is value
    moved = HOST_COPY.move(value, two)
    assert moved.sharding.device_set == {two}
    np.testing.assert_array_equal(np.asarray(moved), np.asarray(value))
    assert HOST_COPY.move(moved, two) is moved


def test_e11_the_choice_shows_in_the_timeline() -> None:
    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        with dfc.device(CPUS[2]):
            y = dfc.exp(x)
        with dfc.device(CPUS[3]):
            return dfc.sum(y)

    x = dfc.asarray(np.zeros(5, np.float32))
    with dfc.Timeline() as timeline:
        assert f(x).item() == 5
    assert [(s.device, s.details["transport"], s.details["bytes"]) for s in timeline.spans if s.kind == "transfer"] == [
        (CPUS[3], "copy in host memory", 20)
    ]
