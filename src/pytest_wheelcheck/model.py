"""The vocabulary of this package as frozen values: Outcome, Finding, Wheel, Platform, Installation, Machine.

Nothing here touches a disk, a process or pytest.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path

from packaging.tags import Tag


class Outcome(enum.Enum):
    """How a node of a run ended."""

    PASSED = "passed"
    FAILED = "failed"
    #: Impossible on this host by nature (a macOS wheel on Linux).
    SKIPPED = "skipped"
    #: Could not be checked although it should. Fails the run.
    ERROR = "error"


class Severity(enum.Enum):
    """How bad a finding is; only an error fails its check."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A defect of a wheel, found without running it.

    :param code: the check's code, such as ``WHL203``.
    :param severity: whether it fails the check.
    :param message: the defect in this wheel, with names and numbers.
    :param reason: why the defect matters to a user who installs the wheel.
    :param fix: how to fix it, with the command if there is one.
    """

    code: str
    severity: Severity
    message: str
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A section of a native file.

    :param name: as in the file, such as ``.text``, or ``__TEXT,__text`` of Mach-O files; ``other`` for the rest of the file:
        smaller sections, headers, padding. Sections of the same name, also in several slices, are joined.
    :param size: in the file, in bytes.
    """

    name: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ContentsEntry:
    """A file in a wheel, or the smaller files of one kind.

    :param path: as in the archive; empty for several files.
    :param kind: ``native`` for extension modules, ``library`` for other libraries, ``metadata`` for ``.dist-info``,
        ``python``, ``data``.
    :param size: unpacked, in bytes.
    :param compressed_size: in the archive, in bytes.
    :param files: number of files.
    :param sections: the largest sections of a native file, and the rest of it; empty for several files, and if the static checks
        read no native files.
    :param debug_size: bytes of debug information, which ``strip`` removes.
    :param symbols_size: bytes of the symbols that nothing needs to load it, which ``strip`` removes as well; for Mach-O an
        estimate.
    """

    path: str
    kind: str
    size: int
    compressed_size: int
    files: int
    sections: tuple[Section, ...] = ()
    debug_size: int = 0
    symbols_size: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A ``.whl`` file, opened once and parsed.

    :param path: our own copy of the file, which everything reads.
    :param shown: the path in node ids and messages: relative to the root directory if the file is inside it.
    :param source: the user's file, absolute.
    :param sha256: hexadecimal digest of the file.
    :param size: size of the file in bytes.
    :param name: distribution name as in the file name, not normalized.
    :param version: version as in the file name.
    :param build: build tag of the file name, or an empty string.
    :param tags: the compatibility tags of the file name, expanded (PEP 425).
    :param dist_info: the name of the ``.dist-info`` directory.
    :param requires_python: ``Requires-Python`` of METADATA, or ``None``.
    :param requires: ``Requires-Dist`` lines of METADATA.
    :param extras: ``Provides-Extra`` of METADATA.
    :param console_scripts: pairs of name and object reference, from ``entry_points.txt``.
    :param files: the paths of all files that are installed into site-packages, relative to it, with ``/`` as separator. Those
        in ``.data/purelib`` and ``.data/platlib`` are included.
    :param scripts: file names in ``.data/scripts``.
    :param binaries: the *scripts* that are native executables (ELF, Mach-O, PE).
    :param import_names: the top-level names that can be imported, sorted.
    :param extension_modules: the dotted names of the extension modules.
    :param classifiers: ``Classifier`` of METADATA.
    :param contents: what takes up the space.
    """

    path: Path
    shown: str
    source: Path
    sha256: str
    size: int
    name: str
    version: str
    build: str
    tags: tuple[Tag, ...]
    dist_info: str
    requires_python: str | None
    requires: tuple[str, ...]
    extras: tuple[str, ...]
    console_scripts: tuple[tuple[str, str], ...]
    files: tuple[str, ...]
    scripts: tuple[str, ...]
    binaries: tuple[str, ...]
    import_names: tuple[str, ...] = ()
    extension_modules: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ()
    contents: tuple[ContentsEntry, ...] = field(default=(), repr=False, compare=False)

    @property
    def top_levels(self) -> tuple[str, ...]:
        """The first components of everything importable in the wheel, sorted."""
        return tuple(sorted({name.partition(".")[0] for name in (*self.import_names, *self.extension_modules)}))

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags of the file name, in its order, without duplicates."""
        return tuple(dict.fromkeys(tag.platform for tag in self.tags))


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Platform:
    """The platform of an interpreter, in the terms of platform tags.

    :param system: ``linux``, ``darwin``, ``win32``, or another word that a platform tag begins with; the value of
        ``sys.platform`` on the target.
    :param architecture: ``x86_64``, ``aarch64``, ``armv7l``, ``arm64``, ``amd64``, ``x86`` ...
    :param libc: ``glibc``, ``musl``, or an empty string where the system has only one C library.
    """

    system: str
    architecture: str
    libc: str = ""

    @property
    def name(self) -> str:
        """Short name, such as ``linux-x86_64``, ``musllinux-aarch64``, ``macosx-arm64``, ``win_amd64``."""
        if self.system == "linux":
            return f"{'musllinux' if self.libc == 'musl' else 'linux'}-{self.architecture}"
        if self.system == "darwin":
            return f"macosx-{self.architecture}"
        return {"amd64": "win_amd64", "x86": "win32", "arm64": "win_arm64"}.get(
            self.architecture, f"{self.system}-{self.architecture}"
        )

    @property
    def is_linux(self) -> bool:
        """Whether binaries are ELF files that follow the rules of manylinux or musllinux."""
        return self.system == "linux"

    @property
    def is_windows(self) -> bool:
        """Whether programs have the suffix ``.exe``, and the first line of a script does not start its interpreter."""
        return self.system == "win32"


