"""What backends share whose programs are processes of this host: started directly, through a launcher, or in the sandbox."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_wheelcheck.backends import sandbox, windows_deaths
from pytest_wheelcheck.backends.base import Capabilities, Command, Environment, MachineProfile, PathMapping, Runtime
from pytest_wheelcheck.interpreters.base import Unavailable
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.interpreters.published.pinned import PackageIndex
from pytest_wheelcheck.model import Machine, Platform
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import process as processes
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.worker.supervisor import LEFT_BEHIND

#: Seconds that the supervisor of a worker has to end it and everything that it left running.
SUPERVISOR_GRACE = 5.0

#: Environment variables that would change the target's interpreter or pytest and were meant for the host's.
_DROPPED = ("PYTHON", "PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_CURRENT_TEST", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


class SamePaths:
    """The path mapping of targets that share this host's file system."""

    def to_target(self, path: Path | str) -> str:
        """See :class:`.base.PathMapping`."""
        return str(path)

    def settings_to_target(self, value: Any) -> Any:
        """See :class:`.base.PathMapping`."""
        return value

    def node_id_to_target(self, node_id: str) -> str:
        """See :class:`.base.PathMapping`."""
        return node_id

    def message_from_target(self, message: Any) -> Any:
        """See :class:`.base.PathMapping`."""
        return message

    def text_from_target(self, text: str) -> str:
        """See :class:`.base.PathMapping`."""
        return text


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalBackend:
    """The answers of most backends for this host. See :class:`.base.Backend`.

    :param offline: download nothing.
    :param apt_source: a repository to download from before the host's, as a line of ``sources.list(5)``.
    :param index: the package index to download from.
    :param ignored: the checks that the user ignores: codes or prefixes.
    """

    offline: bool = False
    apt_source: str = ""
    index: PackageIndex = field(default_factory=PackageIndex)
    ignored: tuple[str, ...] = ()
    note: str = ""
    place: str = ""
    place_jobs: int = 0

    @property
    def machine(self) -> Machine:
        """See :class:`.base.Backend`."""
        return Machine()

    def parts(self, platform: Platform, profile: MachineProfile | None = None) -> tuple[Part, ...] | None:  # noqa: ARG002
        """See :class:`.base.Backend`: nothing is fetched."""
        return () if profile is None else None

    def unavailable(self, platform: Platform) -> Unavailable | None:  # noqa: ARG002 — part of the protocol
        """See :class:`.base.Backend`."""
        return None

    def fetch(self, platform: Platform) -> None:
        """See :class:`.base.Backend`."""

    def target_path(self, path: Path) -> str:
        """See :class:`.base.Backend`."""
        return str(path)

    def minimum_libc(self, platform: Platform) -> tuple[int, int]:  # noqa: ARG002 — part of the protocol
        """See :class:`.base.Backend`."""
        return 0, 0

    def on_machine(self, runtime: Runtime, profile: MachineProfile) -> Runtime | None:  # noqa: ARG002
        """See :class:`.base.Backend`."""
        return None

    def add_libraries(
        self,
        runtime: Runtime,  # noqa: ARG002 — part of the protocol
        environment: Environment,  # noqa: ARG002
        directory: Path,  # noqa: ARG002
        settings: InstallSettings,  # noqa: ARG002
    ) -> str:
        """See :class:`.base.Backend`."""
        return ""


