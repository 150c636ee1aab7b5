"""The ssh backend: one instance for each board. Environments are made here, for the board's interpreter, and sent to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.backends import environments
from pytest_wheelcheck.backends.base import Capabilities, Environment, InstallResult, MachineProfile, Runtime, Session
from pytest_wheelcheck.backends.ssh.destination import Destination
from pytest_wheelcheck.backends.ssh.facts import BoardFacts
from pytest_wheelcheck.backends.ssh.session import BoardSession
from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.base import NativePython, Offer, Unavailable
from pytest_wheelcheck.interpreters.board import BOARD
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.model import Installation, Machine, Platform
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system.uv_config import InstallSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardLaunch:
    """How packages are installed for an interpreter of a board, and where it is.

    :param arguments: of uv, which installs with an interpreter of this host.
    :param prefix: the directory of this host that is sent to the board; ``None`` if the board has the interpreter.
    """

    arguments: tuple[str, ...]
    prefix: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardBackend:
    """Runs interpreters of one board. See :class:`pytest_wheelcheck.backends.base.Backend`.

    :param destination: the board.
    :param facts: what it reported.
    """

    destination: Destination
    facts: BoardFacts
    name: str = "ssh"
    emulated: bool = False
    category: str = "board"
    note: str = ""

    @property
    def place(self) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return self.destination.name

    @property
    def place_jobs(self) -> int:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return self.destination.jobs

    @property
    def machine(self) -> Machine:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return Machine(name=self.destination.name, facts=self.facts.described())

    @property
    def capabilities(self) -> Capabilities:
        """See :class:`pytest_wheelcheck.backends.base.Backend`. A small board takes many times as long as this host."""
        return Capabilities(pty=self.facts.pty, sandbox=False, native_speed=False)

    def covers(self, platform: Platform) -> bool:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return any(facts.platform == platform for facts in self.facts.interpreters)

    def unavailable(self, platform: Platform) -> Unavailable | None:  # noqa: ARG002 — part of the protocol
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return None

    def accepts(self, offer: Offer) -> str | None:  # noqa: ARG002 — part of the protocol
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return f", on {self.destination.name}"

    def parts(self, platform: Platform, profile: MachineProfile | None = None) -> tuple[Part, ...] | None:  # noqa: ARG002
        """See :class:`pytest_wheelcheck.backends.base.Backend`: a board runs its own programs, on its own hardware."""
        return () if profile is None else None

    def fetch(self, platform: Platform) -> None:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""

    def trial_argv(self, *, platform: Platform, root: Path | None, name: Path, program: Path) -> list[str | Path]:  # noqa: ARG002
        """See :class:`pytest_wheelcheck.backends.base.Backend`: the board has run its interpreters itself."""
        raise RuntimeUnavailableError(f"{program} cannot be started on {self.destination.name} at this point")

    def target_path(self, path: Path) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return str(path)

    def minimum_libc(self, platform: Platform) -> tuple[int, int]:  # noqa: ARG002 — part of the protocol
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return 0, 0

    def make_ready(self, installation: Installation, native_python: NativePython) -> Runtime:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return self.ready(installation, native_python(installation.version[:2], installation.free_threaded))

    def ready(self, installation: Installation, installer: Path | None, *, same_kind: bool = False) -> Runtime:
        """Return the runtime of an installation.

        :param installer: an interpreter of this host with which uv installs; ``None`` if there is none.
        :param same_kind: it is for the same platform as the installation, so uv needs no further arguments.
        :raises RuntimeUnavailableError: nothing here can install for the interpreter.
        """
        if installer is None:
            raise RuntimeUnavailableError(
                f"could not be checked: this host cannot install for {installation.name} of {self.destination.name}",
                cause=f"installing for {installation.platform.name} needs a CPython {installation.stem} that runs here, and "
                "there is none, or its C library is newer than the board's",
                fix=f"install it (uv python install {installation.stem}), or test with another version: --wheel-python",
            )
        brought = installation.provider != BOARD
        return Runtime(
            installation=installation,
            python=installation.program,
            backend=self,
            native=installer,
            launch=BoardLaunch(
                arguments=() if same_kind else tuple(environments.foreign_arguments(installation)),
                prefix=installation.library.parent if brought else None,
            ),
        )

    def on_machine(self, runtime: Runtime, profile: MachineProfile) -> Runtime | None:  # noqa: ARG002
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return None

    def create_environment(self, runtime: Runtime, directory: Path) -> Environment:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return environments.create_by_hand(runtime, directory)

    def uv_arguments(self, runtime: Runtime) -> list[str | Path]:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return ["--python", runtime.native or "", *_launch(runtime).arguments]

    def install(
        self,
        runtime: Runtime,
        environment: Environment,
        arguments: Sequence[str | Path],
        settings: InstallSettings,
        *,
        project: Path | None = None,
    ) -> InstallResult:
        """See :class:`pytest_wheelcheck.backends.base.Backend`.

        While uv runs, the environment's interpreter is the native one.
        """
        version = runtime.installation.version_text
        environments.point(environment.root, runtime.native or runtime.python, version)
        try:
            completed = environments.uv_install(
                environment.python,
                [*_launch(runtime).arguments, *arguments],
                settings,
                project=project,
            )
        finally:
            environments.point(environment.root, runtime.python, version)
        return InstallResult(completed=completed)

    def add_libraries(
        self,
        runtime: Runtime,  # noqa: ARG002 — part of the protocol
        environment: Environment,  # noqa: ARG002
        directory: Path,  # noqa: ARG002
        settings: InstallSettings,  # noqa: ARG002
    ) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Backend`: a board has what it has."""
        return ""

    def bytecode_compiler(self, runtime: Runtime) -> Path | None:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        # What has the board's platform is slow here.
        return runtime.native if _launch(runtime).arguments else environments.running_python(runtime.installation)

    def open_session(self, runtime: Runtime, machine: Machine, settings: Settings, directory: Path) -> Session:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return BoardSession(self.destination, runtime, machine, settings, directory, _launch(runtime).prefix)


def _launch(runtime: Runtime) -> BoardLaunch:
    assert isinstance(runtime.launch, BoardLaunch)  # noqa: S101  made by this backend
    return runtime.launch
