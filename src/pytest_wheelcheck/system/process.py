"""Start and end programs. No other module of the controller starts a program.

Programs get an argv list, never a shell command line. Each has a deadline, runs in a session of its own (on Windows: a
job), and is ended together with everything it started. An error carries the program's stderr.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.system import signals
from pytest_wheelcheck.system.program_output import OutputReader, find_holders, kill_holders

if sys.platform == "win32":
    from pytest_wheelcheck.system import job_objects

log = logging.getLogger(__name__)

#: Characters of an argument above which messages abbreviate it. Paths are shorter (``PATH_MAX``).
_SHOWN_ARGUMENT = 4096

#: Seconds that an ordinary helper program (an installer, a query) may take.
DEFAULT_DEADLINE = 600.0

#: Seconds that all programs together have to end after :func:`stop_all` asked them to.
STOP_GRACE = 2.0

#: Seconds between two chances for a waiting main thread to handle Ctrl-C.
HEARTBEAT = 0.2

#: Bytes of each output stream of a program that are read into memory; of more output, the middle is dropped.
MAX_OUTPUT = 64 << 20

#: Seconds that the output of an ended program may take to arrive, and that its pipes may take to close once the processes
#: that hold them were killed.
DRAIN = 1.0

#: Seconds that children of an ended program have to end by themselves before they count as left running.
LINGER = 0.2

# The two variables below are process-wide on purpose. Ctrl-C and SIGTERM are delivered to the process, not to a run,
# and the thread that handles them has to reach the programs that all other threads have started or are about to start.

#: Set while the run is being stopped: no program is started anymore.
_stopping = threading.Event()

#: The programs that were started and have not been reaped. An exception may drop every other reference to one of them.
_started: set[subprocess.Popen[bytes]] = set()

#: Exceptions that end a Windows process (``ntstatus.h``).
_EXCEPTIONS = {
    0x80000100: "a function that the system does not implement",
    0xC0000005: "access violation",
    0xC000001D: "illegal instruction",
    0xC0000094: "integer division by zero",
    0xC00000FD: "stack overflow",
    0xC0000135: "a library was not found",
    0xC0000139: "a function was not found in a library",
    0xC0000374: "heap corruption",
    0xC0000409: "__fastfail",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CompletedProcess:
    """The result of a program that ended.

    :param argv: the program and its arguments.
    :param returncode: exit status; negative for the number of the signal that ended it.
    :param stdout: decoded as UTF-8, invalid bytes replaced.
    :param stderr: as *stdout*.
    :param seconds: wall time.
    :param left_running: process ids and programs that it left running with its output open; they were killed.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float
    left_running: tuple[str, ...] = ()

    def failure(self) -> ProcessError:
        """Return the error of a program whose exit status is not 0."""
        return ProcessError(
            f"{Path(self.argv[0]).name} failed: {describe_status(self.returncode)}",
            fix=f"run it by hand: {shown_command(self.argv)}",
            details=self.stderr or self.stdout,
        )


def describe_status(returncode: int) -> str:
    """Describe an exit status: ``exit status 3`` or ``killed by SIGSEGV``.

    :param returncode: as in :attr:`subprocess.Popen.returncode`. A value above 128 is read as a shell reports signals,
        but only if its number is that of a signal.
    """
    number = (
        -returncode if returncode < 0 else returncode - 128 if 256 > returncode > 128 and sys.platform != "win32" else 0
    )
    if number > 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(number).name}"
    if returncode > 0 and returncode & 0x80000000:
        # A Windows process. No other system has exit statuses this large.
        name = _EXCEPTIONS.get(returncode, "")
        return f"ended by exception 0x{returncode:08X}{f' ({name})' if name else ''}"
    return f"exit status {returncode}"


