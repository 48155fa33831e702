// RUN: dfc opt %s -p inline --no-locations --split-input-file --print-errors
// Calls become bodies, callees first; callees go, entries stay.

builtin.module {
  // CHECK:      df.func {sym_name = "main", arg_names = ["x"], result_names = ["y", "x"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   %0 = df.tanh %x : tensor<4xf32>
  // CHECK-NEXT:   %y = df.tanh %0 : tensor<4xf32>
  // CHECK-NEXT:   df.return %y, %x : (tensor<4xf32>, tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "main", arg_names = ["x"], result_names = ["y", "x"]} ({
  ^bb0(%x: tensor<4xf32>):
    %y, %same = df.call %x {callee = "outer", results = [tensor<4xf32>, tensor<4xf32>], stateful = false} : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
    df.return %y, %same : (tensor<4xf32>, tensor<4xf32>) -> ()
  }) : () -> ()
  // CHECK-NOT: sym_name = "outer"
  df.func {sym_name = "outer", arg_names = ["a"], result_names = ["b", "a"]} ({
  ^bb0(%a: tensor<4xf32>):
    %b = df.call %a {callee = "inner", results = [tensor<4xf32>], stateful = false} : tensor<4xf32>
    %c = df.call %b {callee = "inner", results = [tensor<4xf32>], stateful = false} : tensor<4xf32>
    df.return %c, %a : (tensor<4xf32>, tensor<4xf32>) -> ()
  }) : () -> ()
  // CHECK-NOT: sym_name = "inner"
  df.func {sym_name = "inner", arg_names = ["p"], result_names = ["q"]} ({
  ^bb0(%p: tensor<4xf32>):
    %q = df.tanh %p : tensor<4xf32>
    df.return %q : (tensor<4xf32>) -> ()
  }) : () -> ()
}

// -----

// The call's tokens go to the callee's first effect of each chain; its token comes after the callee's and its own.
// The variable w is one variable, whoever names it.
builtin.module {
  // CHECK:      df.func {sym_name = "main", arg_names = ["x"], result_names = ["v"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %before = df.assign %w, %x : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
  // CHECK-NEXT:   %0 = df.variable {variable = "u", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %1, %2 = df.read %w, %before : (!df.ref<tensor<4xf32>>, !df.control) -> (tensor<4xf32>, !df.control)
  // CHECK-NEXT:   %3 = df.add %1, %x : tensor<4xf32>
  // CHECK-NEXT:   %4 = df.assign %w, %3, %2 : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> !df.control
  // CHECK-NEXT:   %5 = df.assign %0, %x, %before : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> !df.control
  // CHECK-NEXT:   %called = df.group %4, %5, %before : !df.control
  // CHECK-NEXT:   %v, %after = df.read %w, %called : (!df.ref<tensor<4xf32>>, !df.control) -> (tensor<4xf32>, !df.control)
  // CHECK-NEXT:   df.return %v, %after : (tensor<4xf32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "main", arg_names = ["x"], result_names = ["v"]} ({
  ^bb0(%x: tensor<4xf32>):
    %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %before = df.assign %w, %x : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
    %called = df.call %x, %before {callee = "bump", results = [], stateful = true} : (tensor<4xf32>, !df.control) -> !df.control
    %w_again = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %v, %after = df.read %w_again, %called : (!df.ref<tensor<4xf32>>, !df.control) -> (tensor<4xf32>, !df.control)
    df.return %v, %after : (tensor<4xf32>, !df.control) -> ()
  }) : () -> ()
  // CHECK-NOT: sym_name = "bump"
  df.func {sym_name = "bump", arg_names = ["a"], result_names = []} ({
  ^bb0(%a: tensor<4xf32>):
    %u = df.variable {variable = "u", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %old, %read = df.read %w : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
    %new = df.add %old, %a : tensor<4xf32>
    %wrote_w = df.assign %w, %new, %read : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> !df.control
    %wrote_u = df.assign %u, %a : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
    df.return %wrote_w, %wrote_u : (!df.control, !df.control) -> ()
  }) : () -> ()
}

// -----

