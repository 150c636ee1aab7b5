"""Packages of the host's own archive, also of other suites and architectures, without root and without a trace.

apt itself resolves, downloads and verifies; it is given a state of its own. The mirror and its keys are those of the
host's apt sources, so no host name stands here (``sources.list(5)``, ``apt.conf(5)``). Which suite has what is asked of
the archive's indexes and remembered for a while.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import platform
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError, WheelcheckError
from pytest_wheelcheck.system import cache, process, temporary

#: Where apt's sources are (``sources.list(5)``).
SOURCES = Path("/etc/apt")

#: Suites that every archive of its kind has, newest first: several names of Debian, one alias of Ubuntu.
SUITES = {"debian": ("unstable", "testing", "stable", "oldstable", "oldoldstable"), "ubuntu": ("devel",)}

#: Where Ubuntu and Debian keep the names of Ubuntu's releases (package ``distro-info-data``).
_UBUNTU_RELEASES = Path("/usr/share/distro-info/ubuntu.csv")

#: Beside what was unpacked: the archive and the suite that it came from.
_ORIGIN = "source.json"

#: Seconds for which an answer of the archive's indexes is good; a package that is gone meanwhile asks again.
FRESH = 7 * 24 * 3600.0

#: Seconds for which a failed question is not asked again.
_FAILED = 300.0

#: Seconds for fetching the index of one suite.
_UPDATE_DEADLINE = 120.0

#: Bump when what is remembered changes.
_GENERATION = 3

#: The packages whose versions are remembered.
_SURVEYED = re.compile(
    rb"^Package: (python3\.\d+-minimal|libc6(?:-[a-z0-9]+-cross)?|musl|qemu-user|qemu-user-static)\n(?:(?!\n).*\n)*?"
    rb"Version: (\S+)$",
    re.MULTILINE,
)


_LINE = re.compile(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
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
        names = [*SUITES[self.distribution]]
        if self.distribution == "ubuntu":
            names += _ubuntu_releases()
        return (*names, self.codename)


def _ubuntu_releases() -> list[str]:
    """List the codenames of Ubuntu's releases that still get updates, newest first, as far as this host knows them."""
    try:
        rows = list(csv.DictReader(_text(_UBUNTU_RELEASES).splitlines()))
        now = time.strftime("%Y-%m-%d")
        return [row["series"] for row in reversed(rows) if (row.get("eol") or "") > now and row["release"] <= now]
    except (KeyError, csv.Error):
        return []


def parse_source(source: str) -> Repository:
    """Read an archive from a line of ``sources.list(5)``: ``deb [signed-by=KEYRING] URI SUITE main``.

    :raises RuntimeUnavailableError: it is not such a line.
    """
    match = _LINE.match(source)
    if not match:
        raise RuntimeUnavailableError(
            f"{source!r} is no source of packages",
            fix="write it as in sources.list: deb [signed-by=FILE] URI SUITE main",
        )
    key = re.search(r"signed-by=(\S+)", match[1] or "")
    distribution = "ubuntu" if "ubuntu" in match[2] else "debian"
    return Repository(uri=match[2], signed_by=key[1] if key else "", distribution=distribution, codename=match[3])


def host_repository() -> Repository | None:
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
    for uri, suite, components, signed_by in _host_sources():
        if suite == codename and "main" in components:
            return Repository(uri=uri, signed_by=signed_by, distribution=distribution, codename=codename)
    return None


def _host_sources() -> Iterator[tuple[str, str, list[str], str]]:
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
            if match := _LINE.match(line):
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


# --- asking the indexes ---------------------------------------------------------------------------------------------


#: Why a suite has nothing, where that is its nature.
NO_ARCHITECTURE = "the host's archive does not carry the architecture"


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """What one suite of an archive has for one architecture, as far as it matters here.

    :param name: as it was asked for.
    :param codename: as its Release file tells it.
    :param alias: its other name, such as ``stable``.
    :param packages: names and whole versions (``deb-version(7)``); empty where it lacks the architecture.
    :param problem: why nothing is known of it.
    """

    name: str
    codename: str
    alias: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def query_suites(
    repository: Repository,
    architecture: str,
    names: Sequence[str],
    *,
    offline: bool = False,
    refresh: bool = False,
) -> tuple[Suite, ...]:
    """Ask suites of an archive what they have for an architecture, all at once: 8 to 11 MB each.

    The answers are kept for a week. Raises nothing; a suite that cannot be asked has a ``problem``.

    :param architecture: Debian's name of it.
    :param names: of the suites.
    :param offline: only tell what is remembered, however old.
    :param refresh: ask, whatever is remembered.
    """

    def one(name: str) -> Suite:
        return _remembered(repository, architecture, name, offline=offline, refresh=refresh)

    if len(names) < 2:
        return tuple(map(one, names))
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        return tuple(process.map_concurrently(pool, one, names))


