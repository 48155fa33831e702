// RUN: dfc opt %s -p 'cluster{separate=true}' --no-locations
// Each op is an island of its own; constants and handles are in none.

builtin.module {
  // CHECK:      df.func {sym_name = "f", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>):
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
  // CHECK-NEXT:   %a, %0 = df.island %x {n_inputs = 1, n_refs = 0, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<f32>):
  // CHECK-NEXT:     %1 = df.constant {value = float32[] 2.0} : () -> tensor<f32>
  // CHECK-NEXT:     %a_1 = df.multiply %x_1, %1 : tensor<f32>
  // CHECK-NEXT:     df.yield %a_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   %b, %2 = df.island %a {n_inputs = 1, n_refs = 0, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%a_2: tensor<f32>):
  // CHECK-NEXT:     %b_1 = df.tanh %a_2 : tensor<f32>
  // CHECK-NEXT:     df.yield %b_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   %3 = df.island %b, %w {n_inputs = 1, n_refs = 1, written = [0], results = []} ({
  // CHECK-NEXT:   ^bb0(%b_2: tensor<f32>, %w_1: tensor<f32>):
  // CHECK-NEXT:     df.yield %b_2 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>, !df.ref<tensor<f32>>) -> !df.control
  // CHECK-NEXT:   %y, %4 = df.island %w, %3 {n_inputs = 0, n_refs = 1, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%w_2: tensor<f32>):
  // CHECK-NEXT:     df.yield %w_2 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (!df.ref<tensor<f32>>, !df.control) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   df.return %y, %4 : (tensor<f32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "f", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<f32>):
    %w = df.variable {variable = "w", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
    %two = df.constant {value = float32[] 2.0} : () -> tensor<f32>
    %a = df.multiply %x, %two : tensor<f32>
    %b = df.tanh %a : tensor<f32>
    %t = df.assign %w, %b : (!df.ref<tensor<f32>>, tensor<f32>) -> !df.control
    %y, %t1 = df.read %w, %t : (!df.ref<tensor<f32>>, !df.control) -> (tensor<f32>, !df.control)
    df.return %y, %t1 : (tensor<f32>, !df.control) -> ()
  }) : () -> ()

  // One op with no host op: it is an island as well.
  // CHECK:      df.func {sym_name = "one", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>):
  // CHECK-NEXT:   %y, %0 = df.island %x {n_inputs = 1, n_refs = 0, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<f32>):
  // CHECK-NEXT:     %y_1 = df.negate %x_1 : tensor<f32>
  // CHECK-NEXT:     df.yield %y_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   df.return %y : (tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "one", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<f32>):
    %y = df.negate %x : tensor<f32>
    df.return %y : (tensor<f32>) -> ()
  }) : () -> ()

  // A loop is with what says how many iterations it needed, though another op has made the count.
  // CHECK:      df.func {sym_name = "counted", arg_names = ["x", "n", "k"], result_names = ["s"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>, %n: tensor<i32>, %k: tensor<i32>):
  // CHECK-NEXT:   %m, %0 = df.island %n, %k {n_inputs = 2, n_refs = 0, written = [], results = [tensor<i32>]} ({
  // CHECK-NEXT:   ^bb0(%n_1: tensor<i32>, %k_1: tensor<i32>):
  // CHECK-NEXT:     %m_1 = df.minimum %n_1, %k_1 : tensor<i32>
  // CHECK-NEXT:     df.yield %m_1 : (tensor<i32>) -> ()
  // CHECK-NEXT:   }) : (tensor<i32>, tensor<i32>) -> (tensor<i32>, !df.control)
  // CHECK-NEXT:   %ys, %1 = df.island %m, %x {n_inputs = 2, n_refs = 0, written = [], results = [tensor<?xf32, ["n_1"]>], needs = ["n_1"]} ({
  // CHECK-NEXT:   ^bb0(%m_2: tensor<i32>, %x_1: tensor<f32>):
  // CHECK-NEXT:     %y, %ys_1 = df.scan %m_2, %x_1 {n_carried = 1, n_xs = 0, n_captured = 0, n_handles = 0, stateful = false, length = ["n_1"], counted = true, reverse = false, ys = [tensor<f32>], parallel_iterations = 10, swap_memory = false} ({
  // CHECK-NEXT:     ^bb0(%i: tensor<i32>, %a: tensor<f32>):
  // CHECK-NEXT:       %b = df.add %a, %a : tensor<f32>
  // CHECK-NEXT:       df.yield %b, %a : (tensor<f32>, tensor<f32>) -> ()
  // CHECK-NEXT:     }) : (tensor<i32>, tensor<f32>) -> (tensor<f32>, tensor<?xf32, ["n_1"]>)
  // CHECK-NEXT:     df.yield %ys_1, %m_2 : (tensor<?xf32, ["n_1"]>, tensor<i32>) -> ()
  // CHECK-NEXT:   }) : (tensor<i32>, tensor<f32>) -> (tensor<?xf32, ["n_1"]>, !df.control)
  // CHECK-NEXT:   %s, %2 = df.island %ys {n_inputs = 1, n_refs = 0, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%ys_2: tensor<?xf32, ["n_1"]>):
  // CHECK-NEXT:     %s_1 = df.reduce_sum %ys_2 {axes = [0]} : (tensor<?xf32, ["n_1"]>) -> tensor<f32>
  // CHECK-NEXT:     df.yield %s_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<?xf32, ["n_1"]>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   df.return %s : (tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "counted", arg_names = ["x", "n", "k"], result_names = ["s"]} ({
  ^bb0(%x: tensor<f32>, %n: tensor<i32>, %k: tensor<i32>):
    %m = df.minimum %n, %k : tensor<i32>
    %y, %ys = df.scan %m, %x {n_carried = 1, n_xs = 0, n_captured = 0, n_handles = 0, stateful = false, length = ["n_1"], counted = true, reverse = false, ys = [tensor<f32>], parallel_iterations = 10, swap_memory = false} ({
    ^bb0(%i: tensor<i32>, %a: tensor<f32>):
      %b = df.add %a, %a : tensor<f32>
      df.yield %b, %a : (tensor<f32>, tensor<f32>) -> ()
    }) : (tensor<i32>, tensor<f32>) -> (tensor<f32>, tensor<?xf32, ["n_1"]>)
    %s = df.reduce_sum %ys {axes = [0]} : (tensor<?xf32, ["n_1"]>) -> tensor<f32>
    df.need_length %m {length = ["n_1"]} : (tensor<i32>) -> ()
    df.return %s : (tensor<f32>) -> ()
  }) : () -> ()
}
