"""The words of this package as frozen values: Wheel, Runtime, Machine, Target, Finding, Outcome.

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
    """One fault of a wheel, found without running it.

    :param code: the check's code, such as ``WHL203``.
    :param severity: whether it fails the check.
    :param message: what is wrong, in this wheel, with names and numbers.
    :param reason: why the defect matters to the person who installs the wheel.
    :param fix: how to fix it, with the command if there is one.
    """

    code: str
    severity: Severity
    message: str
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """One ``.whl`` file, opened once and parsed.

    :param path: our own copy of the file; all work is done on it.
    :param shown: the path as the user gave it, relative to the root folder where it lies below; used in node ids.
    :param source: the user's file, absolute.
    :param sha256: hexadecimal digest of the file.
    :param size: size of the file in bytes.
    :param name: distribution name as the file name has it, not normalised.
    :param version: version as the file name has it.
    :param build: build tag of the file name, or an empty string.
    :param tags: the compatibility tags of the file name, expanded (PEP 425).
    :param dist_info: the name of the ``.dist-info`` folder.
    :param requires_python: ``Requires-Python`` of METADATA, or ``None``.
    :param requires: ``Requires-Dist`` lines of METADATA.
    :param extras: ``Provides-Extra`` of METADATA.
    :param console_scripts: pairs of name and object reference, from ``entry_points.txt``.
    :param files: every file as it is installed below site-packages, ``/`` as separator (``.data/purelib`` and
        ``.data/platlib`` already moved to their place).
    :param scripts: file names below ``.data/scripts``.
    :param binaries: the subset of *scripts* that is a native executable (ELF, Mach-O, PE).
    :param classifiers: ``Classifier`` of METADATA.
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

    @property
    def top_levels(self) -> tuple[str, ...]:
        """The first components of everything importable in the wheel, sorted."""
        return tuple(sorted({name.partition(".")[0] for name in (*self.import_names, *self.extension_modules)}))

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags of the file name, in its order, without repeats."""
        return tuple(dict.fromkeys(tag.platform for tag in self.tags))


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """An interpreter that can be run.

    :param python: path of the executable (for a foreign architecture: of its launcher).
    :param implementation: ``cpython`` or ``pypy``.
    :param version: major, minor, micro.
    :param free_threaded: built with ``--disable-gil`` (PEP 703).
    :param system: ``linux``, ``darwin`` or ``win32``, as ``sys.platform`` says in the target.
    :param architecture: normalised as in platform tags: ``x86_64``, ``aarch64``, ``armv7l``, ``arm64``, ``amd64`` …
    :param libc: ``glibc``, ``musl`` or an empty string.
    :param libc_version: major, minor of *libc*; ``(0, 0)`` where there is none.
    :param tags: every tag the interpreter accepts, best first, as ``str(Tag)``.
    :param provider: which provider gave it: ``host``, ``published`` …
    :param how: one line for people: where it comes from.
    :param emulated: whether its instructions are emulated (QEMU).
    :param native: an interpreter of the same implementation, minor version and ABI that this host runs natively:
        installs for the runtime and compiles its byte-code; ``None`` where there is none, or none is needed.
    :param launch: what starts a program of the runtime's architecture: the words before the name that it gets, and
        those between the name and the program's path. Empty where the kernel starts it.
    :param label: tells it from another runtime of the same interpreter and platform in one run; ends its name.
    :param under: what stands in for another system: ``wine``; empty where there is no such thing. Its paths are then
        those of that system (:mod:`pytest_wheelcheck.backends.wine.paths`).
    """

    python: Path
    implementation: str
    version: tuple[int, int, int]
    free_threaded: bool
    system: str
    architecture: str
    libc: str
    libc_version: tuple[int, int]
    tags: tuple[str, ...] = field(repr=False)
    provider: str
    how: str
    emulated: bool = False
    native: Path | None = None
    launch: tuple[tuple[str, ...], ...] = ()
    label: str = ""
    under: str = ""

    @property
    def interpreter(self) -> str:
        """Short name of interpreter and ABI, such as ``cp314t`` or ``pp311``."""
        prefix = {"cpython": "cp", "pypy": "pp"}.get(self.implementation, self.implementation)
        return f"{prefix}{self.version[0]}{self.version[1]}{'t' if self.free_threaded else ''}"

    @property
    def platform(self) -> str:
        """Short name of system and architecture, such as ``linux-x86_64``, ``musllinux-aarch64``, ``win_amd64``."""
        if self.system == "linux":
            return f"{'musllinux' if self.libc == 'musl' else 'linux'}-{self.architecture}"
        if self.system == "darwin":
            return f"macosx-{self.architecture}"
        return {"amd64": "win_amd64", "x86": "win32", "arm64": "win_arm64"}.get(
            self.architecture, f"{self.system}-{self.architecture}"
        )

    @property
    def name(self) -> str:
        """The name of a target on this runtime, the middle part of node ids."""
        return f"{self.interpreter}-{self.platform}{f'-{self.label}' if self.label else ''}"

    @property
    def version_text(self) -> str:
        """The version with dots."""
        return ".".join(map(str, self.version))


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The hardware that a runtime is, or pretends to be. ``host`` is the hardware at hand."""

    name: str = "host"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where a wheel is installed, imported and tested: Wheel, Runtime and Machine."""

    wheel: Wheel
    runtime: Runtime
    machine: Machine = field(default_factory=Machine)

    @property
    def name(self) -> str:
        """``cp311-linux-x86_64``, with ``+machine`` where it is not the host itself."""
        suffix = "" if self.machine.name == "host" else f"+{self.machine.name}"
        return f"{self.runtime.name}{suffix}"

    @property
    def node_id(self) -> str:
        """The id below which all nodes of this target stand."""
        return f"{self.wheel.shown}::{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class NoTarget:
    """A wheel, or one of the interpreters it was asked for, that gets no target here.

    :param outcome: ``SKIPPED`` where this host cannot by nature, ``ERROR`` where it should have been possible.
    :param reason: the exact reason, such as ``needs macOS`` or ``needs CPython 3.12, found 3.11 and 3.13``.
    :param name: what stands in the node id in the place of a target.
    """

    wheel: Wheel
    outcome: Outcome
    reason: str
    name: str = "no-target"
