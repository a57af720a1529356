"""The tuned kernels: exact, with running sums, near-tie rescue and threads of their own."""
