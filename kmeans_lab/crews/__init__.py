"""Who computes the chunks of a fit: the calling thread, several threads, or several processes."""
