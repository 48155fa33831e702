// RUN: dfc opt %s -p partition --no-locations
// One function a device. A value goes to a device once, for however many users; a token goes as an empty tensor.

builtin.module {
  // CHECK:      df.func {sym_name = "split@/job:a/replica:0/task:0/device:CPU:0", arg_names = ["x"], result_names = ["z"], part_inputs = [0], part_results = [1], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>):
  // CHECK-NEXT:   %a = df.tanh %x {assigned = "/job:a/replica:0/task:0/device:CPU:0"} : tensor<f32>
  // CHECK-NEXT:   df.send %a {tensor = "edge_0_tanh", source = "/job:a/replica:0/task:0/device:CPU:0", target = "/job:a/replica:0/task:0/device:CPU:1"} : (tensor<f32>) -> ()
  // CHECK-NEXT:   %0 = df.recv {result = [tensor<0xf32>], tensor = "edge_1_group", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "2"} : () -> tensor<0xf32>
  // CHECK-NEXT:   %t = df.group %0 : (tensor<0xf32>) -> !df.control
  // CHECK-NEXT:   %z = df.after %a, %t {assigned = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<f32>, !df.control) -> tensor<f32>
  // CHECK-NEXT:   df.return %z : (tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  // CHECK-NEXT: df.func {sym_name = "split@/job:a/replica:0/task:0/device:CPU:1", arg_names = [], result_names = ["y"], part_inputs = [], part_results = [0], assigned = "/job:a/replica:0/task:0/device:CPU:1"} ({
  // CHECK-NEXT:   %a = df.recv {result = [tensor<f32>], tensor = "edge_0_tanh", source = "/job:a/replica:0/task:0/device:CPU:0", target = "/job:a/replica:0/task:0/device:CPU:1", level = "1"} : () -> tensor<f32>
  // CHECK-NEXT:   %c = df.constant {value = float32[] 2.0} : () -> tensor<f32>
  // CHECK-NEXT:   %b = df.add %a, %c {assigned = "/job:a/replica:0/task:0/device:CPU:1"} : tensor<f32>
  // CHECK-NEXT:   %y = df.multiply %a, %b {assigned = "/job:a/replica:0/task:0/device:CPU:1"} : tensor<f32>
  // CHECK-NEXT:   %t = df.group %y {assigned = "/job:a/replica:0/task:0/device:CPU:1"} : (tensor<f32>) -> !df.control
  // CHECK-NEXT:   %0 = df.constant {value = float32[0] []} : () -> tensor<0xf32>
  // CHECK-NEXT:   %1 = df.after %0, %t : (tensor<0xf32>, !df.control) -> tensor<0xf32>
  // CHECK-NEXT:   df.send %1 {tensor = "edge_1_group", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<0xf32>) -> ()
  // CHECK-NEXT:   df.return %y : (tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  // CHECK-NEXT: df.func {sym_name = "whole", arg_names = ["x"], result_names = ["y"], assigned = "/job:a/replica:0/task:0/device:CPU:1"} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>):
  // CHECK-NEXT:   %y = df.tanh %x {assigned = "/job:a/replica:0/task:0/device:CPU:1"} : tensor<f32>
  // CHECK-NEXT:   df.return %y : (tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "split", arg_names = ["x"], result_names = ["y", "z"]} ({
  ^bb0(%x: tensor<f32>):
    %a = df.tanh %x {assigned = "/job:a/replica:0/task:0/device:CPU:0"} : tensor<f32>
    %c = df.constant {value = float32[] 2.0} : () -> tensor<f32>
    %b = df.add %a, %c {assigned = "/job:a/replica:0/task:0/device:CPU:1"} : tensor<f32>
    %y = df.multiply %a, %b {assigned = "/job:a/replica:0/task:0/device:CPU:1"} : tensor<f32>
    %t = df.group %y {assigned = "/job:a/replica:0/task:0/device:CPU:1"} : (tensor<f32>) -> !df.control
    %z = df.after %a, %t {assigned = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<f32>, !df.control) -> tensor<f32>
    df.return %y, %z : (tensor<f32>, tensor<f32>) -> ()
  }) : () -> ()

  // What is on one device stays one function, which says where.
  df.func {sym_name = "whole", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<f32>):
    %y = df.tanh %x {assigned = "/job:a/replica:0/task:0/device:CPU:1"} : tensor<f32>
    df.return %y : (tensor<f32>) -> ()
  }) : () -> ()
}
