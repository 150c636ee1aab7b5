"""Imports in forked processes: a package is imported once, and its modules in copies of that process.

Each process is forked from one that has imported nothing but the packages of its module. So its module is imported into the
same state as in an interpreter that is started for it, without the time that its packages take. A module that its
package has loaded needs no process: how it ends is seen from the end of the package's process.

A copy may behave differently: threads of native code are missing, and handlers at exit run once for each copy. So the
controller repeats what was not sound in a process that is forked from the bare interpreter.
"""

from __future__ import annotations

import json
import signal
import sys

# Bound here: packages replace the functions of these modules (gevent does), and their processes fork others.
from os import (
    WEXITSTATUS,
    WIFEXITED,
    WNOHANG,
    WTERMSIG,
    _exit,
    close,
    dup2,
    fork,
    fstat,
    getpid,
    kill,
    killpg,
    pipe,
    pread,
    read,
    setsid,
    waitpid,
    write,
)
from select import select
from time import monotonic, sleep

from . import codec
from .channel import ImportDoneError, dup_high
from .memory import OUT_OF_MEMORY, oom_kills
from .observer import Observer, imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

    from . import messages
    from .channel import Channel

#: Characters of the end of its output that an import is reported with.
OUTPUT_LIMIT = 20_000

#: Seconds between two messages of a process that waits for an import.
TICK = 1.0

#: Exit status of a process whose end was not seen, as :func:`os.waitpid` has it.
_UNKNOWN = 1 << 8

_to_json = json.JSONEncoder(default=repr).encode
_from_json = json.JSONDecoder().decode
_threads = getattr(sys, "_current_frames", dict)


class Step:
    """What one process imports.

    :param package: imported first; empty for a bare interpreter.
    :param job: what it imports then; ``None`` if that is the package only.
    :param members: jobs for modules of the package: each is loaded then, or is imported in a copy of this process.
    """

    def __init__(self, package: str, job: messages.ImportJob | None, members: list[messages.ImportJob]) -> None:
        self.package = package
        self.job = job
        self.members = members


def fork_imports(channel: Channel, task: messages.Imports) -> None:
    """Do all jobs of a task.

    :raises ImportDoneError: this is a child that has done its import.
    """
    import tempfile

    for step in _steps(task["jobs"]):
        # Not in a with statement: a child leaves this function, and code of the wheel may have closed its descriptors.
        log = tempfile.TemporaryFile()  # noqa: SIM115
        forks = _Forks(channel, task, log.fileno())
        found = forks.run(step, task["timeout"])
        if step.members and not found:
            # Its copies may be the cause.
            found = forks.run(Step("", step.job, []), task["timeout"])
        log.close()
        done = set()
        for message in found:
            done.add((message["kind"], message["name"]))
            channel.send(message)
        for job in step.members:
            if (job["kind"], job["name"]) not in done:
                channel.send(imported(job, None, status=1, timed_out=False, output=""))


def _steps(jobs: list[messages.ImportJob]) -> Iterator[Step]:
    """Divide jobs: a package and what comes after it is one step."""
    step: Step | None = None
    for job in jobs:
        if step is not None and step.job is not None and job["after"] == step.job["module"]:
            step.members.append(job)
            continue
        if step is not None:
            yield step
        step = Step("", job, [])
    if step is not None:
        yield step


def _parts(package: str, jobs: list[messages.ImportJob]) -> Iterator[Step]:
    """Divide the jobs of a package: several below one of its packages are one step, which imports that once."""
    below: dict[str, list[messages.ImportJob]] = {}
    for job in jobs:
        head, _, rest = job["module"][len(package) + 1 :].partition(".")
        below.setdefault("%s.%s" % (package, head) if rest else "", []).append(job)
    for name, members in below.items():
        if name and len(members) > 1:
            yield Step(name, None, members)
        else:
            for job in members:
                yield Step("", job, [])


