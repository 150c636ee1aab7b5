"""Which interpreters and platforms the compatibility tags of a wheel admit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from packaging.tags import Tag

from pytest_wheelcheck.interpreters import tags
from pytest_wheelcheck.interpreters.base import OLDEST, Offer
from pytest_wheelcheck.model import Platform, Wheel
from pytest_wheelcheck.targets.planning.specs import Interpreter

#: The newest minor version that is considered if no wheel names a newer one.
NEWEST_KNOWN = 15


@dataclass(kw_only=True, slots=True)
class TagGroup:
    """The tags of a wheel that are for one platform.

    :param minimum_libc: the oldest C library, or version of macOS, that one of them allows.
    """

    platform: Platform
    tags: set[str]
    minimum_libc: tuple[int, int]

    def admits(self, interpreter: Interpreter) -> bool:
        """Return whether the tags admit an interpreter on this platform, however new its C library or macOS is."""
        return not self.tags.isdisjoint(_all_accepted(interpreter, self.platform))

    def fits(self, offer: Offer) -> bool:
        """Return whether an offered interpreter accepts one of the tags."""
        return not self.tags.isdisjoint(_as_set(offer.tags))


@lru_cache(maxsize=512)
def _all_accepted(interpreter: Interpreter, platform: Platform) -> frozenset[str]:
    architecture = "arm64" if platform.architecture.startswith("universal") else platform.architecture
    versions = {"glibc": (2, 99), "musl": (1, 99)}
    return frozenset(
        tags.accepted(
            implementation=interpreter.implementation,
            version=interpreter.version,
            free_threaded=interpreter.free_threaded,
            system=platform.system,
            architecture=architecture,
            libc=platform.libc,
            libc_version=versions.get(platform.libc, (0, 0)),
            system_version=(99, 0),
        )
    )


@lru_cache(maxsize=512)
def _as_set(accepted: tuple[str, ...]) -> frozenset[str]:
    return frozenset(accepted)


def group_tags(wheel: Wheel, host: Platform) -> list[TagGroup]:
    """Group the tags of a wheel by platform.

    :param host: what ``any`` and ``linux_*`` mean.
    """
    groups: dict[Platform, TagGroup] = {}
    for tag in wheel.tags:
        system, architecture, libc, minimum = tags.split_platform(tag.platform)
        if not system:
            platform = host
        elif system == "linux" and not libc:
            # A bare linux tag says nothing about the C library: it means the host's.
            platform = Platform(system=system, architecture=architecture, libc=host.libc or "glibc")
        else:
            platform = Platform(system=system, architecture=architecture, libc=libc)
        group = groups.setdefault(platform, TagGroup(platform=platform, tags=set(), minimum_libc=minimum))
        group.tags.add(str(tag))
        group.minimum_libc = min(group.minimum_libc, minimum)
    return list(groups.values())


def possible_interpreters(wheel_tags: Sequence[Tag]) -> list[Interpreter]:
    """List all interpreters that a wheel could be for: the known ones, and those that its tags name."""
    minors = set(range(OLDEST[1], NEWEST_KNOWN + 1))
    for tag in wheel_tags:
        if match := re.fullmatch(r"(?:cp|pp)3(\d+)", tag.interpreter):
            minors.add(int(match[1]))
    found = []
    for minor in sorted(minors):
        found.append(Interpreter(version=(3, minor)))
        if minor >= 13:
            found.append(Interpreter(version=(3, minor), free_threaded=True))
        if minor <= 11 or any(tag.interpreter == f"pp3{minor}" for tag in wheel_tags):
            found.append(Interpreter(version=(3, minor), implementation="pypy"))
    return sorted(found)


def primary_kinds(wheel_tags: Sequence[Tag]) -> list[tuple[str, bool]]:
    """List the kinds of interpreter that a wheel's tags name: a tag ``py3`` means CPython first."""
    kinds: dict[tuple[str, bool], None] = {}
    for tag in wheel_tags:
        if tag.interpreter.startswith("pp"):
            kinds["pypy", False] = None
        elif tag.interpreter.startswith("cp") and tag.abi.endswith("t"):
            kinds["cpython", True] = None
        else:
            kinds["cpython", False] = None
    return sorted(kinds)
