"""The pristine prefix, of which every session gets a copy."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_wheelcheck.backends.wine import packages, prefix_maker, redistributables
from pytest_wheelcheck.backends.wine.provide import Wine
from pytest_wheelcheck.checks.windows import is_system_library
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.windows import pe_programs
from pytest_wheelcheck.system import cache, process
from pytest_wheelcheck.system.progress import step

#: Bump when the way in which the prefix is made changes.
_GENERATION = 6

#: The file that describes Wine and a prefix.
_DESCRIPTION = "wine.json"

#: Seconds for making a prefix; it takes 8 on an idle machine.
_DEADLINE = 300.0

#: The directories of libraries for 64-bit and 32-bit programs, in that of Windows.
_SYSTEM_DIRECTORIES = {64: "system32", 32: "syswow64"}

#: Libraries of Wine that a fresh Windows lacks, and that Wine needs itself: its own parts, that of Debian's package, and those
#: for its ``d3d10.dll``.
_NEEDED_BY_WINE = re.compile(r"wine\w*|zlib1|d3dcompiler_(39|43)")

#: Services of Wine that are started with every session. All others are started on demand.
_STARTED_SERVICES = {"MountMgr", "nsiproxy"}


def provision(wine: Wine, c_libraries: Mapping[int, Path]) -> Path:
    """Return the file that describes Wine and its pristine prefix to :mod:`.runner`; the prefix is made if necessary.

    :param c_libraries: see :meth:`.Redistributable.get`.
    :raises RuntimeUnavailableError: Wine does not work here.
    """
    stamp = "\0".join(map(str, (wine.program, wine.version, _GENERATION, wine.windows32, *sorted(c_libraries.items()))))
    key = f"wine/prefix-{cache.digest(stamp)}"
    final = cache.path(key)

    def make(side: Path) -> None:
        with step(f"a prefix for {wine.version}", side, "making"):
            _make(wine, side / "prefix", c_libraries)
        _describe(wine, final / "prefix", side / _DESCRIPTION, absent=_additions(side / "prefix"))

    return cache.provision(key, make) / _DESCRIPTION


def provision_with(description: Path, libraries: Mapping[int, Path]) -> Path:
    """Return the description of a prefix that has further libraries in its system directories.

    :param description: of the prefix without them.
    :param libraries: directories with the libraries, by number of bits.
    """
    key = f"wine/prefix-{cache.digest(*map(str, (description, *sorted(libraries.items()))))}"
    final = cache.path(key)

    def make(side: Path) -> None:
        fields = json.loads(description.read_text(encoding="utf-8"))
        shutil.copytree(fields["prefix"], side / "prefix", symlinks=True)
        for bits, directory in libraries.items():
            for library in directory.iterdir():
                _replace(side / "prefix/drive_c/windows" / _SYSTEM_DIRECTORIES[bits] / library.name, library)
        fields["prefix"] = str(final / "prefix")
        (side / _DESCRIPTION).write_text(json.dumps(fields), encoding="utf-8")

    return cache.provision(key, make) / _DESCRIPTION


def _additions(prefix: Path) -> list[str]:
    """List the libraries of Wine that a fresh Windows lacks, without the suffix ``.dll``."""
    found = set()
    for name in _SYSTEM_DIRECTORIES.values():
        for path in (prefix / "drive_c/windows" / name).glob("*.dll"):
            stem = path.stem.lower()
            if not is_system_library(path.name) and not _NEEDED_BY_WINE.fullmatch(stem):
                found.add(stem)
    return sorted(found)


def _describe(wine: Wine, prefix: Path, path: Path, *, absent: Sequence[str] = ()) -> None:
    """Write the description of a prefix for :mod:`.runner`.

    :param absent: libraries, without ``.dll``, that Wine must not use its own version of.
    """
    fields = {
        "wine": wine.program,
        "prefix": prefix,
        "libraries": wine.libraries or "",
        "fonts": wine.fonts or "",
        "path": wine.path or "",
    }
    text = json.dumps({**{name: str(value) for name, value in fields.items()}, "absent": list(absent)})
    path.write_text(text, encoding="utf-8")


def _replace(path: Path, library: Path) -> None:
    """Copy a library into a prefix. What is there may be a link to Wine's own."""
    path.unlink(missing_ok=True)
    shutil.copyfile(library, path)