def spawn(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
    prefix: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session (on Windows: a process group and a job) of its own.

    :param prefix: argv of a program that replaces itself with *argv*. Errors and the log do not mention it.
    :raises ProcessError: the program cannot be started.
    """
    arguments = [os.fspath(argument) for argument in argv]
    log.debug("$ %s", shlex.join(arguments))
    if _stopping.is_set():
        raise ProcessError(f"{arguments[0]} was not started: the run is being stopped")
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | job_objects.SUSPENDED
    for ended in [program for program in list(_started) if program.returncode is not None]:
        _started.discard(ended)
    process = None
    try:
        # A handler that raises before the entry in _started would leave a program that nobody ends.
        with signals.deferred():
            process = subprocess.Popen(  # argv list, no shell
                [*prefix, *arguments],
                env=None if env is None else dict(env),
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=os.name == "posix",
                creationflags=flags,
            )
            if sys.platform == "win32":
                job_objects.assign(process)
            _started.add(process)
    except OSError as error:
        raise ProcessError(
            f"{arguments[0]} cannot be started: {error.strerror or error}",
            cause="the program is missing, is not executable, or was built for another machine",
            fix=f"run it by hand: {shown_command(arguments)}",
        ) from error
    except BaseException:
        # The deferred handler raised. The caller never gets the program, so it could not end it.
        if process is not None:
            kill_tree(process)
        raise
    if _stopping.is_set():
        # stop_all() was called in the meantime and did not see this program.
        kill_tree(process)
        raise ProcessError(f"{arguments[0]} was killed: the run is being stopped")
    return process


@functools.cache
def _parent_death_prefix() -> tuple[str, ...]:
    """Return the argv prefix that ties a program's life to the thread that waits for it, or nothing if there is none.

    The prefix is util-linux's ``setpriv``, so it exists on Linux only. Without it, the installer of a killed run would
    wait for a silent package index for minutes. Calling prctl(2) between fork and exec does the same, but is not safe
    in a process with other threads. Not for every program: execvp(3) hands files that the kernel cannot execute to a
    shell, which would hide the error.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    prefix = (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        # Busybox has a setpriv without this option.
        probe = [*prefix, "true"]
        if prefix and subprocess.run(probe, capture_output=True, timeout=10, check=False).returncode == 0:
            return prefix
    return ()


def stop_all() -> None:
    """End every running program, and refuse to start others until :func:`resume`.

    Threads that wait for a program continue with an error.
    """
    _stopping.set()
    running = [process for process in list(_started) if process.poll() is None]
    if sys.platform != "win32":
        for process in running:
            _signal_group(process.pid, signal.SIGTERM)
    end = time.monotonic() + STOP_GRACE
    for process in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, end - time.monotonic()))
        kill_tree(process)


def resume() -> None:
    """Allow programs to be started again after :func:`stop_all`."""
    _stopping.clear()


def is_stopping() -> bool:
    """Return whether the run is being stopped."""
    return _stopping.is_set()


def kill_tree(process: subprocess.Popen[bytes], *, grace: float = 0.0) -> None:
    """End a process from :func:`spawn` and everything in its session, and reap it.

    :param grace: seconds between SIGTERM and SIGKILL; 0 to send no SIGTERM.
    """
    if sys.platform == "win32":
        job_objects.terminate(process)
        process.kill()
        process.wait()
        return
    if grace > 0 and process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    # A process group outlives its leader, so children that a test left behind are killed even if the leader is gone.
    _signal_group(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)


def remaining_processes(process: subprocess.Popen[bytes], *, exclude_pid: int | None = None) -> list[str]:
    """List the processes that a program from :func:`spawn` left running when it ended. Windows only.

    On other systems the list is empty: the supervisor of the worker reports them there.

    :param exclude_pid: process id to leave out. In a virtual environment, the interpreter is a child of the program
        that was started.
    """
    if sys.platform == "win32":
        end = time.monotonic() + LINGER
        while True:
            found = job_objects.list_processes(process, exclude_pid=exclude_pid)
            if not found or time.monotonic() > end:
                return found
            time.sleep(0.01)
    return []


def kill_group(pid: int) -> None:
    """Kill the process group *pid*. Does nothing if there is no such group, or on Windows."""
    if sys.platform != "win32":
        _signal_group(pid, signal.SIGKILL)


