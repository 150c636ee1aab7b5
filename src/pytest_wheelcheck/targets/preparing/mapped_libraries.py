"""System libraries that an import maps into the process, compared with those that the wheel's tag allows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.wheels.binary import ElfHeader
from pytest_wheelcheck.wheels.bounded import read_headers

#: Libraries that the C library itself loads by name, to look up users and hosts.
_LIBC_PLUGINS = ("libnss_", "ld-linux", "ld-musl", "ld64.so", "libc.so", "libc.musl-", "linux-vdso")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportContext:
    """What the messages about the imports of a target need: where its files are, and the limits.

    :param environment: root of the virtual environment.
    :param sites: its directories of installed modules.
    :param interpreter: directories of the interpreter itself.
    :param extras: of the wheel, as in the settings.
    :param project: the directory of the project.
    :param test_timeout: as in the settings, and the same for the scale.
    """

    environment: Path
    sites: tuple[Path, ...]
    interpreter: tuple[Path, ...]
    extras: tuple[str, ...]
    project: Path
    test_timeout: float
    timeout_scale: float


#: Each import of a large package maps the same hundreds of files.
_real = lru_cache(maxsize=1 << 16)(os.path.realpath)


def is_inside(file: str, directories: Iterable[Path]) -> bool:
    """Return whether a file is below one of several directories. What a link points to is looked up once."""
    real = _real(file)
    return any(real.startswith(_real(str(directory)) + os.sep) for directory in directories)


#: The files that were read, by path; ``None`` for one that is no ELF file.
_headers: dict[str, ElfHeader | None] = {}


def _read_files(paths: Iterable[str]) -> None:
    """Read the headers of shared objects that were not read before, at once.

    :raises ProcessError: a file makes the parser die.
    """
    if unread := [path for path in dict.fromkeys(paths) if path not in _headers]:
        # Files of wheels may be hostile, so they are not read in this process.
        found = read_headers(unread)
        _headers.update({path: found.get(os.path.abspath(path)) for path in unread})  # noqa: PTH100


def _soname(path: str) -> str:
    """Return the name of a shared object for the linker."""
    header = _headers[path]
    return (header.name if header else "") or Path(path).name


def _needed(path: str) -> tuple[str, ...]:
    """Return the libraries that a shared object needs. Any other file needs none."""
    header = _headers[path]
    return header.needed if header else ()


def files_that_need(library: str, paths: Iterable[str]) -> list[str]:
    """Return the shared objects that name a library as needed.

    :raises ProcessError: a file makes the parser die.
    """
    listed = list(paths)
    _read_files(listed)
    return [path for path in listed if library in _needed(path)]


@lru_cache(maxsize=64)
def allowed_libraries(tags: tuple[str, ...], platform: Platform) -> frozenset[str] | None:
    """Return the system libraries that a wheel's platform tags allow, from auditwheel's policies.

    :param tags: all platform tags of the wheel.
    :returns: sonames; ``None`` where the tag promises nothing (``linux_*``) or is not a Linux tag.
    """
    linux = [tag for tag in tags if tag.startswith(("manylinux", "musllinux"))]
    if not platform.is_linux or not linux:
        return None
    from auditwheel.architecture import Architecture
    from auditwheel.libc import Libc
    from auditwheel.policy import WheelPolicies

    try:
        policies = WheelPolicies(
            libc=Libc.MUSL if platform.libc == "musl" else Libc.GLIBC, arch=Architecture(platform.architecture)
        )
    except ValueError:
        return None
    names: set[str] = set()
    for policy in policies:
        if policy.name in linux or set(policy.aliases) & set(linux):
            names |= set(policy.whitelist)
    if not names:
        # A tag newer than auditwheel's table: the newest policy it knows.
        names = set().union(*(policy.whitelist for policy in policies))
    return frozenset(names)


def disallowed_libraries(
    result: Mapping[str, Any], target: Target, context: ImportContext
) -> Iterator[tuple[str, bool]]:
    """Yield a problem for each system library that an import maps and the wheel's tag does not allow.

    :param result: an ``imported`` message.
    :returns: each with whether a file names the library as needed (``DT_NEEDED``). A library that is only opened by name
        (``dlopen``) may be optional: Pillow uses libfribidi where a system has it.
    :raises ProcessError: a file makes the parser die.
    """
    allowed = allowed_libraries(target.wheel.platforms, target.runtime.platform)
    if allowed is None:
        return
    mapped = [path for path in result["mapped"] if _is_library(path)]
    before = [path for path in result["before"] if _is_library(path)]
    if not _headers.keys() >= {*mapped, *before}:
        # The modules of the wheel are read at once, although each is mapped by its own import.
        paths = (os.path.join(site, name) for site in context.sites for name in target.wheel.files if _is_library(name))  # noqa: PTH118
        _read_files((*mapped, *before, *filter(os.path.isfile, paths)))
    inside = {path: None for path in mapped if is_inside(path, (context.environment,))}
    outside = [path for path in mapped if path not in inside]
    by_name = {_soname(path): path for path in (*before, *mapped)}
    # What the interpreter's own modules pull in is theirs, and so is what an allowed library needs.
    accepted = set(before) | {path for path in outside if is_inside(path, context.interpreter)}
    accepted |= {path for path in outside if _soname(path) in allowed}
    accepted |= {path for path in outside if Path(path).name.startswith(_LIBC_PLUGINS) or "/gconv/" in path}
    todo = list(accepted)
    while todo:
        for name in _needed(todo.pop()):
            path = by_name.get(name)
            if path is not None and path not in accepted and path in outside:
                accepted.add(path)
                todo.append(path)
    # What a file of the environment names itself is its own need, also where the interpreter happens to have it.
    named = {name for path in inside for name in _needed(path)}
    needed = _needed_by(inside, by_name)
    # The interpreter may have loaded a library of the same name first; the wheel has its own for where it has not.
    bundled = {path.rpartition("/")[2] for path in target.wheel.files}
    for path in (*outside, *before):
        soname = _soname(path)
        if soname in bundled or Path(path).name in bundled:
            continue
        wanted = soname in named and soname not in allowed and not soname.startswith((*_LIBC_PLUGINS, "libpython"))
        if path in accepted and not wanted:
            continue
        users = sorted(Path(other).name for other in mapped if other != path and soname in _needed(other))
        by = f", needed by {', '.join(users)}" if users else ""
        tag = next(tag for tag in target.wheel.platforms if tag.startswith(("manylinux", "musllinux")))
        message = f"the import maps {path}{by}: the tag {tag} does not allow the library {soname}\n"
        if path in needed:
            message += (
                "Cause: it was not copied into the wheel, and works here only because this system has it\n"
                "Fix: let auditwheel repair (or maturin --auditwheel=repair) bundle it, or link it statically"
            )
        else:
            message += (
                "Cause: native code opened it by name (dlopen), and this system has it\n"
                "Fix: if the module does not work without it, bundle it"
            )
        yield message, path in needed


def _needed_by(files: Iterable[str], by_name: Mapping[str, str]) -> set[str]:
    """Return the files that the loader maps for *files*, directly or not."""
    found: set[str] = set()
    todo = list(files)
    while todo:
        for name in _needed(todo.pop()):
            path = by_name.get(name)
            if path is not None and path not in found:
                found.add(path)
                todo.append(path)
    return found


def _is_library(path: str) -> bool:
    return re.search(r"\.so(\.|$)", path.rpartition("/")[2]) is not None
