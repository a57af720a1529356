"""The race in the browser: ``kmeans-lab serve``.

``app`` answers requests and computes nothing. Whatever computes runs in a process of its own
(``workers``): a race's data (``scene``), each of its lanes (``lane``), the table of kernels,
``explain`` and the ladder (``errands``). ``races`` has a thread for each race that listens to its
processes and writes its events down, for any number of readers.
"""
