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
}
