// RUN: dfc opt %s -p cse --no-locations
// Pure ops that compute the same are one; effects never merge.

builtin.module {
  // Two duplicates, in a chain: the second pair is equal because the first is.
  // CHECK:      df.func {sym_name = "duplicates", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   %a = df.tanh %x : tensor<4xf32>
  // CHECK-NEXT:   %c = df.negate %a : tensor<4xf32>
  // CHECK-NEXT:   %y = df.add %c, %c : tensor<4xf32>
  // CHECK-NEXT:   df.return %y : (tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "duplicates", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<4xf32>):
    %a = df.tanh %x : tensor<4xf32>
    %b = df.tanh %x : tensor<4xf32>
    %c = df.negate %a : tensor<4xf32>
    %d = df.negate %b : tensor<4xf32>
    %y = df.add %c, %d : tensor<4xf32>
    df.return %y : (tensor<4xf32>) -> ()
  }) : () -> ()

  // Other attributes, other ops; the order in which attributes are written doesn't count.
  // CHECK:      df.func {sym_name = "attributes", arg_names = ["x"], result_names = ["a", "b", "c"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4x4xf32>):
  // CHECK-NEXT:   %a = df.reduce_sum %x {axes = [0]} : (tensor<4x4xf32>) -> tensor<4xf32>
  // CHECK-NEXT:   %b = df.reduce_sum %x {axes = [1]} : (tensor<4x4xf32>) -> tensor<4xf32>
  // CHECK-NEXT:   %i = df.iota {shape = [4], dtype = float32, axis = 0} : () -> tensor<4xf32>
  // CHECK-NEXT:   %c = df.add %i, %i : tensor<4xf32>
  // CHECK-NEXT:   df.return %a, %b, %c : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "attributes", arg_names = ["x"], result_names = ["a", "b", "c"]} ({
  ^bb0(%x: tensor<4x4xf32>):
    %a = df.reduce_sum %x {axes = [0]} : (tensor<4x4xf32>) -> tensor<4xf32>
    %b = df.reduce_sum %x {axes = [1]} : (tensor<4x4xf32>) -> tensor<4xf32>
    %i = df.iota {shape = [4], dtype = float32, axis = 0} : () -> tensor<4xf32>
    %j = df.iota {axis = 0, dtype = float32, shape = [4]} : () -> tensor<4xf32>
    %c = df.add %i, %j : tensor<4xf32>
    df.return %a, %b, %c : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> ()
  }) : () -> ()

  // Zeros of either sign are different constants.
  // CHECK:      df.func {sym_name = "zeros", arg_names = [], result_names = ["a", "b"]} ({
  // CHECK-NEXT:   %a = df.constant {value = float32[] 0.0} : () -> tensor<f32>
  // CHECK-NEXT:   %b = df.constant {value = float32[] -0.0} : () -> tensor<f32>
  // CHECK-NEXT:   df.return %a, %b : (tensor<f32>, tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "zeros", arg_names = [], result_names = ["a", "b"]} ({
    %a = df.constant {value = float32[] 0.0} : () -> tensor<f32>
    %b = df.constant {value = float32[] -0.0} : () -> tensor<f32>
    df.return %a, %b : (tensor<f32>, tensor<f32>) -> ()
  }) : () -> ()

  // Handles of one variable merge; two reads don't, even with nothing between them.
  // CHECK:      df.func {sym_name = "reads", arg_names = [], result_names = ["a", "b"]} ({
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %a, %t = df.read %w : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
  // CHECK-NEXT:   %b, %u = df.read %w : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
  // CHECK-NEXT:   df.return %a, %b : (tensor<4xf32>, tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "reads", arg_names = [], result_names = ["a", "b"]} ({
    %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %w_again = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %a, %t = df.read %w : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
    %b, %u = df.read %w_again : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
    df.return %a, %b : (tensor<4xf32>, tensor<4xf32>) -> ()
  }) : () -> ()

  // Equal writes are two writes.
  // CHECK:      df.func {sym_name = "writes", arg_names = ["x"], result_names = []} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %t = df.assign_add %w, %x : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
  // CHECK-NEXT:   %u = df.assign_add %w, %x : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
  // CHECK-NEXT:   df.return %t, %u : (!df.control, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "writes", arg_names = ["x"], result_names = []} ({
  ^bb0(%x: tensor<4xf32>):
    %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %t = df.assign_add %w, %x : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
    %u = df.assign_add %w, %x : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
    df.return %t, %u : (!df.control, !df.control) -> ()
  }) : () -> ()

  // A name survives the merge.
  // CHECK:      df.func {sym_name = "names", arg_names = ["x"], result_names = ["a", "b"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   %a = df.tanh %x {name = "activation"} : tensor<4xf32>
  // CHECK-NEXT:   df.return %a, %a : (tensor<4xf32>, tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "names", arg_names = ["x"], result_names = ["a", "b"]} ({
  ^bb0(%x: tensor<4xf32>):
    %a = df.tanh %x : tensor<4xf32>
    %b = df.tanh %x {name = "activation"} : tensor<4xf32>
    df.return %a, %b : (tensor<4xf32>, tensor<4xf32>) -> ()
  }) : () -> ()

  // While a gradient is asked for, its xs are who they are: d(b)/d(a) is none of d(b)/d(b).
  // CHECK:      df.func {sym_name = "gradients", arg_names = ["x"], result_names = ["g"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>):
  // CHECK-NEXT:   %a = df.tanh %x : tensor<f32>
  // CHECK-NEXT:   %b = df.tanh %x : tensor<f32>
  // CHECK-NEXT:   %g = df.gradients %b, %b {n_ys = 1, n_xs = 1, kinds = ["dense"]} : tensor<f32>
  // CHECK-NEXT:   %sum = df.add %a, %g : tensor<f32>
  // CHECK-NEXT:   df.return %sum : (tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "gradients", arg_names = ["x"], result_names = ["g"]} ({
  ^bb0(%x: tensor<f32>):
    %a = df.tanh %x : tensor<f32>
    %b = df.tanh %x : tensor<f32>
    %g = df.gradients %b, %b {n_ys = 1, n_xs = 1, kinds = ["dense"]} : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %sum = df.add %a, %g : tensor<f32>
    df.return %sum : (tensor<f32>) -> ()
  }) : () -> ()
}
