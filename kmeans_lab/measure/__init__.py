"""The measuring instrument: paired rounds, intervals, certificates and machine descriptions.

Nothing here computes k-means. ``statistics`` turns paired samples into ratios with intervals,
``latin_squares`` orders the rounds, ``rounds`` runs and certifies them, ``record`` reads and writes
the JSON, ``tables`` lays out the results. ``conformance`` tests a kernel against the contract;
``explain``, with ``roofline`` and ``machinecode``, ``profile`` and ``scaling`` examine one kernel.
"""
