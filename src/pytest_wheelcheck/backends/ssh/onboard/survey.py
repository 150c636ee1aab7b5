"""What a board is: hardware, system, interpreters."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: Directories that contain installations of Python.
_INSTALLATIONS = ("~/.pyenv/versions", "~/.local/share/uv/python", "/opt/python", "/opt")


def facts(query: str, base: str) -> dict[str, Any]:
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
    found = []
    for path in _candidates():
        try:
            process = subprocess.Popen(
                [path, "-I", "-S", "-c", query],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            # For another architecture, for example.
            found.append([path, ""])
            continue
        running.append((path, process))
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
