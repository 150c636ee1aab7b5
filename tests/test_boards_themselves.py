"""The boards of the tests are what they claim to be."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time

import pytest
from board_proxy import Proxy
from boards import Board, Boards, Kind, native, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux")

_FACTS = """\
import json, os, pathlib, platform, sys
first, second = os.openpty()
os.write(second, b"x")
print(json.dumps({
    "machine": platform.machine(), "version": sys.version_info[:2], "uid": os.getuid(), "tty": os.ttyname(second),
    "read": os.read(first, 1).decode(), "processes": sorted(map(int, filter(str.isdigit, os.listdir("/proc")))),
    "root": sorted(os.listdir("/")), "home": os.listdir(), "elf": pathlib.Path("/bin/sh").read_bytes()[18],
    "pip": pathlib.Path("/usr/bin/pip3").exists(), "cc": pathlib.Path("/usr/bin/cc").exists(),
}))
"""


def commands(board: Board) -> list[str]:
    return [process.command for process in board.processes()]


@pytest.mark.parametrize(("architecture", "elf"), [("x86_64", 62), ("aarch64", 183)])
def test_a_board_is_a_machine_of_its_own(boards: Boards, architecture: str, elf: int) -> None:
    board = boards(Kind(architecture=architecture))
    result = board.ssh("exec python3 -", stdin=_FACTS)
    assert not result.stderr
    facts = json.loads(result.stdout)
    assert (facts["machine"], facts["elf"]) == (architecture, elf)
    assert facts["version"] >= [3, 9]
    assert facts["uid"] == 1000
    assert facts["tty"].startswith("/dev/pts/")
    assert facts["read"] == "x"
    assert facts["home"] == []
    assert not {"work", "usr-local", "mnt"} & {*facts["root"]}
    assert not facts["pip"]
    assert not facts["cc"]
    assert max(facts["processes"]) < 100
    board.wait_until_idle()


def test_what_runs_on_a_board_is_seen(board: Board) -> None:
    assert board.processes() == []
    board.ssh("sleep 600 >/dev/null 2>&1 </dev/null & echo x > file; touch /tmp/other")
    wait_until(lambda: commands(board) == ["sleep 600"], "other processes run")
    assert (board.home / "file").read_text(encoding="ascii") == "x\n"
    assert (board.root / "tmp/other").exists()
    board.reboot()
    assert board.processes() == []
    assert board.ssh("cat file; ls /tmp").stdout == "x\n"


def test_a_terminal(board: Board) -> None:
    assert board.ssh("tty", "-tt").stdout.strip() == "/dev/pts/0"


def test_connections_can_be_killed(board: Board) -> None:
    with subprocess.Popen([*board.ssh_argv(), "sleep 600"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as client:
        wait_until(board.processes, "no process starts")
        board.kill_connections()
        assert client.wait(30) == 255
    wait_until(lambda: "sleep 600" in commands(board), "killed with the connection")


def test_what_can_be_wrong_with_keys(board: Board) -> None:
    board.forget_host_key()
    assert "Host key verification failed" in board.ssh("true").stderr
    board.change_host_key()
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in board.ssh("true").stderr
    board.machine.client.know(board.port, board.machine.public_key)
    assert board.ssh("true").returncode == 0
    board.refuse_key()
    assert "Permission denied" in board.ssh("true").stderr


def test_two_boards_at_once_one_without_python(boards: Boards) -> None:
    one = boards(Kind(architecture=native()))
    other = boards(Kind(architecture=native(), python=False, clock="-10y"))
    assert one.ssh("uname -n; command -v python3").stdout == "board1\n/usr/bin/python3\n"
    assert other.ssh("uname -n; command -v python3; ls /usr/bin/py*").stdout == "board2\n"
    years = [int(board.ssh("date +%Y").stdout) for board in (one, other)]
    assert years[0] - years[1] == 10


def test_homes_that_are_of_little_use(boards: Boards) -> None:
    small = boards(Kind(architecture=native(), home_size=1 << 20, home_noexec=True))
    assert "No space left" in small.ssh("head -c 2000000 /dev/zero > big").stderr
    assert (small.home / "big").stat().st_size == 1 << 20
    assert "Permission denied" in small.ssh("rm big; cp /bin/true . && ./true").stderr
    constant = boards(Kind(architecture=native(), home_read_only=True))
    assert "Read-only file system" in constant.ssh("touch file").stderr


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_memory_is_limited(boards: Boards, architecture: str) -> None:
    board = boards(Kind(architecture=architecture, memory=192 << 20))
    result = board.ssh("python3 -c 'b = b\"x\" * (400 << 20)'; echo $?")
    if board.memory_limit == "cgroup":
        assert result.stdout == "137\n"
        assert board.oom_kills == 1
    else:
        assert "0" not in result.stdout
    assert board.ssh("echo alive").stdout == "alive\n"


def test_a_slow_network(boards: Boards, board: Board) -> None:
    proxy = boards.proxy(board)
    far = board.through(proxy)
    assert far.ssh("true").returncode == 0
    proxy.reset_counts()
    proxy.rate = 200_000
    start = time.monotonic()
    assert len(far.ssh("head -c 100000 /dev/zero").stdout) == 100_000
    assert time.monotonic() - start > 0.45
    assert 100_000 < proxy.down < 120_000
    assert 1000 < proxy.up < 20_000
    proxy.rate, proxy.delay = None, 0.1
    start = time.monotonic()
    far.ssh("true")
    # The connection, both greetings, two exchanges of keys and the session take a round trip each, at least.
    assert time.monotonic() - start > 1.0


def test_a_network_that_fails(boards: Boards, board: Board) -> None:
    proxy = boards.proxy(board)
    far = board.through(proxy)
    proxy.after(50_000, proxy.cut, direction="down")
    result = far.ssh("head -c 1000000 /dev/zero")
    assert result.returncode == 255
    assert len(result.stdout) < 50_000
    wait_until(lambda: not proxy.open_connections, "the connection remains")

    frozen = threading.Event()

    def freeze() -> None:
        proxy.freeze()
        frozen.set()

    proxy.after(50_000, freeze, direction="down")
    argv = [*far.ssh_argv(), "head -c 100000 /dev/zero"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as client:
        assert frozen.wait(30)
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(0.5)
        proxy.thaw()
        assert len(client.communicate(timeout=30)[0]) == 100_000


def test_a_board_that_reboots_in_the_middle(boards: Boards, board: Board) -> None:
    with Proxy(board.port) as proxy:
        far = board.through(proxy)
        proxy.after(20_000, board.reboot, direction="down")
        assert far.ssh("head -c 1000000 /dev/zero").returncode == 255
        assert far.ssh("echo back").stdout == "back\n"


def test_a_port_that_another_program_took(boards: Boards, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    (free,) = random.sample(range(15000, 20000), 1)
    monkeypatch.setattr(random, "sample", lambda *_: [board.port, free])
    assert boards(Kind(architecture=native())).port == free


def test_the_client_on_path(board: Board, board_path: os.PathLike[str]) -> None:
    result = subprocess.run(["ssh", board.url, "echo x"], capture_output=True, text=True, check=True)
    assert result.stdout == "x\n"
