"""Rows of which most values are zero: how they are read, measured and clustered."""