def interpreter_name(implementation: str, version: tuple[int, ...], *, free_threaded: bool) -> str:
    """Return the short name of an interpreter and its ABI, such as ``cp314t`` or ``pp311``.

    :param version: major, minor, and any further parts.
    """
    prefix = {"cpython": "cp", "pypy": "pp"}.get(implementation, implementation)
    return f"{prefix}{version[0]}{version[1]}{'t' if free_threaded else ''}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """An interpreter on disk, as a provider returns it. How it is started is decided by a backend.

    :param program: the executable itself, never a launcher.
    :param library: the directory that contains ``python3.N``; on Windows, ``Lib``.
    :param root: the root file system (sysroot) whose dynamic loader and libraries the executable needs; ``None`` if it
        needs those of the host.
    :param implementation: ``cpython`` or ``pypy``.
    :param version: major, minor, micro.
    :param free_threaded: built with ``--disable-gil`` (PEP 703).
    :param platform: the platform that it runs on.
    :param libc_version: major, minor of the C library; ``(0, 0)`` on systems with only one.
    :param tags: every compatibility tag it accepts, best first, as ``str(Tag)``.
    :param provider: name of the provider.
    :param how: its origin, one line for the user.
    :param extensible: whether its root may be replaced by one with more libraries of the same suite.
    :param assembled: whether it is put together from files of different builds: a patched program, the standard library of
        another build, libraries of its own. So it is not what a user has.
    """

    program: Path
    library: Path
    root: Path | None
    implementation: str
    version: tuple[int, int, int]
    free_threaded: bool
    platform: Platform
    libc_version: tuple[int, int]
    tags: tuple[str, ...] = field(repr=False)
    provider: str
    how: str
    extensible: bool = False
    assembled: bool = False

    @property
    def name(self) -> str:
        """Short name of the interpreter, such as ``cp314t``."""
        return interpreter_name(self.implementation, self.version, free_threaded=self.free_threaded)

    @property
    def stem(self) -> str:
        """The version in names of files, such as ``3.14t``."""
        return f"{self.version[0]}.{self.version[1]}{'t' if self.free_threaded else ''}"

    @property
    def library_name(self) -> str:
        """The name of the directory with the standard library, such as ``python3.14t`` or ``pypy3.11``."""
        return f"{'pypy' if self.implementation == 'pypy' else 'python'}{self.stem}"

    @property
    def version_text(self) -> str:
        """The version with dots."""
        return ".".join(map(str, self.version))


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The hardware that a runtime runs on, or that is emulated for it. ``host`` is the host's own hardware.

    :param facts: of a board, in words, each with its name; empty for others.
    """

    name: str = "host"
    facts: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)
