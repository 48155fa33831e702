"""The `df` dialect on xDSL: types, operations with their type rules and NumPy meanings, builder and text form."""
