"""The interpreters of the host's archive: of other architectures through QEMU, and native ones that the host lacks.

Any host with apt can have them, without root. The indexes of the archive tell which suite has which minor version; its
packages, with all that they depend on, are unpacked into a root of their own in the cache, byte-code compiled, and
tried. A launcher (:mod:`.launcher`) makes an interpreter of that root: through an emulator for another architecture,
through the root's own dynamic loader for the host's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pytest_wheelcheck.backends import launcher
from pytest_wheelcheck.backends.launcher import Launch
from pytest_wheelcheck.backends.qemu import emulators
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError, WheelcheckError
from pytest_wheelcheck.interpreters import apt, apt_suites
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, Architecture, host_architecture, runs_natively
from pytest_wheelcheck.interpreters.base import OLDEST, Answer, Offer, Platform, Request, here
from pytest_wheelcheck.interpreters.host import Facts, HostProvider, facts_from_json, facts_to_json, query
from pytest_wheelcheck.model import Runtime
from pytest_wheelcheck.system import cache, process
from pytest_wheelcheck.system.progress import step

#: Bump when the way in which the roots are made changes.
_GENERATION = 4

#: Packages beside the interpreter's own that wheels may lean on: libraries of the manylinux policies (PEP 513, PEP 571,
#: PEP 599) that an interpreter does not bring by itself.
LIBRARIES = ("libstdc++6", "libgcc-s1", "libatomic1", "zlib1g", "libexpat1")

#: What nobody reads here.
_NOT_KEPT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bash-completion")

#: What must work in a new root; each comes with libraries of its own.
_SMOKE = "import bz2, ctypes, decimal, lzma, multiprocessing, sqlite3, ssl, sys, uuid, venv, zlib"

#: The first glibc whose loader knows ``--argv0`` (glibc's NEWS for 2.33).
ARGV0_SINCE = (2, 33)

#: The file with what was learnt of an interpreter when its root was made.
_FACTS = "facts.json"

#: The file that says which interpreter of the archive it is.
_ORIGIN = "origin.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    """One interpreter of the archive.

    :param suite: the codename.
    :param version: of the package, whole.
    :param minor: the N of 3.N.
    """

    architecture: str
    suite: str
    version: str
    minor: int

    @property
    def key(self) -> str:
        """Its name in the cache."""
        name = f"cp3{self.minor}-linux-{self.architecture}-{self.suite}"
        return f"runtimes/debian-{name}-{cache.digest(str(_GENERATION), self.version)}"


class DebianProvider:
    """Offers the interpreters of the host's archive.

    :param host: asked for native interpreters that compile and install for the emulated ones.
    :param offline: only what is in the cache already is offered.
    :param source: an archive to use in the place of the host's: a line as in ``sources.list(5)``; empty for the host's.
    """

    name = "debian"

    def __init__(self, host: HostProvider, *, offline: bool = False, source: str = "") -> None:
        self._host = host
        self._offline = offline
        self._source = source

    def costly(self, request: Request) -> bool:
        """See :meth:`.base.Provider.costly`: the archive's indexes may have to be fetched."""
        return runs_natively(request.platform.architecture)

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        at = host_architecture()
        architecture = ARCHITECTURES.get(request.platform.architecture)
        if request.python is not None or at is None or architecture is None or request.platform.system != "linux":
            return Answer()
        if request.platform.libc == "musl":
            return Answer()
        found = list(_kept(architecture, self.name))
        # Of several roots of one interpreter, the newest C library is the one that takes most wheels.
        found.sort(key=lambda offer: offer.libc_version)
        if request.met(found):
            return Answer(offers=tuple(found))
        reason = ""
        try:
            archive = self._archive()
        except RuntimeUnavailableError as error:
            return Answer(offers=tuple(found), reason=error.message, fault=True)
        fault = False
        if archive is None:
            reason = "this host has no apt to fetch an interpreter with"
        else:
            new, reason, fault = self._ask(archive, architecture, request, found)
            known = {offer.key for offer in found}
            found += [offer for offer in new if offer.key not in known]
        foreign = architecture.name != here().architecture
        if not foreign or request.met(found):
            return Answer(offers=tuple(found))
        return Answer(offers=tuple(found), reason=reason, fault=fault)

    def _archive(self) -> apt.Repository | None:
        return apt.parse_source(self._source) if self._source else apt.host_repository()

    def _ask(
        self, archive: apt.Repository, architecture: Architecture, request: Request, kept: Sequence[Offer]
    ) -> tuple[list[Offer], str, bool]:
        """Ask the suites, those that people use first, until all that is wanted was found.

        :returns: what they have; why not more; whether that could not be found out.
        """
        found: list[Offer] = []
        problems: dict[str, None] = {}
        seen: set[str] = set()
        empty = True
        for batch in batches(archive):
            suites = apt_suites.query(
                archive, architecture.debian, [name for name in batch if name not in seen], offline=self._offline
            )
            for suite in suites:
                empty = empty and not suite.packages
                if suite.problem:
                    problems[suite.problem] = None
                if suite.codename not in seen and not self._offline:
                    found += _in_suite(suite, architecture, self.name)
                seen |= {suite.name, suite.codename, suite.alias}
            if request.met((*kept, *found)) or any("reached" in problem for problem in problems):
                break
        if self._offline:
            advice = f"run once without --wheel-offline, or: wheelcheck runtime install {architecture.name} VERSION"
            return found, f"not in the cache, and this run is offline; {advice}", True
        if not found and not problems and empty:
            problems[f"{apt_suites.NO_ARCHITECTURE} {architecture.debian}"] = None
        return (
            found,
            "; ".join(problems),
            empty and not all(apt_suites.NO_ARCHITECTURE in problem for problem in problems),
        )

    def get(self, offer: Offer) -> Runtime:
        """See :meth:`.base.Provider.get`."""
        candidate = _Candidate(**json.loads(offer.key))
        architecture = ARCHITECTURES[candidate.architecture]
        if runs_natively(architecture.name):
            root = cache.provision(candidate.key, lambda side: self._make(candidate, architecture, None, None, side))
            return runtime(root, architecture, offer, None, None)
        stand_in = self.stand_in((3, candidate.minor))
        with ThreadPoolExecutor(max_workers=1) as pool:
            # The emulator is fetched while the packages are: it is needed only in the end.
            emulator = pool.submit(self.emulator, architecture)
            root = cache.provision(
                candidate.key, lambda side: self._make(candidate, architecture, emulator, stand_in, side)
            )
        return runtime(root, architecture, offer, emulator.result(), stand_in)

    def emulator(self, architecture: Architecture) -> Path:
        """Give QEMU for an architecture.

        :raises RuntimeUnavailableError: there is none.
        """
        return emulators.find(architecture, archive=self._archive(), offline=self._offline).path

    def stand_in(self, version: tuple[int, int]) -> Path | None:
        """Give a native CPython of a minor version: the host's, else the archive's; ``None`` where there is none."""
        if found := of_host(self._host, version):
            return found
        at = host_architecture()
        if at is None:
            return None
        request = Request(
            platform=Platform(system="linux", architecture=at.name, libc="glibc"),
            wanted=frozenset({("cpython", version, False)}),
        )
        for offer in self.offers(request).offers:
            if offer.version[:2] == version:
                with contextlib.suppress(WheelcheckError):
                    return self.get(offer).python
        return None

    def _make(
        self,
        candidate: _Candidate,
        architecture: Architecture,
        emulator: Future[Path] | None,
        stand_in: Path | None,
        side: Path,
    ) -> None:
        archive = self._archive()
        what = f"CPython 3.{candidate.minor} for {architecture.name} of {candidate.suite}"
        if archive is None or self._offline:
            raise RuntimeUnavailableError(
                f"{what} is not in the cache",
                cause="this run is offline" if self._offline else "this host has no apt",
                fix=f"run once without --wheel-offline, or: wheelcheck runtime install {architecture.name} "
                f"3.{candidate.minor}",
            )
        python = f"python3.{candidate.minor}"
        with step(what, side):
            try:
                apt.fetch(
                    archive,
                    candidate.suite,
                    [f"{python}-minimal", f"lib{python}-stdlib"],
                    side / "root",
                    architecture=architecture.debian,
                    optional=(*LIBRARIES, f"{python}-venv"),
                )
            except ProcessError as error:
                raise RuntimeUnavailableError(
                    f"{what} could not be fetched", cause=error.message, details=error.details
                ) from error
            (side / _ORIGIN).write_text(json.dumps(asdict(candidate)), encoding="utf-8")
            apt.write_origin(side, archive, candidate.suite)
            final = cache.path(candidate.key)
            if emulator is None:
                self._renew_loader(archive, candidate, architecture, side)
            tidy(side / "root", final / "root")
            qemu_path = None if emulator is None else emulator.result()
            finish(side, final, architecture, qemu_path, stand_in, stem=f"3.{candidate.minor}", smoke=_SMOKE)

    def _renew_loader(
        self, archive: apt.Repository, candidate: _Candidate, architecture: Architecture, side: Path
    ) -> None:
        """Take a newer C library where the suite's own loader cannot hand on the launcher's name."""
        merge(side / "root")
        (own,) = apt_suites.query(archive, architecture.debian, [candidate.suite])
        if apt_version(own.packages.get("libc6", "")) >= ARGV0_SINCE:
            return
        for batch in batches(archive):
            for suite in apt_suites.query(archive, architecture.debian, batch):
                if apt_version(suite.packages.get("libc6", "")) >= ARGV0_SINCE:
                    newer = side / "libc"
                    apt.fetch(
                        archive, suite.codename, ["libc6"], newer, architecture=architecture.debian, dependencies=False
                    )
                    merge(newer)
                    process.run(["cp", "-a", "--remove-destination", f"{newer}/usr/lib", side / "root/usr/"])
                    if (newer / "usr/lib64").is_dir():
                        process.run(["cp", "-a", "--remove-destination", f"{newer}/usr/lib64", side / "root/usr/"])
                    shutil.rmtree(newer)
                    return


