"""Kernels in tools beyond the five of kmeans_lab, found through its entry points.

Each guest is one file of the same nested loops; ``README.md`` beside this package lists them.
"""
