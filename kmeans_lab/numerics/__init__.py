"""Arithmetic with stated rounding: exact sums, grids, distances and neighbours."""
