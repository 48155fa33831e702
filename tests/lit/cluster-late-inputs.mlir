// RUN: dfc opt %s -p 'cluster{late_inputs=true}' --no-locations
// Inputs may come one by one: work is in no island with work that needs other ones.

builtin.module {
  // The sum needs a and b, what is multiplied needs c too.
  // CHECK:      df.func {sym_name = "partial", arg_names = ["a", "b", "c"], result_names = ["r1", "r2"]} ({
  // CHECK-NEXT: ^bb0(%a: tensor<f32>, %b: tensor<f32>, %c: tensor<f32>):
  // CHECK-NEXT:   %s, %r1, %0 = df.island %a, %b {n_inputs = 2, n_refs = 0, written = [], results = [tensor<f32>, tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%a_1: tensor<f32>, %b_1: tensor<f32>):
  // CHECK-NEXT:     %r1_1 = df.add %a_1, %b_1 : tensor<f32>
  // CHECK-NEXT:     %s_1 = df.negate %r1_1 : tensor<f32>
  // CHECK-NEXT:     df.yield %s_1, %r1_1 : (tensor<f32>, tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>, !df.control)
  // CHECK-NEXT:   %r2, %1 = df.island %s, %c {n_inputs = 2, n_refs = 0, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%s_2: tensor<f32>, %c_1: tensor<f32>):
  // CHECK-NEXT:     %r2_1 = df.multiply %s_2, %c_1 : tensor<f32>
  // CHECK-NEXT:     df.yield %r2_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   df.return %r1, %r2 : (tensor<f32>, tensor<f32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "partial", arg_names = ["a", "b", "c"], result_names = ["r1", "r2"]} ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>, %c: tensor<f32>):
    %r1 = df.add %a, %b : tensor<f32>
    %s = df.negate %r1 : tensor<f32>
    %r2 = df.multiply %s, %c : tensor<f32>
    df.return %r1, %r2 : (tensor<f32>, tensor<f32>) -> ()
  }) : () -> ()

  // What needs no input is apart from what needs one; a read is with its user.
  // CHECK:      df.func {sym_name = "state", arg_names = ["a"], result_names = ["r"]} ({
  // CHECK-NEXT: ^bb0(%a: tensor<f32>):
  // CHECK-NEXT:   %w = df.variable {variable = "w", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
  // CHECK-NEXT:   %u = df.variable {variable = "u", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
  // CHECK-NEXT:   %r, %0 = df.island %a, %w {n_inputs = 1, n_refs = 1, written = [], results = [tensor<f32>]} ({
  // CHECK-NEXT:   ^bb0(%a_1: tensor<f32>, %w_1: tensor<f32>):
  // CHECK-NEXT:     %r_1 = df.add %a_1, %w_1 : tensor<f32>
  // CHECK-NEXT:     df.yield %r_1 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (tensor<f32>, !df.ref<tensor<f32>>) -> (tensor<f32>, !df.control)
  // CHECK-NEXT:   %1 = df.island %u {n_inputs = 0, n_refs = 1, written = [0], results = []} ({
  // CHECK-NEXT:   ^bb0(%u_1: tensor<f32>):
  // CHECK-NEXT:     %2 = df.constant {value = float32[] 1.0} : () -> tensor<f32>
  // CHECK-NEXT:     %3 = df.add %u_1, %2 : tensor<f32>
  // CHECK-NEXT:     df.yield %3 : (tensor<f32>) -> ()
  // CHECK-NEXT:   }) : (!df.ref<tensor<f32>>) -> !df.control
  // CHECK-NEXT:   df.return %r, %1 : (tensor<f32>, !df.control) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "state", arg_names = ["a"], result_names = ["r"]} ({
  ^bb0(%a: tensor<f32>):
    %w = df.variable {variable = "w", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
    %u = df.variable {variable = "u", shape = [], dtype = float32} : () -> !df.ref<tensor<f32>>
    %one = df.constant {value = float32[] 1.0} : () -> tensor<f32>
    %v, %t0 = df.read %w : (!df.ref<tensor<f32>>) -> (tensor<f32>, !df.control)
    %t1 = df.assign_add %u, %one : (!df.ref<tensor<f32>>, tensor<f32>) -> !df.control
    %r = df.add %a, %v : tensor<f32>
    df.return %r, %t1 : (tensor<f32>, !df.control) -> ()
  }) : () -> ()
}
