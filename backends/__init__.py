"""What turns a `df` graph into something that runs: StableHLO for XLA, a NumPy interpreter, kernel selection."""
