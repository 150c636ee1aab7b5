"""The worker: the one file that runs inside the interpreter of a target.

It uses the standard library only, until it is told to load pytest, and the syntax of the oldest target (CPython 3.9).

The protocol
============
The channel is what the process was started with as standard input and output. The first thing the worker does is to move
both to descriptors of their own and to leave the null device and its log in their place, so that nothing that the code
under test prints or reads can reach the channel. The same holds for a local process, an emulated one, and one at the
other end of ``ssh``.

A message is a frame: four bytes, big-endian, the length in bytes; then a JSON object in ASCII. Every object has a
``"type"``. The controller's first message is ``start``; it carries the protocol's version and a nonce, and every
message from the worker carries the nonce back together with the process id, so that a child which a test forked, or a
print that looks like a message, is not taken for the worker.

From the controller:

========== ===========================================================================================================
``start``  ``protocol``, ``nonce``, ``mode`` (``imports`` or ``tests``) and that mode's settings
``run``    ``id``: the node id to run; ``next``: the one after it or ``null``; ``left``: failures until the run stops, or 0;
           ``watchdog``: seconds after which the process writes its stacks and, if ``leave``, ends itself (the controller
           may be gone)
``finish`` end the session: tear down, tell the summary, exit
========== ===========================================================================================================

From the worker:

============= ========================================================================================================
``hello``     ``facts`` of the interpreter
``imported``  one result of the mode ``imports``: see :class:`Importer`
``collecting`` ``id``: the module that is collected next, or ``""`` after the last one
``collected`` ``items``, ``reports`` (of modules that failed or skipped), ``header`` (lines), ``unknown`` (options of the
              host's that the target does not know), ``pytest`` (version)
``phase``     ``id``, ``when``: only for tests whose time-out does not count their fixtures
``report``    ``data``: a report as pytest's own ``pytest_report_to_serializable`` makes it
``warning``   one recorded warning, as text
``property``  ``id``, ``name``, ``value``: for the JUnit report's entry of a test, or, without ``id``, of the whole run
``text``      what plugins wrote to the terminal
``expired``   ``seconds``, ``text``: pytest-timeout's thread ends the process now; what it says, with all stacks
``done``      ``id``: the test has ended and all its reports were sent; ``stop``: why the session is to stop, or ``""``;
              ``fresh``: whether the rest needs a fresh worker
``finished``  the end record: ``status`` (pytest's exit code), ``summary`` (text), ``conftest_failed`` (whether a conftest
              could not be loaded). Only after it was the run complete.
``fatal``     ``text``: the worker itself cannot go on
============= ========================================================================================================
"""

from __future__ import annotations

import _thread
import json
import os
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    # The module typing is not loaded in targets: every start there would pay for it.
    from collections.abc import Callable, Generator, Iterable
    from typing import Any, NoReturn

PROTOCOL = 1

#: Modules that exist where pseudo-terminals do; a test module that cannot be imported for want of one is skipped.
UNIX_MODULES = ("pty", "tty", "termios", "fcntl", "resource")

#: Exit status of a worker whose channel was closed, by the controller or by code under test.
CHANNEL_GONE = 71

#: Frames above this many bytes are nonsense, not messages.
FRAME_LIMIT = 1 << 30

#: Characters of captured output that a report carries; what is longer loses its middle.
OUTPUT_LIMIT = 100_000

#: Begins the line of the log that tells of processes which tests left behind; the nonce follows.
LEFT_BEHIND = "wheelcheck left-behind "

#: Seconds that a worker has for leaving by itself once the controller is gone.
LEAVE = 0.5

#: Seconds that processes have for ending by themselves once the worker that started them has ended.
LINGER = 0.2


class ChannelClosedError(Exception):
    """The controller is gone."""


class ChildDoneError(BaseException):
    """A forked child of ours has done its work and leaves the interpreter the ordinary way."""


class Channel:
    """Framed JSON messages over two descriptors of our own."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._in = read_fd
        self._out = write_fd
        self._pid = os.getpid()
        # pytest-timeout's thread sends, too, while the main thread may.
        self._sending = _thread.allocate_lock()
        self.nonce = ""

    def send(self, kind: str, /, **fields: object) -> None:
        """Send one message; in a forked child of the worker, do nothing."""
        if os.getpid() != self._pid:
            return
        fields["type"] = kind
        fields["nonce"] = self.nonce
        fields["pid"] = self._pid
        data = json.dumps(fields, default=repr).encode("ascii")
        view = memoryview(struct.pack(">I", len(data)) + data)
        with self._sending:
            while view:
                try:
                    view = view[os.write(self._out, view) :]
                except OSError as error:
                    raise ChannelClosedError(str(error)) from error

    def receive(self) -> dict[str, Any]:
        """Wait for one message.

        :raises ChannelClosedError: the controller closed its end.
        """
        if os.getpid() != self._pid:
            # A child that a test forked fell out of the test: it must not take the worker's messages.
            os._exit(70)
        (length,) = struct.unpack(">I", self._exactly(4))
        if length > FRAME_LIMIT:
            raise ChannelClosedError("a frame of %d bytes" % length)
        message: dict[str, Any] = json.loads(self._exactly(length).decode("ascii"))
        return message

    def close(self) -> None:
        """Put the channel out of the reach of what runs in a forked child."""
        os.close(self._in)
        os.close(self._out)

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            try:
                part = os.read(self._in, min(count, 1 << 20))
            except OSError:
                part = b""
            if not part:
                raise ChannelClosedError("end of file")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def open_channel() -> Channel:
    """Move the channel away from the standard descriptors, before anything else can print there."""
    if sys.platform == "win32":
        import msvcrt

        for fd in (0, 1):
            msvcrt.setmode(fd, os.O_BINARY)
    # High numbers: code under test that closes or reuses low descriptors does not meet them by accident.
    read_fd = _dup_high(0)
    write_fd = _dup_high(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    sys.stdin = os.fdopen(os.dup(0), "r")
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.__stdout__ = sys.stdout  # type: ignore[misc]
    return Channel(read_fd, write_fd)


def _dup_high(fd: int) -> int:
    try:
        import fcntl
    except ImportError:
        return os.dup(fd)
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200)
    except OSError:
        return os.dup(fd)


# --- the keeper ------------------------------------------------------------------------------------------------------


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
    moved = _dup_high(write_fd)
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
            os.kill(os.getpid(), number)
        except (ImportError, OSError, ValueError):
            pass
        os._exit(128 + number)
    os._exit(os.WEXITSTATUS(status))


# --- facts -----------------------------------------------------------------------------------------------------------


def can_open_pty() -> bool:
    """Say whether a pseudo-terminal can be opened here."""
    if not hasattr(os, "openpty"):
        return False
    try:
        first, second = os.openpty()
    except OSError:
        return False
    os.close(first)
    os.close(second)
    return True


def page_size() -> int:
    """Return the size of a memory page in bytes; 0 where the interpreter does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def local_facts() -> dict[str, Any]:
    """Return the facts of the running interpreter, as the fixture ``wheel_target`` shows them."""
    import platform

    version = sys.version_info
    free_threaded = False
    if version >= (3, 13):
        import sysconfig

        free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    prefix = {"cpython": "cp", "pypy": "pp"}.get(sys.implementation.name, sys.implementation.name)
    libc, libc_version = _libc()
    return {
        "wheel": "",
        "name": "",
        "version": "",
        "interpreter": "%s%d%d%s" % (prefix, version[0], version[1], "t" if free_threaded else ""),
        "implementation": sys.implementation.name,
        "python": "%d.%d.%d" % version[:3],
        "free_threaded": free_threaded,
        "system": sys.platform,
        "architecture": platform.machine().lower(),
        "libc": libc,
        "libc_version": libc_version,
        "machine": "host",
        "emulated": False,
        "page_size": page_size(),
        "pty": can_open_pty(),
    }


