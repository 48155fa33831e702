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
