"""What users program with: traced functions, tensors, variables, operations, control flow, gradients and training."""