def _make(wine: Wine, prefix: Path, c_libraries: Mapping[int, Path]) -> None:
    system, system32 = (prefix / "drive_c/windows" / name for name in _SYSTEM_DIRECTORIES.values())
    for directory, source in ((system, wine.windows), (system32, wine.windows32)):
        if source is not None and (source / "zlib1.dll").is_file():
            # It is not a part of Wine, so Wine finds it only in the directory of Windows' own libraries.
            directory.mkdir(parents=True)
            (directory / "zlib1.dll").symlink_to(source / "zlib1.dll")
    system.mkdir(parents=True, exist_ok=True)
    config = prefix.parent / "making.json"
    _describe(wine, prefix, config)
    try:
        process.run([sys.executable, "-I", "-S", prefix_maker.__file__, config], timeout=_DEADLINE)
    except ProcessError as error:
        raise RuntimeUnavailableError(
            f"{wine.version} does not work here", cause=error.message, fix=packages.ADVICE, details=error.details
        ) from error
    config.unlink()
    if not (system / "kernel32.dll").exists():
        raise RuntimeUnavailableError(
            f"{wine.version} does not work here: its prefix has no kernel32.dll",
            cause="the installation of Wine is incomplete",
            fix=packages.ADVICE,
        )
    _link_libraries(prefix, [directory for directory in (wine.windows, wine.windows32) if directory])
    for bits, directory in ((64, system), (32, system32)):
        if directory.is_dir() and not (directory / "bcryptprimitives.dll").exists():
            (directory / "bcryptprimitives.dll").write_bytes(pe_programs.bcryptprimitives_dll(bits=bits))
        if directory.is_dir() and (libraries := c_libraries.get(bits)):
            _replace(directory / redistributables.C_LIBRARY_NAME, libraries / redistributables.C_LIBRARY_NAME)
    _configure(prefix)


def _link_libraries(prefix: Path, sources: Sequence[Path]) -> None:
    """Replace the copies of Wine's own libraries, which are several hundred megabytes, by links.

    :param sources: the directories of these libraries; several may have a file of the same name and size.
    """
    for parent, directories, files in os.walk(prefix / "drive_c"):
        # Wine links the user's directories to those of HOME, which is the prefix. They become plain directories.
        for name in directories:
            path = Path(parent, name)
            if path.is_symlink():
                path.unlink()
                path.mkdir()
        for name in files:
            path = Path(parent, name)
            for library in (source / name for source in sources):
                if not path.is_symlink() and library.is_file() and filecmp.cmp(library, path, shallow=False):
                    path.unlink()
                    path.symlink_to(library)
    # Every session has its own drives.
    shutil.rmtree(prefix / "dosdevices")
    (prefix / "dosdevices").mkdir()


def _configure(prefix: Path) -> None:
    """Turn off services, the debugger after a crash, windows on a screen, and updates of the prefix: no test needs them."""
    system = prefix / "system.reg"
    text = system.read_text(encoding="utf-8", errors="surrogateescape")

    def start_on_demand(match: re.Match[str]) -> str:
        if match[1] in _STARTED_SERVICES:
            return match[0]
        return re.sub(r'"Start"=dword:0000000[0-2]', '"Start"=dword:00000003', match[0])

    text = re.sub(
        r"^\[System\\\\(?:ControlSet001|CurrentControlSet)\\\\Services\\\\([^\\\]]+)\].*?(?=^\[)",
        start_on_demand,
        text,
        flags=re.MULTILINE | re.DOTALL,
    )
    # It would be started with every session, although it is disabled (runner.DISABLED_PARTS).
    text = re.sub(r'^"winemenubuilder"=.*\n', "", text, flags=re.MULTILINE)
    text = re.sub(r'^"Debugger"="winedbg[^"\n]*"', '"Debugger"="false"', text, flags=re.MULTILINE)
    system.write_text(text, encoding="utf-8", errors="surrogateescape")
    user = prefix / "user.reg"
    with user.open("a", encoding="utf-8") as file:
        file.write('\n[Software\\\\Wine\\\\Drivers]\n"Graphics"="null"\n"Audio"=""\n')
        file.write('\n[Software\\\\Wine\\\\WineDbg]\n"ShowCrashDialog"=dword:00000000\n')
    (prefix / ".update-timestamp").write_text("disable\n", encoding="utf-8")
    with contextlib.suppress(OSError):
        (prefix / "wineserver").unlink()
