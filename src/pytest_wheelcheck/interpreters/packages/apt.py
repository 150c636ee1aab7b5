"""Packages of Debian and Ubuntu repositories, also of other suites and architectures, without root.

apt itself resolves, downloads and verifies packages, with a state directory of its own, so that nothing on the host
changes. Mirror and keys are those of the host's apt sources (``sources.list(5)``, ``apt.conf(5)``); no host name is
written here.
"""

from __future__ import annotations

import contextlib
import csv
import json
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.packages.apt_run import NoSpaceError, run
from pytest_wheelcheck.system import pools, process, progress, temporary
from pytest_wheelcheck.system.sizes import show_size

#: The directory of apt's sources (``sources.list(5)``).
SOURCES = Path("/etc/apt")

#: The suites that every repository of a distribution has, newest first.
SUITES = {"debian": ("unstable", "testing", "stable", "oldstable", "oldoldstable"), "ubuntu": ("devel",)}

#: The names of Ubuntu's releases on Ubuntu and Debian (package ``distro-info-data``).
_UBUNTU_RELEASES = Path("/usr/share/distro-info/ubuntu.csv")

#: A file next to unpacked packages: the repository and the suite that they came from.
_ORIGIN = "source.json"

#: A line of the one-line format.
_LINE = re.compile(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A repository of packages.

    :param uri: of the mirror.
    :param signed_by: path of the keyring, the key itself, or an empty string for the keys that apt trusts.
    :param distribution: ``debian`` or ``ubuntu``.
    :param codename: of the host's release.
    """

    uri: str
    signed_by: str
    distribution: str
    codename: str

    @property
    def suites(self) -> tuple[str, ...]:
        """Names of the suites to search, newest first."""
        names = [*SUITES[self.distribution]]
        if self.distribution == "ubuntu":
            names += _ubuntu_releases()
        return (*names, self.codename)


# --- the host's sources ----------------------------------------------------------------------------------------------


def _ubuntu_releases() -> list[str]:
    """List the codenames of Ubuntu's supported releases that this host knows, newest first."""
    try:
        rows = list(csv.DictReader(_read(_UBUNTU_RELEASES).splitlines()))
        now = time.strftime("%Y-%m-%d")
        return [row["series"] for row in reversed(rows) if (row.get("eol") or "") > now and row["release"] <= now]
    except (KeyError, csv.Error):
        return []


def parse_source(line: str) -> Repository:
    """Parse a line of ``sources.list(5)``: ``deb [signed-by=KEYRING] URI SUITE main``.

    :raises RuntimeUnavailableError: it is not such a line.
    """
    match = _LINE.match(line)
    if not match:
        raise RuntimeUnavailableError(
            f"{line!r} is not a source of packages",
            fix="write it as in sources.list: deb [signed-by=FILE] URI SUITE main",
        )
    key = re.search(r"signed-by=(\S+)", match[1] or "")
    distribution = "ubuntu" if "ubuntu" in match[2] else "debian"
    return Repository(uri=match[2], signed_by=key[1] if key else "", distribution=distribution, codename=match[3])


def host_repository() -> Repository | None:
    """Find the repository that the host was installed from; ``None`` if the host is not Debian or Ubuntu."""
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
    for uri, suite, components, signed_by in _host_sources():
        if suite == codename and "main" in components:
            return Repository(uri=uri, signed_by=signed_by, distribution=distribution, codename=codename)
    return None


def _host_sources() -> Iterator[tuple[str, str, list[str], str]]:
    """Yield URI, suite, components and key of every binary source of the host.

    Parsed here because ``apt-get indextargets`` takes most of a second and does not report the key.
    """
    for file in sorted((SOURCES / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", _read(file)):
            fields = parse_stanza(stanza)
            if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
                for uri in fields.get("uris", "").split():
                    for suite in fields.get("suites", "").split():
                        yield uri, suite, fields.get("components", "").split(), fields.get("signed-by", "")
    for file in (SOURCES / "sources.list", *sorted((SOURCES / "sources.list.d").glob("*.list"))):
        for line in _read(file).splitlines():
            if match := _LINE.match(line):
                key = re.search(r"signed-by=(\S+)", match[1] or "")
                yield match[2], match[3], match[4].split(), key[1] if key else ""


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def parse_stanza(stanza: str) -> dict[str, str]:
    """Parse a stanza of control data (``deb822(5)``): lower-case field names and values.

    python-debian does this as well, but is licensed under the GPL, and takes 9 s for an index that
    :mod:`.apt_suites` searches in 0.4 s.
    """
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and name:
            # In a key, a dot represents an empty line.
            fields[name] += "\n" + ("" if line.strip() == "." else line.strip())
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


# --- downloads -------------------------------------------------------------------------------------------------------


def fetch(
    repository: Repository,
    suite: str,
    packages: Sequence[str],
    into: Path,
    *,
    architecture: str,
    dependencies: bool = True,
    optional: Iterable[str] = (),
    complete: Sequence[str] = (),
) -> dict[str, str]:
    """Download packages from one suite, verified by apt, and unpack them.

    :param into: directory that becomes their root.
    :param architecture: Debian's name of it.
    :param dependencies: whether to add their dependencies (recommendations are never added).
    :param optional: further packages, left out if the suite does not have them.
    :param complete: further packages, whose dependencies are always added.
    :returns: names and versions of all unpacked packages.
    :raises ProcessError: apt failed.
    """
    with temporary.directory() as state:
        apt_get = apt_get_command(repository, suite, state, architecture)
        run([*apt_get, "update"], state)
        available = package_names(state)
        wanted = [*packages, *(name for name in optional if name in available)]
        debs = state / "cache" / "archives"
        if not dependencies:
            _download([*apt_get, "download", *wanted], state, debs)
            wanted = []
        if wanted or complete:
            options = ["-y", "--no-install-recommends", "--download-only"]
            _download([*apt_get, "install", *options, *wanted, *complete], state, debs)
        return _unpack(debs, into)


#: A file of ``apt-get --print-uris``: address, name, size.
_URI = re.compile(r"^'[^']+' (\S+) (\d+)(?: |$)", re.MULTILINE)


def _download(command: Sequence[str | Path], state: Path, directory: Path) -> None:
    """Run apt-get, tell before how much it downloads, and show how far it is.

    :param directory: receives the files.
    :raises ProcessError: apt failed.
    """
    listed = run([*command, "--print-uris"], state, cwd=directory).stdout
    sizes = {name: int(size) for name, size in _URI.findall(listed)}
    total = sum(sizes.values())
    with progress.downloading(f"{len(sizes)} package{'s' * (len(sizes) != 1)}, {show_size(total)}", directory, total):
        run(command, state, cwd=directory)


def fetch_newest(
    packages: Sequence[str],
    into: Path,
    *,
    work: Path,
    architecture: str = "amd64",
    repository: Repository | None = None,
) -> str:
    """Download packages from the newest suite that has all of them, and unpack them without their dependencies.

    :param into: directory that becomes their root.
    :param work: an empty directory for apt's state.
    :param architecture: Debian's name of it.
    :param repository: ``None`` for that of the host.
    :returns: the suite.
    :raises RuntimeUnavailableError: the host has no repository, or no suite has the packages.
    """
    repository = repository or host_repository()
    if repository is None:
        raise RuntimeUnavailableError(
            f"{', '.join(packages)} cannot be downloaded",
            cause="this host has no apt, or its sources do not include the repository of its release",
        )
    problem: ProcessError | None = None
    for suite in dict.fromkeys(repository.suites):
        try:
            apt_get = apt_get_command(repository, suite, work / suite, architecture)
            run([*apt_get, "update"], work / suite)
            run([*apt_get, "download", *packages], work / suite, cwd=work / suite / "debs")
        except NoSpaceError as error:
            raise RuntimeUnavailableError(
                f"{', '.join(packages)} cannot be downloaded: {error.message}", fix=error.fix, details=error.details
            ) from error
        except ProcessError as error:
            problem = error
            continue
        _unpack(work / suite / "debs", into)
        return suite
    raise RuntimeUnavailableError(
        f"no suite of the host's package repository provides {', '.join(packages)}",
        cause="the repository does not have them, or cannot be reached",
        fix="run apt-get update, and check apt's sources",
        details=problem.details if problem else "",
    ) from problem


class SuitePackages:
    """The packages of one suite for one architecture, for several downloads.

    :param command: apt-get with a state of its own, whose index was downloaded.
    :param state: the directory of that state.
    """

    def __init__(self, command: list[str | Path], state: Path) -> None:
        self._command = command
        self._state = state
        self._names = package_names(state)

    def first_available(self, names: Iterable[str]) -> str:
        """Return the first of *names* that is a package of the suite, or an empty string."""
        return next((name for name in names if name in self._names), "")

    def fetch(self, names: Sequence[str], into: Path) -> None:
        """Download packages, verified by apt, and unpack them without their dependencies.

        :raises ProcessError: apt failed.
        """
        with tempfile.TemporaryDirectory(dir=self._state) as debs:
            _download([*self._command, "download", *dict.fromkeys(names)], self._state, Path(debs))
            _unpack(Path(debs), into)


@contextlib.contextmanager
def open_suite(repository: Repository, suite: str, architecture: str) -> Iterator[SuitePackages]:
    """Download the index of a suite for the duration of the context.

    :param architecture: Debian's name of it.
    :raises ProcessError: apt failed.
    """
    with temporary.directory() as state:
        command = apt_get_command(repository, suite, state, architecture)
        run([*command, "update"], state)
        yield SuitePackages(command, state)


def _unpack(debs: Path, into: Path) -> dict[str, str]:
    into.mkdir(parents=True, exist_ok=True)
    # Sorted: base-files, whose directories are links since the merge of /usr, comes before packages that would make
    # real directories of these names.
    files = sorted(debs.glob("*.deb"))
    with pools.threads(2, "unpack") as pool:
        pools.map_concurrently(pool, lambda file: process.run(["dpkg-deb", "-x", file, into]), files)
    parts = (file.name.split("_") for file in files)
    return {name: version.replace("%3a", ":") for name, version, *_ in parts}


def write_origin(directory: Path, repository: Repository, suite: str) -> None:
    """Record in *directory* where the packages in it came from."""
    text = json.dumps({"archive": asdict(repository), "suite": suite})
    (directory / _ORIGIN).write_text(text, encoding="utf-8")


def read_origin(directory: Path) -> tuple[Repository, str] | None:
    """Return the repository and the suite that :func:`write_origin` recorded; ``None`` if there is no record."""
    try:
        data = json.loads((directory / _ORIGIN).read_text(encoding="utf-8"))
        return Repository(**data["archive"]), str(data["suite"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


# --- apt's state -----------------------------------------------------------------------------------------------------


def indexes(state: Path) -> list[Path]:
    """List the ``Packages`` files that ``apt-get update`` downloaded."""
    return list((state / "state/lists").glob("*_Packages"))


def package_names(state: Path) -> frozenset[str]:
    """Return the names of all packages in the downloaded indexes."""
    found: set[str] = set()
    for path in indexes(state):
        found.update(name.decode() for name in re.findall(rb"^Package: (\S+)$", path.read_bytes(), re.MULTILINE))
    return frozenset(found)


def apt_get_command(repository: Repository, suite: str, state: Path, architecture: str) -> list[str | Path]:
    """Prepare a directory for apt's state, and return the apt-get command that uses it and nothing else.

    :param architecture: Debian's name of it.
    """
    for directory in ("state/lists/partial", "cache/archives/partial", "debs"):
        (state / directory).mkdir(parents=True, exist_ok=True)
    key = repository.signed_by
    if "BEGIN PGP" in key:
        (state / "key.asc").write_text(key.strip() + "\n", encoding="utf-8")
        key = str(state / "key.asc")
    option = f"[signed-by={','.join(key.split())}] " if key else ""
    (state / "sources.list").write_text(f"deb {option}{repository.uri} {suite} main\n", encoding="utf-8")
    # An unprivileged user cannot lock /dev/null: dpkg's lock is next to the file.
    (state / "status").write_text("", encoding="utf-8")
    settings = {
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": state / "state",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::PDiffs": "false",
        "Acquire::GzipIndexes": "false",
        "Acquire::http::Timeout": "15",
        "Acquire::https::Timeout": "15",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
    }
    options = (argument for name, value in settings.items() for argument in ("-o", f"{name}={value}"))
    return ["apt-get", "-q", *options]
