"""What reports and tests are told about a board: its facts, and variables of this host."""

from __future__ import annotations

import json
import platform
import re
import sys

import pytest
from board_runs import BoardRun
from boards import Board, native

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux")


def test_reports_name_the_board_and_its_facts(board_run: BoardRun, board: Board) -> None:
    board_run.use(board)
    board_run.write(test_one="import demo\ndef test_one(): pass\n")
    found = board_run.go(*board_run.only(), "--wheel-report=report.json", "--wheel-report=report.md")
    assert found.code == 0
    report = json.loads((board_run.path / "report.json").read_text(encoding="utf-8"))
    (target,) = [each for wheel in report["wheels"] for each in wheel["targets"] if each["machine"] == "pi"]
    assert target["execution"] == "board"
    facts = target["board"]
    assert facts["architecture"] == native()
    assert re.fullmatch(r"glibc 2\.\d+", facts["C library"])
    assert facts["kernel"] == f"Linux {platform.release()}"
    assert re.fullmatch(r"[1-9]\d* x \S.*", facts["CPU"])
    assert re.fullmatch(r"\d+\.\d GB, \d+\.\d GB available", facts["memory"])
    assert re.fullmatch(r"\d+\.\d GB in /home/pi/\S+", facts["free disk"])
    assert facts["pseudo-terminals"] == "yes"
    # The terminal has the same.
    assert f"board: pi ({', '.join(f'{name} {value}' for name, value in facts.items())})" in found.text.splitlines()
    lines = (board_run.path / "report.md").read_text(encoding="utf-8").splitlines()
    header = next(number for number, line in enumerate(lines) if "tested on a board" in line)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[header], lines[header + 2])]
    assert dict(zip(*cells, strict=True))["tested on a board"].endswith("1 passed (cp311 pi)")


def test_variables_for_programs_on_boards(board_run: BoardRun, board: Board) -> None:
    board_run.use(board)
    board_run.lines.append("wheel_board_env = SEEN")
    board_run.write(
        test_env="import os\n"
        "def test_seen(): assert os.environ['SEEN'] == 'a b'\n"
        "def test_unseen(): assert 'UNSEEN' not in os.environ\n"
    )
    found = board_run.go(*board_run.only(), env={"SEEN": "a b", "UNSEEN": "x"})
    assert found.code == 0
    assert found.on()["tests/test_env.py::test_seen"] == found.on()["tests/test_env.py::test_unseen"] == "PASSED"
