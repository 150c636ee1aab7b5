"""System libraries that wheels may use, downloaded if one does: libGL, libX11, glib and others.

The manylinux policies list them (PEP 513, PEP 571, PEP 599; auditwheel's ``manylinux-policy.json``): a wheel may need them
without containing them. The roots in the cache have those that need no window system. The others come from packages of the
suite that the root's C library came from, with the libraries that they need, but without other dependencies such as
drivers. The root itself is not changed: an extended root in the cache leads to it, and has more libraries in its library
directory.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters import roots
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, Architecture
from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.model import Installation
from pytest_wheelcheck.setting_lines import value_line
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.system.progress import step
from pytest_wheelcheck.wheels.bounded import read_headers

#: Increase when the extended roots change.
_GENERATION = 2

#: The libraries that the policies allow and a root may lack. Those of the C library and the compilers are in every root.
ALLOWED = frozenset(
    {
        "libGL.so.1",
        "libICE.so.6",
        "libSM.so.6",
        "libX11.so.6",
        "libXext.so.6",
        "libXrender.so.1",
        "libatomic.so.1",
        "libcrypt.so.1",
        "libexpat.so.1",
        "libgcc_s.so.1",
        "libglib-2.0.so.0",
        "libgobject-2.0.so.0",
        "libgthread-2.0.so.0",
        "libncursesw.so.5",
        "libnsl.so.1",
        "libpanelw.so.5",
        "libstdc++.so.6",
        "libz.so.1",
    }
)

#: The packages of libraries whose names do not follow Debian's rule.
_PACKAGES = {
    "libBLT.2.5.so.8.6": "tk8.6-blt2.5",
    "libGLdispatch.so.0": "libglvnd0",
    "libbrotlicommon.so.1": "libbrotli1",
    "libbrotlidec.so.1": "libbrotli1",
    "libgio-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgmodule-2.0.so.0": "libglib2.0-0",
    "libgobject-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libgcc_s.so.1": "libgcc-s1",
    "libncursesw.so.5": "libncursesw5",
    "libpanelw.so.5": "libncursesw5",
    "libz.so.1": "zlib1g",
}

#: How often the needs of downloaded libraries are downloaded in turn.
_ROUNDS = 8

_SONAME = re.compile(r"(lib.+?)\.so(?:\.([\w.]+))?")


def package_names(soname: str) -> tuple[str, ...]:
    """Return the names that Debian may give the package of a library (Debian Policy, 8.1 "Run-time shared libraries").

    Since Debian 13, the names end in ``t64`` if the size of ``time_t`` changed the ABI.

    >>> package_names("libX11.so.6")
    ('libx11-6', 'libx11-6t64')
    >>> package_names("libtk8.6.so")
    ('libtk8.6', 'libtk8.6t64')
    """
    name = _PACKAGES.get(soname)
    if name is None:
        match = _SONAME.fullmatch(soname)
        if match is None:
            return ()
        stem = match[1].lower().replace("_", "-")
        name = f"{stem}{'-' if stem[-1].isdigit() else ''}{match[2]}" if match[2] else stem
    return name, f"{name}t64"


def missing_libraries(directories: Iterable[Path], installation: Installation) -> frozenset[str]:
    """Return the allowed libraries that installed files need and the installation's root lacks.

    :param directories: those of the files.
    :param installation: if it is not extensible, nothing is missing: its root is the user's or the host's.
    :raises ProcessError: a file makes the parser die.
    """
    root = installation.root
    if not installation.extensible or root is None or installation.platform.libc != "glibc":
        return frozenset()
    files = [file for directory in directories for file in _elf_files(directory)]
    contained = {file.name for file in files}
    # Files of wheels may be hostile, so they are not read in this process. A damaged file is reported elsewhere.
    names = {name for header in read_headers(files).values() for name in header.needed}
    present = _library_directories(root, ARCHITECTURES[installation.platform.architecture])
    return frozenset(name for name in (names & ALLOWED) - contained if not _is_in(name, present))


def extend(installation: Installation, sonames: frozenset[str], *, offline: bool = False) -> Installation:
    """Return the installation with more libraries: the same program with an extended root.

    :param sonames: names as :func:`missing_libraries` returns them.
    :param offline: download nothing.
    :raises RuntimeUnavailableError: they are not available.
    """
    root = installation.root
    assert root is not None  # noqa: S101  see missing_libraries()
    architecture = ARCHITECTURES[installation.platform.architecture]
    listed = ", ".join(sorted(sonames))
    repository, suite = origin(root)
    key = f"roots/with-{architecture.name}-{suite}-{cache.digest(str(_GENERATION), str(root), listed)}"

    def make(side: Path) -> None:
        if offline:
            raise RuntimeUnavailableError(
                f"{listed} for {architecture.name} is not in the cache, and this run is offline",
                fix="run once without --wheel-offline",
            )
        with step(f"{listed} for {architecture.name} from {suite}", side):
            _download(repository, suite, architecture, sonames, root, side / "libraries")
            _make_root(root, side, cache.path(key), architecture)
            apt.write_origin(side, repository, suite)

    return replace(installation, root=cache.provision(key, make) / "root")


def extend_for(files: Iterable[Path], installation: Installation, *, offline: bool = False) -> Installation:
    """Return the installation with the libraries that modules of the same suite need, and that its root lacks.

    :param files: the modules.
    :param offline: download nothing.
    :raises RuntimeUnavailableError: they are not available.
    """
    from pytest_wheelcheck.wheels.elf import needed

    assert installation.root is not None  # noqa: S101  it is extensible
    present = _library_directories(installation.root, ARCHITECTURES[installation.platform.architecture])
    names = frozenset(name for file in files for name in needed(file) if not _is_in(name, present))
    return extend(installation, names, offline=offline) if names else installation


def origin(root: Path) -> tuple[apt.Repository, str]:
    """Return the repository and the suite that a root came from.

    :raises RuntimeUnavailableError: it came from elsewhere.
    """
    if found := apt.read_origin(root.parent):
        return found
    raise RuntimeUnavailableError(
        "system libraries cannot be downloaded for this interpreter",
        cause="its C library does not come from a package repository",
        fix="use --wheel-sysroot with a root file system that has them",
    )


def _elf_files(directory: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(directory):
        for name in names:
            if name.endswith((".py", ".pyc", ".pyi", ".txt", ".json")):
                continue
            file = Path(parent, name)
            with contextlib.suppress(OSError), file.open("rb") as stream:
                if stream.read(4) == b"\x7fELF":
                    yield file


def _library_directories(root: Path, architecture: Architecture) -> tuple[Path, ...]:
    return tuple(root / name for name in (f"usr/lib/{architecture.multiarch}", "usr/lib", "lib", "lib64", "usr/lib64"))


def _is_in(name: str, directories: Sequence[Path]) -> bool:
    return any((directory / name).exists() for directory in directories)


def _download(
    repository: apt.Repository,
    suite: str,
    architecture: Architecture,
    sonames: frozenset[str],
    root: Path,
    target: Path,
) -> None:
    """Download libraries, and those that they need, into a new directory.

    :param root: its libraries are not downloaded again.
    :param target: the directory.
    :raises RuntimeUnavailableError: the suite does not have them, or cannot be reached.
    """
    from pytest_wheelcheck.wheels.elf import needed

    target.mkdir()
    directories = (*_library_directories(root, architecture), target)
    missing = set(sonames)
    try:
        with apt.open_suite(repository, suite, architecture.debian) as packages:
            for _ in range(_ROUNDS):
                names = [
                    name for soname in sorted(missing) if (name := packages.first_available(package_names(soname)))
                ]
                if names:
                    unpacked = target.with_name("unpacked")
                    packages.fetch(names, unpacked)
                    roots.merge(unpacked)
                    _copy_libraries(unpacked / "usr/lib", target)
                    shutil.rmtree(unpacked)
                required = {name for file in target.iterdir() for name in needed(file)} | sonames
                still_missing = {name for name in required if not _is_in(name, directories)}
                if still_missing == missing:
                    break
                missing = still_missing
    except ProcessError as error:
        raise RuntimeUnavailableError(
            f"{', '.join(sorted(sonames))} for {architecture.name} could not be downloaded from {suite}",
            cause=error.message,
            details=error.details,
        ) from error
    if missing:
        raise RuntimeUnavailableError(
            f"{suite} has no package with {', '.join(sorted(missing))} for {architecture.name}",
            cause="the repository does not have the architecture, or a newer suite has dropped the library",
            fix=f"name another repository: {value_line('apt_source', 'deb [signed-by=FILE] URI SUITE main')}, "
            "or use --wheel-sysroot with a root file system that "
            "has the library",
        )


def _copy_libraries(directory: Path, target: Path) -> None:
    """Copy the shared libraries in a tree, also links to them, as files into one directory."""
    for parent, _, names in os.walk(directory):
        for name in names:
            file = Path(parent, name)
            is_library = ".so." in name or (name.startswith("lib") and name.endswith(".so"))
            if is_library and file.is_file() and not (target / name).exists():
                shutil.copyfile(file, target / name)


def _make_root(root: Path, side: Path, final: Path, architecture: Architecture) -> None:
    """Make the extended root in *side*: links to the entries of *root*, and to the downloaded libraries.

    :param final: the directory that *side* will be moved to.
    """
    extended = side / "root"
    libraries = extended / "usr/lib" / architecture.multiarch
    libraries.mkdir(parents=True)
    for directory, excluded in (
        (root, "usr"),
        (root / "usr", "lib"),
        (root / "usr/lib", architecture.multiarch),
        (root / "usr/lib" / architecture.multiarch, ""),
    ):
        for entry in directory.iterdir() if directory.is_dir() else ():
            if entry.name == excluded:
                continue
            # Links of the merged /usr, such as lib to usr/lib, must lead into the extended root.
            target = entry.readlink() if entry.is_symlink() and directory == root else entry
            (extended / directory.relative_to(root) / entry.name).symlink_to(target)
    for file in (side / "libraries").iterdir():
        if not (libraries / file.name).is_symlink():
            (libraries / file.name).symlink_to(final / "libraries" / file.name)
