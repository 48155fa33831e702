// RUN: dfc opt %s -p cluster --no-locations --split-input-file --print-errors
// Ops of the host that may wait for other steps: what does not depend on one is in no island with what does.

builtin.module {
  // Two dequeues that don't need each other give an island each; what needs both is a third.
  // CHECK:      df.func {sym_name = "two", arg_names = [], result_names = ["x", "y", "z"]} ({
  // CHECK-NEXT:   %p = df.queue {resource = "p", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %a, %t0 = df.dequeue %p {results = [tensor<f32>]} : (!df.resource<"queue">) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   %b, %t1 = df.dequeue %q {results = [tensor<f32>]} : (!df.resource<"queue">) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   %x, %0 = df.island %a {n_inputs = 1, n_refs = 0, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%a_1: tensor<f32>):
  // CHECK-NEXT:     %x_1 = df.tanh %a_1 : tensor<f32>
  // CHECK-NEXT:     df.yield %x_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   %y, %1 = df.island %b {n_inputs = 1, n_refs = 0, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%b_1: tensor<f32>):
  // CHECK-NEXT:     %y_1 = df.negate %b_1 : tensor<f32>
  // CHECK-NEXT:     df.yield %y_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   %z, %2 = df.island %x, %y {n_inputs = 2, n_refs = 0, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%x_2: tensor<f32>, %y_2: tensor<f32>):
  // CHECK-NEXT:     %z_1 = df.add %x_2, %y_2 : tensor<f32>
  // CHECK-NEXT:     df.yield %z_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   df.return %x, %y, %z : (tensor<f32>, tensor<f32>, tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "two", arg_names = [], result_names = ["x", "y", "z"]} ({
    %p = df.queue {resource = "p", description = "a queue"} : () -> !df.resource<"queue">
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %a, %t0 = df.dequeue %p {results = [tensor<f32>]} : (!df.resource<"queue">) -> (tensor<f32>, !df.control)
    %b, %t1 = df.dequeue %q {results = [tensor<f32>]} : (!df.resource<"queue">) -> (tensor<f32>, !df.control)
    %x = df.tanh %a : tensor<f32>
    %y = df.negate %b : tensor<f32>
    %z = df.add %x, %y : tensor<f32>
    df.return %x, %y, %z : (tensor<f32>, tensor<f32>, tensor<f32>) -> ()
  }) : () -> ()

  // Work on an input does not wait for the dequeue, though it stands after it.
  // CHECK:      df.func {sym_name = "apart", arg_names = ["x"], result_names = ["y", "z"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>):
  // CHECK-NEXT:   %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %a, %t = df.dequeue %q {results = [tensor<f32>]} : (!df.resource<"queue">) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   %y, %0 = df.island %x {n_inputs = 1, n_refs = 0, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<f32>):
  // CHECK-NEXT:     %y_1 = df.tanh %x_1 : tensor<f32>
  // CHECK-NEXT:     df.yield %y_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   %z, %1 = df.island %a, %y {n_inputs = 2, n_refs = 0, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%a_1: tensor<f32>, %y_2: tensor<f32>):
  // CHECK-NEXT:     %b = df.tanh %a_1 : tensor<f32>
  // CHECK-NEXT:     %z_1 = df.multiply %b, %y_2 : tensor<f32>
  // CHECK-NEXT:     df.yield %z_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   df.return %y, %z : (tensor<f32>, tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "apart", arg_names = ["x"], result_names = ["y", "z"]} ({
  ^bb0(%x: tensor<f32>):
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %a, %t = df.dequeue %q {results = [tensor<f32>]} : (!df.resource<"queue">) -> (tensor<f32>, !df.control)
    %b = df.tanh %a : tensor<f32>
    %y = df.tanh %x : tensor<f32>
    %z = df.multiply %b, %y : tensor<f32>
    df.return %y, %z : (tensor<f32>, tensor<f32>) -> ()
  }) : () -> ()

  // A variable that is read before a dequeue and used after it is read after it, and written in the same island. The
  // square of the value read is with its user; what is returned is read at once.
  // CHECK:      df.func {sym_name = "train", arg_names = [], result_names = ["v"]} ({
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
  // CHECK-NEXT:   %u = df.variable {variable = "u", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
  // CHECK-NEXT:   %v, %0 = df.island %u {n_inputs = 0, n_refs = 1, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%u_1: tensor<f32>):
  // CHECK-NEXT:     df.yield %u_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (!df.ref<tensor<f32>>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %a, %t2 = df.dequeue %q {results = [tensor<f32>]} : (!df.resource<"queue">) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   %1 = df.island %a, %w {n_inputs = 1, n_refs = 1, written = [0], results = []} ({
  // CHECK-NEXT:   ^bb0(%a_1: tensor<f32>, %w_1: tensor<f32>):
  // CHECK-NEXT:     %square = df.multiply %w_1, %w_1 : tensor<f32>
  // CHECK-NEXT:     %step = df.multiply %a_1, %square : tensor<f32>
  // CHECK-NEXT:     %2 = df.subtract %w_1, %step : tensor<f32>
  // CHECK-NEXT:     df.yield %2 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>, !df.ref<tensor<f32>>) -> !df.control
  // CHECK-NEXT:   df.return %v, %1, %t2 : (tensor<f32>, !df.control, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "train", arg_names = [], result_names = ["v"]} ({
    %w = df.variable {variable = "w", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
    %u = df.variable {variable = "u", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
    %before, %t0 = df.read %w : (!df.ref<tensor<f32>>) -> (tensor<f32>, !df.control)
    %square = df.multiply %before, %before : tensor<f32>
    %v, %t1 = df.read %u : (!df.ref<tensor<f32>>) -> (tensor<f32>, !df.control)
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %a, %t2 = df.dequeue %q {results = [tensor<f32>]} : (!df.resource<"queue">) -> (tensor<f32>, !df.control)
    %step = df.multiply %a, %square : tensor<f32>
    %t3 = df.assign_sub %w, %step, %t0 : (!df.ref<tensor<f32>>, tensor<f32>, !df.control) -> !df.control
    df.return %v, %t3, %t2 : (tensor<f32>, !df.control, !df.control) -> ()
  }) : () -> ()

  // A size does not wait: it is no reason to split.
  // CHECK:      df.func {sym_name = "size", arg_names = ["x"], result_names = ["n", "y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>):
  // CHECK-NEXT:   %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %n, %t = df.queue_size %q : (!df.resource<"queue">) -> (tensor<i32>, !df.control)
  // CHECK-NEXT:   %y, %0 = df.island %n, %x {n_inputs = 2, n_refs = 0, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%n_1: tensor<i32>, %x_1: tensor<f32>):
  // CHECK-NEXT:     %f = df.convert %n_1 {dtype = float32} : (tensor<i32>) -> tensor<f32>
  // CHECK-NEXT:     %s = df.tanh %x_1 : tensor<f32>
  // CHECK-NEXT:     %y_1 = df.add %f, %s : tensor<f32>
  // CHECK-NEXT:     df.yield %y_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<i32>, tensor<f32>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   df.return %n, %y : (tensor<i32>, tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "size", arg_names = ["x"], result_names = ["n", "y"]} ({
  ^bb0(%x: tensor<f32>):
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %n, %t = df.queue_size %q : (!df.resource<"queue">) -> (tensor<i32>, !df.control)
    %f = df.convert %n {dtype = float32} : (tensor<i32>) -> tensor<f32>
    %s = df.tanh %x : tensor<f32>
    %y = df.add %f, %s : tensor<f32>
    df.return %n, %y : (tensor<i32>, tensor<f32>) -> ()
  }) : () -> ()

  // What is put in is computed first, and what waits for that by a token alone comes after it.
  // CHECK:      df.func {sym_name = "feed", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>):
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
  // CHECK-NEXT:   %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %a, %y, %0 = df.island %x {n_inputs = 1, n_refs = 0, written = [], results = [tensor<f32>, tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%x_1: tensor<f32>):
  // CHECK-NEXT:     %a_1 = df.tanh %x_1 : tensor<f32>
  // CHECK-NEXT:     %y_1 = df.negate %x_1 : tensor<f32>
  // CHECK-NEXT:     df.yield %a_1, %y_1 : (tensor<f32>, tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>) -> (tensor<f32>, tensor<f32>, !df.control)
  // CHECK-NEXT:   %t0 = df.enqueue %q, %a : (!df.resource<"queue">, tensor<f32>) -> !df.control
  // CHECK-NEXT:   %1 = df.island %x, %w, %t0 {n_inputs = 1, n_refs = 1, written = [0], results = []} ({
  // CHECK-NEXT:   ^bb0(%x_2: tensor<f32>, %w_1: tensor<f32>):
  // CHECK-NEXT:     %2 = df.add %w_1, %x_2 : tensor<f32>
  // CHECK-NEXT:     df.yield %2 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>, !df.ref<tensor<f32>>, !df.control) -> !df.control
  // CHECK-NEXT:   df.return %y, %1 : (tensor<f32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "feed", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<f32>):
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %w = df.variable {variable = "w", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
    %a = df.tanh %x : tensor<f32>
    %t0 = df.enqueue %q, %a : (!df.resource<"queue">, tensor<f32>) -> !df.control
    %t1 = df.assign_add %w, %x, %t0 : (!df.ref<tensor<f32>>, tensor<f32>, !df.control) -> !df.control
    %y = df.negate %x : tensor<f32>
    df.return %y, %t1 : (tensor<f32>, !df.control) -> ()
  }) : () -> ()
}

