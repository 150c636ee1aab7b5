"""tkinter, which Debian has in a package of its own, downloaded if the wheel under test imports it.

It needs libraries of the window system, so the interpreters in the cache do not have it. The interpreter is not changed: an
extended standard library in the cache leads to that of the interpreter, and has the modules of the package.
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
from pytest_wheelcheck.interpreters import roots
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES
from pytest_wheelcheck.interpreters.packages import apt, libraries
from pytest_wheelcheck.model import Installation
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.system.progress import step

#: Increase when the extended standard libraries change.
_GENERATION = 1

#: A statement that imports it. turtle is a part of Debian's standard library, and needs it.
_IMPORT = re.compile(rb"^[ \t]*(?:import|from)[ \t]+(?:_?tkinter|turtle)\b", re.MULTILINE)

#: Appended to its package. Tcl looks for its scripts where they were installed; CPython for Windows sets the same variables
#: (``Lib/tkinter/_fix.py``).
_TELL_TCL = """
import os as _os
for _name, _directory in {places!r}.items():
    _os.environ.setdefault(_name, _directory)
"""


def is_missing(directories: Iterable[Path], installation: Installation) -> bool:
    """Return whether the wheel under test imports tkinter, the interpreter lacks it, and a package may have it.

    :param directories: those of installed modules. Only the wheel's files are read: many dependencies have such an import (tqdm),
        which hardly any wheel reaches.
    """
    if not installation.extensible or installation.platform.libc != "glibc":
        return False
    if installation.implementation != "cpython" or installation.free_threaded:
        return False
    if (installation.library / installation.library_name / "tkinter").exists():
        return False
    return any(_IMPORT.search(file.read_bytes()) for file in _wheel_sources(directories) if file.is_file())


def _wheel_sources(directories: Iterable[Path]) -> Iterator[Path]:
    """Yield the Python files of the one distribution that was not installed from an index (PEP 610)."""
    for directory in directories:
        for origin in directory.glob("*.dist-info/direct_url.json"):
            with contextlib.suppress(OSError):
                for line in origin.with_name("RECORD").read_bytes().splitlines():
                    name = os.fsdecode(line.partition(b",")[0])
                    if name.endswith(".py"):
                        yield directory / name


def extend(installation: Installation, *, offline: bool = False) -> Installation:
    """Return the installation with tkinter: the same program with an extended standard library and root.

    :param offline: download nothing.
    :raises RuntimeUnavailableError: it is not available.
    """
    assert installation.root is not None  # noqa: S101  it is extensible
    repository, suite = libraries.origin(installation.root)
    architecture = ARCHITECTURES[installation.platform.architecture]
    name = installation.library_name
    wanted = f"tkinter for {name} for {architecture.name}"
    own = str(installation.library)
    key = f"roots/tkinter-{architecture.name}-{suite}-{cache.digest(str(_GENERATION), own, name)}"

    def make(side: Path) -> None:
        if offline:
            raise RuntimeUnavailableError(
                f"{wanted} is not in the cache, and this run is offline", fix="run once without --wheel-offline"
            )
        unpacked = side / "unpacked"
        with step(f"{wanted} from {suite}", side):
            try:
                with apt.open_suite(repository, suite, architecture.debian) as packages:
                    scripts = [packages.first_available((f"lib{kind}8.6", f"lib{kind}9.0")) for kind in ("tcl", "tk")]
                    # Since Debian 13, there is one for every version; the other has a dependency on that of the default one.
                    modules_package = packages.first_available((f"{name}-tk", "python3-tk"))
                    packages.fetch([*filter(None, (modules_package, *scripts))], unpacked)
            except ProcessError as error:
                raise RuntimeUnavailableError(
                    f"{wanted} could not be downloaded from {suite}", cause=error.message, details=error.details
                ) from error
            roots.merge(unpacked)
            if not any((unpacked / "usr/lib" / name / "lib-dynload").glob("_tkinter.*")):
                raise RuntimeUnavailableError(f"{suite} has no {wanted}", cause="its package is for another version")
            _make_library(installation, unpacked, side, cache.path(key))
            shutil.rmtree(unpacked)

    library = cache.provision(key, make) / "lib"
    modules = (library / name / "lib-dynload").glob("_tkinter.*")
    return libraries.extend_for(modules, replace(installation, library=library), offline=offline)


def _make_library(installation: Installation, unpacked: Path, side: Path, final: Path) -> None:
    """Make the extended standard library in *side*: links to the entries of the installation's, and tkinter.

    :param unpacked: the packages.
    :param final: the directory that *side* will be moved to.
    """
    name = installation.library_name
    shutil.copytree(unpacked / "usr/lib" / name, side / "lib" / name)
    for directory in ("", name, f"{name}/lib-dynload"):
        for entry in (installation.library / directory).iterdir():
            link = side / "lib" / directory / entry.name
            if not link.exists():
                link.symlink_to(entry)
    scripts = side / "share/tcltk"
    shutil.copytree(unpacked / "usr/share/tcltk", scripts)
    places = {
        variable: str(final / "share/tcltk" / script.parent.name)
        for variable, pattern in (("TCL_LIBRARY", "tcl[0-9]*/init.tcl"), ("TK_LIBRARY", "tk[0-9]*/tk.tcl"))
        for script in scripts.glob(pattern)
    }
    with (side / "lib" / name / "tkinter/__init__.py").open("a", encoding="utf-8") as file:
        file.write(_TELL_TCL.format(places=places))
