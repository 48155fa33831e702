"""Op families: each op with its type rule and its meaning in NumPy."""
