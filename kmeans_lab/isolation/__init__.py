"""Processes of their own for code that may crash, and the plug-ins whose code needs one."""
