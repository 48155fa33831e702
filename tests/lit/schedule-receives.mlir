// RUN: dfc opt %s -p schedule-receives --no-locations
// A large value is received when the island that is two before its first user has been computed.

builtin.module {
  // The first two are needed soon, the small one takes no room. What keeps the third and the fourth up is a token.
  // CHECK:      df.func {sym_name = "chain@/job:a/replica:0/task:0/device:CPU:0", arg_names = ["x"], result_names = ["y"], part_inputs = [0], part_results = [0], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
  // CHECK-NEXT: ^bb0(%x: tensor<16777216xf32>):
  // CHECK-NEXT:   %w1 = df.recv {result = [tensor<16777216xf32>], tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %w2 = df.recv {result = [tensor<16777216xf32>], tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %s = df.recv {result = [tensor<f32>], tensor = "s", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<f32>
  // CHECK-NEXT:   %h1, %t_h1 = df.island %x, %w1 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
  // CHECK-NEXT:   ^bb0(%a: tensor<16777216xf32>, %b: tensor<16777216xf32>):
  // CHECK-NEXT:     %m = df.multiply %a, %b : tensor<16777216xf32>
  // CHECK-NEXT:     %n = df.tanh %m : tensor<16777216xf32>
  // CHECK-NEXT:     %r = df.tanh %n : tensor<16777216xf32>
  // CHECK-NEXT:     %o = df.tanh %r : tensor<16777216xf32>
  // CHECK-NEXT:     df.yield %o : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
  // CHECK-NEXT:   %0 = df.computed %h1 : (tensor<16777216xf32>) -> !df.control
  // CHECK-NEXT:   %h2, %t_h2 = df.island %h1, %w2 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
  // CHECK-NEXT:   ^bb0(%a_1: tensor<16777216xf32>, %b_1: tensor<16777216xf32>):
  // CHECK-NEXT:     %m_1 = df.multiply %a_1, %b_1 : tensor<16777216xf32>
  // CHECK-NEXT:     %n_1 = df.tanh %m_1 : tensor<16777216xf32>
  // CHECK-NEXT:     %r_1 = df.tanh %n_1 : tensor<16777216xf32>
  // CHECK-NEXT:     %o_1 = df.tanh %r_1 : tensor<16777216xf32>
  // CHECK-NEXT:     df.yield %o_1 : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
  // CHECK-NEXT:   %1 = df.computed %h2 : (tensor<16777216xf32>) -> !df.control
  // CHECK-NEXT:   %w3 = df.recv %0 {result = [tensor<16777216xf32>], tensor = "w3", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : (!df.control) -> tensor<16777216xf32>
  // CHECK-NEXT:   %h3, %t_h3 = df.island %h2, %w3 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
  // CHECK-NEXT:   ^bb0(%a_2: tensor<16777216xf32>, %b_2: tensor<16777216xf32>):
  // CHECK-NEXT:     %m_2 = df.multiply %a_2, %b_2 : tensor<16777216xf32>
  // CHECK-NEXT:     %n_2 = df.tanh %m_2 : tensor<16777216xf32>
  // CHECK-NEXT:     %r_2 = df.tanh %n_2 : tensor<16777216xf32>
  // CHECK-NEXT:     %o_2 = df.tanh %r_2 : tensor<16777216xf32>
  // CHECK-NEXT:     df.yield %o_2 : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
  // CHECK-NEXT:   %w4 = df.recv %1 {result = [tensor<16777216xf32>], tensor = "w4", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : (!df.control) -> tensor<16777216xf32>
  // CHECK-NEXT:   %h4, %t_h4 = df.island %h3, %w4 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
  // CHECK-NEXT:   ^bb0(%a_3: tensor<16777216xf32>, %b_3: tensor<16777216xf32>):
  // CHECK-NEXT:     %m_3 = df.multiply %a_3, %b_3 : tensor<16777216xf32>
  // CHECK-NEXT:     %n_3 = df.tanh %m_3 : tensor<16777216xf32>
  // CHECK-NEXT:     %r_3 = df.tanh %n_3 : tensor<16777216xf32>
  // CHECK-NEXT:     %o_3 = df.tanh %r_3 : tensor<16777216xf32>
  // CHECK-NEXT:     df.yield %o_3 : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
  // CHECK-NEXT:   df.return %h4 : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  // CHECK-NEXT: df.func {sym_name = "chain@/job:a/replica:0/task:0/device:CPU:1", arg_names = ["w1", "w2", "w3", "w4", "s"], result_names = [], part_inputs = [1, 2, 3, 4, 5], part_results = [], assigned = "/job:a/replica:0/task:0/device:CPU:1"} ({
  // CHECK-NEXT: ^bb0(%w1: tensor<16777216xf32>, %w2: tensor<16777216xf32>, %w3: tensor<16777216xf32>, %w4: tensor<16777216xf32>, %s: tensor<f32>):
  // CHECK-NEXT:   df.send %w1 {tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT:   df.send %w2 {tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT:   df.send %w3 {tensor = "w3", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT:   df.send %w4 {tensor = "w4", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT:   df.send %s {tensor = "s", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<f32>) -> ()
  // CHECK-NEXT:   df.return : () -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "chain@/job:a/replica:0/task:0/device:CPU:0", arg_names = ["x"], result_names = ["y"], part_inputs = [0], part_results = [0], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
  ^bb0(%x: tensor<16777216xf32>):
    %w1 = df.recv {result = [tensor<16777216xf32>], tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %w2 = df.recv {result = [tensor<16777216xf32>], tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %w3 = df.recv {result = [tensor<16777216xf32>], tensor = "w3", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %w4 = df.recv {result = [tensor<16777216xf32>], tensor = "w4", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %s = df.recv {result = [tensor<f32>], tensor = "s", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<f32>
    %h1, %t_h1 = df.island %x, %w1 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
    ^bb0(%a: tensor<16777216xf32>, %b: tensor<16777216xf32>):
      %m = df.multiply %a, %b : tensor<16777216xf32>
      %n = df.tanh %m : tensor<16777216xf32>
      %r = df.tanh %n : tensor<16777216xf32>
      %o = df.tanh %r : tensor<16777216xf32>
      df.yield %o : (tensor<16777216xf32>) -> ()
    }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
    %h2, %t_h2 = df.island %h1, %w2 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
    ^bb0(%a: tensor<16777216xf32>, %b: tensor<16777216xf32>):
      %m = df.multiply %a, %b : tensor<16777216xf32>
      %n = df.tanh %m : tensor<16777216xf32>
      %r = df.tanh %n : tensor<16777216xf32>
      %o = df.tanh %r : tensor<16777216xf32>
      df.yield %o : (tensor<16777216xf32>) -> ()
    }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
    %h3, %t_h3 = df.island %h2, %w3 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
    ^bb0(%a: tensor<16777216xf32>, %b: tensor<16777216xf32>):
      %m = df.multiply %a, %b : tensor<16777216xf32>
      %n = df.tanh %m : tensor<16777216xf32>
      %r = df.tanh %n : tensor<16777216xf32>
      %o = df.tanh %r : tensor<16777216xf32>
      df.yield %o : (tensor<16777216xf32>) -> ()
    }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
    %h4, %t_h4 = df.island %h3, %w4 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
    ^bb0(%a: tensor<16777216xf32>, %b: tensor<16777216xf32>):
      %m = df.multiply %a, %b : tensor<16777216xf32>
      %n = df.tanh %m : tensor<16777216xf32>
      %r = df.tanh %n : tensor<16777216xf32>
      %o = df.tanh %r : tensor<16777216xf32>
      df.yield %o : (tensor<16777216xf32>) -> ()
    }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
    df.return %h4 : (tensor<16777216xf32>) -> ()
  }) : () -> ()
  df.func {sym_name = "chain@/job:a/replica:0/task:0/device:CPU:1", arg_names = ["w1", "w2", "w3", "w4", "s"], result_names = [], part_inputs = [1, 2, 3, 4, 5], part_results = [], assigned = "/job:a/replica:0/task:0/device:CPU:1"} ({
  ^bb0(%w1: tensor<16777216xf32>, %w2: tensor<16777216xf32>, %w3: tensor<16777216xf32>, %w4: tensor<16777216xf32>, %s: tensor<f32>):
    df.send %w1 {tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<16777216xf32>) -> ()
    df.send %w2 {tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<16777216xf32>) -> ()
    df.send %w3 {tensor = "w3", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<16777216xf32>) -> ()
    df.send %w4 {tensor = "w4", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<16777216xf32>) -> ()
    df.send %s {tensor = "s", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<f32>) -> ()
    df.return : () -> ()
  }) : () -> ()

  // The islands before wait for a queue, which the user does not: what is put in may hang on it.
  // CHECK:      df.func {sym_name = "queue@/job:a/replica:0/task:0/device:CPU:0", arg_names = [], result_names = ["h2", "g"], part_inputs = [], part_results = [0, 1], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
  // CHECK-NEXT:   %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %w1 = df.recv {result = [tensor<16777216xf32>], tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %w2 = df.recv {result = [tensor<16777216xf32>], tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
  // CHECK-NEXT:   %x, %t_x = df.dequeue %q {results = [tensor<16777216xf32>]} : (!df.resource<"queue">) -> (tensor<16777216xf32>, !df.control)
  // CHECK-NEXT:   %h1, %t_h1 = df.island %x, %w1 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
  // CHECK-NEXT:   ^bb0(%a: tensor<16777216xf32>, %b: tensor<16777216xf32>):
  // CHECK-NEXT:     %m = df.multiply %a, %b : tensor<16777216xf32>
  // CHECK-NEXT:     %n = df.tanh %m : tensor<16777216xf32>
  // CHECK-NEXT:     %r = df.tanh %n : tensor<16777216xf32>
  // CHECK-NEXT:     %o = df.tanh %r : tensor<16777216xf32>
  // CHECK-NEXT:     df.yield %o : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
  // CHECK-NEXT:   %h2, %t_h2 = df.island %h1, %w1 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
  // CHECK-NEXT:   ^bb0(%a_1: tensor<16777216xf32>, %b_1: tensor<16777216xf32>):
  // CHECK-NEXT:     %m_1 = df.multiply %a_1, %b_1 : tensor<16777216xf32>
  // CHECK-NEXT:     %n_1 = df.tanh %m_1 : tensor<16777216xf32>
  // CHECK-NEXT:     %r_1 = df.tanh %n_1 : tensor<16777216xf32>
  // CHECK-NEXT:     %o_1 = df.tanh %r_1 : tensor<16777216xf32>
  // CHECK-NEXT:     df.yield %o_1 : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
  // CHECK-NEXT:   %g, %t_g = df.island %w2, %w2 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
  // CHECK-NEXT:   ^bb0(%a_2: tensor<16777216xf32>, %b_2: tensor<16777216xf32>):
  // CHECK-NEXT:     %m_2 = df.multiply %a_2, %b_2 : tensor<16777216xf32>
  // CHECK-NEXT:     %n_2 = df.tanh %m_2 : tensor<16777216xf32>
  // CHECK-NEXT:     %r_2 = df.tanh %n_2 : tensor<16777216xf32>
  // CHECK-NEXT:     %o_2 = df.tanh %r_2 : tensor<16777216xf32>
  // CHECK-NEXT:     df.yield %o_2 : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT:   }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
  // CHECK-NEXT:   df.return %h2, %g : (tensor<16777216xf32>, tensor<16777216xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  // CHECK-NEXT: df.func {sym_name = "queue@/job:a/replica:0/task:0/device:CPU:1", arg_names = ["w1", "w2"], result_names = [], part_inputs = [0, 1], part_results = [], assigned = "/job:a/replica:0/task:0/device:CPU:1"} ({
  // CHECK-NEXT: ^bb0(%w1: tensor<16777216xf32>, %w2: tensor<16777216xf32>):
  // CHECK-NEXT:   df.send %w1 {tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT:   df.send %w2 {tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<16777216xf32>) -> ()
  // CHECK-NEXT:   df.return : () -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "queue@/job:a/replica:0/task:0/device:CPU:0", arg_names = [], result_names = ["h2", "g"], part_inputs = [], part_results = [0, 1], assigned = "/job:a/replica:0/task:0/device:CPU:0"} ({
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %w1 = df.recv {result = [tensor<16777216xf32>], tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %w2 = df.recv {result = [tensor<16777216xf32>], tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0", level = "1"} : () -> tensor<16777216xf32>
    %x, %t_x = df.dequeue %q {results = [tensor<16777216xf32>]} : (!df.resource<"queue">) -> (tensor<16777216xf32>, !df.control)
    %h1, %t_h1 = df.island %x, %w1 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
    ^bb0(%a: tensor<16777216xf32>, %b: tensor<16777216xf32>):
      %m = df.multiply %a, %b : tensor<16777216xf32>
      %n = df.tanh %m : tensor<16777216xf32>
      %r = df.tanh %n : tensor<16777216xf32>
      %o = df.tanh %r : tensor<16777216xf32>
      df.yield %o : (tensor<16777216xf32>) -> ()
    }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
    %h2, %t_h2 = df.island %h1, %w1 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
    ^bb0(%a: tensor<16777216xf32>, %b: tensor<16777216xf32>):
      %m = df.multiply %a, %b : tensor<16777216xf32>
      %n = df.tanh %m : tensor<16777216xf32>
      %r = df.tanh %n : tensor<16777216xf32>
      %o = df.tanh %r : tensor<16777216xf32>
      df.yield %o : (tensor<16777216xf32>) -> ()
    }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
    %g, %t_g = df.island %w2, %w2 {n_inputs = 2, n_refs = 0, written = [], results = [tensor<16777216xf32>]} ({
    ^bb0(%a: tensor<16777216xf32>, %b: tensor<16777216xf32>):
      %m = df.multiply %a, %b : tensor<16777216xf32>
      %n = df.tanh %m : tensor<16777216xf32>
      %r = df.tanh %n : tensor<16777216xf32>
      %o = df.tanh %r : tensor<16777216xf32>
      df.yield %o : (tensor<16777216xf32>) -> ()
    }) : (tensor<16777216xf32>, tensor<16777216xf32>) -> (tensor<16777216xf32>, !df.control)
    df.return %h2, %g : (tensor<16777216xf32>, tensor<16777216xf32>) -> ()
  }) : () -> ()
  df.func {sym_name = "queue@/job:a/replica:0/task:0/device:CPU:1", arg_names = ["w1", "w2"], result_names = [], part_inputs = [0, 1], part_results = [], assigned = "/job:a/replica:0/task:0/device:CPU:1"} ({
  ^bb0(%w1: tensor<16777216xf32>, %w2: tensor<16777216xf32>):
    df.send %w1 {tensor = "w1", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<16777216xf32>) -> ()
    df.send %w2 {tensor = "w2", source = "/job:a/replica:0/task:0/device:CPU:1", target = "/job:a/replica:0/task:0/device:CPU:0"} : (tensor<16777216xf32>) -> ()
    df.return : () -> ()
  }) : () -> ()
}
