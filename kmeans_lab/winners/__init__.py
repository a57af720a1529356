"""The map of winners: which kernel is fastest for which n, d and k, and by how much."""
