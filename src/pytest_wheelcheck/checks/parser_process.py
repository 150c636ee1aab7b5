"""The program that :mod:`~pytest_wheelcheck.checks.parser_client` runs: the parsers of other projects.

``python -m pytest_wheelcheck.checks.parser_process TASK WHEEL INPUT ANSWER``, where TASK is ``binaries``, ``delocate``,
``rendering``, or ``policies``. The input of the last is ``LIBC:ARCHITECTURE`` for each of them.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
import io
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_wheelcheck.checks.parser_client import may_be_native
from pytest_wheelcheck.wheels.binary import Binary, glibc_symbols
from pytest_wheelcheck.wheels.binary_reader import exports_of_binary
from pytest_wheelcheck.wheels.bounded_process import MAX_BINARY, main, open_container, read_member
from pytest_wheelcheck.wheels.container import Container
from pytest_wheelcheck.wheels.dist_info import find_dist_info, read_metadata
from pytest_wheelcheck.wheels.reader import installed_files

#: Where a wheel has the files of purelib if that is not its root, and where the copy for auditwheel has them.
_PURELIB = re.compile(r"^([^/]*)\.data/purelib/")
_MOVED = ".data/platlib/from-purelib/"


def run_task(task: str, wheel: str, arguments: list[str]) -> list[Any]:
    """Do one task and return its answer."""
    container = open_container(wheel)
    if task == "binaries":
        digests: dict[str, str] = {}
        binaries = drop_resolved_symbols(container, list(find_binaries(container, digests)))
        return [[dataclasses.asdict(binary) for binary in binaries], digests]
    if task == "delocate":
        return list(_analyze_with_delocate(container, Path.cwd().resolve()))
    if task == "rendering":
        return [_render_description(container)]
    return [_analyze_policies(Path(wheel), *pair.split(":")) for pair in arguments]


def _render_description(container: Container) -> str:
    """Render a description like the package index, and return the renderer's errors."""
    import io

    from readme_renderer import rst

    metadata_file = next(member for member in container.files if member.name.endswith(".dist-info/METADATA"))
    metadata = read_metadata(container, metadata_file.name.removesuffix("/METADATA"))
    log = io.StringIO()
    if rst.render(metadata.get("description", ""), stream=log) is not None:
        return ""
    prefix = "<string>:"
    lines = [line.removeprefix(prefix) for line in log.getvalue().splitlines() if line.startswith(prefix)]
    return "the description cannot be rendered" + "".join(f"; line {line}" for line in lines[:5])


def find_binaries(container: Container, digests: dict[str, str]) -> Iterator[Binary]:
    """Read all native files. An exception of a library becomes the error of that file.

    :param digests: gets the hexadecimal sha256 of each file that could be unpacked, so that it is unpacked only once.
    """
    for member in container.files:
        if may_be_native(member):

            def keep_digest(data: bytes, name: str = member.name) -> None:
                digests[name] = hashlib.sha256(data).hexdigest()

            yield from read_member(container, member, keep_digest)


def drop_resolved_symbols(container: Container, binaries: list[Binary]) -> Iterator[Binary]:
    """Remove the undefined symbols that the C library or another file of the wheel defines."""
    system = {"ELF": glibc_symbols(), "Mach-O": frozenset[str](), "PE": frozenset[str]()}
    missing = {name for binary in binaries for name in binary.undefined if name not in system[binary.format]}
    defined: set[str] = set()
    # Libraries that a repair tool bundled come first: they define nearly all.
    paths = sorted(
        {binary.path for binary in binaries if not binary.error}, key=lambda path: (not _is_bundled(path), path)
    )
    for path in paths:
        member = container.find(path)
        if not missing:
            break
        if member is not None:
            exported = exports_of_binary(container.read(member, limit=MAX_BINARY), frozenset(missing))
            defined |= exported
            missing -= exported
    for binary in binaries:
        known = system[binary.format] | defined
        yield dataclasses.replace(binary, undefined=tuple(name for name in binary.undefined if name not in known))


def _is_bundled(path: str) -> bool:
    return any(part.endswith(".libs") or part == ".dylibs" for part in path.split("/"))


