"""The session of a target under Wine: its programs are started in a Wine session that is already running.

To begin one takes a second or two. It is begun together with the preparation of the target, so it is ready when the first
program starts. The guarantees of :mod:`.runner` hold for each program.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_wheelcheck.backends import sandbox
from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.local import LocalSession
from pytest_wheelcheck.backends.wine import diagnosis, paths, runner
from pytest_wheelcheck.backends.wine.launch import WineLaunch
from pytest_wheelcheck.backends.wine.paths import Drives
from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.model import Machine
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import process

#: Suffixes of the files that Windows starts, and this host does not.
_PROGRAMS = (".exe", ".com", ".bat", ".cmd")

#: Seconds that a session may take to begin, and to end.
_BEGIN_TIMEOUT, _END_TIMEOUT = 120.0, 10.0


class _Holder:
    """The process that keeps a Wine session alive until its standard input is closed.

    :param temporary: the directory for temporary files of the session's programs.
    """

    def __init__(self, launch: WineLaunch, directory: Path, temporary: Path, drives: Drives) -> None:
        self.temporary = temporary
        self._prefix = ""
        self.process = process.spawn(
            [*launch.runner, "--hold", launch.description, directory, temporary, *drives.arguments()],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._reader = threading.Thread(target=self._read, name="wheelcheck-wine", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        stream = self.process.stdout
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._prefix = stream.readline().decode("utf-8", "surrogateescape").strip()

    def prefix(self) -> str:
        """Wait until the session has begun; return its prefix, or an empty string if it did not begin."""
        self._reader.join(_BEGIN_TIMEOUT)
        return self._prefix

    def end(self) -> None:
        """End the session and everything in it."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_TIMEOUT)
        process.kill_tree(self.process)


class WineSession(LocalSession):
    """The session of a target under Wine. In the sandbox, every program has a Wine session of its own."""

    def __init__(
        self, runtime: Runtime, machine: Machine, settings: Settings, directory: Path, launch: WineLaunch
    ) -> None:
        super().__init__(runtime, machine, settings, directory, launch_paths=launch.paths)
        self._launch = launch
        self._lock = threading.Lock()
        self._holder: _Holder | None = None
        if settings.sandbox:
            self._paths = self._drives = paths.all_drives()
        else:
            tests = [path if path.is_dir() else path.parent for path in sandbox.requested_tests(settings)]
            projects = [_working_copy(settings.root), *tests]
            self._paths = self._drives = paths.limited_drives(directory.parent, projects, settings.cwd)

    def begin(self) -> None:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        if self.settings.sandbox:
            return
        with self._lock:
            if self._holder is not None and self._holder.process.poll() is None:
                return
            temporary = self.directory / "temporary"
            # If it cannot be begun, every program begins a Wine session of its own.
            with contextlib.suppress(OSError, ProcessError):
                temporary.mkdir(parents=True, exist_ok=True)
                self._holder = _Holder(self._launch, self.directory, temporary, self._drives)

    def program_argv(self, argv: Sequence[str | Path]) -> Sequence[str | Path]:
        """See :class:`pytest_wheelcheck.backends.local.LocalSession`."""
        program = Path(argv[0])
        if program.suffix.lower() in _PROGRAMS:
            return [*self._launch.launch.argv(program, program), *argv[1:]]
        return argv

    def variables(self) -> Mapping[str, str]:
        """See :class:`pytest_wheelcheck.backends.local.LocalSession`."""
        self.begin()
        holder = self._holder
        diagnose = {runner.DIAGNOSE: "1"}
        if holder is None or not (prefix := holder.prefix()):
            return diagnose
        return {**diagnose, runner.SESSION: prefix, "TMPDIR": str(holder.temporary)}

    def end(self) -> None:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        with self._lock:
            holder, self._holder = self._holder, None
        if holder is not None:
            holder.end()

    def shares_pids(self) -> bool:
        """See :class:`pytest_wheelcheck.backends.local.LocalSession`: the worker reports a process id of Windows."""
        return False

    def left_running_prefix(self, nonce: str) -> str:  # noqa: ARG002 — the runner writes the line, not the worker
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        return runner.LEFT_RUNNING

    def program_output(self, output: str) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        return diagnosis.without_debug_lines(output)

    def describe_death(self, output: str) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        return diagnosis.describe_death(output)

    def is_dead(self, output: str) -> bool:
        """See :class:`pytest_wheelcheck.backends.base.Session`: a stack overflow may end only the thread under Wine."""
        return diagnosis.has_stack_overflow(output)

    def explain_failure(self, output: str) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        return diagnosis.explain_failure(output)

    def missing_libraries(self, output: str) -> list[tuple[str, str]]:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        return diagnosis.missing_libraries(output)


def _working_copy(root: Path) -> Path:
    """Return the working copy that has a directory; the directory itself if there is none.

    Tests may need files outside of the directory of the wheel's sources. The user's home directory does not count.
    """
    with contextlib.suppress(RuntimeError):
        home = Path.home()
        for path in (root, *root.parents):
            if path in (home, path.parent):
                break
            if any((path / name).exists() for name in (".git", ".hg", ".jj", ".svn")):
                return path
    return root
