// RUN: dfc opt %s -p functionalise --no-locations --split-input-file
// What a branch does to a variable happens behind it, with the value that it gives.

builtin.module {
  // CHECK:      df.func {sym_name = "f", arg_names = ["p", "x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%p: tensor<i1>, %x: tensor<f32>):
  // CHECK-NEXT:   %v = df.variable {variable = "v", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
  // CHECK-NEXT:   %0, %1 = df.read %v : (!df.ref<tensor<f32>>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   %y, %2 = df.if %p, %x, %0 {n_inputs = 2, results = [tensor<f32>, tensor<f32>], n_handles = 0, stateful = false} ({
  // CHECK-NEXT:   ^bb0(%a: tensor<f32>, %3: tensor<f32>):
  // CHECK-NEXT:     %4 = df.add %3, %a : tensor<f32>
  // CHECK-NEXT:     df.yield %a, %4 : (tensor<f32>, tensor<f32>) -> ()
  // CHECK-NEXT:   }, {
  // CHECK-NEXT:   ^bb0(%a_1: tensor<f32>, %5: tensor<f32>):
  // CHECK-NEXT:     df.yield %5, %5 : (tensor<f32>, tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<i1>, tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
  // CHECK-NEXT:   %done = df.assign %v, %2, %1 : (!df.ref<tensor<f32>>, tensor<f32>, !df.control) -> !df.control
  // CHECK-NEXT:   df.return %y, %done : (tensor<f32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "f", arg_names = ["p", "x"], result_names = ["y"]} ({
  ^bb0(%p: tensor<i1>, %x: tensor<f32>):
    %v = df.variable {variable = "v", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
    %y, %done = df.if %p, %x, %v {n_inputs = 1, results = [tensor<f32>], n_handles = 1, stateful = true} ({
    ^bb0(%a: tensor<f32>, %w: !df.ref<tensor<f32>>):
      %t = df.assign_add %w, %a : (!df.ref<tensor<f32>>, tensor<f32>) -> !df.control
      df.yield %a, %t : (tensor<f32>, !df.control) -> ()
    }, {
    ^bb0(%a: tensor<f32>, %w: !df.ref<tensor<f32>>):
      %r, %t = df.read %w : (!df.ref<tensor<f32>>) -> (tensor<f32>, !df.control)
      df.yield %r, %t : (tensor<f32>, !df.control) -> ()
    }) : (tensor<i1>, tensor<f32>, !df.ref<tensor<f32>>) -> (tensor<f32>, !df.control)
    df.return %y, %done : (tensor<f32>, !df.control) -> ()
  }) : () -> ()
}

// -----
// A loop whose room is chosen when it runs says at the end how much it needed.

builtin.module {
  // CHECK:      df.func {sym_name = "g", arg_names = ["x", "n"], result_names = ["ys"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>, %n: tensor<i32>):
  // CHECK-NEXT:   %y, %count, %ys = df.while %x, %n {n_carried = 1, n_captured = 1, length = ["n_1"], ys = [tensor<f32>], parallel_iterations = 10, swap_memory = false, n_handles = 0, stateful = false} ({
  // CHECK-NEXT:   ^bb0(%i: tensor<i32>, %a: tensor<f32>, %m: tensor<i32>):
  // CHECK-NEXT:     %c = df.compare %i, %m {direction = "LT"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
  // CHECK-NEXT:     df.yield %c : (tensor<i1>) -> ()
  // CHECK-NEXT:   }, {
  // CHECK-NEXT:   ^bb0(%i_1: tensor<i32>, %a_1: tensor<f32>, %m_1: tensor<i32>):
  // CHECK-NEXT:     %b = df.add %a_1, %a_1 : tensor<f32>
  // CHECK-NEXT:     df.yield %b, %a_1 : (tensor<f32>, tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>, tensor<i32>) -> (tensor<f32>, tensor<i32>, tensor<?xf32, ["n_1"]>)
  // CHECK-NEXT:   %s = df.reduce_sum %ys {axes = [0]} : (tensor<?xf32, ["n_1"]>) -> tensor<f32>
  // CHECK-NEXT:   df.need_length %count {length = ["n_1"]} : (tensor<i32>) -> ()
  // CHECK-NEXT:   df.return %s : (tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "g", arg_names = ["x", "n"], result_names = ["ys"]} ({
  ^bb0(%x: tensor<f32>, %n: tensor<i32>):
    %y, %count, %ys = df.while %x, %n {n_carried = 1, n_captured = 1, length = ["n_1"], ys = [tensor<f32>], parallel_iterations = 10, swap_memory = false, n_handles = 0, stateful = false} ({
    ^bb0(%i: tensor<i32>, %a: tensor<f32>, %m: tensor<i32>):
      %c = df.compare %i, %m {direction = "LT"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
      df.yield %c : (tensor<i1>) -> ()
    }, {
    ^bb0(%i: tensor<i32>, %a: tensor<f32>, %m: tensor<i32>):
      %b = df.add %a, %a : tensor<f32>
      df.yield %b, %a : (tensor<f32>, tensor<f32>) -> ()
    }) : (tensor<f32>, tensor<i32>) -> (tensor<f32>, tensor<i32>, tensor<?xf32, ["n_1"]>)
    %s = df.reduce_sum %ys {axes = [0]} : (tensor<?xf32, ["n_1"]>) -> tensor<f32>
    df.return %s : (tensor<f32>) -> ()
  }) : () -> ()
}
