"""Sizes as users write them."""

from __future__ import annotations

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


def parse_size(text: str) -> int:
    """Parse a size such as ``250MiB``.

    :returns: bytes.
    :raises ValueError: the text is not a size.
    """
    number = text.strip().rstrip("bBkKmMgGiI ")
    unit = text.strip()[len(number) :].strip().lower()
    size = float(number)
    if unit not in _UNITS or not 0 < size < float("inf"):
        raise ValueError(text)
    return int(size * _UNITS[unit])


def show_size(number: int) -> str:
    """Return a number of bytes in the unit that fits."""
    for unit, factor in (("MB", 1_000_000), ("kB", 1_000)):
        if number >= factor:
            return f"{number / factor:.{1 if number >= 10 * factor else 2}f} {unit}"
    return f"{number} byte{'' if number == 1 else 's'}"
