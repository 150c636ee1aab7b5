"""The only place that starts programs.

An argv list, never a shell; a deadline; the whole process tree ended; what the program said on stderr carried in the
error.
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
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from pytest_wheelcheck.errors import ProcessError

if sys.platform == "win32":
    from pytest_wheelcheck.system import job_objects

log = logging.getLogger(__name__)

#: What a function that is called side by side returns.
Result = TypeVar("Result")

#: Seconds that an ordinary helper program (an installer, a query) may take.
DEFAULT_DEADLINE = 600.0

#: Seconds that all programs together have for ending when the run is stopped.
STOP_GRACE = 2.0

#: Seconds until a thread that waits for others looks up, to hear Ctrl-C.
HEARTBEAT = 0.2

#: Seconds that the children of an ended program have for ending by themselves before they count as left running.
LINGER = 0.2

#: Set while the run is being stopped: nothing is started any more.
_stopping = threading.Event()

#: What was started and may still run.
_started: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()


#: What ends a Windows process (``ntstatus.h``).
_EXCEPTIONS = {
    0x80000100: "a function that Wine does not have",
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
    """A program that ended.

    :param argv: what was run.
    :param code: exit status; negative for the number of the signal that ended it.
    :param stdout: decoded as UTF-8, wrong bytes replaced.
    :param stderr: as *stdout*.
    :param seconds: wall time.
    """

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float


def describe_status(code: int) -> str:
    """Say an exit status in words: ``exit status 3`` or ``killed by SIGSEGV``.

    :param code: as :attr:`subprocess.Popen.returncode` has it. Values above 128 are read as a shell's way to tell a
        signal only where the number names one.
    """
    number = -code if code < 0 else code - 128 if 256 > code > 128 and sys.platform != "win32" else 0
    if number > 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(number).name}"
    if code > 0 and code & 0x80000000:
        # Of a Windows process; no other system has statuses as large.
        name = _EXCEPTIONS.get(code, "")
        return f"ended by exception 0x{code:08X}{f' ({name})' if name else ''}"
    return f"exit status {code}"


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

    :param prefix: words before *argv*: a program that becomes the other one.
    :raises ProcessError: it cannot be started.
    """
    words = [os.fspath(word) for word in argv]
    log.debug("$ %s", shlex.join(words))
    if _stopping.is_set():
        raise ProcessError(f"{words[0]} was not started: the run is being stopped")
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | job_objects.SUSPENDED
    try:
        process = subprocess.Popen(  # argv list, no shell
            [*prefix, *words],
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=os.name == "posix",
            creationflags=flags,
        )
    except OSError as error:
        raise ProcessError(
            f"{words[0]} cannot be started: {error.strerror or error}",
            cause="the program is missing, is not executable, or was built for another machine",
            fix=f"try it by hand: {shlex.join(words)}",
        ) from error
    if sys.platform == "win32":
        job_objects.assign(process)
    _started.add(process)
    if _stopping.is_set():
        # Begun meanwhile: what was ended did not know of this one.
        kill_tree(process)
        raise ProcessError(f"{words[0]} was ended: the run is being stopped")
    return process


@functools.cache
def _parent_death_prefix() -> tuple[str, ...]:
    """Give the words that let a program die with the thread that waits for it, where there are such (Linux, util-linux).

    The installer of a run that was killed would wait for a silent index for minutes. A call of prctl(2)
    between fork and exec would do the same, but is not safe beside other threads. Not for every program: what the
    kernel refuses to execute, execvp(3) hands to a shell.
    """
    found = shutil.which("setpriv") if sys.platform == "linux" else None
    words = (found, "--pdeathsig", "KILL", "--") if found else ()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        # Busybox has one without this option.
        probe = [*words, "true"]
        if words and subprocess.run(probe, capture_output=True, timeout=10, check=False).returncode == 0:
            return words
    return ()


