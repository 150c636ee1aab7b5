"""The supervisor (Linux): the parent process of the worker, which survives whatever code under test does to the worker."""

from __future__ import annotations

import os
import sys
import time

from . import codec
from .channel import CHANNEL_CLOSED
from .descriptors import dup_high
from .errors import format_exception
from .held import read_held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: Start of the log line that names the processes which tests left behind; the run's nonce follows.
LEFT_BEHIND = "wheelcheck left-behind "

#: Start of the log line before each test, where the log is a pipe; the run's nonce and the number of the test follow.
TEST_LINE = "wheelcheck test "

#: Exit statuses of a worker that has done its task, has met an error of its own, or has lost the channel: none takes its place.
_CHOSEN = (0, 2, CHANNEL_CLOSED)

#: Seconds that the worker has to exit by itself once the controller is gone.
EXIT_GRACE = 0.5

#: Seconds that processes have to exit by themselves once the worker has ended.
ORPHAN_GRACE = 0.2

#: Seconds after which the supervisor gives up on processes that cannot be killed.
KILL_TIMEOUT = 3.0


class SupervisorPipes:
    """The worker's ends of the pipes to and from its supervisor.

    :param report_fd: descriptor to write to: a line with the run's nonce; then, before code under test runs, a line with the
        process id of the successor, or 0.
    :param go_fd: descriptor to read from: a byte starts the successor.
    """

    def __init__(self, report_fd: int, go_fd: int) -> None:
        self._report_fd = report_fd
        self._go_fd = go_fd

    def report(self, value: str | int) -> None:
        """Send the supervisor the run's nonce, or the process id of a successor; 0 for none."""
        os.write(self._report_fd, b"%s\n" % str(value).encode("ascii"))

    def wait(self) -> bool:
        """Wait until the successor may start; return false if the supervisor has ended instead."""
        return bool(os.read(self._go_fd, 1))

    def close(self) -> None:
        """Close the pipes: code under test must not use them."""
        os.close(self._report_fd)
        os.close(self._go_fd)


def start_supervisor(held: int) -> SupervisorPipes | None:
    """Fork (Linux): the child continues as the worker, the parent becomes its supervisor and never returns.

    Code under test may hold the GIL forever, ignore every signal that can be ignored, leave its session and fork twice.
    The supervisor is not affected, since it is another process. It kills the worker when the controller asks for it
    (SIGTERM) or is gone (its end of the channel is closed). It adopts the processes that the worker leaves behind (a
    subreaper, prctl(2)), kills and logs them, and ends the way the worker ended, unless the worker has a successor
    (:mod:`.successor`). Since it runs in the target's own interpreter, the same code works under an emulator and behind
    ``ssh``.

    :param held: descriptor of the messages that the worker holds back, see :class:`~.held.HeldFrames`; -1 without one.
    :returns: in the worker, the pipes to the supervisor; ``None`` where there is no supervisor.
    """
    if sys.platform != "linux":
        return None
    import _signal  # type: ignore[import-not-found]

    stop_requests: list[int] = []
    # Installed before there is a child to end.
    _signal.signal(_signal.SIGTERM, lambda number, _: stop_requests.append(number))
    report_read, report_write = os.pipe()
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(report_write)
        os.close(go_read)
        _supervise(pid, report_read, go_write, held, stop_requests)
    _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
    # A session of its own: signals that code under test sends to its process group do not reach the supervisor.
    os.setsid()
    os.close(report_read)
    os.close(go_write)
    moved = dup_high(report_write), dup_high(go_read)
    os.close(report_write)
    os.close(go_read)
    return SupervisorPipes(*moved)


def _supervise(pid: int, report_fd: int, go_fd: int, held: int, stop_requests: list[int]) -> NoReturn:
    status = 1 << 8
    try:
        # Beyond the descriptors that programs use: fork servers close those.
        channel = dup_high(1)
        supervisor = Supervisor(pid, report_fd, go_fd, stop_requests)
        while True:
            status = supervisor.wait()
            # Now, and not later: parts of a successor may still run, and report it.
            supervisor.read_reports()
            _send_held(held, channel)
            if not supervisor.has_successor(status):
                break
            _end_left_behind(supervisor)
            supervisor.start_successor(status, channel)
        os.close(channel)
        supervisor.end_successor()
        _end_left_behind(supervisor)
    except BaseException as error:
        os.write(2, format_exception(error).encode("utf-8", "backslashreplace"))
        os.kill(pid, 9)
    _exit_like(status)


