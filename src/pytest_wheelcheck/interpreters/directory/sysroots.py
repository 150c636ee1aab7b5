"""Sysroots: root file systems, installations and interpreters that the user names with ``--wheel-sysroot``.

The interpreters in them are found, and described, by reading files: none of them is run.
"""

from __future__ import annotations

import contextlib
import mmap
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.interpreters.architectures import ALIASES, ARCHITECTURES, Architecture
from pytest_wheelcheck.interpreters.base import OLDEST
from pytest_wheelcheck.interpreters.directory import link_farm
from pytest_wheelcheck.interpreters.windows import directories
from pytest_wheelcheck.interpreters.windows.platforms import ARCHITECTURES as WINDOWS_ARCHITECTURES
from pytest_wheelcheck.settings import Named, as_option
from pytest_wheelcheck.system import cache

#: Increase when the installations that the provider makes change.
_GENERATION = 1

#: The directories of a root file system that may contain interpreters: those of distributions, container images, pyenv
#: and uv.
_SEARCHED = (
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

#: The file name of an interpreter.
_NAME = re.compile(r"python3(?:\.(\d+)(t?))?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sysroot:
    """A directory or interpreter that the user named.

    :param architecture: as in platform tags.
    :param path: absolute.
    :param interpreters: the interpreters in it, by version.
    :param windows: its CPython for Windows; ``None`` for a root file system of Linux.
    """

    architecture: str
    path: Path
    interpreters: tuple[SysrootInterpreter, ...] = ()
    windows: directories.WindowsDirectory | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SysrootInterpreter:
    """An interpreter in a sysroot, as its files describe it.

    :param program: the executable, without links.
    :param library: the directory that contains ``os.py``.
    :param version: major, minor, micro.
    :param root: the root file system whose loader and libraries it uses; ``None`` if it comes without a C library.
    :param libc: ``glibc`` or ``musl``.
    :param libc_version: major, minor; ``(0, 0)`` if it comes without a C library.
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
        """The version in names of files, such as ``3.14t``."""
        return f"{self.version[0]}.{self.version[1]}{'t' if self.free_threaded else ''}"

    def cache_key(self, architecture: str) -> str:
        """Return its name in the cache, which changes when its files change."""
        files = [self.program, self.library / "os.py"]
        if self.root is not None:
            files += [self.root / name for name in ("lib", "usr/lib", "usr/local/lib", "etc", "etc/ld.so.cache")]
        states = []
        for file in files:
            with contextlib.suppress(OSError):
                status = file.stat()
                states.append(f"{file} {status.st_mtime_ns} {status.st_size}")
        name = f"cp{self.stem.replace('.', '')}-{'musl' if self.libc == 'musl' else ''}linux-{architecture}"
        return f"runtimes/directory-{name}-{cache.digest(str(_GENERATION), *states)}"


def parse_sysroots(texts: Iterable[str], named: Named = as_option) -> tuple[Sysroot, ...]:
    """Read the values of ``--wheel-sysroot``: ``ARCHITECTURE=PATH``.

    :param named: see :data:`~pytest_wheelcheck.settings.Named`.
    :raises UsageError: the form is wrong, the path does not exist, or it has no CPython of that architecture.
    """
    return tuple(_parse(text, named("--wheel-sysroot", text)) for text in texts)


def _parse(text: str, place: str) -> Sysroot:
    option = f"{place} {text}" if place.startswith("--") else f"{place}: {text}"
    key, equals, value = (part.strip() for part in text.partition("="))
    name = ALIASES.get(key, key)
    if name in WINDOWS_ARCHITECTURES and value:
        path = Path(value).expanduser().absolute()
        windows = directories.find(path, WINDOWS_ARCHITECTURES[name], option)
        return Sysroot(architecture=name, path=path, windows=windows)
    if not equals or not value or name not in ARCHITECTURES:
        raise UsageError(
            f"{option}: not of the form ARCHITECTURE=DIRECTORY",
            fix=f"use one of these architectures: {', '.join((*ARCHITECTURES, *WINDOWS_ARCHITECTURES))}",
        )
    path = _resolve(Path(value).expanduser().absolute())
    if not path.exists():
        raise UsageError(
            f"{option}: there is no {path}", fix="name an unpacked root file system, or an interpreter in one"
        )
    path = path.resolve()
    if path == Path("/"):
        raise UsageError(
            f"{option}: / is this host itself", fix="omit the option; the host's interpreters are found without it"
        )
    return Sysroot(architecture=name, path=path, interpreters=_interpreters(path, ARCHITECTURES[name], option, value))


def _resolve(path: Path) -> Path:
    """Resolve a link whose absolute target is meant inside its root file system, as those of programs often are."""
    if path.is_symlink() and not path.is_dir():
        for parent in path.parents:
            if parent != Path("/") and (resolved := link_farm.resolve(parent, path)) is not None:
                return resolved
    return path


def _interpreters(path: Path, architecture: Architecture, option: str, value: str) -> tuple[SysrootInterpreter, ...]:
    """Return the usable interpreters in *path*.

    :param option: the option as it was given, for messages.
    :param value: the path as it was given, for messages.
    :raises UsageError: there is none.
    """
    from pytest_wheelcheck.wheels.elf import read_header

    found: dict[Path, SysrootInterpreter] = {}
    others: dict[str, Path] = {}
    for start, program in _programs(path):
        header = read_header(program)
        if header is None:
            continue
        if header.machine != architecture.name:
            others.setdefault(header.machine, program)
        elif (interpreter := _examine(program, start, header.loader, architecture)) is not None:
            found.setdefault(interpreter.program, interpreter)
    if found:
        return tuple(sorted(found.values(), key=lambda interpreter: (interpreter.version, interpreter.stem)))
    if others:
        machine, program = next(iter(others.items()))
        raise UsageError(
            f"{option}: {program} is for {machine}, not for {architecture.name}",
            fix=f"write {machine}={value}"
            if machine in ARCHITECTURES
            else f"name a root file system for {architecture.name}",
        )
    raise UsageError(
        f"{option}: {path} contains no CPython {'.'.join(map(str, OLDEST))} or later with its standard library",
        cause=f"only python3* in {', '.join(_SEARCHED[:5])} and in the directories of pyenv and uv is searched",
        fix="install one there (Debian: python3, libpython3-stdlib; Alpine: python3), or name the interpreter itself",
    )


def _programs(path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield possible interpreters, without links, each with the directory that its absolute links start from."""
    if path.is_file():
        yield path.parent, path
        return
    for pattern in _SEARCHED:
        for directory in link_farm.matching_directories(path, pattern):
            for name in link_farm.entry_names(directory):
                if _NAME.fullmatch(name) and (program := link_farm.resolve(path, directory / name)) is not None:
                    yield path, program


def _examine(program: Path, start: Path, loader: str, architecture: Architecture) -> SysrootInterpreter | None:
    """Describe an interpreter; ``None`` if it is not a CPython that can be used.

    :param start: the directory to search for its root file system, and below.
    :param loader: the dynamic loader that the program names; empty for a static program.
    """
    library = _standard_library(program)
    if library is None:
        return None
    match = re.fullmatch(r"python3\.(\d+)(t?)", library.name)
    if match is None or (3, int(match[1])) < OLDEST:
        return None
    libc = "musl" if "ld-musl-" in loader else "glibc"
    root = _root_file_system(start, loader)
    return SysrootInterpreter(
        program=program,
        library=library,
        version=(3, int(match[1]), _micro_version(program, library, int(match[1]))),
        free_threaded=bool(match[2]),
        root=root,
        libc=libc,
        libc_version=(0, 0) if root is None else _libc_version(root, loader, libc, architecture),
    )


def _standard_library(program: Path) -> Path | None:
    """Find the standard library of a program: below its prefix, in ``lib`` or ``lib64`` (``sys.platlibdir``)."""
    match = _NAME.fullmatch(program.name)
    pattern = f"python3.{match[1]}{match[2]}" if match and match[1] else "python3.*"
    for name in ("lib", "lib64"):
        for library in sorted((program.parent.parent / name).glob(pattern)):
            if (library / "os.py").is_file():
                return library
    return None


def _root_file_system(start: Path, loader: str) -> Path | None:
    """Find the root file system that a directory belongs to: the nearest parent that contains the loader."""
    if not loader:
        return None
    candidates = [
        directory
        for directory in (start, *start.parents)
        if directory != Path("/") and _find_loader(directory, loader) is not None
    ]
    # If /usr is merged, it looks like a root file system itself.
    return next(
        (directory for directory in candidates if directory.name != "usr" or directory.parent not in candidates), None
    )


def _find_loader(root: Path, loader: str) -> Path | None:
    """Find the loader in a root file system, even if the links of the merged ``/usr`` are missing."""
    name = loader.lstrip("/")
    return link_farm.resolve(root, root / name) or link_farm.resolve(root, root / "usr" / name)


def _micro_version(program: Path, library: Path, minor: int) -> int:
    """Read the micro version from the string ``PY_VERSION`` in the program or in libpython; 0 if there is none."""
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
    """Read the version of a root file system's C library from a string in it; ``(0, 0)`` if there is none.

    musl's library is its loader (``ldso/dynlink.c`` prints the version).
    """
    file = _find_loader(root, loader)
    pattern = rb"\x00(1)\.(\d+)\.\d+(?:-[^\x00]*)?\x00"
    if libc == "glibc":
        pattern = rb"release version (\d+)\.(\d+)"
        directories = (
            *(f"{name}/{architecture.multiarch}" for name in ("lib", "usr/lib")),
            *("lib64", "usr/lib64", "lib", "usr/lib"),
        )
        libraries = (link_farm.resolve(root, root / directory / "libc.so.6") for directory in directories)
        file = next((library for library in libraries if library is not None), None)
    if file is not None:
        with contextlib.suppress(OSError):
            if match := re.search(pattern, file.read_bytes()):
                return int(match[1]), int(match[2])
    return 0, 0
