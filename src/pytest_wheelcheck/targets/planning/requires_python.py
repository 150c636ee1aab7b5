"""Which versions of Python a ``Requires-Python`` admits."""

from __future__ import annotations

from collections.abc import Iterable

from packaging.specifiers import InvalidSpecifier, SpecifierSet

#: Patch versions that stand for all of a minor version: a specifier may begin or end within it.
_MICROS = (0, 5, 30)


def _specifier(requires_python: str | None) -> SpecifierSet:
    try:
        return SpecifierSet(requires_python or "")
    except InvalidSpecifier:
        return SpecifierSet()  # a static check reports it


def satisfies(requires_python: str | None, version: tuple[int, ...]) -> bool:
    """Return whether a version of Python satisfies ``Requires-Python``; true if that is invalid."""
    return _specifier(requires_python).contains(".".join(map(str, version)), prereleases=True)


def admitted_minors(requires_python: str | None, minors: Iterable[int]) -> list[int]:
    """Return the minor versions of Python 3 of which some patch version is admitted; all if ``Requires-Python`` is invalid."""
    specifier = _specifier(requires_python)
    return [
        minor
        for minor in minors
        if any(specifier.contains(f"3.{minor}.{micro}", prereleases=True) for micro in _MICROS)
    ]