// A symbolic callee takes the caller's sizes.
builtin.module {
  // CHECK:      df.func {sym_name = "main", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<8x2xf32>):
  // CHECK-NEXT:   %y = df.reshape %x {shape = [16]} : (tensor<8x2xf32>) -> tensor<16xf32>
  // CHECK-NEXT:   df.return %y : (tensor<16xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "main", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<8x2xf32>):
    %y = df.call %x {callee = "flat", results = [tensor<16xf32>], stateful = false} : (tensor<8x2xf32>) -> tensor<16xf32>
    df.return %y : (tensor<16xf32>) -> ()
  }) : () -> ()
  // CHECK-NOT: sym_name = "flat"
  df.func {sym_name = "flat", arg_names = ["a"], result_names = ["b"]} ({
  ^bb0(%a: tensor<?x2xf32, ["b", 2]>):
    %b = df.reshape %a {shape = ["2*b"]} : (tensor<?x2xf32, ["b", 2]>) -> tensor<?xf32, ["2*b"]>
    df.return %b : (tensor<?xf32, ["2*b"]>) -> ()
  }) : () -> ()
}

// -----

// A function must not reach itself.
// CHECK: error: call: a function must not call itself, got @f -> @g -> @f
// CHECK-NEXT: at model.py:8:5
// CHECK-NEXT: a loop in the graph is df.while: write the recursion as one
builtin.module {
  df.func {sym_name = "f", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<f32>):
    %y = df.call %x {callee = "g", results = [tensor<f32>], stateful = false} : tensor<f32> loc("model.py":4:5)
    df.return %y : (tensor<f32>) -> ()
  }) : () -> ()
  df.func {sym_name = "g", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<f32>):
    %y = df.call %x {callee = "f", results = [tensor<f32>], stateful = false} : tensor<f32> loc("model.py":8:5)
    df.return %y : (tensor<f32>) -> ()
  }) : () -> ()
}

// -----

// The callee must be there.
// CHECK: error: call: there is no function @predicts
// CHECK-NEXT: at model.py:4:5
// CHECK-NEXT: did you mean 'predict'? functions: predict
builtin.module {
  df.func {sym_name = "predict", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<f32>):
    %y = df.call %x {callee = "predicts", results = [tensor<f32>], stateful = false} : tensor<f32> loc("model.py":4:5)
    df.return %y : (tensor<f32>) -> ()
  }) : () -> ()
}

// -----

// Inputs must fit.
// CHECK: error: call: the inputs of @g must be (float32[4]), got (float32[3])
// CHECK-NEXT: at model.py:4:5
builtin.module {
  df.func {sym_name = "main", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<3xf32>):
    %y = df.call %x {callee = "g", results = [tensor<4xf32>], stateful = false} : (tensor<3xf32>) -> tensor<4xf32> loc("model.py":4:5)
    df.return %y : (tensor<4xf32>) -> ()
  }) : () -> ()
  df.func {sym_name = "g", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<4xf32>):
    df.return %x : (tensor<4xf32>) -> ()
  }) : () -> ()
}

// -----

// A variable has one shape and dtype.
// CHECK: error: variable: the variable 'w' must have one shape and dtype, got float32[3] and float32[4]
// CHECK-NEXT: at model.py:9:1
builtin.module {
  df.func {sym_name = "main", arg_names = [], result_names = []} ({
    %w = df.variable {variable = "w", shape = [3], dtype = float32} : () -> !df.ref<tensor<3xf32>>
    %t = df.call {callee = "g", results = [], stateful = true} : () -> !df.control
    df.return %t : (!df.control) -> ()
  }) : () -> ()
  df.func {sym_name = "g", arg_names = [], result_names = []} ({
    %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>> loc("model.py":9:1)
    %v, %t = df.read %w : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
    df.return %t : (!df.control) -> ()
  }) : () -> ()
}

// -----

