"""Which suite of a repository has which version of the packages that matter here.

The answers come from the package indexes of the suites, 8 to 11 MB each, and are cached for a week.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, WheelcheckError, is_disk_full
from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.interpreters.packages.apt import Repository
from pytest_wheelcheck.interpreters.packages.apt_run import NoSpaceError, run
from pytest_wheelcheck.system import cache, pools, progress, temporary

#: Seconds for which an answer is cached. Downloads use a fresh index.
_FRESH = 7 * 24 * 3600.0

#: Seconds for which a failed query is cached.
_FAILED = 300.0

#: Seconds for downloading the index of one suite.
_UPDATE_DEADLINE = 120.0

#: Increase when the contents of cached answers change.
_GENERATION = 5

#: The packages whose versions are read: interpreters, C libraries, and user-mode emulators, whose names end in ``-user``.
_VERSIONS = re.compile(
    rb"^Package: (python3\.\d+-minimal|pypy3|libc6(?:-[a-z0-9]+-cross)?|musl|[a-z0-9.+-]+-user(?:-static)?)\n"
    rb"(?:(?!\n).*\n)*?Version: (\S+)$",
    re.MULTILINE,
)

#: Begins the ``problem`` of a suite without packages for the architecture.
NO_ARCHITECTURE = "the host's package repository does not carry the architecture"

#: The ``problem`` of a suite whose server does not answer.
UNREACHABLE = "the host's package repository cannot be reached"

#: Begins the ``problem`` of a suite that could not be read because a disk of this host is full.
NO_SPACE = "the host's package repository could not be read: no space left"

#: Begin the problems that all suites have alike.
HOPELESS = (UNREACHABLE, NO_SPACE)


#: What apt prints if the server has no such suite or architecture, with http and with files. It also prints that there is
#: no Release file if it could not read the one that is there.
_NOT_THERE = re.compile(r"\s404\s+[A-Z][a-z]|File not found - ")

#: What apt prints if no server answers.
_NO_ANSWER = re.compile(
    r"Could not (connect|resolve)|Temporary failure|timed out|unreachable|refused|Connection (failed|reset)"
    r"|\s50[234]\s+[A-Z][a-z]"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """What one suite of a repository has for one architecture.

    :param name: as in the query.
    :param codename: as in its Release file.
    :param alias: its other name, such as ``stable``.
    :param packages: names and full versions (``deb-version(7)``) of the packages that matter here; empty if the suite
        does not have the architecture.
    :param problem: why nothing is known about it; empty if something is.
    """

    name: str
    codename: str
    alias: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


#: The suites that could not be read because a disk is full, by cache file and directory for temporary files. Another run may
#: have room, so this is not cached. Process-wide, because every provider asks, and each question takes long.
_unread: dict[tuple[Path, str], Suite] = {}


def query(
    repository: Repository,
    architecture: str,
    names: Sequence[str],
    *,
    offline: bool = False,
) -> tuple[Suite, ...]:
    """Query suites of a repository for an architecture, all at once.

    Raises no errors: a suite that cannot be queried has a ``problem``.

    :param architecture: Debian's name of it.
    :param names: of the suites.
    :param offline: use cached answers only, however old.
    """

    def query_one(name: str) -> Suite:
        return _query_cached(repository, architecture, name, offline=offline)

    if len(names) < 2:
        return tuple(map(query_one, names))
    with pools.threads(len(names), "query") as pool:
        return tuple(pools.map_concurrently(pool, query_one, names))


def _query_cached(repository: Repository, architecture: str, name: str, *, offline: bool) -> Suite:
    file = _cache_file(repository, architecture, name)
    cached = _read_cached(file)
    if cached is not None and (offline or time.time() < cached[0]):
        return cached[1]
    if offline:
        problem = "this run is offline, and the host's package repository was never queried"
        return Suite(name=name, codename=name, problem=problem)
    place = file, tempfile.gettempdir()
    if place in _unread:
        return _unread[place]
    try:
        asked = (
            f"asking the package repository of this host what it has for {architecture} (once; cached for later runs)"
        )
        with progress.asking(asked), cache.locked(f"archives/{file.stem}"):
            # Another run may have asked while this one waited for the lock.
            cached = _read_cached(file)
            if cached is None or time.time() >= cached[0]:
                try:
                    suite = _query_repository(repository, architecture, name)
                except NoSpaceError as error:
                    problem = f"{NO_SPACE}{error.message.removeprefix('no space left')}"
                    return _unread.setdefault(place, Suite(name=name, codename=name, problem=problem))
                cached = time.time() + (_FAILED if suite.problem else _FRESH), suite
                text = json.dumps({"until": cached[0], "suite": asdict(suite)})
                # A suite has several names, and the answer holds for all of them.
                for other in {name} if suite.problem else {name, suite.codename, suite.alias}:
                    _write_cached(_cache_file(repository, architecture, other), text)
    except WheelcheckError as error:
        return Suite(name=name, codename=name, problem=error.message)
    return cached[1]


def _cache_file(repository: Repository, architecture: str, name: str) -> Path:
    key = cache.digest(str(_GENERATION), repository.uri, repository.signed_by, architecture, name)
    return cache.root() / "archives" / f"{key}.json"


def _write_cached(file: Path, text: str) -> None:
    # If the file cannot be written, the next run takes longer.
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        side = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        side.write_text(text, encoding="utf-8")
        side.replace(file)


def _read_cached(file: Path) -> tuple[float, Suite] | None:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return float(data["until"]), Suite(**data["suite"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _query_repository(repository: Repository, architecture: str, name: str) -> Suite:
    """Ask the server.

    :raises NoSpaceError: the disk for temporary files is full.
    """
    with contextlib.ExitStack() as stack:
        try:
            state = stack.enter_context(temporary.directory())
            command = [*apt.apt_get_command(repository, name, state, architecture), "update"]
            completed = run(command, state, timeout=_UPDATE_DEADLINE, check=False)
        except OSError as error:
            if is_disk_full(error):
                raise NoSpaceError.at(Path(tempfile.gettempdir())) from error
            raise
        except NoSpaceError:
            raise
        except ProcessError as error:
            return Suite(name=name, codename=name, problem=_explain(error.details, architecture, error.message))
        output = f"{completed.stdout}\n{completed.stderr}"
        releases = list((state / "state/lists").glob("*Release"))
        # apt reports a failure that may be temporary, such as that of a connection, as success.
        failed = completed.returncode != 0 or not releases
        if failed or (not apt.indexes(state) and re.search("^(?:Err:|[EW]: )", output, re.MULTILINE)):
            problem = _explain(output, architecture, "apt downloaded no index")
            return Suite(name=name, codename=name, problem=problem)
        text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in releases)
        fields = apt.parse_stanza(text.partition("\nSHA256:")[0])
        packages: dict[str, str] = {}
        for path in apt.indexes(state):
            for match in _VERSIONS.finditer(path.read_bytes()):
                packages[match[1].decode()] = match[2].decode()
    return Suite(name=name, codename=fields.get("codename", name), alias=fields.get("suite", name), packages=packages)


def _explain(output: str, architecture: str, message: str) -> str:
    if _NO_ANSWER.search(output) or "did not end within" in message:
        return UNREACHABLE
    # After an index that it could not read, apt asks for one in another format, which no server has.
    begun = re.search(rf"^Get:.* {re.escape(architecture)} Packages", output, re.MULTILINE)
    if _NOT_THERE.search(output) and not begun:
        return f"{NO_ARCHITECTURE} {architecture}"
    lines = [line for line in output.strip().splitlines() if line.startswith(("E:", "W:"))]
    return f"the host's package repository cannot be used: {(lines or [message])[0]}"


def batches(repository: Repository) -> Iterator[list[str]]:
    """Order the suites: the host's own and the newest released, then the older ones, then those in the making."""
    late = [name for name in repository.suites if name in {"unstable", "testing", "devel"}]
    released = [name for name in repository.suites if name not in late and name != repository.codename]
    yield [repository.codename]
    if released:
        yield released[:1]
        yield released[1:]
    yield late[::-1]


def find_suite(
    package: str, repository: Repository, architecture: str, *, offline: bool = False, minimum: tuple[int, ...] = ()
) -> Suite | None:
    """Find the suite to take a package from: the host's own or a released one first.

    :param architecture: Debian's name of it.
    :param minimum: the minimum version of the package; empty for any.
    """
    for batch in batches(repository):
        for suite in query(repository, architecture, batch, offline=offline):
            # The next question would have the same answer, after as long a wait.
            offline = offline or suite.problem.startswith(HOPELESS)
            if package in suite.packages:
                upstream = re.match(r"(?:\d+:)?([\d.]+)", suite.packages[package])
                if not minimum or (upstream and tuple(map(int, upstream[1].strip(".").split("."))) >= minimum):
                    return suite
    return None


def unread(repository: Repository, architecture: str, *, offline: bool = False) -> str:
    """Return why a suite of a repository could not be read; empty if all could. That suite may have what the others lack.

    :param architecture: Debian's name of it.
    """
    suites = (
        suite for batch in batches(repository) for suite in query(repository, architecture, batch, offline=offline)
    )
    problems = (suite.problem for suite in suites)
    return next((problem for problem in problems if problem and not problem.startswith(NO_ARCHITECTURE)), "")
