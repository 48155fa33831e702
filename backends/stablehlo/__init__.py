"""df to StableHLO: `emit.py` walks, `rules.py` holds the table, and each family of ops has its rules in one file."""
