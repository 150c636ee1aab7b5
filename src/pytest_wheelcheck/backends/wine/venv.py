"""Virtual environments of Windows interpreters, made and filled on this host: no Windows program runs for that.

PEP 405 and the ``nt`` scheme of :mod:`sysconfig` define them: ``Scripts`` has the interpreter and its libraries,
``Lib/site-packages`` the modules, and ``pyvenv.cfg`` names the base installation. uv cannot install into such an
environment from Linux. It installs, for the platform of Windows, into an environment of this host; the files are then
moved to where Windows has them.
"""

from __future__ import annotations

import csv
import io
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.launcher import Launch
from pytest_wheelcheck.backends.wine import scripts
from pytest_wheelcheck.backends.wine.launch import base_python
from pytest_wheelcheck.backends.wine.paths import all_drives
from pytest_wheelcheck.interpreters.windows.platforms import BITS
from pytest_wheelcheck.model import Installation
from pytest_wheelcheck.system import process

#: uv's names of the platforms of Windows (``--python-platform``), by architecture.
UV_PLATFORMS = {"amd64": "x86_64-pc-windows-msvc", "x86": "i686-pc-windows-msvc"}

#: Entries of the environment of this host that are not moved as they are.
_STAGING_ENTRIES = {"bin", "lib", "lib64", "pyvenv.cfg", ".lock"}


def create(installation: Installation, launch: Launch, directory: Path) -> None:
    """Make an empty environment.

    :param launch: starts its programs.
    """
    home = installation.program.parent
    scripts_directory = directory / "Scripts"
    scripts_directory.mkdir(parents=True)
    (directory / "Lib" / "site-packages").mkdir(parents=True)
    for path in (*home.glob("*.exe"), *home.glob("*.dll")):
        (scripts_directory / path.name).symlink_to(path)
    launch.write(scripts_directory / "python", scripts_directory / "python.exe")
    lines = [
        f"home = {all_drives().to_target(home)}",
        "include-system-site-packages = false",
        f"version = {installation.version_text}",
    ]
    (directory / "pyvenv.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")


def install(
    directory: Path, runtime: Runtime, launch: Launch, run: Callable[[Path], process.CompletedProcess]
) -> process.CompletedProcess:
    """Install into an environment.

    :param directory: of the environment.
    :param run: calls uv for the environment of the interpreter that it gets.
    """
    staging = directory / ".staging"
    python = runtime.native or base_python()
    site_packages = staging / "lib" / f"python{_minor_version(runtime)}" / "site-packages"
    site_packages.mkdir(parents=True)
    (staging / "bin").mkdir()
    (staging / "bin" / "python").symlink_to(python)
    config = f"home = {python.parent}\ninclude-system-site-packages = false\n"
    (staging / "pyvenv.cfg").write_text(config, encoding="utf-8")
    try:
        completed = run(staging / "bin" / "python")
        if completed.returncode == 0:
            _move(staging, site_packages, directory, BITS[runtime.platform.architecture])
            launch_programs(directory / "Scripts", launch)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return completed


def _minor_version(runtime: Runtime) -> str:
    """Return the minor version of the interpreter that uv gets: ``3.13``."""
    version = runtime.installation.version if runtime.native else sys.version_info
    return f"{version[0]}.{version[1]}"


def _move(staging: Path, site_packages: Path, directory: Path, bits: int) -> None:
    """Move the files that uv installed to their paths in a Windows environment."""
    target = directory / "Lib" / "site-packages"
    _merge(site_packages, target)
    programs = scripts.write_entry_points(target, directory / "Scripts", bits)
    for name in programs:
        (staging / "bin" / name).unlink(missing_ok=True)
    for path in (staging / "bin").iterdir():
        if path.name.startswith("python") and path.is_symlink():
            continue
        if path.is_file():
            data = path.read_bytes()
            # Installers replace the first line of Python scripts; here it names the interpreter that uv got.
            first = f"#!{staging}/bin/python".encode()
            if data.startswith(first):
                path.write_bytes(b"#!python.exe" + data[len(first) :])
        shutil.move(path, directory / "Scripts" / path.name)
    for path in staging.iterdir():
        if path.name not in _STAGING_ENTRIES:
            _merge(path, directory / path.name) if path.is_dir() else shutil.move(path, directory / path.name)
    for record in target.glob("*.dist-info/RECORD"):
        _correct_record(record, programs)


def _merge(source: Path, target: Path) -> None:
    """Move everything in a directory into another one."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        other = target / path.name
        if path.is_dir() and not path.is_symlink() and other.is_dir():
            _merge(path, other)
        else:
            shutil.move(path, other)


def launch_programs(scripts_directory: Path, launch: Launch) -> None:
    """Give every program a launcher of its name without suffix, with which this host starts it."""
    for program in scripts_directory.glob("*.exe"):
        launcher = program.with_suffix("")
        if not launcher.exists():
            launch.write(launcher, program)


def _correct_record(record: Path, programs: Mapping[str, str]) -> None:
    """Correct the paths in RECORD.

    :param programs: names of entry points, each with the name of its program.
    """
    rows = list(csv.reader(record.read_text(encoding="utf-8").splitlines()))
    changed = False
    for row in rows:
        if row and row[0].startswith("../../../"):
            path = row[0].removeprefix("../../../")
            if path.startswith("bin/"):
                name = path.removeprefix("bin/")
                path = f"Scripts/{programs.get(name, name)}"
                if name in programs:
                    row[1:] = ["", ""]
            row[0] = f"../../{path}"
            changed = True
    if changed:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        record.write_text(text.getvalue(), encoding="utf-8")
