"""The interpreters of root file systems that the user names: unpacked images of boards, exports of containers.

``--wheel-sysroot aarch64=DIR`` names a root file system, an installation, or one interpreter. What it holds is told from
its files, without running anything; an interpreter that a run wants is then made ready in the cache and asked itself.

Nothing is written into the user's folder, and programs see little of it: :mod:`.link_farm` makes a root in the cache
that leads to its libraries. The standard library is copied there, so that byte-code can be compiled beside it.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import shutil
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import RuntimeUnavailableError, UsageError
from pytest_wheelcheck.interpreters import c_library, link_farm, roots
from pytest_wheelcheck.interpreters.architectures import ALIASES, ARCHITECTURES, Architecture
from pytest_wheelcheck.interpreters.base import OLDEST, Answer, NativePython, Offer, Request, Starter
from pytest_wheelcheck.interpreters.published import standard_library
from pytest_wheelcheck.interpreters.windows import folders
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.system.progress import step

#: Bump when the way in which the installations are made changes.
_GENERATION = 1

#: Where interpreters are in a root file system: those of its distribution, of container images, of pyenv and uv.
_PLACES = (
    "usr/bin",
    "usr/local/bin",
    "bin",
    "opt/*/bin",
    "opt/python/*/bin",
    "root/.pyenv/versions/*/bin",
    "root/.local/share/uv/python/*/bin",
    "home/*/.pyenv/versions/*/bin",
    "home/*/.local/share/uv/python/*/bin",
)

_NAME = re.compile(r"python3(?:\.(\d+)(t?))?")

#: Parts of a standard library that are not copied.
_LEFT_OUT = (
    "site-packages",
    "dist-packages",
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "turtledemo",
    "EXTERNALLY-MANAGED",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sysroot:
    """A folder or interpreter that the user named.

    :param architecture: as in platform tags.
    :param path: absolute.
    :param found: the interpreters in it, by version.
    :param windows: the CPython for Windows that it is.
    """

    architecture: str
    path: Path
    found: tuple[Found, ...] = ()
    windows: folders.WindowsDirectory | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An interpreter in such a folder, as its files tell.

    :param program: the executable, without links.
    :param library: the folder with ``os.py``.
    :param version: major, minor, micro.
    :param root: the root file system whose loader and libraries it uses; ``None`` where it stands alone.
    :param libc: ``glibc`` or ``musl``.
    :param libc_version: major, minor; (0, 0) where it stands alone.
    """

    program: Path
    library: Path
    version: tuple[int, int, int]
    free_threaded: bool
    root: Path | None
    libc: str
    libc_version: tuple[int, int]

    @property
    def stem(self) -> str:
        """``3.14t``."""
        return f"{self.version[0]}.{self.version[1]}{'t' if self.free_threaded else ''}"

    def key(self, architecture: str) -> str:
        """Tell its name in the cache: another one when its files have changed."""
        files = [self.program, self.library / "os.py"]
        if self.root is not None:
            files += [self.root / name for name in ("lib", "usr/lib", "usr/local/lib", "etc", "etc/ld.so.cache")]
        seen = []
        for file in files:
            with contextlib.suppress(OSError):
                status = file.stat()
                seen.append(f"{file} {status.st_mtime_ns} {status.st_size}")
        name = f"cp{self.stem.replace('.', '')}-{'musl' if self.libc == 'musl' else ''}linux-{architecture}"
        return f"runtimes/directory-{name}-{cache.digest(str(_GENERATION), *seen)}"


def parse(texts: Iterable[str]) -> tuple[Sysroot, ...]:
    """Read the values of ``--wheel-sysroot``: ``ARCHITECTURE=PATH``.

    :raises UsageError: the form is wrong, there is no such folder, no CPython in it, or one of another architecture.
    """
    return tuple(map(_parse, texts))