class LocalSession:
    """The session of a target whose programs share nothing: every program is started by itself.

    :param launch_paths: files and directories that the backend needs to start a program.
    """

    def __init__(
        self,
        runtime: Runtime,
        machine: Machine,
        settings: Settings,
        directory: Path,
        *,
        launch_paths: tuple[Path, ...] = (),
    ) -> None:
        self.runtime = runtime
        self.machine = machine
        self.settings = settings
        self.directory = directory
        self._launch_paths = launch_paths
        self._paths: PathMapping = SamePaths()

    @property
    def paths(self) -> PathMapping:
        """See :class:`.base.Session`."""
        return self._paths

    @property
    def capabilities(self) -> Capabilities:
        """See :class:`.base.Session`."""
        return self.runtime.capabilities

    def begin(self) -> None:
        """See :class:`.base.Session`."""

    def fetch(self, directory: Path) -> str:  # noqa: ARG002  the files are here
        """See :class:`.base.Session`."""
        return ""

    def fetch_cores(self, directory: Path, own: Path) -> None:
        """See :class:`.base.Session`."""

    def end(self) -> None:
        """See :class:`.base.Session`."""

    def variables(self) -> Mapping[str, str]:
        """Return the variables by which a program finds the things that the session shares."""
        return {}

    def program_argv(self, argv: Sequence[str | Path]) -> Sequence[str | Path]:
        """Return the argv that starts a program of the target, before the sandbox is added."""
        return argv

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
        """See :class:`.base.Session`."""
        wrapper = sandbox.argv(
            self.settings,
            self.runtime,
            self._launch_paths,
            self.directory,
            cwd=cwd,
            supervised=supervised,
            temporary=temporary,
        )
        search_path = os.pathsep.join(filter(None, (str(environment.scripts), os.environ.get("PATH", ""))))
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)},
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": search_path,
            "VIRTUAL_ENV": str(environment.root),
            # One target does not see the temporary files of another, and the run removes them.
            **({} if temporary is None or os.name == "nt" else {"TMPDIR": str(temporary)}),
            **variables,
            **self.variables(),
        }
        return Command(argv=(*wrapper, *self.program_argv(argv)), env=env, cwd=cwd)

    # -- a running worker ---------------------------------------------------------------------------------------------

    def request_stacks(self, process: subprocess.Popen[bytes]) -> None:
        """See :class:`.base.Session`."""
        if sys.platform != "win32":
            self._signal_supervisor(process, signal.SIGUSR1)

    def end_worker(self, process: subprocess.Popen[bytes], pid: object) -> None:
        """See :class:`.base.Session`."""
        supervised = sys.platform == "linux" and process.poll() is None
        if supervised and self.settings.sandbox:
            # A signal to the process group would end the sandbox before the supervisor has ended the other processes.
            self._signal_supervisor(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SUPERVISOR_GRACE)
                supervised = False
        processes.kill_tree(process, grace=SUPERVISOR_GRACE if supervised else 0.0)
        killed = sys.platform == "linux" and process.returncode == -signal.SIGKILL
        if killed and isinstance(pid, int) and self.shares_pids():
            # The supervisor was killed: by code under test, or because it did not finish in time.
            processes.kill_group(pid)

    def shares_pids(self) -> bool:
        """Return whether the process id that a worker reports is one of this host."""
        return not self.settings.sandbox

    def _signal_supervisor(self, process: subprocess.Popen[bytes], number: int) -> None:
        pid = process.pid
        with contextlib.suppress(OSError, IndexError):
            if self.settings.sandbox:
                # proc(5); bubblewrap has one child, the first process of the sandbox.
                pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])
            os.kill(pid, number)

    def left_running_prefix(self, nonce: str) -> str:
        """See :class:`.base.Session`."""
        return f"{LEFT_BEHIND}{nonce} "

    # -- how programs end -----------------------------------------------------------------------------------------------

    def exit_status(self, code: int) -> int:
        """See :class:`.base.Session`."""
        # The sandbox reports a signal as a shell does (bwrap(1)).
        return 128 - code if self.settings.sandbox and code > 128 else code

    def program_output(self, output: str) -> str:
        """See :class:`.base.Session`."""
        return output

    def describe_death(self, output: str) -> str:
        """See :class:`.base.Session`."""
        return windows_deaths.describe(output) if self.runtime.platform.is_windows else ""

    def is_dead(self, output: str) -> bool:  # noqa: ARG002 — part of the protocol
        """See :class:`.base.Session`."""
        return False

    def explain_failure(self, output: str) -> str:  # noqa: ARG002 — part of the protocol
        """See :class:`.base.Session`."""
        return ""

    def missing_libraries(self, output: str) -> list[tuple[str, str]]:  # noqa: ARG002 — part of the protocol
        """See :class:`.base.Session`."""
        return []

    def explain_illegal_instruction(self, output: str) -> str:  # noqa: ARG002 — part of the protocol
        """See :class:`.base.Session`."""
        return ""
