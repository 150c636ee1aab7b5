"""Boards without a Python that fits: 32-bit boards get packages for their own kind, and a run can bring an interpreter."""

from __future__ import annotations

import sys
from pathlib import Path

import archives
import builders
import pytest
import uv_layout
from boards import Board, Boards, Kind
from nodes import Run, RunDist, run_output

from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system import cache

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux"),
]

GLIBC = Platform(system="linux", architecture="x86_64", libc="glibc")

#: These runs download interpreters.
_OPTIONS = ("-v", "-rfEs", "--wheel=dist", "--wheel-select=WHL101")

TESTS = """
import subprocess, sys
import carried

def test_version():
    assert sys.version_info[:2] == (3, 14)
    assert "runs" in sys.base_prefix

def test_child():
    code = "import carried, ssl, sys; print(sys.prefix)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sys.prefix
"""


@pytest.mark.long
def test_a_run_brings_an_interpreter(
    board: Board,
    board_path: Path,
    run_wheels: Run,
    pytester: pytest.Pytester,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """uv's builds need nothing of the board but its C library."""
    installation = uv_layout.copy_installation(GLIBC, 14, tmp_path, free_threaded=True)
    key = "cpython-3.14.9+freethreaded-linux-x86_64-gnu"
    entry = archives.make_download(tmp_path, installation, key=key, arch="x86_64", libc="gnu", threading="freethreaded")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", archives.write_catalogue(tmp_path / "one.json", {key: entry}))
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    builders.build_wheel(
        pytester.path / "dist", "carried", files={"carried.py": ""}, tags=["cp314-cp314t-manylinux_2_17_x86_64"]
    )
    pytester.makepyfile(test_carried=TESTS)
    arguments = (f"--wheel-host={board.url}", "--wheel-python=3.14t", "-k", "pi", "test_carried.py")
    without = run_output(run_wheels(*_OPTIONS, *arguments, timeout=600))
    assert without.code != 0
    assert "only 3.11 was found" in without.text
    run = run_output(run_wheels(*_OPTIONS, *arguments, "--wheel-board-python=uv", timeout=600))
    assert run.code == 0, run.text
    assert run.nodes["test_carried.py::test_version"] == "PASSED"
    assert run.nodes["test_carried.py::test_child"] == "PASSED"
    assert "brought by this run" in run.text
    board.wait_until_idle()


@pytest.mark.long
def test_a_board_of_32_bits(boards: Boards, board_path: Path, run_wheels: Run, pytester: pytest.Pytester) -> None:
    """uv has no platform for it, so an interpreter of the same kind, which is emulated here, says what it accepts."""
    board = boards(Kind(architecture="armv7l"), name="small")
    builders.build_wheel(
        pytester.path / "dist",
        "small",
        files={"small.py": ""},
        tags=["cp311-none-manylinux_2_17_armv7l"],
        requires=["packaging"],
    )
    pytester.makepyfile(test_small="import small, struct\ndef test_bits(): assert struct.calcsize('P') == 4")
    run = run_output(run_wheels(*_OPTIONS, f"--wheel-host={board.url}", "test_small.py", timeout=600))
    assert run.code == 0, run.text
    assert run.nodes["test_small.py::test_bits"] == "PASSED"
    assert "cp311-linux-armv7l+pi@" in run.text


def test_an_unknown_provider(board: Board, board_path: Path, run_dist: RunDist, pytester: pytest.Pytester) -> None:
    builders.build_wheel(pytester.path / "dist", "pure", files={"pure.py": ""})
    run = run_dist(f"--wheel-host={board.url}", "--wheel-board-python=debian")
    assert run.code == 4
    assert "--wheel-board-python debian: cannot be brought to a board" in run.text
    assert "Fix: use uv" in run.text
