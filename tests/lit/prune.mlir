// RUN: dfc opt %s -p prune --no-locations --split-input-file
// What no output needs is dropped; an effect alone keeps nothing, a returned token does.

builtin.module {
  // Unused pure ops go, chains of them too.
  // CHECK:      df.func {sym_name = "unused", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   %y = df.sqrt %x : tensor<4xf32>
  // CHECK-NEXT:   df.return %y : (tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "unused", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<4xf32>):
    %dead = df.tanh %x : tensor<4xf32>
    %dead_too = df.negate %dead : tensor<4xf32>
    %y = df.sqrt %x : tensor<4xf32>
    df.return %y : (tensor<4xf32>) -> ()
  }) : () -> ()

  // An update whose token nobody returns does not happen; the read that only it needed goes with it.
  // CHECK:      df.func {sym_name = "effect_alone", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   df.return %x : (tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "effect_alone", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<4xf32>):
    %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %v, %read = df.read %w : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
    %sum = df.add %v, %x : tensor<4xf32>
    %write = df.assign %w, %sum, %read : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> !df.control
    df.return %x : (tensor<4xf32>) -> ()
  }) : () -> ()

  // A returned token keeps its update, and the read keeps the write that comes before it.
  // CHECK:      df.func {sym_name = "returned_effect", arg_names = ["x"], result_names = ["v"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %u = df.variable {variable = "u", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %first = df.assign %w, %x : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
  // CHECK-NEXT:   %v, %read = df.read %w, %first : (!df.ref<tensor<4xf32>>, !df.control) -> (tensor<4xf32>, !df.control)
  // CHECK-NEXT:   %second = df.assign %u, %x : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
  // CHECK-NEXT:   df.return %v, %second : (tensor<4xf32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "returned_effect", arg_names = ["x"], result_names = ["v"]} ({
  ^bb0(%x: tensor<4xf32>):
    %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %u = df.variable {variable = "u", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %first = df.assign %w, %x : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
    %v, %read = df.read %w, %first : (!df.ref<tensor<4xf32>>, !df.control) -> (tensor<4xf32>, !df.control)
    %second = df.assign %u, %x : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
    df.return %v, %second : (tensor<4xf32>, !df.control) -> ()
  }) : () -> ()

  // A call that nothing needs goes, and with it the function that only it called.
  // CHECK:      df.func {sym_name = "needless_call", arg_names = ["x"], result_names = ["x"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   df.return %x : (tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "needless_call", arg_names = ["x"], result_names = ["x"]} ({
  ^bb0(%x: tensor<4xf32>):
    %y = df.call %x {callee = "only_called", results = [tensor<4xf32>], stateful = false} : tensor<4xf32>
    df.return %x : (tensor<4xf32>) -> ()
  }) : () -> ()
  // CHECK-NOT: sym_name = "only_called"
  df.func {sym_name = "only_called", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<4xf32>):
    df.return %x : (tensor<4xf32>) -> ()
  }) : () -> ()
}

// -----

// A dequeue that tells a size which is needed stays; one whose size is told by an input, or needed by nobody, goes.
builtin.module {
  // CHECK:      df.func {sym_name = "sizes", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<?xf32, ["n"]>):
  // CHECK-NEXT:   %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %one = df.constant {value = float32[] 1.0} : () -> tensor<f32>
  // CHECK-NEXT:   %many = df.constant {value = int32[] 3} : () -> tensor<i32>
  // CHECK-NEXT:   %a, %t0 = df.dequeue_up_to %q, %many {results = [tensor<?xf32, ["k"]>]} : (!df.resource<"queue">, tensor<i32>) -> (tensor<?xf32, ["k"]>, !df.control)
  // CHECK-NEXT:   %ones = df.broadcast_in_dim %one {shape = ["k", "n"], dims = []} : (tensor<f32>) -> tensor<?x?xf32, ["k", "n"]>
  // CHECK-NEXT:   df.return %ones : (tensor<?x?xf32, ["k", "n"]>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "sizes", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<?xf32, ["n"]>):
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %one = df.constant {value = float32[] 1.0} : () -> tensor<f32>
    %many = df.constant {value = int32[] 3} : () -> tensor<i32>
    %a, %t0 = df.dequeue_up_to %q, %many {results = [tensor<?xf32, ["k"]>]} : (!df.resource<"queue">, tensor<i32>) -> (tensor<?xf32, ["k"]>, !df.control)
    %b, %t1 = df.dequeue_up_to %q, %many {results = [tensor<?xf32, ["m"]>]} : (!df.resource<"queue">, tensor<i32>) -> (tensor<?xf32, ["m"]>, !df.control)
    %c, %t2 = df.dequeue_up_to %q, %many {results = [tensor<?xf32, ["n"]>]} : (!df.resource<"queue">, tensor<i32>) -> (tensor<?xf32, ["n"]>, !df.control)
    %ones = df.broadcast_in_dim %one {shape = ["k", "n"], dims = []} : (tensor<f32>) -> tensor<?x?xf32, ["k", "n"]>
    %unused = df.broadcast_in_dim %one {shape = ["m"], dims = []} : (tensor<f32>) -> tensor<?xf32, ["m"]>
    df.return %ones : (tensor<?x?xf32, ["k", "n"]>) -> ()
  }) : () -> ()
}
