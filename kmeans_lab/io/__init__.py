"""Input and output: frames, text files, images, and result files."""
