"""The parts of a target that are fetched once, into the cache: for ``wheelcheck doctor``, before anything is fetched."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_wheelcheck.system import cache


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What is fetched once: an interpreter, a C library, what runs its programs.

    :param key: of its cache entry. Targets with the same part share it.
    :param name: for the user.
    :param size: bytes to download; ``None`` if that is not known before.
    :param ready: it is in the cache.
    """

    key: str
    name: str
    size: int | None
    ready: bool

    @classmethod
    def of(cls, key: str, name: str, size: int | None = None) -> Part:
        """Make a part, and look whether it is in the cache."""
        return cls(key=key, name=name, size=size, ready=cache.is_complete(key))