def _parse(text: str) -> Sysroot:
    said = f"--wheel-sysroot {text}"
    word, equals, rest = text.partition("=")
    name = ALIASES.get(word.strip(), word.strip())
    if name in folders.ARCHITECTURES and rest.strip():
        path = Path(rest.strip()).expanduser().absolute()
        windows = folders.named(path, folders.ARCHITECTURES[name], said)
        return Sysroot(architecture=name, path=path, windows=windows)
    if not equals or not rest.strip() or name not in ARCHITECTURES:
        raise UsageError(
            f"{said}: not of the form ARCHITECTURE=FOLDER",
            fix=f"ARCHITECTURE is one of {', '.join((*ARCHITECTURES, *folders.ARCHITECTURES))}",
        )
    path = Path(rest.strip()).expanduser().absolute()
    if path.is_symlink() and not path.is_dir():
        # Within a root file system, as absolute links of its programs are meant.
        seen = (link_farm.resolve(parent, path) for parent in path.parents if parent != Path("/"))
        path = next((each for each in seen if each is not None), path)
    if not path.exists():
        raise UsageError(f"{said}: there is no {path}", fix="name an unpacked root file system, or an interpreter")
    path = path.resolve()
    if path == Path("/"):
        raise UsageError(f"{said}: that is this host itself", fix="its interpreters are found without being named")
    architecture = ARCHITECTURES[name]
    others: dict[str, Path] = {}
    found: dict[Path, Found] = {}
    for root, program in _programs(path):
        machine = _machine(program)
        if machine is None:
            continue
        if machine != (architecture.machine, architecture.bits, architecture.little_endian):
            others.setdefault(_architecture_of(machine), program)
        elif (one := _look(program, root, architecture)) is not None:
            found.setdefault(one.program, one)
    if found:
        return Sysroot(
            architecture=name, path=path, found=tuple(sorted(found.values(), key=lambda one: (one.version, one.stem)))
        )
    if others:
        other, program = next(iter(others.items()))
        raise UsageError(
            f"{said}: {program} is for {other}, not for {name}",
            fix=f"write --wheel-sysroot {other}={rest.strip()}" if other in ARCHITECTURES else "name another folder",
        )
    raise UsageError(
        f"{said}: no CPython from {'.'.join(map(str, OLDEST))} on with its library was found in {path}",
        cause=f"looked for python3* in {', '.join(_PLACES[:5])} and the folders of pyenv and uv",
        fix="install one there (Debian: python3, libpython3-stdlib; Alpine: python3), or name the interpreter itself",
    )


