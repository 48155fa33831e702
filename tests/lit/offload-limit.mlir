// RUN: dfc opt %s -p 'cluster,offload{limit=40000}' --no-locations --split-input-file --print-errors
// Two weights of 16 KiB: each part needs one, and the next one's is fetched once the one before is done. The
// gradient of w1 is used where it is made.

builtin.module {
  // CHECK:      df.func {sym_name = "step", arg_names = ["x"], result_names = ["loss"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<32x64xf32>):
  // CHECK-NEXT:   %w0 = df.variable {variable = "w0", shape = [64, 64], dtype = float32, offload = true} : () -> !df.ref<tensor<64x64xf32>>
  // CHECK-NEXT:   %w1 = df.variable {variable = "w1", shape = [64, 64], dtype = float32, offload = true} : () -> !df.ref<tensor<64x64xf32>>
  // CHECK-NEXT:   %n = df.variable {variable = "n", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
  // CHECK-NEXT:   %0, %1 = df.hold %w0, %w1, %n {written = [0, 1, 2], read = [0, 1, 2], alone = true} : (!df.ref<tensor<64x64xf32>>, !df.ref<tensor<64x64xf32>>, !df.ref<tensor<f32>>) -> (!df.resource<"hold">, !df.control)
  // CHECK-NEXT:   %2 = df.fetch %0, %w0 {on_host = false} : (!df.resource<"hold">, !df.ref<tensor<64x64xf32>>) -> tensor<64x64xf32>
  // CHECK-NEXT:   %3, %4 = df.island %2, %x {n_inputs = 2, n_refs = 0, written = [], results = [tensor<32x64xf32>]} ({
  // CHECK-NEXT:   ^bb0(%5: tensor<64x64xf32>, %x_1: tensor<32x64xf32>):
  // CHECK-NEXT:     %y = df.dot_general %x_1, %5 {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : (tensor<32x64xf32>, tensor<64x64xf32>) -> tensor<32x64xf32>
  // CHECK-NEXT:     df.yield %y : (tensor<32x64xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<64x64xf32>, tensor<32x64xf32>) -> (tensor<32x64xf32>, !df.control)
  // CHECK-NEXT:   %6 = df.release %0, %w0, %3 : (!df.resource<"hold">, !df.ref<tensor<64x64xf32>>, tensor<32x64xf32>) -> !df.control
  // CHECK-NEXT:   %7 = df.fetch %0, %w1 {on_host = false} : (!df.resource<"hold">, !df.ref<tensor<64x64xf32>>) -> tensor<64x64xf32>
  // CHECK-NEXT:   %loss, %8, %9, %10 = df.island %7, %3 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<f32>, tensor<64x64xf32>, tensor<32x64xf32>]} ({
  // CHECK-NEXT:   ^bb0(%11: tensor<64x64xf32>, %12: tensor<32x64xf32>):
  // CHECK-NEXT:     %z = df.dot_general %12, %11 {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : (tensor<32x64xf32>, tensor<64x64xf32>) -> tensor<32x64xf32>
  // CHECK-NEXT:     %loss_1 = df.reduce_sum %z {axes = [0, 1]} : (tensor<32x64xf32>) -> tensor<f32>
  // CHECK-NEXT:     %gb = df.dot_general %12, %z {lhs_batch = [], rhs_batch = [], lhs_contracting = [0], rhs_contracting = [0]} : (tensor<32x64xf32>, tensor<32x64xf32>) -> tensor<64x64xf32>
  // CHECK-NEXT:     %nb = df.subtract %11, %gb : tensor<64x64xf32>
  // CHECK-NEXT:     %gy = df.dot_general %z, %11 {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [1]} : (tensor<32x64xf32>, tensor<64x64xf32>) -> tensor<32x64xf32>
  // CHECK-NEXT:     df.yield %loss_1, %nb, %gy : (tensor<f32>, tensor<64x64xf32>, tensor<32x64xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<64x64xf32>, tensor<32x64xf32>) -> (tensor<f32>, tensor<64x64xf32>, tensor<32x64xf32>, !df.control)
  // CHECK-NEXT:   %13 = df.evict %0, %w1, %8 {made = true, in_place = [0]} : (!df.resource<"hold">, !df.ref<tensor<64x64xf32>>, tensor<64x64xf32>) -> !df.control
  // CHECK-NEXT:   %14 = df.release %0, %13, %6 : (!df.resource<"hold">, !df.control, !df.control) -> !df.control
  // CHECK-NEXT:   %15 = df.fetch %0, %w0, %6 {on_host = false} : (!df.resource<"hold">, !df.ref<tensor<64x64xf32>>, !df.control) -> tensor<64x64xf32>
  // CHECK-NEXT:   %16, %17 = df.island %15, %x, %9, %n {n_inputs = 3, n_refs = 1, written = [0], results = [tensor<64x64xf32>]} ({
  // CHECK-NEXT:   ^bb0(%18: tensor<64x64xf32>, %x_2: tensor<32x64xf32>, %19: tensor<32x64xf32>, %n_1: tensor<f32>):
  // CHECK-NEXT:     %ga = df.dot_general %x_2, %19 {lhs_batch = [], rhs_batch = [], lhs_contracting = [0], rhs_contracting = [0]} : (tensor<32x64xf32>, tensor<32x64xf32>) -> tensor<64x64xf32>
  // CHECK-NEXT:     %na = df.subtract %18, %ga : tensor<64x64xf32>
  // CHECK-NEXT:     %20 = df.constant {value = float32[] 1.0} : () -> tensor<f32>
  // CHECK-NEXT:     %c1 = df.add %n_1, %20 : tensor<f32>
  // CHECK-NEXT:     df.yield %na, %c1 : (tensor<64x64xf32>, tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<64x64xf32>, tensor<32x64xf32>, tensor<32x64xf32>, !df.ref<tensor<f32>>) -> (tensor<64x64xf32>, !df.control)
  // CHECK-NEXT:   %21 = df.evict %0, %w0, %16 {made = true, in_place = [0]} : (!df.resource<"hold">, !df.ref<tensor<64x64xf32>>, tensor<64x64xf32>) -> !df.control
  // CHECK-NEXT:   %22 = df.release %0, %21, %14 : (!df.resource<"hold">, !df.control, !df.control) -> !df.control
  // CHECK-NEXT:   %23 = df.let_go %0, %4, %6, %10, %14, %17, %22 : (!df.resource<"hold">, !df.control, !df.control, !df.control, !df.control, !df.control, !df.control) -> !df.control
  // CHECK-NEXT:   df.return %loss, %23 : (tensor<f32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "step", arg_names = ["x"], result_names = ["loss"]} ({
  ^bb0(%x: tensor<32x64xf32>):
    %w0 = df.variable {variable = "w0", shape = [64, 64], dtype = float32, offload = true} : () -> !df.ref<tensor<64x64xf32>>
    %w1 = df.variable {variable = "w1", shape = [64, 64], dtype = float32, offload = true} : () -> !df.ref<tensor<64x64xf32>>
    %n = df.variable {variable = "n", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
    %a, %t0 = df.read %w0 : (!df.ref<tensor<64x64xf32>>) -> (tensor<64x64xf32>, !df.control)
    %b, %t1 = df.read %w1 : (!df.ref<tensor<64x64xf32>>) -> (tensor<64x64xf32>, !df.control)
    %c, %t2 = df.read %n : (!df.ref<tensor<f32>>) -> (tensor<f32>, !df.control)
    %one = df.constant {value = float32[] 1.0} : () -> tensor<f32>
    %c1 = df.add %c, %one : tensor<f32>
    %y = df.dot_general %x, %a {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : (tensor<32x64xf32>, tensor<64x64xf32>) -> tensor<32x64xf32>
    %z = df.dot_general %y, %b {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : (tensor<32x64xf32>, tensor<64x64xf32>) -> tensor<32x64xf32>
    %loss = df.reduce_sum %z {axes = [0, 1]} : (tensor<32x64xf32>) -> tensor<f32>
    %gb = df.dot_general %y, %z {lhs_batch = [], rhs_batch = [], lhs_contracting = [0], rhs_contracting = [0]} : (tensor<32x64xf32>, tensor<32x64xf32>) -> tensor<64x64xf32>
    %gy = df.dot_general %z, %b {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [1]} : (tensor<32x64xf32>, tensor<64x64xf32>) -> tensor<32x64xf32>
    %ga = df.dot_general %x, %gy {lhs_batch = [], rhs_batch = [], lhs_contracting = [0], rhs_contracting = [0]} : (tensor<32x64xf32>, tensor<32x64xf32>) -> tensor<64x64xf32>
    %na = df.subtract %a, %ga : tensor<64x64xf32>
    %u0 = df.assign %w0, %na, %t0 : (!df.ref<tensor<64x64xf32>>, tensor<64x64xf32>, !df.control) -> !df.control
    %nb = df.subtract %b, %gb : tensor<64x64xf32>
    %u1 = df.assign %w1, %nb, %t1 : (!df.ref<tensor<64x64xf32>>, tensor<64x64xf32>, !df.control) -> !df.control
    %u2 = df.assign %n, %c1, %t2 : (!df.ref<tensor<f32>>, tensor<f32>, !df.control) -> !df.control
    df.return %loss, %u0, %u1, %u2 : (tensor<f32>, !df.control, !df.control, !df.control) -> ()
  }) : () -> ()
}

// -----
// One variable alone is larger.

builtin.module {
  // CHECK: error: multiply: 65,536 bytes of variables in the host's memory are needed on the device at once and device_memory_limit is 40,000; the largest: variable 'w': 65,536 bytes
  df.func {sym_name = "step", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<16384xf32>):
    %w = df.variable {variable = "w", shape = [16384], dtype = float32, offload = true} : () -> !df.ref<tensor<16384xf32>>
    %b = df.variable {variable = "b", shape = [16384], dtype = float32} : () -> !df.ref<tensor<16384xf32>>
    %0, %t0 = df.read %w : (!df.ref<tensor<16384xf32>>) -> (tensor<16384xf32>, !df.control)
    %1, %t1 = df.read %b : (!df.ref<tensor<16384xf32>>) -> (tensor<16384xf32>, !df.control)
    %2 = df.multiply %0, %x : tensor<16384xf32>
    %3 = df.add %2, %1 : tensor<16384xf32>
    %u0 = df.assign_sub %w, %3, %t0 : (!df.ref<tensor<16384xf32>>, tensor<16384xf32>, !df.control) -> !df.control
    %u1 = df.assign_add %b, %2, %t1 : (!df.ref<tensor<16384xf32>>, tensor<16384xf32>, !df.control) -> !df.control
    df.return %3, %u0, %u1 : (tensor<16384xf32>, !df.control, !df.control) -> ()
  }) : () -> ()
}
