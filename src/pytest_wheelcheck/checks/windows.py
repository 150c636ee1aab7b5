"""WHL5xx: Windows tags, checked from headers and import tables on any host."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from importlib import resources

from pytest_wheelcheck.checks import dependency_libraries
from pytest_wheelcheck.checks.check import Consequence, Message
from pytest_wheelcheck.checks.contents import Contents
from pytest_wheelcheck.wheels.binary import Binary

_MACHINES = {"win_amd64": "amd64", "win32": "x86", "win_arm64": "arm64", "win_arm32": "arm32"}
_PYTHON_DLL = re.compile(r"python(?P<major>\d)(?P<minor>\d*)(?P<threaded>t?)(?P<debug>_d)?\.dll")
#: DLLs that every python.org build contains next to the interpreter.
_BUNDLED_WITH_PYTHON = frozenset({"vcruntime140.dll", "vcruntime140_1.dll", "libffi-8.dll", "sqlite3.dll"})


@functools.cache
def system_libraries() -> frozenset[str]:
    """Return the libraries that are part of every Windows, in lower case, from ``windows_system.txt``."""
    text = resources.files(__package__).joinpath("windows_system.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def is_system_library(library: str) -> bool:
    """Whether a library is part of every Windows."""
    name = library.lower()
    return name in system_libraries() or name.startswith(("api-ms-", "ext-ms-"))


def machine(contents: Contents) -> Iterator[str]:
    """Find modules and libraries for another machine than the tag's."""
    machines = {_MACHINES[platform] for platform in contents.wheel.platforms if platform in _MACHINES}
    for binary in _loaded_binaries(contents):
        if binary.machine not in machines:
            yield f"{binary.path} is for {binary.machine}, but the tag is {', '.join(contents.wheel.platforms)}"


def python_dll(contents: Contents) -> Iterator[Consequence]:
    """Find modules linked against an interpreter that the tag does not name."""
    allowed: set[str] = set()
    for tag in contents.wheel.tags:
        match = re.fullmatch(r"cp(\d)(\d+)", tag.interpreter)
        if match is None:
            if tag.interpreter.startswith("py"):
                allowed.add("python3.dll")
            continue
        threaded = "t" if re.fullmatch(r"cp\d+t", tag.abi) else ""
        allowed.add(f"python3{threaded}.dll")
        if tag.abi == "abi3t":
            allowed.add("python3t.dll")
        # A tag with an interpreter and without an ABI, as maturin wrote it until 2024, is for that interpreter only.
        if tag.abi.startswith("cp") or tag.abi == "none":
            allowed.add(f"python{match[1]}{match[2]}{threaded}.dll")
    implementations = {tag.interpreter[:2] for tag in contents.wheel.tags}
    if not implementations <= {"cp", "py"}:
        return
    for binary in _loaded_by_python(contents):
        for library in (library.lower() for library in binary.needed):
            if _PYTHON_DLL.fullmatch(library) and library not in allowed:
                message = f"{binary.path} is linked against {library}; the tag allows {', '.join(sorted(allowed))}"
                # A file that was built for another interpreter has its suffix as well.
                yield Consequence(message, of="WHL603", file=contents.installed_paths.get(binary.path, binary.path))


def dependencies(contents: Contents) -> Iterator[Message]:
    """Find DLLs that are not part of Windows, of Python, or of the wheel."""
    bundled = {name.lower() for name in contents.file_names}
    brought = dependency_libraries.find(contents, contents.readable_binaries("PE"))
    used: set[str] = set()
    for binary in _loaded_binaries(contents):
        # Windows searches the directory of the program: Scripts, in which Python has nothing.
        is_program = binary.path.startswith(contents.scripts_prefix) and binary.path.lower().endswith(".exe")
        for library in binary.needed:
            name = library.lower()
            name = name if "." in name else name + ".dll"
            if library in binary.weak or name in bundled or is_system_library(name):
                continue
            if name in _BUNDLED_WITH_PYTHON:
                if is_program:
                    yield (
                        f"{binary.path} needs {library}, which is not part of Windows or of the wheel, and Python's own is "
                        "not in a directory that is searched for programs"
                    )
                continue
            if name.startswith("libpypy") or _PYTHON_DLL.fullmatch(name):
                continue
            if library in brought:
                used.add(library)
            else:
                yield f"{binary.path} needs {library}, which is not part of Windows, of Python, or of the wheel"
    yield from dependency_libraries.advice(brought, used)


def _loaded_binaries(contents: Contents) -> list[Binary]:
    """Return modules, the libraries in the wheel that they need (directly or not), and scripts, sorted by path."""
    binaries = contents.readable_binaries("PE")
    by_name = {binary.path.rpartition("/")[2].lower(): binary for binary in binaries}
    pending = _loaded_by_python(contents)
    pending += [binary for binary in binaries if binary.path.startswith(contents.scripts_prefix)]
    loaded: dict[str, Binary] = {}
    while pending:
        binary = pending.pop()
        if binary.path not in loaded:
            loaded[binary.path] = binary
            pending += [by_name[name.lower()] for name in binary.needed if name.lower() in by_name]
    return sorted(loaded.values(), key=lambda binary: binary.path)


def _loaded_by_python(contents: Contents) -> list[Binary]:
    return [binary for binary in contents.readable_binaries("PE") if contents.is_loaded(binary)]
