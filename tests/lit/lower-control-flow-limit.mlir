// RUN: dfc opt %s -p 'lower-control-flow{limit=20000}' --no-locations
// Two weights of 16 KiB, and room for one: a device could run the loop, but not with both. What was read before enters
// as it is.

builtin.module {
  // CHECK:      df.func {sym_name = "f", arg_names = ["x", "n"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4x64xf32>, %n: tensor<i32>):
  // CHECK-NEXT:   %v = df.variable {variable = "v", shape = [64, 64], dtype = float32, offload = true} : () -> !df.ref<tensor<64x64xf32>>
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [64, 64], dtype = float32, offload = true} : () -> !df.ref<tensor<64x64xf32>>
  // CHECK-NEXT:   %a, %t = df.read %v : (!df.ref<tensor<64x64xf32>>) -> (tensor<64x64xf32>, !df.control)
  // CHECK-NEXT:   %b, %u = df.read %w : (!df.ref<tensor<64x64xf32>>) -> (tensor<64x64xf32>, !df.control)
  // CHECK-NEXT:   %0 = df.constant {value = int32[] 0} : () -> tensor<i32>
  // CHECK-NEXT:   %1 = df.enter %0 {frame = "while_0", is_constant = false, parallel_iterations = 10} : tensor<i32>
  // CHECK-NEXT:   %i, %2 = df.merge %1, %3 {result = [tensor<i32>]} : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %4 = df.enter %x {frame = "while_0", is_constant = false, parallel_iterations = 10} : tensor<4x64xf32>
  // CHECK-NEXT:   %5, %6 = df.merge %4, %7 {result = [tensor<4x64xf32>]} : (tensor<4x64xf32>, tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<i32>)
  // CHECK-NEXT:   %m = df.enter %n {frame = "while_0", is_constant = true, parallel_iterations = 10} : tensor<i32>
  // CHECK-NEXT:   %p = df.enter %a {frame = "while_0", is_constant = true, parallel_iterations = 10} : tensor<64x64xf32>
  // CHECK-NEXT:   %q = df.enter %b {frame = "while_0", is_constant = true, parallel_iterations = 10} : tensor<64x64xf32>
  // CHECK-NEXT:   %c = df.compare %i, %m {direction = "LT"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
  // CHECK-NEXT:   %8 = df.loop_cond %c : tensor<i1>
  // CHECK-NEXT:   %9, %10 = df.switch %i, %8 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %11, %h = df.switch %5, %8 : (tensor<4x64xf32>, tensor<i1>) -> (tensor<4x64xf32>, tensor<4x64xf32>)
  // CHECK-NEXT:   %k = df.dot_general %h, %p {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : (tensor<4x64xf32>, tensor<64x64xf32>) -> tensor<4x64xf32>
  // CHECK-NEXT:   %l = df.dot_general %k, %q {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : (tensor<4x64xf32>, tensor<64x64xf32>) -> tensor<4x64xf32>
  // CHECK-NEXT:   %7 = df.next_iteration %l : tensor<4x64xf32>
  // CHECK-NEXT:   %12 = df.constant {value = int32[] 1} : () -> tensor<i32>
  // CHECK-NEXT:   %13 = df.add %10, %12 : tensor<i32>
  // CHECK-NEXT:   %3 = df.next_iteration %13 : tensor<i32>
  // CHECK-NEXT:   %y = df.exit %11 : tensor<4x64xf32>
  // CHECK-NEXT:   df.return %y : (tensor<4x64xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "f", arg_names = ["x", "n"], result_names = ["y"]} ({
  ^bb0(%x: tensor<4x64xf32>, %n: tensor<i32>):
    %v = df.variable {variable = "v", shape = [64, 64], dtype = float32, offload = true} : () -> !df.ref<tensor<64x64xf32>>
    %w = df.variable {variable = "w", shape = [64, 64], dtype = float32, offload = true} : () -> !df.ref<tensor<64x64xf32>>
    %a, %t = df.read %v : (!df.ref<tensor<64x64xf32>>) -> (tensor<64x64xf32>, !df.control)
    %b, %u = df.read %w : (!df.ref<tensor<64x64xf32>>) -> (tensor<64x64xf32>, !df.control)
    %y, %count = df.while %x, %n, %a, %b {n_carried = 1, n_captured = 3, length = [], ys = [], parallel_iterations = 10, swap_memory = false, n_handles = 0, stateful = false} ({
    ^bb0(%i: tensor<i32>, %h: tensor<4x64xf32>, %m: tensor<i32>, %p: tensor<64x64xf32>, %q: tensor<64x64xf32>):
      %c = df.compare %i, %m {direction = "LT"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
      df.yield %c : (tensor<i1>) -> ()
    }, {
    ^bb0(%i: tensor<i32>, %h: tensor<4x64xf32>, %m: tensor<i32>, %p: tensor<64x64xf32>, %q: tensor<64x64xf32>):
      %k = df.dot_general %h, %p {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : (tensor<4x64xf32>, tensor<64x64xf32>) -> tensor<4x64xf32>
      %l = df.dot_general %k, %q {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : (tensor<4x64xf32>, tensor<64x64xf32>) -> tensor<4x64xf32>
      df.yield %l : (tensor<4x64xf32>) -> ()
    }) : (tensor<4x64xf32>, tensor<i32>, tensor<64x64xf32>, tensor<64x64xf32>) -> (tensor<4x64xf32>, tensor<i32>)
    df.return %y : (tensor<4x64xf32>) -> ()
  }) : () -> ()
}
