"""What users hand in and take away: frames, text files, images, and result files."""
