"""What a graph needs while it runs: devices, resources, the executor, sessions, checkpoints and artifacts."""