def stop_all() -> None:
    """End every program that runs, and start no other until :func:`resume`: threads that wait for one go on."""
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
    """Let programs be started again."""
    _stopping.clear()


def map_concurrently(pool: Executor, function: Callable[..., Result], *arguments: Iterable[object]) -> list[Result]:
    """Call *function* side by side as :meth:`concurrent.futures.Executor.map` does, and stay able to hear Ctrl-C.

    A thread that waits without an end does not: the signal may come in the moment before it waits, or be taken by
    another thread, and then nothing wakes it.
    """
    futures = [pool.submit(function, *each) for each in zip(*arguments, strict=True)]
    left: Collection[Future[Result]] = futures
    while left:
        done, left = wait(left, timeout=HEARTBEAT, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    return [future.result() for future in futures]


def is_stopping() -> bool:
    """Say whether the run is being stopped."""
    return _stopping.is_set()


def kill_tree(process: subprocess.Popen[bytes], *, grace: float = 0.0) -> None:
    """End a process from :func:`spawn` and everything in its session, and reap it.

    :param grace: seconds between a polite request (SIGTERM) and the end (SIGKILL); 0 for no request.
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
    # The group outlives its leader: children that a test left behind are ended even when the leader is gone.
    _signal_group(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)


def remaining_processes(process: subprocess.Popen[bytes], *, exclude_pid: int | None = None) -> list[str]:
    """Name what a program from :func:`spawn`, which has ended, left running: on Windows, where nobody else looks.

    :param exclude_pid: number of a process that does not count. In a virtual environment, the interpreter is a child of what
        was started.
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
    """End the process group of *pid*, where there is such a thing. Not there is well."""
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
    check: bool = True,
    end_with_parent: bool = False,
) -> CompletedProcess:
    """Run a program to its end.

    :param timeout: seconds; then the whole tree is ended.
    :param check: whether an exit status other than 0 is an error.
    :param end_with_parent: whether it ends at once when this process is killed, where the system knows how (Linux).
    :raises ProcessError: it could not be started, outlived *timeout*, or (with *check*) failed. The program's own
        words are in ``details``.
    """
    start = time.monotonic()
    process = spawn(argv, env=env, cwd=cwd, prefix=_parent_death_prefix() if end_with_parent else ())
    words = tuple(os.fspath(word) for word in argv)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        kill_tree(process)
        out, err = process.communicate()
        raise ProcessError(
            f"{Path(words[0]).name} did not end within {timeout:g} seconds and was stopped",
            cause="it waits for something that does not come: a network that does not answer, or a lock",
            fix=f"try it by hand: {shlex.join(words)}",
            details=_text(err) or _text(out),
        ) from None
    except BaseException:
        kill_tree(process)
        raise
    done = CompletedProcess(
        argv=words,
        code=process.returncode,
        stdout=_text(out),
        stderr=_text(err),
        seconds=time.monotonic() - start,
    )
    if check and done.code != 0:
        raise ProcessError(
            f"{Path(words[0]).name} failed: {describe_status(done.code)}",
            fix=f"try it by hand: {shlex.join(words)}",
            details=done.stderr or done.stdout,
        )
    return done


def exec_program(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Become a program, looked for on the ``PATH`` of *env*. Windows knows no such thing: there it is run to its end.

    :returns: its exit status, on Windows.
    :raises ProcessError: it cannot be started.
    """
    program = shutil.which(argv[0], path=env.get("PATH")) or argv[0]
    sys.stdout.flush()
    try:
        if sys.platform != "win32":
            os.execve(program, [*argv], env)  # noqa: S606  that is what the user asked for
        with subprocess.Popen([program, *argv[1:]], env=dict(env)) as running:
            while True:
                # Ctrl-C is for the program, which hears it, too.
                with contextlib.suppress(KeyboardInterrupt):
                    return running.wait()
    except OSError as error:
        raise ProcessError(f"{argv[0]} cannot be started: {error.strerror or error}") from error


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\r\n", "\n")