def _programs(path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield what may be interpreters, without links, each with the folder that its absolute links start from."""
    if path.is_file():
        yield path.parent, path
        return
    for place in _PLACES:
        for folder in link_farm.matching_directories(path, place):
            for name in link_farm.entry_names(folder):
                if _NAME.fullmatch(name) and (program := link_farm.resolve(path, folder / name)) is not None:
                    yield path, program


def _machine(program: Path) -> tuple[int, int, bool] | None:
    """Read ``e_machine``, bits and byte order of an ELF executable (``elf(5)``); ``None`` for anything else."""
    try:
        with program.open("rb") as file:
            head = file.read(20)
    except OSError:
        return None
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return None
    little = head[5] == 1
    return struct.unpack_from("<H" if little else ">H", head, 18)[0], 64 if head[4] == 2 else 32, little


def _architecture_of(machine: tuple[int, int, bool]) -> str:
    for each in ARCHITECTURES.values():
        if (each.machine, each.bits, each.little_endian) == machine:
            return each.name
    return f"another architecture (ELF machine {machine[0]})"


def _look(program: Path, start: Path, architecture: Architecture) -> Found | None:
    """Tell what a program is; ``None`` where it is no CPython that can be used."""
    library = _library(program)
    if library is None:
        return None
    match = re.fullmatch(r"python3\.(\d+)(t?)", library.name)
    if match is None or (3, int(match[1])) < OLDEST:
        return None
    loader = _loader(program)
    libc = "musl" if "ld-musl-" in loader else "glibc"
    root = _root(start, loader)
    return Found(
        program=program,
        library=library,
        version=(3, int(match[1]), _micro(program, library, int(match[1]))),
        free_threaded=bool(match[2]),
        root=root,
        libc=libc,
        libc_version=(0, 0) if root is None else _libc_version(root, loader, libc, architecture),
    )


def _library(program: Path) -> Path | None:
    """Find the standard library of a program: below its prefix, in ``lib`` or ``lib64`` (``sys.platlibdir``)."""
    match = _NAME.fullmatch(program.name)
    wanted = f"python3.{match[1]}{match[2]}" if match and match[1] else "python3.*"
    for folder in ("lib", "lib64"):
        for library in sorted((program.parent.parent / folder).glob(wanted)):
            if (library / "os.py").is_file():
                return library
    return None


def _loader(program: Path) -> str:
    """Read the path of a program's loader (``PT_INTERP``); empty for a static one."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.segments import InterpSegment

    try:
        with program.open("rb") as file:
            for segment in ELFFile(file).iter_segments("PT_INTERP"):
                if isinstance(segment, InterpSegment):
                    return str(segment.get_interp_name())
    except Exception:  # noqa: BLE001  pyelftools raises anything on a malformed file
        return ""
    return ""


def _root(start: Path, loader: str) -> Path | None:
    """Find the root file system that a folder belongs to: the nearest one that has the loader."""
    having = [
        folder
        for folder in (start, *start.parents)
        if loader and folder != Path("/") and _loader_in(folder, loader) is not None
    ]
    # Where /usr is merged, it looks like a root itself.
    return next((folder for folder in having if folder.name != "usr" or folder.parent not in having), None)


def _loader_in(root: Path, loader: str) -> Path | None:
    """Find the loader in a root, also where the links of the merged ``/usr`` are missing."""
    name = loader.lstrip("/")
    return link_farm.resolve(root, root / name) or link_farm.resolve(root, root / "usr" / name)


def _micro(program: Path, library: Path, minor: int) -> int:
    """Read the micro version from the program or its library (``PY_VERSION``); 0 where they do not tell."""
    pattern = re.compile(rb"\x003\.%d\.(\d+)(?:\+|(?:a|b|rc)\d+)?\x00" % minor)
    for file in (program, *sorted(library.parent.glob(f"libpython3.{minor}*.so*"))):
        with (
            contextlib.suppress(OSError, ValueError),
            file.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            if match := pattern.search(data):
                return int(match[1])
    return 0


def _libc_version(root: Path, loader: str, libc: str, architecture: Architecture) -> tuple[int, int]:
    file = _loader_in(root, loader)
    pattern = rb"\x00(1)\.(\d+)\.\d+(?:-[^\x00]*)?\x00"
    if libc == "glibc":
        pattern = rb"release version (\d+)\.(\d+)"
        places = (
            *(f"{folder}/{architecture.multiarch}" for folder in ("lib", "usr/lib")),
            *("lib64", "usr/lib64", "lib", "usr/lib"),
        )
        files = (link_farm.resolve(root, root / place / "libc.so.6") for place in places)
        file = next((each for each in files if each is not None), None)
    if file is not None:
        with contextlib.suppress(OSError):
            if match := re.search(pattern, file.read_bytes()):
                return int(match[1]), int(match[2])
    return 0, 0


class DirectoryProvider:
    """Offers the interpreters of the folders that the user named, before all others.

    :param native_python: gives native interpreters, which compile bytecode for those of other architectures.
    :param offline: fetch nothing.
    :param source: an archive for a C library before the host's, as a line of ``sources.list(5)``.
    """

    name = "directory"

    def __init__(
        self, sysroots: Sequence[Sysroot], native_python: NativePython, *, offline: bool = False, source: str = ""
    ) -> None:
        self._sysroots = sysroots
        self._native_python = native_python
        self._offline = offline
        self._source = source

    def costly(self, request: Request) -> bool:  # noqa: ARG002 — part of the protocol
        """See :meth:`.base.Provider.costly`."""
        return False

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        if request.python is not None or not request.platform.is_linux:
            return Answer()
        offers: list[Offer] = []
        reasons: dict[str, None] = {}
        for sysroot in self._sysroots:
            if sysroot.architecture != request.platform.architecture:
                continue
            for found in sysroot.found:
                if request.platform.libc not in {"", found.libc}:
                    reasons[f"the CPython in {sysroot.path} is for {found.libc}"] = None
                    continue
                version = found.libc_version
                if found.root is None:
                    library = self._c_library(ARCHITECTURES[sysroot.architecture], found, request.minimum_libc)
                    if library is None:
                        reasons[f"{found.program} has no C library next to it, and no archive has one"] = None
                        continue
                    version = library.version
                offers.append(self._offer(sysroot, found, version))
        return Answer.of(offers, reason="; ".join(reasons))

    def get(self, offer: Offer, starter: Starter) -> Installation:
        """See :meth:`.base.Provider.get`."""
        sysroot, found = next(
            (sysroot, found)
            for sysroot in self._sysroots
            for found in sysroot.found
            if str(found.program) == offer.key and sysroot.architecture == offer.platform.architecture
        )
        architecture = ARCHITECTURES[sysroot.architecture]
        root: Path | None = None
        if found.root is None:
            library = self._c_library(architecture, found, offer.libc_version)
            if library is None:
                raise RuntimeUnavailableError(f"{found.program} has no C library next to it, and no archive has one")
            root = c_library.provide(library)
        key = found.key(architecture.name)
        directory = cache.provision(
            key, lambda side: self._make(sysroot, found, offer, starter, root, cache.path(key), side)
        )
        return roots.installation_in(
            directory, offer, program=found.program, library=found.library.parent.name, stem=found.stem, root=root
        )

    def _make(
        self,
        sysroot: Sysroot,
        found: Found,
        offer: Offer,
        starter: Starter,
        root: Path | None,
        final: Path,
        side: Path,
    ) -> None:
        library = found.library.parent.name
        with step(f"CPython {found.stem} for {sysroot.architecture} of {sysroot.path}", side, "preparing"):
            if found.root is not None:
                link_farm.make(found.root, side / "root")
            _copy_library(found, side / library / found.library.name)
            if library != "lib":
                (side / "lib").symlink_to(library)
            roots.finish(
                side,
                final,
                offer,
                starter,
                self._native_python(found.version[:2], found.free_threaded),
                stem=found.stem,
                smoke="import ctypes, sys, zlib",
                program=found.program,
                library=library,
                root=root,
            )

    def _c_library(
        self, architecture: Architecture, found: Found, least: tuple[int, int]
    ) -> c_library.LibcPackage | None:
        try:
            archives = [archive for archive, _ in standard_library.repositories(self._source)]
        except RuntimeUnavailableError:
            archives = []
        return c_library.find(architecture, found.libc, archives, offline=self._offline, minimum=least)

    def _offer(self, sysroot: Sysroot, found: Found, libc_version: tuple[int, int]) -> Offer:
        return Offer.of_cpython(
            provider=self.name,
            version=found.version,
            free_threaded=found.free_threaded,
            platform=Platform(system="linux", architecture=sysroot.architecture, libc=found.libc),
            libc_version=libc_version,
            how=str(found.program),
            key=str(found.program),
            rank=-1,
            fixed_libc=True,
        )


def _copy_library(found: Found, into: Path) -> None:
    """Copy the standard library, without what is installed beside it; modules in C are linked."""
    root = found.root or found.library
    into.mkdir(parents=True)
    (into / "site-packages").mkdir()
    for name in link_farm.entry_names(found.library):
        if name in _LEFT_OUT:
            continue
        source = link_farm.resolve(root, found.library / name)
        if source is None:
            continue
        if name == "lib-dynload":
            (into / name).symlink_to(source)
        elif source.is_dir():
            shutil.copytree(
                source, into / name, ignore=shutil.ignore_patterns(*_LEFT_OUT), ignore_dangling_symlinks=True
            )
        else:
            shutil.copyfile(source, into / name)
    if found.library.parent.parent != found.root and found.library.parent.parent.name != "usr":
        # Libraries that stand beside it: libpython, of an installation with a prefix of its own.
        for name in link_farm.entry_names(found.library.parent):
            if name.endswith(".so") or ".so." in name:
                (into.parent / name).symlink_to(found.library.parent / name)
