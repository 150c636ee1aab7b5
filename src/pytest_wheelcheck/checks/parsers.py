"""The parsers of others as a program, which :mod:`~pytest_wheelcheck.checks.child` runs.

``python -m pytest_wheelcheck.checks.parsers binaries WHEEL ANSWER``
``python -m pytest_wheelcheck.checks.parsers rendering WHEEL ANSWER``
``python -m pytest_wheelcheck.checks.parsers audit WHEEL ANSWER LIBC:ARCHITECTURE…``
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pytest_wheelcheck.checks.child import NOT_INSTALLED, may_be_native
from pytest_wheelcheck.errors import WheelError
from pytest_wheelcheck.wheels.archive import Archive, Entry, inspect
from pytest_wheelcheck.wheels.binary import Binary, exports, format_of, glibc_symbols, read
from pytest_wheelcheck.wheels.reader import MAX_TEXT

#: Bytes of memory that the parsers may take for any wheel, and for each unpacked byte of it on top.
MEMORY, MEMORY_PER_BYTE = 2 << 30, 3
#: Bytes of one native file that are read.
_MAX_BINARY = 4 << 30


def main(arguments: Sequence[str]) -> int:
    """Answer one question; the arguments are those of the module's docstring."""
    try:
        return answer(*arguments)
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        return NOT_INSTALLED


def answer(what: str, wheel: str, place: str, *more: str) -> int:
    """Answer one question."""
    archive = inspect(Path(wheel))
    bound_memory(MEMORY + MEMORY_PER_BYTE * sum(entry.size for entry in archive.entries))
    if what == "binaries":
        digests: dict[str, str] = {}
        found = resolve(archive, list(find_binaries(archive, digests)))
        said: list[Any] = [[dataclasses.asdict(binary) for binary in found], digests]
    elif what == "rendering":
        said = [_render(archive)]
    else:
        said = [_audit(Path(wheel), *pair.split(":")) for pair in more]
    side = Path(place).with_suffix(".part")
    side.write_text(json.dumps(said), "utf-8")
    side.replace(place)
    return 0


def _render(archive: Archive) -> str:
    """Render a description as the package index does, and tell what the renderer complains of."""
    import io

    from packaging.metadata import parse_email
    from readme_renderer import rst

    entry = next(entry for entry in archive.files if entry.name.endswith(".dist-info/METADATA"))
    text = parse_email(archive.read(entry, limit=MAX_TEXT))[0].get("description", "")
    said = io.StringIO()
    if rst.render(text, stream=said) is not None:
        return ""
    lines = [line.removeprefix("<string>:") for line in said.getvalue().splitlines() if line.startswith("<string>:")]
    return "the description cannot be rendered" + "".join(f"; line {line}" for line in lines[:5])


def bound_memory(limit: int) -> None:
    """Have the system refuse this process more than so many bytes of memory, where it can."""
    if sys.platform != "win32":
        import resource  # Unix only

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def find_binaries(archive: Archive, digests: dict[str, str]) -> Iterator[Binary]:
    """Read every native file; what a library raises becomes part of that file's value.

    :param digests: gets the sha256 of each that could be unpacked, hexadecimal, so that nobody need unpack it again.
    """
    for entry in archive.files:
        if not may_be_native(entry):
            continue
        head = archive.head(entry, 8)
        if kind := format_of(head):
            yield from _read(archive, entry, kind, digests)


def resolve(archive: Archive, binaries: list[Binary]) -> Iterator[Binary]:
    """Take out of each file's undefined symbols those that the C library or another file of the wheel defines."""
    own = {"ELF": glibc_symbols(), "Mach-O": frozenset[str](), "PE": frozenset[str]()}
    left = {name for binary in binaries for name in binary.undefined if name not in own[binary.format]}
    defined: set[str] = set()
    # Libraries that a repair tool bundled come first: they hold nearly all.
    paths = sorted(
        {binary.path for binary in binaries if not binary.broken}, key=lambda path: (not _bundled(path), path)
    )
    for path in paths:
        entry = archive.find(path)
        if not left:
            break
        if entry is not None:
            found = exports(archive.read(entry, limit=_MAX_BINARY), frozenset(left))
            defined |= found
            left -= found
    for binary in binaries:
        known = own[binary.format]
        names = tuple(name for name in binary.undefined if name not in known and name not in defined)
        yield dataclasses.replace(binary, undefined=names)


def _bundled(path: str) -> bool:
    return any(part.endswith(".libs") or part == ".dylibs" for part in path.split("/"))


def _read(archive: Archive, entry: Entry, kind: str, digests: dict[str, str]) -> Iterable[Binary]:
    try:
        data = archive.read(entry, limit=_MAX_BINARY)
        digests[entry.name] = hashlib.sha256(data).hexdigest()
        return read(entry.name, data)
    except WheelError as error:
        reason = error.message
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
