"""The text form, both ways: what is printed parses to the same program, positions and every value included."""

# ruff: noqa: E501 - the text form of df has long lines

from __future__ import annotations

import random

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from dfc.errors import FailedPrecondition, InvalidArgument
from dfc.ir import dtypes
from dfc.ir.attributes import Array
from dfc.ir.dialect import all_ops
from dfc.ir.op import short_name
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.text import parse_program, print_program
from tests.families import ROWS, cases
from tests.programs import random_program
from tests.support import OPS, function_of, program_of, spec

STATE = """builtin.module {
  df.func {sym_name = "f", arg_names = [], result_names = ["y"]} ({
    %0 = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %1, %2 = df.read %0 : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
    %3 = df.assign %0, %1, %2 : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> !df.control
    %4 = df.assign_add %0, %1, %3 : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> !df.control
    %5 = df.assign_sub %0, %1, %4 : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> !df.control
    %6 = df.group %2, %5 : !df.control
    df.return %1, %6 : (tensor<4xf32>, !df.control) -> ()
  }) : () -> ()
}
"""
FUNCTIONS = """builtin.module {
  df.func {sym_name = "step", arg_names = ["x"], result_names = ["y", "g"]} ({
  ^bb0(%0: tensor<4xf32>):
    %1 = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %2, %3 = df.call %0 {callee = "f", results = [tensor<4xf32>], stateful = true} : (tensor<4xf32>) -> (tensor<4xf32>, !df.control)
    %4 = df.gradients %2, %0, %1 {n_ys = 1, n_xs = 2, kinds = ["dense", "none"]} : (tensor<4xf32>, tensor<4xf32>, !df.ref<tensor<4xf32>>) -> tensor<4xf32>
    %5, %6 = df.island %0, %1, %3 {n_inputs = 1, n_refs = 1, written = [0], results = [tensor<4xf32>]} ({
    ^bb0(%7: tensor<4xf32>, %8: tensor<4xf32>):
      %9 = df.add %7, %8 : tensor<4xf32>
      df.yield %9, %7 : (tensor<4xf32>, tensor<4xf32>) -> ()
    }) : (tensor<4xf32>, !df.ref<tensor<4xf32>>, !df.control) -> (tensor<4xf32>, !df.control)
    df.return %5, %4, %6 : (tensor<4xf32>, tensor<4xf32>, !df.control) -> ()
  }) : () -> ()
}
"""
SCATTERS = """builtin.module {
  df.func {sym_name = "f", arg_names = ["i", "rows"], result_names = []} ({
  ^bb0(%0: tensor<?xi32, ["b"]>, %1: tensor<?x2xf32, ["b", 2 : i64]>):
    %2 = df.variable {variable = "w", shape = [4, 2], dtype = float32} : () -> !df.ref<tensor<4x2xf32>>
SCATTER    df.return %9 : (!df.control) -> ()
  }) : () -> ()
}
"""
_TYPES = """(!df.ref<tensor<4x2xf32>>, tensor<?xi32, ["b"]>, tensor<?x2xf32, ["b", 2 : i64]>"""
SCATTERS = SCATTERS.replace(
    "SCATTER",
    f"    %3 = df.scatter_update %2, %0, %1 : {_TYPES}) -> !df.control\n"
    + "".join(
        f"    %{n} = df.scatter_{name} %2, %0, %1, %{n - 1} : {_TYPES}, !df.control) -> !df.control\n"
        for n, name in enumerate(("add", "sub", "mul", "div", "min", "max"), start=4)
    ),
)
REGIONS = """builtin.module {
  df.func {sym_name = "f", arg_names = ["x"], result_names = ["y", "rows", "indices"]} ({
  ^bb0(%0: tensor<4x2xf32>):
    %1 = df.sine %0 : tensor<4x2xf32>
    %2 = df.custom_gradient %1, %0, %1 {n_ys = 1, n_xs = 1, given = [0]} ({
    ^bb0(%3: tensor<4x2xf32>, %4: tensor<4x2xf32>):
      %5 = df.multiply %3, %4 : tensor<4x2xf32>
      df.yield %5 : (tensor<4x2xf32>) -> ()
    }) : tensor<4x2xf32>
    %3 = df.checkpoint %2 {results = [tensor<4x2xf32>]} ({
    ^bb0(%4: tensor<4x2xf32>):
      %5 = df.cosine %4 : tensor<4x2xf32>
      df.yield %5 : (tensor<4x2xf32>) -> ()
    }) : tensor<4x2xf32>
    %4, %5 = df.gradients %3, %0 {n_ys = 1, n_xs = 1, kinds = ["sparse"], rows = [tensor<3xi32>]} : (tensor<4x2xf32>, tensor<4x2xf32>) -> (tensor<3x2xf32>, tensor<3xi32>)
    df.return %3, %4, %5 : (tensor<4x2xf32>, tensor<3x2xf32>, tensor<3xi32>) -> ()
  }) : () -> ()
}
"""
SYMBOLIC = """builtin.module {
  df.func {sym_name = "f", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%0: tensor<?x4xf32, ["b", 4 : i64]>):
    %1 = df.reshape %0 {shape = ["4*b"]} : (tensor<?x4xf32, ["b", 4 : i64]>) -> tensor<?xf32, ["4*b"]>
    %2 = df.slice %1 {starts = [1], limits = ["4*b"], strides = [3]} : (tensor<?xf32, ["4*b"]>) -> tensor<?xf32, ["floordiv(4*b + 1, 3)"]>
    %3 = df.identity %2 {name = "h", scope = "a/b"} : tensor<?xf32, ["floordiv(4*b + 1, 3)"]>
    df.return %3 : (tensor<?xf32, ["floordiv(4*b + 1, 3)"]>) -> ()
  }) : () -> ()
}
"""
GRAPH = """builtin.module {
  df.func {sym_name = "f", arg_names = [], result_names = ["y"]} ({
    %0 = df.placeholder {shape = ["b", 4], dtype = float32} : () -> tensor<?x4xf32, ["b", 4 : i64]>
    %1 = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %2, %3 = df.is_initialized %1 : (!df.ref<tensor<4xf32>>) -> (tensor<i1>, !df.control)
    %4 = df.initial_value {variable = "w", shape = [4], dtype = float32} : () -> tensor<4xf32>
    %5, %6 = df.initialized_value %1, %4, %3 : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> (tensor<4xf32>, !df.control)
    %7 = df.group %5, %6 : (tensor<4xf32>, !df.control) -> !df.control
    %8 = df.feed %0 {label = "x"} : tensor<?x4xf32, ["b", 4 : i64]>
    %9 = df.after %8, %7 : (tensor<?x4xf32, ["b", 4 : i64]>, !df.control) -> tensor<?x4xf32, ["b", 4 : i64]>
    df.return %9 : (tensor<?x4xf32, ["b", 4 : i64]>) -> ()
  }) : () -> ()
}
"""
HOST = """builtin.module {
  df.func {sym_name = "f", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%0: tensor<4xf32>):
    %1, %2, %3 = df.py_call %0 {function = "data.files:Reader.load", nest = "{'list': ['tensor', 'tensor']}", stateful = true, timeout = 0.5, results = [tensor<?xf32, ["n"]>, tensor<i1>]} : (tensor<4xf32>) -> (tensor<?xf32, ["n"]>, tensor<i1>, !df.control)
    %4, %5 = df.py_call %0 {function = "<function <lambda> at 0x7f00>", nest = "'tensor'", stateful = false, results = [tensor<f32>]} : (tensor<4xf32>) -> (tensor<f32>, !df.control)
    %6 = df.print %1, %3 {text = ["x = ", "\\0A"], stream = "stderr", summarize = -1} : (tensor<?xf32, ["n"]>, !df.control) -> !df.control
    %7 = df.assert %2, %4, %6 {text = ["assertion failed: \\22m\\22: ", ""], summarize = 3} : (tensor<i1>, tensor<f32>, !df.control) -> !df.control
    df.return %1, %7 : (tensor<?xf32, ["n"]>, !df.control) -> ()
  }) : () -> ()
}
"""
QUEUES = """builtin.module {
  df.func {sym_name = "f", arg_names = ["x", "n", "key"], result_names = ["a", "b", "c"]} ({
  ^bb0(%0: tensor<4xf32>, %1: tensor<i32>, %2: tensor<4x!df.string>):
    %3 = df.queue {resource = "q", description = "FIFOQueue of float32[], capacity 4"} : () -> !df.resource<"queue">
    %4 = df.queue_select %1, %3, %3 : (tensor<i32>, !df.resource<"queue">, !df.resource<"queue">) -> !df.resource<"queue">
    %5 = df.enqueue_many %4, %0 : (!df.resource<"queue">, tensor<4xf32>) -> !df.control
    %6, %7 = df.dequeue %4, %5 {results = [tensor<f32>]} : (!df.resource<"queue">, !df.control) -> (tensor<f32>, !df.control)
    %8 = df.enqueue %3, %6, %7 : (!df.resource<"queue">, tensor<f32>, !df.control) -> !df.control
    %9, %10 = df.dequeue_many %3, %1, %8 {results = [tensor<2xf32>]} : (!df.resource<"queue">, tensor<i32>, !df.control) -> (tensor<2xf32>, !df.control)
    %11, %12 = df.dequeue_up_to %3, %1, %10 {results = [tensor<?xf32, ["q_1"]>]} : (!df.resource<"queue">, tensor<i32>, !df.control) -> (tensor<?xf32, ["q_1"]>, !df.control)
    %13, %14 = df.queue_size %3, %12 : (!df.resource<"queue">, !df.control) -> (tensor<i32>, !df.control)
    %15, %16 = df.queue_is_closed %3, %14 : (!df.resource<"queue">, !df.control) -> (tensor<i1>, !df.control)
    %17 = df.queue_close %3, %16 {cancel_pending = true} : (!df.resource<"queue">, !df.control) -> !df.control
    %18 = df.barrier {resource = "b", description = "Barrier of float32[]"} : () -> !df.resource<"barrier">
    %19 = df.barrier_insert_many %18, %2, %0 {component = 0} : (!df.resource<"barrier">, tensor<4x!df.string>, tensor<4xf32>) -> !df.control
    %20, %21, %22, %23 = df.barrier_take_many %18, %1, %19 {results = [tensor<?xi64, ["b_2"]>, tensor<?x!df.string, ["b_2"]>, tensor<?xf32, ["b_2"]>], small_batch = true} : (!df.resource<"barrier">, tensor<i32>, !df.control) -> (tensor<?xi64, ["b_2"]>, tensor<?x!df.string, ["b_2"]>, tensor<?xf32, ["b_2"]>, !df.control)
    %24, %25 = df.barrier_ready_size %18, %23 : (!df.resource<"barrier">, !df.control) -> (tensor<i32>, !df.control)
    %26, %27 = df.barrier_incomplete_size %18, %25 : (!df.resource<"barrier">, !df.control) -> (tensor<i32>, !df.control)
    %28 = df.queue_close %18, %27 {cancel_pending = false} : (!df.resource<"barrier">, !df.control) -> !df.control
    df.return %9, %11, %22, %17, %28 : (tensor<2xf32>, tensor<?xf32, ["q_1"]>, tensor<?xf32, ["b_2"]>, !df.control, !df.control) -> ()
  }) : () -> ()
}
"""
ACCUMULATORS = """builtin.module {
  df.func {sym_name = "f", arg_names = ["x", "i", "n"], result_names = ["mean", "rows"]} ({
  ^bb0(%0: tensor<2xf32>, %1: tensor<2xi32>, %2: tensor<i64>):
    %3 = df.accumulator {resource = "a", description = "ConditionalAccumulator of float32[2], MEAN"} : () -> !df.resource<"accumulator">
    %4 = df.accumulator_set_step %3, %2 : (!df.resource<"accumulator">, tensor<i64>) -> !df.control
    %5 = df.accumulator_apply %3, %0, %2, %4 {shaped = false} : (!df.resource<"accumulator">, tensor<2xf32>, tensor<i64>, !df.control) -> !df.control
    %6, %7 = df.accumulator_count %3, %5 : (!df.resource<"accumulator">, !df.control) -> (tensor<i32>, !df.control)
    %8, %9 = df.accumulator_take %3, %6, %7 {results = [tensor<2xf32>]} : (!df.resource<"accumulator">, tensor<i32>, !df.control) -> (tensor<2xf32>, !df.control)
    %10 = df.accumulator {resource = "rows", description = "SparseConditionalAccumulator of float32[?], SUM"} : () -> !df.resource<"accumulator">
    %11 = df.constant {value = int64[1] 9} : () -> tensor<1xi64>
    %12 = df.accumulator_apply %10, %0, %1, %11, %2 {shaped = true} : (!df.resource<"accumulator">, tensor<2xf32>, tensor<2xi32>, tensor<1xi64>, tensor<i64>) -> !df.control
    %13, %14, %15, %16 = df.accumulator_take %10, %6, %12 {results = [tensor<?xf32, ["rows_1"]>, tensor<?xi64, ["rows_1"]>, tensor<1xi64>]} : (!df.resource<"accumulator">, tensor<i32>, !df.control) -> (tensor<?xf32, ["rows_1"]>, tensor<?xi64, ["rows_1"]>, tensor<1xi64>, !df.control)
    df.return %8, %13, %9, %16 : (tensor<2xf32>, tensor<?xf32, ["rows_1"]>, !df.control, !df.control) -> ()
  }) : () -> ()
}
"""
DATAFLOW = """builtin.module {
  df.func {sym_name = "f", arg_names = ["p", "n"], result_names = ["count", "rows"]} ({
  ^bb0(%0: tensor<i1>, %1: tensor<i32>):
    %2, %3 = df.switch %1, %0 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
    %4, %5 = df.merge %2, %3 {result = [tensor<i32>]} : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
    %6 = df.stack %4 {label = "rows", dtype = int32, swap_memory = true} : (tensor<i32>) -> !df.resource<"stack">
    %7 = df.enter %6 {frame = "loop", is_constant = true, parallel_iterations = 10} : !df.resource<"stack">
    %8 = df.enter %4 {frame = "loop", is_constant = false, parallel_iterations = 10} : tensor<i32>
    %9, %10 = df.merge %8, %11 {result = [tensor<i32>]} : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
    %12 = df.compare %9, %10 {direction = "LT"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %13 = df.loop_cond %12 : tensor<i1>
    %14, %15 = df.switch %9, %13 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
    %16, %17 = df.stack_push %7, %15 : (!df.resource<"stack">, tensor<i32>) -> (tensor<i32>, !df.control)
    %11 = df.next_iteration %16 : tensor<i32>
    %18 = df.exit %14 : tensor<i32>
    %19 = df.group %18 : (tensor<i32>) -> !df.control
    %20, %21 = df.stack_pop %6, %19 {element = [tensor<i32>]} : (!df.resource<"stack">, !df.control) -> (tensor<i32>, !df.control)
    %22, %23 = df.stack_pack %6, %20, %21 {element = [tensor<i32>], length = ["n"], reverse = true} : (!df.resource<"stack">, tensor<i32>, !df.control) -> (tensor<?xi32, ["n"]>, !df.control)
    %24 = df.stack_close %6, %23 : (!df.resource<"stack">, !df.control) -> !df.control
    %25 = df.control_trigger %24, %19 : !df.control
    df.return %18, %22, %25 : (tensor<i32>, tensor<?xi32, ["n"]>, !df.control) -> ()
  }) : () -> ()
}
"""
CONTROL = """builtin.module {
  df.func {sym_name = "f", arg_names = ["x", "k", "p"], result_names = ["n", "y", "ys"]} ({
  ^bb0(%0: tensor<?xf32, ["b"]>, %1: tensor<i32>, %2: tensor<i1>):
    %3 = df.variable {variable = "v", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
    %4, %5 = df.if %2, %0, %3 {n_inputs = 1, results = [tensor<?xf32, ["b"]>], n_handles = 1, stateful = true} ({
    ^bb0(%6: tensor<?xf32, ["b"]>, %7: !df.ref<tensor<f32>>):
      %8 = df.constant {value = float32[] 2.0} : () -> tensor<f32>
      %9 = df.assign_add %7, %8 : (!df.ref<tensor<f32>>, tensor<f32>) -> !df.control
      df.yield %6, %9 : (tensor<?xf32, ["b"]>, !df.control) -> ()
    }, {
    ^bb0(%10: tensor<?xf32, ["b"]>, %11: !df.ref<tensor<f32>>):
      %12 = df.negate %10 : tensor<?xf32, ["b"]>
      df.yield %12 : (tensor<?xf32, ["b"]>) -> ()
    }) : (tensor<i1>, tensor<?xf32, ["b"]>, !df.ref<tensor<f32>>) -> (tensor<?xf32, ["b"]>, !df.control)
    %6 = df.case %1, %4, %5 {n_inputs = 1, results = [tensor<?xf32, ["b"]>], n_handles = 0, stateful = false} ({
    ^bb0(%7: tensor<?xf32, ["b"]>):
      df.yield %7 : (tensor<?xf32, ["b"]>) -> ()
    }) : (tensor<i32>, tensor<?xf32, ["b"]>, !df.control) -> tensor<?xf32, ["b"]>
    %7, %8, %9 = df.while %6, %1 {n_carried = 1, n_captured = 1, length = ["n_1"], ys = [tensor<i32>], parallel_iterations = 10, swap_memory = false, n_handles = 0, stateful = false} ({
    ^bb0(%10: tensor<i32>, %11: tensor<?xf32, ["b"]>, %12: tensor<i32>):
      %13 = df.compare %10, %12 {direction = "LT"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
      df.yield %13 : (tensor<i1>) -> ()
    }, {
    ^bb0(%14: tensor<i32>, %15: tensor<?xf32, ["b"]>, %16: tensor<i32>):
      df.yield %15, %14 : (tensor<?xf32, ["b"]>, tensor<i32>) -> ()
    }) : (tensor<?xf32, ["b"]>, tensor<i32>) -> (tensor<?xf32, ["b"]>, tensor<i32>, tensor<?xi32, ["n_1"]>)
    df.need_length %8 {length = ["n_1"]} : (tensor<i32>) -> ()
    %10, %11 = df.while %7 {n_carried = 1, n_captured = 0, length = [], ys = [], parallel_iterations = 1, swap_memory = true, invariants = [tensor<?xf32, ["m"]>], results = [tensor<?xf32, ["l"]>], n_handles = 0, stateful = false} ({
    ^bb0(%12: tensor<i32>, %13: tensor<?xf32, ["m"]>):
      %14 = df.constant {value = bool[] false} : () -> tensor<i1>
      df.yield %14 : (tensor<i1>) -> ()
    }, {
    ^bb0(%15: tensor<i32>, %16: tensor<?xf32, ["m"]>):
      %17 = df.concatenate %16, %16 {axis = 0} : (tensor<?xf32, ["m"]>, tensor<?xf32, ["m"]>) -> tensor<?xf32, ["2*m"]>
      df.yield %17 : (tensor<?xf32, ["2*m"]>) -> ()
    }) : (tensor<?xf32, ["b"]>) -> (tensor<?xf32, ["l"]>, tensor<i32>)
    %12, %13 = df.scan %8, %1, %9 {n_carried = 1, n_xs = 1, n_captured = 0, length = ["n_1"], counted = true, reverse = true, ys = [tensor<i32>], parallel_iterations = 1, swap_memory = false, n_handles = 0, stateful = false} ({
    ^bb0(%14: tensor<i32>, %15: tensor<i32>, %16: tensor<i32>):
      %17 = df.add %15, %16 : tensor<i32>
      df.yield %17, %15 : (tensor<i32>, tensor<i32>) -> ()
    }) : (tensor<i32>, tensor<i32>, tensor<?xi32, ["n_1"]>) -> (tensor<i32>, tensor<?xi32, ["n_1"]>)
    df.return %12, %10, %13, %5 : (tensor<i32>, tensor<?xf32, ["l"]>, tensor<?xi32, ["n_1"]>, !df.control) -> ()
  }) : () -> ()
}
"""
TRANSFER = """builtin.module {
  df.func {sym_name = "f", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%0: tensor<2xf32>):
    %1 = df.group %0 : (tensor<2xf32>) -> !df.control
    df.send %0 {tensor = "x", source = "/job:a/replica:0/task:0/device:CPU:0", target = "/job:a/replica:0/task:0/device:CPU:1"} : (tensor<2xf32>) -> ()
    %2 = df.recv %1 {tensor = "y", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", result = [tensor<2xf32>]} : (!df.control) -> tensor<2xf32>
    %3 = df.computed %0 : (tensor<2xf32>) -> !df.control
    df.return %2 : (tensor<2xf32>) -> ()
  }) : () -> ()
}
"""
OFFLOAD = """builtin.module {
  df.func {sym_name = "f", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%0: tensor<2xf32>):
    %1 = df.variable {variable = "w", shape = [2], dtype = float32, offload = true} : () -> !df.ref<tensor<2xf32>>
    %2, %3 = df.hold %1 {written = [0], read = [0], alone = true} : (!df.ref<tensor<2xf32>>) -> (!df.resource<"hold">, !df.control)
    %4 = df.fetch %2, %1, %3 {on_host = false} : (!df.resource<"hold">, !df.ref<tensor<2xf32>>, !df.control) -> tensor<2xf32>
    %5 = df.evict %2, %1, %0 {made = true, in_place = [0]} : (!df.resource<"hold">, !df.ref<tensor<2xf32>>, tensor<2xf32>) -> !df.control
    %6 = df.release %2, %1, %4, %5 : (!df.resource<"hold">, !df.ref<tensor<2xf32>>, tensor<2xf32>, !df.control) -> !df.control
    %7 = df.let_go %2, %6 : (!df.resource<"hold">, !df.control) -> !df.control
    df.return %4, %7 : (tensor<2xf32>, !df.control) -> ()
  }) : () -> ()
}
"""
PROGRAMS = {
    "offload": OFFLOAD,
    "transfer": TRANSFER,
    "dataflow": DATAFLOW,
    "control": CONTROL,
    "queues": QUEUES,
    "accumulators": ACCUMULATORS,
    "state": STATE,
    "functions": FUNCTIONS,
    "scatters": SCATTERS,
    "regions": REGIONS,
    "symbolic": SYMBOLIC,
    "graph": GRAPH,
    "host": HOST,
}


