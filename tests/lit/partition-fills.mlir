// RUN: dfc opt %s -p partition --no-locations
// What each device has for itself.

builtin.module {
  // Zeros that two devices use, each has for itself: neither waits for the other.
  // CHECK:      df.func {sym_name = "zeros@/job:a/replica:0/task:0/device:CPU:0", arg_names = ["x"], result_names = ["a"], part_inputs = [0], part_results = [0], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
  // CHECK-NEXT: ^bb0(%x: tensor<2xf32>):
  // CHECK-NEXT:   %c = df.constant {value = float32[] 0.0, assigned = "/job:a/replica:0/task:0/device:CPU:0"} : () -> tensor<f32>
  // CHECK-NEXT:   %z = df.broadcast_in_dim %c {shape = [2], dims = [], assigned = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<f32>) -> tensor<2xf32>
  // CHECK-NEXT:   %a = df.add %x, %z {assigned = "/job:a/replica:0/task:0/device:CPU:0"} : tensor<2xf32>
  // CHECK-NEXT:   df.return %a : (tensor<2xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  // CHECK-NEXT: df.func {sym_name = "zeros@/job:a/replica:0/task:0/device:CPU:1", arg_names = ["y"], result_names = ["b"], part_inputs = [1], part_results = [1], assigned = "/job:a/replica:0/task:0/device:CPU:1"} ({
  // CHECK-NEXT: ^bb0(%y: tensor<2xf32>):
  // CHECK-NEXT:   %c = df.constant {value = float32[] 0.0, assigned = "/job:a/replica:0/task:0/device:CPU:0"} : () -> tensor<f32>
  // CHECK-NEXT:   %z = df.broadcast_in_dim %c {shape = [2], dims = [], assigned = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<f32>) -> tensor<2xf32>
  // CHECK-NEXT:   %b = df.add %y, %z {assigned = "/job:a/replica:0/task:0/device:CPU:1"} : tensor<2xf32>
  // CHECK-NEXT:   df.return %b : (tensor<2xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "zeros", arg_names = ["x", "y"], result_names = ["a", "b"]} ({
  ^bb0(%x: tensor<2xf32>, %y: tensor<2xf32>):
    %c = df.constant {value = float32[] 0.0, assigned = "/job:a/replica:0/task:0/device:CPU:0"} : () -> tensor<f32>
    %z = df.broadcast_in_dim %c {shape = [2], dims = [], assigned = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<f32>) -> tensor<2xf32>
    %a = df.add %x, %z {assigned = "/job:a/replica:0/task:0/device:CPU:0"} : tensor<2xf32>
    %b = df.add %y, %z {assigned = "/job:a/replica:0/task:0/device:CPU:1"} : tensor<2xf32>
    df.return %a, %b : (tensor<2xf32>, tensor<2xf32>) -> ()
  }) : () -> ()
}
