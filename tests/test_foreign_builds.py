"""Dependencies of which there is only an sdist: built for this host, never for another platform."""

from __future__ import annotations

import io
import platform
import sys
import tarfile
from pathlib import Path

import builders
import pytest
import test_emulation
from nodes import Run, parse_output

version = test_emulation.version

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="emulates on x86-64 Linux"),
]

METADATA = "Metadata-Version: 2.1\nName: old\nVersion: 1.0\n"

#: A build backend that says that it has run.
BACKEND = f"""
import pathlib, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    pathlib.Path({{mark!r}}).write_text("built")
    name = "old-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as archive:
        archive.writestr("old.py", "")
        archive.writestr("old-1.0.dist-info/METADATA", {METADATA!r})
        archive.writestr("old-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr("old-1.0.dist-info/RECORD", "")
    return name
"""


def make_sdist(folder: Path, mark: Path) -> None:
    """Make an sdist of ``old`` whose backend writes *mark* when it builds."""
    files = {
        "PKG-INFO": METADATA,
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND.format(mark=str(mark)),
    }
    folder.mkdir()
    with tarfile.open(folder / "old-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"old-1.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))


@pytest.mark.usefixtures("debian_archive")
def test_no_dependency_is_built_for_another_platform(
    version: tuple[int, int], pytester: pytest.Pytester, run_wheels: Run
) -> None:
    """The build would run on this host, and its result would be for this host."""
    mark = pytester.path / "mark"
    make_sdist(pytester.path / "links", mark)
    words = ("-v", "--wheel-select=WHL101", "--wheel-find-links=links")
    builders.build_wheel(
        pytester.path / "dist",
        "tool",
        files={"tool/__init__.py": "import old\n"},
        tags=["py3-none-manylinux_2_17_aarch64"],
        requires=["old"],
    )
    result = run_wheels(*words, "--wheel=dist", f"--wheel-python={version[0]}.{version[1]}", timeout=300)
    seen = parse_output(int(result.ret), result.stdout.str())
    assert seen.only("ERROR") == ["install"]
    assert "old" in seen.text
    assert not mark.exists()
    assert seen.only("FAILED") == []
    assert [name for name in seen.only("PASSED") if not name.startswith("WHL")] == []
    # The same sdist is built for this host.
    builders.build_wheel(pytester.path / "own", "tool", files={"tool/__init__.py": "import old\n"}, requires=["old"])
    result = run_wheels(*words, "--wheel=own")
    assert result.ret == 0
    assert mark.read_text(encoding="ascii") == "built"
