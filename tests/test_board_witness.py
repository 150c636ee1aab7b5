"""The witness on a board: the smoke test of a new board, and an instruction that the board does not have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import standin
import witness_board
from board_runs import BoardRun, nothing_is_left, parse
from boards import Board, native

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux")

#: The parts of a machine that the smoke test is about.
PARTS = ("facts", "machine", "pty", "threads")


def test_the_smoke_test_of_a_board(board: Board, board_path: Path, witness: Path) -> None:
    argv = [sys.executable, witness_board.__file__, board.url, "--wheel", str(witness), "--", "-v"]
    argv += ["-p", "no:hypothesispytest", "--wheel-select=WHL101", "--wheel-python=3.11"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=300, env=board.environment)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    outcomes = parse(done.returncode, done.stdout, 0.0).on(board.url.removeprefix("ssh://"))
    for part in PARTS:
        found = {node: outcome for node, outcome in outcomes.items() if node.startswith(f"tests/test_{part}.py::")}
        assert "PASSED" in found.values(), part
        # A CPU may lack an instruction, whose test is skipped.
        assert set(found.values()) <= {"PASSED", "SKIPPED"}, found
    nothing_is_left(board)


def test_an_illegal_instruction_names_the_board(board_run: BoardRun, board: Board) -> None:
    board_run.wheel.unlink()
    board_run.wheel = standin.build(board_run.path / "dist", f"manylinux_2_17_{native()}")
    board_run.write(
        test_illegal="import wheelcheck_witness\n"
        "def test_illegal(): wheelcheck_witness.misbehave('illegal')\n"
        "def test_after(): pass\n"
    )
    board_run.use(board)
    found = board_run.go(*board_run.only(target=f"cp311-linux-{native()}"))
    assert found.on()["tests/test_illegal.py::test_illegal"] == "FAILED"
    assert found.on()["tests/test_illegal.py::test_after"] == "PASSED"
    report = found.report("+pi::test_illegal")
    assert "killed by SIGILL" in report
    assert "the machine pi (" in report
    assert "does not have an instruction that the code uses" in report