def covered() -> set[str]:
    """The ops that a test here prints and parses."""
    whole = "".join(PROGRAMS.values())
    return set(ROWS) | {name for op in all_ops() if f"df.{(name := short_name(op))} " in whole}


def round_trip(program: ModuleOp) -> str:
    """The program's text, after checking that it comes back the same with and without positions."""
    text = print_program(program)
    again = parse_program(text)
    assert print_program(again) == text
    bare = print_program(program, locations=False)
    assert print_program(again, locations=False) == bare
    assert print_program(parse_program(bare), locations=False) == bare
    return text


@pytest.mark.parametrize("name", ROWS)
def test_op(name: str) -> None:
    """Every numerics case of an op, in one program: all dtypes, empty and scalar shapes, every kind of attribute."""
    rows = cases(name)
    function = function_of([(OPS[name], [spec(x) for x in c.operands], c.attributes) for c in rows])
    text = round_trip(program_of(function))
    assert text.count(f"= df.{name} ") == len(rows)
    assert 'loc("model.py":12:5)' in text


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str) -> None:
    """Programs as people write them come back to the letter."""
    text = PROGRAMS[name]
    assert print_program(parse_program(text), locations=False) == text


@pytest.mark.parametrize("seed", range(6))
def test_random_program(seed: int) -> None:
    made = random_program(random.Random(seed).randrange, n_ops=20, smooth=False)
    round_trip(made.trace.finish(made.outputs, made.tokens))


