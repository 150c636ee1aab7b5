"""WHL9xx: a wheel compared with the other wheels of its release."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.utils import canonicalize_name

from pytest_wheelcheck.checks.contents import Contents
from pytest_wheelcheck.checks.metadata import same_version
from pytest_wheelcheck.model import Wheel


def one_version(contents: Contents) -> Iterator[str]:
    """Find another version of the same project."""
    wheel = contents.wheel
    for other in contents.release:
        if _same_project(other, wheel) and not same_version(other.version, wheel.version):
            yield f"{other.shown} is version {other.version} of the same project"


def same_tag(contents: Contents) -> Iterator[str]:
    """Find another wheel of the same project and version with a tag of this one."""
    wheel = contents.wheel
    for other in contents.release:
        if other.shown == wheel.shown or not _same_project(other, wheel):
            continue
        shared = set(other.tags) & set(wheel.tags)
        if same_version(other.version, wheel.version) and other.build == wheel.build and shared:
            yield f"{other.shown} is also for {', '.join(sorted(map(str, shared)))}"


def overwritten(contents: Contents) -> Iterator[str]:
    """Find files that a wheel of another project in the release also installs."""
    wheel = contents.wheel
    files = set(wheel.files)
    for other in contents.release:
        if not _same_project(other, wheel):
            for path in sorted(files & set(other.files)):
                yield f"{path} is also in {other.shown}"


def _same_project(first: Wheel, second: Wheel) -> bool:
    return canonicalize_name(first.name) == canonicalize_name(second.name)