def of_host(host: HostProvider, version: tuple[int, int], *, free_threaded: bool | None = False) -> Path | None:
    """Give the host's own CPython of a minor version, if it has one that was released.

    :param free_threaded: which build; ``None`` for either.
    """
    for found in host.found():
        facts = found.facts
        if (
            facts.implementation == "cpython"
            and facts.version[:2] == version
            and facts.level == "final"
            and free_threaded in {None, facts.free_threaded}
        ):
            return facts.python
    return None


def tidy(root: Path, final: Path) -> None:
    """Make an unpacked root usable where it is: the links of the merged ``/usr``, the paths that Python recorded.

    :param root: where it is now.
    :param final: where it will be.
    """
    merge(root)
    for name in _NOT_KEPT:
        shutil.rmtree(root / name, ignore_errors=True)
    for parent, folders, files in os.walk(root):
        for link in (Path(parent, name) for name in (*folders, *files)):
            if link.is_symlink() and str(link.readlink()).startswith("/"):
                # Seen from the host, it would lead to the host's own files.
                inside = root / str(link.readlink()).lstrip("/")
                if inside.exists():
                    link.unlink()
                    link.symlink_to(os.path.relpath(inside, parent))
    for file in root.glob("usr/lib/python3*/_sysconfigdata*.py"):
        if file.is_symlink():
            continue
        # Where ensurepip finds pip (Debian's patch of it).
        text = file.read_text(encoding="utf-8")
        changed = re.sub(r"(['\"])/usr/share/python-wheels/?\1", repr(str(final / "usr/share/python-wheels")), text)
        if changed != text:
            file.write_text(changed, encoding="utf-8")


