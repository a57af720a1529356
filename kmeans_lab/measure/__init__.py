"""The measuring instrument: paired rounds, intervals, certificates, and what a number rests on.

Nothing here computes k-means. ``statistics`` turns paired samples into ratios with intervals,
``latin_squares`` says who runs when, ``rounds`` runs and certifies, ``record`` reads and writes the
JSON, ``tables`` lays out what people see. ``conformance`` asks a kernel what the contract promises;
``explain``, with ``roofline`` and ``machinecode``, ``profile`` and ``scaling`` look at one kernel.
"""