def _send_held(held: int, channel: int) -> None:
    """Send the messages that the worker did not send before it ended, and remove them."""
    if held >= 0:
        _send(read_held(held), channel)
        os.ftruncate(held, 0)


def _send(data: bytes, channel: int) -> None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(channel, rest) :]
    except OSError:
        pass  # The controller is gone.


class Supervisor:
    """Waits until the worker ends, kills it where it has to end, and starts its successor.

    :param pid: the worker.
    :param report_fd: descriptor to read the worker's reports from; see :class:`SupervisorPipes`.
    :param go_fd: descriptor to write to, which starts a successor.
    :param stop_requests: not empty once SIGTERM has arrived.

    Attribute ``successor``: the process id of the process that waits to take the worker's place; 0 for none.
    Attribute ``nonce``: of the run; empty before the worker knows it.
    Attribute ``may_run_code``: the worker may run code under test. Before that, it leaves only parts of a successor.
    """

    def __init__(self, pid: int, report_fd: int, go_fd: int, stop_requests: list[int]) -> None:
        import _signal
        import select

        self.pid = pid
        self.nonce = ""
        self.successor = 0
        self.may_run_code = False
        self.stop_requests = stop_requests
        self._report_fd = report_fd
        self._go_fd = go_fd
        self._reports = b""
        self._stopping = False
        os.set_blocking(report_fd, False)
        self._adopts = _become_subreaper()
        # What the supervisor prints must not reach the channel.
        os.close(1)
        self.wakeup_fd, write_fd = os.pipe()
        for fd in (self.wakeup_fd, write_fd):
            os.set_blocking(fd, False)
        _signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        _signal.signal(_signal.SIGUSR1, lambda number, _: self.send_signal(number))
        self.poll = select.poll()
        self.poll.register(self.wakeup_fd, select.POLLIN)
        self.poll.register(0, getattr(select, "POLLRDHUP", 0))

    def send_signal(self, number: int) -> None:
        """Send the worker a signal."""
        try:
            os.kill(self.pid, number)
        except OSError:
            pass

    def wait(self) -> int:
        """Wait until the worker ends; return its wait status."""
        deadline = None
        while True:
            status = self.reap()
            if status is not None:
                return status
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if self.stop_requests or left == 0.0:
                self._stopping = True
                self.send_signal(9)
                self.stop_requests.clear()
                deadline = left = None
            for fd, _ in self.poll.poll(None if left is None else int(left * 1000) + 1):
                if fd == self.wakeup_fd:
                    os.read(fd, 4096)
                else:
                    self.poll.unregister(fd)
                    self._stopping = True
                    deadline = time.monotonic() + EXIT_GRACE

    def reap(self) -> int | None:
        """Reap ended children; return the worker's wait status if it is one of them."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == self.pid:
                return status
            if pid == 0:
                return None

    def has_successor(self, status: int) -> bool:
        """Return whether another process can take the place of a worker that has ended.

        Not after SIGKILL, which the kernel sends when it is out of memory, nor after an end that the worker chose itself.

        :param status: its wait status.
        """
        code = _returncode(status)
        if self._stopping or self.stop_requests or not self._adopts or code in _CHOSEN or code == -9:
            return False
        try:
            return bool(self.successor) and os.waitpid(self.successor, os.WNOHANG)[0] == 0
        except ChildProcessError:
            return False

    def start_successor(self, status: int, channel: int) -> None:
        """Report the end of the worker to the controller, and start its successor.

        :param status: the wait status of the worker.
        :param channel: descriptor of the channel.
        """
        ended = {"type": "ended", "status": _returncode(status), "successor": self.successor}
        _send(codec.encode(ended, codec.FROM_WORKER, nonce=self.nonce, pid=self.pid), channel)
        self.pid, self.successor, self.may_run_code = self.successor, 0, False
        os.write(self._go_fd, b".")

    def end_successor(self) -> None:
        """End the process that waits, since nothing is left to do for it."""
        if self.successor:
            try:
                os.kill(self.successor, 9)
                os.waitpid(self.successor, 0)
            except OSError:
                pass  # Code under test ended it, or it has another parent.
            self.successor = 0

    def read_reports(self) -> None:
        """Take what the worker has reported until now."""
        try:
            while part := os.read(self._report_fd, 4096):
                self._reports += part
        except BlockingIOError:
            pass
        *lines, self._reports = self._reports.split(b"\n")
        for line in lines:
            if self.nonce:
                self.successor = int(line)
                self.may_run_code = True
            else:
                self.nonce = line.decode("ascii")


def _returncode(status: int) -> int:
    """Return a wait status as :attr:`subprocess.Popen.returncode`."""
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _become_subreaper() -> bool:
    """Make orphaned descendants of this process its children; return whether that is possible."""
    try:
        _prctl()(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    except Exception as error:
        # Orphans in sessions of their own will not be ended.
        os.write(2, ("wheelcheck: no subreaper: %r\n" % error).encode("utf-8", "backslashreplace"))
        return False
    return True


def _prctl() -> Any:
    if sys.implementation.name != "cpython":
        import ctypes

        return ctypes.CDLL(None).prctl
    # The core of ctypes: the package takes a while to load.
    import _ctypes

    integer = type("integer", (_ctypes._SimpleCData,), {"_type_": "i"})
    namespace: dict[str, Any] = {"_flags_": 1, "_restype_": integer}
    function = type("function", (_ctypes.CFuncPtr,), namespace)
    handle: Any = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
    return function(_ctypes.dlsym(handle, "prctl"))


def _end_left_behind(supervisor: Supervisor) -> None:
    """Kill the processes that the worker left behind, and log their number and command lines."""
    end = time.monotonic() + ORPHAN_GRACE
    while _has_left(supervisor.successor) and time.monotonic() < end:
        # The helpers of multiprocessing exit by themselves when they notice.
        time.sleep(0.01)
    if not _has_left(supervisor.successor):
        return
    logged = False
    end = time.monotonic() + KILL_TIMEOUT
    while _has_left(supervisor.successor) and time.monotonic() < end:
        found = _descendants()
        found.pop(supervisor.successor, None)
        if found and not logged and supervisor.may_run_code:
            logged = True
            shown = "; ".join("%d %s" % pair for pair in sorted(found.items())[:5])
            more = " and %d more" % (len(found) - 5) if len(found) > 5 else ""
            line = "\n%s%s %d: %s%s\n" % (LEFT_BEHIND, supervisor.nonce, len(found), shown, more)
            os.write(2, line.encode("utf-8", "backslashreplace"))
        for pid in found:
            try:
                os.kill(pid, 9)
            except OSError:
                pass
        try:
            os.killpg(supervisor.pid, 9)
        except OSError:
            pass
        time.sleep(0.01)


def _has_left(successor: int) -> bool:
    """Reap ended children; return whether there are others than the successor.

    :param successor: its process id, or 0.
    """
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return not successor or len(_descendants()) > 1


def _descendants() -> dict[int, str]:
    """Return the living descendants of this process and their command lines."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            if state not in (b"Z", b"X"):
                parents[int(name)] = int(parent)
    found: dict[int, str] = {}
    level = {os.getpid()}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level and pid not in found}
        found.update((pid, _command_line(pid)) for pid in level)
    return found


def _command_line(pid: int) -> str:
    """Return a command line in one line of at most 200 characters; empty where it cannot be read."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            argv = file.read(4000).rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "backslashreplace")
    except OSError:
        return ""
    shown = " ".join(argv.split())
    # An emulator's own arguments come first, the program's last.
    return shown if len(shown) < 200 else "%s ... %s" % (shown[:60], shown[-140:])


def _exit_like(status: int) -> NoReturn:
    """End this process the way another one ended.

    :param status: wait status of the other one.
    """
    if os.WIFSIGNALED(status):
        import _signal

        number = os.WTERMSIG(status)
        try:
            import resource

            # One core dump and one message of an emulator are enough.
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            if number != 9:
                _signal.signal(number, _signal.SIG_DFL)
            # The first process of a sandbox cannot be killed by its own signal; an emulator would wait forever.
            if os.getpid() != 1:
                os.kill(os.getpid(), number)
        except (ImportError, OSError, ValueError):
            pass
        os._exit(128 + number)
    os._exit(os.WEXITSTATUS(status))
