"""The report as a single HTML file without external resources."""

from pytest_wheelcheck.reporting.html.page import MAX_SIZE, render

__all__ = ["MAX_SIZE", "render"]
