# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: freethreading_compatible=True, cdivision=True
"""The tiled kernel compiled for the instruction set in this file's name: see setup.py."""

include "cython.pxi"
