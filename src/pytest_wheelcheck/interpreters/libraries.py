"""Libraries of the system that a wheel may expect, fetched where one does: libGL, libX11, glib and their kin.

The manylinux policies list them (PEP 513, PEP 571, PEP 599; auditwheel's ``manylinux-policy.json``): a wheel may need
them and leave them out. A provisioned root has those without a window system; of the others, the packages are taken
from the suite that its C library came from, together with the libraries that those need, and without anything else
that the packages depend on, such as drivers. Such a root is never changed: another one in the cache leads to it and has
the further libraries in its library folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters import apt, roots
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, Architecture
from pytest_wheelcheck.model import Installation
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.system.progress import step
from pytest_wheelcheck.wheels.elf import needed

#: Bump when the way in which the roots are made changes.
_GENERATION = 1

#: What the policies allow and a root may lack. (Those of the C library and the compilers are in every root.)
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

#: Packages whose names do not follow from those of their libraries.
_PACKAGES = {
    "libGLdispatch.so.0": "libglvnd0",
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

#: Rounds of fetching what the fetched libraries need.
_ROUNDS = 8

_SONAME = re.compile(r"(lib.+?)\.so\.([\w.]+)")


def packages(soname: str) -> tuple[str, ...]:
    """Say how Debian may call the package of a library (Debian Policy, 8.1 «Run-time shared libraries»).

    Since Debian 13, those whose ABI changed with the size of ``time_t`` end in ``t64``.

    >>> packages("libX11.so.6")
    ('libx11-6', 'libx11-6t64')
    """
    match = _SONAME.fullmatch(soname)
    if soname not in _PACKAGES and match is None:
        return ()
    if soname in _PACKAGES:
        name = _PACKAGES[soname]
    else:
        assert match is not None  # noqa: S101  as above
        stem = match[1].lower().replace("_", "-")
        name = f"{stem}{'-' if stem[-1].isdigit() else ''}{match[2]}"
    return name, f"{name}t64"


def wanted(directories: Iterable[Path], installation: Installation) -> frozenset[str]:
    """Return the allowed libraries that installed files need and the installation's root lacks.

    :param directories: of an environment.
    :param installation: one that is not extensible gives nothing: its root is not ours to extend.
    """
    root = installation.root
    if not installation.extensible or root is None or installation.platform.libc != "glibc":
        return frozenset()
    names: set[str] = set()
    present: set[str] = set()
    for directory in directories:
        for file in _binaries(directory):
            present.add(file.name)
            # A damaged file is reported elsewhere.
            with contextlib.suppress(Exception):
                names.update(needed(file))
    places = _library_folders(root, ARCHITECTURES[installation.platform.architecture])
    return frozenset(
        name for name in (names & ALLOWED) - present if not any((place / name).exists() for place in places)
    )


def extend(installation: Installation, sonames: frozenset[str], *, offline: bool = False) -> Installation:
    """Return the installation with further libraries: the same program with another root.

    :param sonames: as :func:`wanted` returns them.
    :param offline: fetch nothing.
    :raises RuntimeUnavailableError: they are not available.
    """
    root = installation.root
    assert root is not None  # noqa: S101  see wanted()
    architecture = ARCHITECTURES[installation.platform.architecture]
    listed = ", ".join(sorted(sonames))
    archive, suite = _source(root)
    key = f"roots/with-{architecture.name}-{suite}-{cache.digest(str(_GENERATION), str(root), listed)}"

    def make(side: Path) -> None:
        if offline:
            raise RuntimeUnavailableError(
                f"{listed} for {architecture.name} is not in the cache, and this run is offline"
            )
        with step(f"{listed} for {architecture.name} of {suite}", side):
            _fetch(archive, suite, architecture, sonames, root, side)
            _join(root, side, cache.path(key), architecture)

    return replace(installation, root=cache.provision(key, make) / "root")


def _source(root: Path) -> tuple[apt.Repository, str]:
    """Tell where a root came from."""
    if found := apt.read_origin(root.parent):
        return found
    raise RuntimeUnavailableError(
        "further libraries cannot be fetched for this interpreter",
        cause="its C library was not taken from an archive of packages",
        fix="--wheel-sysroot names a root file system that has them",
    )


def _binaries(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith((".py", ".pyc", ".pyi", ".txt", ".json")):
                continue
            file = Path(parent, name)
            with contextlib.suppress(OSError), file.open("rb") as stream:
                if stream.read(4) == b"\x7fELF":
                    yield file


def _library_folders(root: Path, architecture: Architecture) -> tuple[Path, ...]:
    return tuple(
        root / place for place in (f"usr/lib/{architecture.multiarch}", "usr/lib", "lib", "lib64", "usr/lib64")
    )


def _fetch(
    archive: apt.Repository,
    suite: str,
    architecture: Architecture,
    sonames: frozenset[str],
    root: Path,
    side: Path,
) -> None:
    """Lay libraries, and those that they need, into ``libraries`` of a folder."""
    into = side / "libraries"
    into.mkdir()
    places = (*_library_folders(root, architecture), into)
    missing = set(sonames)
    try:
        with apt.open_suite(archive, suite, architecture.debian) as index:
            for _ in range(_ROUNDS):
                names = [name for soname in sorted(missing) if (name := index.first_available(packages(soname)))]
                unpacked = side / "unpacked"
                if names:
                    index.fetch(names, unpacked)
                    roots.merge(unpacked)
                    _gather(unpacked / "usr/lib", into)
                    shutil.rmtree(unpacked)
                further = {name for file in into.iterdir() for name in needed(file)} | sonames
                left = {name for name in further if not any((place / name).exists() for place in places)}
                if left == missing:
                    break
                missing = left
    except ProcessError as error:
        raise RuntimeUnavailableError(
            f"{', '.join(sorted(sonames))} for {architecture.name} could not be fetched from {suite}",
            cause=error.message,
            details=error.details,
        ) from error
    if missing:
        raise RuntimeUnavailableError(
            f"{suite} has no package with {', '.join(sorted(missing))} for {architecture.name}",
            cause="its archive lacks the architecture, or a newer suite has dropped the library",
            fix="ini wheel_apt_source names another archive; --wheel-sysroot a root file system that has them",
        )


def _gather(folder: Path, into: Path) -> None:
    """Take the libraries of a folder by the names that they are asked for."""
    for parent, _, names in os.walk(folder):
        for name in names:
            file = Path(parent, name)
            if ".so." in name and file.is_file() and not (into / name).exists():
                shutil.copyfile(file, into / name)


def _join(root: Path, side: Path, final: Path, architecture: Architecture) -> None:
    """Make a root that leads to another one, and has further libraries."""
    joined = side / "root"
    special = joined / "usr/lib" / architecture.multiarch
    special.mkdir(parents=True)
    for folder, left_out in (
        (root, "usr"),
        (root / "usr", "lib"),
        (root / "usr/lib", architecture.multiarch),
        (root / "usr/lib" / architecture.multiarch, ""),
    ):
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.name == left_out:
                continue
            place = joined / folder.relative_to(root) / entry.name
            # Links such as lib to usr/lib are to lead into this root.
            target = entry.readlink() if entry.is_symlink() and folder == root else entry
            place.symlink_to(target)
    for file in (side / "libraries").iterdir():
        if not (special / file.name).is_symlink():
            (special / file.name).symlink_to(final / "libraries" / file.name)
