// RUN: dfc opt %s -p autodiff --no-locations
// A request for gradients becomes ops like any other.

builtin.module {
  // d tanh(x) / dx = 1 - tanh(x)^2, times what comes in.
  // CHECK:      df.func {sym_name = "tanh", arg_names = ["x", "seed"], result_names = ["g"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>, %seed: tensor<4xf32>):
  // CHECK-NEXT:   %y = df.tanh %x : tensor<4xf32>
  // CHECK-NEXT:   %0 = df.constant {value = float32[] 1.0} : () -> tensor<f32>
  // CHECK-NEXT:   %1 = df.broadcast_in_dim %0 {shape = [4], dims = []} : (tensor<f32>) -> tensor<4xf32>
  // CHECK-NEXT:   %2 = df.multiply %y, %y : tensor<4xf32>
  // CHECK-NEXT:   %3 = df.subtract %1, %2 : tensor<4xf32>
  // CHECK-NEXT:   %g = df.multiply %seed, %3 : tensor<4xf32>
  // CHECK-NEXT:   df.return %g : (tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "tanh", arg_names = ["x", "seed"], result_names = ["g"]} ({
  ^bb0(%x: tensor<4xf32>, %seed: tensor<4xf32>):
    %y = df.tanh %x : tensor<4xf32>
    %g = df.gradients %y, %x, %seed {n_ys = 1, n_xs = 1, kinds = ["dense"]} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    df.return %g : (tensor<4xf32>) -> ()
  }) : () -> ()

  // A variable's gradient is that of its read.
  // CHECK:      df.func {sym_name = "variable", arg_names = ["seed"], result_names = ["g"]} ({
  // CHECK-NEXT: ^bb0(%seed: tensor<4xf32>):
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %v, %t = df.read %w : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
  // CHECK-NEXT:   %y = df.negate %v : tensor<4xf32>
  // CHECK-NEXT:   %g = df.negate %seed : tensor<4xf32>
  // CHECK-NEXT:   df.return %g, %t : (tensor<4xf32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "variable", arg_names = ["seed"], result_names = ["g"]} ({
  ^bb0(%seed: tensor<4xf32>):
    %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %v, %t = df.read %w : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
    %y = df.negate %v : tensor<4xf32>
    %g = df.gradients %y, %w, %seed {n_ys = 1, n_xs = 1, kinds = ["dense"]} : (tensor<4xf32>, !df.ref<tensor<4xf32>>, tensor<4xf32>) -> tensor<4xf32>
    df.return %g, %t : (tensor<4xf32>, !df.control) -> ()
  }) : () -> ()
}
