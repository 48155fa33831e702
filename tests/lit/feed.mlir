// RUN: dfc opt %s -p feed --no-locations --split-input-file
// Fed edges become inputs, called by their labels, after the others.

builtin.module {
  // What led to the fed value stays where it is, for others that use it.
  // CHECK:      df.func {sym_name = "step", arg_names = ["x", "hidden"], result_names = ["y", "u"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>, %fed: tensor<4xf32>):
  // CHECK-NEXT:   %t = df.tanh %x : tensor<4xf32>
  // CHECK-NEXT:   %y = df.add %fed, %x : tensor<4xf32>
  // CHECK-NEXT:   %u = df.negate %t : tensor<4xf32>
  // CHECK-NEXT:   df.return %y, %u : (tensor<4xf32>, tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "step", arg_names = ["x"], result_names = ["y", "u"]} ({
  ^bb0(%x: tensor<4xf32>):
    %t = df.tanh %x : tensor<4xf32>
    %fed = df.feed %t {label = "hidden"} : tensor<4xf32>
    %y = df.add %fed, %x : tensor<4xf32>
    %u = df.negate %t : tensor<4xf32>
    df.return %y, %u : (tensor<4xf32>, tensor<4xf32>) -> ()
  }) : () -> ()

  // Two fed edges, one behind the other, and a result that is fed itself.
  // CHECK:      df.func {sym_name = "chain", arg_names = ["a", "scope/b:1"], result_names = ["b"]} ({
  // CHECK-NEXT: ^bb0(%fed_a: tensor<f32>, %fed_b: tensor<f32>):
  // CHECK-NEXT:   %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
  // CHECK-NEXT:   %a, %token = df.dequeue %q {results = [tensor<f32>]} : (!df.resource<"queue">) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   %b = df.exponential %fed_a : tensor<f32>
  // CHECK-NEXT:   df.return %fed_b : (tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "chain", arg_names = [], result_names = ["b"]} ({
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %a, %token = df.dequeue %q {results = [tensor<f32>]} : (!df.resource<"queue">) -> (tensor<f32>, !df.control)
    %fed_a = df.feed %a {label = "a"} : tensor<f32>
    %b = df.exponential %fed_a : tensor<f32>
    %fed_b = df.feed %b {label = "scope/b:1"} : tensor<f32>
    df.return %fed_b : (tensor<f32>) -> ()
  }) : () -> ()

  // Nothing is fed.
  // CHECK:      df.func {sym_name = "none", arg_names = ["x"], result_names = ["x"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<?xf32, ["n"]>):
  // CHECK-NEXT:   df.return %x : (tensor<?xf32, ["n"]>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "none", arg_names = ["x"], result_names = ["x"]} ({
  ^bb0(%x: tensor<?xf32, ["n"]>):
    df.return %x : (tensor<?xf32, ["n"]>) -> ()
  }) : () -> ()
}