// -----

// Sizes that only a dequeue tells.
builtin.module {
  // Ones in the shape of what is dequeued, from a constant alone, are with what needs the dequeue.
  // CHECK:      df.func {sym_name = "ones", arg_names = [], result_names = ["y"]} ({
  // CHECK-NEXT:   %n = df.constant {value = int32[] 3} : () -> tensor<i32>
  // CHECK-NEXT:   %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %a, %t = df.dequeue_up_to %q, %n {results = [tensor<?xf32, ["k"]>]} : (!df.resource<"queue">, tensor<i32>) -> (tensor<?xf32, ["k"]>, !df.control)
  // CHECK-NEXT:   %y, %0 = df.island %a {n_inputs = 1, n_refs = 0, written = [], results = [tensor<?xf32, ["k"]>]} ({
  // CHECK-NEXT:   ^bb0(%a_1: tensor<?xf32, ["k"]>):
  // CHECK-NEXT:     %1 = df.constant {value = float32[] 1.0} : () -> tensor<f32>
  // CHECK-NEXT:     %ones = df.broadcast_in_dim %1 {shape = ["k"], dims = []} : (tensor<f32>) -> tensor<?xf32, ["k"]>
  // CHECK-NEXT:     %y_1 = df.add %ones, %a_1 : tensor<?xf32, ["k"]>
  // CHECK-NEXT:     df.yield %y_1 : (tensor<?xf32, ["k"]>) -> ()
  // CHECK-NEXT:   }) : (tensor<?xf32, ["k"]>) -> (tensor<?xf32, ["k"]>, !df.control)
  // CHECK-NEXT:   df.return %y : (tensor<?xf32, ["k"]>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "ones", arg_names = [], result_names = ["y"]} ({
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %n = df.constant {value = int32[] 3} : () -> tensor<i32>
    %a, %t = df.dequeue_up_to %q, %n {results = [tensor<?xf32, ["k"]>]} : (!df.resource<"queue">, tensor<i32>) -> (tensor<?xf32, ["k"]>, !df.control)
    %one = df.constant {value = float32[] 1.0} : () -> tensor<f32>
    %ones = df.broadcast_in_dim %one {shape = ["k"], dims = []} : (tensor<f32>) -> tensor<?xf32, ["k"]>
    %y = df.add %ones, %a : tensor<?xf32, ["k"]>
    df.return %y : (tensor<?xf32, ["k"]>) -> ()
  }) : () -> ()

  // Where nothing else is wanted, the island takes what was dequeued for its size: numbers rather than strings.
  // CHECK:      df.func {sym_name = "alone", arg_names = [], result_names = ["y", "i"]} ({
  // CHECK-NEXT:   %n = df.constant {value = int32[] 3} : () -> tensor<i32>
  // CHECK-NEXT:   %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %s, %a, %t = df.dequeue_up_to %q, %n {results = [tensor<?x!df.string, ["k"]>, tensor<?x2xf32, ["k", 2 : i64]>]} : (!df.resource<"queue">, tensor<i32>) -> (tensor<?x!df.string, ["k"]>, tensor<?x2xf32, ["k", 2 : i64]>, !df.control)
  // CHECK-NEXT:   %y, %i, %0 = df.island %a {n_inputs = 1, n_refs = 0, written = [], results = [tensor<?xf32, ["2*k"]>, tensor<?xi32, ["k"]>]} ({
  // CHECK-NEXT:   ^bb0(%a_1: tensor<?x2xf32, ["k", 2 : i64]>):
  // CHECK-NEXT:     %1 = df.constant {value = float32[] 1.0} : () -> tensor<f32>
  // CHECK-NEXT:     %y_1 = df.broadcast_in_dim %1 {shape = ["2*k"], dims = []} : (tensor<f32>) -> tensor<?xf32, ["2*k"]>
  // CHECK-NEXT:     %i_1 = df.iota {shape = ["k"], axis = 0, dtype = int32} : () -> tensor<?xi32, ["k"]>
  // CHECK-NEXT:     df.yield %y_1, %i_1 : (tensor<?xf32, ["2*k"]>, tensor<?xi32, ["k"]>) -> ()
  // CHECK-NEXT:   }) : (tensor<?x2xf32, ["k", 2 : i64]>) -> (tensor<?xf32, ["2*k"]>, tensor<?xi32, ["k"]>, !df.control)
  // CHECK-NEXT:   df.return %y, %i : (tensor<?xf32, ["2*k"]>, tensor<?xi32, ["k"]>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "alone", arg_names = [], result_names = ["y", "i"]} ({
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %n = df.constant {value = int32[] 3} : () -> tensor<i32>
    %s, %a, %t = df.dequeue_up_to %q, %n {results = [tensor<?x!df.string, ["k"]>, tensor<?x2xf32, ["k", 2 : i64]>]} : (!df.resource<"queue">, tensor<i32>) -> (tensor<?x!df.string, ["k"]>, tensor<?x2xf32, ["k", 2 : i64]>, !df.control)
    %one = df.constant {value = float32[] 1.0} : () -> tensor<f32>
    %y = df.broadcast_in_dim %one {shape = ["2*k"], dims = []} : (tensor<f32>) -> tensor<?xf32, ["2*k"]>
    %i = df.iota {shape = ["k"], axis = 0, dtype = int32} : () -> tensor<?xi32, ["k"]>
    df.return %y, %i : (tensor<?xf32, ["2*k"]>, tensor<?xi32, ["k"]>) -> ()
  }) : () -> ()
}

// -----

// CHECK: error: broadcast_in_dim: the size k is known of strings only, which no device holds
// CHECK-NEXT: at model.py:7:3
// CHECK-NEXT: take a tensor of numbers of that size along
builtin.module {
  df.func {sym_name = "strings", arg_names = [], result_names = ["y"]} ({
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %n = df.constant {value = int32[] 3} : () -> tensor<i32>
    %s, %t = df.dequeue_up_to %q, %n {results = [tensor<?x!df.string, ["k"]>]} : (!df.resource<"queue">, tensor<i32>) -> (tensor<?x!df.string, ["k"]>, !df.control)
    %one = df.constant {value = float32[] 1.0} : () -> tensor<f32>
    %y = df.broadcast_in_dim %one {shape = ["k"], dims = []} : (tensor<f32>) -> tensor<?xf32, ["k"]> loc("model.py":7:3)
    df.return %y : (tensor<?xf32, ["k"]>) -> ()
  }) : () -> ()
}
