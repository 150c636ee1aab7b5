"""Runs one program of a target on a board, and ends programs with everything that they started."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import threading
import time

from .protocol import EXIT_LINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

#: In the directory of a run: the descriptions of programs, and the file that the agent keeps locked as long as it runs.
DIRECTORY, LOCK = "programs", "lock"

#: Seconds that programs have to end after SIGTERM.
GRACE = 4.0

#: Exit status of a program that could not be started, as of a shell.
NOT_STARTED = 127


def _pid_of(path: str) -> int:
    """Return the process id in a file, if that process is the one that wrote it."""
    try:
        with open(path, encoding="ascii") as file:
            pid, start = file.read().split()
        return int(pid) if _start_of(int(pid)) == start else 0
    except (OSError, ValueError):
        return 0


def _start_of(pid: int) -> str:
    """Return the start time of a process in clock ticks since the board was booted: process ids are used again."""
    with open("/proc/%d/stat" % pid, "rb") as file:
        return file.read().rpartition(b")")[2].split()[19].decode("ascii")


def write_pid(path: str, pid: int) -> None:
    """Write a process id and its start time to a file."""
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write("%d %s" % (pid, _start_of(pid)))
    os.replace(path + ".new", path)


def describe(run: str, token: str, program: dict[str, Any]) -> None:
    """Write the description of a program.

    :param run: the directory of the run.
    :param program: ``argv``, ``env``, ``path`` (directories before ``PATH``), ``cwd``, ``directories`` (to be made),
        ``report_left`` (name the processes that it leaves running).
    """
    path = os.path.join(run, DIRECTORY, token)
    with open(path + ".new", "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(program, file)
    os.replace(path + ".new", path)


def send_signal(run: str, token: str, number: int) -> None:
    """Send a signal to a program's first process, if it runs."""
    send_pid(os.path.join(run, DIRECTORY, token + ".child"), number)


def send_pid(path: str, number: int) -> None:
    """Send a signal to the process in a file of :func:`write_pid`, if it runs."""
    if pid := _pid_of(path):
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def end_all(run: str) -> None:
    """End all programs of a run."""
    with contextlib.suppress(OSError):
        end(run, [name for name in os.listdir(os.path.join(run, DIRECTORY)) if "." not in name])


def end(run: str, tokens: Sequence[str]) -> None:
    """End programs and everything that they started: SIGTERM to the process that started them, later SIGKILL."""
    paths = [os.path.join(run, DIRECTORY, token) for token in tokens]
    for number, wait in ((signal.SIGTERM, GRACE + 1), (signal.SIGKILL, 2.0)):
        running = [pid for pid in (_pid_of(path + ".pid") for path in paths) if pid]
        children = [pid for pid in (_pid_of(path + ".child") for path in paths) if pid]
        for pid in (*running, *(children if number == signal.SIGKILL else ())):
            with contextlib.suppress(OSError):
                os.kill(pid, number)
            if number == signal.SIGKILL:
                with contextlib.suppress(OSError):
                    os.killpg(pid, number)
        deadline = time.monotonic() + wait
        while any(_pid_of(path + ".pid") or _pid_of(path + ".child") for path in paths):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        else:
            return


def run_program(run: str, token: str) -> NoReturn:
    """Run a program with this process's standard streams, and end everything that it started when it ends.

    :param run: the directory of the run.

    It is also ended on SIGTERM, and when the agent is gone. The last line on standard error reports how it ended; a signal
    becomes an exit status above 128.
    """
    path = os.path.join(run, DIRECTORY, token)
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        program = json.load(file)
    lock = os.open(os.path.join(run, LOCK), os.O_RDWR)
    _become_subreaper()
    write_pid(path + ".pid", os.getpid())
    stopping = threading.Event()
    for directory in program["directories"]:
        os.makedirs(directory, exist_ok=True)
    killed = _oom_kills()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    pid = os.fork()
    if pid == 0:
        _be_program(program)
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGHUP, lambda *_: stopping.set())
    with contextlib.suppress(OSError):
        write_pid(path + ".child", pid)
    # Only the program holds the channel open.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    for watch, descriptor in ((_watch_agent, lock), (_watch_output, 2)):
        threading.Thread(target=watch, args=(descriptor, stopping), daemon=True).start()
    status = _wait(pid, stopping)
    left = _end_descendants()
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
    lines = ["[left running and ended] " + "; ".join(left[:5])] if left and program["report_left"] else []
    oom = code == 128 + signal.SIGKILL and _oom_kills() > killed
    lines.append("%s %s %d %s" % (EXIT_LINE, token, code, "oom" if oom else "-"))
    with contextlib.suppress(OSError):
        os.write(2, ("\n" + "\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    for suffix in ("", ".pid", ".child"):
        with contextlib.suppress(OSError):
            os.unlink(path + suffix)
    os._exit(code)


def _be_program(program: dict[str, Any]) -> NoReturn:
    try:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        # Python ignores it, and programs inherit that.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.chdir(program["cwd"])
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        env["PATH"] = os.pathsep.join([*program["path"], env.get("PATH") or os.defpath])
        os.execve(program["argv"][0], program["argv"], {**env, **program["env"]})
    except OSError as error:
        text = "\nwheelcheck: %s cannot be started: %s\n" % (program["argv"][0], error.strerror)
        os.write(2, text.encode("utf-8", "backslashreplace"))
    os._exit(NOT_STARTED)


def _watch_agent(lock: int, stopping: threading.Event) -> None:
    """Wait until the agent's lock is free: then the agent is gone."""
    while not stopping.is_set():
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
        except OSError:
            time.sleep(0.5)
            continue
        stopping.set()


def _watch_output(output: int, stopping: threading.Event) -> None:
    """Wait until nobody reads the output: the ssh of this program is gone, for example because of a timeout."""
    poll = select.poll()
    poll.register(output, 0)
    poll.poll()
    stopping.set()


def _wait(pid: int, stopping: threading.Event) -> int:
    """Wait until a child ends; return its wait status. Other children are reaped."""
    deadline = 0.0
    while True:
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended == pid:
                return status
            if not ended:
                break
        if stopping.is_set():
            if not deadline:
                deadline = time.monotonic() + GRACE
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGTERM)
            elif time.monotonic() > deadline:
                with contextlib.suppress(OSError):
                    os.killpg(pid, signal.SIGKILL)
                    os.kill(pid, signal.SIGKILL)
        # waitpid has no timeout.
        signal.sigtimedwait({signal.SIGCHLD}, 0.2)


def _end_descendants() -> list[str]:
    """Kill what the program left running, which this process has adopted; return the command lines."""
    named: dict[int, str] = {}
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break
        for pid in _descendants():
            if pid not in named:
                with contextlib.suppress(OSError), open("/proc/%d/cmdline" % pid, "rb") as file:
                    named[pid] = file.read(2000).rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")[:200]
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return list(named.values())


def _descendants() -> list[int]:
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/%s/stat" % name, "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state not in (b"Z", b"X"):
                    parents[int(name)] = int(parent)
    found: list[int] = []
    level = [os.getpid()]
    while level:
        level = [pid for pid, parent in parents.items() if parent in level and pid not in found]
        found += level
    return found


def _become_subreaper() -> None:
    try:
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    except Exception:
        # Without libffi. The workers of tests have a supervisor of their own.
        pass


def _oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory (proc(5), /proc/vmstat)."""
    with contextlib.suppress(OSError, ValueError), open("/proc/vmstat", encoding="ascii") as file:
        for line in file:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
