"""WHL5xx: Windows tags, judged from headers and import tables on any host."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from importlib import resources

from pytest_wheelcheck.checks.base import Contents
from pytest_wheelcheck.wheels.binary import Binary
from pytest_wheelcheck.wheels.reader import module_name

_MACHINES = {"win_amd64": "amd64", "win32": "x86", "win_arm64": "arm64", "win_arm32": "arm32"}
_PYTHON_DLL = re.compile(r"python(?P<major>\d)(?P<minor>\d*)(?P<threaded>t?)(?P<debug>_d)?\.dll")
#: What comes with every python.org build beside the interpreter.
_WITH_PYTHON = frozenset({"vcruntime140.dll", "vcruntime140_1.dll", "libffi-8.dll", "sqlite3.dll"})


@functools.cache
def system_libraries() -> frozenset[str]:
    """List the libraries that are part of every Windows, in lower case, from ``windows_system.txt``."""
    text = resources.files(__package__).joinpath("windows_system.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def is_of_windows(library: str) -> bool:
    """Say whether a library is part of every Windows."""
    name = library.lower()
    return name in system_libraries() or name.startswith(("api-ms-", "ext-ms-"))


def machine(contents: Contents) -> Iterator[str]:
    """Modules and libraries for another machine than the tag's."""
    wanted = {_MACHINES[platform] for platform in contents.wheel.platforms if platform in _MACHINES}
    for binary in _loaded(contents):
        if binary.machine not in wanted:
            yield f"{binary.path} is for {binary.machine}; the tag says {', '.join(contents.wheel.platforms)}"


def python_dll(contents: Contents) -> Iterator[str]:
    """Modules linked against an interpreter that the tag does not name."""
    allowed: set[str] = set()
    for tag in contents.wheel.tags:
        found = re.fullmatch(r"cp(\d)(\d+)", tag.interpreter)
        if found is None:
            if tag.interpreter.startswith("py"):
                allowed.add("python3.dll")
            continue
        threaded = "t" if re.fullmatch(r"cp\d+t", tag.abi) else ""
        allowed.add(f"python3{threaded}.dll")
        if tag.abi == "abi3t":
            allowed.add("python3t.dll")
        if tag.abi.startswith("cp"):
            allowed.add(f"python{found[1]}{found[2]}{threaded}.dll")
    implementations = {tag.interpreter[:2] for tag in contents.wheel.tags}
    if not implementations <= {"cp", "py"}:
        return
    for binary in _modules(contents):
        for library in (library.lower() for library in binary.needed):
            if _PYTHON_DLL.fullmatch(library) and library not in allowed:
                yield f"{binary.path} is linked against {library}; the tag admits {', '.join(sorted(allowed))}"


def dependencies(contents: Contents) -> Iterator[str]:
    """DLLs that are neither the system's, nor Python's, nor in the wheel."""
    bundled = {entry.name.rpartition("/")[2].lower() for entry in contents.archive.files}
    for binary in _loaded(contents):
        for library in binary.needed:
            name = library.lower()
            name = name if "." in name else name + ".dll"
            if library in binary.weak or name in bundled or is_of_windows(name) or name in _WITH_PYTHON:
                continue
            if name.startswith("libpypy") or _PYTHON_DLL.fullmatch(name):
                continue
            yield f"{binary.path} needs {library}, which is neither Windows', nor Python's, nor in the wheel"


def _loaded(contents: Contents) -> list[Binary]:
    """Modules, the libraries that they need (also through others), and scripts."""
    every = [binary for binary in contents.binaries if binary.format == "PE" and not binary.broken]
    by_name = {binary.path.rpartition("/")[2].lower(): binary for binary in every}
    scripts = f"{contents.data_folder}/scripts/"
    waiting = [*_modules(contents), *(binary for binary in every if binary.path.startswith(scripts))]
    found: dict[str, Binary] = {}
    while waiting:
        binary = waiting.pop()
        if binary.path not in found:
            found[binary.path] = binary
            waiting += [by_name[name.lower()] for name in binary.needed if name.lower() in by_name]
    return sorted(found.values(), key=lambda binary: binary.path)


def _modules(contents: Contents) -> list[Binary]:
    modules = set(contents.wheel.extension_modules)
    places = {entry.name: name for name, entry in contents.installed.items()}
    return [
        binary
        for binary in contents.binaries
        if binary.format == "PE" and not binary.broken and module_name(places.get(binary.path, "")) in modules
    ]
