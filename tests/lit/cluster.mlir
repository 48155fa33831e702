// RUN: dfc opt %s -p cluster --no-locations --split-input-file --print-errors
// Runs of what a device can do become islands. String ops are the host's.

builtin.module {
  // No host op: one island, whatever the order of the ops; what comes from an argument as it is stays outside.
  // CHECK:      df.func {sym_name = "one", arg_names = ["x", "y"], result_names = ["a", "x"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>, %y: tensor<4xf32>):
  // CHECK-NEXT:   %b, %0 = df.island %x, %y {n_inputs = 2, n_refs = 0, written = [], results = [tensor<4xf32>]} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<4xf32>, %y_1: tensor<4xf32>):
  // CHECK-NEXT:     %a = df.tanh %x_1 : tensor<4xf32>
  // CHECK-NEXT:     %b_1 = df.add %a, %y_1 : tensor<4xf32>
  // CHECK-NEXT:     df.yield %b_1 : (tensor<4xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, !df.control)
  // CHECK-NEXT:   df.return %b, %x : (tensor<4xf32>, tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "one", arg_names = ["x", "y"], result_names = ["a", "x"]} ({
  ^bb0(%x: tensor<4xf32>, %y: tensor<4xf32>):
    %a = df.tanh %x : tensor<4xf32>
    %b = df.add %a, %y : tensor<4xf32>
    df.return %b, %x : (tensor<4xf32>, tensor<4xf32>) -> ()
  }) : () -> ()

  // Nothing to compile: no island.
  // CHECK:      df.func {sym_name = "none", arg_names = ["x"], result_names = ["x"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   df.return %x : (tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "none", arg_names = ["x"], result_names = ["x"]} ({
  ^bb0(%x: tensor<4xf32>):
    df.return %x : (tensor<4xf32>) -> ()
  }) : () -> ()

  // Reads are the current value, writes make the next; reading after a write gives what was written.
  // CHECK:      df.func {sym_name = "state", arg_names = ["x"], result_names = ["before", "after"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %u = df.variable {variable = "u", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %before, %after, %0 = df.island %x, %u, %w {n_inputs = 1, n_refs = 2, written = [1], results = [tensor<4xf32>, tensor<4xf32>]} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<4xf32>, %only_read: tensor<4xf32>, %before_1: tensor<4xf32>):
  // CHECK-NEXT:     %1 = df.add %before_1, %x_1 : tensor<4xf32>
  // CHECK-NEXT:     %after_1 = df.subtract %1, %only_read : tensor<4xf32>
  // CHECK-NEXT:     df.yield %before_1, %after_1, %after_1 : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<4xf32>, !df.ref<tensor<4xf32>>, !df.ref<tensor<4xf32>>) -> (tensor<4xf32>, tensor<4xf32>, !df.control)
  // CHECK-NEXT:   df.return %before, %after, %0 : (tensor<4xf32>, tensor<4xf32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "state", arg_names = ["x"], result_names = ["before", "after"]} ({
  ^bb0(%x: tensor<4xf32>):
    %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %u = df.variable {variable = "u", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %w_again = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %only_read, %t0 = df.read %u : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
    %before, %t1 = df.read %w : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
    %t2 = df.assign_add %w, %x, %t1 : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> !df.control
    %t3 = df.assign_sub %w_again, %only_read, %t2 : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> !df.control
    %after, %t4 = df.read %w, %t3 : (!df.ref<tensor<4xf32>>, !df.control) -> (tensor<4xf32>, !df.control)
    %t5 = df.group %t3, %t4 : (!df.control, !df.control) -> !df.control
    df.return %before, %after, %t5 : (tensor<4xf32>, tensor<4xf32>, !df.control) -> ()
  }) : () -> ()

  // A variable that only gets a value: the argument is its new value.
  // CHECK:      df.func {sym_name = "assign", arg_names = ["x"], result_names = []} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %0 = df.island %x, %w {n_inputs = 1, n_refs = 1, written = [0], results = []} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<4xf32>, %1: tensor<4xf32>):
  // CHECK-NEXT:     df.yield %x_1 : (tensor<4xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<4xf32>, !df.ref<tensor<4xf32>>) -> !df.control
  // CHECK-NEXT:   df.return %0 : (!df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "assign", arg_names = ["x"], result_names = []} ({
  ^bb0(%x: tensor<4xf32>):
    %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %t = df.assign %w, %x : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
    df.return %t : (!df.control) -> ()
  }) : () -> ()

  // A diamond: a -> host -> c and a -> b -> c. What needs the host op comes after it; b goes with a.
  // CHECK:      df.func {sym_name = "diamond", arg_names = ["x", "s"], result_names = ["c"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<2xf32>, %s: tensor<2x!df.string>):
  // CHECK-NEXT:   %p, %a, %b, %0 = df.island %x {n_inputs = 1, n_refs = 0, written = [], results = [tensor<2xi1>, tensor<2xf32>, tensor<2xf32>]} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<2xf32>):
  // CHECK-NEXT:     %a_1 = df.tanh %x_1 : tensor<2xf32>
  // CHECK-NEXT:     %p_1 = df.compare %a_1, %x_1 {direction = "LT"} : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xi1>
  // CHECK-NEXT:     %b_1 = df.negate %a_1 : tensor<2xf32>
  // CHECK-NEXT:     df.yield %p_1, %a_1, %b_1 : (tensor<2xi1>, tensor<2xf32>, tensor<2xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<2xf32>) -> (tensor<2xi1>, tensor<2xf32>, tensor<2xf32>, !df.control)
  // CHECK-NEXT:   %host = df.select %p, %s, %s : (tensor<2xi1>, tensor<2x!df.string>, tensor<2x!df.string>) -> tensor<2x!df.string>
  // CHECK-NEXT:   %same = df.compare %host, %s {direction = "EQ"} : (tensor<2x!df.string>, tensor<2x!df.string>) -> tensor<2xi1>
  // CHECK-NEXT:   %c, %1 = df.island %same, %a, %b {n_inputs = 3, n_refs = 0, written = [], results = [tensor<2xf32>]} ({
  // CHECK-NEXT:   ^bb0(%same_1: tensor<2xi1>, %a_2: tensor<2xf32>, %b_2: tensor<2xf32>):
  // CHECK-NEXT:     %c_1 = df.select %same_1, %a_2, %b_2 : (tensor<2xi1>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  // CHECK-NEXT:     df.yield %c_1 : (tensor<2xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<2xi1>, tensor<2xf32>, tensor<2xf32>) -> (tensor<2xf32>, !df.control)
  // CHECK-NEXT:   df.return %c : (tensor<2xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "diamond", arg_names = ["x", "s"], result_names = ["c"]} ({
  ^bb0(%x: tensor<2xf32>, %s: tensor<2x!df.string>):
    %a = df.tanh %x : tensor<2xf32>
    %p = df.compare %a, %x {direction = "LT"} : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xi1>
    %host = df.select %p, %s, %s : (tensor<2xi1>, tensor<2x!df.string>, tensor<2x!df.string>) -> tensor<2x!df.string>
    %same = df.compare %host, %s {direction = "EQ"} : (tensor<2x!df.string>, tensor<2x!df.string>) -> tensor<2xi1>
    %b = df.negate %a : tensor<2xf32>
    %c = df.select %same, %a, %b : (tensor<2xi1>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
    df.return %c : (tensor<2xf32>) -> ()
  }) : () -> ()

  // Each island has its own copy of a constant; a host op takes it as it is.
  // CHECK:      df.func {sym_name = "constants", arg_names = ["x", "s"], result_names = ["y", "s"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<2xf32>, %s: tensor<2x!df.string>):
  // CHECK-NEXT:   %yes = df.constant {value = bool[] true} : () -> tensor<i1>
  // CHECK-NEXT:   %word = df.constant {value = string[2] "word"} : () -> tensor<2x!df.string>
  // CHECK-NEXT:   %host = df.select %yes, %s, %word : (tensor<i1>, tensor<2x!df.string>, tensor<2x!df.string>) -> tensor<2x!df.string>
  // CHECK-NEXT:   %p = df.compare %host, %word {direction = "EQ"} : (tensor<2x!df.string>, tensor<2x!df.string>) -> tensor<2xi1>
  // CHECK-NEXT:   %y, %0 = df.island %x, %p {n_inputs = 2, n_refs = 0, written = [], results = [tensor<2xf32>]} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<2xf32>, %p_1: tensor<2xi1>):
  // CHECK-NEXT:     %1 = df.constant {value = float32[2] 1.0} : () -> tensor<2xf32>
  // CHECK-NEXT:     %a = df.add %x_1, %1 : tensor<2xf32>
  // CHECK-NEXT:     %y_1 = df.select %p_1, %a, %1 : (tensor<2xi1>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  // CHECK-NEXT:     df.yield %y_1 : (tensor<2xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<2xf32>, tensor<2xi1>) -> (tensor<2xf32>, !df.control)
  // CHECK-NEXT:   df.return %y, %host : (tensor<2xf32>, tensor<2x!df.string>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "constants", arg_names = ["x", "s"], result_names = ["y", "s"]} ({
  ^bb0(%x: tensor<2xf32>, %s: tensor<2x!df.string>):
    %one = df.constant {value = float32[2] 1.0} : () -> tensor<2xf32>
    %yes = df.constant {value = bool[] true} : () -> tensor<i1>
    %word = df.constant {value = string[2] "word"} : () -> tensor<2x!df.string>
    %a = df.add %x, %one : tensor<2xf32>
    %host = df.select %yes, %s, %word : (tensor<i1>, tensor<2x!df.string>, tensor<2x!df.string>) -> tensor<2x!df.string>
    %p = df.compare %host, %word {direction = "EQ"} : (tensor<2x!df.string>, tensor<2x!df.string>) -> tensor<2xi1>
    %y = df.select %p, %a, %one : (tensor<2xi1>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
    df.return %y, %host : (tensor<2xf32>, tensor<2x!df.string>) -> ()
  }) : () -> ()

  // Effects on both sides of a host op: the second island waits for the first, the string variable stays the host's.
  // CHECK:      df.func {sym_name = "effects", arg_names = ["x"], result_names = ["v"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>):
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
  // CHECK-NEXT:   %log = df.variable {variable = "log", shape = [], dtype = string} : () -> !df.ref<tensor<!df.string>>
  // CHECK-NEXT:   %done = df.constant {value = string[] "done"} : () -> tensor<!df.string>
  // CHECK-NEXT:   %0 = df.island %x, %w {n_inputs = 1, n_refs = 1, written = [0], results = []} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<f32>, %w_1: tensor<f32>):
  // CHECK-NEXT:     %1 = df.add %w_1, %x_1 : tensor<f32>
  // CHECK-NEXT:     df.yield %1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>, !df.ref<tensor<f32>>) -> !df.control
  // CHECK-NEXT:   %t2 = df.assign %log, %done, %0 : (!df.ref<tensor<!df.string>>, tensor<!df.string>, !df.control) -> !df.control
  // CHECK-NEXT:   %v, %2 = df.island %w, %0, %t2 {n_inputs = 0, n_refs = 1, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%w_2: tensor<f32>):
  // CHECK-NEXT:     df.yield %w_2 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (!df.ref<tensor<f32>>, !df.control, !df.control) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   df.return %v, %0, %t2 : (tensor<f32>, !df.control, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "effects", arg_names = ["x"], result_names = ["v"]} ({
  ^bb0(%x: tensor<f32>):
    %w = df.variable {variable = "w", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
    %log = df.variable {variable = "log", shape = [], dtype = string} : () -> !df.ref<tensor<!df.string>>
    %done = df.constant {value = string[] "done"} : () -> tensor<!df.string>
    %t1 = df.assign_add %w, %x : (!df.ref<tensor<f32>>, tensor<f32>) -> !df.control
    %t2 = df.assign %log, %done, %t1 : (!df.ref<tensor<!df.string>>, tensor<!df.string>, !df.control) -> !df.control
    %v, %t3 = df.read %w, %t1, %t2 : (!df.ref<tensor<f32>>, !df.control, !df.control) -> (tensor<f32>, !df.control)
    df.return %v, %t1, %t2 : (tensor<f32>, !df.control, !df.control) -> ()
  }) : () -> ()

  // Sizes that a host op brings: the island that needs them takes the value with them, and not the strings.
  // CHECK:      df.func {sym_name = "late_sizes", arg_names = ["s"], result_names = ["zeros", "half"]} ({
  // CHECK-NEXT: ^bb0(%s: tensor<2xf32>):
  // CHECK-NEXT:   %rows, %words, %t = df.py_call %s {function = "data:load", nest = "{'list': ['tensor', 'tensor']}", stateful = true, results = [tensor<?xf32, ["n"]>, tensor<?x!df.string, ["n"]>]} : (tensor<2xf32>) -> (tensor<?xf32, ["n"]>, tensor<?x!df.string, ["n"]>, !df.control)
  // CHECK-NEXT:   %zeros, %half, %0 = df.island %rows {n_inputs = 1, n_refs = 0, written = [], results = [tensor<?xf32, ["n"]>, tensor<?xf32, ["floordiv(n, 2)"]>]} ({
  // CHECK-NEXT:   ^bb0(%rows_1: tensor<?xf32, ["n"]>):
  // CHECK-NEXT:     %1 = df.constant {value = float32[] 0.0} : () -> tensor<f32>
  // CHECK-NEXT:     %2 = df.constant {value = float32[] 1.0} : () -> tensor<f32>
  // CHECK-NEXT:     %zeros_1 = df.broadcast_in_dim %1 {shape = ["n"], dims = []} : (tensor<f32>) -> tensor<?xf32, ["n"]>
  // CHECK-NEXT:     %half_1 = df.broadcast_in_dim %2 {shape = ["floordiv(n, 2)"], dims = []} : (tensor<f32>) -> tensor<?xf32, ["floordiv(n, 2)"]>
  // CHECK-NEXT:     df.yield %zeros_1, %half_1 : (tensor<?xf32, ["n"]>, tensor<?xf32, ["floordiv(n, 2)"]>) -> ()
  // CHECK-NEXT:   }) : (tensor<?xf32, ["n"]>) -> (tensor<?xf32, ["n"]>, tensor<?xf32, ["floordiv(n, 2)"]>, !df.control)
  // CHECK-NEXT:   df.return %zeros, %half, %t : (tensor<?xf32, ["n"]>, tensor<?xf32, ["floordiv(n, 2)"]>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "late_sizes", arg_names = ["s"], result_names = ["zeros", "half"]} ({
  ^bb0(%s: tensor<2xf32>):
    %rows, %words, %t = df.py_call %s {function = "data:load", nest = "{'list': ['tensor', 'tensor']}", stateful = true, results = [tensor<?xf32, ["n"]>, tensor<?x!df.string, ["n"]>]} : (tensor<2xf32>) -> (tensor<?xf32, ["n"]>, tensor<?x!df.string, ["n"]>, !df.control)
    %zero = df.constant {value = float32[] 0.0} : () -> tensor<f32>
    %zeros = df.broadcast_in_dim %zero {shape = ["n"], dims = []} : (tensor<f32>) -> tensor<?xf32, ["n"]>
    %one = df.constant {value = float32[] 1.0} : () -> tensor<f32>
    %half = df.broadcast_in_dim %one {shape = ["floordiv(n, 2)"], dims = []} : (tensor<f32>) -> tensor<?xf32, ["floordiv(n, 2)"]>
    df.return %zeros, %half, %t : (tensor<?xf32, ["n"]>, tensor<?xf32, ["floordiv(n, 2)"]>, !df.control) -> ()
  }) : () -> ()

  // Two loops of one length: there has to be room for the longer one.
  // CHECK:      df.func {sym_name = "twice", arg_names = ["x", "n", "k"], result_names = ["s"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>, %n: tensor<i32>, %k: tensor<i32>):
  // CHECK-NEXT:   %t, %0 = df.island %x, %n, %k {n_inputs = 3, n_refs = 0, written = [], results = [tensor<f32>], needs = ["n_1"]} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<f32>, %n_1: tensor<i32>, %k_1: tensor<i32>):
  // CHECK-NEXT:     %y, %ys = df.scan %n_1, %x_1 {n_carried = 1, n_xs = 0, n_captured = 0, n_handles = 0, stateful = false, length = ["n_1"], counted = true, reverse = false, ys = [tensor<f32>], parallel_iterations = 10, swap_memory = false} ({
  // CHECK-NEXT:     ^bb0(%i: tensor<i32>, %a: tensor<f32>):
  // CHECK-NEXT:       %b = df.add %a, %a : tensor<f32>
  // CHECK-NEXT:       df.yield %b, %a : (tensor<f32>, tensor<f32>) -> ()
  // CHECK-NEXT:     }) : (tensor<i32>, tensor<f32>) -> (tensor<f32>, tensor<?xf32, ["n_1"]>)
  // CHECK-NEXT:     %z, %zs = df.scan %k_1, %x_1 {n_carried = 1, n_xs = 0, n_captured = 0, n_handles = 0, stateful = false, length = ["n_1"], counted = true, reverse = false, ys = [tensor<f32>], parallel_iterations = 10, swap_memory = false} ({
  // CHECK-NEXT:     ^bb0(%i: tensor<i32>, %a: tensor<f32>):
  // CHECK-NEXT:       %b = df.add %a, %a : tensor<f32>
  // CHECK-NEXT:       df.yield %b, %a : (tensor<f32>, tensor<f32>) -> ()
  // CHECK-NEXT:     }) : (tensor<i32>, tensor<f32>) -> (tensor<f32>, tensor<?xf32, ["n_1"]>)
  // CHECK-NEXT:     %s = df.add %ys, %zs : tensor<?xf32, ["n_1"]>
  // CHECK-NEXT:     %t_1 = df.reduce_sum %s {axes = [0]} : (tensor<?xf32, ["n_1"]>) -> tensor<f32>
  // CHECK-NEXT:     %1 = df.maximum %n_1, %k_1 : tensor<i32>
  // CHECK-NEXT:     df.yield %t_1, %1 : (tensor<f32>, tensor<i32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>, tensor<i32>, tensor<i32>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   df.return %t : (tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "twice", arg_names = ["x", "n", "k"], result_names = ["s"]} ({
  ^bb0(%x: tensor<f32>, %n: tensor<i32>, %k: tensor<i32>):
    %y, %ys = df.scan %n, %x {n_carried = 1, n_xs = 0, n_captured = 0, n_handles = 0, stateful = false, length = ["n_1"], counted = true, reverse = false, ys = [tensor<f32>], parallel_iterations = 10, swap_memory = false} ({
    ^bb0(%i: tensor<i32>, %a: tensor<f32>):
      %b = df.add %a, %a : tensor<f32>
      df.yield %b, %a : (tensor<f32>, tensor<f32>) -> ()
    }) : (tensor<i32>, tensor<f32>) -> (tensor<f32>, tensor<?xf32, ["n_1"]>)
    %z, %zs = df.scan %k, %x {n_carried = 1, n_xs = 0, n_captured = 0, n_handles = 0, stateful = false, length = ["n_1"], counted = true, reverse = false, ys = [tensor<f32>], parallel_iterations = 10, swap_memory = false} ({
    ^bb0(%i: tensor<i32>, %a: tensor<f32>):
      %b = df.add %a, %a : tensor<f32>
      df.yield %b, %a : (tensor<f32>, tensor<f32>) -> ()
    }) : (tensor<i32>, tensor<f32>) -> (tensor<f32>, tensor<?xf32, ["n_1"]>)
    %s = df.add %ys, %zs : tensor<?xf32, ["n_1"]>
    %t = df.reduce_sum %s {axes = [0]} : (tensor<?xf32, ["n_1"]>) -> tensor<f32>
    df.need_length %n {length = ["n_1"]} : (tensor<i32>) -> ()
    df.need_length %k {length = ["n_1"]} : (tensor<i32>) -> ()
    df.return %t : (tensor<f32>) -> ()
  }) : () -> ()
}

// -----

// CHECK: error: gradients: this op must be gone at phase clustered
// CHECK-NEXT: at model.py:5:9
// CHECK-NEXT: the pass autodiff removes it: run autodiff earlier in the pipeline
builtin.module {
  df.func {sym_name = "main", arg_names = ["x"], result_names = ["g"]} ({
  ^bb0(%x: tensor<f32>):
    %g = df.gradients %x, %x {n_ys = 1, n_xs = 1, kinds = ["dense"]} : (tensor<f32>, tensor<f32>) -> tensor<f32> loc("model.py":5:9)
    df.return %g : (tensor<f32>) -> ()
  }) : () -> ()
}