class _Forks:
    """Forks processes, and reads what they found.

    :param log: descriptor of the file that receives the output of all of them, one after the other.
    """

    def __init__(self, channel: Channel, task: messages.Imports, log: int) -> None:
        self._channel = channel
        self._task = task
        self._log = log
        self._nonce = channel.nonce.encode("ascii")
        self._observer: Observer | None = None
        #: Descriptor of a child's results.
        self._up = -1
        self._ticked = monotonic()

    # --- the parent --------------------------------------------------------------------------------------------------

    def run(self, step: Step, timeout: float) -> list[messages.Imported]:
        """Import what a step names in a child; return the results. Of a step with members, none if they are not sound."""
        begin = fstat(self._log).st_size
        read_fd, write_fd = pipe()
        killed = oom_kills()
        pid = self._fork()
        if pid == 0:
            close(read_fd)
            self._be_child(step, write_fd)
        close(write_fd)
        frames = _Frames(self._nonce)
        status = self._wait(pid, read_fd, frames, timeout, step)
        close(read_fd)
        timed_out = status is None
        if status is None:
            status = _kill(pid)
        _end_session(pid)
        if step.members and frames.is_imported and (timed_out or status or not frames.served):
            return []
        if step.job is None:
            return frames.members
        code = WEXITSTATUS(status) if WIFEXITED(status) else -WTERMSIG(status)
        output = self._output(begin, frames.served)
        if code == -signal.SIGKILL and not timed_out and oom_kills() > killed:
            output += "\n%s\n" % OUT_OF_MEMORY
        own = imported(step.job, frames.result, status=code, timed_out=timed_out, output=output)
        return [own, *frames.members]

    def _fork(self) -> int:
        import contextlib
        import warnings

        # The copy would write it again. A package may have replaced them.
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        with warnings.catch_warnings():
            # CPython warns of threads, and packages may turn warnings into errors.
            warnings.simplefilter("ignore")
            return fork()

    def _wait(self, pid: int, read_fd: int, frames: _Frames, timeout: float, step: Step) -> int | None:
        """Wait until a child ends; return its wait status.

        A child with members may take the time again after each sign of life.

        :returns: ``None`` when the timeout in seconds has passed.
        """
        deadline = monotonic() + timeout
        status = None
        is_open = True
        while status is None:
            now = monotonic()
            if now >= deadline:
                break
            self._tick(now)
            if is_open:
                # A grandchild may hold the pipe open: only the end of the process counts.
                if select([read_fd], [], [], min(deadline - now, 0.05))[0]:
                    part = read(read_fd, 1 << 16)
                    frames.feed(part)
                    is_open = bool(part)
                    if step.members and frames.is_imported:
                        deadline = max(deadline, now + self._task["limit"] + TICK)
                    continue
            else:
                sleep(0.002)
            status = _ended(pid)
        while is_open and select([read_fd], [], [], 0)[0]:
            part = read(read_fd, 1 << 16)
            frames.feed(part)
            is_open = bool(part)
        return status

    def _tick(self, now: float) -> None:
        if now - self._ticked >= TICK:
            self._ticked = now
            if self._up < 0:
                self._channel.send({"type": "importing"})
            else:
                self._send({"tick": 1})

    def _output(self, begin: int, served: list[int]) -> str:
        """Return the output since an offset of the log, without that of the copies of a child."""
        parts = [(begin, served[0]), (served[1], fstat(self._log).st_size)] if served else []
        parts = parts or [(begin, fstat(self._log).st_size)]
        data = b"".join(
            pread(self._log, min(end - start, OUTPUT_LIMIT), max(start, end - OUTPUT_LIMIT)) for start, end in parts
        )
        return data[-OUTPUT_LIMIT:].decode("utf-8", "backslashreplace")

    # --- the child ---------------------------------------------------------------------------------------------------

    def _be_child(self, step: Step, up: int) -> NoReturn:
        setsid()
        if self._observer is None:
            self._begin()
        else:
            close(self._up)
        dup2(self._log, 1)
        dup2(self._log, 2)
        self._up = dup_high(up)
        close(up)
        assert self._observer is not None  # noqa: S101
        pid = getpid()
        loaded = self._import(step, self._observer)
        if getpid() != pid:
            # The module forked, and this is the copy.
            _exit(0)
        if loaded and step.members:
            begin = fstat(self._log).st_size
            self._serve(step.package or (step.job["module"] if step.job else ""), step.members, self._observer)
            self._send({"served": [begin, fstat(self._log).st_size]})
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            close(self._up)
        # Atexit handlers and module teardown run: a module may import and then crash on the way out.
        raise ImportDoneError

    def _begin(self) -> None:
        """Prepare the first child of the bare interpreter for code of the wheel."""
        import faulthandler

        self._channel.close()
        # Code of the wheel may close descriptors with low numbers.
        self._log = dup_high(self._log)
        dup2(self._log, 2)
        faulthandler.enable(file=2)
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
        if self._task["machine"]:
            from .illegal_instructions import log_illegal_instructions

            log_illegal_instructions(2)
        self._observer = Observer(self._task)

    def _import(self, step: Step, observer: Observer) -> bool:
        if step.job is not None:
            result = observer.import_one(step.job)
            self._send({"result": result})
            return result["error"] is None
        import importlib

        try:
            importlib.import_module(step.package)
        except BaseException:
            return False
        self._send({"loaded": 1})
        return True

    def _serve(self, package: str, members: list[messages.ImportJob], observer: Observer) -> None:
        """Send the results of the modules of a package that this process has imported."""
        if len(_threads()) > 1:
            # A copy would not have them.
            return
        remaining = []
        for job in members:
            if job["kind"] == "import" and job["module"] in sys.modules:
                message = imported(job, observer.import_one(job), status=0, timed_out=False, output="")
                self._send({"member": message})
            else:
                remaining.append(job)
        for step in _parts(package, remaining):
            for message in self.run(step, self._task["limit"]):
                self._send({"member": message})

    def _send(self, frame: dict[str, Any]) -> None:
        """Send a frame to the parent. Code of the wheel may write to the same descriptor."""
        data = memoryview(self._nonce + _to_json(frame).encode("ascii") + b"\n")
        while data:
            data = data[write(self._up, data) :]


