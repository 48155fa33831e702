// RUN: dfc opt %s -p lower-control-flow{swap=true} --no-locations
// Loops with swap_memory become dataflow though a device could run them.

builtin.module {
  // What a loop keeps for a later one, which takes it back last to first, stays on the stack.
  // CHECK:      df.func {sym_name = "swapped", arg_names = ["x"], result_names = ["y"]} ({
  // CHECK-NEXT: ^bb0(%x: tensor<2xf32>):
  // CHECK-NEXT:   %0 = df.constant {value = int32[] -1} : () -> tensor<i32>
  // CHECK-NEXT:   %1 = df.stack %0 {label = "rows", dtype = float32, swap_memory = true} : (tensor<i32>) -> !df.resource<"stack">
  // CHECK-NEXT:   %2 = df.constant {value = int32[] -1} : () -> tensor<i32>
  // CHECK-NEXT:   %3 = df.constant {value = int32[] 0} : () -> tensor<i32>
  // CHECK-NEXT:   %4 = df.enter %3 {frame = "while_0", is_constant = false, parallel_iterations = 10} : tensor<i32>
  // CHECK-NEXT:   %k, %5 = df.merge %4, %6 {result = [tensor<i32>]} : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %7 = df.constant {value = bool[] true} : () -> tensor<i1>
  // CHECK-NEXT:   %8 = df.enter %7 {frame = "while_0", is_constant = false, parallel_iterations = 10} : tensor<i1>
  // CHECK-NEXT:   %9, %10 = df.merge %8, %11 {result = [tensor<i1>]} : (tensor<i1>, tensor<i1>) -> (tensor<i1>, tensor<i32>)
  // CHECK-NEXT:   %12 = df.enter %x {frame = "while_0", is_constant = false, parallel_iterations = 10} : tensor<2xf32>
  // CHECK-NEXT:   %13, %14 = df.merge %12, %15 {result = [tensor<2xf32>]} : (tensor<2xf32>, tensor<2xf32>) -> (tensor<2xf32>, tensor<i32>)
  // CHECK-NEXT:   %16 = df.enter %1 {frame = "while_0", is_constant = true, parallel_iterations = 10} : !df.resource<"stack">
  // CHECK-NEXT:   %ten = df.constant {value = int32[] 10} : () -> tensor<i32>
  // CHECK-NEXT:   %less = df.compare %k, %ten {direction = "LT"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
  // CHECK-NEXT:   %17 = df.loop_cond %less : tensor<i1>
  // CHECK-NEXT:   %18, %19 = df.switch %k, %17 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %20, %21 = df.switch %9, %17 : (tensor<i1>, tensor<i1>) -> (tensor<i1>, tensor<i1>)
  // CHECK-NEXT:   %22, %b = df.switch %13, %17 : (tensor<2xf32>, tensor<i1>) -> (tensor<2xf32>, tensor<2xf32>)
  // CHECK-NEXT:   %c = df.tanh %b : tensor<2xf32>
  // CHECK-NEXT:   %15 = df.next_iteration %c : tensor<2xf32>
  // CHECK-NEXT:   %23 = df.constant {value = int32[] 1} : () -> tensor<i32>
  // CHECK-NEXT:   %24 = df.add %19, %23 : tensor<i32>
  // CHECK-NEXT:   %6 = df.next_iteration %24 : tensor<i32>
  // CHECK-NEXT:   %25 = df.group %21 : (tensor<i1>) -> !df.control
  // CHECK-NEXT:   %26, %27 = df.stack_push %16, %b, %25 : (!df.resource<"stack">, tensor<2xf32>, !df.control) -> (tensor<2xf32>, !df.control)
  // CHECK-NEXT:   %28 = df.after %21, %27 : (tensor<i1>, !df.control) -> tensor<i1>
  // CHECK-NEXT:   %11 = df.next_iteration %28 : tensor<i1>
  // CHECK-NEXT:   %a = df.exit %22 : tensor<2xf32>
  // CHECK-NEXT:   %count = df.exit %18 : tensor<i32>
  // CHECK-NEXT:   %29 = df.exit %20 : tensor<i1>
  // CHECK-NEXT:   %30 = df.group %29 : (tensor<i1>) -> !df.control
  // CHECK-NEXT:   %31 = df.constant {value = int32[] 1} : () -> tensor<i32>
  // CHECK-NEXT:   %32 = df.subtract %count, %31 : tensor<i32>
  // CHECK-NEXT:   %33 = df.after %32, %30 : (tensor<i32>, !df.control) -> tensor<i32>
  // CHECK-NEXT:   %34 = df.enter %33 {frame = "scan_0", is_constant = false, parallel_iterations = 10} : tensor<i32>
  // CHECK-NEXT:   %35, %36 = df.merge %34, %37 {result = [tensor<i32>]} : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %38 = df.constant {value = bool[] true} : () -> tensor<i1>
  // CHECK-NEXT:   %39 = df.after %38, %30 : (tensor<i1>, !df.control) -> tensor<i1>
  // CHECK-NEXT:   %40 = df.enter %39 {frame = "scan_0", is_constant = false, parallel_iterations = 10} : tensor<i1>
  // CHECK-NEXT:   %41, %42 = df.merge %40, %43 {result = [tensor<i1>]} : (tensor<i1>, tensor<i1>) -> (tensor<i1>, tensor<i32>)
  // CHECK-NEXT:   %44 = df.enter %a {frame = "scan_0", is_constant = false, parallel_iterations = 10} : tensor<2xf32>
  // CHECK-NEXT:   %45, %46 = df.merge %44, %47 {result = [tensor<2xf32>]} : (tensor<2xf32>, tensor<2xf32>) -> (tensor<2xf32>, tensor<i32>)
  // CHECK-NEXT:   %48 = df.enter %1 {frame = "scan_0", is_constant = true, parallel_iterations = 10} : !df.resource<"stack">
  // CHECK-NEXT:   %49 = df.constant {value = int32[] 0} : () -> tensor<i32>
  // CHECK-NEXT:   %50 = df.compare %35, %49 {direction = "GE"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
  // CHECK-NEXT:   %51 = df.loop_cond %50 : tensor<i1>
  // CHECK-NEXT:   %52, %53 = df.switch %35, %51 : (tensor<i32>, tensor<i1>) -> (tensor<i32>, tensor<i32>)
  // CHECK-NEXT:   %54, %55 = df.switch %41, %51 : (tensor<i1>, tensor<i1>) -> (tensor<i1>, tensor<i1>)
  // CHECK-NEXT:   %56, %g = df.switch %45, %51 : (tensor<2xf32>, tensor<i1>) -> (tensor<2xf32>, tensor<2xf32>)
  // CHECK-NEXT:   %57 = df.group %55 : (tensor<i1>) -> !df.control
  // CHECK-NEXT:   %b_1, %58 = df.stack_pop %48, %57 {element = [tensor<2xf32>]} : (!df.resource<"stack">, !df.control) -> (tensor<2xf32>, !df.control)
  // CHECK-NEXT:   %c_1 = df.multiply %g, %b_1 : tensor<2xf32>
  // CHECK-NEXT:   %47 = df.next_iteration %c_1 : tensor<2xf32>
  // CHECK-NEXT:   %59 = df.constant {value = int32[] 1} : () -> tensor<i32>
  // CHECK-NEXT:   %60 = df.subtract %53, %59 : tensor<i32>
  // CHECK-NEXT:   %37 = df.next_iteration %60 : tensor<i32>
  // CHECK-NEXT:   %61 = df.after %55, %58 : (tensor<i1>, !df.control) -> tensor<i1>
  // CHECK-NEXT:   %43 = df.next_iteration %61 : tensor<i1>
  // CHECK-NEXT:   %y = df.exit %56 : tensor<2xf32>
  // CHECK-NEXT:   df.return %y : (tensor<2xf32>) -> ()
  // CHECK-NEXT: }) : () -> ()
  df.func {sym_name = "swapped", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<2xf32>):
    %a, %count, %xs = df.while %x {n_carried = 1, length = ["n"], ys = [tensor<2xf32>], n_captured = 0, n_handles = 0, stateful = false, parallel_iterations = 10, swap_memory = true} ({
    ^bb0(%k: tensor<i32>, %b: tensor<2xf32>):
      %ten = df.constant {value = int32[] 10} : () -> tensor<i32>
      %less = df.compare %k, %ten {direction = "LT"} : (tensor<i32>, tensor<i32>) -> tensor<i1>
      df.yield %less : (tensor<i1>) -> ()
    }, {
    ^bb0(%k: tensor<i32>, %b: tensor<2xf32>):
      %c = df.tanh %b : tensor<2xf32>
      df.yield %c, %b : (tensor<2xf32>, tensor<2xf32>) -> ()
    }) : (tensor<2xf32>) -> (tensor<2xf32>, tensor<i32>, tensor<?x2xf32, ["n", 2]>)
    %y = df.scan %count, %a, %xs {n_carried = 1, n_xs = 1, length = ["n"], ys = [], counted = true, reverse = true, n_captured = 0, n_handles = 0, stateful = false, parallel_iterations = 10, swap_memory = true} ({
    ^bb0(%k: tensor<i32>, %g: tensor<2xf32>, %b: tensor<2xf32>):
      %c = df.multiply %g, %b : tensor<2xf32>
      df.yield %c : (tensor<2xf32>) -> ()
    }) : (tensor<i32>, tensor<2xf32>, tensor<?x2xf32, ["n", 2]>) -> tensor<2xf32>
    df.return %y : (tensor<2xf32>) -> ()
  }) : () -> ()
}