def _libc() -> tuple[str, str]:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):
        return ("musl" if sys.platform == "linux" else ""), ""
    return name, version


class WheelTarget:
    """Frozen facts of the target that a test runs on; the value of the fixture ``wheel_target``.

    Attributes: ``wheel`` (file name, empty in an ordinary run), ``name``, ``version``, ``interpreter`` (``cp314t``),
    ``implementation``, ``python``, ``free_threaded``, ``system`` (``sys.platform`` of the target), ``architecture``,
    ``libc``, ``libc_version``, ``machine`` (``host``, ``rpi4``), ``emulated``, ``page_size`` (bytes), ``pty`` (whether a
    pseudo-terminal can be opened).
    """

    __slots__ = ("_facts",)

    def __init__(self, facts: dict[str, Any]) -> None:
        object.__setattr__(self, "_facts", dict(facts))

    def __reduce__(self) -> tuple[Any, ...]:
        return WheelTarget, (self._facts,)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._facts[name]
        except KeyError:
            raise AttributeError(
                "wheel_target has no fact %r; it has %s" % (name, ", ".join(sorted(self._facts)))
            ) from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("wheel_target is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("wheel_target is frozen")

    def __dir__(self) -> list[str]:
        return sorted([*object.__dir__(self), *self._facts])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WheelTarget) and self._facts == other._facts

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._facts.items())))

    def __repr__(self) -> str:
        return "<wheel_target %s>" % " ".join("%s=%s" % pair for pair in sorted(self._facts.items()))


# --- rules for tests: the markers `pty` and `wheel_target` ------------------------------------------------------------


class TargetRules:
    """Which tests a target's facts rule out. A pytest plugin, for the worker and for an ordinary run alike.

    :param facts: as :func:`local_facts` returns them.
    :param patterns: names that mark a test as one that needs a pseudo-terminal; ``pty`` matches as a whole word of a
        ``snake_case`` or ``CamelCase`` name, never as a part of ``empty``.
    """

    def __init__(self, facts: dict[str, Any], patterns: Iterable[str]) -> None:
        import pytest

        self.pytest = pytest
        self.facts = facts
        self.target = WheelTarget(facts)
        self.patterns = tuple(pattern.lower() for pattern in patterns if pattern)
        self._words: dict[str, bool] = {}

    def where(self) -> str:
        """Name the target in a reason."""
        return "%s on %s" % (self.facts["interpreter"], self.facts["system"])

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            self._apply_facts(item)
            if not self.facts["pty"] and self._needs_pty(item):
                item.add_marker(
                    self.pytest.mark.skip(reason="needs a pseudo-terminal, which %s does not have" % self.where())
                )

    def _needs_pty(self, item: Any) -> bool:
        mark = item.get_closest_marker("pty")
        if mark is not None:
            return not (mark.args and mark.args[0] is False)
        if not self.patterns:
            return False
        names = []
        for node in item.listchain():
            if isinstance(node, self.pytest.Session) or _is_directory(self.pytest, node):
                continue
            names.append(os.path.basename(node.name) if isinstance(node, self.pytest.Module) else node.name)
        return any(self._names_pty(name) for name in names)

    def _names_pty(self, name: str) -> bool:
        bare = name.partition("[")[0]
        found = self._words.get(bare)
        if found is None:
            words = split_words(bare)
            found = self._words[bare] = any(
                "_".join(words[start : start + size]) == pattern
                for pattern in self.patterns
                for size in [pattern.count("_") + 1]
                for start in range(len(words) - size + 1)
            )
        return found

    def _apply_facts(self, item: Any) -> None:
        for mark in item.iter_markers("wheel_target"):
            wanted = dict(mark.kwargs)
            skip = bool(wanted.pop("skip", False))
            why = wanted.pop("reason", "")
            unknown = sorted(set(wanted) - set(self.facts))
            if unknown or mark.args or not wanted:
                raise self.pytest.UsageError(
                    "%s: @pytest.mark.wheel_target(...) takes facts by keyword (%s), and skip= and reason=; got %s"
                    % (item.nodeid, ", ".join(sorted(self.facts)), ", ".join(unknown) or repr(mark.args))
                )
            holds = all(self._holds(name, value) for name, value in wanted.items())
            if holds is skip:
                text = ", ".join("%s=%r" % pair for pair in sorted(wanted.items()))
                have = ", ".join("%s=%r" % (name, self.facts[name]) for name in sorted(wanted))
                reason = (
                    ("not for a target with %s" % text) if skip else "needs a target with %s, has %s" % (text, have)
                )
                item.add_marker(self.pytest.mark.skip(reason=why or reason))

    def _holds(self, name: str, value: Any) -> bool:
        values = value if isinstance(value, (tuple, list, set, frozenset)) else (value,)
        return self.facts[name] in values

    def skips_import(self, error: ImportError, is_wheel_file: Callable[[str], bool]) -> str:
        """Say whether an import error of a test module means that the target lacks pseudo-terminals.

        :param error: the :class:`ImportError`.
        :param is_wheel_file: tells whether a file belongs to the wheel; its own failing import is a failure.
        :returns: the reason to skip, or an empty string.
        """
        if self.facts["pty"]:
            return ""
        name = (error.name or "").partition(".")[0]
        if name not in UNIX_MODULES:
            return ""
        frame = error.__traceback__
        last = ""
        while frame is not None:
            file = frame.tb_frame.f_code.co_filename
            # On Windows ``import pty`` finds the module, which fails inside: whoever asked for it counts.
            if not file.startswith("<frozen") and frame.tb_frame.f_globals.get("__name__") not in UNIX_MODULES:
                last = file
            frame = frame.tb_next
        if is_wheel_file(last):
            return ""
        return "needs the module %r, which %s does not have" % (name, self.where())