// Sizes that only an op of the callee tells are other ones in each call: those that the call's results have, also
// where these are formulas, and new ones where none has them.
builtin.module {
  // CHECK:      df.func {sym_name = "main", arg_names = ["k"], result_names = ["a", "b", "c"]} ({
  // CHECK-NEXT: ^bb0(%k: tensor<?xf32, ["k"]>):
  // CHECK-NEXT:   %0 = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %1 = df.constant {value = int32[] 3} : () -> tensor<i32>
  // CHECK-NEXT:   %2, %t0 = df.dequeue_up_to %0, %1 {results = [tensor<?xf32, ["first"]>]} : (!df.resource<"queue">, tensor<i32>) -> (tensor<?xf32, ["first"]>, !df.control)
  // CHECK-NEXT:   %a = df.concatenate %2, %2 {axis = 0} : (tensor<?xf32, ["first"]>, tensor<?xf32, ["first"]>) -> tensor<?xf32, ["2*first"]>
  // CHECK-NEXT:   %3 = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %4 = df.constant {value = int32[] 3} : () -> tensor<i32>
  // CHECK-NEXT:   %5, %6 = df.dequeue_up_to %3, %4, %t0 {results = [tensor<?xf32, ["second"]>]} : (!df.resource<"queue">, tensor<i32>, !df.control) -> (tensor<?xf32, ["second"]>, !df.control)
  // CHECK-NEXT:   %b = df.concatenate %5, %5 {axis = 0} : (tensor<?xf32, ["second"]>, tensor<?xf32, ["second"]>) -> tensor<?xf32, ["2*second"]>
  // CHECK-NEXT:   %t1 = df.group %6, %t0 : !df.control
  // CHECK-NEXT:   %7 = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %8 = df.constant {value = int32[] 3} : () -> tensor<i32>
  // CHECK-NEXT:   %9, %10 = df.dequeue_up_to %7, %8, %t1 {results = [tensor<?xf32, ["k_1"]>]} : (!df.resource<"queue">, tensor<i32>, !df.control) -> (tensor<?xf32, ["k_1"]>, !df.control)
  // CHECK-NEXT:   %c = df.reduce_sum %9 {axes = [0]} : (tensor<?xf32, ["k_1"]>) -> tensor<f32>
  // CHECK-NEXT:   %t2 = df.group %10, %t1 : !df.control
  // CHECK-NEXT:   %11 = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %12 = df.constant {value = int32[] 3} : () -> tensor<i32>
  // CHECK-NEXT:   %13, %14 = df.dequeue_up_to %11, %12, %t2 {results = [tensor<?xf32, ["k_2"]>]} : (!df.resource<"queue">, tensor<i32>, !df.control) -> (tensor<?xf32, ["k_2"]>, !df.control)
  // CHECK-NEXT:   %d = df.reduce_sum %13 {axes = [0]} : (tensor<?xf32, ["k_2"]>) -> tensor<f32>
  // CHECK-NEXT:   %t3 = df.group %14, %t2 : !df.control
  // CHECK-NEXT:   df.return %a, %b, %c, %t3 : (tensor<?xf32, ["2*first"]>, tensor<?xf32, ["2*second"]>, tensor<f32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "main", arg_names = ["k"], result_names = ["a", "b", "c"]} ({
  ^bb0(%k: tensor<?xf32, ["k"]>):
    %a, %t0 = df.call {callee = "take", results = [tensor<?xf32, ["2*first"]>], stateful = true} : () -> (tensor<?xf32, ["2*first"]>, !df.control)
    %b, %t1 = df.call %t0 {callee = "take", results = [tensor<?xf32, ["2*second"]>], stateful = true} : (!df.control) -> (tensor<?xf32, ["2*second"]>, !df.control)
    %c, %t2 = df.call %t1 {callee = "count", results = [tensor<f32>], stateful = true} : (!df.control) -> (tensor<f32>, !df.control)
    %d, %t3 = df.call %t2 {callee = "count", results = [tensor<f32>], stateful = true} : (!df.control) -> (tensor<f32>, !df.control)
    df.return %a, %b, %c, %t3 : (tensor<?xf32, ["2*first"]>, tensor<?xf32, ["2*second"]>, tensor<f32>, !df.control) -> ()
  }) : () -> ()
  df.func {sym_name = "take", arg_names = [], result_names = ["twice"]} ({
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %n = df.constant {value = int32[] 3} : () -> tensor<i32>
    %x, %t = df.dequeue_up_to %q, %n {results = [tensor<?xf32, ["k"]>]} : (!df.resource<"queue">, tensor<i32>) -> (tensor<?xf32, ["k"]>, !df.control)
    %twice = df.concatenate %x, %x {axis = 0} : (tensor<?xf32, ["k"]>, tensor<?xf32, ["k"]>) -> tensor<?xf32, ["2*k"]>
    df.return %twice, %t : (tensor<?xf32, ["2*k"]>, !df.control) -> ()
  }) : () -> ()
  df.func {sym_name = "count", arg_names = [], result_names = ["sum"]} ({
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %n = df.constant {value = int32[] 3} : () -> tensor<i32>
    %x, %t = df.dequeue_up_to %q, %n {results = [tensor<?xf32, ["k"]>]} : (!df.resource<"queue">, tensor<i32>) -> (tensor<?xf32, ["k"]>, !df.control)
    %sum = df.reduce_sum %x {axes = [0]} : (tensor<?xf32, ["k"]>) -> tensor<f32>
    df.return %sum, %t : (tensor<f32>, !df.control) -> ()
  }) : () -> ()
}
