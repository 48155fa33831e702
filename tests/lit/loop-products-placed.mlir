// RUN: dfc opt %s -p 'loop-products,prune' --no-locations
// Where products that leave a loop are placed.

builtin.module {
  // What is made outside is where it was asked to be inside; what did not ask is where the loop is.
  // CHECK:      df.func {sym_name = "f", arg_names = ["x", "w", "y"], result_names = ["total", "ys"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<6x2x3xf32>, %w: tensor<3x4xf32>, %y: tensor<6x2x4xf32>):
  // CHECK-NEXT:   %zero = df.constant {value = float32[3, 4] 0.0} : () -> tensor<3x4xf32>
  // CHECK-NEXT:   %0 = df.dot_general %x, %w {lhs_batch = [], rhs_batch = [], lhs_contracting = [2], rhs_contracting = [0], device = "/device:CPU:2"} : (tensor<6x2x3xf32>, tensor<3x4xf32>) -> tensor<6x2x4xf32>
  // CHECK-NEXT:   %ys = df.scan %0 {n_carried = 0, n_xs = 1, n_captured = 0, n_handles = 0, stateful = false, length = [6], counted = false, reverse = false, ys = [tensor<2x4xf32>], parallel_iterations = 10, swap_memory = false, device = "/device:CPU:1"} ({
  // CHECK-NEXT:   ^bb0(%i: tensor<i32>, %a: tensor<2x4xf32>):
  // CHECK-NEXT:     %b = df.tanh %a : tensor<2x4xf32>
  // CHECK-NEXT:     df.yield %b : (tensor<2x4xf32>) -> ()
  // CHECK-NEXT:   }) : tensor<6x2x4xf32>
  // CHECK-NEXT:   %1 = df.dot_general %y, %x {lhs_batch = [], rhs_batch = [], lhs_contracting = [0, 1], rhs_contracting = [0, 1], device = "/device:CPU:1"} : (tensor<6x2x4xf32>, tensor<6x2x3xf32>) -> tensor<4x3xf32>
  // CHECK-NEXT:   %2 = df.transpose %1 {permutation = [1, 0], device = "/device:CPU:1"} : (tensor<4x3xf32>) -> tensor<3x4xf32>
  // CHECK-NEXT:   %total = df.add %zero, %2 {device = "/device:CPU:1"} : tensor<3x4xf32>
  // CHECK-NEXT:   df.return %total, %ys : (tensor<3x4xf32>, tensor<6x2x4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "f", arg_names = ["x", "w", "y"], result_names = ["total", "ys"]} ({
  ^bb0(%x: tensor<6x2x3xf32>, %w: tensor<3x4xf32>, %y: tensor<6x2x4xf32>):
    %zero = df.constant {value = float32[3,4] 0.0} : () -> tensor<3x4xf32>
    %total, %ys = df.scan %zero, %x, %y, %w {n_carried = 1, n_xs = 2, n_captured = 1, n_handles = 0, stateful = false, length = [6], counted = false, reverse = false, ys = [tensor<2x4xf32>], parallel_iterations = 10, swap_memory = false, device = "/device:CPU:1"} ({
    ^bb0(%i: tensor<i32>, %c: tensor<3x4xf32>, %r: tensor<2x3xf32>, %s: tensor<2x4xf32>, %v: tensor<3x4xf32>):
      %a = df.dot_general %r, %v {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0], device = "/device:CPU:2"} : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<2x4xf32>
      %b = df.tanh %a : tensor<2x4xf32>
      %p = df.dot_general %s, %r {lhs_batch = [], rhs_batch = [], lhs_contracting = [0], rhs_contracting = [0]} : (tensor<2x4xf32>, tensor<2x3xf32>) -> tensor<4x3xf32>
      %t = df.transpose %p {permutation = [1, 0]} : (tensor<4x3xf32>) -> tensor<3x4xf32>
      %d = df.add %c, %t : tensor<3x4xf32>
      df.yield %d, %b : (tensor<3x4xf32>, tensor<2x4xf32>) -> ()
    }) : (tensor<3x4xf32>, tensor<6x2x3xf32>, tensor<6x2x4xf32>, tensor<3x4xf32>) -> (tensor<3x4xf32>, tensor<6x2x4xf32>)
    df.return %total, %ys : (tensor<3x4xf32>, tensor<6x2x4xf32>) -> ()
  }) : () -> ()
}
