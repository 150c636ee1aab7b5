"""Programs for entry points, as pip makes them for ``console_scripts`` and ``gui_scripts`` on Windows."""

from __future__ import annotations

import configparser
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

#: Calls the function of an entry point, as the template of ``pip._vendor.distlib.scripts`` does.
_MAIN = """\
import sys
from {module} import {first}
if __name__ == "__main__":
    sys.argv[0] = sys.argv[0].removesuffix(".exe")
    sys.exit({attribute}())
"""


def write_entry_points(site_packages: Path, directory: Path, bits: int) -> dict[str, str]:
    """Write the programs of all distributions in a directory of installed modules.

    :param directory: where the programs are written.
    :param bits: number of bits of the interpreter.
    :returns: the names of the entry points, each with the file name of its program.
    """
    programs: dict[str, str] = {}
    for name, reference in _entry_points(site_packages):
        program = directory / f"{name}.exe"
        program.write_bytes(_program(reference, bits))
        programs[name] = program.name
    return programs


def _entry_points(site_packages: Path) -> Iterator[tuple[str, str]]:
    for path in site_packages.glob("*.dist-info/entry_points.txt"):
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
    """Return the content of the program of an entry point: a launcher, a line with the interpreter, and a ZIP file."""
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
    # The launcher replaces <launcher_dir> by its own directory (``PC/launcher.c`` of distlib's sources).
    return launcher + b"#!<launcher_dir>\\python.exe\r\n" + archive.getvalue()
