"""Child processes for code that may crash, and plug-in kernels, whose code needs them."""