def split_words(name: str) -> list[str]:
    """Split a ``snake_case`` or ``CamelCase`` name, or a file name, into lower-case words."""
    words = []
    current = ""
    previous = ""
    for index, char in enumerate(name):
        following = name[index + 1 : index + 2]
        boundary = not char.isalnum() or (
            char.isupper()
            and (previous.islower() or previous.isdigit() or (previous.isupper() and following.islower()))
        )
        if boundary and current:
            words.append(current.lower())
            current = ""
        if char.isalnum():
            current += char
        previous = char
    if current:
        words.append(current.lower())
    return words


# --- mode `imports` --------------------------------------------------------------------------------------------------


class Importer:
    """Imports each module in a process of its own, before any test tool is in reach.

    Where ``fork`` exists, the children come from this bare interpreter; elsewhere each is a new process. An ``imported``
    message has ``name``, ``kind`` (``import`` or ``entry``), ``ok``, ``seconds`` (of the import), ``status`` (wait status
    of the process as :attr:`subprocess.Popen.returncode` has it), ``timed_out``, ``output`` (what it printed),
    ``file``, ``error`` (see :func:`describe_error`) or ``null``, ``gil`` (whether a free-threaded interpreter runs with
    the GIL afterwards), ``mapped`` (files mapped by the import), ``before`` (those mapped before), ``foreign``.
    """

    def __init__(self, channel: Channel, settings: dict[str, Any]) -> None:
        self.channel = channel
        self.settings = settings
        self.timeout = settings["timeout"]

    def run(self) -> None:
        """Import everything that the settings name, then send the end record."""
        for job in self.settings["jobs"]:
            result = self._fork(job) if hasattr(os, "fork") else self._spawn(job)
            self.channel.send("imported", **result)
        self.channel.send("finished", status=0, summary="")

    def _fork(self, job: dict[str, str]) -> dict[str, Any]:
        import select
        import signal
        import tempfile

        read_fd, write_fd = os.pipe()
        with tempfile.TemporaryFile() as log:
            pid = os.fork()
            if pid == 0:
                os.close(read_fd)
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                self._child(job, write_fd)
            os.close(write_fd)
            deadline = time.monotonic() + self.timeout
            data = b""
            timed_out = False
            status = None
            pipe_open = True
            while status is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    timed_out = True
                    self._stacks(pid, signal)
                    os.kill(pid, signal.SIGKILL)
                    _, status = os.waitpid(pid, 0)
                    break
                if pipe_open:
                    # A grandchild may hold the pipe open: end of file is not waited for, the process is.
                    ready, _, _ = select.select([read_fd], [], [], min(left, 0.05))
                    if ready:
                        part = os.read(read_fd, 1 << 16)
                        data += part
                        pipe_open = bool(part)
                        continue
                else:
                    time.sleep(0.002)
                done, raw = os.waitpid(pid, os.WNOHANG)
                if done:
                    status = raw
            while pipe_open and select.select([read_fd], [], [], 0)[0]:
                part = os.read(read_fd, 1 << 16)
                data += part
                pipe_open = bool(part)
            os.close(read_fd)
            output = self._clean_up(pid, log, signal)
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        # The module may have written on every descriptor that it found.
        _, told, data = data.rpartition(self.channel.nonce.encode("ascii"))
        data = data if told else b""
        return self._result(job, data, code, timed_out, output)

    @staticmethod
    def _clean_up(pid: int, log: Any, signal: Any) -> str:
        """End what the module started and left running in the child's session; return what was printed."""
        try:
            os.killpg(pid, signal.SIGKILL)
        except OSError:
            pass
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - 20000))
        return str(log.read().decode("utf-8", "backslashreplace"))

    def _stacks(self, pid: int, signal: Any) -> None:
        if hasattr(signal, "SIGUSR1"):
            os.kill(pid, signal.SIGUSR1)
            time.sleep(0.3)

    def _child(self, job: dict[str, str], write_fd: int) -> NoReturn:
        import faulthandler
        import signal

        os.setsid()
        self.channel.close()
        faulthandler.enable(file=2)
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
        if self.settings.get("machine"):
            tell_illegal_instructions(2)
        pid = os.getpid()
        result = import_one(job, self.settings)
        if os.getpid() != pid:
            # The module forked, and this is the copy: it has nothing to tell.
            os._exit(0)
        try:
            data = memoryview((self.channel.nonce + json.dumps(result, default=repr)).encode("ascii"))
            while data:
                data = data[os.write(write_fd, data) :]
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os.close(write_fd)
        # An ordinary end, with atexit handlers and module teardown: a module may import and then crash on the way out.
        raise ChildDoneError

    def _spawn(self, job: dict[str, str]) -> dict[str, Any]:
        import subprocess

        settings = dict(self.settings, jobs=[job], single=True)
        process = subprocess.Popen(
            [sys.executable, *self.settings["argv"]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        data = json.dumps({"type": "start", "protocol": PROTOCOL, "nonce": "", **settings}).encode("ascii")
        timed_out = False
        try:
            out, err = process.communicate(struct.pack(">I", len(data)) + data, timeout=self.timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            process.kill()
            out, err = process.communicate()
        # Frames: hello, then the result.
        body = b""
        while len(out) >= 4:
            (length,) = struct.unpack(">I", out[:4])
            message = json.loads(out[4 : 4 + length].decode("ascii")) if len(out) >= 4 + length else {}
            if message.get("type") == "single":
                body = json.dumps(message["result"]).encode("ascii")
            out = out[4 + length :]
        return self._result(job, body, process.returncode, timed_out, err[-20000:].decode("utf-8", "backslashreplace"))

    @staticmethod
    def _result(job: dict[str, str], data: bytes, status: int | None, timed_out: bool, output: str) -> dict[str, Any]:
        try:
            result = json.loads(data.decode("ascii")) if data else {}
        except ValueError:
            result = {}
        result.update(
            name=job["name"],
            kind=job["kind"],
            status=status,
            timed_out=timed_out,
            output=output,
            complete="ok" in result,
        )
        return result


def import_one(job: dict[str, str], settings: dict[str, Any]) -> dict[str, Any]:
    """Import one module (or load one entry point) here, and tell what came of it."""
    before = mapped_files()
    loaded = set(sys.modules)
    start = time.perf_counter()
    error = None
    file = ""
    try:
        import importlib

        module = importlib.import_module(job["module"])
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        file = getattr(module, "__file__", None) or (origin if origin in ("built-in", "frozen") else "")
        found = module
        for attribute in [part for part in job.get("attribute", "").split(".") if part]:
            found = getattr(found, attribute)
        if job["kind"] == "entry" and not callable(found):
            raise TypeError("the entry point %s refers to %r, which cannot be called" % (job["name"], found))
    except BaseException as raised:
        error = describe_error(raised)
    seconds = time.perf_counter() - start
    after = mapped_files()
    names = set(settings["names"])
    sites = tuple(os.path.realpath(site) + os.sep for site in settings["sites"])
    foreign = []
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if name.partition(".")[0] in names and name not in loaded and isinstance(origin, str):
            if not os.path.realpath(origin).startswith(sites):
                foreign.append([name, origin])
    gil = getattr(sys, "_is_gil_enabled", None)
    return {
        "ok": error is None,
        "seconds": seconds,
        "file": file,
        "error": error,
        "gil": bool(gil()) if gil is not None and settings["free_threaded"] else False,
        "before": sorted(before),
        "mapped": sorted(after - before),
        "foreign": foreign,
    }


def mapped_files() -> set[str]:
    """Return the files mapped into this process (Linux); elsewhere an empty set."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            lines = maps.readlines()
    except OSError:
        return set()
    found = set()
    for line in lines:
        path = line.rstrip("\n").split(None, 5)[5:]
        if path and path[0].startswith("/"):
            found.add(path[0])
    return found


def describe_error(raised: BaseException) -> list[dict[str, Any]]:
    """Describe an exception, without any library: its chain, outermost last.

    :returns: a list of ``{"type", "message", "name", "frames": [[file, line, function, [context lines], index]], "cause"}``,
        ``name`` being what an :class:`ImportError` could not find, ``cause`` how the *next* one relates to this one.
    """
    import linecache
    import traceback

    chain = []
    seen = set()
    current = raised
    relation = ""
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames: list[list[Any]] = []
        for frame, line in traceback.walk_tb(current.__traceback__):
            code = frame.f_code
            if code.co_filename.startswith("<frozen importlib") or code.co_filename == __file__:
                continue
            if "importlib" in code.co_filename and os.path.basename(code.co_filename) == "__init__.py":
                continue
            first = max(1, line - 3)
            context = [linecache.getline(code.co_filename, number).rstrip("\n") for number in range(first, line + 1)]
            frames.append([code.co_filename, line, code.co_name, context, line - first])
        if len(frames) > 60:
            # A recursion without end.
            frames[30][3].insert(0, "[%d calls are left out here]" % (len(frames) - 60))
            frames = [*frames[:30], frames[30], *frames[-29:]]
        try:
            message = "\n".join([str(current), *_more_words(current)])
        except Exception as broken:
            message = "<its str() raised %s>" % type(broken).__name__
        chain.append(
            {
                "type": type(current).__name__,
                "message": message,
                "name": getattr(current, "name", None) if isinstance(current, ImportError) else None,
                "frames": frames,
                "cause": relation,
            }
        )
        if current.__cause__ is not None:
            current, relation = current.__cause__, "cause"
        elif current.__context__ is not None and not current.__suppress_context__:
            current, relation = current.__context__, "context"
        else:
            break
    chain.reverse()
    return chain


def _more_words(error: BaseException) -> list[str]:
    """Return what belongs to an exception's message beside its text: place and caret, notes, parts of a group."""
    import traceback

    lines = []
    if isinstance(error, SyntaxError):
        shown = "".join(traceback.format_exception_only(type(error), error)).splitlines()
        lines += [line for line in shown if line.startswith("  ")]
    lines += [str(note) for note in getattr(error, "__notes__", ())]
    parts = getattr(error, "exceptions", None)
    if isinstance(parts, tuple) and hasattr(error, "split"):
        for part in parts:
            lines += ["  " + line for line in "".join(traceback.format_exception_only(type(part), part)).splitlines()]
    return lines


#: Keeps what :func:`tell_illegal_instructions` made alive.
_HANDLERS: list[Any] = []


def tell_illegal_instructions(log: int) -> None:
    """On an illegal instruction, write its bytes and its module to *log* before the process dies of it.

    For 64-bit x86 and Arm, whose ``struct sigaction`` and ``siginfo_t`` are the same in glibc and musl (``bits/sigaction.h``,
    ``bits/types/siginfo_t.h``).
    """
    import ctypes
    import faulthandler
    import signal

    class Action(ctypes.Structure):
        _fields_ = [
            ("handler", ctypes.c_void_p),
            ("mask", ctypes.c_ulong * 16),
            ("flags", ctypes.c_int),
            ("restorer", ctypes.c_void_p),
        ]

    def tell(number: int, info: int, _context: int) -> None:
        # Back to the default: on return, the same instruction ends the process.
        libc.sigaction(number, ctypes.byref(Action()), None)
        address = ctypes.c_void_p.from_address(info + 16).value or 0
        where = "memory that no file stands behind"
        with open("/proc/self/maps") as maps:
            for line in maps:
                words = line.split()
                start, _, end = words[0].partition("-")
                if int(start, 16) <= address < int(end, 16) and len(words) > 5:
                    where = "%s at 0x%x" % (words[5], address - int(start, 16) + int(words[2], 16))
        code = ctypes.string_at(address, 8).hex()
        os.write(log, ("wheelcheck: illegal instruction %s in %s\n" % (code, where)).encode())
        faulthandler.dump_traceback(file=log, all_threads=True)

    try:
        libc = ctypes.CDLL(None)
        handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(tell)
        action = Action(handler=ctypes.cast(handler, ctypes.c_void_p).value, flags=4)  # SA_SIGINFO
        libc.sigaction(int(signal.SIGILL), ctypes.byref(action), None)
        _HANDLERS.append(handler)
    except (OSError, AttributeError, TypeError):
        pass  # Without it, the death itself is still told.


# --- mode `tests` ----------------------------------------------------------------------------------------------------


def run_tests(channel: Channel, settings: dict[str, Any]) -> None:
    """Load pytest, collect, serve ``run`` messages, and send the end record."""
    import faulthandler

    # A descriptor of its own: while a test runs, pytest's capture has put a temporary file in the place of the log.
    log = _dup_high(2)
    faulthandler.enable(file=log)
    try:
        import signal

        faulthandler.register(signal.SIGUSR1, file=log, all_threads=True)
    except (ImportError, AttributeError):
        pass  # Windows: the watchdog of each test writes the stacks.
    if settings["facts"].get("machine", "host") != "host":
        tell_illegal_instructions(log)
    # The folder of this file is ours: its other contents are not to be imported.
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if folder != own]
    for folder in settings["overlays"]:
        if folder not in sys.path:
            sys.path.append(folder)
    if settings["python_m"]:
        sys.path.insert(0, os.getcwd())
    sys.dont_write_bytecode = True
    guard = sys.modules["_wheelcheck_guard"].install() if "_wheelcheck_guard" in sys.modules else None
    if guard is None:
        raise RuntimeError("the guard of the environment did not start: is its .pth file disabled (-S, or -I -S)?")
    import pytest

    facts = dict(local_facts(), **settings["facts"])
    if settings["pretend"] == "win32":
        facts.update(system="win32", pty=False)
        for name in UNIX_MODULES:
            sys.modules[name] = None  # type: ignore[assignment]
    session = WorkerSession(pytest, channel, settings, guard, facts, log)
    status = pytest.main(list(settings["args"]), plugins=session.plugins())
    channel.send("finished", status=int(status), summary=session.summary, conftest_failed=session.conftest_failed)


class WorkerSession:
    """The worker's half of a pytest run."""

    def __init__(
        self, pytest: Any, channel: Channel, settings: dict[str, Any], guard: Any, facts: dict[str, Any], log: Any
    ) -> None:
        self.pytest = pytest
        self.log = log
        self.channel = channel
        self.settings = settings
        self.guard = guard
        self.facts = facts
        self.rules = TargetRules(facts, settings["pty_patterns"])
        self.summary = ""
        self.collect_reports: list[dict[str, Any]] = []
        self.unknown: list[str] = []
        self.known_modules: list[tuple[str, int]] | None = None
        self.loads: list[tuple[str, str]] = []
        self.told: list[tuple[str, str]] = []
        self.skipped_import = ""
        self.terminal: _Buffer | None = None
        self.config: Any = None
        self.collected = False
        self.conftest_failed = False

    def plugins(self) -> list[object]:
        """Return the plugins to hand to :func:`pytest.main`."""
        return [_make_plugin(self), _make_fixtures(self.rules.target), self.rules]

    # -- options ------------------------------------------------------------------------------------------------

    def select_args(self, args: list[str], parser: Any) -> None:
        """Drop, in place, the host's options that this target does not know; what the user gave it alone stays."""
        known = _known_options(parser)
        kept = []
        for words, host in self.settings["occurrences"]:
            option = words[0].partition("=")[0] if words[0].startswith("--") else words[0][:2]
            if host and words[0].startswith("-") and option not in known:
                self.unknown.append(option)
                continue
            kept.extend(words)
        args[:] = [*self.settings["fixed_args"], *kept]

    # -- imports ------------------------------------------------------------------------------------------------

    def patch_import_path(self) -> None:
        """Make pytest import test files below a package of the wheel through the import system, in every import mode.

        So the guard decides where each part comes from.
        """
        import importlib

        import _pytest.pathlib as pathlib

        original = pathlib.import_path
        session = self

        def import_path(path: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            session.guard.first()
            try:
                dotted = session.dotted_below_wheel(path, kwargs.get("mode"))
                if dotted is None:
                    return original(path, *args, **kwargs)
                module = importlib.import_module(dotted)
                file = getattr(module, "__file__", None)
                if file and not session.guard.is_inside(file) and not os.path.samefile(file, str(path)):
                    # Two test files that have one dotted name: the second must not be taken for the first.
                    raise pathlib.ImportPathMismatchError(dotted, file, path)
                return module
            except ImportError as error:
                if os.path.basename(str(path)) == "conftest.py":
                    raise
                reason = session.rules.skips_import(error, session.guard.is_inside)
                if reason:
                    session.skipped_import = reason
                    raise session.pytest.skip.Exception(reason, allow_module_level=True) from error
                raise

        for name, module in list(sys.modules.items()):
            if name.startswith("_pytest.") and getattr(module, "import_path", None) is original:
                module.__dict__["import_path"] = import_path

    def watch_loaders(self) -> None:
        """Notice modules of the wheel that are loaded by file name, also those that never reach ``sys.modules``."""
        import importlib.util

        original = importlib.util.module_from_spec
        session = self

        def module_from_spec(spec: Any) -> Any:
            module = original(spec)
            if isinstance(spec.origin, str) and session.guard.is_foreign(spec.name, spec.origin):
                session.loads.append((spec.name, spec.origin))
            return module

        importlib.util.module_from_spec = module_from_spec

    def dotted_below_wheel(self, path: Any, mode: Any = None) -> str | None:
        """Return the dotted name of a file that lies in a package of the wheel's name, else ``None``.

        :param mode: pytest's import mode.
        """
        folder, name = os.path.split(os.path.abspath(str(path)))
        stem, ending = os.path.splitext(name)
        if ending != ".py":
            return None
        parts = [] if stem == "__init__" else [stem]
        current = folder
        while os.path.isfile(os.path.join(current, "__init__.py")):
            current, component = os.path.split(current)
            parts.insert(0, component)
        packaged = len(parts) > 1 or stem == "__init__"
        if packaged and parts[0] in self.guard.names:
            if current not in self.guard.roots:
                self.guard.roots.append(current)
            return ".".join(parts)
        # Two more ways in which pytest would make the package from the source tree: a package in a namespace package
        # would get its last name only, and importmode=importlib makes parents of every folder up to the root.
        importlib_mode = getattr(mode, "value", mode) == "importlib"
        for root in self.guard.roots:
            relative = os.path.relpath(current, root)
            above = [] if relative == os.curdir else relative.split(os.sep)
            dotted = [*above, *parts]
            if len(dotted) > 1 and dotted[0] in self.guard.names and all(part.isidentifier() for part in dotted):
                if importlib_mode or (packaged and self.is_namespace(above)):
                    return ".".join(dotted)
        return None

    def is_namespace(self, parts: list[str]) -> bool:
        """Say whether a folder is a namespace package in the environment of the wheel."""
        folders = [os.path.join(site, *parts) for site in self.guard.sites]
        found = [folder for folder in folders if os.path.isdir(folder)]
        return bool(found) and not any(os.path.isfile(os.path.join(folder, "__init__.py")) for folder in found)

    def foreign(self) -> str:
        """Tell which modules of the wheel's names came from elsewhere since it was last asked."""
        names = self.guard.names
        modules = [(name, id(module)) for name, module in list(sys.modules.items()) if name.partition(".")[0] in names]
        modules.append(("", len(sys.modules)))
        if modules == self.known_modules and not self.loads:
            return ""
        self.known_modules = modules
        # Told once: later tests are not to blame.
        found = [pair for pair in self.guard.foreign() if pair not in self.told]
        self.told.extend(found)
        found.extend(pair for pair in dict.fromkeys(self.loads) if pair not in found)
        self.loads = []
        if not found:
            return ""
        lines = ["%s was imported from %s" % pair for pair in found[:5]]
        if len(found) > 5:
            lines.append("and %d more" % (len(found) - 5))
        return "\n".join(
            [
                "not the wheel: " + lines[0],
                *lines[1:],
                "This module belongs to the wheel, but another copy was loaded, so what was tested is not what will be",
                "installed. Likely causes: importmode=importlib with tests inside the package, a changed __path__, or",
                "code that loads modules by file name.",
            ]
        )

    # -- collection ---------------------------------------------------------------------------------------------

    def describe_item(self, item: Any) -> dict[str, Any]:
        """Tell the controller what it needs to make an item that behaves like this one."""
        chain = item.listchain()
        names = []
        for index, node in enumerate(chain):
            if index > 0 and not (
                index == 1 and not isinstance(node, self.pytest.Item) and _is_directory(self.pytest, node)
            ):
                names.append(node.name)
        names.extend(item.listextrakeywords())
        function = getattr(item, "function", None)
        if function is not None:
            names.extend(name for name in getattr(function, "__dict__", ()) if not name.startswith("__"))
        marks = []
        for mark in item.iter_markers():
            names.append(mark.name)
            marks.append(
                [mark.name, [_plain(arg) for arg in mark.args], {key: _plain(val) for key, val in mark.kwargs.items()}]
            )
        doc = getattr(getattr(item, "obj", None), "__doc__", None)
        timeout, func_only = self.timeout_of(item)
        return {
            "id": item.nodeid,
            "location": list(item.location),
            "chain": [[type(node).__name__, node.name] for node in chain[1:]],
            "names": sorted(set(names)),
            "marks": marks,
            "doc": doc if isinstance(doc, str) else "",
            "timeout": timeout,
            "func_only": func_only,
        }

    def watch_timeouts(self, config: Any) -> None:
        """Let pytest-timeout's thread tell the controller what it would print before it ends the process."""
        plugin = config.pluginmanager.getplugin("timeout")
        original = getattr(plugin, "timeout_timer", None)
        if original is None or self.terminal is None:
            return
        terminal = self.terminal

        def timeout_timer(item: Any, settings: Any) -> None:
            def tell() -> None:
                self.channel.send("expired", seconds=settings.timeout, text=terminal.take())

            terminal.__dict__["flush"] = tell
            original(item, settings)
            del terminal.__dict__["flush"]  # A debugger is at work.

        plugin.timeout_timer = timeout_timer

    def timeout_of(self, item: Any) -> tuple[float, bool]:
        """Return the test's own time-out in seconds, scaled, or 0, and whether it counts the function only."""
        plugin = item.config.pluginmanager.getplugin("timeout")
        find = getattr(plugin, "_get_item_settings", None)
        if find is None:
            return 0, False
        try:
            found = find(item)
        except Exception:
            return 0, False
        return (found.timeout or 0) * self.settings["timeout_scale"], bool(found.func_only)

    def send_collected(self, session: Any) -> None:
        """Send everything that collection found."""
        self.flush_terminal()
        self.channel.send(
            "collected",
            items=[self.describe_item(item) for item in session.items],
            reports=self.collect_reports,
            header=self.header(session.config),
            unknown=self.unknown,
            pytest=self.pytest.__version__,
        )

    def header(self, config: Any) -> list[str]:
        """Return the lines that the user's conftest and plugins add to the header."""
        caller = self._foreign_caller(config, "pytest_report_header")
        lines = []
        for found in reversed(caller(config=config, start_path=config.invocation_params.dir, startdir=None)):
            lines.extend([found] if isinstance(found, str) else list(found))
        return lines

    @staticmethod
    def _foreign_caller(config: Any, hook: str) -> Any:
        ours = []
        for implementation in getattr(config.pluginmanager.hook, hook).get_hookimpls():
            module = getattr(implementation.function, "__module__", "") or ""
            if module.startswith("_pytest.") or module in ("pytest_timeout", "__main__", __name__):
                ours.append(implementation.plugin)
        return config.pluginmanager.subset_hook_caller(hook, remove_plugins=ours)

    # -- running ------------------------------------------------------------------------------------------------

    def serve(self, session: Any) -> None:
        """Run what the controller names, until it says ``finish``."""
        items: dict[str, list[Any]] = {}
        for item in session.items:
            items.setdefault(item.nodeid, []).append(item)
        while True:
            message = self.channel.receive()
            kind = message["type"]
            if kind == "finish":
                return
            if kind != "run":
                raise RuntimeError("unknown message %r" % kind)
            # Ids may repeat (--keep-duplicates): each run takes the next of that name.
            same = items.get(message["id"])
            if not same:
                self.channel.send("fatal", text="the target did not collect %s" % message["id"])
                return
            item = same.pop(0) if len(same) > 1 else same[0]
            following = items.get(message["next"]) if message["next"] else None
            nextitem = following[0] if following else None
            self.run_one(session, item, nextitem, message)

    def run_one(self, session: Any, item: Any, nextitem: Any, message: dict[str, Any]) -> None:
        """Run one item with its fixtures, up to the common part with the next one."""
        import faulthandler

        self.guard.first()
        if message["watchdog"]:
            faulthandler.dump_traceback_later(message["watchdog"], exit=message.get("leave", True), file=self.log)
        # pytest stops in the middle of an item (subtests) where the run is to stop at this failure.
        if message["left"]:
            session.config.option.maxfail = session.testsfailed + message["left"]
        stop = ""
        fresh = False
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        except self.pytest.exit.Exception as leave:
            stop = "%s: %s" % (item.nodeid, leave.msg)
        except KeyboardInterrupt as interrupt:
            # Nobody is at a keyboard here: the code under test raised it. Its fixtures are still set up, so the rest
            # runs in a fresh worker.
            fresh = True
            self.send_failure(item, "call", "the test raised KeyboardInterrupt\n" + self.show_failure(item, interrupt))
        finally:
            if message["watchdog"]:
                faulthandler.cancel_dump_traceback_later()
        wrong = self.foreign()
        if wrong:
            self.send_failure(item, "teardown", wrong)
        if not stop and session.shouldstop:
            stop = str(session.shouldstop)
        if not stop and session.shouldfail and not message["left"]:
            stop = str(session.shouldfail)
        self.flush_terminal()
        self.channel.send("done", id=message["id"], stop=stop, fresh=fresh)

    def show_failure(self, item: Any, error: BaseException) -> str:
        """Show an exception as the item itself shows its failures."""
        try:
            return str(item.repr_failure(self.pytest.ExceptionInfo.from_exception(error)))
        except Exception:
            return render(error)

    def send_failure(self, item: Any, when: str, text: Any) -> None:
        """Send a failed report that pytest itself did not make."""
        now = time.time()
        report = self.pytest.TestReport(
            item.nodeid, item.location, {}, "failed", text, when, duration=0, start=now, stop=now
        )
        self.send_report(report, item.config)

    def send_report(self, report: Any, config: Any) -> None:
        """Send a report as pytest serialises it."""
        # Some outcomes are settled only here (a test with failed subtests).
        config.hook.pytest_report_teststatus(report=report, config=config)
        # What was written before the report (--setup-show) stands before it.
        self.flush_terminal()
        data = config.hook.pytest_report_to_serializable(config=config, report=report)
        if any(len(content) > OUTPUT_LIMIT for _, content in data.get("sections") or ()):
            data["sections"] = [
                (name, self.cut(content, report.failed, report.nodeid)) for name, content in data["sections"]
            ]
        self.channel.send("report", data=data)

    def cut(self, content: str, failed: bool, nodeid: str) -> str:
        """Cut captured output that is too long to be shown; for a failure all of it goes into a file."""
        left_out = len(content) - OUTPUT_LIMIT
        if left_out <= 0:
            return content
        where = "only a failed test's is kept"
        if failed:
            folder = self.settings["output"]
            try:
                os.makedirs(folder, exist_ok=True)
                stem = "".join(char if char.isalnum() else "-" for char in nodeid[-60:])
                path = os.path.join(folder, "%s-%s-%d.txt" % (self.facts["interpreter"], stem, time.time_ns()))
                with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(content)
                where = "all of it is in %s" % path
            except OSError as error:
                where = "it could not be kept: %s" % error
        half = OUTPUT_LIMIT // 2
        note = "[%d characters are left out here; %s]" % (left_out, where)
        return "%s\n%s\n%s" % (content[:half], note, content[-half:])

    def flush_terminal(self) -> None:
        """Send what plugins wrote to the terminal since the last time."""
        if self.terminal is not None:
            text = self.terminal.take()
            if text.strip():
                self.channel.send("text", text=text)


def render(error: BaseException) -> str:
    """Return an exception's traceback as text."""
    import traceback

    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _is_directory(pytest: Any, node: Any) -> bool:
    kind = getattr(pytest, "Directory", None)
    return kind is not None and isinstance(node, kind)


def _relative(path: Any, config: Any) -> str:
    try:
        return path.relative_to(config.rootpath).as_posix()
    except ValueError:
        return str(path)


def _plain(value: object) -> object:
    """Keep what ``-m "device(serial=1)"`` can compare with; describe the rest."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def _known_options(parser: Any) -> set[str]:
    """Return every option string that a pytest parser knows."""
    found = {"-" + letter for letter in "ckmorxqvlsphVhW"}
    groups = [parser._anonymous, *parser._groups]
    for group in groups:
        for option in group.options:
            names = option.names() if hasattr(option, "names") else option._short_opts + option._long_opts
            found.update(names)
    return found


class _Buffer:
    """A text stream whose content is taken in pieces."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.parts: list[str] = []

    def write(self, text: str) -> int:
        self.parts.append(text)
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False

    def take(self) -> str:
        text, self.parts = "".join(self.parts), []
        return text


class _JUnit:
    """Stands for the JUnit report, which the controller writes: what the fixtures of pytest add crosses the channel."""

    def __init__(self, channel: Channel, family: Any, nodeid: str = "") -> None:
        self._channel = channel
        self.family = family
        self._nodeid = nodeid

    def __bool__(self) -> bool:
        return False  # pytest has nothing to put away at the end.

    def node_reporter(self, nodeid: str) -> Any:
        return _JUnit(self._channel, self.family, nodeid)

    def add_attribute(self, name: str, value: object) -> None:
        self._channel.send("property", id=self._nodeid, name=str(name), value=str(value))

    add_global_property = add_attribute


def _quiet_reporter(base: Any) -> Any:
    """Return a terminal reporter that counts, keeps its attributes for plugins, and prints nothing by itself."""
    QuietReporter: Any = type("QuietReporter", (base,), {})

    keep = {"pytest_warning_recorded", "pytest_deselected"}
    for name in dir(base):
        if name.startswith("pytest_") and name not in keep:
            setattr(QuietReporter, name, None)

    def pytest_runtest_logreport(self: Any, report: Any) -> None:
        found = self.config.hook.pytest_report_teststatus(report=report, config=self.config)
        if found:
            self.stats.setdefault(found[0], []).append(report)

    QuietReporter.pytest_runtest_logreport = pytest_runtest_logreport
    return QuietReporter


def _make_plugin(worker: WorkerSession) -> object:
    """Make the plugin that turns pytest's hooks into messages."""
    pytest = worker.pytest
    channel = worker.channel

    class WorkerPlugin:
        @pytest.hookimpl(tryfirst=True)
        def pytest_addoption(self, parser: Any, pluginmanager: Any) -> None:
            for name in worker.settings["ini_names"]:
                parser.addini(name, "of pytest-wheelcheck, meant for the host")
            if pluginmanager.is_blocked("cacheprovider"):
                # The controller names the cache's folder in any case; strict_config would refuse the unknown key.
                parser.addini("cache_dir", "nothing to be cached")

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_load_initial_conftests(
            self, early_config: Any, parser: Any, args: list[str]
        ) -> Generator[None, Any, None]:
            worker.patch_import_path()
            worker.watch_loaders()
            worker.guard.first()
            outcome: Any = yield
            error = outcome.exception
            worker.conftest_failed = error is not None and not isinstance(error, pytest.UsageError)
            worker.select_args(args, parser)

        @pytest.hookimpl(trylast=True)
        def pytest_configure(self, config: Any) -> None:
            worker.guard.first()
            for line in worker.settings["markers"]:
                config.addinivalue_line("markers", line)
            reporter = config.pluginmanager.getplugin("terminalreporter")
            if reporter is not None:
                from _pytest._io import TerminalWriter

                worker.terminal = _Buffer()
                config.pluginmanager.unregister(reporter)
                reporter._tw = TerminalWriter(file=worker.terminal)  # type: ignore[arg-type]
                reporter._tw.fullwidth = worker.settings["width"]
                reporter.__class__ = _quiet_reporter(type(reporter))
                config.pluginmanager.register(reporter, "terminalreporter")
            worker.watch_timeouts(config)
            if worker.settings["junit"] and config.pluginmanager.hasplugin("junitxml"):
                from _pytest.junitxml import xml_key

                config.stash[xml_key] = _JUnit(channel, config.getini("junit_family"))

        def pytest_collectreport(self, report: Any) -> None:
            if report.failed or report.skipped:
                data = worker.config.hook.pytest_report_to_serializable(config=worker.config, report=report)
                data.pop("result", None)
                worker.collect_reports.append(data)

        def pytest_ignore_collect(self, collection_path: Any, config: Any) -> bool | None:
            # Modules whose collection ended the interpreter before; the controller has told of them.
            return True if _relative(collection_path, config) in worker.settings["skip_modules"] else None

        @pytest.hookimpl(hookwrapper=True)
        def pytest_make_collect_report(self, collector: Any) -> Generator[None, Any, None]:
            worker.guard.first()
            if isinstance(collector, pytest.File):
                channel.send("collecting", id=collector.nodeid)
            outcome: Any = yield
            if isinstance(outcome.exception, (KeyboardInterrupt, SystemExit)):
                # Nobody is at a keyboard here: the module raised it. The others are collected as ever.
                text = collector.repr_failure(pytest.ExceptionInfo.from_exception(outcome.exception))
                outcome.force_result(pytest.CollectReport(collector.nodeid, "failed", str(text), []))
            report = outcome.get_result()
            if worker.skipped_import:
                if report.skipped:
                    # The reader looks for the test module, not for where the skip was raised.
                    report.longrepr = (str(collector.path), None, "Skipped: " + worker.skipped_import)
                worker.skipped_import = ""
            wrong = worker.foreign()
            if wrong and report.failed:
                report.sections.append(("What is more", wrong))
            elif wrong:
                report.outcome = "failed"
                report.longrepr = wrong
                report.result = []

        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionstart(self, session: Any) -> None:
            worker.config = session.config

        def pytest_collection_finish(self) -> None:
            channel.send("collecting", id="")

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtestloop(self, session: Any) -> bool:
            # Modules that could not be collected are nodes of their own at the controller; the others run.
            session.testsfailed = 0
            worker.send_collected(session)
            worker.collected = True
            worker.serve(session)
            return True

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(self, report: Any) -> None:
            worker.send_report(report, worker.config)

        def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
            category = warning_message.category
            channel.send(
                "warning",
                text=str(warning_message.message),
                category=category.__name__,
                module=category.__module__,
                filename=warning_message.filename,
                lineno=warning_message.lineno,
                when=when,
                nodeid=nodeid,
                location=list(location) if location else None,
            )

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_setup(self, item: Any) -> Generator[None, Any, None]:
            phase(item, "setup")
            yield

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_runtest_call(self, item: Any) -> Generator[None, Any, None]:
            phase(item, "call")
            yield

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_teardown(self, item: Any) -> Generator[None, Any, None]:
            phase(item, "teardown")
            yield

        @pytest.hookimpl(tryfirst=True, optionalhook=True)
        def pytest_timeout_set_timer(self, item: Any, settings: Any) -> Any:
            scale = worker.settings["timeout_scale"]
            if scale == 1 or getattr(settings, "_wheelcheck", False):
                return None
            plugin = item.config.pluginmanager.getplugin("timeout")
            return plugin.pytest_timeout_set_timer(item, settings._replace(timeout=settings.timeout * scale))

        @pytest.hookimpl(trylast=True)
        def pytest_sessionfinish(self, session: Any, exitstatus: Any) -> None:
            reporter = session.config.pluginmanager.getplugin("terminalreporter")
            if reporter is None or not worker.collected:
                return
            worker.flush_terminal()
            caller = worker._foreign_caller(session.config, "pytest_terminal_summary")
            caller(terminalreporter=reporter, exitstatus=exitstatus, config=session.config)
            worker.summary = worker.terminal.take() if worker.terminal is not None else ""

        def pytest_internalerror(self, excrepr: object) -> None:
            channel.send("fatal", text="INTERNALERROR in the target's pytest\n%s" % excrepr)

    def phase(item: Any, when: str) -> None:
        if worker.timeout_of(item)[1]:
            channel.send("phase", id=item.nodeid, when=when)

    return WorkerPlugin()


def _make_fixtures(target: Any) -> object:
    """Make the plugin that offers fixtures: a module, since pytest 9 wants no fixtures of instances."""
    import types

    import pytest

    @pytest.fixture(scope="session")
    def wheel_target() -> Any:
        """Frozen facts of the target: wheel, interpreter, architecture, libc, machine, emulated or not."""
        return target

    fixtures = types.ModuleType("wheelcheck_fixtures")
    fixtures.__dict__["wheel_target"] = wheel_target
    return fixtures


def main() -> int:
    """Serve one controller."""
    keeper = keep()
    channel = open_channel()
    try:
        start = channel.receive()
        channel.nonce = start["nonce"]
        if keeper >= 0:
            os.write(keeper, channel.nonce.encode("ascii"))
            os.close(keeper)
        if start["type"] != "start" or start["protocol"] != PROTOCOL:
            channel.send("fatal", text="protocol %r is not %r" % (start.get("protocol"), PROTOCOL))
            return 2
        if start.get("single"):
            channel.send("single", result=import_one(start["jobs"][0], start))
            return 0
        channel.send("hello", protocol=PROTOCOL, executable=sys.executable, version=list(sys.version_info[:3]))
        if start["mode"] == "imports":
            Importer(channel, start).run()
        else:
            run_tests(channel, start)
    except ChannelClosedError:
        return CHANNEL_GONE
    except ChildDoneError:
        raise
    except BaseException as error:
        try:
            channel.send("fatal", text=render(error))
        except ChannelClosedError:
            return CHANNEL_GONE
        return 2
    return 0


if __name__ == "__main__":
    try:
        code = main()
    except ChildDoneError:
        sys.exit(0)
    sys.stdout.flush()
    sys.stderr.flush()
    # After the end record nothing of the code under test is waited for: threads and atexit handlers may hang.
    os._exit(code)