def constant_after(value: np.ndarray) -> ConstantOp:
    program = program_of(function_of([(ConstantOp, [], {"value": Array.of(value)})]))
    found = [op for op in parse_program(round_trip(program)).walk() if isinstance(op, ConstantOp)]
    assert len(found) == 1
    return found[0]


VALUES = {
    "nan": np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0]),
    "nan payload": np.array([0x7FC00001, 0xFFC12345, 0x7F800001], np.uint32).view(np.float32),
    "float32 digits": np.array([0.1, 1 / 3, 1e-45, 3.4028235e38], np.float32),
    "float64 digits": np.array([0.1, 5e-324, 1.7976931348623157e308, -2 / 3]),
    "bfloat16": np.array([0.1, -3e38, np.nan], dtypes.bfloat16.numpy),
    "int64": np.array([-(2**63), 2**63 - 1, 0]),
    "uint64": np.array([2**64 - 1], np.uint64),
    "complex": np.array([complex(np.nan, -0.0), complex(-np.inf, 1e-300), 1 - 2j]),
    "complex nan": np.array([complex(-np.nan, 1), complex(2, -np.nan)], np.complex64),
    "bool": np.array([[True], [False]]),
    "empty": np.zeros((3, 0), np.float16),
    "splat": np.full((4, 5), -0.0, np.float32),
    "64 elements": np.arange(64, dtype=np.int16),
}


