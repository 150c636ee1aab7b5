"""Boards with an older system than this host: their Python runs the agent, and their C library decides which wheels fit."""

from __future__ import annotations

import json
import re
import sys

import pytest
from board_runs import BoardRun
from boards import Board, Boards, Kind, native
from builders import build_wheel

pytestmark = [
    pytest.mark.long,
    pytest.mark.network,
    pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux"),
]


@pytest.fixture
def bullseye(boards: Boards) -> Board:
    """A board with Debian 11: Python 3.9, glibc 2.31, OpenSSH 8.4."""
    return boards(Kind(architecture=native(), suite="bullseye"), name="old")


@pytest.fixture
def old_run(board_run: BoardRun, bullseye: Board) -> BoardRun:
    board_run.use(bullseye)
    board_run.python = "3.9"
    return board_run


def test_the_oldest_python_that_a_board_may_have(old_run: BoardRun, bullseye: Board) -> None:
    old_run.write(
        test_old="import os, subprocess, sys\n"
        "import pytest\n"
        "import demo\n"
        "def test_version(): assert sys.version_info[:2] == (3, 9)\n"
        "def test_fails(): assert demo.__name__ == 'x'\n"
        "def test_exits(): os._exit(3)\n"
        "def test_leaves_a_process(): subprocess.Popen(['sleep', '655'], start_new_session=True)\n"
        "@pytest.mark.timeout(2)\n"
        "def test_hangs():\n    while True: pass\n"
        "def test_last(): pass\n"
    )
    assert json.loads(bullseye.ssh("python3 -c 'import sys; print(list(sys.version_info[:2]))'").stdout) == [3, 9]
    old_run.lines.append("wheel_timeout_scale = 1.5")
    found = old_run.go()
    assert found.on() == found.native
    assert {node.rpartition("::test_")[2] for node, outcome in found.on().items() if outcome != "PASSED"} == {
        "fails",
        "exits",
        "hangs",
    }
    assert "exit status 3" in found.report("+pi::test_exits")
    assert "Timeout (>3.0s)" in found.report("+pi::test_hangs")
    assert re.search(r"\+pi: tests left processes running, which were ended: .*sleep 655", found.text)


def test_the_c_library_of_the_board_decides_about_dependencies(old_run: BoardRun) -> None:
    links = old_run.path / "links"
    for version, glibc in (("1.0", "2_17"), ("2.0", "2_36")):
        files = {"needed.py": ""}
        build_wheel(links, "needed", version, files, tags=[f"py3-none-manylinux_{glibc}_{native()}"])
    old_run.wheel.unlink()
    old_run.wheel = build_wheel(
        old_run.path / "dist", "demo", files={"demo/__init__.py": "import needed\n"}, requires=["needed"]
    )
    old_run.write(
        test_needed="import importlib.metadata\n"
        "import demo\n"
        "def test_needed(): assert importlib.metadata.version('needed') == '1.0'\n"
    )
    found = old_run.go(*old_run.only(target=f"cp39-linux-{native()}"), f"--wheel-find-links={links}")
    assert found.code == 0
    assert found.on()["tests/test_needed.py::test_needed"] == "PASSED"


def test_the_c_library_of_the_board_decides_about_wheels(old_run: BoardRun) -> None:
    old_run.wheel.unlink()
    for glibc in ("2_17", "2_36"):
        build_wheel(
            old_run.path / "dist",
            "demo",
            files={"demo/__init__.py": ""},
            tags=[f"py3-none-manylinux_{glibc}_{native()}"],
        )
    old_run.write(test_one="import demo\ndef test_one(): pass\n")
    found = old_run.go("--wheel=dist", "-k", "pi")
    assert found.code == 0
    names = [f"dist/demo-1.0-py3-none-manylinux_{glibc}_{native()}.whl" for glibc in ("2_17", "2_36")]
    assert f"{names[0]}::cp39-linux-{native()}+pi::tests/test_one.py::test_one PASSED" in found.text
    assert f"{names[1]}::cp39-linux-{native()}+pi SKIPPED" in found.text
    assert f"{names[1]}::cp39-linux-{native()}+pi::" not in found.text
    reason = "needs glibc 2.36 or newer, but the available interpreters have at most glibc 2.31"
    assert f"{names[1]}: on pi (linux-{native()}): {reason}" in found.text
