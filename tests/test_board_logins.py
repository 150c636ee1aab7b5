"""How ssh gets to a board: with the user's own configuration, jump hosts and agent, and without a question."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from board_roots import ssh_program
from board_runs import BoardRun
from boards import Board, Boards, Client, Kind, native, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux")

ONE = "import demo\ndef test_one(): pass\n"
TEST = "tests/test_one.py::test_one"

ACCEPTED = "Accepted publickey for pi"


def set_passphrase(client: Client) -> None:
    argv = [ssh_program("ssh-keygen"), "-q", "-p", "-P", "", "-N", "secret", "-f", str(client.key)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, timeout=60)


def test_a_name_of_ssh_behind_a_jump_host(board_run: BoardRun, boards: Boards, board: Board) -> None:
    jump = boards(Kind(architecture=native()), name="jump")
    boards.client.add_host("gate", jump)
    boards.client.add_host("workbench", board, "ProxyJump gate")
    board_run.boards = {"workbench": board, "gate": jump}
    board_run.write(test_one=ONE)
    found = board_run.go("--wheel-host=workbench", "-k", "workbench")
    assert found.code == 0
    assert found.on("workbench")[TEST] == "PASSED"
    # The one connection through the jump host carries all programs.
    assert (board.log.count(ACCEPTED), jump.log.count(ACCEPTED)) == (1, 1)


@pytest.fixture
def agent(boards: Boards, tmp_path: Path) -> Iterator[Path]:
    """The socket of an ssh-agent that alone has the private key."""
    # The path of a socket is short.
    socket = boards.path_entry / "agent"
    argv = [ssh_program("ssh-agent"), "-D", "-a", str(socket)]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(socket.exists, "ssh-agent does not start")
            key = boards.client.key
            env = {"SSH_AUTH_SOCK": str(socket)}
            subprocess.run(
                [ssh_program("ssh-add"), "-q", key], check=True, env=env, stdin=subprocess.DEVNULL, timeout=60
            )
            key.unlink()
            yield socket
        finally:
            process.kill()


def test_a_key_that_only_an_agent_has(board_run: BoardRun, board: Board, agent: Path) -> None:
    board_run.use(board)
    board_run.write(test_one=ONE)
    config = board.machine.client.config
    config.write_text(config.read_text(encoding="utf-8").replace("IdentityAgent none\n", ""), encoding="utf-8")
    found = board_run.go(*board_run.only(), env={"SSH_AUTH_SOCK": str(agent)})
    assert found.code == 0
    assert found.on()[TEST] == "PASSED"


@pytest.mark.parametrize("way", ["direct", "jump"])
def test_nothing_asks_for_a_passphrase(
    board_run: BoardRun, boards: Boards, board: Board, tmp_path: Path, way: str
) -> None:
    set_passphrase(boards.client)
    mark, script = tmp_path / "asked", tmp_path / "ask"
    script.write_text(f"#!/bin/sh\ntouch {mark}\necho wrong\n", encoding="ascii")
    script.chmod(0o755)
    boards.client.add_host("gate", board)
    boards.client.add_host("workbench", board, *(["ProxyJump gate"] if way == "jump" else []))
    board_run.boards["workbench"] = board
    board_run.write(test_one=ONE)
    ask = {"SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    found = board_run.go("--wheel-host=workbench", env=ask, bound=90)
    assert found.native[TEST] == "PASSED"
    report = found.error("workbench")
    assert "could not be checked: workbench refuses this account's keys" in report
    assert "the key needs a passphrase and no agent runs" in report
    assert not mark.exists()
