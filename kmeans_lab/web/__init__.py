"""The race in the browser: ``kmeans-lab serve``.

``app`` answers requests and computes nothing; ``scheduler`` decides what may be computed now. All
computing is done in separate processes (``worker_process``): the data of a race (``race_data``),
each of its lanes (``lane``), the table of kernels, ``explain`` and the ladder (``queries``).
``race_runner`` is a thread for each race that reads the messages of these processes and records
them as events of the race (``races``, ``events``), for any number of readers.
"""
