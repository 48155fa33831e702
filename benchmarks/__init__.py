"""Side-by-side benchmarks: each measures dfc and a peer alternately in one run, and reports ratios."""
