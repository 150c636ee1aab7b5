"""Programs, the cache, temporary directories, the source tree, and the installer uv."""
