"""Wheels of a release on the package index, as an argument of ``--wheel``.

``pypi:NAME`` are the wheels of the newest release of a project, ``pypi:NAME==VERSION`` those of a release,
``pypi:NAME@previous`` those of the release before the newest one. ``/FILE`` behind it, a name or a pattern, selects wheels.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.system.index import files as index
from pytest_wheelcheck.system.index.files import IndexFile
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.planning.index_names import PREFIX

_SPEC = re.compile(
    r"pypi:(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"(?:==(?P<version>[^/@=\s]+)|(?P<previous>@previous))?(?:/(?P<pattern>[^/\s]+))?"
)

#: Versions that a message lists.
_SHOWN_VERSIONS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedRelease:
    """A release on the index.

    :param name: normalized name of the project.
    :param version: of the release.
    :param wheels: its wheels, whose names are valid.
    :param others: names of its other files.
    """

    name: str
    version: Version
    wheels: tuple[IndexFile, ...]
    others: tuple[str, ...]

    @property
    def shown(self) -> str:
        """How node ids and messages name it; ``--wheel`` accepts it."""
        return f"{PREFIX}{self.name}=={self.version}"


def download(text: str, settings: InstallSettings) -> tuple[list[tuple[Path, str]], list[Path]]:
    """Download the wheels that an argument of ``--wheel`` names.

    :returns: the wheels, each with its name in node ids, and the names of the other files of the release, if all of it is named.
    :raises UsageError: the argument has another form, or there is no such release or wheel.
    :raises PackageIndexError: the index cannot be asked.
    """
    found = _SPEC.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--wheel {text}: this does not name a release on the package index",
            fix="write pypi:NAME, pypi:NAME==1.2, pypi:NAME@previous or pypi:NAME==1.2/FILE.whl",
        )
    if settings.offline:
        raise UsageError(
            f"--wheel {text}: the package index cannot be asked with --wheel-offline",
            fix="omit --wheel-offline, or pass files",
        )
    releases = list_releases(canonicalize_name(found["name"]), settings)
    release = _choose(text, releases, found["version"], previous=bool(found["previous"]))
    wheels = [file for file in release.wheels if fnmatch.fnmatchcase(file.name, found["pattern"] or "*")]
    if not wheels:
        names = ", ".join(file.name for file in release.wheels[:_SHOWN_VERSIONS]) or "none"
        raise UsageError(
            f"--wheel {text}: {release.name} {release.version} has no such wheel on the index",
            cause=f"its wheels are: {names}" if release.wheels else "it has a source distribution only",
            fix="correct the name or pattern" if release.wheels else "build a wheel, and pass it to --wheel",
        )
    paths = index.fetch(wheels, settings, f"{release.name} {release.version}")
    return (
        [(path, f"{release.shown}/{path.name}") for path in paths],
        [] if found["pattern"] else [Path(name) for name in release.others],
    )


def list_releases(name: str, settings: InstallSettings) -> list[PublishedRelease]:
    """List the releases of a project, the oldest first. Yanked files are included if all files of a release are yanked.

    :param name: normalized.
    :raises PackageIndexError: the index cannot be asked.
    """
    by_version: dict[Version, list[IndexFile]] = {}
    for file in index.list_files(name, settings):
        version = _version(file.name, name)
        if version is not None:
            by_version.setdefault(version, []).append(file)
    found = []
    for version, files in sorted(by_version.items()):
        usable = [file for file in files if not file.yanked] or files
        wheels = sorted((file for file in usable if file.name.endswith(".whl")), key=lambda file: file.name)
        others = sorted(file.name for file in usable if not file.name.endswith(".whl"))
        found.append(PublishedRelease(name=name, version=version, wheels=tuple(wheels), others=tuple(others)))
    return found


def previous_release(releases: Iterable[PublishedRelease], version: Version) -> PublishedRelease | None:
    """Return the newest release with wheels that is older than a version; no pre-release unless the version is one."""
    older = [release for release in releases if release.version < version and release.wheels]
    final = [release for release in older if not release.version.is_prerelease]
    return next(iter(reversed(older if version.is_prerelease else final)), None)


def _version(name: str, project: str) -> Version | None:
    try:
        own, version = parse_wheel_filename(name)[:2] if name.endswith(".whl") else parse_sdist_filename(name)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
    return version if own == project else None


def _choose(text: str, releases: list[PublishedRelease], version: str | None, *, previous: bool) -> PublishedRelease:
    if not releases:
        raise UsageError(
            f"--wheel {text}: the package index has no such project",
            fix="correct the name; --wheel-index, or pip's or uv's configuration, names the index",
        )
    if version is not None:
        try:
            wanted = Version(version)
        except InvalidVersion:
            raise UsageError(f"--wheel {text}: {version} is not a version", fix="write pypi:NAME==1.2") from None
        if found := next((release for release in releases if release.version == wanted), None):
            return found
        listed = ", ".join(str(release.version) for release in releases[: -_SHOWN_VERSIONS - 1 : -1])
        raise UsageError(f"--wheel {text}: there is no such version on the index", fix=f"the newest ones are {listed}")
    final = [release for release in releases if not release.version.is_prerelease] or releases
    newest = final[-1]
    if not previous:
        return newest
    if found := previous_release(releases, newest.version):
        return found
    raise UsageError(
        f"--wheel {text}: there is no release with wheels before {newest.version}",
        fix=f"write {newest.shown} for the newest one",
    )
