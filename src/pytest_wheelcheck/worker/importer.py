"""The task ``imports``: import everything that a wheel offers, each in a process of its own.

No test tool is on ``sys.path`` yet, so that a dependency which the wheel does not declare is missed.
"""

from __future__ import annotations

import json
import os
import sys
import time

from . import codec
from .channel import ImportDoneError
from .errors import describe_exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from . import messages
    from .channel import Channel

#: Characters of the end of its output that an import is reported with.
OUTPUT_LIMIT = 20_000


def run_imports(channel: Channel, task: messages.Imports) -> None:
    """Import everything that the task names.

    Each child is forked from this bare interpreter. On a platform without ``fork`` the controller starts a worker for each
    import, and adds what it observes of that process.

    :raises ImportDoneError: this process has done its only import, or is such a child.
    """
    if task["fork"]:
        for job in task["jobs"]:
            channel.send(_import_in_child(job, task, channel))
        return
    import faulthandler

    faulthandler.enable(file=2)
    if task["watchdog"]:
        faulthandler.dump_traceback_later(task["watchdog"], file=2)
    (job,) = task["jobs"]
    channel.send(_imported(job, import_one(job, task), status=0, timed_out=False, output=""))
    raise ImportDoneError


# --- the parent ------------------------------------------------------------------------------------------------------


def _import_in_child(job: messages.ImportJob, task: messages.Imports, channel: Channel) -> messages.Imported:
    import tempfile

    read_fd, write_fd = os.pipe()
    with tempfile.TemporaryFile() as log:
        pid = os.fork()
        if pid == 0:
            os.close(read_fd)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            _be_child(job, task, channel, write_fd)
        os.close(write_fd)
        status, data = _wait(pid, read_fd, task["timeout"])
        os.close(read_fd)
        timed_out = status is None
        if status is None:
            status = _kill(pid)
        _end_session(pid)
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - OUTPUT_LIMIT))
        output = log.read().decode("utf-8", "backslashreplace")
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    # The module may have written to every descriptor that it found; its result comes last.
    _, found, data = data.rpartition(channel.nonce.encode("ascii"))
    result = _read_result(data) if found else None
    return _imported(job, result, status=code, timed_out=timed_out, output=output)


def _wait(pid: int, read_fd: int, timeout: float) -> tuple[int | None, bytes]:
    """Wait until a child ends; return its wait status and what it sent.

    :returns: ``None`` as the status when the timeout in seconds has passed.
    """
    import select

    deadline = time.monotonic() + timeout
    data = b""
    status = None
    is_open = True
    while status is None:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        if is_open:
            # A grandchild may hold the pipe open: only the end of the process counts.
            if select.select([read_fd], [], [], min(left, 0.05))[0]:
                part = os.read(read_fd, 1 << 16)
                data += part
                is_open = bool(part)
                continue
        else:
            time.sleep(0.002)
        ended, wait_status = os.waitpid(pid, os.WNOHANG)
        if ended:
            status = wait_status
    while is_open and select.select([read_fd], [], [], 0)[0]:
        part = os.read(read_fd, 1 << 16)
        data += part
        is_open = bool(part)
    return status, data


def _kill(pid: int) -> int:
    """Have a child write its stacks, and kill it; return its wait status."""
    import signal

    os.kill(pid, signal.SIGUSR1)
    time.sleep(0.3)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _end_session(pid: int) -> None:
    """Kill what the module started and left running in the child's process group."""
    import signal

    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass


def _read_result(data: bytes) -> messages.ImportResult | None:
    """Read what a child sent; ``None`` where it is incomplete, or the module wrote between it."""
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
        "extensions": [],
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


# --- the process of one import ---------------------------------------------------------------------------------------


def _be_child(job: messages.ImportJob, task: messages.Imports, channel: Channel, write_fd: int) -> NoReturn:
    import faulthandler
    import signal

    os.setsid()
    channel.close()
    faulthandler.enable(file=2)
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
    if task["machine"]:
        from .illegal_instructions import log_illegal_instructions

        log_illegal_instructions(2)
    pid = os.getpid()
    result = import_one(job, task)
    if os.getpid() != pid:
        # The module forked, and this is the copy.
        os._exit(0)
    try:
        data = memoryview((channel.nonce + json.dumps(result, default=repr)).encode("ascii"))
        while data:
            data = data[os.write(write_fd, data) :]
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os.close(write_fd)
    # Atexit handlers and module teardown run: a module may import and then crash on the way out.
    raise ImportDoneError


def import_one(job: messages.ImportJob, task: messages.Imports) -> messages.ImportResult:
    """Import one module, or load one entry point, in this process."""
    extensions = _record_extensions()
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
        target: Any = module
        for attribute in [part for part in job["attribute"].split(".") if part]:
            target = getattr(target, attribute)
        if job["kind"] == "entry" and not callable(target):
            raise TypeError("the entry point %s refers to %r, which is not callable" % (job["name"], target))
    except BaseException as raised:
        error = describe_exception(raised)
    seconds = time.perf_counter() - start
    gil_enabled = getattr(sys, "_is_gil_enabled", None)
    return {
        "seconds": seconds,
        # A module may set it to anything.
        "file": str(file),
        "error": error,
        "gil": bool(gil_enabled()) if gil_enabled is not None and task["free_threaded"] else False,
        "before": sorted(before),
        "mapped": sorted(mapped_files() - before),
        "foreign": _foreign_modules(task, loaded),
        "extensions": extensions,
    }


def _record_extensions() -> list[list[str]]:
    """Record name and file of each extension module from now on.

    A package may load its file under another name, and need not keep the module.
    """
    import _imp

    found: list[list[str]] = []
    original = _imp.create_dynamic

    def create_dynamic(spec: Any, *args: Any) -> Any:
        module = original(spec, *args)
        found.append([str(spec.name), str(spec.origin)])
        return module

    _imp.create_dynamic = create_dynamic
    return found


def _foreign_modules(task: messages.Imports, loaded: set[str]) -> list[list[str]]:
    """Return name and file of the modules under the wheel's names that were loaded from elsewhere.

    :param loaded: names of the modules that were loaded before.
    """
    names = set(task["names"])
    sites = tuple(os.path.realpath(site) + os.sep for site in task["sites"])
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] in names and name not in loaded and isinstance(file, str):
            if not os.path.realpath(file).startswith(sites):
                found.append([name, file])
    return found


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
