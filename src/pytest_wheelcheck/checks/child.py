"""Runs the parsers of others in a process that may die.

A malformed file makes pyelftools, macholib, pefile and auditwheel raise, loop or take all memory, and auditwheel
changes the working directory. So they run here: with a deadline, a bound on memory, in a folder of their own. The
answer is a file of JSON that is written at the very end; whatever goes wrong before leaves none, which is an error of
the check, never a pass.

``python -m pytest_wheelcheck.checks.child binaries WHEEL ANSWER``
``python -m pytest_wheelcheck.checks.child audit WHEEL ANSWER LIBC:ARCHITECTURE…``
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pytest_wheelcheck import process
from pytest_wheelcheck.archive import Archive, Entry, inspect
from pytest_wheelcheck.binaries import Binary, format_of, read
from pytest_wheelcheck.errors import ProcessError, WheelcheckError, WheelError
from pytest_wheelcheck.model import Wheel

from .audit import Audit, Policy, Verdict, platform_parts

#: Seconds that a parser may take for any wheel, and for each MiB of it on top.
DEADLINE, DEADLINE_PER_MIB = 60.0, 3.0
#: Bytes of memory that it may take for any wheel, and for each unpacked byte of it on top.
MEMORY, MEMORY_PER_BYTE = 2 << 30, 3
#: Files with these endings are never native, and are not looked into.
_TEXT = (
    ".py",
    ".pyi",
    ".pyc",
    ".pyx",
    ".pxd",
    ".txt",
    ".md",
    ".rst",
    ".json",
    ".html",
    ".css",
    ".js",
    ".svg",
    ".xml",
    ".h",
    ".hpp",
    ".hxx",
    ".cuh",
    ".c",
    ".cpp",
)
#: Bytes of one native file that are read.
_MAX_BINARY = 4 << 30


class ImpossibleHereError(WheelcheckError):
    """A check that this host cannot make by nature."""


def read_binaries(path: Path) -> tuple[Binary, ...]:
    """Read every native file of a wheel, in a child process.

    :raises ProcessError: the reader died or outlived its deadline.
    """
    return tuple(Binary(**{key: _frozen(value) for key, value in item.items()}) for item in _ask("binaries", path))


def read_audit(path: Path, wheel: Wheel) -> Audit:
    """Ask auditwheel about every C library and architecture that a wheel's tags name, in a child process.

    :raises ImpossibleHereError: on Windows, where auditwheel cannot be installed.
    :raises ProcessError: auditwheel is not installed, raised, died, or outlived its deadline.
    """
    if sys.platform == "win32":
        raise ImpossibleHereError(
            "auditwheel judges this, and cannot be installed on Windows",
            advice="judge the wheels for Linux on Linux or macOS, and merge the reports with `wheelcheck merge`",
        )
    parts = filter(None, map(platform_parts, wheel.platforms))
    wanted = [f"{libc}:{architecture}" for libc, architecture in dict.fromkeys(parts)]
    return Audit(verdicts=tuple(_verdict(item) for item in _ask("audit", path, *wanted)))


def _verdict(item: dict[str, Any]) -> Verdict:
    policies = tuple(
        Policy(
            name=policy["name"],
            aliases=tuple(policy["aliases"]),
            priority=policy["priority"],
            versions={key: tuple(value) for key, value in policy["versions"].items()},
            libraries=_frozen(policy["libraries"]),
            symbols=_frozen(policy["symbols"]),
        )
        for policy in item.pop("policies", [])
    )
    return Verdict(policies=policies, **item)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _ask(what: str, path: Path, *more: str) -> list[Any]:
    """Run this file as a program and return its answer."""
    with tempfile.TemporaryDirectory(prefix="wheelcheck-") as folder:
        reply = Path(folder, "answer.json")
        home = Path(folder, "work")
        home.mkdir()
        done = process.run(
            [sys.executable, "-m", __name__, what, os.path.abspath(path), reply, *more],  # noqa: PTH100
            env=_environment(home),
            cwd=home,
            timeout=DEADLINE + DEADLINE_PER_MIB * (path.stat().st_size >> 20),
            check=False,
        )
        if done.code == 0 and reply.is_file():
            said: list[Any] = json.loads(reply.read_text("utf-8"))
            return said
    raise ProcessError(
        f"{path.name} could not be looked into: the reader ended with {process.describe_status(done.code)}",
        cause="a file in the wheel is malformed in a way that the reading library does not survive"
        if done.code != _NOT_INSTALLED
        else "a library that the check needs is not installed on this system",
        details=done.stderr or done.stdout,
    )


_NOT_INSTALLED = 3


def _environment(home: Path) -> dict[str, str]:
    """Give the child this process's import path, but never the working directory of a run as part of it."""
    environment = dict(os.environ)
    for name in ("PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONWARNINGS", "PYTHONDEVMODE"):
        environment.pop(name, None)
    places = [os.path.abspath(place) for place in sys.path if place]  # noqa: PTH100 - zip files are kept as they are
    environment |= {"PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8"}
    return environment | {"TMPDIR": os.fspath(home), "TEMP": os.fspath(home), "TMP": os.fspath(home)}


