// RUN: dfc opt %s -p lower-control-flow --no-locations --split-input-file --print-errors
// Branches and loops with ops of the host become switches, merges and frames; others stay as they are.

builtin.module {
  // A value that a branch takes goes through a switch; an effect that takes none waits for the branch's way.
  // CHECK:      df.func {sym_name = "branches", arg_names = ["p", "x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%p: tensor<i1>, %x: tensor<i32>):
  // CHECK-NEXT:   %q = df.queue {resource = "q", description = "FIFOQueue of int32[], capacity 10"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %0, %1 = df.switch %p, %p : (tensor<i1>, tensor<i1>) -> (tensor<i1>, tensor<i1>)
  // CHECK-NEXT:   %2, %a = df.switch %x, %p : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %e = df.enqueue %q, %a : (!df.resource<"queue">, tensor<i32>) -> !df.control
  // CHECK-NEXT:   %b = df.negate %a : tensor<i32>
  // CHECK-NEXT:   %seven = df.constant {value = int32[] 7} : () -> tensor<i32>
  // CHECK-NEXT:   %3 = df.group %0 : (tensor<i1>) -> !df.control
  // CHECK-NEXT:   %e_1 = df.enqueue %q, %seven, %3 : (!df.resource<"queue">, tensor<i32>, !df.control) -> !df.control
  // CHECK-NEXT:   %4 = df.after %seven, %3 : (tensor<i32>, !df.control) -> tensor<i32>
  // CHECK-NEXT:   %y, %5 = df.merge %4, %b {result = [tensor<i32>]} : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %6 = df.after %1, %e : (tensor<i1>, !df.control) -> tensor<i1>
  // CHECK-NEXT:   %7 = df.after %0, %e_1 : (tensor<i1>, !df.control) -> tensor<i1>
  // CHECK-NEXT:   %8, %9 = df.merge %7, %6 {result = [tensor<i1>]} : (tensor<i1>, tensor<i1>) -> (tensor<i1>, tensor<i32>)
  // CHECK-NEXT:   %t = df.group %8 : (tensor<i1>) -> !df.control
  // CHECK-NEXT:   df.return %y, %t : (tensor<i32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "branches", arg_names = ["p", "x"], result_names = ["y"]} ({
  ^bb0(%p: tensor<i1>, %x: tensor<i32>):
    %q = df.queue {resource = "q", description = "FIFOQueue of int32[], capacity 10"} : () -> !df.resource<"queue">
    %y, %t = df.if %p, %x, %q {n_inputs = 1, results = [tensor<i32>], n_handles = 1, stateful = true} ({
    ^bb0(%a: tensor<i32>, %r: !df.resource<"queue">):
      %e = df.enqueue %r, %a : (!df.resource<"queue">, tensor<i32>) -> !df.control
      %b = df.negate %a : tensor<i32>
      df.yield %b, %e : (tensor<i32>, !df.control) -> ()
    }, {
    ^bb0(%a: tensor<i32>, %r: !df.resource<"queue">):
      %seven = df.constant {value = int32[] 7} : () -> tensor<i32>
      %e = df.enqueue %r, %seven : (!df.resource<"queue">, tensor<i32>) -> !df.control
      df.yield %seven, %e : (tensor<i32>, !df.control) -> ()
    }) : (tensor<i1>, tensor<i32>, !df.resource<"queue">) -> (tensor<i32>, !df.control)
    df.return %y, %t : (tensor<i32>, !df.control) -> ()
  }) : () -> ()

  // What a device can run stays, and comes out of a branch that the host runs as it is; any other selector means the
  // last branch.
  // CHECK:      df.func {sym_name = "case", arg_names = ["k", "p", "x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%k: tensor<i32>, %p: tensor<i1>, %x: tensor<i32>):
  // CHECK-NEXT:   %q = df.queue {resource = "q", description = "FIFOQueue of int32[], capacity 10"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %0 = df.constant {value = int32[] 0} : () -> tensor<i32>
  // CHECK-NEXT:   %1 = df.compare %k, %0 {direction = "EQ"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
  // CHECK-NEXT:   %2 = df.constant {value = int32[] 1} : () -> tensor<i32>
  // CHECK-NEXT:   %3 = df.compare %k, %2 {direction = "EQ"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
  // CHECK-NEXT:   %4, %5 = df.switch %k, %1 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %6, %7 = df.switch %4, %3 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %8, %b = df.switch %p, %1 : (tensor<i1>, tensor<i1>) -> (tensor<i1>, tensor<i1>)
  // CHECK-NEXT:   %9, %10 = df.switch %8, %3 : (tensor<i1>, tensor<i1>) -> (tensor<i1>, tensor<i1>)
  // CHECK-NEXT:   %11, %a = df.switch %x, %1 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %12, %a_1 = df.switch %11, %3 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %c = df.if %b, %a {n_inputs = 1, results = [tensor<i32>], n_handles = 0, stateful = false} ({
  // CHECK-NEXT:   ^bb0(%d: tensor<i32>):
  // CHECK-NEXT:     df.yield %d : (tensor<i32>) -> ()
  // CHECK-NEXT:   }, {
  // CHECK-NEXT:   ^bb0(%d_1: tensor<i32>):
  // CHECK-NEXT:     %n = df.negate %d_1 : tensor<i32>
  // CHECK-NEXT:     df.yield %n : (tensor<i32>) -> ()
  // CHECK-NEXT:   }) : (tensor<i1>, tensor<i32>) -> tensor<i32>
  // CHECK-NEXT:   %13 = df.group %6 : (tensor<i32>) -> !df.control
  // CHECK-NEXT:   %d, %e = df.dequeue %q, %13 {results = [tensor<i32>]} : (!df.resource<"queue">, !df.control) -> (tensor<i32>, !df.control)
  // CHECK-NEXT:   %y, %14 = df.merge %c, %a_1, %d {result = [tensor<i32>]} : (tensor<i32>, tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %15 = df.after %6, %e : (tensor<i32>, !df.control) -> tensor<i32>
  // CHECK-NEXT:   %16, %17 = df.merge %5, %7, %15 {result = [tensor<i32>]} : (tensor<i32>, tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %t = df.group %16 : (tensor<i32>) -> !df.control
  // CHECK-NEXT:   df.return %y, %t : (tensor<i32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "case", arg_names = ["k", "p", "x"], result_names = ["y"]} ({
  ^bb0(%k: tensor<i32>, %p: tensor<i1>, %x: tensor<i32>):
    %q = df.queue {resource = "q", description = "FIFOQueue of int32[], capacity 10"} : () -> !df.resource<"queue">
    %y, %t = df.case %k, %p, %x, %q {n_inputs = 2, results = [tensor<i32>], n_handles = 1, stateful = true} ({
    ^bb0(%b: tensor<i1>, %a: tensor<i32>, %r: !df.resource<"queue">):
      %c = df.if %b, %a {n_inputs = 1, results = [tensor<i32>], n_handles = 0, stateful = false} ({
      ^bb0(%d: tensor<i32>):
        df.yield %d : (tensor<i32>) -> ()
      }, {
      ^bb0(%d: tensor<i32>):
        %n = df.negate %d : tensor<i32>
        df.yield %n : (tensor<i32>) -> ()
      }) : (tensor<i1>, tensor<i32>) -> tensor<i32>
      df.yield %c : (tensor<i32>) -> ()
    }, {
    ^bb0(%b: tensor<i1>, %a: tensor<i32>, %r: !df.resource<"queue">):
      df.yield %a : (tensor<i32>) -> ()
    }, {
    ^bb0(%b: tensor<i1>, %a: tensor<i32>, %r: !df.resource<"queue">):
      %d, %e = df.dequeue %r {results = [tensor<i32>]} : (!df.resource<"queue">) -> (tensor<i32>, !df.control)
      df.yield %d, %e : (tensor<i32>, !df.control) -> ()
    }) : (tensor<i32>, tensor<i1>, tensor<i32>, !df.resource<"queue">) -> (tensor<i32>, !df.control)
    df.return %y, %t : (tensor<i32>, !df.control) -> ()
  }) : () -> ()

  // A loop is a frame. A boolean stands for its effects: those of an iteration wait for it, and it for them.
  // CHECK:      df.func {sym_name = "loop", arg_names = ["n"], result_names = ["i"]} ({
  // CHECK-NEXT: ^bb0(%n: tensor<i32>):
  // CHECK-NEXT:   %q = df.queue {resource = "q", description = "FIFOQueue of int32[], capacity 10"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %zero = df.constant {value = int32[] 0} : () -> tensor<i32>
  // CHECK-NEXT:   %0 = df.constant {value = bool[] true} : () -> tensor<i1>
  // CHECK-NEXT:   %1 = df.enter %0 {frame = "while_0", is_constant = false, parallel_iterations = 10} : tensor<i1>
  // CHECK-NEXT:   %2, %3 = df.merge %1, %4 {result = [tensor<i1>]} : (tensor<i1>, tensor<i1>) -> (tensor<i1>, tensor<i32>)
  // CHECK-NEXT:   %5 = df.enter %zero {frame = "while_0", is_constant = false, parallel_iterations = 10} : tensor<i32>
  // CHECK-NEXT:   %j, %6 = df.merge %5, %7 {result = [tensor<i32>]} : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %m = df.enter %n {frame = "while_0", is_constant = true, parallel_iterations = 10} : tensor<i32>
  // CHECK-NEXT:   %less = df.compare %j, %m {direction = "LT"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
  // CHECK-NEXT:   %8 = df.loop_cond %less : tensor<i1>
  // CHECK-NEXT:   %9, %10 = df.switch %2, %8 : (tensor<i1>, tensor<i1>) -> (tensor<i1>, tensor<i1>)
  // CHECK-NEXT:   %11, %j_1 = df.switch %j, %8 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %12 = df.group %10 : (tensor<i1>) -> !df.control
  // CHECK-NEXT:   %e = df.enqueue %q, %j_1, %12 : (!df.resource<"queue">, tensor<i32>, !df.control) -> !df.control
  // CHECK-NEXT:   %d, %f = df.dequeue %q, %e {results = [tensor<i32>]} : (!df.resource<"queue">, !df.control) -> (tensor<i32>, !df.control)
  // CHECK-NEXT:   %next = df.add %j_1, %d : tensor<i32>
  // CHECK-NEXT:   %7 = df.next_iteration %next : tensor<i32>
  // CHECK-NEXT:   %13 = df.after %10, %f : (tensor<i1>, !df.control) -> tensor<i1>
  // CHECK-NEXT:   %4 = df.next_iteration %13 : tensor<i1>
  // CHECK-NEXT:   %i = df.exit %11 : tensor<i32>
  // CHECK-NEXT:   %14 = df.exit %9 : tensor<i1>
  // CHECK-NEXT:   %t = df.group %14 : (tensor<i1>) -> !df.control
  // CHECK-NEXT:   df.return %i, %t : (tensor<i32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "loop", arg_names = ["n"], result_names = ["i"]} ({
  ^bb0(%n: tensor<i32>):
    %q = df.queue {resource = "q", description = "FIFOQueue of int32[], capacity 10"} : () -> !df.resource<"queue">
    %zero = df.constant {value = int32[] 0} : () -> tensor<i32>
    %i, %count, %t = df.while %zero, %n, %q {n_carried = 1, n_captured = 1, n_handles = 1, stateful = true, length = [], ys = [], parallel_iterations = 10, swap_memory = false} ({
    ^bb0(%k: tensor<i32>, %j: tensor<i32>, %m: tensor<i32>, %r: !df.resource<"queue">):
      %less = df.compare %j, %m {direction = "LT"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
      df.yield %less : (tensor<i1>) -> ()
    }, {
    ^bb0(%k: tensor<i32>, %j: tensor<i32>, %m: tensor<i32>, %r: !df.resource<"queue">):
      %e = df.enqueue %r, %j : (!df.resource<"queue">, tensor<i32>) -> !df.control
      %d, %f = df.dequeue %r, %e {results = [tensor<i32>]} : (!df.resource<"queue">, !df.control) -> (tensor<i32>, !df.control)
      %next = df.add %j, %d : tensor<i32>
      df.yield %next, %f : (tensor<i32>, !df.control) -> ()
    }) : (tensor<i32>, tensor<i32>, !df.resource<"queue">) -> (tensor<i32>, tensor<i32>, !df.control)
    df.return %i, %t : (tensor<i32>, !df.control) -> ()
  }) : () -> ()

  // Sizes that change from iteration to iteration: the merge has a symbol, and so has what comes out.
  // CHECK:      df.func {sym_name = "growing", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<2xf32>):
  // CHECK-NEXT:   %0 = df.constant {value = int32[] 0} : () -> tensor<i32>
  // CHECK-NEXT:   %1 = df.enter %0 {frame = "while_0", is_constant = false, parallel_iterations = 1} : tensor<i32>
  // CHECK-NEXT:   %k, %2 = df.merge %1, %3 {result = [tensor<i32>]} : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %4 = df.enter %x {frame = "while_0", is_constant = false, parallel_iterations = 1} : tensor<2xf32>
  // CHECK-NEXT:   %5, %6 = df.merge %4, %7 {result = [tensor<?xf32, ["n"]>]} : (tensor<2xf32>, tensor<?xf32, ["2*n"]>) -> (tensor<?xf32, ["n"]>, tensor<i32>)
  // CHECK-NEXT:   %ten = df.constant {value = int32[] 10} : () -> tensor<i32>
  // CHECK-NEXT:   %less = df.compare %k, %ten {direction = "LT"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
  // CHECK-NEXT:   %8 = df.loop_cond %less : tensor<i1>
  // CHECK-NEXT:   %9, %10 = df.switch %k, %8 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %11, %a = df.switch %5, %8 : (tensor<?xf32, ["n"]>, tensor<i1>) -> (tensor<?xf32, ["n"]>, tensor<?xf32, ["n"]>)
  // CHECK-NEXT:   %b = df.concatenate %a, %a {axis = 0} : (tensor<?xf32, ["n"]>, tensor<?xf32, ["n"]>) -> tensor<?xf32, ["2*n"]>
  // CHECK-NEXT:   %7 = df.next_iteration %b : tensor<?xf32, ["2*n"]>
  // CHECK-NEXT:   %12 = df.constant {value = int32[] 1} : () -> tensor<i32>
  // CHECK-NEXT:   %13 = df.add %10, %12 : tensor<i32>
  // CHECK-NEXT:   %3 = df.next_iteration %13 : tensor<i32>
  // CHECK-NEXT:   %14 = df.exit %11 : tensor<?xf32, ["n"]>
  // CHECK-NEXT:   %y, %15 = df.merge %14 {result = [tensor<?xf32, ["m"]>]} : (tensor<?xf32, ["n"]>) -> (tensor<?xf32, ["m"]>, tensor<i32>)
  // CHECK-NEXT:   df.return %y : (tensor<?xf32, ["m"]>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "growing", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<2xf32>):
    %y, %count = df.while %x {n_carried = 1, n_captured = 0, n_handles = 0, stateful = false, length = [], ys = [], parallel_iterations = 1, swap_memory = false, invariants = [tensor<?xf32, ["n"]>], results = [tensor<?xf32, ["m"]>]} ({
    ^bb0(%k: tensor<i32>, %a: tensor<?xf32, ["n"]>):
      %ten = df.constant {value = int32[] 10} : () -> tensor<i32>
      %less = df.compare %k, %ten {direction = "LT"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
      df.yield %less : (tensor<i1>) -> ()
    }, {
    ^bb0(%k: tensor<i32>, %a: tensor<?xf32, ["n"]>):
      %b = df.concatenate %a, %a {axis = 0} : (tensor<?xf32, ["n"]>, tensor<?xf32, ["n"]>) -> tensor<?xf32, ["2*n"]>
      df.yield %b : (tensor<?xf32, ["2*n"]>) -> ()
    }) : (tensor<2xf32>) -> (tensor<?xf32, ["m"]>, tensor<i32>)
    df.return %y : (tensor<?xf32, ["m"]>) -> ()
  }) : () -> ()

  // A scan takes its rows by number, and puts what it gives on a stack; what it visits last is the first row.
  // CHECK:      df.func {sym_name = "scan", arg_names = ["xs"], result_names = ["ys"]} ({
  // CHECK-NEXT: ^bb0(%xs: tensor<4x!df.string>):
  // CHECK-NEXT:   %zero = df.constant {value = int32[] 0} : () -> tensor<i32>
  // CHECK-NEXT:   %0 = df.constant {value = int32[] 4} : () -> tensor<i32>
  // CHECK-NEXT:   %1 = df.constant {value = int32[] -1} : () -> tensor<i32>
  // CHECK-NEXT:   %2 = df.stack %1 {label = "rows", dtype = int32, swap_memory = false} : (tensor<i32>) -> !df.resource<"stack">
  // CHECK-NEXT:   %3 = df.constant {value = int32[] 4} : () -> tensor<i32>
  // CHECK-NEXT:   %4 = df.constant {value = int32[] 1} : () -> tensor<i32>
  // CHECK-NEXT:   %5 = df.subtract %0, %4 : tensor<i32>
  // CHECK-NEXT:   %6 = df.enter %5 {frame = "scan_0", is_constant = false, parallel_iterations = 10} : tensor<i32>
  // CHECK-NEXT:   %7, %8 = df.merge %6, %9 {result = [tensor<i32>]} : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %10 = df.constant {value = bool[] true} : () -> tensor<i1>
  // CHECK-NEXT:   %11 = df.enter %10 {frame = "scan_0", is_constant = false, parallel_iterations = 10} : tensor<i1>
  // CHECK-NEXT:   %12, %13 = df.merge %11, %14 {result = [tensor<i1>]} : (tensor<i1>, tensor<i1>) -> (tensor<i1>, tensor<i32>)
  // CHECK-NEXT:   %15 = df.enter %zero {frame = "scan_0", is_constant = false, parallel_iterations = 10} : tensor<i32>
  // CHECK-NEXT:   %16, %17 = df.merge %15, %18 {result = [tensor<i32>]} : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %19 = df.enter %xs {frame = "scan_0", is_constant = true, parallel_iterations = 10} : tensor<4x!df.string>
  // CHECK-NEXT:   %20 = df.enter %2 {frame = "scan_0", is_constant = true, parallel_iterations = 10} : !df.resource<"stack">
  // CHECK-NEXT:   %21 = df.constant {value = int32[] 0} : () -> tensor<i32>
  // CHECK-NEXT:   %22 = df.compare %7, %21 {direction = "GE"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
  // CHECK-NEXT:   %23 = df.loop_cond %22 : tensor<i1>
  // CHECK-NEXT:   %24, %25 = df.switch %7, %23 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %26, %27 = df.switch %12, %23 : (tensor<i1>, tensor<i1>) -> (tensor<i1>, tensor<i1>)
  // CHECK-NEXT:   %28, %sum = df.switch %16, %23 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %29 = df.dynamic_slice %19, %25 {sizes = [1]} : (tensor<4x!df.string>, tensor<i32>) -> tensor<1x!df.string>
  // CHECK-NEXT:   %x = df.reshape %29 {shape = []} : (tensor<1x!df.string>) -> tensor<!df.string>
  // CHECK-NEXT:   %size = df.string_length %x {unit = "byte"} : (tensor<!df.string>) -> tensor<i32>
  // CHECK-NEXT:   %next = df.add %sum, %size : tensor<i32>
  // CHECK-NEXT:   %18 = df.next_iteration %next : tensor<i32>
  // CHECK-NEXT:   %30 = df.constant {value = int32[] 1} : () -> tensor<i32>
  // CHECK-NEXT:   %31 = df.subtract %25, %30 : tensor<i32>
  // CHECK-NEXT:   %9 = df.next_iteration %31 : tensor<i32>
  // CHECK-NEXT:   %32 = df.group %27 : (tensor<i1>) -> !df.control
  // CHECK-NEXT:   %33, %34 = df.stack_push %20, %sum, %32 : (!df.resource<"stack">, tensor<i32>, !df.control) -> (tensor<i32>, !df.control)
  // CHECK-NEXT:   %35 = df.after %27, %34 : (tensor<i1>, !df.control) -> tensor<i1>
  // CHECK-NEXT:   %14 = df.next_iteration %35 : tensor<i1>
  // CHECK-NEXT:   %36 = df.exit %26 : tensor<i1>
  // CHECK-NEXT:   %37 = df.group %36 : (tensor<i1>) -> !df.control
  // CHECK-NEXT:   %ys, %38 = df.stack_pack %2, %3, %37 {element = [tensor<i32>], length = [4], reverse = true} : (!df.resource<"stack">, tensor<i32>, !df.control) -> (tensor<4xi32>, !df.control)
  // CHECK-NEXT:   df.return %ys : (tensor<4xi32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "scan", arg_names = ["xs"], result_names = ["ys"]} ({
  ^bb0(%xs: tensor<4x!df.string>):
    %zero = df.constant {value = int32[] 0} : () -> tensor<i32>
    %total, %ys = df.scan %zero, %xs {n_carried = 1, n_xs = 1, n_captured = 0, n_handles = 0, stateful = false, length = [4], ys = [tensor<i32>], counted = false, reverse = true, parallel_iterations = 10, swap_memory = false} ({
    ^bb0(%k: tensor<i32>, %sum: tensor<i32>, %x: tensor<!df.string>):
      %size = df.string_length %x {unit = "byte"} : (tensor<!df.string>) -> tensor<i32>
      %next = df.add %sum, %size : tensor<i32>
      df.yield %next, %sum : (tensor<i32>, tensor<i32>) -> ()
    }) : (tensor<i32>, tensor<4x!df.string>) -> (tensor<i32>, tensor<4xi32>)
    df.return %ys : (tensor<4xi32>) -> ()
  }) : () -> ()
}

// -----

// CHECK: error: scan: nothing tells how many rows n are
// CHECK-NEXT: at model.py:5:9
// CHECK-NEXT: use a tensor of that size in the loop, or give it a number of rows
builtin.module {
  df.func {sym_name = "f", arg_names = ["s"], result_names = ["y"]} ({
  ^bb0(%s: tensor<!df.string>):
    %y, %ys = df.scan %s {n_carried = 1, n_xs = 0, length = ["n"], ys = [tensor<!df.string>], counted = false, reverse = false, n_captured = 0, n_handles = 0, stateful = false, parallel_iterations = 10, swap_memory = true} ({
    ^bb0(%k: tensor<i32>, %a: tensor<!df.string>):
      df.yield %a, %a : (tensor<!df.string>, tensor<!df.string>) -> ()
    }) : (tensor<!df.string>) -> (tensor<!df.string>, tensor<?x!df.string, ["n"]>) loc("model.py":5:9)
    df.return %y : (tensor<!df.string>) -> ()
  }) : () -> ()
}
