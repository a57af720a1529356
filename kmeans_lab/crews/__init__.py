"""Crews, which compute the chunks of a fit: the calling thread, several threads, or processes."""
