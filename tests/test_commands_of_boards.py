"""The commands of the pages that need a board, as they are written: ssh's own configuration knows where ``board.local`` is."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from board_runs import nothing_is_left
from boards import Board, Boards
from typed import has_passed, make_project, typed

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux"),
    pytest.mark.usefixtures("board_path"),
]


@pytest.fixture
def project(tmp_path: Path, named_board: Board) -> Path:
    """A project with a wheel for the interpreter of the board."""
    python = named_board.python
    return make_project(tmp_path / "project", f"{python}-{python}-manylinux_2_17_aarch64")


def test_the_first_connection(boards: Boards, named_board: Board, tmp_path: Path) -> None:
    """ssh asks about the key of the board, and the answer is yes. It asks once."""
    config = boards.client.config
    config.write_text(config.read_text().replace("StrictHostKeyChecking yes", "StrictHostKeyChecking ask"))
    named_board.forget_host_key()
    answer = tmp_path / "answer"
    answer.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/question\necho yes\n')
    answer.chmod(0o755)
    for _ in range(2):
        typed("ssh pi@board.local true", tmp_path, SSH_ASKPASS=str(answer), SSH_ASKPASS_REQUIRE="force")
    assert (tmp_path / "question").read_text().count("Are you sure you want to continue connecting") == 1


def test_from_a_new_board_to_the_first_run(project: Path, named_board: Board) -> None:
    found = typed("wheelcheck board pi@board.local", project)
    assert re.search(r"^  architecture +aarch64$", found, re.MULTILINE)
    found = typed("pytest --wheel dist --wheel-host pi@board.local tests", project)
    assert has_passed(found, "linux-aarch64+pi@board.local")
    found = typed("pytest --wheel dist --wheel-host pi@board.local --wheel-machine rpi4 tests", project)
    assert has_passed(found, "linux-aarch64+pi@board.local")
    assert has_passed(found, "linux-aarch64+rpi4")
    assert "1 test has the same outcome on rpi4 and pi@board.local" in found
    assert "bytes freed" in typed("wheelcheck board pi@board.local --clean", project)
    nothing_is_left(named_board)


@pytest.mark.parametrize(
    "command",
    ["pytest --wheel dist --wheel-host pi@board", "pytest --wheel dist --wheel-host pi@board tests"],
)
def test_a_run_on_a_board(project: Path, command: str) -> None:
    assert has_passed(typed(command, project), "linux-aarch64+pi@board")


def test_what_a_board_is(project: Path) -> None:
    assert re.search(r"^  architecture +aarch64$", typed("wheelcheck board pi@board", project), re.MULTILINE)
