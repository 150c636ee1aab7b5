"""Interpreters inside published wheels."""
