"""CPython for Windows."""