def merge(root: Path) -> None:
    """Make ``/lib`` and its kin links to those of ``/usr``, as on every Debian since 12 and Ubuntu since 20.04.

    Older packages have files in both, and from Debian 13 on the links belong to a package that nothing here needs.
    """
    for name in ("bin", "sbin", "lib", "lib64", "lib32"):
        old, new = root / name, root / "usr" / name
        if old.is_dir() and not old.is_symlink():
            for parent, folders, files in os.walk(old):
                place = new / Path(parent).relative_to(old)
                place.mkdir(parents=True, exist_ok=True)
                for file in (*files, *(each for each in folders if (Path(parent) / each).is_symlink())):
                    (Path(parent) / file).replace(place / file)
            shutil.rmtree(old)
        if not old.exists() and new.is_dir():
            old.symlink_to(f"usr/{name}", target_is_directory=True)


def finish(
    side: Path,
    final: Path,
    architecture: Architecture,
    emulator: Path | None,
    stand_in: Path | None,
    *,
    stem: str,
    smoke: str,
    program: str | Path = "",
    library: str = "root/usr/lib",
    root: Path | None = None,
) -> None:
    """Compile the byte-code of an installation, try it, and write down what it is.

    :param side: where it is now: ``root`` with the C library, and the rest.
    :param final: where it will be.
    :param stand_in: a native interpreter of the same minor version.
    :param program: the real interpreter, relative; ``root/usr/bin/python3.N`` if empty.
    :param library: the folder that has ``python3.N``, relative.
    :param root: where its C library is; ``root`` if left out.
    :raises RuntimeUnavailableError: it does not work.
    """
    # Only while it is tried: a launcher has a ``lib`` of its own.
    home = side / "trial"
    (home / "bin").mkdir(parents=True)
    (home / "lib").symlink_to(side / library, target_is_directory=True)
    root = root or side / "root"
    argv = launch_of(root, architecture, emulator).argv(
        home / "bin" / f"python{stem}", side / (program or f"root/usr/bin/python{stem}")
    )
    folder = side / library / f"python{stem}"
    compiling: list[str | Path] = ["-I", "-m", "compileall", "-q", "-q", "-j", "0", "-s", side, "-p", final, folder]
    compiler: list[str | Path] = [stand_in] if stand_in is not None else argv
    # A file of another syntax among the tests of a library is no reason to give up.
    process.run([*compiler, *compiling], check=False)
    try:
        facts = query(home / "bin" / f"python{stem}", argv)
        process.run([*argv, "-I", "-c", smoke])
    except WheelcheckError as error:
        raise RuntimeUnavailableError(
            f"the interpreter python{stem} for {architecture.name} does not work here",
            cause="it needs a newer kernel or emulator than this host has, or a library is missing",
            details=f"{error.message}\n{error.details}".strip(),
        ) from error
    if facts.libc == "musl" and emulator is not None:
        # The interpreter cannot run its loader, which tells the version (PEP 656): the host's kernel would have to.
        loader = next((root / "lib").glob("ld-musl-*.so.1"))
        said = process.run([emulator, loader], check=False).stderr
        facts = replace(facts, libc_version=apt_version(said.partition("Version ")[2]))
    shutil.rmtree(home)
    (side / _FACTS).write_text(facts_to_json(facts), encoding="utf-8")


