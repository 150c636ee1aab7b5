"""The mode ``imports``: everything that a wheel offers, each in a process of its own."""

from __future__ import annotations

import json
import os
import sys
import time

from . import codec
from .channel import ChildDoneError
from .telling import describe_error, tell_illegal_instructions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from . import messages
    from .channel import Channel


class Importer:
    """Imports each module in a process of its own, before any test tool is in reach.

    The children are forked from this bare interpreter; where there is no ``fork``, the controller starts one for each
    import (:func:`import_alone`), and adds what it sees of the process.
    """

    def __init__(self, channel: Channel, settings: messages.Imports) -> None:
        self.channel = channel
        self.settings = settings
        self.timeout = settings["timeout"]

    def run(self) -> None:
        """Import everything that the settings name."""
        for job in self.settings["jobs"]:
            self.channel.send(self._fork(job))

    def _fork(self, job: messages.ImportJob) -> messages.Imported:
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
        _, found, data = data.rpartition(self.channel.nonce.encode("ascii"))
        result = _read_result(data) if found else None
        return _imported(job, result, status=code, timed_out=timed_out, output=output)

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

    def _child(self, job: messages.ImportJob, write_fd: int) -> NoReturn:
        import faulthandler
        import signal

        os.setsid()
        self.channel.close()
        faulthandler.enable(file=2)
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
        if self.settings["machine"]:
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


def _read_result(data: bytes) -> messages.ImportResult | None:
    """Read what the process of an import sent; ``None`` where it is cut off, or the module wrote between it."""
    try:
        result: Any = json.loads(data.decode("ascii"))
    except ValueError:
        return None
    return result if codec.check_import_result(result) else None


def _imported(
    job: messages.ImportJob, result: messages.ImportResult | None, *, status: int, timed_out: bool, output: str
) -> messages.Imported:
    empty: messages.ImportResult = {
        "seconds": 0.0,
        "file": "",
        "error": None,
        "gil": False,
        "mapped": [],
        "before": [],
        "foreign": [],
    }
    return {
        "type": "imported",
        "name": job["name"],
        "kind": job["kind"],
        "complete": result is not None,
        "status": status,
        "timed_out": timed_out,
        "output": output,
        **(result or empty),
    }


def import_alone(channel: Channel, settings: messages.Imports) -> None:
    """Do the one import that the settings name in this process, which is there for nothing else."""
    import faulthandler

    faulthandler.enable(file=2)
    if settings["watchdog"]:
        faulthandler.dump_traceback_later(settings["watchdog"], file=2)
    (job,) = settings["jobs"]
    channel.send(_imported(job, import_one(job, settings), status=0, timed_out=False, output=""))


def import_one(job: messages.ImportJob, settings: messages.Imports) -> messages.ImportResult:
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
        for attribute in [part for part in job["attribute"].split(".") if part]:
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
        "seconds": seconds,
        # A module may set it to anything.
        "file": str(file),
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
