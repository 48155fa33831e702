"""Reading and writing parts of a tensor at indices that are data."""