def launch_of(root: Path, architecture: Architecture, emulator: Path | None, flags: Sequence[str] = ()) -> Launch:
    """Tell how programs of a root are started."""
    if emulator is not None:
        return launcher.emulated(emulator, root, flags)
    names = (
        f"usr/lib/{architecture.multiarch}",
        f"lib/{architecture.multiarch}",
        "usr/lib64",
        "usr/lib",
        "usr/local/lib",
    )
    folders = [root / name for name in names if (root / name).is_dir()]
    return launcher.loaded(root, architecture, folders)


def runtime(
    folder: Path,
    architecture: Architecture,
    offer: Offer,
    emulator: Path | None,
    stand_in: Path | None,
    *,
    program: str | Path = "",
    library: str = "root/usr/lib",
    stem: str = "",
    root: Path | None = None,
) -> Runtime:
    """Make the runtime of an installation that is complete: its launcher, and what was learnt of it.

    :raises RuntimeUnavailableError: something of it is gone.
    """
    facts = facts_of(folder)
    if facts is None:
        raise RuntimeUnavailableError(
            f"{folder} is damaged", cause="something was removed from the cache", fix=f"remove {folder}, run again"
        )
    if root is not None and offer.libc_version > facts.libc_version:
        # Its C library is not its own, and may be a newer one by now.
        facts = replace(facts, libc_version=offer.libc_version)
    stem = stem or f"{facts.version[0]}.{facts.version[1]}{'t' if facts.free_threaded else ''}"
    launch = launch_of(root or folder / "root", architecture, emulator)
    python = launcher.provision(
        launch,
        folder / (program or f"root/usr/bin/python{stem}"),
        folder / library,
        name=f"cp{stem.replace('.', '')}-{'musl' if facts.libc == 'musl' else ''}linux-{architecture.name}",
        stem=stem,
    )
    return Offer.of_cpython(
        provider=offer.provider,
        version=facts.version,
        free_threaded=facts.free_threaded,
        platform=_platform(architecture, facts),
        libc_version=facts.libc_version,
        how=offer.how,
        emulated=emulator is not None,
    ).runtime(python, native=stand_in, launch=(launch.before, launch.after))


