"""What runs at the same time: the targets of one board, and boards."""

from __future__ import annotations

import sys

import pytest
from board_runs import BoardRun, nothing_is_left
from boards import Board, Boards, Kind, native, wait_until
from builders import build_wheel

pytestmark = [pytest.mark.long, pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux")]

#: Notes in a file of the board when it begins and ends. With two lanes, none ends before both have begun.
NOTES = """
import os, pathlib, time

def test_notes():
    log = pathlib.Path(os.path.expanduser("~/started"))
    with log.open("a") as file: file.write("begin\\n")
    end = time.monotonic() + {seconds}
    while time.monotonic() < end and log.read_text().count("begin") < 2: time.sleep(0.02)
    with log.open("a") as file: file.write("end\\n")
"""


@pytest.mark.parametrize(("jobs", "seconds"), [(1, 2), (2, 60)])
def test_targets_of_one_board(board_run: BoardRun, board: Board, jobs: int, seconds: int) -> None:
    build_wheel(board_run.path / "dist", "other", files={"other/__init__.py": ""})
    board_run.use(board, options="jobs=2" if jobs == 2 else "")
    board_run.write(test_notes=NOTES.format(seconds=seconds))
    found = board_run.go("--wheel=dist", "-k", "pi")
    assert found.code == 0
    assert found.text.count("::test_notes PASSED") == 2
    notes = (board.home / "started").read_text(encoding="ascii").split()
    assert notes == (["begin", "end"] * 2 if jobs == 1 else ["begin", "begin", "end", "end"])


#: Waits until this host has seen it on both boards.
MEETS = """
import os, pathlib, time

def test_meets():
    home = pathlib.Path(os.path.expanduser("~"))
    (home / "started").write_text("")
    end = time.monotonic() + 60
    while not (home / "go").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
"""


def test_boards_side_by_side(board_run: BoardRun, boards: Boards, board: Board) -> None:
    other = boards(Kind(architecture=native()), name="other")
    board_run.use(board)
    board_run.use(other, "desk")
    board_run.write(test_meets=MEETS)
    with board_run.started("--wheel-host=pi", "--wheel-host=desk", "-k", "pi or desk") as process:
        for each in (board, other):
            wait_until((each.home / "started").exists, board_run.said, 60)
        for each in (board, other):
            (each.home / "go").touch()
        found = board_run.end(process, 60)
    assert found.code == 0
    for name, each in board_run.boards.items():
        assert found.on(name)["tests/test_meets.py::test_meets"] == "PASSED"
        (each.home / "go").unlink()
        nothing_is_left(each)
