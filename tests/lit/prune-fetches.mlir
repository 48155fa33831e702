// RUN: dfc opt %s -p 'prune{fetches=m/loss,z,bump}' --no-locations --split-input-file --print-errors
// Fetches name outputs or ops; other outputs and effects go.

builtin.module {
  // CHECK:      df.func {sym_name = "train", arg_names = ["x"], result_names = ["m/loss", "z"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<4xf32>):
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %step = df.variable {variable = "step", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
  // CHECK-NEXT:   %v, %read = df.read %w : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
  // CHECK-NEXT:   %loss = df.add %v, %x {scope = "m", name = "loss"} : tensor<4xf32>
  // CHECK-NEXT:   %z = df.negate %x : tensor<4xf32>
  // CHECK-NEXT:   %counted = df.assign_add %step, %x {name = "bump"} : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
  // CHECK-NEXT:   df.return %loss, %z, %counted : (tensor<4xf32>, tensor<4xf32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "train", arg_names = ["x"], result_names = ["y", "z"]} ({
  ^bb0(%x: tensor<4xf32>):
    %w = df.variable {variable = "w", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %step = df.variable {variable = "step", shape = [4], dtype = float32} : () -> !df.ref<tensor<4xf32>>
    %v, %read = df.read %w : (!df.ref<tensor<4xf32>>) -> (tensor<4xf32>, !df.control)
    %loss = df.add %v, %x {scope = "m", name = "loss"} : tensor<4xf32>
    %y = df.sqrt %loss : tensor<4xf32>
    %z = df.negate %x : tensor<4xf32>
    %counted = df.assign_add %step, %x {name = "bump"} : (!df.ref<tensor<4xf32>>, tensor<4xf32>) -> !df.control
    %updated = df.assign %w, %y, %read : (!df.ref<tensor<4xf32>>, tensor<4xf32>, !df.control) -> !df.control
    df.return %y, %z, %counted, %updated : (tensor<4xf32>, tensor<4xf32>, !df.control, !df.control) -> ()
  }) : () -> ()
}

// -----

// CHECK: error: @other: there is no output and no op called 'm/loss' to fetch
// CHECK-NEXT: did you mean 'm/lost'? names: m/lost, z
builtin.module {
  df.func {sym_name = "other", arg_names = ["x"], result_names = ["z"]} ({
  ^bb0(%x: tensor<4xf32>):
    %lost = df.add %x, %x {scope = "m", name = "lost"} : tensor<4xf32>
    df.return %lost : (tensor<4xf32>) -> ()
  }) : () -> ()
}
