"""Graph-to-graph rewrites over the `df` dialect: prune, canonicalize, differentiate, place, partition and cluster.

A pass is a plain function with a frozen dataclass named for it; what it must know of a device comes as an argument.
"""
