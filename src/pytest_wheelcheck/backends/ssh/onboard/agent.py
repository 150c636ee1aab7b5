"""Serves the requests of a controller on a board: receives files, makes trees of them, ends programs.

A frame is two lengths in bytes (JSON, data; big-endian, 32 bits), the JSON compressed by zlib, and the data. The agent ends
the programs of its run, removes the directory of the run and ends itself when its standard input ends, or when nothing
arrives for :data:`SILENCE` seconds: the controller sends a beat every few seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import stat
import subprocess
import sys
import time
import zlib

from . import programs, survey
from .files import RequestError, Store, is_core, remove, tree_size
from .protocol import HEADER, PACKAGE, PROTOCOL, RUN_MARK, SILENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: Files that the request ``list`` names.
MAX_LISTED = 10_000


class Agent:
    """Serves the requests of one controller, which are the methods whose names begin with ``op_``.

    :param sources: the modules of this package by their names; programs are started from them.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources
        self._input = b""
        self._base = self._run = ""
        self._lock = -1
        self._store = Store("")
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
            # An error is the answer to the next request: files need no round trip of their own.
            self._failure = self._store.receive(header["files"], _Inflated(self._receive).read) or self._failure
            return
        reply: dict[str, Any] = {"id": header["id"]}
        payload = b""
        try:
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            reply.update(getattr(self, "op_" + header["op"])(header))
            payload = reply.pop("data", b"")
        except RequestError as error:
            reply["error"] = [error.kind, str(error)]
        except OSError as error:
            described = RequestError.of(error)
            reply["error"] = [described.kind, str(described)]
        self._send(reply, payload)

    # -- frames ---------------------------------------------------------------------------------------------------

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        json_size, data_size = HEADER.unpack(self._exactly(HEADER.size))
        return json.loads(zlib.decompress(self._exactly(json_size))), self._exactly(data_size)

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
        text = zlib.compress(json.dumps(reply).encode("ascii"), 1)
        frame = memoryview(HEADER.pack(len(text), len(data)) + text + data)
        try:
            while frame:
                frame = frame[os.write(1, frame) :]
        except OSError as error:
            raise EOFError("the controller is gone") from error

    # -- the run --------------------------------------------------------------------------------------------------

    def op_hello(self, header: dict[str, Any]) -> dict[str, Any]:
        """Make the directory of the run; return facts about the board."""
        self._find_base(header["base"])
        for name in ("store", "runs"):
            os.makedirs(os.path.join(self._base, name), mode=0o700, exist_ok=True)
        for name in os.listdir(os.path.join(self._base, "runs")):
            _remove_stale(os.path.join(self._base, "runs", name), own=name == header["run"])
        self._run = os.path.join(self._base, "runs", header["run"])
        os.makedirs(os.path.join(self._run, programs.DIRECTORY), mode=0o700)
        self._lock = os.open(os.path.join(self._run, programs.LOCK), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        programs.write_pid(os.path.join(self._run, "agent.pid"), os.getpid())
        package = os.path.join(self._run, PACKAGE)
        os.mkdir(package)
        for name, source in self._sources.items():
            with open(os.path.join(package, name + ".py"), "w", encoding="utf-8") as file:
                file.write(source)
        self._try_program()
        facts = survey.facts(header["query"], self._base) if header["query"] else {}
        return {"python": sys.executable, "base": self._base, "run": self._run, "facts": facts}

    def _find_base(self, base: str) -> None:
        path = os.path.expanduser(base) if base else _default_base()
        # A link in the path would give files two names.
        self._base = os.path.realpath(os.path.join(os.path.abspath(path), "v%d" % PROTOCOL))
        self._store = Store(os.path.join(self._base, "store"))

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

    def op_ping(self, _: dict[str, Any]) -> dict[str, Any]:
        """Answer."""
        return {}

    def op_update(self, header: dict[str, Any]) -> dict[str, Any]:
        """Change a tree of the directory of the run: delete paths, then make directories, files and links.

        :returns: the files that the store lacks; they must be sent, and the request repeated for them.
        """
        tree = os.path.join(self._run, header["tree"])
        for name in header["delete"]:
            remove(os.path.join(tree, name))
        missing = []
        for name, kind, mode, value, mtime in header["write"]:
            path = os.path.join(tree, name) if name else tree
            if kind == "d":
                os.makedirs(path, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if kind == "l":
                remove(path)
                os.symlink(value.replace(RUN_MARK.decode("ascii"), self._run), path)
            elif not self._store.copy(value, path, mode=mode, mtime=mtime, run=self._run if kind == "s" else ""):
                missing.append(value)
        return {"missing": missing}

    def op_program(self, header: dict[str, Any]) -> dict[str, Any]:
        """Write the description of a program, which :func:`.programs.run_program` starts."""
        programs.describe(self._run, header["token"], header["program"])
        return {}

    def op_signal(self, header: dict[str, Any]) -> dict[str, Any]:
        """Send a signal to a program's first process."""
        # Its number depends on the architecture.
        programs.send_signal(self._run, header["token"], signal.Signals[header["name"]])
        return {}

    def op_end(self, header: dict[str, Any]) -> dict[str, Any]:
        """End a program and everything that it started."""
        programs.end(self._run, [header["token"]])
        return {}

    def op_list(self, header: dict[str, Any]) -> dict[str, Any]:
        """Return the names and sizes of the regular files of a tree, or of core dumps only. Links are not followed."""
        mark = header["core_of"].encode("utf-8", "surrogateescape")
        tree = os.path.join(self._run, header["tree"])
        found: list[list[Any]] = []
        for parent, directories, names in os.walk(tree if not os.path.islink(tree) else ""):
            directories.sort()
            for name in sorted(names):
                path = os.path.join(parent, name)
                with contextlib.suppress(OSError):
                    status = os.lstat(path)
                    # Only a regular file is opened: a FIFO would not return.
                    listed = stat.S_ISREG(status.st_mode) and len(found) < MAX_LISTED
                    if listed and (not mark or ("core" in name and is_core(path, mark))):
                        found.append([os.path.relpath(path, tree), status.st_size])
        return {"files": found}

    def op_read(self, header: dict[str, Any]) -> dict[str, Any]:
        """Return parts of files of a tree, compressed: name, offset and size of each. A part may be shorter than asked for."""
        tree = os.path.join(self._run, header["tree"])
        parts = []
        for name, offset, size in header["parts"]:
            part = b""
            # A name that a test has replaced by a link since it was listed is not followed.
            with contextlib.suppress(OSError):
                descriptor = os.open(os.path.join(tree, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with open(descriptor, "rb") as file:
                    file.seek(offset)
                    part = file.read(size)
            parts.append(part)
        return {"sizes": [len(part) for part in parts], "data": zlib.compress(b"".join(parts), 1)}

    def op_size(self, _: dict[str, Any]) -> dict[str, Any]:
        """Return how many bytes the store has."""
        return {"bytes": self._store.size()}

    def op_clean(self, header: dict[str, Any]) -> dict[str, Any]:
        """Remove the store and what killed runs left; return how many bytes that were.

        It is the first request instead of ``hello``, which writes files: the disk may be full.
        """
        self._find_base(header["base"])
        before, stored = tree_size(self._base), self._store.size()
        remove(self._store.directory)
        if stored and self._store.size() >= stored:
            # Raises the reason.
            os.rmdir(self._store.directory)
        runs = os.path.join(self._base, "runs")
        for name in os.listdir(runs) if os.path.isdir(runs) else ():
            _remove_stale(os.path.join(runs, name), own=False)
        return {"freed": max(0, before - tree_size(self._base))}

    # -- the end --------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if not self._base:
            return
        if self._run:
            programs.end_all(self._run)
            remove(self._run)
            self._store.prune()
        # After `--clean`, and where nothing was sent, no empty directories stay.
        for path in (self._store.directory, os.path.join(self._base, "runs"), self._base, os.path.dirname(self._base)):
            with contextlib.suppress(OSError):
                os.rmdir(path)


class _Inflated:
    """Reads a compressed stream from frames.

    :param receive: returns the next frame.
    """

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._stream = zlib.decompressobj()
        self._rest = b""

    def read(self, most: int) -> bytes:
        """Return some of the next bytes."""
        while not self._rest:
            if not (packed := self._stream.unconsumed_tail):
                header, packed = self._receive()
                if header["op"] == "beat":
                    continue
            self._rest = self._stream.decompress(packed, 1 << 20)
        part, self._rest = self._rest[:most], self._rest[most:]
        return part


def _default_base() -> str:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "pytest-wheelcheck-board")


def _remove_stale(run: str, *, own: bool) -> None:
    """Remove the directory of a run whose agent is gone, for example because the board was restarted.

    :param own: it is this controller's, from before the connection was lost; its agent may not have noticed yet.
    """
    try:
        lock = os.open(os.path.join(run, programs.LOCK), os.O_RDWR)
    except OSError:
        # An agent that is just starting has not made it yet.
        if own or time.time() - os.lstat(run).st_mtime > 3600:
            remove(run)
        return
    try:
        end = time.monotonic() + (2 * programs.GRACE + 4 if own else 0)
        if own:
            programs.send_pid(os.path.join(run, "agent.pid"), signal.SIGTERM)
        while not _locked(lock):
            if time.monotonic() >= end:
                if own:
                    raise RequestError("busy", "an earlier agent of this run does not end")
                return
            time.sleep(0.05)
        programs.end_all(run)
        remove(run)
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    """Lock a file; return whether that worked."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
