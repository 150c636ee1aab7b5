"""Prove that a built wheel works before anyone installs it."""

__version__ = "0.1.0"
