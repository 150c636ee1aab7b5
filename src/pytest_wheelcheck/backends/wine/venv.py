"""Environments of Windows interpreters, made on this side: no program of Windows runs for it.

PEP 405 and Windows' scheme of :mod:`sysconfig` say what one is: ``Scripts`` with the interpreter and its libraries,
``Lib/site-packages``, and ``pyvenv.cfg``. uv installs into a plain environment of this system beside it, for the
platform of Windows; what it laid there is then moved to where Windows has it. Console scripts become the small programs
that pip makes of them there.
"""

from __future__ import annotations

import configparser
import csv
import io
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.launcher import Launch
from pytest_wheelcheck.backends.wine.paths import whole
from pytest_wheelcheck.interpreters.windows.platforms import BITS
from pytest_wheelcheck.model import Installation
from pytest_wheelcheck.system import process

#: The words of uv for the platforms of Windows, by architecture.
UV_PLATFORMS = {"amd64": "x86_64-pc-windows-msvc", "x86": "i686-pc-windows-msvc"}

#: What starts the module of an entry point; pip's own words are the same in effect (``pip._vendor.distlib.scripts``).
_MAIN = """\
import sys
from {module} import {first}
if __name__ == "__main__":
    sys.argv[0] = sys.argv[0].removesuffix(".exe")
    sys.exit({attribute}())
"""


def create(installation: Installation, launch: Launch, directory: Path) -> None:
    """Make an empty environment.

    :param launch: starts programs.
    """
    home = installation.program.parent
    scripts = directory / "Scripts"
    scripts.mkdir(parents=True)
    (directory / "Lib" / "site-packages").mkdir(parents=True)
    for path in (*home.glob("*.exe"), *home.glob("*.dll")):
        (scripts / path.name).symlink_to(path)
    launch.write(scripts / "python", scripts / "python.exe")
    lines = [
        f"home = {whole().to_target(home)}",
        "include-system-site-packages = false",
        f"version = {installation.version_text}",
    ]
    (directory / "pyvenv.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")


def running_python() -> Path:
    """Return the running interpreter, below all virtual environments."""
    return Path(getattr(sys, "_base_executable", sys.executable))


def install(
    folder: Path, runtime: Runtime, launch: Launch, run: Callable[[Path], process.CompletedProcess]
) -> process.CompletedProcess:
    """Have something installed.

    :param folder: of the environment.
    :param run: calls uv for the interpreter that it is given.
    """
    staging = folder / ".staging"
    python = runtime.native or running_python()
    version = runtime.installation.version[:2] if runtime.native else sys.version_info[:2]
    site = staging / "lib" / f"python{version[0]}.{version[1]}" / "site-packages"
    site.mkdir(parents=True)
    (staging / "bin").mkdir()
    (staging / "bin" / "python").symlink_to(python)
    cfg = f"home = {python.parent}\ninclude-system-site-packages = false\n"
    (staging / "pyvenv.cfg").write_text(cfg, encoding="utf-8")
    try:
        done = run(staging / "bin" / "python")
        if done.returncode == 0:
            _move(staging, site, folder, runtime.platform.architecture, launch)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return done


def _move(staging: Path, site: Path, folder: Path, architecture: str, launch: Launch) -> None:
    target = folder / "Lib" / "site-packages"
    _merge(site, target)
    scripts = folder / "Scripts"
    made: dict[str, str] = {}
    for name, reference in _entry_points(target):
        exe = scripts / f"{name}.exe"
        exe.write_bytes(_program(reference, BITS[architecture]))
        (staging / "bin" / name).unlink(missing_ok=True)
        made[name] = exe.name
    for path in (staging / "bin").iterdir():
        if path.name.startswith("python") and path.is_symlink():
            continue
        if path.is_file():
            data = path.read_bytes()
            # A script in Python names the interpreter that uv was given.
            begin = f"#!{staging}/bin/python".encode()
            if data.startswith(begin):
                path.write_bytes(b"#!python.exe" + data[len(begin) :])
        shutil.move(path, scripts / path.name)
    for path in staging.iterdir():
        if path.name not in {"bin", "lib", "lib64", "pyvenv.cfg", ".lock"}:
            _merge(path, folder / path.name) if path.is_dir() else shutil.move(path, folder / path.name)
    for record in target.glob("*.dist-info/RECORD"):
        _correct(record, made)
    launch_programs(scripts, launch)


def _merge(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        there = target / path.name
        if path.is_dir() and not path.is_symlink() and there.is_dir():
            _merge(path, there)
        else:
            shutil.move(path, there)


def launch_programs(scripts: Path, launch: Launch) -> None:
    """Give every program a launcher of its name, without the suffix, so that it can be started from this host."""
    for program in scripts.glob("*.exe"):
        launcher = program.with_suffix("")
        if not launcher.exists():
            launch.write(launcher, program)


def _entry_points(site: Path) -> Iterator[tuple[str, str]]:
    for path in site.glob("*.dist-info/entry_points.txt"):
        parser = configparser.RawConfigParser(delimiters=("=",))
        parser.optionxform = str  # type: ignore[method-assign, assignment]
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("console_scripts", "gui_scripts"):
            if parser.has_section(section):
                yield from parser.items(section)


def _program(reference: str, bits: int) -> bytes:
    """Make the program of an entry point: a launcher, the line that names the interpreter, and an archive to run.

    The interpreter is the one beside it: distlib's launcher replaces that word (``PC/launcher.c`` of its sources).
    """
    from virtualenv.seed.wheels import embed

    wheels = sorted(Path(embed.__file__).parent.glob("pip-*.whl"))
    with zipfile.ZipFile(wheels[-1]) as pip:
        launcher = pip.read(f"pip/_vendor/distlib/t{bits}.exe")
    module, _, attribute = re.sub(r"\[.*", "", reference).strip().partition(":")
    attribute = attribute.strip()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        source = _MAIN.format(module=module.strip(), first=attribute.partition(".")[0], attribute=attribute)
        file.writestr(zipfile.ZipInfo("__main__.py"), source)
    return launcher + b"#!<launcher_dir>\\python.exe\r\n" + archive.getvalue()


def _correct(record: Path, made: dict[str, str]) -> None:
    """Have RECORD name the files where they are."""
    rows = list(csv.reader(record.read_text(encoding="utf-8").splitlines()))
    changed = False
    for row in rows:
        if row and row[0].startswith("../../../"):
            rest = row[0].removeprefix("../../../")
            if rest.startswith("bin/"):
                name = rest.removeprefix("bin/")
                rest = f"Scripts/{made.get(name, name)}"
                if name in made:
                    row[1:] = ["", ""]
            row[0] = f"../../{rest}"
            changed = True
    if changed:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        record.write_text(text.getvalue(), encoding="utf-8")
