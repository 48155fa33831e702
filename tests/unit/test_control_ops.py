"""What the verifier says of the regions of branches and loops."""

from __future__ import annotations

import pytest

from dfc.errors import InvalidArgument
from dfc.ir.text import parse_program, print_program
from tests.unit.test_roundtrip import CONTROL

NEGATIVE = '      df.yield %12 : (tensor<?xf32, ["b"]>) -> ()'
BROKEN = {
    "if-C3": (NEGATIVE, "      df.yield %10, %10 : (tensor<?xf32, [\"b\"]>, tensor<?xf32, [\"b\"]>) -> ()",
              "df.if: region 1 must take (tensor<?xf32, [\"b\"]>, !df.ref<tensor<f32>>) and yield "
              "(tensor<?xf32, [\"b\"]>), then tokens, got (tensor<?xf32, [\"b\"]>, !df.ref<tensor<f32>>) and "
              "(tensor<?xf32, [\"b\"]>, tensor<?xf32, [\"b\"]>) [C3]"),
    "case-C3": ("    ^bb0(%7: tensor<?xf32, [\"b\"]>):\n      df.yield %7 : (tensor<?xf32, [\"b\"]>) -> ()",
                "    ^bb0(%7: tensor<?xf32, [\"b\"]>):\n      df.yield : () -> ()",
                "df.case: region 0 must take (tensor<?xf32, [\"b\"]>) and yield (tensor<?xf32, [\"b\"]>), then tokens, "
                "got (tensor<?xf32, [\"b\"]>) and () [C3]"),
    "while-C4": ("      df.yield %13 : (tensor<i1>) -> ()", "      df.yield %10 : (tensor<i32>) -> ()",
                 "df.while: region 0 must take (tensor<i32>, tensor<?xf32, [\"b\"]>, tensor<i32>) and yield "
                 "(tensor<i1>), then tokens, got (tensor<i32>, tensor<?xf32, [\"b\"]>, tensor<i32>) and "
                 "(tensor<i32>) [C4]"),
    "while-C5": ("      df.yield %17 : (tensor<?xf32, [\"2*m\"]>) -> ()", "      df.yield %15 : (tensor<i32>) -> ()",
                 "df.while: region 1 must take (tensor<i32>, tensor<?xf32, [\"m\"]>) and yield "
                 "(tensor<?xf32, [\"m\"]>), then tokens, got (tensor<i32>, tensor<?xf32, [\"m\"]>) and "
                 "(tensor<i32>) [C5]"),
    "scan-C5": ("      df.yield %17, %15 : (tensor<i32>, tensor<i32>) -> ()",
                "      df.yield %17 : (tensor<i32>) -> ()",
                "df.scan: region 0 must take (tensor<i32>, tensor<i32>, tensor<i32>) and yield (tensor<i32>, "
                "tensor<i32>), then tokens, got (tensor<i32>, tensor<i32>, tensor<i32>) and (tensor<i32>) [C5]"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_region(name: str) -> None:
    old, new, message = BROKEN[name]
    text = CONTROL.replace(old, new, 1)
    assert text != CONTROL
    with pytest.raises(InvalidArgument) as caught:
        parse_program(text)
    assert message in str(caught.value)


def program(op: str) -> str:
    """A function of a bool and a number that returns what the op gives."""
    return f"""builtin.module {{
  df.func {{sym_name = "f", arg_names = ["p", "x"], result_names = ["y"]}} ({{
  ^bb0(%0: tensor<i1>, %2: tensor<f32>):
    %3 = {op}
    df.return %3 : (tensor<f32>) -> ()
  }}) : () -> ()
}}
"""


BRANCH = "{\n    ^bb0(%1: tensor<f32>):\n      df.yield %1 : (tensor<f32>) -> ()\n    }"


@pytest.mark.parametrize("regions", [1, 3])
def test_an_if_has_two_regions(regions: int) -> None:
    attributes = "{n_inputs = 1, results = [tensor<f32>], n_handles = 0, stateful = false}"
    text = program(
        f"df.if %0, %2 {attributes} ({', '.join([BRANCH] * regions)}) : (tensor<i1>, tensor<f32>) -> tensor<f32>"
    )
    with pytest.raises(InvalidArgument, match=rf"df.if: there must be two regions, got {regions} \[C3\]"):
        parse_program(text)


def test_effects_are_told() -> None:
    attributes = "{n_inputs = 1, results = [tensor<f32>], n_handles = 0, stateful = false}"
    effect = "{\n    ^bb0(%1: tensor<f32>):\n      %4 = df.group %1 : (tensor<f32>) -> !df.control\n" + (
        "      df.yield %1, %4 : (tensor<f32>, !df.control) -> ()\n    }"
    )
    text = program(f"df.if %0, %2 {attributes} ({effect}, {BRANCH}) : (tensor<i1>, tensor<f32>) -> tensor<f32>")
    with pytest.raises(InvalidArgument, match=r"df.if: region 0 has effects, so stateful must be true \[C3\]"):
        parse_program(text)


def test_the_text_is_whole() -> None:
    assert print_program(parse_program(CONTROL), locations=False) == CONTROL