def _analyze_with_delocate(container: Container, directory: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Unpack all Mach-O files as they are installed, and run delocate on each.

    :param directory: an empty directory, absolute and without links.
    """
    for variable in [name for name in os.environ if name.startswith("DYLD_")]:
        del os.environ[variable]  # delocate would search these directories of this host
    dist_info = find_dist_info(container, shown=container.path.name)
    installed = installed_files(container, dist_info.removesuffix(".dist-info") + ".data")
    paths = {member.name: Path("site-packages", path) for path, member in installed.items()}
    unpacked: dict[str, Path] = {}
    for binary in find_binaries(container, {}):
        if binary.format == "Mach-O" and not binary.error and binary.path not in unpacked:
            path = directory / paths.get(binary.path, Path("other", binary.path))
            path.parent.mkdir(parents=True, exist_ok=True)
            member = container.find(binary.path)
            path.write_bytes(container.read(member, limit=MAX_BINARY) if member else b"")
            unpacked[binary.path] = path
    for name, path in unpacked.items():
        if (answer := _delocated_file(path, directory)) is not None:
            yield name, answer


def _delocated_file(path: Path, root: Path) -> dict[str, Any] | None:
    from delocate import delocating
    from delocate.libsana import get_dependencies
    from delocate.tools import get_archs

    # delocate has no public function for minimum versions. If this one disappears, our reader's values are used.
    read_versions = getattr(delocating, "_get_macos_min_version", lambda _: ())
    unresolved = {}
    try:
        for dependency, install_name in get_dependencies(path, executable_path=path.parent):
            is_resolved = dependency is not None and (
                not delocating.filter_system_libs(dependency) or Path(dependency).is_relative_to(root)
            )
            if not is_resolved:
                unresolved[install_name] = dependency or ""
        return {
            "architectures": sorted(get_archs(os.fspath(path))),
            "minimum_versions": {machine.lower(): str(version) for machine, version in read_versions(path)},
            "unresolved": unresolved,
        }
    except Exception as error:  # noqa: BLE001 - otool refuses some files that our reader reads; then its values are used
        sys.stderr.write(f"delocate cannot read {path}: {error}\n")
        return None


def _analyze_policies(wheel: Path, libc: str, architecture: str) -> dict[str, Any]:
    from auditwheel import elfutils
    from auditwheel.architecture import Architecture
    from auditwheel.error import NonPlatformWheelError
    from auditwheel.libc import Libc
    from auditwheel.wheel_abi import analyze_wheel_abi

    if not hasattr(elfutils.get_undefined_symbols, "cache_info"):
        # auditwheel 6.8 reads all symbols of a file once for each policy, which takes minutes for a large program.
        elfutils.get_undefined_symbols = functools.cache(elfutils.get_undefined_symbols)
    answer: dict[str, Any] = {"libc": libc, "architecture": architecture}
    if architecture not in {member.value for member in Architecture}:
        return {**answer, "unavailable": f"auditwheel does not support {architecture}"}
    # maturin links musllinux wheels against libc.so, the name in musl's own linker script.
    exclude = frozenset({"libc.so"} if libc == "musl" else ())
    if not _record_is_complete(wheel) and (copy := _copy_for_auditwheel(wheel)) is not None:
        # auditwheel reads the files that RECORD lists, and no others; but all of them are installed.
        return _analyze_policies(copy, libc, architecture)
    try:
        analysis = analyze_wheel_abi(
            Libc.MUSL if libc == "musl" else Libc.GLIBC,
            Architecture(architecture),
            wheel,
            exclude,
            disable_isa_ext_check=False,
            allow_graft=False,
            args_ldpaths="",  # otherwise it searches the libraries of this host
        )
    except NonPlatformWheelError as error:
        return {**answer, "unavailable": " ".join(str(error).split())}
    except (RuntimeError, FileNotFoundError):
        # auditwheel refuses native files in .data/purelib, and stops at a file that only RECORD has. Other checks report both;
        # the files install all the same, and need what they need.
        if (copy := _copy_for_auditwheel(wheel)) is None:
            raise
        return _analyze_policies(copy, libc, architecture)
    return {
        **answer,
        "best": analysis.overall_policy.name,
        "best_for_instructions": analysis.machine_policy.name,
        "policies": [_policy(analysis, policy) for policy in analysis.policies],
    }


def _record_is_complete(wheel: Path) -> bool:
    """Whether RECORD lists every file of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = {member.filename for member in archive.infolist() if not member.is_dir()}
        record = next((name for name in names if name.endswith(".dist-info/RECORD")), None)
        if record is None:
            return False
        text = archive.read(record).decode("utf-8", "replace")
    return names <= {row[0] for row in csv.reader(io.StringIO(text)) if row}


def _copy_for_auditwheel(wheel: Path) -> Path | None:
    """Copy a wheel with its purelib directory as a second platlib, and with a RECORD that lists the files which it has.

    :returns: ``None`` if *wheel* is such a copy.
    """
    copy = Path("copy", wheel.name).resolve()
    if copy == wheel:
        return None
    copy.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(copy, "w") as target:
        names = {
            member: _PURELIB.sub(rf"\1{_MOVED}", member.filename) for member in source.infolist() if not member.is_dir()
        }
        for member, name in names.items():
            with source.open(member) as reader, target.open(name, "w", force_zip64=True) as writer:
                if name.endswith(".dist-info/RECORD"):  # auditwheel reads the files that it lists
                    text = io.StringIO()
                    csv.writer(text).writerows((each, "", "") for each in names.values())
                    writer.write(text.getvalue().encode("utf-8"))
                else:
                    shutil.copyfileobj(reader, writer, 1 << 20)
    return copy


def _policy(analysis: Any, policy: Any) -> dict[str, Any]:
    return {
        "name": policy.name,
        "aliases": policy.aliases,
        "priority": policy.priority,
        "versions": {
            prefix: sorted(f"{prefix}_{number}" for number in numbers)
            for prefix, numbers in policy.symbol_versions.items()
        },
        "libraries": sorted(
            (path.as_posix().replace(_MOVED, ".data/purelib/"), library)
            for path, references in analysis.full_external_refs.items()
            for library in references[policy.name].libs
        ),
        "symbols": sorted(
            (library, symbol)
            for library, symbols in analysis.external_refs[policy.name].blacklist.items()
            for symbol in symbols
        ),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], run_task))
