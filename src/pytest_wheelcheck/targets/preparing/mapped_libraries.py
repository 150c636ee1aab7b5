"""System libraries that an import maps into the process, compared with those that the wheel's tag allows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pytest_wheelcheck.model import Platform, Wheel
from pytest_wheelcheck.targets.target import Target

#: Libraries that the C library itself loads by name, to look up users and hosts.
_LIBC_PLUGINS = ("libnss_", "ld-linux", "ld-musl", "ld64.so", "libc.so", "libc.musl-", "linux-vdso")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportContext:
    """Where the files of a target are.

    :param environment: root of the virtual environment.
    :param sites: its directories of installed modules.
    :param interpreter: directories of the interpreter itself.
    """

    environment: Path
    sites: tuple[Path, ...]
    interpreter: tuple[Path, ...]


def is_inside(file: str, directories: Iterable[Path]) -> bool:
    """Return whether a file is below one of several directories."""
    real = os.path.realpath(file)
    return any(real.startswith(os.path.realpath(directory) + os.sep) for directory in directories)


@dataclass(frozen=True, slots=True)
class _Library:
    soname: str
    needed: tuple[str, ...]


@lru_cache(maxsize=1024)
def _read_elf(path: str) -> _Library:
    """Read the name and needs of a shared object. Any other file has no needs, and its file name as name."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile

    soname, needed = Path(path).name, []
    try:
        with Path(path).open("rb") as file:
            section = ELFFile(file).get_section_by_name(".dynamic")
            if isinstance(section, DynamicSection):
                for tag in section.iter_tags():
                    if tag.entry.d_tag == "DT_NEEDED":
                        needed.append(str(getattr(tag, "needed", "")))
                    elif tag.entry.d_tag == "DT_SONAME":
                        soname = str(getattr(tag, "soname", soname))
    except (OSError, ELFError, ValueError, KeyError, AttributeError):
        pass
    return _Library(soname, tuple(needed))


def allowed_libraries(wheel: Wheel, platform: Platform) -> frozenset[str] | None:
    """Return the system libraries that the wheel's platform tag allows, from auditwheel's policies.

    :returns: sonames; ``None`` where the tag promises nothing (``linux_*``) or is not a Linux tag.
    """
    tags = [tag for tag in wheel.platforms if tag.startswith(("manylinux", "musllinux"))]
    if not platform.is_linux or not tags:
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
        if policy.name in tags or set(policy.aliases) & set(tags):
            names |= set(policy.whitelist)
    if not names:
        # A tag newer than auditwheel's table: the newest policy it knows.
        names = set().union(*(policy.whitelist for policy in policies))
    return frozenset(names)


def disallowed_libraries(result: Mapping[str, Any], target: Target, context: ImportContext) -> Iterator[str]:
    """Yield a problem for each system library that an import maps and the wheel's tag does not allow.

    :param result: an ``imported`` message.
    """
    allowed = allowed_libraries(target.wheel, target.runtime.platform)
    if allowed is None:
        return
    mapped = [path for path in result["mapped"] if _is_library(path)]
    before = [path for path in result["before"] if _is_library(path)]
    outside = [path for path in mapped if not is_inside(path, (context.environment,))]
    by_name = {_read_elf(path).soname: path for path in (*before, *mapped)}
    # What the interpreter's own modules pull in is theirs, and so is what an allowed library needs.
    accepted = set(before) | {path for path in outside if is_inside(path, context.interpreter)}
    accepted |= {path for path in outside if _read_elf(path).soname in allowed}
    accepted |= {path for path in outside if Path(path).name.startswith(_LIBC_PLUGINS) or "/gconv/" in path}
    todo = list(accepted)
    while todo:
        for name in _read_elf(todo.pop()).needed:
            path = by_name.get(name)
            if path is not None and path not in accepted and path in outside:
                accepted.add(path)
                todo.append(path)
    # What a file of the environment names itself is its own need, also where the interpreter happens to have it.
    named = {name for path in mapped if is_inside(path, (context.environment,)) for name in _read_elf(path).needed}
    for path in (*outside, *before):
        soname = _read_elf(path).soname
        wanted = soname in named and soname not in allowed and not soname.startswith((*_LIBC_PLUGINS, "libpython"))
        if path in accepted and not wanted:
            continue
        users = sorted(Path(other).name for other in mapped if other != path and soname in _read_elf(other).needed)
        by = f", needed by {', '.join(users)}" if users else ""
        tag = next(tag for tag in target.wheel.platforms if tag.startswith(("manylinux", "musllinux")))
        yield (
            f"the import maps {path}{by}: the tag {tag} does not allow the library {soname}\n"
            "Cause: it was not copied into the wheel, and works here only because this system has it\n"
            "Fix: let auditwheel repair (or maturin --auditwheel=repair) bundle it, or link it statically"
        )


def _is_library(path: str) -> bool:
    return re.search(r"\.so(\.|$)", Path(path).name) is not None