class _Frames:
    """The frames of a child: each is the nonce of the run, a JSON object, and the end of the line.

    :param nonce: of the run.

    Attributes: ``result`` of its own job; ``is_imported``: its job, or its package, was imported; results of its ``members``;
    ``served``: start and end of the part of the log that is not its own, once all of them were sent.
    """

    def __init__(self, nonce: bytes) -> None:
        self._nonce = nonce
        self._data = b""
        self.result: messages.ImportResult | None = None
        self.is_imported = False
        self.members: list[messages.Imported] = []
        self.served: list[int] = []

    def feed(self, data: bytes) -> None:
        """Take what was read; garbage between frames is skipped."""
        self._data += data
        while True:
            start = self._data.find(self._nonce)
            end = self._data.find(b"\n", start)
            if start < 0 or end < 0:
                return
            text, self._data = self._data[start + len(self._nonce) : end], self._data[end + 1 :]
            try:
                frame = _from_json(text.decode("ascii"))
            except ValueError:
                continue
            if isinstance(frame, dict):
                self._take(frame)

    def _take(self, frame: dict[str, Any]) -> None:
        result: Any = frame.get("result")
        member, served = frame.get("member"), frame.get("served")
        if codec.check_import_result(result):
            self.result = result
            self.is_imported = result["error"] is None
        elif "loaded" in frame:
            self.is_imported = True
        elif codec.check_imported(member):
            self.members.append(member)  # type: ignore[arg-type]
        elif isinstance(served, list):
            self.served = served


def _ended(pid: int) -> int | None:
    """Return the wait status of a child that has ended, or ``None``."""
    try:
        ended, status = waitpid(pid, WNOHANG)
    except ChildProcessError:
        # A package had the system, or a thread, wait for all children.
        return _UNKNOWN
    return status if ended else None


def _kill(pid: int) -> int:
    """Have a child write its stacks, and kill it; return its wait status."""
    try:
        kill(pid, signal.SIGUSR1)
        sleep(0.3)
        kill(pid, signal.SIGKILL)
        return waitpid(pid, 0)[1]
    except (ChildProcessError, ProcessLookupError):
        return _UNKNOWN


def _end_session(pid: int) -> None:
    """Kill what the module started and left running in the child's process group."""
    try:
        killpg(pid, signal.SIGKILL)
    except OSError:
        pass
