"""The agent: the part of this package that runs on a board, in any CPython 3.9 or newer, with the standard library alone.

Nothing of this package is installed there. The controller's first ``ssh`` starts a Python of the board, which reads this
file from its standard input, and then serves requests (:class:`Agent`). It receives files, keeps them in a store by their
SHA-256, and makes the directory of the run from them. Each program of a target is started through another ``ssh`` by this
file as well (:func:`run_program`), with its standard streams.

A frame is two lengths in bytes (JSON, data; big-endian, 32 bits), the JSON, and the data. The agent ends the programs of its
run, removes the directory of the run and ends itself when its standard input ends, or when nothing arrives for
:data:`SILENCE` seconds: the controller sends a beat every few seconds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import select
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, NoReturn

#: The lengths of JSON and data.
HEADER = struct.Struct(">II")

#: Version of the requests. It is part of the name of the directory on the board.
PROTOCOL = 1

#: Seconds without a frame after which the controller is gone.
SILENCE = 20.0

#: Seconds that programs have to end after SIGTERM.
GRACE = 4.0

#: Seconds after which a file of the store that no run used is removed.
STORE_AGE = 30 * 86400.0

#: What scripts have instead of the directory of the run: their content does not depend on it in the store.
RUN_MARK = b"@WHEELCHECK-RUN-DIRECTORY@"

#: Start of the line on standard error that reports how a program ended; its token follows, then exit status and ``oom``.
EXIT_LINE = "wheelcheck board-exit"

#: Exit status of a program that could not be started, as of a shell.
NOT_STARTED = 127

#: Bytes of a file, and of all files, that the request ``read`` returns.
MAX_READ = 64 << 20

#: Directories that contain installations of Python.
_INSTALLATIONS = ("~/.pyenv/versions", "~/.local/share/uv/python", "/opt/python", "/opt")


# --- the agent -------------------------------------------------------------------------------------------------------


class RequestError(Exception):
    """A request cannot be met. ``kind`` is what the controller decides by."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Agent:
    """Serves the requests of one controller.

    :param source: this file's text, from which programs are started.
    """

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._input = b""
        self._base = self._run = ""
        self._lock = -1
        self._failure: RequestError | None = None

    def serve(self) -> None:
        """Serve requests until the controller is gone; then leave nothing behind."""
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(0))
        try:
            while True:
                header, data = self._receive()
                if header["op"] != "beat":
                    self._answer(header, data)
        except EOFError:
            pass
        finally:
            self._end()

    def _answer(self, header: dict[str, Any], data: bytes) -> None:
        if header["op"] == "blobs":
            # Answered by the next request: many files need no round trip each.
            self._receive_blobs(header["files"])
            return
        reply: dict[str, Any] = {"id": header["id"]}
        payload = b""
        try:
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            reply.update(getattr(self, "op_" + header["op"])(header, data))
            payload = reply.pop("data", b"")
        except RequestError as error:
            reply["error"] = [error.kind, str(error)]
        except OSError as error:
            reply["error"] = [_kind(error), _text(error)]
        self._send(reply, payload)

    # -- frames ---------------------------------------------------------------------------------------------------

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        json_size, data_size = HEADER.unpack(self._exactly(HEADER.size))
        return json.loads(self._exactly(json_size)), self._exactly(data_size)

    def _exactly(self, count: int) -> bytes:
        parts = [self._input]
        size = len(self._input)
        while size < count:
            if not select.select([0], [], [], SILENCE)[0]:
                raise EOFError("silence")
            part = os.read(0, 1 << 18)
            if not part:
                raise EOFError("end of file")
            parts.append(part)
            size += len(part)
        found = b"".join(parts)
        self._input = found[count:]
        return found[:count]

    def _send(self, reply: dict[str, Any], data: bytes) -> None:
        text = json.dumps(reply).encode("ascii")
        frame = memoryview(HEADER.pack(len(text), len(data)) + text + data)
        while frame:
            try:
                frame = frame[os.write(1, frame) :]
            except OSError as error:
                raise EOFError("the controller is gone") from error

    # -- the run --------------------------------------------------------------------------------------------------

    def op_hello(self, header: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Make the directory of the run; return facts about the board."""
        base = os.path.expanduser(header["base"]) if header["base"] else _default_base()
        self._base = os.path.join(os.path.abspath(base), "v%d" % PROTOCOL)
        for name in ("store", "runs"):
            os.makedirs(os.path.join(self._base, name), mode=0o700, exist_ok=True)
        # A link in the path would give files two names.
        self._base = os.path.realpath(self._base)
        for name in os.listdir(os.path.join(self._base, "runs")):
            _remove_stale(os.path.join(self._base, "runs", name), own=name == header["run"])
        self._run = os.path.join(self._base, "runs", header["run"])
        os.makedirs(os.path.join(self._run, "programs"), mode=0o700)
        self._lock = os.open(os.path.join(self._run, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        _write_pid(os.path.join(self._run, "agent.pid"), os.getpid())
        with open(os.path.join(self._run, "agent.py"), "wb") as file:
            file.write(self._source)
        self._try_program()
        facts = _facts(header["query"], self._base) if header["query"] else {}
        return {"python": sys.executable, "base": self._base, "run": self._run, "facts": facts}

    def _try_program(self) -> None:
        """Start a program in the directory of the run: it may be mounted noexec."""
        path = os.path.join(self._run, "try")
        with open(path, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nexit 0\n")
        os.chmod(path, 0o700)
        try:
            subprocess.run([path], check=True, stdin=subprocess.DEVNULL, timeout=60)
        except PermissionError:
            raise RequestError("noexec", self._base) from None

    def op_ping(self, header: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Answer."""
        return {}

    def op_have(self, header: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Return which files the store lacks."""
        missing = []
        for digest, size in header["files"]:
            path = self._blob(digest)
            try:
                found = os.stat(path)
                if found.st_size != size:
                    missing.append(digest)
                elif found.st_mtime < time.time() - 86400 or found.st_mtime > time.time() + 86400:
                    # Used again: it is not removed for its age. Not at every run, which would wear a memory card.
                    os.utime(path)
            except OSError:
                missing.append(digest)
        return {"missing": missing}

    def _receive_blobs(self, files: Sequence[Sequence[Any]]) -> None:
        """Receive files as one compressed stream; an error is reported by the next request."""
        stream = zlib.decompressobj()
        rest = b""
        for digest, size in files:
            try:
                writer = None if self._failure else _BlobWriter(self._blob(digest), digest)
            except OSError as error:
                writer, self._failure = None, RequestError(_kind(error), _text(error))
            left = size
            while left:
                if not rest:
                    rest = self._decompressed(stream)
                part, rest = rest[:left], rest[left:]
                left -= len(part)
                if writer is not None:
                    try:
                        writer.write(part)
                    except OSError as error:
                        writer.abandon()
                        writer, self._failure = None, RequestError(_kind(error), _text(error))
            if writer is not None:
                try:
                    writer.finish()
                except OSError as error:
                    writer.abandon()
                    self._failure = RequestError(_kind(error), _text(error))
        if not files:
            return
        # The end of the compressed stream.
        while not stream.eof:
            self._decompressed(stream)

    def _decompressed(self, stream: Any) -> bytes:
        if stream.unconsumed_tail:
            return bytes(stream.decompress(stream.unconsumed_tail, 1 << 20))
        header, data = self._receive()
        if header["op"] == "beat":
            return b""
        return bytes(stream.decompress(data, 1 << 20))

    def op_update(self, header: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Change a tree of the directory of the run: delete paths, then make directories, files and links.

        :returns: the files that the store lacks; then the request must be repeated.
        """
        tree = self._inside(header["tree"])
        for name in header["delete"]:
            _remove(os.path.join(tree, name))
        missing = []
        for name, kind, mode, value, size, mtime in header["write"]:
            path = os.path.join(tree, name) if name else tree
            if kind == "d":
                os.makedirs(path, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if kind == "l":
                _remove(path)
                os.symlink(value, path)
            elif not self._copy(value, size, path, mode, mtime, script=kind == "s"):
                missing.append(value)
        return {"missing": missing}

    def _copy(self, digest: str, size: int, path: str, mode: int, mtime: int, *, script: bool) -> bool:
        """Copy a file from the store; return whether it is there and whole. A power cut may have damaged it."""
        blob = self._blob(digest)
        side = path + ".wheelcheck-new"
        found = hashlib.sha256()
        try:
            source = open(blob, "rb")
        except OSError:
            return False
        with source, open(side, "wb") as file:
            while part := source.read(1 << 20):
                found.update(part)
                file.write(part.replace(RUN_MARK, os.fsencode(self._run)) if script else part)
        if found.hexdigest() != digest:
            os.unlink(side)
            _remove(blob)
            return False
        os.chmod(side, mode)
        os.utime(side, ns=(mtime, mtime))
        if os.path.isdir(path) and not os.path.islink(path):
            _remove(path)
        os.replace(side, path)
        return True

    def op_program(self, header: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Write the description of a program, which :func:`run_program` starts."""
        path = os.path.join(self._run, "programs", header["token"])
        with open(path + ".new", "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(header["program"], file)
        os.replace(path + ".new", path)
        return {}

    def op_signal(self, header: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Send a signal to a program's first process."""
        pid = _pid_of(os.path.join(self._run, "programs", header["token"] + ".child"))
        if pid:
            with contextlib.suppress(OSError):
                os.kill(pid, header["number"])
        return {}

    def op_end(self, header: dict[str, Any], data: bytes) -> dict[str, Any]:
        """End a program and everything that it started."""
        _end_programs(self._run, [header["token"]])
        return {}

    def op_read(self, header: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Return the files of a directory, the first ones up to a limit."""
        directory = self._inside(header["tree"])
        names, parts, left = [], [], MAX_READ
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) <= left:
                with open(path, "rb") as file:
                    part = file.read(left)
                left -= len(part)
                names.append([name, len(part)])
                parts.append(part)
        return {"files": names, "data": b"".join(parts)}

    def op_clean(self, header: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Remove the store and the directories of ended runs; return how many bytes that were."""
        freed = 0
        store = os.path.join(self._base, "store")
        for parent, _, names in os.walk(store):
            for name in names:
                freed += os.lstat(os.path.join(parent, name)).st_size
        _remove(store)
        return {"freed": freed}

    # -- the end --------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if not self._run:
            return
        with contextlib.suppress(OSError):
            tokens = [name for name in os.listdir(os.path.join(self._run, "programs")) if "." not in name]
            _end_programs(self._run, tokens)
        _remove(self._run)
        with contextlib.suppress(OSError):
            self._prune()
        # Not at the end of the last run with --clean: no empty directories stay.
        for path in (os.path.join(self._base, "runs"), self._base, os.path.dirname(self._base)):
            try:
                os.rmdir(path)
            except OSError:
                break

    def _prune(self) -> None:
        """Remove files of the store that no run has used for a long time, and those that a killed agent left unfinished."""
        limit = time.time() - STORE_AGE
        for parent, _, names in os.walk(os.path.join(self._base, "store")):
            for name in names:
                path = os.path.join(parent, name)
                with contextlib.suppress(OSError):
                    age = os.lstat(path).st_mtime
                    if age < limit or ("." in name and age < time.time() - 3600):
                        os.unlink(path)

    def _blob(self, digest: str) -> str:
        return os.path.join(self._base, "store", digest[:2], digest)

    def _inside(self, name: str) -> str:
        return os.path.join(self._run, name) if name else self._run


class _BlobWriter:
    """Writes a file of the store, and checks it before it gets its name."""

    def __init__(self, path: str, digest: str) -> None:
        self._path, self._digest = path, digest
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._side = "%s.%d" % (path, os.getpid())
        self._file = open(self._side, "wb")
        self._found = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._found.update(data)
        self._file.write(data)

    def finish(self) -> None:
        self._file.close()
        if self._found.hexdigest() == self._digest:
            os.replace(self._side, self._path)
        else:
            os.unlink(self._side)

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self._side)


def _default_base() -> str:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "pytest-wheelcheck-board")


def _kind(error: OSError) -> str:
    kinds = {
        errno.ENOSPC: "full",
        errno.EDQUOT: "full",
        errno.EROFS: "read-only",
        errno.EACCES: "forbidden",
        errno.EPERM: "forbidden",
        errno.ENOMEM: "memory",
    }
    return kinds.get(error.errno or 0, "system")


def _text(error: OSError) -> str:
    return "%s: %s" % (error.filename, error.strerror) if error.filename else str(error.strerror or error)


def _remove(path: str) -> None:
    """Remove a file or a tree, also one whose directories a test made unwritable."""
    if os.path.islink(path) or not os.path.isdir(path):
        with contextlib.suppress(OSError):
            os.unlink(path)
        return

    def retry(function: Any, name: str, _: Any) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), 0o700)
            os.chmod(name, 0o700)
            function(name)

    shutil.rmtree(path, onerror=retry)


def _remove_stale(run: str, *, own: bool) -> None:
    """Remove the directory of a run whose agent is gone, for example because the board was rebooted.

    :param own: it is this controller's, from before the connection was lost; its agent may not have noticed yet.
    """
    try:
        lock = os.open(os.path.join(run, "lock"), os.O_RDWR)
    except OSError:
        # An agent that is just starting has not made it yet.
        if time.time() - os.lstat(run).st_mtime > 3600 or own:
            _remove(run)
        return
    try:
        end = time.monotonic() + (2 * GRACE + 4 if own else 0)
        agent = _pid_of(os.path.join(run, "agent.pid")) if own else 0
        if agent:
            with contextlib.suppress(OSError):
                os.kill(agent, signal.SIGTERM)
        while not _locked(lock):
            if time.monotonic() >= end:
                if own:
                    raise RequestError("busy", "an earlier agent of this run does not end")
                return
            time.sleep(0.05)
        with contextlib.suppress(OSError):
            _end_programs(run, [name for name in os.listdir(os.path.join(run, "programs")) if "." not in name])
        _remove(run)
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    """Lock a file; return whether that worked."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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


def _write_pid(path: str, pid: int) -> None:
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write("%d %s" % (pid, _start_of(pid)))
    os.replace(path + ".new", path)


def _end_programs(run: str, tokens: Sequence[str]) -> None:
    """End programs and everything that they started: SIGTERM to what started them, later SIGKILL."""
    paths = [os.path.join(run, "programs", token) for token in tokens]
    for number, wait in ((signal.SIGTERM, GRACE + 1), (signal.SIGKILL, 2.0)):
        running = [pid for pid in (_pid_of(path + ".pid") for path in paths) if pid]
        children = [pid for pid in (_pid_of(path + ".child") for path in paths) if pid]
        for pid in (*running, *(children if number == signal.SIGKILL else ())):
            with contextlib.suppress(OSError):
                os.kill(pid, number)
            if number == signal.SIGKILL:
                with contextlib.suppress(OSError):
                    os.killpg(pid, number)
        end = time.monotonic() + wait
        while any(_pid_of(path + ".pid") or _pid_of(path + ".child") for path in paths):
            if time.monotonic() > end:
                break
            time.sleep(0.02)
        else:
            return


# --- facts -----------------------------------------------------------------------------------------------------------


def _facts(query: str, base: str) -> dict[str, Any]:
    """Return facts about the board.

    :param query: a program that prints what an interpreter is.
    """
    uname = os.uname()
    disk = os.statvfs(base)
    memory = _fields("/proc/meminfo", ":")
    cpu = _fields("/proc/cpuinfo", ":")
    try:
        master, slave = os.openpty()
        os.close(master)
        os.close(slave)
        pty = True
    except OSError:
        pty = False
    return {
        "machine": uname.machine,
        "kernel": "%s %s" % (uname.sysname, uname.release),
        "host": uname.nodename,
        "system": _system(),
        "model": _first_line("/proc/device-tree/model") or _first_line("/sys/devices/virtual/dmi/id/product_name"),
        "cpu": cpu.get("model name") or cpu.get("Model") or "%s/%s" % (cpu.get("CPU implementer"), cpu.get("CPU part")),
        "features": (cpu.get("Features") or cpu.get("flags") or cpu.get("isa") or "").split(),
        "cpus": len(os.sched_getaffinity(0)),
        "page_size": os.sysconf("SC_PAGE_SIZE"),
        "memory": int((memory.get("MemTotal") or "0").split()[0]) * 1024,
        "memory_free": int((memory.get("MemAvailable") or "0").split()[0]) * 1024,
        "disk_free": disk.f_bavail * disk.f_frsize,
        "time": time.time(),
        "pty": pty,
        "interpreters": _interpreters(query),
    }


def _system() -> str:
    for line in _lines("/etc/os-release"):
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip().strip('"')
    return ""


def _fields(path: str, separator: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _lines(path):
        name, mark, value = line.partition(separator)
        if mark:
            found.setdefault(name.strip(), value.strip())
    return found


def _first_line(path: str) -> str:
    return next(iter(_lines(path)), "").strip("\0\n ")


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readlines()[:10_000]
    except OSError:
        return []


def _interpreters(query: str) -> list[list[str]]:
    """Return the interpreters of the board: path, and what the query printed; an empty text if it did not run."""
    running = []
    for path in _candidates():
        try:
            process = subprocess.Popen(
                [path, "-I", "-S", "-c", query],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            continue
        running.append((path, process))
    found = []
    end = time.monotonic() + 120
    for path, process in running:
        try:
            output = process.communicate(timeout=max(1.0, end - time.monotonic()))[0]
        except subprocess.TimeoutExpired:
            process.kill()
            output = b""
        found.append([path, output.decode("utf-8", "replace")])
    return found


def _candidates() -> Iterator[str]:
    """Yield the executables that may be interpreters, without links; shims of pyenv are left out."""
    directories = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin", "~/.local/bin"]
    for parent in _INSTALLATIONS:
        with contextlib.suppress(OSError):
            expanded = os.path.expanduser(parent)
            directories += [os.path.join(expanded, name, "bin") for name in sorted(os.listdir(expanded))]
    seen = {os.path.realpath(sys.executable)}
    yield os.path.realpath(sys.executable)
    for directory in map(os.path.expanduser, directories):
        if os.path.basename(directory) == "shims":
            continue
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        for name in names:
            if _is_python(name):
                path = os.path.realpath(os.path.join(directory, name))
                if path not in seen and os.access(path, os.X_OK) and stat.S_ISREG(os.stat(path).st_mode):
                    seen.add(path)
                    yield path


def _is_python(name: str) -> bool:
    for prefix in ("python3", "pypy3"):
        if name.startswith(prefix):
            rest = name[len(prefix) :]
            return not rest or (rest.startswith(".") and rest[1:].rstrip("t").isdigit())
    return False


# --- one program -----------------------------------------------------------------------------------------------------


def run_program(token: str) -> NoReturn:
    """Run a program with this process's standard streams, and end everything that it started when it ends.

    It is also ended on SIGTERM, and when the agent is gone. The last line on standard error reports how it ended; a signal
    becomes an exit status above 128.
    """
    run = os.path.dirname(os.path.abspath(__file__))
    path = os.path.join(run, "programs", token)
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        program = json.load(file)
    lock = os.open(os.path.join(run, "lock"), os.O_RDWR)
    _become_subreaper()
    _write_pid(path + ".pid", os.getpid())
    stopping = threading.Event()
    for directory in program["directories"]:
        os.makedirs(directory, exist_ok=True)
    killed = _oom_kills()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    pid = os.fork()
    if pid == 0:
        _be_program(token, program)
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGHUP, lambda *_: stopping.set())
    with contextlib.suppress(OSError):
        _write_pid(path + ".child", pid)
    # Only the program holds the channel open.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    threading.Thread(target=_watch_agent, args=(lock, stopping), daemon=True).start()
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


def _be_program(token: str, program: dict[str, Any]) -> NoReturn:
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
    for line in _lines("/proc/vmstat"):
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        run_program(sys.argv[2])
    Agent(globals().get("WHEELCHECK_SOURCE", b"")).serve()
