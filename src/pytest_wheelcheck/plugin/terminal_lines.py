"""Lines about what goes on, on the terminal of the run: pytest captures what this process prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def replaced_line(config: pytest.Config) -> Callable[[str], None] | None:
    """Return a function that replaces the last line of the terminal; ``None`` where the output is no terminal."""
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    return reporter.rewrite if reporter is not None and reporter.isatty else None


def new_line(config: pytest.Config) -> Callable[[str], None]:
    """Return a function that writes a line of its own, in the middle of others."""
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")

    def show(line: str) -> None:
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(line)

    return show
