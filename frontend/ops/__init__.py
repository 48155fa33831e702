"""The public operations by family, under the Python Array API's names."""
