// RUN: dfc opt %s -p 'lower-control-flow{limit=20000}, functionalise, cluster, offload{limit=20000}' --no-locations
// The same, further on: of the weights, which stay in the host's memory, each part of the body brings its own.

builtin.module {
  // CHECK:      df.func {sym_name = "f", arg_names = ["x", "n"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4x64xf32>, %n: tensor<i32>):
  // CHECK-NEXT:   %v = df.variable {variable = "v", shape = [64, 64], dtype = float32, offload = true} : () -> !df.ref<tensor<64x64xf32>>
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [64, 64], dtype = float32, offload = true} : () -> !df.ref<tensor<64x64xf32>>
  // CHECK-NEXT:   %0 = df.constant {value = int32[] 0} : () -> tensor<i32>
  // CHECK-NEXT:   %1, %2 = df.hold %v, %w {written = [], read = [0, 1], alone = true} : (!df.ref<tensor<64x64xf32>>, !df.ref<tensor<64x64xf32>>) -> (!df.resource<"hold">, !df.control)
  // CHECK-NEXT:   %a = df.fetch %1, %v {on_host = true} : (!df.resource<"hold">, !df.ref<tensor<64x64xf32>>) -> tensor<64x64xf32>
  // CHECK-NEXT:   %b = df.fetch %1, %w {on_host = true} : (!df.resource<"hold">, !df.ref<tensor<64x64xf32>>) -> tensor<64x64xf32>
  // CHECK-NEXT:   %3 = df.group %a, %b : (tensor<64x64xf32>, tensor<64x64xf32>) -> !df.control
  // CHECK-NEXT:   %4 = df.let_go %1, %3 : (!df.resource<"hold">, !df.control) -> !df.control
  // CHECK-NEXT:   %5 = df.enter %0 {frame = "while_0", is_constant = false, parallel_iterations = 10} : tensor<i32>
  // CHECK-NEXT:   %i, %6 = df.merge %5, %7 {result = [tensor<i32>]} : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %8 = df.enter %x {frame = "while_0", is_constant = false, parallel_iterations = 10} : tensor<4x64xf32>
  // CHECK-NEXT:   %9, %10 = df.merge %8, %11 {result = [tensor<4x64xf32>]} : (tensor<4x64xf32>, tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<i32>)
  // CHECK-NEXT:   %m = df.enter %n {frame = "while_0", is_constant = true, parallel_iterations = 10} : tensor<i32>
  // CHECK-NEXT:   %p = df.enter %a {frame = "while_0", is_constant = true, parallel_iterations = 10} : tensor<64x64xf32>
  // CHECK-NEXT:   %q = df.enter %b {frame = "while_0", is_constant = true, parallel_iterations = 10} : tensor<64x64xf32>
  // CHECK-NEXT:   %c, %12 = df.island %i, %m {n_inputs = 2, n_refs = 0, written = [], results = [tensor<i1>]} ({
  // CHECK-NEXT:   ^bb0(%i_1: tensor<i32>, %m_1: tensor<i32>):
  // CHECK-NEXT:     %c_1 = df.compare %i_1, %m_1 {direction = "LT"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
  // CHECK-NEXT:     df.yield %c_1 : (tensor<i1>) -> ()
  // CHECK-NEXT:   }) : (tensor<i32>, tensor<i32>) -> (tensor<i1>, !df.control)
  // CHECK-NEXT:   %13 = df.loop_cond %c : tensor<i1>
  // CHECK-NEXT:   %14, %15 = df.switch %i, %13 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %16, %h = df.switch %9, %13 : (tensor<4x64xf32>, tensor<i1>) -> (tensor<4x64xf32>, tensor<4x64xf32>)
  // CHECK-NEXT:   %17 = df.group %h, %p, %q, %15 : (tensor<4x64xf32>, tensor<64x64xf32>, tensor<64x64xf32>, tensor<i32>) -> !df.control
  // CHECK-NEXT:   %18, %19 = df.hold %17 {written = [], read = [], alone = true} : (!df.control) -> (!df.resource<"hold">, !df.control)
  // CHECK-NEXT:   %20 = df.fetch %18, %p {on_host = false, lent = ["v"]} : (!df.resource<"hold">, tensor<64x64xf32>) -> tensor<64x64xf32>
  // CHECK-NEXT:   %21, %22 = df.island %20, %h {n_inputs = 2, n_refs = 0, written = [], results = [tensor<4x64xf32>]} ({
  // CHECK-NEXT:   ^bb0(%23: tensor<64x64xf32>, %h_1: tensor<4x64xf32>):
  // CHECK-NEXT:     %k = df.dot_general %h_1, %23 {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : (tensor<4x64xf32>, tensor<64x64xf32>) -> tensor<4x64xf32>
  // CHECK-NEXT:     df.yield %k : (tensor<4x64xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<64x64xf32>, tensor<4x64xf32>) -> (tensor<4x64xf32>, !df.control)
  // CHECK-NEXT:   %24 = df.release %18, %21 {lent = ["v"]} : (!df.resource<"hold">, tensor<4x64xf32>) -> !df.control
  // CHECK-NEXT:   %25 = df.fetch %18, %q, %24 {on_host = false, lent = ["w"]} : (!df.resource<"hold">, tensor<64x64xf32>, !df.control) -> tensor<64x64xf32>
  // CHECK-NEXT:   %l, %26 = df.island %25, %21 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<4x64xf32>]} ({
  // CHECK-NEXT:   ^bb0(%27: tensor<64x64xf32>, %28: tensor<4x64xf32>):
  // CHECK-NEXT:     %l_1 = df.dot_general %28, %27 {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : (tensor<4x64xf32>, tensor<64x64xf32>) -> tensor<4x64xf32>
  // CHECK-NEXT:     df.yield %l_1 : (tensor<4x64xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<64x64xf32>, tensor<4x64xf32>) -> (tensor<4x64xf32>, !df.control)
  // CHECK-NEXT:   %29 = df.release %18, %l, %24 {lent = ["w"]} : (!df.resource<"hold">, tensor<4x64xf32>, !df.control) -> !df.control
  // CHECK-NEXT:   %30, %31 = df.island %15, %24 {n_inputs = 1, n_refs = 0, written = [], results = [tensor<i32>]} ({
  // CHECK-NEXT:   ^bb0(%32: tensor<i32>):
  // CHECK-NEXT:     %33 = df.constant {value = int32[] 1} : () -> tensor<i32>
  // CHECK-NEXT:     %34 = df.add %32, %33 : tensor<i32>
  // CHECK-NEXT:     df.yield %34 : (tensor<i32>) -> ()
  // CHECK-NEXT:   }) : (tensor<i32>, !df.control) -> (tensor<i32>, !df.control)
  // CHECK-NEXT:   %35 = df.let_go %18, %22, %24, %26, %29, %31 : (!df.resource<"hold">, !df.control, !df.control, !df.control, !df.control, !df.control) -> !df.control
  // CHECK-NEXT:   %11 = df.next_iteration %l : tensor<4x64xf32>
  // CHECK-NEXT:   %7 = df.next_iteration %30 : tensor<i32>
  // CHECK-NEXT:   %y = df.exit %16 : tensor<4x64xf32>
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
