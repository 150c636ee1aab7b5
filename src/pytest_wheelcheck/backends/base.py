"""The protocol of backends: how a program runs on a target.

A provider (:mod:`pytest_wheelcheck.interpreters.base`) gives an :class:`~pytest_wheelcheck.model.Installation`: files on
disk. A :class:`Backend` makes it runnable, as a :class:`Runtime`: it starts programs, maps paths, creates environments and
installs into them, begins and ends sessions, explains how programs ended, and states what the target can do. Everything
else is written against the protocols in this module. :mod:`.registry` lists the backends.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_wheelcheck.interpreters.base import NativePython, Offer, Unavailable
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.model import Installation, Machine, Platform
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system.process import CompletedProcess
from pytest_wheelcheck.system.uv_config import InstallSettings

#: The name of the backend for interpreters that this host runs at native speed.
NATIVE = "native"

#: The name of the host's own hardware, without a profile.
HOST_MACHINE = "host"


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What programs on a target can do.

    :param fork: ``os.fork``: each import has a forked process. Otherwise those of one package share a process.
    :param subprocess: start other programs. Otherwise executables are skipped.
    :param threads: start threads.
    :param pty: open pseudo-terminals. The worker finds out for itself whether tests that need one are skipped.
    :param consoles: run programs on a pseudo console of Windows (ConPTY). Otherwise a failing test that opened one is skipped.
    :param signals: receive signals from the host, such as the one that makes a worker write its stacks.
    :param venv: start from a virtual environment.
    :param sandbox: run inside ``--wheel-sandbox``. Otherwise that option is an error of the target.
    :param side_by_side: run several at a time in one session.
    :param native_speed: run about as fast as a native program; where this is false, timeouts are scaled.
    """

    fork: bool = True
    subprocess: bool = True
    threads: bool = True
    pty: bool = True
    consoles: bool = True
    signals: bool = True
    venv: bool = True
    sandbox: bool = True
    side_by_side: bool = True
    native_speed: bool = True

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the capabilities that the target lacks."""
        return tuple(name for name in self.__slots__ if not getattr(self, name))


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """An interpreter that can be run on this host.

    :param installation: its files, and what it is.
    :param python: the executable that starts it: the installation's own, or a launcher.
    :param backend: what runs it.
    :param native: an interpreter of the same implementation, minor version and ABI that this host runs natively: it
        installs for the runtime and compiles its bytecode; ``None`` where there is none, or none is needed.
    :param launch: the backend's own data about how its programs are started.
    :param label: distinguishes it from another runtime of the same interpreter and platform; the end of its name.
    """

    installation: Installation
    python: Path
    backend: Backend = field(repr=False)
    native: Path | None = None
    launch: Any = None
    label: str = ""

    @property
    def platform(self) -> Platform:
        """The platform that its programs see."""
        return self.installation.platform

    @property
    def interpreter(self) -> str:
        """Short name of interpreter and ABI, such as ``cp314t`` or ``pp311``."""
        return self.installation.name

    @property
    def name(self) -> str:
        """The name of its targets without the machine: the middle part of a node id up to ``+``."""
        return f"{self.interpreter}-{self.platform.name}{f'-{self.label}' if self.label else ''}"

    @property
    def capabilities(self) -> Capabilities:
        """What its programs can do."""
        return self.backend.capabilities


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """A virtual environment, by paths of this host.

    :param root: its directory.
    :param python: what starts its interpreter.
    :param site_packages: where pure modules are installed (sysconfig's ``purelib``).
    :param platlib: where the others are installed; usually the same directory.
    :param scripts: where console scripts are: ``bin`` or ``Scripts``.
    """

    root: Path
    python: Path
    site_packages: Path
    platlib: Path
    scripts: Path

    @property
    def site_directories(self) -> tuple[Path, ...]:
        """The directories of installed modules, without repeats."""
        return tuple(dict.fromkeys((self.site_packages, self.platlib)))


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallResult:
    """The end of an installation into an environment.

    :param completed: how the installer ended.
    :param missing: why system libraries that the installed files may need are missing; usually empty.
    """

    completed: CompletedProcess
    missing: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A program of a target, as this host starts it."""

    argv: tuple[str | Path, ...]
    env: Mapping[str, str]
    cwd: Path


class PathMapping(Protocol):
    """Translates paths between this host and a target, for everything that crosses the channel to a worker."""

    def to_target(self, path: Path | str) -> str:
        """Return an absolute path of this host as the target names it."""

    def settings_to_target(self, value: Any) -> Any:
        """Translate the paths inside the settings of a worker: strings, lists and dicts of them."""

    def node_id_to_target(self, node_id: str) -> str:
        """Translate a pytest node id, whose file may be an absolute path."""

    def message_from_target(self, message: Any) -> Any:
        """Translate the paths in a message of a worker."""

    def text_from_target(self, text: str) -> str:
        """Translate every path in a text that a program of the target wrote."""


class Session(Protocol):
    """What the programs of one target share, from its preparation to its last test.

    It belongs to one process of the run. Several sessions may run side by side.
    """

    @property
    def paths(self) -> PathMapping:
        """How paths are translated."""

    @property
    def capabilities(self) -> Capabilities:
        """What programs in this session can do."""

    def begin(self) -> None:
        """Start what the programs share, in the background. :meth:`command` waits for it, and starts it if nothing did."""

    def command(
        self,
        argv: Sequence[str | Path],
        *,
        environment: Environment,
        cwd: Path,
        variables: Mapping[str, str],
        supervised: bool,
        temporary: Path | None = None,
    ) -> Command:
        """Return how a program of the target is started.

        :param argv: the program, by a path of this host, and its arguments.
        :param environment: its virtual environment is the active one.
        :param cwd: the working directory, on this host.
        :param variables: further environment variables; their values are taken as they are.
        :param supervised: the program is a worker, whose supervisor ends the processes that it leaves running.
        :param temporary: its directory for temporary files; ``None`` for the default.
        """

    def request_stacks(self, process: subprocess.Popen[bytes]) -> None:
        """Ask a worker to write the stacks of all threads to its log. Only with the capability ``signals``."""

    def end_worker(self, process: subprocess.Popen[bytes], pid: object) -> None:
        """End a worker and everything that it started.

        :param pid: the process id that the worker reported, or ``None``.
        """

    def left_running_prefix(self, nonce: str) -> str:
        """Return the beginning of the line in a worker's log that names the processes it left running."""

    def exit_status(self, code: int) -> int:
        """Return the exit status of the target's program, where *code* is that of the started process.

        Negative numbers are signals, as for :class:`subprocess.Popen`.
        """

    def program_output(self, output: str) -> str:
        """Return what programs of the target wrote: *output* without the lines of the backend itself, for the user."""

    def describe_death(self, output: str) -> str:
        """Name the cause of an interpreter's death as *output* shows it; empty if it does not."""

    def is_dead(self, output: str) -> bool:
        """Return whether *output* shows that the program is lost although its process still runs."""

    def explain_failure(self, output: str) -> str:
        """Return why a failure is not the wheel's, as ``could not be checked: ...``; empty if nothing shows that.

        :param output: everything that was written meanwhile, also by the backend itself.
        """

    def missing_libraries(self, output: str) -> list[tuple[str, str]]:
        """List the libraries that were not found, each with the name of the file that needs it, as *output* shows."""

    def explain_illegal_instruction(self, output: str) -> str:
        """Explain an illegal instruction by the machine that the target pretends to be; empty without a hardware profile."""

    def fetch(self, directory: Path) -> str:
        """Bring the files that programs have left in a directory to the directory of the same name on this host.

        :param directory: below the target's own, by its path of this host.
        :returns: why files are missing; empty if none are.
        """

    def fetch_cores(self, directory: Path, own: Path) -> None:
        """Bring the core dumps from the working directory of programs to a directory of this host, if it is elsewhere.

        :param own: the target's own directory.
        """

    def end(self) -> None:
        """End what the programs share. Has no effect if nothing was begun."""


class MachineProfile(Protocol):
    """A machine that runtimes can pretend to be (``--wheel-machine``)."""

    @property
    def name(self) -> str:
        """Its name, as in ``--wheel-machine`` and node ids."""

    @property
    def architecture(self) -> str:
        """As in platform tags; empty for any."""

    def fits(self, platform: Platform) -> bool:
        """Return whether interpreters of a platform can run on it."""


class Backend(Protocol):
    """Runs the programs of one kind of target. Instances are plain values: they can be pickled and shared by threads."""

    @property
    def name(self) -> str:
        """One word, such as ``native``."""

    @property
    def machine(self) -> Machine:
        """The machine of its targets when no hardware profile is requested."""

    @property
    def emulated(self) -> bool:
        """Whether an emulator executes the instructions of its programs."""

    @property
    def category(self) -> str:
        """Which column of the release matrix has its results: ``native``, ``emulated``, or ``board``."""

    @property
    def place(self) -> str:
        """Where its programs run: the name of a board, or an empty string for this host. Places do not share anything."""

    @property
    def place_jobs(self) -> int:
        """Number of targets whose tests may run there at the same time; 0 for the number of the settings."""

    @property
    def note(self) -> str:
        """The limits of a passed run, for ``wheelcheck doctor``; empty if there are none."""

    @property
    def capabilities(self) -> Capabilities:
        """What programs on its targets can do."""

    def covers(self, platform: Platform) -> bool:
        """Return whether this backend is responsible for a platform on this host."""

    def unavailable(self, platform: Platform) -> Unavailable | None:
        """Return why it cannot run programs of a platform that it covers, or ``None``. Fetches nothing."""

    def accepts(self, offer: Offer) -> str | None:
        """Return a suffix for an offer's description, such as ``, under Wine`` or an empty one; ``None`` if it cannot run it."""

    def parts(self, platform: Platform, profile: MachineProfile | None = None) -> tuple[Part, ...] | None:
        """Return what :meth:`fetch`, or :meth:`on_machine`, fetches, or has fetched before. Fetches nothing.

        :param profile: the machine to pretend to be; ``None`` for none.
        :returns: ``None`` if the backend does not know such machines.
        :raises RuntimeUnavailableError: no backend can do that on this host.
        """

    def fetch(self, platform: Platform) -> None:
        """Fetch what it needs to run programs of a platform. Blocks; safe to call from several threads.

        :raises RuntimeUnavailableError: that is not available.
        """

    def trial_argv(self, *, platform: Platform, root: Path | None, name: Path, program: Path) -> list[str | Path]:
        """See :meth:`pytest_wheelcheck.interpreters.base.Starter.trial_argv`."""

    def target_path(self, path: Path) -> str:
        """See :meth:`pytest_wheelcheck.interpreters.base.Starter.target_path`."""

    def minimum_libc(self, platform: Platform) -> tuple[int, int]:
        """See :meth:`pytest_wheelcheck.interpreters.base.Starter.minimum_libc`."""

    def make_ready(self, installation: Installation, native_python: NativePython) -> Runtime:
        """Make an installation runnable.

        :param native_python: see :data:`pytest_wheelcheck.interpreters.base.NativePython`.
        :raises RuntimeUnavailableError: it does not run here.
        """

    def on_machine(self, runtime: Runtime, profile: MachineProfile) -> Runtime | None:
        """Return a runtime that pretends to be a machine; ``None`` if the backend does not know such machines.

        :param runtime: of this or another backend.
        :raises RuntimeUnavailableError: it is not available, or the interpreter does not run on the machine.
        """

    def create_environment(self, runtime: Runtime, directory: Path) -> Environment:
        """Make an empty virtual environment.

        :param directory: need not exist; its parents are created.
        :raises RuntimeUnavailableError: that is impossible.
        """

    def uv_arguments(self, runtime: Runtime) -> list[str | Path]:
        """Return the arguments with which uv resolves and installs for a runtime, outside of an environment."""

    def install(
        self,
        runtime: Runtime,
        environment: Environment,
        arguments: Sequence[str | Path],
        settings: InstallSettings,
        *,
        project: Path | None = None,
    ) -> InstallResult:
        """Run ``uv pip install`` with *arguments* on an environment of *runtime*.

        :param project: see :func:`pytest_wheelcheck.system.uv.run_uv`.
        """

    def add_libraries(
        self, runtime: Runtime, environment: Environment, directory: Path, settings: InstallSettings
    ) -> str:
        """Give an environment the system libraries that the modules in a directory outside of it may need.

        Nothing may run in the environment meanwhile.

        :returns: why they are missing, or an empty string.
        """

    def bytecode_compiler(self, runtime: Runtime) -> Path | None:
        """Return an interpreter that compiles bytecode for *runtime* at native speed, or ``None``.

        The bytecode format is that of the minor version, whatever the architecture (``importlib.util.MAGIC_NUMBER``).
        """

    def open_session(self, runtime: Runtime, machine: Machine, settings: Settings, directory: Path) -> Session:
        """Return the session of a target. Nothing is started yet.

        :param directory: the target's own.
        """
