"""Random bits and numbers, counter-based: the same key gives the same bits everywhere."""
