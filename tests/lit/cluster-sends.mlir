// RUN: dfc opt %s -p cluster --no-locations
// Work of a device beside what it sends to others and receives of them.

builtin.module {
  // The product of x is large; what is sent does not need it, and is in an island that comes first.
  // CHECK:      df.func {sym_name = "apart", arg_names = ["x", "y"], result_names = ["z"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<512x512xf32>, %y: tensor<f32>):
  // CHECK-NEXT:   %a, %0 = df.island %y {n_inputs = 1, n_refs = 0, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%y_1: tensor<f32>):
  // CHECK-NEXT:     %a_1 = df.tanh %y_1 : tensor<f32>
  // CHECK-NEXT:     df.yield %a_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   df.send %a {tensor = "a", source = "/job:a/replica:0/task:0/device:CPU:0", target = "/job:a/replica:0/task:0/device:CPU:1"} : (tensor<f32>) -> ()
  // CHECK-NEXT:   %z, %1 = df.island %x {n_inputs = 1, n_refs = 0, written = [], results = [tensor<512x512xf32>]} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<512x512xf32>):
  // CHECK-NEXT:     %p = df.dot_general %x_1, %x_1 {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : tensor<512x512xf32>
  // CHECK-NEXT:     %z_1 = df.tanh %p : tensor<512x512xf32>
  // CHECK-NEXT:     df.yield %z_1 : (tensor<512x512xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<512x512xf32>) -> (tensor<512x512xf32>, !df.control)
  // CHECK-NEXT:   df.return %z : (tensor<512x512xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "apart", arg_names = ["x", "y"], result_names = ["z"]} ({
  ^bb0(%x: tensor<512x512xf32>, %y: tensor<f32>):
    %p = df.dot_general %x, %x {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : (tensor<512x512xf32>, tensor<512x512xf32>) -> tensor<512x512xf32>
    %a = df.tanh %y : tensor<f32>
    df.send %a {tensor = "a", source = "/job:a/replica:0/task:0/device:CPU:0", target = "/job:a/replica:0/task:0/device:CPU:1"} : (tensor<f32>) -> ()
    %z = df.tanh %p : tensor<512x512xf32>
    df.return %z : (tensor<512x512xf32>) -> ()
  }) : () -> ()

  // Little work is no reason for another program.
  // CHECK:      df.func {sym_name = "together", arg_names = ["x", "y"], result_names = ["z"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<2x2xf32>, %y: tensor<f32>):
  // CHECK-NEXT:   %a, %p, %0 = df.island %x, %y {n_inputs = 2, n_refs = 0, written = [], results = [tensor<f32>, tensor<2x2xf32>]} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<2x2xf32>, %y_1: tensor<f32>):
  // CHECK-NEXT:     %p_1 = df.dot_general %x_1, %x_1 {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : tensor<2x2xf32>
  // CHECK-NEXT:     %a_1 = df.tanh %y_1 : tensor<f32>
  // CHECK-NEXT:     df.yield %a_1, %p_1 : (tensor<f32>, tensor<2x2xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<2x2xf32>, tensor<f32>) -> (tensor<f32>, tensor<2x2xf32>, !df.control)
  // CHECK-NEXT:   df.send %a {tensor = "a", source = "/job:a/replica:0/task:0/device:CPU:0", target = "/job:a/replica:0/task:0/device:CPU:1"} : (tensor<f32>) -> ()
  // CHECK-NEXT:   df.return %p : (tensor<2x2xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "together", arg_names = ["x", "y"], result_names = ["z"]} ({
  ^bb0(%x: tensor<2x2xf32>, %y: tensor<f32>):
    %p = df.dot_general %x, %x {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
    %a = df.tanh %y : tensor<f32>
    df.send %a {tensor = "a", source = "/job:a/replica:0/task:0/device:CPU:0", target = "/job:a/replica:0/task:0/device:CPU:1"} : (tensor<f32>) -> ()
    df.return %p : (tensor<2x2xf32>) -> ()
  }) : () -> ()

  // Work on a variable is done before what is received has come, though it is used after that; a negation waits, and so
  // does the reading of what only it needs.
  // CHECK:      df.func {sym_name = "ahead", arg_names = ["x"], result_names = ["z", "n"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<2x2xf32>):
  // CHECK-NEXT:   %v = df.variable {variable = "v", shape = [2, 2], dtype = float32} : () -> !df.ref<tensor<2x2xf32>>
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [2, 2], dtype = float32} : () -> !df.ref<tensor<2x2xf32>>
  // CHECK-NEXT:   %p, %0 = df.island %x, %v {n_inputs = 1, n_refs = 1, written = [], results = [tensor<2x2xf32>]} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<2x2xf32>, %v_1: tensor<2x2xf32>):
  // CHECK-NEXT:     %p_1 = df.dot_general %x_1, %v_1 {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : tensor<2x2xf32>
  // CHECK-NEXT:     df.yield %p_1 : (tensor<2x2xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<2x2xf32>, !df.ref<tensor<2x2xf32>>) -> (tensor<2x2xf32>, !df.control)
  // CHECK-NEXT:   %a = df.recv {result = [tensor<2x2xf32>], tensor = "a", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<2x2xf32>
  // CHECK-NEXT:   %z, %n, %1 = df.island %a, %p, %w {n_inputs = 2, n_refs = 1, written = [], results = [tensor<2x2xf32>, tensor<2x2xf32>]} ({
  // CHECK-NEXT:   ^bb0(%a_1: tensor<2x2xf32>, %p_2: tensor<2x2xf32>, %w_1: tensor<2x2xf32>):
  // CHECK-NEXT:     %m = df.negate %w_1 : tensor<2x2xf32>
  // CHECK-NEXT:     %z_1 = df.add %a_1, %p_2 : tensor<2x2xf32>
  // CHECK-NEXT:     %n_1 = df.add %a_1, %m : tensor<2x2xf32>
  // CHECK-NEXT:     df.yield %z_1, %n_1 : (tensor<2x2xf32>, tensor<2x2xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<2x2xf32>, tensor<2x2xf32>, !df.ref<tensor<2x2xf32>>) -> (tensor<2x2xf32>, tensor<2x2xf32>, !df.control)
  // CHECK-NEXT:   df.return %z, %n : (tensor<2x2xf32>, tensor<2x2xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "ahead", arg_names = ["x"], result_names = ["z", "n"]} ({
  ^bb0(%x: tensor<2x2xf32>):
    %v = df.variable {variable = "v", shape = [2, 2], dtype = float32} : () -> !df.ref<tensor<2x2xf32>>
    %w = df.variable {variable = "w", shape = [2, 2], dtype = float32} : () -> !df.ref<tensor<2x2xf32>>
    %r, %t = df.read %v : (!df.ref<tensor<2x2xf32>>) -> (tensor<2x2xf32>, !df.control)
    %s, %u = df.read %w : (!df.ref<tensor<2x2xf32>>) -> (tensor<2x2xf32>, !df.control)
    %p = df.dot_general %x, %r {lhs_batch = [], rhs_batch = [], lhs_contracting = [1], rhs_contracting = [0]} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
    %m = df.negate %s : tensor<2x2xf32>
    %a = df.recv {result = [tensor<2x2xf32>], tensor = "a", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<2x2xf32>
    %z = df.add %a, %p : tensor<2x2xf32>
    %n = df.add %a, %m : tensor<2x2xf32>
    df.return %z, %n : (tensor<2x2xf32>, tensor<2x2xf32>) -> ()
  }) : () -> ()
}
