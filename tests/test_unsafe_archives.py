"""An archive that readers understand differently is not installed, whichever checks are selected."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from builders import Raw, build_wheel, write_zip
from nodes import RunDist

CODE = "WHL111-descriptors"


@pytest.fixture
def streamed(pytester: pytest.Pytester) -> Path:
    """A wheel that can be installed and imported, with one member that was written as a stream; and a test of it."""
    sound = build_wheel(pytester.path / "sound", "demo", files={"demo/__init__.py": "", "demo/data.txt": "abc"})
    with zipfile.ZipFile(sound) as archive:
        members = [Raw(name=info.filename.encode(), data=archive.read(info)) for info in archive.infolist()]
    (data,) = [member for member in members if member.name == b"demo/data.txt"]
    data.flags, data.method = 8, 8
    sizes = struct.pack("<3I", zlib.crc32(data.data), len(data.stream()), len(data.data))
    data.descriptor = b"PK\x07\x08" + sizes
    pytester.makepyfile(test_it="import demo\ndef test_it(): pass\n")
    return write_zip(pytester.path / "dist" / sound.name, members)


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("select", [("--wheel-select=WHL1",), ("--wheel-select=WHL201",)])
def test_a_streamed_member_stops_the_installation(run_dist: RunDist, select: tuple[str, ...]) -> None:
    ran = run_dist(*select)
    assert f"::{CODE} FAILED" in ran.text
    assert ran.only("PASSED") == []
    assert ran.nodes["install"] != "PASSED"
    assert ran.code == pytest.ExitCode.TESTS_FAILED


@pytest.mark.usefixtures("streamed")
def test_a_user_may_ignore_it(run_dist: RunDist) -> None:
    ran = run_dist("--wheel-ignore=WHL111")
    assert CODE not in ran.text
    assert ran.only("FAILED") == ran.only("ERROR") == []
    assert {"install", "import[demo]", "test_it.py::test_it"} <= set(ran.only("PASSED"))
