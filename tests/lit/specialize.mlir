// RUN: dfc opt %s -p 'specialize{bindings=b:3}' --no-locations --split-input-file --print-errors
// Symbols become sizes in types and attributes; types are inferred anew.

builtin.module {
  // CHECK:      df.func {sym_name = "main", arg_names = ["x", "y"], result_names = ["z", "n"]} ({
  // CHECK-NEXT: ^bb0(%0: tensor<3x4xf32>, %1: tensor<?xf32, ["t + 6"]>):
  // CHECK-NEXT:   %2 = df.reshape %0 {shape = [12]} : (tensor<3x4xf32>) -> tensor<12xf32>
  // CHECK-NEXT:   %3 = df.slice %2 {starts = [0], limits = [2], strides = [1]} : (tensor<12xf32>) -> tensor<2xf32>
  // CHECK-NEXT:   %4 = df.dim_size %0 {axis = 0} : (tensor<3x4xf32>) -> tensor<i32>
  // CHECK-NEXT:   %5 = df.concatenate %3, %1 {axis = 0} : (tensor<2xf32>, tensor<?xf32, ["t + 6"]>) -> tensor<?xf32, ["t + 8"]>
  // CHECK-NEXT:   df.return %5, %4 : (tensor<?xf32, ["t + 8"]>, tensor<i32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "main", arg_names = ["x", "y"], result_names = ["z", "n"]} ({
  ^bb0(%x: tensor<?x4xf32, ["b", 4]>, %y: tensor<?xf32, ["2*b + t"]>):
    %flat = df.reshape %x {shape = ["4*b"]} : (tensor<?x4xf32, ["b", 4]>) -> tensor<?xf32, ["4*b"]>
    %head = df.slice %flat {starts = [0], limits = ["b - 1"], strides = [1]} : (tensor<?xf32, ["4*b"]>) -> tensor<?xf32, ["b - 1"]>
    %n = df.dim_size %x {axis = 0} : (tensor<?x4xf32, ["b", 4]>) -> tensor<i32>
    %both = df.concatenate %head, %y {axis = 0} : (tensor<?xf32, ["b - 1"]>, tensor<?xf32, ["2*b + t"]>) -> tensor<?xf32, ["3*b + t - 1"]>
    df.return %both, %n : (tensor<?xf32, ["3*b + t - 1"]>, tensor<i32>) -> ()
  }) : () -> ()
}

// -----

// A size is not negative.
// CHECK: error: pad: padding -4 and 0 removes more than the 3 elements [C4]
// CHECK-NEXT: at model.py:7:9
builtin.module {
  df.func {sym_name = "main", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<?xf32, ["b"]>):
    %c = df.constant {value = float32[] 0.0} : () -> tensor<f32>
    %y = df.pad %x, %c {low = [-4], high = [0], interior = [0]} : (tensor<?xf32, ["b"]>, tensor<f32>) -> tensor<?xf32, ["b - 4"]> loc("model.py":7:9)
    df.return %y : (tensor<?xf32, ["b - 4"]>) -> ()
  }) : () -> ()
}

// -----

// A slice must stay inside, which only the size can tell.
// CHECK: error: slice: 0 <= start <= limit <= size must hold, got 0, 5, 3 [C2]
// CHECK-NEXT: at model.py:7:9
builtin.module {
  df.func {sym_name = "main", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<?xf32, ["b"]>):
    %y = df.slice %x {starts = [0], limits = [5], strides = [1]} : (tensor<?xf32, ["b"]>) -> tensor<5xf32> loc("model.py":7:9)
    df.return %y : (tensor<5xf32>) -> ()
  }) : () -> ()
}

// -----

// The symbol must be in the program.
// CHECK: error: no dimension is called 'b'
// CHECK-NEXT: symbols: batch
builtin.module {
  df.func {sym_name = "main", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<?xf32, ["batch"]>):
    df.return %x : (tensor<?xf32, ["batch"]>) -> ()
  }) : () -> ()
}
