"""The keeper: a process beside the worker that outlives whatever happens there."""

from __future__ import annotations

import os
import sys
import time

from . import LEAVE, LEFT_BEHIND, LINGER
from .channel import dup_high
from .telling import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def keep() -> int:
    """Go on in a child (Linux), whose parent, the keeper, loads nothing and outlives whatever happens here.

    Native code may hold the GIL for ever, ignore every signal that can be ignored, leave its session and be forked
    twice. The keeper does not share its process: it ends the worker when the controller asks for it (SIGTERM) or is
    gone (its end of the channel is closed), adopts what the worker's children left behind (a subreaper, prctl(2)),
    ends that, too, tells it in the log, and ends the way in which the worker ended. The same holds under an emulator
    and at the other end of ``ssh``, since it is the target's own interpreter.

    :returns: in the worker, a descriptor on which the keeper waits for the nonce, or -1 where there is no keeper.
    """
    if sys.platform != "linux":
        return -1
    import _signal  # type: ignore[import-not-found]

    asked: list[int] = []
    # Ready before there is a child that would have to be ended.
    _signal.signal(_signal.SIGTERM, lambda number, _: asked.append(number))
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write_fd)
        _be_keeper(pid, read_fd, asked)
    _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
    # Signals that code under test sends to its group do not meet the keeper.
    os.setsid()
    os.close(read_fd)
    moved = dup_high(write_fd)
    os.close(write_fd)
    return moved


def _be_keeper(pid: int, nonce_fd: int, asked: list[int]) -> NoReturn:
    status = 1 << 8
    try:
        status = Keeper(pid, asked).wait()
        Keeper.sweep(pid, nonce_fd)
    except BaseException as error:
        os.write(2, render(error).encode("utf-8", "backslashreplace"))
        os.kill(pid, 9)
    _end_like(status)


class Keeper:
    """Waits for the worker's end, and brings it about where it is due."""

    def __init__(self, pid: int, asked: list[int]) -> None:
        import _signal
        import select

        self.pid = pid
        self.asked = asked
        self.become_subreaper()
        # The worker's channel is its own: where it closes that, the controller is to notice.
        os.close(1)
        self.woken, wake = os.pipe()
        for fd in (self.woken, wake):
            os.set_blocking(fd, False)
        _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        _signal.signal(_signal.SIGUSR1, lambda number, _: self.send(number))
        self.poll = select.poll()
        self.poll.register(self.woken, select.POLLIN)
        self.poll.register(0, getattr(select, "POLLRDHUP", 0))

    @staticmethod
    def become_subreaper() -> None:
        """Have orphans below this process become its children."""
        try:
            # A part of ctypes, since that takes a while to load.
            import _ctypes

            integer = type("integer", (_ctypes._SimpleCData,), {"_type_": "i"})
            words: dict[str, Any] = {"_flags_": 1, "_restype_": integer}
            function = type("function", (_ctypes.CFuncPtr,), words)
            handle: Any = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
            prctl: Any = function(_ctypes.dlsym(handle, "prctl"))
            prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        except Exception as error:
            # Orphans in sessions of their own will stay.
            os.write(2, ("no subreaper: %r\n" % error).encode("utf-8", "backslashreplace"))

    def send(self, number: int) -> None:
        """Send the worker a signal."""
        try:
            os.kill(self.pid, number)
        except OSError:
            pass

    def wait(self) -> int:
        """Wait for the worker's end; return its wait status."""
        deadline = None
        while True:
            status = self.reap()
            if status is not None:
                return status
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if self.asked or left == 0.0:
                self.send(9)
                self.asked.clear()
                deadline = left = None
            for fd, _ in self.poll.poll(None if left is None else int(left * 1000) + 1):
                if fd == self.woken:
                    os.read(fd, 4096)
                else:
                    self.poll.unregister(fd)
                    deadline = time.monotonic() + LEAVE

    def reap(self) -> int | None:
        """Reap what has ended; return the worker's wait status if it is among that."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == self.pid:
                return status
            if pid == 0:
                return None

    @staticmethod
    def sweep(worker: int, nonce_fd: int) -> None:
        """End what the worker left running, and tell of it."""
        end = time.monotonic() + LINGER
        while _reap_all() and time.monotonic() < end:
            # The helpers of multiprocessing end by themselves when they notice.
            time.sleep(0.01)
        if not _reap_all():
            return
        told = False
        end = time.monotonic() + 3.0
        while _reap_all() and time.monotonic() < end:
            found = _descendants()
            if found and not told:
                told = True
                words = "; ".join("%d %s" % pair for pair in sorted(found.items())[:5])
                more = " and %d more" % (len(found) - 5) if len(found) > 5 else ""
                nonce = os.read(nonce_fd, 64).decode("ascii", "replace")
                line = "\n%s%s %d: %s%s\n" % (LEFT_BEHIND, nonce, len(found), words, more)
                os.write(2, line.encode("utf-8", "backslashreplace"))
            for pid in found:
                try:
                    os.kill(pid, 9)
                except OSError:
                    pass
            try:
                os.killpg(worker, 9)
            except OSError:
                pass
            time.sleep(0.01)


def _reap_all() -> bool:
    """Reap ended children; say whether there are others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _descendants() -> dict[int, str]:
    """Return the living processes below this one and their command lines."""
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
        for pid in level:
            try:
                with open("/proc/%d/cmdline" % pid, "rb") as file:
                    words = file.read(4000).rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "backslashreplace")
            except OSError:
                words = ""
            words = " ".join(words.split())
            # An emulator's own words come first, the program's last.
            found[pid] = words if len(words) < 200 else "%s ... %s" % (words[:60], words[-140:])
    return found


def _end_like(status: int) -> NoReturn:
    """End this process as another one ended."""
    if os.WIFSIGNALED(status):
        import _signal

        number = os.WTERMSIG(status)
        try:
            import resource

            # One memory image and one message of an emulator's are enough.
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            if number != 9:
                _signal.signal(number, _signal.SIG_DFL)
            # The first process of a sandbox cannot end so; an emulator would wait for its end for ever.
            if os.getpid() != 1:
                os.kill(os.getpid(), number)
        except (ImportError, OSError, ValueError):
            pass
        os._exit(128 + number)
    os._exit(os.WEXITSTATUS(status))
