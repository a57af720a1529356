"""Self-contained HTML pages: reports of benchmarks and races."""
