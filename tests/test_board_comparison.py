"""The same wheel on a board and on an emulator, and what the reports say about the differences."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import builders
import pytest
from boards import Board
from nodes import Run

pytestmark = [
    pytest.mark.network,
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux"),
]

TESTS = """\
import os, platform
import pkg

def test_both():
    assert pkg.X == 1
    assert platform.machine() == "aarch64"

def test_only_on_the_board():
    assert os.uname().nodename == "arm"
"""


def test_a_board_and_its_emulator(
    arm_board: Board, board_path: Path, run_wheels: Run, pytester: pytest.Pytester
) -> None:
    builders.build_wheel(
        pytester.path / "dist", "pkg", files={"pkg.py": "X = 1\n"}, tags=["py3-none-manylinux_2_17_aarch64"]
    )
    (pytester.mkdir("tests") / "test_it.py").write_text(TESTS, encoding="utf-8")
    pytester.makeini("[pytest]\n")
    assert board_path.is_dir()
    reports = [f"--wheel-report=report.{form}" for form in ("json", "md", "html")]
    arguments = (
        "--wheel=dist",
        "--wheel-python=3.11",
        f"--wheel-host={arm_board.url}",
        "--wheel-machine=rpi4",
        *reports,
    )
    name = arm_board.url.removeprefix("ssh://")
    wheel = "pkg-1.0-py3-none-manylinux_2_17_aarch64.whl"
    different = f"failed on rpi4, passed on {name}"

    result = run_wheels("--wheel-select=WHL101", *arguments, "tests", timeout=600)
    result.stdout.fnmatch_lines(
        [
            "*= differs between machines =*",
            f"{wheel}, cp311: 1 test has the same outcome on rpi4 and {name}; 1 outcome differs",
            f"  tests/test_it.py::test_only_on_the_board: {different}",
        ]
    )
    (found,) = json.loads((pytester.path / "report.json").read_text(encoding="utf-8"))["comparisons"]
    assert found["machines"] == ["rpi4", name]
    assert [each["outcomes"] for each in found["differences"]] == [["failed", "passed"]]
    for form in ("md", "html"):
        assert different in (pytester.path / f"report.{form}").read_text(encoding="utf-8")

    result = run_wheels("--wheel-select=WHL101", *arguments, "tests", "-k", "both", timeout=600)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*= same on all machines =*", f"{wheel}, cp311: 1 test has the same outcome on rpi4 and {name}"]
    )
