"""The Wine backend."""
