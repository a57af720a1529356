"""The race in the browser: ``kmeans-lab serve``.

``app`` answers requests and computes nothing; ``scheduler`` says what may compute now. Whatever
computes runs in a process of its own (``worker_process``): the data of a race (``race_data``), each
of its lanes (``lane``), the table of kernels, ``explain`` and the ladder (``queries``).
``race_runner`` is a thread for each race that listens to these processes and writes what happens
into the events of the race (``races``, ``events``), for any number of readers.
"""
