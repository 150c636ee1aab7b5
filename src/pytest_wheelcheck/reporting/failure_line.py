"""The line of a failure's text that says what happened."""

from __future__ import annotations


def failure_line(text: str) -> str:
    """Return the exception of a traceback, else the first line; empty without text."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = [line[1:].strip() for line in lines if line.startswith("E ")]
    return (raised or lines or [""])[0]