def _remembered(repository: Repository, architecture: str, name: str, *, offline: bool, refresh: bool) -> Suite:
    file = _file(repository, architecture, name)
    kept = _kept(file)
    if kept is not None and not refresh and (offline or time.time() < kept[0]):
        return kept[1]
    if offline:
        return Suite(name=name, codename=name, problem="this run is offline, and the host's archive was never asked")
    try:
        with cache.locked(f"archives/{file.stem}"):
            kept = _kept(file)
            if kept is None or time.time() >= kept[0] or refresh:
                suite = _ask(repository, architecture, name)
                kept = time.time() + (_FAILED if suite.problem else FRESH), suite
                text = json.dumps({"until": kept[0], "suite": asdict(suite)})
                # A suite goes by several names: the answer holds for all of them.
                for other in {name} if suite.problem else {name, suite.codename, suite.alias}:
                    _keep(_file(repository, architecture, other), text)
    except WheelcheckError as error:
        return Suite(name=name, codename=name, problem=error.message)
    return kept[1]


def _file(repository: Repository, architecture: str, name: str) -> Path:
    key = cache.digest(str(_GENERATION), repository.uri, repository.signed_by, architecture, name)
    return cache.root() / "archives" / f"{key}.json"


def _keep(file: Path, text: str) -> None:
    # Not being able to write costs time only.
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        side = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        side.write_text(text, encoding="utf-8")
        side.replace(file)


