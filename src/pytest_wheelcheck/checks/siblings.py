"""WHL9xx: a wheel among the others of its release."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.utils import canonicalize_name

from pytest_wheelcheck.checks.base import Contents
from pytest_wheelcheck.checks.metadata import same_version


def one_version(contents: Contents) -> Iterator[str]:
    """Another version of the same project."""
    wheel = contents.wheel
    for other in contents.release:
        if canonicalize_name(other.name) == canonicalize_name(wheel.name) and not same_version(
            other.version, wheel.version
        ):
            yield f"{other.shown} is version {other.version} of the same project"


def same_tag(contents: Contents) -> Iterator[str]:
    """Another wheel of the same project and version for a tag of this one."""
    wheel = contents.wheel
    for other in contents.release:
        if other.shown == wheel.shown or canonicalize_name(other.name) != canonicalize_name(wheel.name):
            continue
        shared = set(other.tags) & set(wheel.tags)
        if same_version(other.version, wheel.version) and other.build == wheel.build and shared:
            yield f"{other.shown} is for {', '.join(sorted(map(str, shared)))} as well"


def overwritten(contents: Contents) -> Iterator[str]:
    """Files that a wheel of another project in the same release installs too."""
    wheel = contents.wheel
    own = set(wheel.files)
    for other in contents.release:
        if canonicalize_name(other.name) != canonicalize_name(wheel.name):
            for name in sorted(own & set(other.files)):
                yield f"{name} is in {other.shown} too"
