"""The wheels that a project publishes for the platforms of the survey, from the simple repository API (PEP 691, PEP 700)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from urllib.parse import urljoin

from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from pytest_wheelcheck.system import pip_config

#: The interpreter that every wheel is chosen for.
PYTHON = (3, 12)
#: The names of the platforms, in the order in which the survey covers them.
PLATFORMS = ("manylinux_x86_64", "manylinux_aarch64", "musllinux_x86_64", "win_amd64", "macosx_arm64")
#: The newest versions of the C libraries and of macOS that wheels may need.
GLIBC, MUSL, MACOS = 41, 2, (15, 0)
ALIASES = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
YEAR = timedelta(days=365.25)


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A file of a project in the index.

    :param size: in bytes; 0 if the index does not say.
    :param uploaded: time of the upload; the epoch if the index does not say.
    """

    name: str
    url: str
    sha256: str
    size: int
    uploaded: datetime


@dataclass(frozen=True, kw_only=True)
class Release:
    """A version of a project, and its wheel for each platform that has one."""

    project: str
    version: str
    wheels: Mapping[str, PublishedFile] = field(hash=False)


def index_url(given: str = "") -> str:
    """Return the address of the index: the given one, else the one that pip is configured with, else pip's default."""
    url = given or pip_config.read(os.environ).get("index-url", "")
    if not url:
        argv = [sys.executable, "-m", "pip", "download", "--help"]
        text = subprocess.run(
            argv, capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "COLUMNS": "400"}
        ).stdout
        found = re.search(r"--index-url.*?\(default\s+(\S+?)\)", text, re.DOTALL)
        if not found:
            sys.exit("pip does not say which index it uses; name one with --index")
        url = found[1]
    return url.rstrip("/") + "/"


def published_files(index: str, project: str) -> dict[Version, list[PublishedFile]]:
    """List the files of all final releases that are not yanked, by version. Empty if the index has no such project."""
    url = urljoin(index, f"{project}/")
    request = urllib.request.Request(url, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            data = json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return {}
        raise
    found: dict[Version, list[PublishedFile]] = {}
    for entry in data["files"]:
        version = version_of(entry["filename"])
        if version is None or version.is_prerelease or entry.get("yanked"):
            continue
        uploaded = entry.get("upload-time") or "1970-01-01T00:00:00Z"
        file = PublishedFile(
            name=entry["filename"],
            url=urljoin(url, entry["url"]),
            sha256=entry["hashes"].get("sha256", ""),
            size=entry.get("size") or 0,
            uploaded=datetime.fromisoformat(uploaded[:19]).replace(tzinfo=timezone.utc),
        )
        found.setdefault(version, []).append(file)
    return found


def version_of(name: str) -> Version | None:
    """Return the version in the name of a wheel or sdist; ``None`` for other files and names that are not valid."""
    try:
        return parse_wheel_filename(name)[1] if name.endswith(".whl") else parse_sdist_filename(name)[1]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


@cache
def ranks(platform: str) -> dict[Tag, int]:
    """Return the tags that an installer accepts on a platform, without those for any platform, the best first."""
    names = list(platform_tags(platform))
    tags = [*cpython_tags(PYTHON, platforms=names), *compatible_tags(PYTHON, "cp312", names)]
    return {tag: rank for rank, tag in enumerate(tags) if tag.platform != "any"}


def platform_tags(platform: str) -> Iterator[str]:
    """Yield the platform tags that an installer accepts on a platform of the survey, the best first."""
    family, _, architecture = platform.partition("_")
    if family == "win":
        yield platform
    elif family == "macosx":
        yield from mac_platforms(MACOS, architecture)
    elif family == "musllinux":
        yield from (f"musllinux_1_{minor}_{architecture}" for minor in range(MUSL, -1, -1))
    else:
        for minor in range(GLIBC, 4, -1):
            yield f"manylinux_2_{minor}_{architecture}"
            if (2, minor) in ALIASES:
                yield f"{ALIASES[2, minor]}_{architecture}"


def best_wheel(files: list[PublishedFile], platform: str) -> PublishedFile | None:
    """Choose the wheel that an installer takes for a platform; ``None`` if there is none for this platform alone."""
    order, best = ranks(platform), None
    for file in files:
        if file.name.endswith(".whl"):
            rank = min((order[tag] for tag in parse_wheel_filename(file.name)[3] if tag in order), default=None)
            if rank is not None and (best is None or rank < best[0]):
                best = (rank, file)
    return best[1] if best else None


def find_release(index: str, project: str, *, years: float = 0) -> Release | None:
    """Find the newest release with native wheels.

    :param years: 0 for the project's newest release, which is ``None`` if it has no native wheels; else the newest one
        with native wheels that was uploaded between so many years ago and a year earlier.
    """
    releases = published_files(index, project)
    newest = datetime.now(timezone.utc) - years * YEAR
    for version in sorted(releases, reverse=True):
        uploaded = min(file.uploaded for file in releases[version])
        if years and not newest - YEAR <= uploaded < newest:
            continue
        chosen = {platform: best_wheel(releases[version], platform) for platform in PLATFORMS}
        wheels = {platform: file for platform, file in chosen.items() if file}
        if wheels:
            return Release(project=project, version=str(version), wheels=wheels)
        if not years:
            return None
    return None


def download(file: PublishedFile, directory: Path) -> Path:
    """Download a file, and verify its digest.

    :raises ValueError: the digest differs.
    :raises OSError: the download failed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path, digest = directory / file.name, hashlib.sha256()
    with urllib.request.urlopen(file.url, timeout=120) as answer, path.open("wb") as stream:
        while block := answer.read(1 << 20):
            digest.update(block)
            stream.write(block)
    if file.sha256 and digest.hexdigest() != file.sha256:
        raise ValueError(f"{file.name} has another sha256 than the index says")
    return path