def _kept(file: Path) -> tuple[float, Suite] | None:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return float(data["until"]), Suite(**data["suite"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _ask(repository: Repository, architecture: str, name: str) -> Suite:
    with temporary.directory() as work:
        command = [*_apt_get(repository, name, work, architecture), "update"]
        try:
            done = process.run(command, timeout=_UPDATE_DEADLINE, end_with_parent=True)
        except ProcessError as error:
            return Suite(name=name, codename=name, problem=_why(error.details, architecture, error.message))
        lists = work / "state" / "lists"
        if not list(lists.glob("*Release")):
            # apt takes a failure that may pass, such as that of a connection, for a success.
            return Suite(name=name, codename=name, problem=_why(done.stderr, architecture, "apt fetched no index"))
        fields = _fields("".join(_text(path) for path in lists.glob("*Release")).partition("\nSHA256:")[0])
        packages: dict[str, str] = {}
        for path in lists.glob("*_Packages"):
            for match in _SURVEYED.finditer(path.read_bytes()):
                packages[match[1].decode()] = match[2].decode()
    return Suite(name=name, codename=fields.get("codename", name), alias=fields.get("suite", name), packages=packages)


def _why(said: str, architecture: str, what: str) -> str:
    if re.search(r"Could not (connect|resolve)|Temporary failure|timed out|unreachable|refused", said):
        return "the host's archive cannot be reached"
    if "404" in said or "does not have" in said:
        return f"{NO_ARCHITECTURE} {architecture}"
    lines = [line for line in said.strip().splitlines() if line.startswith("E:")]
    return f"the host's archive cannot be used: {(lines or [what])[0]}"


# --- fetching -------------------------------------------------------------------------------------------------------


def fetch(
    repository: Repository,
    suite: str,
    packages: Sequence[str],
    into: Path,
    *,
    architecture: str,
    dependencies: bool = True,
    optional: Iterable[str] = (),
) -> dict[str, str]:
    """Download packages from one suite, verified by apt, and unpack them.

    :param into: folder that becomes their root.
    :param architecture: Debian's name of it.
    :param dependencies: whether what they depend on comes with them (recommendations never do).
    :param optional: further packages, left out where the suite lacks them.
    :returns: names and versions of all that was unpacked.
    :raises ProcessError: apt could not give them.
    """
    with temporary.directory() as work:
        apt_get = _apt_get(repository, suite, work, architecture)
        process.run([*apt_get, "update"], end_with_parent=True)
        wanted = list(packages)
        index = b"\n".join(path.read_bytes() for path in (work / "state/lists").glob("*_Packages"))
        wanted += [name for name in optional if f"\nPackage: {name}\n".encode() in index]
        if dependencies:
            words = ["install", "-y", "--no-install-recommends", "--download-only", *wanted]
            process.run([*apt_get, *words], end_with_parent=True)
            folder = work / "cache" / "archives"
        else:
            process.run([*apt_get, "download", *wanted], cwd=work / "debs", end_with_parent=True)
            folder = work / "debs"
        return _unpack(folder, into)


def write_origin(folder: Path, repository: Repository, suite: str) -> None:
    """Write down where the packages in a folder came from."""
    text = json.dumps({"archive": asdict(repository), "suite": suite})
    (folder / _ORIGIN).write_text(text, encoding="utf-8")


def read_origin(folder: Path) -> tuple[Repository, str] | None:
    """Tell what :func:`write_origin` wrote: archive and suite."""
    try:
        told = json.loads((folder / _ORIGIN).read_text(encoding="utf-8"))
        return Repository(**told["archive"]), str(told["suite"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class SuitePackages:
    """One suite's packages for one architecture, for as long as its folder is there.

    :param command: apt-get with a state of its own, whose index was fetched.
    :param work: that state.
    """

    def __init__(self, command: list[str | Path], work: Path) -> None:
        self._command = command
        self._work = work
        text = b"\n".join(path.read_bytes() for path in (work / "state/lists").glob("*_Packages"))
        self._names = {name.decode() for name in re.findall(rb"^Package: (\S+)$", text, re.MULTILINE)}

    def first_available(self, names: Iterable[str]) -> str:
        """Give the first of some packages that the suite has, or nothing."""
        return next((name for name in names if name in self._names), "")

    def fetch(self, names: Sequence[str], into: Path) -> None:
        """Download packages, verified by apt, and unpack them. Takes no dependencies.

        :raises ProcessError: apt could not give them.
        """
        with tempfile.TemporaryDirectory(dir=self._work) as folder:
            process.run([*self._command, "download", *dict.fromkeys(names)], cwd=Path(folder))
            _unpack(Path(folder), into)


@contextlib.contextmanager
def open_suite(repository: Repository, suite: str, architecture: str) -> Iterator[SuitePackages]:
    """Fetch the index of a suite, for several questions.

    :param architecture: Debian's name of it.
    :raises ProcessError: it cannot be had.
    """
    with temporary.directory() as work:
        command = _apt_get(repository, suite, work, architecture)
        process.run([*command, "update"])
        yield SuitePackages(command, work)


def _unpack(folder: Path, into: Path) -> dict[str, str]:
    into.mkdir(parents=True, exist_ok=True)
    files = sorted(folder.glob("*.deb"))
    # Folders that are links since the merge of /usr come first, or a package would make them.
    with ThreadPoolExecutor(max_workers=2) as pool:
        process.map_concurrently(pool, lambda file: process.run(["dpkg-deb", "-x", file, into]), files)
    names = (file.name.split("_") for file in files)
    return {parts[0]: parts[1].replace("%3a", ":") for parts in names}


def fetch_newest(
    packages: Sequence[str],
    into: Path,
    *,
    work: Path,
    architecture: str = "amd64",
    repository: Repository | None = None,
) -> str:
    """Download packages from the newest suite that has all of them, and unpack them. Takes no dependencies.

    :param into: folder that becomes their root.
    :param work: an empty folder for apt's state.
    :param architecture: Debian's name of it.
    :param repository: where to fetch them from; ``None`` for the host's archive.
    :returns: the suite.
    :raises RuntimeUnavailableError: the host has no such archive, or no suite has the packages.
    """
    repository = repository or host_repository()
    if repository is None:
        raise RuntimeUnavailableError(
            f"{', '.join(packages)} cannot be fetched",
            cause="this host has no apt, or its sources do not name the archive of its release",
        )
    problem: ProcessError | None = None
    for suite in dict.fromkeys(repository.suites):
        try:
            apt_get = _apt_get(repository, suite, work / suite, architecture)
            process.run([*apt_get, "update"], end_with_parent=True)
            process.run([*apt_get, "download", *packages], cwd=work / suite / "debs", end_with_parent=True)
        except ProcessError as error:
            problem = error
            continue
        _unpack(work / suite / "debs", into)
        return suite
    raise RuntimeUnavailableError(
        f"no suite of the host's archive gives {', '.join(packages)}",
        cause="the archive does not carry them, or cannot be reached",
        fix="try apt-get update, and look at the sources of apt",
        details=problem.details if problem else "",
    ) from problem


def _apt_get(repository: Repository, suite: str, work: Path, architecture: str) -> list[str | Path]:
    """Prepare a state of apt in *work*, and give the command that uses it and nothing else."""
    for folder in ("state/lists/partial", "cache/archives/partial", "debs"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    key = repository.signed_by
    if "BEGIN PGP" in key:
        (work / "key.asc").write_text(key.strip() + "\n", encoding="utf-8")
        key = str(work / "key.asc")
    option = f"[signed-by={','.join(key.split())}] " if key else ""
    (work / "sources.list").write_text(f"deb {option}{repository.uri} {suite} main\n", encoding="utf-8")
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
        "Acquire::GzipIndexes": "false",
        "Acquire::http::Timeout": "15",
        "Acquire::https::Timeout": "15",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
    }
    return ["apt-get", "-q", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
