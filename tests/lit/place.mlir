// RUN: dfc opt %s -p 'place{devices=/job:a/replica:0/task:0/device:CPU:0,/job:a/replica:0/task:0/device:CPU:1}' --no-locations
// Where something asks for another device than the first, every op says where it is.

builtin.module {
  // A variable is where it was asked to be, and what uses its handle is there too; so are constants for it.
  // CHECK:      df.func {sym_name = "asked", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>):
  // CHECK-NEXT:   %v = df.variable {variable = "v", shape = [], dtype = float32, device = "/device:CPU:1", assigned = "/job:a/replica:0/task:0/device:CPU:1"} : () -> !df.ref<tensor<f32>>
  // CHECK-NEXT:   %c = df.constant {value = float32[] 2.0, assigned = "/job:a/replica:0/task:0/device:CPU:1"} : () -> tensor<f32>
  // CHECK-NEXT:   %t = df.assign_add %v, %c {assigned = "/job:a/replica:0/task:0/device:CPU:1"} : (!df.ref<tensor<f32>>, tensor<f32>) -> !df.control
  // CHECK-NEXT:   %y = df.tanh %x {assigned = "/job:a/replica:0/task:0/device:CPU:0"} : tensor<f32>
  // CHECK-NEXT:   df.return %y, %t : (tensor<f32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "asked", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<f32>):
    %v = df.variable {variable = "v", shape = [], dtype = float32, device = "/device:CPU:1"} : () -> !df.ref<tensor<f32>>
    %c = df.constant {value = float32[] 2.0} : () -> tensor<f32>
    %t = df.assign_add %v, %c : (!df.ref<tensor<f32>>, tensor<f32>) -> !df.control
    %y = df.tanh %x : tensor<f32>
    df.return %y, %t : (tensor<f32>, !df.control) -> ()
  }) : () -> ()

  // Where nothing asks, nothing is said: all is on the first device.
  // CHECK:        %y = df.tanh %x : tensor<f32>
  df.func {sym_name = "free", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<f32>):
    %y = df.tanh %x : tensor<f32>
    df.return %y : (tensor<f32>) -> ()
  }) : () -> ()
}
