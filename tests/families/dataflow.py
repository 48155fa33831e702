"""Control flow as dataflow."""