# What runs in the child -----------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Answer one question; the arguments are those of the module's docstring."""
    try:
        return answer(*arguments)
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        return _NOT_INSTALLED


def answer(what: str, wheel: str, place: str, *more: str) -> int:
    """Answer one question."""
    archive = inspect(Path(wheel))
    bound_memory(MEMORY + MEMORY_PER_BYTE * sum(entry.size for entry in archive.entries))
    if what == "binaries":
        said: list[Any] = [dataclasses.asdict(binary) for binary in find_binaries(archive)]
    else:
        said = [_audit(Path(wheel), *pair.split(":")) for pair in more]
    side = Path(place).with_suffix(".part")
    side.write_text(json.dumps(said), "utf-8")
    side.replace(place)
    return 0


def bound_memory(limit: int) -> None:
    """Have the system refuse this process more than so many bytes of memory, where it can."""
    if sys.platform != "win32":
        import resource  # Unix only

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def find_binaries(archive: Archive) -> Iterator[Binary]:
    """Read every native file; what a library raises becomes part of that file's value."""
    for entry in archive.files:
        if entry.name.endswith(_TEXT) or entry.size < 16:
            continue
        head = archive.head(entry, 8)
        if kind := format_of(head):
            yield from _read(archive, entry, kind)


def _read(archive: Archive, entry: Entry, kind: str) -> Iterable[Binary]:
    try:
        return read(entry.name, archive.read(entry, limit=_MAX_BINARY))
    except WheelError as error:
        reason = error.what
    except ImportError:
        raise  # not the file's fault
    except Exception as error:  # noqa: BLE001 - the libraries raise anything on malformed files; told as a finding
        reason = f"{type(error).__name__}: {error}"
    return (Binary(path=entry.name, format=kind, broken=" ".join(reason.split())[:500] or "unreadable"),)


def _audit(wheel: Path, libc: str, architecture: str) -> dict[str, Any]:
    from auditwheel.architecture import Architecture
    from auditwheel.error import NonPlatformWheelError
    from auditwheel.libc import Libc
    from auditwheel.wheel_abi import analyze_wheel_abi

    known = {member.value for member in Architecture}
    if architecture not in known:
        return {"libc": libc, "architecture": architecture, "nothing": f"auditwheel knows no {architecture}"}
    # maturin links musllinux wheels against libc.so, the name that musl's own linker script has.
    exclude = frozenset({"libc.so"} if libc == "musl" else ())
    try:
        found = analyze_wheel_abi(
            Libc.MUSL if libc == "musl" else Libc.GLIBC,
            Architecture(architecture),
            wheel,
            exclude,
            disable_isa_ext_check=False,
            allow_graft=False,
            args_ldpaths="",  # else it searches the libraries of this host
        )
    except NonPlatformWheelError as error:
        return {"libc": libc, "architecture": architecture, "nothing": " ".join(str(error).split())}
    return {
        "libc": libc,
        "architecture": architecture,
        "overall": found.overall_policy.name,
        "machine": found.machine_policy.name,
        "policies": [_policy(found, policy) for policy in found.policies],
    }


def _policy(found: Any, policy: Any) -> dict[str, Any]:
    libraries = sorted(
        (path.as_posix(), library)
        for path, references in found.full_external_refs.items()
        for library in references[policy.name].libs
    )
    return {
        "name": policy.name,
        "aliases": policy.aliases,
        "priority": policy.priority,
        "versions": {
            key: sorted(f"{key}_{version}" for version in all_) for key, all_ in policy.symbol_versions.items()
        },
        "libraries": libraries,
        "symbols": sorted(
            (library, symbol)
            for library, symbols in found.external_refs[policy.name].blacklist.items()
            for symbol in symbols
        ),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
