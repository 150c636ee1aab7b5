"""Programs for entry points, as pip makes them for ``console_scripts`` and ``gui_scripts`` on Windows.

Such a program is one of distlib's launchers, followed by a line that names the interpreter and by a ZIP file with
``__main__.py``. ``distlib.scripts.ScriptMaker`` makes them on Windows only, and for the running interpreter's architecture
(``_get_launcher`` is not even defined elsewhere, distlib 0.4.4); so they are put together here, from the launchers in its
package.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.resources
import io
import zipfile
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

#: Letter of distlib's launcher and name of the interpreter, by group of entry points.
_KINDS = {"console_scripts": ("t", "python.exe"), "gui_scripts": ("w", "pythonw.exe")}

#: Calls the function of an entry point, as the template of ``distlib.scripts`` does.
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
    for entry_point in _entry_points(site_packages):
        program = directory / f"{entry_point.name}.exe"
        program.write_bytes(_program(entry_point, bits))
        programs[entry_point.name] = program.name
    return programs


def _entry_points(site_packages: Path) -> Iterator[EntryPoint]:
    for distribution in importlib.metadata.distributions(path=[str(site_packages)]):
        # A check reports entry_points.txt if it cannot be parsed.
        with contextlib.suppress(TypeError, ValueError):
            for entry_point in distribution.entry_points:
                if entry_point.group in _KINDS and EntryPoint.pattern.match(entry_point.value) and entry_point.attr:
                    yield entry_point


def _program(entry_point: EntryPoint, bits: int) -> bytes:
    """Return the content of the program of an entry point."""
    letter, interpreter = _KINDS[entry_point.group]
    launcher = (importlib.resources.files("distlib") / f"{letter}{bits}.exe").read_bytes()
    attribute = entry_point.attr
    source = _MAIN.format(module=entry_point.module, first=attribute.partition(".")[0], attribute=attribute)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        # With a fixed time, equal programs have equal content.
        file.writestr(zipfile.ZipInfo("__main__.py"), source)
    # The launcher replaces <launcher_dir> by its own directory.
    return launcher + f"#!<launcher_dir>\\{interpreter}\r\n".encode() + archive.getvalue()