@pytest.mark.parametrize("name", VALUES)
def test_constant(name: str) -> None:
    """Bit for bit."""
    value = VALUES[name]
    op = constant_after(value)
    again = op.value.data.value
    assert again.dtype == value.dtype and again.shape == value.shape
    assert again.tobytes() == value.tobytes()


def test_string_constant() -> None:
    strings = [b"", b"plain", b'say "hi" \\ ', b"\x00\xff\n", "größe".encode()]
    value = np.array(strings, object)
    again = constant_after(value).value.data.value
    assert again.dtype == object
    assert [bytes(v) for v in again] == strings


@pytest.mark.parametrize("dtype", ["float32", "bool", "complex64"])
def test_large_constant_is_elided(dtype: str) -> None:
    """Its text names the digest, comes back the same, and is equal to the one it came from; its elements are lost."""
    value = Array.of(np.arange(65).astype(dtype))
    program = program_of(function_of([(ConstantOp, [], {"value": value})]))
    text = round_trip(program)
    assert f'{{value = {dtype}[65] elided "{value.digest}"}}' in text
    again = next(op for op in parse_program(text).walk() if isinstance(op, ConstantOp)).value.data
    assert again == value and not again.known
    with pytest.raises(FailedPrecondition) as caught:
        _ = again.value
    assert str(caught.value) == (
        f"the constant {value.digest} was elided when its program was printed, so its value is not known here\n"
        "  text form keeps large constants as a digest only: run the program from its artifact"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("df.group %2, %5", "df.grup %2, %5", "df.grup"),
        ("%2, %5 : !df.control", "%2, %9 : !df.control", "%9"),
        ("shape = [4]", "shape = ['b']", "shape"),
        ("(tensor<4xf32>, !df.control)\n", "(tensor<5xf32>, !df.control)\n", "type"),
    ],
)
def test_what_does_not_parse(old: str, new: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_program(STATE.replace(old, new), name="mine.mlir")
    assert "mine.mlir:" in str(caught.value) or "not valid" in str(caught.value)
    assert message in str(caught.value)


def test_wrong_result_type() -> None:
    text = STATE.replace("-> (tensor<4xf32>, !df.control)\n    %3", "-> (tensor<5xf32>, !df.control)\n    %3")
    assert text != STATE
    text = text.replace(
        "%1, %2 : (!df.ref<tensor<4xf32>>, tensor<4xf32>", "%1, %2 : (!df.ref<tensor<4xf32>>, tensor<5xf32>"
    )
    with pytest.raises(InvalidArgument):
        parse_program(text)
