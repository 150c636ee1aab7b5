"""Processes, temporary directories, the cache, uv: the only code that touches the host."""
