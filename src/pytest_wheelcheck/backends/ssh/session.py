"""The session of a target on a board. Files that a program needs are sent before it starts."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_wheelcheck.backends import illegal_instructions, sandbox
from pytest_wheelcheck.backends.base import Capabilities, Command, Environment, Runtime
from pytest_wheelcheck.backends.ssh import pool, project, transfer
from pytest_wheelcheck.backends.ssh.connection import ssh_environment
from pytest_wheelcheck.backends.ssh.destination import Destination
from pytest_wheelcheck.backends.ssh.diagnosis import BoardError
from pytest_wheelcheck.backends.ssh.onboard.protocol import EXIT_LINE, RUN_MARK
from pytest_wheelcheck.backends.ssh.paths import Prefixes
from pytest_wheelcheck.backends.ssh.pool import SharedConnection
from pytest_wheelcheck.model import Machine
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import process as processes
from pytest_wheelcheck.system.temporary import LONG_OUTPUT
from pytest_wheelcheck.worker.memory import OUT_OF_MEMORY
from pytest_wheelcheck.worker.supervisor import LEFT_BEHIND

#: The last line of a program, which the agent writes behind a line break of its own.
_EXIT = re.compile(rf"\n?^{EXIT_LINE} ([0-9a-f]+) (\d+) (oom|-)$\n?", re.MULTILINE)

#: Lines of ssh when its connection ends, which are not the program's.
_SSH_LINES = re.compile(
    r"^(client_loop: send disconnect: .*|Connection to \S+ closed( by remote host)?\.|mux_client_.*|Shared connection to .* "
    r"closed\.|Timeout, server \S+ not responding\.|Connection reset by .*|kex_exchange_identification: .*|"
    r"Killed by signal \d+\.)\r?$\n?",
    re.MULTILINE,
)

#: The name of the run's directory on the board.
_RUN = "run"

#: Directories of an interpreter that are not sent: tests of the standard library, and what compilers need.
_NOT_SENT = frozenset({"test", "tests", "idle_test", "include", "share"})

#: Seconds that a program has to end on the board when it is asked to.
_END_TIMEOUT = 10.0


class BoardSession:
    """The session of a target on a board. See :class:`pytest_wheelcheck.backends.base.Session`."""

    def __init__(
        self,
        destination: Destination,
        runtime: Runtime,
        machine: Machine,
        settings: Settings,
        directory: Path,
        interpreter: Path | None = None,
    ) -> None:
        self._destination = destination
        self._runtime = runtime
        self._machine = machine
        self._settings = settings
        self._directory = directory
        self._run_directory = directory.parent
        self._shared: SharedConnection | None = None
        self._lock = threading.RLock()
        #: The trees that were compared since the last program started.
        self._compared: set[str] = set()
        #: Directories with other paths on the board, by their names there. They are sent once: tests may change them.
        self._roots = _project_roots(settings)
        if interpreter is not None:
            self._roots[f"python-{runtime.interpreter}"] = interpreter
        # Several programs run at the same time, and each thread asks about its own.
        self._lost = threading.local()
        self._paths: Prefixes | None = None
        self._ended = False

    # -- the connection ---------------------------------------------------------------------------------------------

    def _connected(self) -> SharedConnection:
        """Return the connection, made anew if it was lost.

        :raises BoardError: the board cannot be reached.
        """
        with self._lock:
            if self._ended:
                raise BoardError(f"{self._destination.name} was not asked: the target has ended")
            if self._shared is None:
                self._shared = pool.acquire(self._destination)
            self._shared.ensure()
            return self._shared

    @property
    def paths(self) -> Prefixes:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        # Every message asks for it. It stays valid after a new connection, and late output is translated after the last one.
        if self._paths is None:
            there = self._connected().directory
            self._paths = Prefixes(tuple((here, f"{there}/{tree}") for here, tree in self._moved()), self._send)
        return self._paths

    def _moved(self) -> list[tuple[str, str]]:
        """Return the directories with other paths, and their names on the board; the longest first."""
        pairs = [(str(self._run_directory), _RUN), *((str(root), tree) for tree, root in self._roots.items())]
        return sorted(pairs, key=lambda pair: -len(pair[0]))

    @property
    def _output(self) -> Path:
        """The directory for long output of tests, on this host."""
        return self._run_directory / LONG_OUTPUT

    @property
    def capabilities(self) -> Capabilities:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        return self._runtime.capabilities

    def begin(self) -> None:
        """See :class:`pytest_wheelcheck.backends.base.Session`: connects while the environment is made."""

        def connect() -> None:
            # The first program reports the error.
            with contextlib.suppress(BoardError):
                self._connected()

        threading.Thread(target=connect, name="wheelcheck-board-connect", daemon=True).start()

    # -- files ------------------------------------------------------------------------------------------------------

    def _send(self, mentioned: str) -> None:
        """Send what a path names, if the board does not have it as it is now."""
        shared = self._connected()
        path = Path(mentioned)
        if path.is_relative_to(self._directory):
            # An installed module is part of the environment, which is sent as a whole.
            parts = path.relative_to(self._directory).parts
            tree = f"{_RUN}/{self._directory.name}/{parts[0]}" if parts else ""
            if tree and tree not in self._compared and os.path.lexists(top := self._directory / parts[0]):
                self._compared.add(tree)
                moved = [(os.fsencode(here), RUN_MARK + os.fsencode(f"/{name}")) for here, name in self._moved()]
                shared.send(tree, top, moved=moved)
        elif not path.is_relative_to(self._run_directory):
            tree, root = next((tree, root) for tree, root in self._roots.items() if path.is_relative_to(root))
            if not shared.has(tree):
                interpreter = tree.startswith("python-")
                shared.send(
                    tree, root, names=lambda: project.walk(root, _NOT_SENT) if interpreter else self._project(root)
                )

    def _project(self, root: Path) -> Iterator[str]:
        settings = self._settings
        words = [*settings.fixed_args, *(word for argument in settings.target_args for word in argument.argv)]
        words += [settings.coverage.config] if settings.coverage else []
        return project.list_files(root, settings.push, project.named_paths(settings.cwd, words), self._run_directory)

    # -- programs ---------------------------------------------------------------------------------------------------

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
        """See :class:`pytest_wheelcheck.backends.base.Session`.

        :raises BoardError: the board cannot be reached, or has no room.
        """
        shared = self._connected()
        paths = self.paths
        self._compared.clear()
        self._send(str(environment.root))
        # The interpreter may be one that the run brings.
        paths.to_target(self._runtime.python)
        program = [paths.settings_to_target(str(argument)) for argument in argv]
        there = paths.to_target(cwd)
        scripts = paths.to_target(environment.scripts)
        passed = {name: os.environ[name] for name in self._settings.board_env if name in os.environ}
        directories = [there, *(paths.to_target(path) for path in (temporary, self._output) if path is not None)]
        env = {
            **passed,
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "VIRTUAL_ENV": paths.to_target(environment.root),
            **({} if temporary is None else {"TMPDIR": paths.to_target(temporary)}),
            **{name: paths.settings_to_target(value) for name, value in variables.items() if name != "PATH"},
        }
        further = variables.get("PATH", "").split(os.pathsep)
        inside = [paths.to_target(path) for path in further if Path(path).is_relative_to(self._run_directory)]
        description = {
            "argv": program,
            "env": env,
            "path": list(dict.fromkeys([scripts, *inside])),
            "cwd": there,
            "directories": directories,
            "report_left": not supervised,
        }
        started = shared.connection.program(description)
        return Command(argv=tuple(started), env=ssh_environment(), cwd=self._directory)

    def _token(self, process: subprocess.Popen[bytes]) -> str:
        """Return the token of a started program: the last word of its command."""
        arguments = process.args if isinstance(process.args, list) else []
        return str(arguments[-1]).rpartition(" ")[2] if arguments else ""

    def request_stacks(self, process: subprocess.Popen[bytes]) -> None:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        self._ask("signal", process, name="SIGUSR1")

    def end_worker(self, process: subprocess.Popen[bytes], pid: object) -> None:  # noqa: ARG002 — part of the protocol
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        if process.poll() is None:
            self._ask("end", process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_TIMEOUT)
        processes.kill_tree(process)

    def _ask(self, operation: str, process: subprocess.Popen[bytes], **fields: Any) -> None:
        shared = self._shared
        if shared is not None and not shared.connection.is_lost():
            with contextlib.suppress(BoardError):
                shared.connection.request(operation, token=self._token(process), timeout=30.0, **fields)

    def left_running_prefix(self, nonce: str) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        return f"{LEFT_BEHIND}{nonce} "

    # -- how programs end -------------------------------------------------------------------------------------------

    def exit_status(self, code: int) -> int:
        """See :class:`pytest_wheelcheck.backends.base.Session`: ssh passes on the status of the agent, as a shell's."""
        return 128 - code if 128 < code <= 192 else code

    def program_output(self, output: str) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        return _SSH_LINES.sub("", _EXIT.sub("", output))

    def describe_death(self, output: str) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        if (found := _EXIT.search(output)) is not None:
            return f"killed by {self._destination.name}, which ran out of memory" if found[3] == "oom" else ""
        # The agent reports the end of every program. So it did not end: its connection did.
        self._lost.noticed = True
        if self._shared is not None:
            self._shared.connection.is_lost(ask=True)
        return f"the connection to {self._destination.name} was lost"

    def is_dead(self, output: str) -> bool:  # noqa: ARG002 — part of the protocol
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        return False

    def explain_failure(self, output: str) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        found = _EXIT.search(output)
        if OUT_OF_MEMORY in output or (found is not None and found[3] == "oom"):
            return (
                f"could not be checked: {self._destination.name} ran out of memory, and its kernel killed the program\n"
                "Fix: end other programs there, add swap, or run fewer tests at the same time"
            )
        lost = getattr(self._lost, "noticed", False) and found is None
        self._lost.noticed = False
        if lost or (self._shared is not None and self._shared.connection.is_lost()):
            return (
                f"could not be checked: the connection to {self._destination.name} was lost\n"
                "Cause: the network failed, or the board was switched off or restarted"
            )
        return ""

    def missing_libraries(self, output: str) -> list[tuple[str, str]]:  # noqa: ARG002 — part of the protocol
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        return []

    def explain_illegal_instruction(self, output: str) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        known = dict(self._machine.facts)
        name = f"{self._destination.name} ({known.get('model') or known.get('CPU', 'unknown CPU')})"
        return illegal_instructions.explain(output, self._runtime.platform.architecture, name)

    # -- the end ----------------------------------------------------------------------------------------------------

    def fetch(self, directory: Path) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        shared = self._shared
        if shared is None or shared.connection.is_lost():
            return f"the connection to {self._destination.name} was lost, and its files with it"
        tree = f"{_RUN}/{directory.relative_to(self._run_directory).as_posix()}"
        try:
            return transfer.fetch(shared.connection, tree, directory)
        except (BoardError, OSError, ValueError, zlib.error) as error:
            return f"files cannot be fetched from {self._destination.name}: {error}"

    def fetch_cores(self, directory: Path, own: Path) -> None:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        if self._shared is not None and not self._shared.connection.is_lost():
            tree = next((tree for here, tree in self._moved() if str(self._settings.cwd) == here), "project")
            with contextlib.suppress(BoardError, OSError, ValueError, zlib.error):
                mark = f"{self._shared.directory}/{_RUN}/{own.name}/"
                transfer.fetch(self._shared.connection, tree, directory, core_of=mark)

    def end(self) -> None:
        """See :class:`pytest_wheelcheck.backends.base.Session`: fetches long output, and closes the connection."""
        if self._shared is not None and not self._shared.connection.is_lost():
            self.fetch(self._output)
        with self._lock:
            self._ended = True
            shared, self._shared = self._shared, None
        if shared is not None:
            pool.release(shared)


def _project_roots(settings: Settings) -> dict[str, Path]:
    """Return the directories of the project and of tests outside of it, by their names on the board."""
    roots = {"project": settings.root}
    tests = [path if path.is_dir() else path.parent for path in sandbox.requested_tests(settings)]
    for path in (settings.cwd, *tests):
        if not any(path.is_relative_to(root) for root in roots.values()) and path != Path(tempfile.gettempdir()):
            roots[f"tests{len(roots)}"] = path
    return roots
