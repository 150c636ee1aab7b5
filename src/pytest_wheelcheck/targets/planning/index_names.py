"""How an argument of ``--wheel`` names a release on the package index; see :mod:`.published`."""

from __future__ import annotations

#: The beginning of such an argument.
PREFIX = "pypi:"


def is_spec(text: str) -> bool:
    """Return whether an argument of ``--wheel`` names a release on the package index."""
    return text.startswith(PREFIX)


def is_partial(text: str) -> bool:
    """Return whether an argument of ``--wheel`` names only some wheels of a release on the package index."""
    return is_spec(text) and "/" in text
