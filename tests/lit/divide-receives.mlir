// RUN: dfc opt %s -p divide-receives --no-locations --split-input-file --print-errors
// Large values that are received and used one after the other are taken in turns, where the work between covers the transfers.

builtin.module {
  // Four times 64 MiB, a turn each. The small one is in the first.
  // CHECK:      df.func {sym_name = "chain@/job:a/replica:0/task:0/device:CPU:0", arg_names = ["x"], result_names = ["y"], part_inputs = [0], part_results = [0], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
  // CHECK-NEXT: ^bb0(%x: tensor<16777216xf32>):
  // CHECK-NEXT:   %s = df.recv {result = [tensor<f32>], tensor = "s", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<f32>
  // CHECK-NEXT:   %x2 = df.broadcast_in_dim %s {shape = [16777216], dims = []} : (tensor<f32>) -> tensor<16777216xf32>
  // CHECK-NEXT:   %h0 = df.multiply %x, %x2 : tensor<16777216xf32>
  // CHECK-NEXT:   %w1 = df.recv {result = [tensor<16777216xf32>], tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %m1 = df.multiply %h0, %w1 : tensor<16777216xf32>
  // CHECK-NEXT:   %s1 = df.tanh %m1 : tensor<16777216xf32>
  // CHECK-NEXT:   %t1 = df.tanh %s1 : tensor<16777216xf32>
  // CHECK-NEXT:   %h1 = df.tanh %t1 : tensor<16777216xf32>
  // CHECK-NEXT:   %w2 = df.recv {result = [tensor<16777216xf32>], tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1", turn = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %m2 = df.multiply %h1, %w2 : tensor<16777216xf32>
  // CHECK-NEXT:   %s2 = df.tanh %m2 : tensor<16777216xf32>
  // CHECK-NEXT:   %t2 = df.tanh %s2 : tensor<16777216xf32>
  // CHECK-NEXT:   %h2 = df.tanh %t2 : tensor<16777216xf32>
  // CHECK-NEXT:   %w3 = df.recv {result = [tensor<16777216xf32>], tensor = "w3", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1", turn = "2"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %m3 = df.multiply %h2, %w3 : tensor<16777216xf32>
  // CHECK-NEXT:   %s3 = df.tanh %m3 : tensor<16777216xf32>
  // CHECK-NEXT:   %t3 = df.tanh %s3 : tensor<16777216xf32>
  // CHECK-NEXT:   %h3 = df.tanh %t3 : tensor<16777216xf32>
  // CHECK-NEXT:   %w4 = df.recv {result = [tensor<16777216xf32>], tensor = "w4", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1", turn = "3"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %m4 = df.multiply %h3, %w4 : tensor<16777216xf32>
  // CHECK-NEXT:   %s4 = df.tanh %m4 : tensor<16777216xf32>
  // CHECK-NEXT:   %t4 = df.tanh %s4 : tensor<16777216xf32>
  // CHECK-NEXT:   %h4 = df.tanh %t4 : tensor<16777216xf32>
  // CHECK-NEXT:   df.return %h4 : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "chain@/job:a/replica:0/task:0/device:CPU:0", arg_names = ["x"], result_names = ["y"], part_inputs = [0], part_results = [0], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
  ^bb0(%x: tensor<16777216xf32>):
    %s = df.recv {result = [tensor<f32>], tensor = "s", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<f32>
    %x2 = df.broadcast_in_dim %s {shape = [16777216], dims = []} : (tensor<f32>) -> tensor<16777216xf32>
    %h0 = df.multiply %x, %x2 : tensor<16777216xf32>
    %w1 = df.recv {result = [tensor<16777216xf32>], tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %m1 = df.multiply %h0, %w1 : tensor<16777216xf32>
    %s1 = df.tanh %m1 : tensor<16777216xf32>
    %t1 = df.tanh %s1 : tensor<16777216xf32>
    %h1 = df.tanh %t1 : tensor<16777216xf32>
    %w2 = df.recv {result = [tensor<16777216xf32>], tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %m2 = df.multiply %h1, %w2 : tensor<16777216xf32>
    %s2 = df.tanh %m2 : tensor<16777216xf32>
    %t2 = df.tanh %s2 : tensor<16777216xf32>
    %h2 = df.tanh %t2 : tensor<16777216xf32>
    %w3 = df.recv {result = [tensor<16777216xf32>], tensor = "w3", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %m3 = df.multiply %h2, %w3 : tensor<16777216xf32>
    %s3 = df.tanh %m3 : tensor<16777216xf32>
    %t3 = df.tanh %s3 : tensor<16777216xf32>
    %h3 = df.tanh %t3 : tensor<16777216xf32>
    %w4 = df.recv {result = [tensor<16777216xf32>], tensor = "w4", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %m4 = df.multiply %h3, %w4 : tensor<16777216xf32>
    %s4 = df.tanh %m4 : tensor<16777216xf32>
    %t4 = df.tanh %s4 : tensor<16777216xf32>
    %h4 = df.tanh %t4 : tensor<16777216xf32>
    df.return %h4 : (tensor<16777216xf32>) -> ()
  }) : () -> ()

  // What is used at once gains nothing, and neither does what is kept until the end.
  // CHECK:      df.func {sym_name = "at_once@/job:a/replica:0/task:0/device:CPU:0", arg_names = [], result_names = ["y"], part_inputs = [], part_results = [0], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
  // CHECK-NEXT:   %w1 = df.recv {result = [tensor<16777216xf32>], tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %w2 = df.recv {result = [tensor<16777216xf32>], tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %w3 = df.recv {result = [tensor<16777216xf32>], tensor = "w3", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %w4 = df.recv {result = [tensor<16777216xf32>], tensor = "w4", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %y = df.concatenate %w1, %w2, %w3, %w4 {axis = 0} : (tensor<16777216xf32>, tensor<16777216xf32>, tensor<16777216xf32>, tensor<16777216xf32>) -> tensor<67108864xf32>
  // CHECK-NEXT:   df.return %y : (tensor<67108864xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "at_once@/job:a/replica:0/task:0/device:CPU:0", arg_names = [], result_names = ["y"], part_inputs = [], part_results = [0], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
    %w1 = df.recv {result = [tensor<16777216xf32>], tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %w2 = df.recv {result = [tensor<16777216xf32>], tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %w3 = df.recv {result = [tensor<16777216xf32>], tensor = "w3", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %w4 = df.recv {result = [tensor<16777216xf32>], tensor = "w4", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %y = df.concatenate %w1, %w2, %w3, %w4 {axis = 0} : (tensor<16777216xf32>, tensor<16777216xf32>, tensor<16777216xf32>, tensor<16777216xf32>) -> tensor<67108864xf32>
    df.return %y : (tensor<67108864xf32>) -> ()
  }) : () -> ()
  // CHECK:      df.func {sym_name = "kept@/job:a/replica:0/task:0/device:CPU:0", arg_names = ["x"], result_names = ["y"], part_inputs = [0], part_results = [0], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
  // CHECK-NEXT: ^bb0(%x: tensor<16777216xf32>):
  // CHECK-NEXT:   %w1 = df.recv {result = [tensor<16777216xf32>], tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %m1 = df.multiply %x, %w1 : tensor<16777216xf32>
  // CHECK-NEXT:   %s1 = df.tanh %m1 : tensor<16777216xf32>
  // CHECK-NEXT:   %t1 = df.tanh %s1 : tensor<16777216xf32>
  // CHECK-NEXT:   %h1 = df.tanh %t1 : tensor<16777216xf32>
  // CHECK-NEXT:   %w2 = df.recv {result = [tensor<16777216xf32>], tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %m2 = df.multiply %h1, %w2 : tensor<16777216xf32>
  // CHECK-NEXT:   %s2 = df.tanh %m2 : tensor<16777216xf32>
  // CHECK-NEXT:   %t2 = df.tanh %s2 : tensor<16777216xf32>
  // CHECK-NEXT:   %h2 = df.tanh %t2 : tensor<16777216xf32>
  // CHECK-NEXT:   %w3 = df.recv {result = [tensor<16777216xf32>], tensor = "w3", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %m3 = df.multiply %h2, %w3 : tensor<16777216xf32>
  // CHECK-NEXT:   %s3 = df.tanh %m3 : tensor<16777216xf32>
  // CHECK-NEXT:   %t3 = df.tanh %s3 : tensor<16777216xf32>
  // CHECK-NEXT:   %h3 = df.tanh %t3 : tensor<16777216xf32>
  // CHECK-NEXT:   %w4 = df.recv {result = [tensor<16777216xf32>], tensor = "w4", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %m4 = df.multiply %h3, %w4 : tensor<16777216xf32>
  // CHECK-NEXT:   %s4 = df.tanh %m4 : tensor<16777216xf32>
  // CHECK-NEXT:   %t4 = df.tanh %s4 : tensor<16777216xf32>
  // CHECK-NEXT:   %h4 = df.tanh %t4 : tensor<16777216xf32>
  // CHECK-NEXT:   %g4 = df.multiply %h4, %w4 : tensor<16777216xf32>
  // CHECK-NEXT:   %g3 = df.multiply %g4, %w3 : tensor<16777216xf32>
  // CHECK-NEXT:   %g2 = df.multiply %g3, %w2 : tensor<16777216xf32>
  // CHECK-NEXT:   %g1 = df.multiply %g2, %w1 : tensor<16777216xf32>
  // CHECK-NEXT:   df.return %g1 : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "kept@/job:a/replica:0/task:0/device:CPU:0", arg_names = ["x"], result_names = ["y"], part_inputs = [0], part_results = [0], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
  ^bb0(%x: tensor<16777216xf32>):
    %w1 = df.recv {result = [tensor<16777216xf32>], tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %m1 = df.multiply %x, %w1 : tensor<16777216xf32>
    %s1 = df.tanh %m1 : tensor<16777216xf32>
    %t1 = df.tanh %s1 : tensor<16777216xf32>
    %h1 = df.tanh %t1 : tensor<16777216xf32>
    %w2 = df.recv {result = [tensor<16777216xf32>], tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %m2 = df.multiply %h1, %w2 : tensor<16777216xf32>
    %s2 = df.tanh %m2 : tensor<16777216xf32>
    %t2 = df.tanh %s2 : tensor<16777216xf32>
    %h2 = df.tanh %t2 : tensor<16777216xf32>
    %w3 = df.recv {result = [tensor<16777216xf32>], tensor = "w3", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %m3 = df.multiply %h2, %w3 : tensor<16777216xf32>
    %s3 = df.tanh %m3 : tensor<16777216xf32>
    %t3 = df.tanh %s3 : tensor<16777216xf32>
    %h3 = df.tanh %t3 : tensor<16777216xf32>
    %w4 = df.recv {result = [tensor<16777216xf32>], tensor = "w4", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %m4 = df.multiply %h3, %w4 : tensor<16777216xf32>
    %s4 = df.tanh %m4 : tensor<16777216xf32>
    %t4 = df.tanh %s4 : tensor<16777216xf32>
    %h4 = df.tanh %t4 : tensor<16777216xf32>
    %g4 = df.multiply %h4, %w4 : tensor<16777216xf32>
    %g3 = df.multiply %g4, %w3 : tensor<16777216xf32>
    %g2 = df.multiply %g3, %w2 : tensor<16777216xf32>
    %g1 = df.multiply %g2, %w1 : tensor<16777216xf32>
    df.return %g1 : (tensor<16777216xf32>) -> ()
  }) : () -> ()

  // Too little work to cover the transfers.
  // CHECK:      df.func {sym_name = "quick@/job:a/replica:0/task:0/device:CPU:0", arg_names = ["x"], result_names = ["y"], part_inputs = [0], part_results = [0], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
  // CHECK-NEXT: ^bb0(%x: tensor<16777216xf32>):
  // CHECK-NEXT:   %w1 = df.recv {result = [tensor<16777216xf32>], tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %h1 = df.slice %w1 {starts = [0], limits = [4], strides = [1]} : (tensor<16777216xf32>) -> tensor<4xf32>
  // CHECK-NEXT:   %w2 = df.recv {result = [tensor<16777216xf32>], tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %h2 = df.slice %w2 {starts = [0], limits = [4], strides = [1]} : (tensor<16777216xf32>) -> tensor<4xf32>
  // CHECK-NEXT:   %w3 = df.recv {result = [tensor<16777216xf32>], tensor = "w3", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %h3 = df.slice %w3 {starts = [0], limits = [4], strides = [1]} : (tensor<16777216xf32>) -> tensor<4xf32>
  // CHECK-NEXT:   %w4 = df.recv {result = [tensor<16777216xf32>], tensor = "w4", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %h4 = df.slice %w4 {starts = [0], limits = [4], strides = [1]} : (tensor<16777216xf32>) -> tensor<4xf32>
  // CHECK-NEXT:   %y = df.concatenate %h1, %h2, %h3, %h4 {axis = 0} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<16xf32>
  // CHECK-NEXT:   df.return %y : (tensor<16xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "quick@/job:a/replica:0/task:0/device:CPU:0", arg_names = ["x"], result_names = ["y"], part_inputs = [0], part_results = [0], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
  ^bb0(%x: tensor<16777216xf32>):
    %w1 = df.recv {result = [tensor<16777216xf32>], tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %h1 = df.slice %w1 {starts = [0], limits = [4], strides = [1]} : (tensor<16777216xf32>) -> tensor<4xf32>
    %w2 = df.recv {result = [tensor<16777216xf32>], tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %h2 = df.slice %w2 {starts = [0], limits = [4], strides = [1]} : (tensor<16777216xf32>) -> tensor<4xf32>
    %w3 = df.recv {result = [tensor<16777216xf32>], tensor = "w3", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %h3 = df.slice %w3 {starts = [0], limits = [4], strides = [1]} : (tensor<16777216xf32>) -> tensor<4xf32>
    %w4 = df.recv {result = [tensor<16777216xf32>], tensor = "w4", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %h4 = df.slice %w4 {starts = [0], limits = [4], strides = [1]} : (tensor<16777216xf32>) -> tensor<4xf32>
    %y = df.concatenate %h1, %h2, %h3, %h4 {axis = 0} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<16xf32>
    df.return %y : (tensor<16xf32>) -> ()
  }) : () -> ()
}
