"""Packages of the host's own archive, also of other suites and architectures, without root and without a trace.

apt itself resolves, downloads and verifies; it is given a state of its own. The mirror and its keys are those of the
host's apt sources, so no host name stands here (``sources.list(5)``, ``apt.conf(5)``).
"""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck import process
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError

#: Where apt's sources are (``sources.list(5)``).
SOURCES = Path("/etc/apt")

#: Suites that every archive of its kind has, newest first: several names of Debian, one alias of Ubuntu.
SUITES = {"debian": ("unstable", "testing", "stable"), "ubuntu": ("devel",)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A package archive that the host uses.

    :param uri: of the mirror.
    :param signed_by: path of the keyring, the key itself, or an empty string for apt's trusted ones.
    :param distribution: ``debian`` or ``ubuntu``.
    :param codename: of the host's release.
    """

    uri: str
    signed_by: str
    distribution: str
    codename: str

    @property
    def suites(self) -> tuple[str, ...]:
        """The suites to look into, newest first."""
        return (*SUITES[self.distribution], self.codename)


def archive() -> Archive | None:
    """Find the archive from which the host itself was installed; ``None`` where it is no Debian or Ubuntu."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return None
    distribution = next(
        (name for name in SUITES if name in [release.get("ID", ""), *release.get("ID_LIKE", "").split()][:2]), ""
    )
    codename = release.get("UBUNTU_CODENAME" if distribution == "ubuntu" else "VERSION_CODENAME", "")
    if not distribution:
        return None
    for uri, suite, components, signed_by in _entries():
        if suite == codename and "main" in components:
            return Archive(uri=uri, signed_by=signed_by, distribution=distribution, codename=codename)
    return None


def _entries() -> Iterator[tuple[str, str, list[str], str]]:
    """Yield URI, suite, components and key of every binary source of the host."""
    for file in sorted((SOURCES / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", _text(file)):
            fields = _fields(stanza)
            if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
                for uri in fields.get("uris", "").split():
                    for suite in fields.get("suites", "").split():
                        yield uri, suite, fields.get("components", "").split(), fields.get("signed-by", "")
    for file in (SOURCES / "sources.list", *sorted((SOURCES / "sources.list.d").glob("*.list"))):
        for line in _text(file).splitlines():
            if match := re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]*)", line):
                key = re.search(r"signed-by=(\S+)", match[1] or "")
                yield match[2], match[3], match[4].split(), key[1] if key else ""


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and name:
            # deb822: a line of a key block that stands for an empty one is a dot.
            fields[name] += "\n" + ("" if line.strip() == "." else line.strip())
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def unpack(packages: Sequence[str], into: Path, *, work: Path, architecture: str = "amd64") -> str:
    """Download packages from the newest suite that has all of them, and unpack them. Takes no dependencies.

    :param into: folder that becomes their root.
    :param work: an empty folder for apt's state.
    :param architecture: Debian's name of it.
    :returns: the suite.
    :raises RuntimeUnavailableError: the host has no such archive, or no suite has the packages.
    """
    found = archive()
    if found is None:
        raise RuntimeUnavailableError(
            f"{', '.join(packages)} cannot be fetched",
            cause="this host has no apt, or its sources do not name the archive of its release",
        )
    problem: ProcessError | None = None
    for suite in dict.fromkeys(found.suites):
        try:
            folder = _download(found, suite, packages, work / suite, architecture)
        except ProcessError as error:
            problem = error
            continue
        for package in sorted(folder.glob("*.deb")):
            process.run(["dpkg-deb", "-x", package, into])
        return suite
    raise RuntimeUnavailableError(
        f"no suite of the host's archive gives {', '.join(packages)}",
        cause="the archive does not carry them, or cannot be reached",
        advice="try apt-get update, and look at the sources of apt",
        details=problem.details if problem else "",
    ) from problem


def _download(found: Archive, suite: str, packages: Sequence[str], work: Path, architecture: str) -> Path:
    for folder in ("state/lists/partial", "cache/archives/partial", "debs"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    key = found.signed_by
    if "BEGIN PGP" in key:
        (work / "key.asc").write_text(key.strip() + "\n", encoding="utf-8")
        key = str(work / "key.asc")
    option = f"[signed-by={','.join(key.split())}] " if key else ""
    (work / "sources.list").write_text(f"deb {option}{found.uri} {suite} main\n", encoding="utf-8")
    # With /dev/null, an unprivileged user fails on dpkg's lock, which lies beside the file.
    (work / "status").write_text("", encoding="utf-8")
    settings = {
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": work / "state",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::PDiffs": "false",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
    }
    argv = ["apt-get", "-q", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
    process.run([*argv, "update"])
    process.run([*argv, "download", *packages], cwd=work / "debs")
    return work / "debs"
