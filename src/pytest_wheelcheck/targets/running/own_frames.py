"""Lines of faulthandler's stacks that are ours, pytest's and the importer's: nobody looks for a fault there."""

from __future__ import annotations

import re

_FILES = (
    r'[^"\n]*[/\\](?:_pytest|pluggy)[/\\][^"\n]*',
    r'[^"\n]*_wheelcheck_worker[/\\][^"\n]*',
    r'[^"\n]*[/\\]importlib[/\\]__init__\.py',
    r"<frozen (?:runpy|importlib\.[\w.]+)>",
)
_OWN_FRAMES = re.compile(rf'^  File "(?:{"|".join(_FILES)})", line .*\n?', re.MULTILINE)


def without_own_frames(text: str) -> str:
    """Return the output of a target without these frames."""
    return _OWN_FRAMES.sub("", text)
