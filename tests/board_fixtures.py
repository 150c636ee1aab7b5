"""Fixtures of boards that are reached over ssh (:mod:`boards`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import provisioned
import pytest
from board_runs import BoardRun
from boards import Board, Boards, Kind, native

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError


class _AvailableBoards(Boards):
    """Boards that are skipped, or fail, where they cannot be made."""

    def __call__(self, kind: Kind, *, name: str = "") -> Board:
        try:
            return super().__call__(kind, name=name)
        except (RuntimeUnavailableError, ProcessError) as error:
            raise _missing(error) from error


def _missing(error: RuntimeUnavailableError | ProcessError) -> BaseException:
    return provisioned.missing("boards", f"{error.message} {error.details}".strip())


@pytest.fixture
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boards]:
    """Makes boards: call it with a :class:`boards.Kind`. They end with the test."""
    if sys.platform != "linux":
        pytest.skip("boards are made on Linux")
    try:
        made = _AvailableBoards(tmp_path_factory.mktemp("boards"))
    except RuntimeUnavailableError as error:
        raise _missing(error) from error
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def board(boards: Boards) -> Board:
    """A board of this host's architecture."""
    return boards(Kind(architecture=native()), name="native")


@pytest.fixture
def arm_board(boards: Boards) -> Board:
    """A board of aarch64, which is emulated on other hosts."""
    return boards(Kind(architecture="aarch64"), name="arm")


@pytest.fixture
def named_board(boards: Boards, arm_board: Board) -> Board:
    """A board of aarch64 that ssh finds under the names of the pages."""
    boards.client.add_host("board board.local", arm_board)
    return arm_board


@pytest.fixture
def board_path(boards: Boards, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the ``ssh`` that knows this test's boards first on ``PATH``."""
    monkeypatch.setenv("PATH", boards.client.environment["PATH"])
    return boards.path_entry


@pytest.fixture
def board_run(pytester: pytest.Pytester, board_path: Path) -> BoardRun:
    """A project with a wheel of pure Python, to be tested on boards of this test."""
    return BoardRun(pytester.path)
