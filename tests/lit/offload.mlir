// RUN: dfc opt %s -p 'cluster,offload' --no-locations --split-input-file
// What was one island with variables in the host's memory has their values as inputs, and gives new ones back; a
// variable of the device stays a reference.

builtin.module {
  // CHECK:      df.func {sym_name = "step", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [4], dtype = float32, offload = true} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %b = df.variable {variable = "b", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %0, %1 = df.hold %w, %b {written = [0, 1], read = [0, 1], alone = false} : (!df.ref<tensor<4xf32>>, !df.ref<tensor<4xf32>>) -> (!df.resource<"hold">, !df.control)
  // CHECK-NEXT:   %2 = df.fetch %0, %w {on_host = false} : (!df.resource<"hold">, !df.ref<tensor<4xf32>>) -> tensor<4xf32>
  // CHECK-NEXT:   %3, %4, %5 = df.island %2, %x, %b {n_inputs = 2, n_refs = 1, written = [0], results = [tensor<4xf32>, tensor<4xf32>]} ({
  // CHECK-NEXT:   ^bb0(%6: tensor<4xf32>, %x_1: tensor<4xf32>, %b_1: tensor<4xf32>):
  // CHECK-NEXT:     %7 = df.multiply %6, %x_1 : tensor<4xf32>
  // CHECK-NEXT:     %8 = df.add %7, %b_1 : tensor<4xf32>
  // CHECK-NEXT:     %9 = df.subtract %6, %8 : tensor<4xf32>
  // CHECK-NEXT:     %10 = df.add %b_1, %7 : tensor<4xf32>
  // CHECK-NEXT:     df.yield %8, %9, %10 : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<4xf32>, tensor<4xf32>, !df.ref<tensor<4xf32>>) -> (tensor<4xf32>, tensor<4xf32>, !df.control)
  // CHECK-NEXT:   %11 = df.evict %0, %w, %4 {made = true, in_place = [0]} : (!df.resource<"hold">, !df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
  // CHECK-NEXT:   %12 = df.let_go %0, %5, %11 : (!df.resource<"hold">, !df.control, !df.control) -> !df.control
  // CHECK-NEXT:   df.return %3, %12 : (tensor<4xf32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "step", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<4xf32>):
    %w = df.variable {variable = "w", shape = [4], dtype = float32, offload = true} : () -> !df.ref<tensor<4xf32>>
    %b = df.variable {variable = "b", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %0, %t0 = df.read %w : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
    %1, %t1 = df.read %b : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
    %2 = df.multiply %0, %x : tensor<4xf32>
    %3 = df.add %2, %1 : tensor<4xf32>
    %u0 = df.assign_sub %w, %3, %t0 : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> !df.control
    %u1 = df.assign_add %b, %2, %t1 : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> !df.control
    df.return %3, %u0, %u1 : (tensor<4xf32>, !df.control, !df.control) -> ()
  }) : () -> ()
}

// -----
// Values that nothing is computed with or from do not go to the device.

builtin.module {
  // CHECK:      df.func {sym_name = "copies", arg_names = ["x"], result_names = ["w"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   %u = df.variable {variable = "u", shape = [4], dtype = float32, offload = true} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %v = df.variable {variable = "v", shape = [4], dtype = float32, offload = true} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [4], dtype = float32, offload = true} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %0, %1 = df.hold %w, %u, %v {written = [0, 1, 2], read = [0], alone = false} : (!df.ref<tensor<4xf32>>, !df.ref<tensor<4xf32>>, !df.ref<tensor<4xf32>>) -> (!df.resource<"hold">, !df.control)
  // CHECK-NEXT:   %2 = df.constant {value = float32[4] 0.0} : () -> tensor<4xf32>
  // CHECK-NEXT:   %3 = df.fetch %0, %w {on_host = true} : (!df.resource<"hold">, !df.ref<tensor<4xf32>>) -> tensor<4xf32>
  // CHECK-NEXT:   %4 = df.evict %0, %w, %u, %v, %2, %x, %3 {made = false, in_place = []} : (!df.resource<"hold">, !df.ref<tensor<4xf32>>, !df.ref<tensor<4xf32>>, !df.ref<tensor<4xf32>>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> !df.control
  // CHECK-NEXT:   %5 = df.group %3 : (tensor<4xf32>) -> !df.control
  // CHECK-NEXT:   %6 = df.let_go %0, %4, %5 : (!df.resource<"hold">, !df.control, !df.control) -> !df.control
  // CHECK-NEXT:   df.return %3, %6 : (tensor<4xf32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "copies", arg_names = ["x"], result_names = ["w"]} ({
  ^bb0(%x: tensor<4xf32>):
    %u = df.variable {variable = "u", shape = [4], dtype = float32, offload = true} : () -> !df.ref<tensor<4xf32>>
    %v = df.variable {variable = "v", shape = [4], dtype = float32, offload = true} : () -> !df.ref<tensor<4xf32>>
    %w = df.variable {variable = "w", shape = [4], dtype = float32, offload = true} : () -> !df.ref<tensor<4xf32>>
    %zeros = df.constant {value = float32[4] 0.0} : () -> tensor<4xf32>
    %0, %t0 = df.read %w : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
    %t1 = df.assign %u, %x : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
    %t2 = df.assign %v, %0 : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
    %t3 = df.assign %w, %zeros, %t0 : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> !df.control
    df.return %0, %t1, %t2, %t3 : (tensor<4xf32>, !df.control, !df.control, !df.control) -> ()
  }) : () -> ()
}