def facts_of(folder: Path) -> Facts | None:
    """Read what was learnt when an installation was made."""
    try:
        return facts_from_json((folder / _FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _platform(architecture: Architecture, facts: Facts) -> Platform:
    return Platform(system="linux", architecture=architecture.name, libc=facts.libc)


def batches(archive: apt.Repository) -> Iterator[list[str]]:
    """Order the suites: the host's own and the newest released, then the older ones, then those in the making."""
    late = [name for name in archive.suites if name in {"unstable", "testing", "devel"}]
    released = [name for name in archive.suites if name not in late and name != archive.codename]
    yield [archive.codename]
    if released:
        yield released[:1]
        yield released[1:]
    yield late[::-1]


def suite_with(
    package: str, archive: apt.Repository, architecture: str, *, offline: bool = False, least: tuple[int, ...] = ()
) -> apt_suites.Suite | None:
    """Find the suite to take a package from: the host's own or a released one first.

    :param architecture: Debian's name of it.
    :param least: the oldest version of it that will do.
    """
    for batch in batches(archive):
        for suite in apt_suites.query(archive, architecture, batch, offline=offline):
            if package in suite.packages:
                upstream = re.match(r"(?:\d+:)?([\d.]+)", suite.packages[package])
                if not least or (upstream and tuple(map(int, upstream[1].strip(".").split("."))) >= least):
                    return suite
    return None


def _in_suite(suite: apt_suites.Suite, architecture: Architecture, provider: str) -> Iterator[Offer]:
    libc = apt_version(suite.packages.get("libc6", ""))
    for package, version in suite.packages.items():
        match = re.fullmatch(r"python3\.(\d+)-minimal", package)
        number = re.match(r"(?:\d+:)?3\.(\d+)\.(\d+)(?=$|[-+])", version)
        if not match or not number or (3, int(match[1])) < OLDEST:
            # With a tilde it is a pre-release.
            continue
        candidate = _Candidate(
            architecture=architecture.name, suite=suite.codename, version=version, minor=int(match[1])
        )
        yield _offer(candidate, architecture, (3, int(match[1]), int(number[2])), (libc[0], libc[1]), provider)


def apt_version(text: str) -> tuple[int, int]:
    """Read major and minor of an upstream version: ``2.36-9+deb12u14``."""
    match = re.match(r"(?:\d+:)?(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _offer(
    candidate: _Candidate,
    architecture: Architecture,
    version: tuple[int, int, int],
    libc: tuple[int, int],
    provider: str,
) -> Offer:
    emulated = not runs_natively(architecture.name)
    return Offer.of_cpython(
        provider=provider,
        version=version,
        free_threaded=False,
        platform=Platform(system="linux", architecture=architecture.name, libc="glibc"),
        libc_version=libc,
        how=f"CPython {'.'.join(map(str, version))} of the host's archive ({candidate.suite})"
        + (", emulated by QEMU" if emulated else ""),
        key=json.dumps(asdict(candidate)),
        emulated=emulated,
    )


def _kept(architecture: Architecture, provider: str) -> Iterator[Offer]:
    """Give what is in the cache, whatever the archive says now."""
    for file in sorted((cache.root() / "runtimes").glob(f"debian-*-linux-{architecture.name}-*/{_ORIGIN}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            candidate = _Candidate(**json.loads(file.read_text(encoding="utf-8")))
            facts = facts_of(file.parent)
            if facts is not None and cache.is_complete(candidate.key) and cache.path(candidate.key) == file.parent:
                yield _offer(candidate, architecture, facts.version, facts.libc_version, provider)
