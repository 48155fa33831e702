"""What sessions, variables and costs are configured with: what is wrong with it is said where it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import dfc
from dfc.errors import InvalidArgument, InvalidType

WRONG: list[tuple[Callable[..., Any], dict[str, Any], type[Exception], str]] = [
    (dfc.SessionConfig, {"cluster": "yes"}, InvalidType, "SessionConfig: cluster must be True or False, got 'yes'"),
    (
        dfc.SessionConfig,
        {"soft_placement": "no"},
        InvalidType,
        "SessionConfig: soft_placement must be True or Fal",
    ),
    (
        dfc.SessionConfig,
        {"log_device_placement": 1},
        InvalidType,
        "SessionConfig: log_device_placement must be True",
    ),
    (dfc.SessionConfig, {"host_threads": "a"}, InvalidType, "SessionConfig: host_threads must be an int, got 'a'"),
    (dfc.SessionConfig, {"host_threads": -1}, InvalidArgument, "SessionConfig: host_threads must be 0 or more, got -1"),
    (
        dfc.Session,
        {"graph": dfc.Graph(), "config": {}},
        InvalidType,
        "Session: config must be a dfc.SessionConfig,",
    ),
    (
        dfc.Variable,
        {"initial": 1.0, "offload": "a"},
        InvalidType,
        "Variable: offload must be True, False or None",
    ),
    (dfc.Costs, {"flops": 0}, InvalidArgument, "Costs: flops must be more than 0, got 0"),
    (dfc.Costs, {"link": -1.0}, InvalidArgument, "Costs: link must be more than 0, got -1.0"),
    (dfc.Costs, {"flops": "a"}, InvalidType, "Costs: flops must be a number, got 'a'"),
    (dfc.Costs, {"speed": {"CPU": 0.0}}, InvalidArgument, "Costs: speed['CPU'] must be more than 0, got 0.0"),
    (dfc.Costs, {"measured": {"x": -1.0}}, InvalidArgument, "Costs: measured['x'] must be 0 or more, got -1.0"),
]


@pytest.mark.parametrize(("make", "options", "kind", "message"), WRONG, ids=[row[3] for row in WRONG])
def test_what_is_wrong(make: Callable[..., Any], options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        make(**options)
    assert str(caught.value).startswith(message)


def test_a_scope_of_offloading() -> None:
    scope: Any = dfc.offload
    with pytest.raises(InvalidType, match=r"^offload: enabled must be True or False, got 'no'"), scope("no"):
        pass
