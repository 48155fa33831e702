// RUN: dfc opt %s -p canonicalize --no-locations
// Constants are computed, identities applied; nothing changes a NaN, an infinity or the sign of a zero.

builtin.module {
  // A graph of constants is one constant.
  // CHECK:      df.func {sym_name = "constants", arg_names = [], result_names = ["y"]} ({
  // CHECK-NEXT:   %y = df.constant {value = float32[] 25.0} : () -> tensor<f32>
  // CHECK-NEXT:   df.return %y : (tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "constants", arg_names = [], result_names = ["y"]} ({
    %a = df.constant {value = float32[2] [1.0, 2.0]} : () -> tensor<2xf32>
    %two = df.constant {value = float32[] 2.0} : () -> tensor<f32>
    %twos = df.broadcast_in_dim %two {shape = [2], dims = []} : (tensor<f32>) -> tensor<2xf32>
    %b = df.add %a, %twos : tensor<2xf32>
    %c = df.multiply %b, %b : tensor<2xf32>
    %y = df.reduce_sum %c {axes = [0]} : (tensor<2xf32>) -> tensor<f32>
    df.return %y : (tensor<f32>) -> ()
  }) : () -> ()

  // Strings too.
  // CHECK:      df.func {sym_name = "strings", arg_names = [], result_names = ["y"]} ({
  // CHECK-NEXT:   %y = df.constant {value = string[2] ["left", "right"]} : () -> tensor<2x!df.string>
  // CHECK-NEXT:   df.return %y : (tensor<2x!df.string>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "strings", arg_names = [], result_names = ["y"]} ({
    %a = df.constant {value = string[1] "left"} : () -> tensor<1x!df.string>
    %b = df.constant {value = string[1] "right"} : () -> tensor<1x!df.string>
    %y = df.concatenate %a, %b {axis = 0} : (tensor<1x!df.string>, tensor<1x!df.string>) -> tensor<2x!df.string>
    df.return %y : (tensor<2x!df.string>) -> ()
  }) : () -> ()

  // A large broadcast stays one; arithmetic on equal elements is done once.
  // CHECK:      df.func {sym_name = "splats", arg_names = [], result_names = ["y"]} ({
  // CHECK-NEXT:   %0 = df.constant {value = float32[] 6.0} : () -> tensor<f32>
  // CHECK-NEXT:   %y = df.broadcast_in_dim %0 {shape = [10000], dims = []} : (tensor<f32>) -> tensor<10000xf32>
  // CHECK-NEXT:   df.return %y : (tensor<10000xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "splats", arg_names = [], result_names = ["y"]} ({
    %two = df.constant {value = float32[] 2.0} : () -> tensor<f32>
    %three = df.constant {value = float32[] 3.0} : () -> tensor<f32>
    %twos = df.broadcast_in_dim %two {shape = [100, 100], dims = []} : (tensor<f32>) -> tensor<100x100xf32>
    %threes = df.broadcast_in_dim %three {shape = [100, 100], dims = []} : (tensor<f32>) -> tensor<100x100xf32>
    %sixes = df.multiply %twos, %threes : tensor<100x100xf32>
    %y = df.reshape %sixes {shape = [10000]} : (tensor<100x100xf32>) -> tensor<10000xf32>
    df.return %y : (tensor<10000xf32>) -> ()
  }) : () -> ()

  // A large iota stays one.
  // CHECK:      df.func {sym_name = "iota", arg_names = [], result_names = ["y"]} ({
  // CHECK-NEXT:   %i = df.iota {shape = [100, 100], dtype = float32, axis = 0} : () -> tensor<100x100xf32>
  // CHECK-NEXT:   %y = df.negate %i : tensor<100x100xf32>
  // CHECK-NEXT:   df.return %y : (tensor<100x100xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "iota", arg_names = [], result_names = ["y"]} ({
    %i = df.iota {shape = [100, 100], dtype = float32, axis = 0} : () -> tensor<100x100xf32>
    %y = df.negate %i : tensor<100x100xf32>
    df.return %y : (tensor<100x100xf32>) -> ()
  }) : () -> ()

  // Reads are never folded, and effects stay, needed or not.
  // CHECK:      df.func {sym_name = "effects", arg_names = [], result_names = ["v"]} ({
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
  // CHECK-NEXT:   %c = df.constant {value = float32[] 1.0} : () -> tensor<f32>
  // CHECK-NEXT:   %t = df.assign %w, %c : (!df.ref<tensor<f32>>, tensor<f32>) -> !df.control
  // CHECK-NEXT:   %v, %u = df.read %w, %t : (!df.ref<tensor<f32>>, !df.control) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   df.return %v : (tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "effects", arg_names = [], result_names = ["v"]} ({
    %w = df.variable {variable = "w", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
    %c = df.constant {value = float32[] 1.0} : () -> tensor<f32>
    %t = df.assign %w, %c : (!df.ref<tensor<f32>>, tensor<f32>) -> !df.control
    %v, %u = df.read %w, %t : (!df.ref<tensor<f32>>, !df.control) -> (tensor<f32>, !df.control)
    df.return %v : (tensor<f32>) -> ()
  }) : () -> ()

  // x * 1, 1 * x, x / 1, x - 0, x + (-0.0) are x.
  // CHECK:      df.func {sym_name = "neutral", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   df.return %x : (tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "neutral", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<4xf32>):
    %one = df.constant {value = float32[4] 1.0} : () -> tensor<4xf32>
    %zero = df.constant {value = float32[4] 0.0} : () -> tensor<4xf32>
    %minus_zero = df.constant {value = float32[4] -0.0} : () -> tensor<4xf32>
    %a = df.multiply %x, %one : tensor<4xf32>
    %b = df.multiply %one, %a : tensor<4xf32>
    %c = df.divide %b, %one : tensor<4xf32>
    %d = df.subtract %c, %zero : tensor<4xf32>
    %e = df.add %d, %minus_zero : tensor<4xf32>
    df.return %e : (tensor<4xf32>) -> ()
  }) : () -> ()

  // x + 0.0 turns -0.0 into 0.0, x - (-0.0) too, and x * 0 isn't 0 for NaN: all three stay.
  // CHECK:      df.func {sym_name = "not_neutral", arg_names = ["x"], result_names = ["a", "b", "c"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>):
  // CHECK-NEXT:   %zero = df.constant {value = float32[] 0.0} : () -> tensor<f32>
  // CHECK-NEXT:   %minus_zero = df.constant {value = float32[] -0.0} : () -> tensor<f32>
  // CHECK-NEXT:   %a = df.add %x, %zero : tensor<f32>
  // CHECK-NEXT:   %b = df.subtract %x, %minus_zero : tensor<f32>
  // CHECK-NEXT:   %c = df.multiply %x, %zero : tensor<f32>
  // CHECK-NEXT:   df.return %a, %b, %c : (tensor<f32>, tensor<f32>, tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "not_neutral", arg_names = ["x"], result_names = ["a", "b", "c"]} ({
  ^bb0(%x: tensor<f32>):
    %zero = df.constant {value = float32[] 0.0} : () -> tensor<f32>
    %minus_zero = df.constant {value = float32[] -0.0} : () -> tensor<f32>
    %a = df.add %x, %zero : tensor<f32>
    %b = df.subtract %x, %minus_zero : tensor<f32>
    %c = df.multiply %x, %zero : tensor<f32>
    df.return %a, %b, %c : (tensor<f32>, tensor<f32>, tensor<f32>) -> ()
  }) : () -> ()

  // Integers have one zero.
  // CHECK:      df.func {sym_name = "integers", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<i32>):
  // CHECK-NEXT:   df.return %x : (tensor<i32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "integers", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<i32>):
    %zero = df.constant {value = int32[] 0} : () -> tensor<i32>
    %y = df.add %zero, %x : tensor<i32>
    df.return %y : (tensor<i32>) -> ()
  }) : () -> ()

  // Twice the same inverse; transposes and reshapes in a row; shapes that are there already.
  // CHECK:      df.func {sym_name = "shapes", arg_names = ["x"], result_names = ["a", "b", "c"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<2x3x4xf32>):
  // CHECK-NEXT:   df.return %x, %x, %x : (tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "shapes", arg_names = ["x"], result_names = ["a", "b", "c"]} ({
  ^bb0(%x: tensor<2x3x4xf32>):
    %n = df.negate %x : tensor<2x3x4xf32>
    %a = df.negate %n : tensor<2x3x4xf32>
    %t = df.transpose %x {permutation = [2, 0, 1]} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
    %b = df.transpose %t {permutation = [1, 2, 0]} : (tensor<4x2x3xf32>) -> tensor<2x3x4xf32>
    %flat = df.reshape %x {shape = [24]} : (tensor<2x3x4xf32>) -> tensor<24xf32>
    %c = df.reshape %flat {shape = [2, 3, 4]} : (tensor<24xf32>) -> tensor<2x3x4xf32>
    df.return %a, %b, %c : (tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> ()
  }) : () -> ()

  // Two transposes, reshapes or broadcasts that aren't undone are one.
  // CHECK:      df.func {sym_name = "composed", arg_names = ["x", "v"], result_names = ["a", "b", "c"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<2x3x4xf32>, %v: tensor<3xf32>):
  // CHECK-NEXT:   %a = df.transpose %x {permutation = [1, 0, 2]} : (tensor<2x3x4xf32>) -> tensor<3x2x4xf32>
  // CHECK-NEXT:   %b = df.reshape %x {shape = [8, 3]} : (tensor<2x3x4xf32>) -> tensor<8x3xf32>
  // CHECK-NEXT:   %c = df.broadcast_in_dim %v {shape = [2, 5, 3], dims = [2]} : (tensor<3xf32>) -> tensor<2x5x3xf32>
  // CHECK-NEXT:   df.return %a, %b, %c : (tensor<3x2x4xf32>, tensor<8x3xf32>, tensor<2x5x3xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "composed", arg_names = ["x", "v"], result_names = ["a", "b", "c"]} ({
  ^bb0(%x: tensor<2x3x4xf32>, %v: tensor<3xf32>):
    %t = df.transpose %x {permutation = [2, 0, 1]} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
    %a = df.transpose %t {permutation = [2, 1, 0]} : (tensor<4x2x3xf32>) -> tensor<3x2x4xf32>
    %flat = df.reshape %x {shape = [24]} : (tensor<2x3x4xf32>) -> tensor<24xf32>
    %b = df.reshape %flat {shape = [8, 3]} : (tensor<24xf32>) -> tensor<8x3xf32>
    %rows = df.broadcast_in_dim %v {shape = [2, 3], dims = [1]} : (tensor<3xf32>) -> tensor<2x3xf32>
    %c = df.broadcast_in_dim %rows {shape = [2, 5, 3], dims = [0, 2]} : (tensor<2x3xf32>) -> tensor<2x5x3xf32>
    df.return %a, %b, %c : (tensor<3x2x4xf32>, tensor<8x3xf32>, tensor<2x5x3xf32>) -> ()
  }) : () -> ()

  // Whole slices, empty padding, single operands, the dtype that is there, and identities.
  // CHECK:      df.func {sym_name = "nothing_to_do", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<?x4xf32, ["b", 4 : i64]>):
  // CHECK-NEXT:   df.return %x : (tensor<?x4xf32, ["b", 4 : i64]>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "nothing_to_do", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<?x4xf32, ["b", 4]>):
    %zero = df.constant {value = float32[] 0.0} : () -> tensor<f32>
    %a = df.slice %x {starts = [0, 0], limits = ["b", 4], strides = [1, 1]} : tensor<?x4xf32, ["b", 4]>
    %b = df.pad %a, %zero {low = [0, 0], high = [0, 0], interior = [0, 0]} : (tensor<?x4xf32, ["b", 4]>, tensor<f32>) -> tensor<?x4xf32, ["b", 4]>
    %c = df.concatenate %b {axis = 0} : tensor<?x4xf32, ["b", 4]>
    %d = df.add_n %c : tensor<?x4xf32, ["b", 4]>
    %e = df.convert %d {dtype = float32} : tensor<?x4xf32, ["b", 4]>
    %f = df.identity %e {name = "logits"} : tensor<?x4xf32, ["b", 4]>
    %g = df.stop_gradient %f : tensor<?x4xf32, ["b", 4]>
    %h = df.reverse %g {axes = []} : tensor<?x4xf32, ["b", 4]>
    df.return %h : (tensor<?x4xf32, ["b", 4]>) -> ()
  }) : () -> ()

  // A known predicate chooses; equal branches need none.
  // CHECK:      df.func {sym_name = "choices", arg_names = ["p", "x", "y"], result_names = ["a", "b", "c"]} ({
  // CHECK-NEXT: ^bb0(%p: tensor<i1>, %x: tensor<4xf32>, %y: tensor<4xf32>):
  // CHECK-NEXT:   df.return %x, %y, %x : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "choices", arg_names = ["p", "x", "y"], result_names = ["a", "b", "c"]} ({
  ^bb0(%p: tensor<i1>, %x: tensor<4xf32>, %y: tensor<4xf32>):
    %yes = df.constant {value = bool[] true} : () -> tensor<i1>
    %no = df.constant {value = bool[4] false} : () -> tensor<4xi1>
    %a = df.select %yes, %x, %y : (tensor<i1>, tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %b = df.select %no, %x, %y : (tensor<4xi1>, tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %c = df.select %p, %x, %x : (tensor<i1>, tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    df.return %a, %b, %c : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> ()
  }) : () -> ()

  // A static size is a constant, a symbolic one isn't.
  // CHECK:      df.func {sym_name = "sizes", arg_names = ["x"], result_names = ["rows", "columns"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<?x4xf32, ["b", 4 : i64]>):
  // CHECK-NEXT:   %rows = df.dim_size %x {axis = 0} : (tensor<?x4xf32, ["b", 4 : i64]>) -> tensor<i32>
  // CHECK-NEXT:   %columns = df.constant {value = int32[] 4} : () -> tensor<i32>
  // CHECK-NEXT:   df.return %rows, %columns : (tensor<i32>, tensor<i32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "sizes", arg_names = ["x"], result_names = ["rows", "columns"]} ({
  ^bb0(%x: tensor<?x4xf32, ["b", 4]>):
    %rows = df.dim_size %x {axis = 0} : (tensor<?x4xf32, ["b", 4]>) -> tensor<i32>
    %columns = df.dim_size %x {axis = 1} : (tensor<?x4xf32, ["b", 4]>) -> tensor<i32>
    df.return %rows, %columns : (tensor<i32>, tensor<i32>) -> ()
  }) : () -> ()

  // While a gradient is asked for, nothing changes: x * 1 is not the x that it is taken by.
  // CHECK:      df.func {sym_name = "gradients", arg_names = ["x"], result_names = ["g"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<f32>):
  // CHECK-NEXT:   %one = df.constant {value = float32[] 1.0} : () -> tensor<f32>
  // CHECK-NEXT:   %a = df.multiply %x, %one : tensor<f32>
  // CHECK-NEXT:   %y = df.multiply %a, %x : tensor<f32>
  // CHECK-NEXT:   %g = df.gradients %y, %a {n_ys = 1, n_xs = 1, kinds = ["dense"]} : tensor<f32>
  // CHECK-NEXT:   df.return %g : (tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "gradients", arg_names = ["x"], result_names = ["g"]} ({
  ^bb0(%x: tensor<f32>):
    %one = df.constant {value = float32[] 1.0} : () -> tensor<f32>
    %a = df.multiply %x, %one : tensor<f32>
    %y = df.multiply %a, %x : tensor<f32>
    %g = df.gradients %y, %a {n_ys = 1, n_xs = 1, kinds = ["dense"]} : (tensor<f32>, tensor<f32>) -> tensor<f32>
    df.return %g : (tensor<f32>) -> ()
  }) : () -> ()

  // An assertion that holds waits and does nothing; one that does not, or may not, stays.
  // CHECK:      df.func {sym_name = "assertions", arg_names = ["p", "x"], result_names = []} ({
  // CHECK-NEXT: ^bb0(%p: tensor<i1>, %x: tensor<f32>):
  // CHECK-NEXT:   %no = df.constant {value = bool[] false} : () -> tensor<i1>
  // CHECK-NEXT:   %a = df.assert %p {text = ["assertion failed"], summarize = 3} : (tensor<i1>) -> !df.control
  // CHECK-NEXT:   %b = df.group %a : !df.control
  // CHECK-NEXT:   %c = df.assert %no, %b {text = ["assertion failed"], summarize = 3} : (tensor<i1>, !df.control) -> !df.control
  // CHECK-NEXT:   df.return %c : (!df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "assertions", arg_names = ["p", "x"], result_names = []} ({
  ^bb0(%p: tensor<i1>, %x: tensor<f32>):
    %yes = df.constant {value = bool[] true} : () -> tensor<i1>
    %no = df.constant {value = bool[] false} : () -> tensor<i1>
    %a = df.assert %p {text = ["assertion failed"], summarize = 3} : (tensor<i1>) -> !df.control
    %b = df.assert %yes, %x, %a {text = ["assertion failed: ", ""], summarize = 3} : (tensor<i1>, tensor<f32>, !df.control) -> !df.control
    %c = df.assert %no, %b {text = ["assertion failed"], summarize = 3} : (tensor<i1>, !df.control) -> !df.control
    df.return %c : (!df.control) -> ()
  }) : () -> ()
}