def _signal_group(pid: int, number: signal.Signals) -> None:
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = DEFAULT_DEADLINE,
    max_output: int = MAX_OUTPUT,
    end_leftovers: bool = False,
    check: bool = True,
    end_with_parent: bool = False,
) -> CompletedProcess:
    """Run a program until it ends.

    :param timeout: seconds after which the program and its children are killed.
    :param max_output: bytes of each output stream that are read into memory; the middle of more output is dropped.
    :param end_leftovers: whether to kill the processes that the program leaves running with its output open. Otherwise they
        are waited for, until *timeout*.
    :param check: whether an exit status other than 0 is an error.
    :param end_with_parent: whether the program is killed when this process is killed, if the system can do that
        (Linux).
    :raises ProcessError: the program could not be started, exceeded *timeout*, or (with *check*) failed. Its output is
        in ``details``.
    """
    start = time.monotonic()
    arguments = tuple(os.fspath(argument) for argument in argv)
    left_running: list[str] = []
    process = None
    try:
        with signals.deferred():
            process = spawn(argv, env=env, cwd=cwd, prefix=_parent_death_prefix() if end_with_parent else ())
        output = [OutputReader(stream, max_output) for stream in (process.stdout, process.stderr) if stream is not None]
        ended = _wait_for_output(process, output, start + timeout, end_leftovers=end_leftovers)
        if not ended or not all(reader.wait(DRAIN) for reader in output):
            # Those that left its session are not in its group.
            left_running = find_holders([reader.pipe for reader in output])
            kill_tree(process)
            kill_holders([reader.pipe for reader in output])
            for reader in output:
                reader.wait(DRAIN)
    except BaseException:
        if process is not None:
            kill_tree(process)
        raise
    out, err = (reader.data() for reader in output)
    if not ended:
        raise ProcessError(
            f"{Path(arguments[0]).name} did not end within {timeout:g} seconds and was killed",
            cause="it waits for a network that does not answer, or for a lock",
            fix=f"run it by hand: {shown_command(arguments)}",
            details=_decode(err) or _decode(out),
        )
    completed = CompletedProcess(
        argv=arguments,
        returncode=process.returncode,
        stdout=_decode(out),
        stderr=_decode(err),
        seconds=time.monotonic() - start,
        left_running=tuple(left_running),
    )
    if check and completed.returncode != 0:
        raise completed.failure()
    return completed


def _wait_for_output(
    process: subprocess.Popen[bytes], output: Sequence[OutputReader], end: float, *, end_leftovers: bool
) -> bool:
    """Wait until a program ends; return whether it did so in time. Its output is read meanwhile."""
    for reader in output:
        # A program usually ends when its output does. A process that it left running may hold the output open.
        while not reader.wait(min(HEARTBEAT, max(0.0, end - time.monotonic()))):
            if end_leftovers and process.poll() is not None:
                return True
            if time.monotonic() >= end:
                return False
    try:
        process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def shown_command(argv: Sequence[str | Path]) -> str:
    """Return a command as a shell takes it, for messages. Programs among the arguments are abbreviated."""
    texts = [os.fspath(argument) for argument in argv]
    return " ".join("..." if "\n" in text or len(text) > _SHOWN_ARGUMENT else shlex.quote(text) for text in texts)


def start_detached(argv: Sequence[str | Path], *, inherited: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start a program that may outlive this process, and that :func:`stop_all` does not end.

    :param inherited: descriptors that the program keeps open.
    :raises OSError: it cannot be started.
    """
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=os.name == "posix",
        pass_fds=tuple(inherited),
    )


def exec_program(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Replace this process with a program, found on the ``PATH`` of *env*.

    Windows has no exec; there the program runs as a child until it ends.

    :returns: the program's exit status (Windows only).
    :raises ProcessError: the program cannot be started.
    """
    program = shutil.which(argv[0], path=env.get("PATH")) or argv[0]
    sys.stdout.flush()
    try:
        if sys.platform != "win32":
            os.execve(program, [*argv], env)  # noqa: S606  the user asked for it
        with subprocess.Popen([program, *argv[1:]], env=dict(env)) as running:
            while True:
                # The console sends Ctrl-C to the program as well, which decides what to do.
                with contextlib.suppress(KeyboardInterrupt):
                    return running.wait()
    except OSError as error:
        raise ProcessError(f"{argv[0]} cannot be started: {error.strerror or error}") from error


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\r\n", "\n")
