"""What can be wrong with a board and the way to it: named, in bounded time, and never a pass."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from board_runs import BoardRun, nothing_is_left
from boards import Board, Boards, Kind, native
from builders import build_wheel
from compiled import needs_compiler

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux")

ONE = "import demo\ndef test_one(): pass\n"

#: Seconds for a run that does not get as far as a test on the board.
BOUND = 90.0


def unreachable(run: BoardRun, *words: str, name: str = "pi") -> str:
    """Run; return the report of the board, which could not be used. The wheel is tested on this host nevertheless."""
    run.write(test_one=ONE)
    found = run.go(*words, bound=BOUND)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.native["tests/test_one.py::test_one"] == "PASSED"
    report = found.error(name)
    assert "could not be checked" in report
    return report


def test_a_host_that_does_not_exist(board_run: BoardRun) -> None:
    report = unreachable(board_run, "--wheel-host=ssh://pi@board.invalid", name="pi@board.invalid")
    assert "ssh finds no board named board.invalid" in report
    assert "the name is misspelled" in report
    assert "ssh pi@board.invalid" in report


def test_a_host_key_that_ssh_does_not_know(board_run: BoardRun, board: Board) -> None:
    board.forget_host_key()
    board_run.use(board)
    report = unreachable(board_run)
    assert "ssh does not know the host key of pi" in report
    assert f"connect once, compare the key and accept it: ssh -p {board.port} pi@127.0.0.1" in report


def test_a_host_key_that_has_changed(board_run: BoardRun, board: Board) -> None:
    board.change_host_key()
    board_run.use(board)
    report = unreachable(board_run)
    assert "the host key of pi is not the one that ssh knows" in report
    assert "Cause: the board was installed anew, or another computer has its address" in report
    assert f"ssh-keygen -R [127.0.0.1]:{board.port}" in report


def test_a_key_that_the_board_refuses(board_run: BoardRun, board: Board) -> None:
    board.refuse_key()
    board_run.use(board)
    report = unreachable(board_run)
    assert "pi refuses this account's keys" in report
    assert "ssh-copy-id" in report
    assert "passwords are not asked for" in report


def test_a_port_on_which_nothing_listens(board_run: BoardRun, board: Board) -> None:
    board.stop()
    board_run.use(board)
    report = unreachable(board_run)
    assert "pi refuses the connection" in report
    assert "sshd does not run there, or listens on another port" in report


@pytest.mark.long
@pytest.mark.parametrize("sent", [0, 100, 5_000])
def test_a_board_that_is_silent_at_login(board_run: BoardRun, boards: Boards, board: Board, sent: int) -> None:
    """The connection is accepted; before the greeting, in the exchange of keys or after the login, nothing comes any more."""
    proxy = boards.proxy(board)
    proxy.after(sent, proxy.freeze) if sent else proxy.freeze()
    # The run does not see the end of its connections there.
    board_run.hosts["pi"] = board.through(proxy).url
    report = unreachable(board_run)
    assert "pi does not answer" in report
    assert "the board is switched off, or the network does not reach it" in report
    proxy.thaw()
    nothing_is_left(board)


def test_a_board_without_python(board_run: BoardRun, boards: Boards) -> None:
    board_run.use(boards(Kind(architecture=native(), python=False)))
    report = unreachable(board_run)
    assert "pi has no Python 3.9 or newer" in report
    assert "apt install python3" in report


def test_a_home_that_is_read_only(board_run: BoardRun, boards: Boards) -> None:
    board_run.use(boards(Kind(architecture=native(), home_read_only=True)))
    report = unreachable(board_run)
    assert "the file system of pi is read-only" in report
    assert "Fix: name a directory that can be written: directory=PATH in wheel_hosts" in report


def test_a_home_from_which_nothing_can_be_started(board_run: BoardRun, boards: Boards) -> None:
    board_run.use(boards(Kind(architecture=native(), home_noexec=True)))
    report = unreachable(board_run)
    assert "programs cannot be started in /home/pi/.cache/pytest-wheelcheck-board/v1 of pi" in report
    assert "mounted noexec" in report
    assert "directory=PATH in wheel_hosts" in report


@pytest.mark.parametrize("kind", [{"home_read_only": True}, {"home_noexec": True}])
def test_another_directory_for_such_homes(board_run: BoardRun, boards: Boards, kind: dict[str, bool]) -> None:
    board_run.use(boards(Kind(architecture=native(), **kind)), options="directory=/var/tmp/boards")  # type: ignore[arg-type]
    board_run.write(test_one=ONE)
    found = board_run.go(*board_run.only())
    assert found.code == 0
    assert found.on()["tests/test_one.py::test_one"] == "PASSED"


def test_a_full_disk(board_run: BoardRun, boards: Boards) -> None:
    board_run.use(boards(Kind(architecture=native(), home_size=3 << 20)))
    board_run.write(test_one=ONE)
    found = board_run.go(*board_run.only())
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert "the file system of pi is full" in found.text
    assert "No space left on device" in found.text
    assert "--clean" in found.text
    # The wheel itself may fit, and the tools with which it is tested not.
    assert found.on().get("tests/test_one.py::test_one") != "PASSED"
    assert "ERROR" in found.on().values()
    assert "FAILED" not in found.on().values()


def test_a_wheel_of_another_architecture(board_run: BoardRun, board: Board) -> None:
    board_run.use(board)
    board_run.wheel.unlink()
    board_run.wheel = build_wheel(
        board_run.path / "dist", "demo", files={"demo/__init__.py": ""}, tags=["py3-none-manylinux_2_17_aarch64"]
    )
    board_run.write(test_one=ONE)
    found = board_run.go("--wheel-providers=host", bound=BOUND)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    report = found.error()
    assert "no wheel of this run has a target on this board" in report
    assert "on pi (linux-x86_64): " in report
    assert "needs aarch64" in report
    assert "Fix: pass wheels for linux-x86_64" in report


def test_no_ssh_on_this_host(board_run: BoardRun, board: Board) -> None:
    board_run.use(board)
    board_run.env["PATH"] = "/nowhere"
    report = unreachable(board_run)
    assert "there is no ssh on this host" in report
    assert "apt install openssh-client" in report


def test_a_shell_that_prints(board_run: BoardRun, boards: Boards) -> None:
    """Its start files do, such as Bash's ~/.bashrc: the text would be taken for data."""
    command = 'ForceCommand echo Welcome to the board; eval "$SSH_ORIGINAL_COMMAND"'
    board_run.use(boards(Kind(architecture=native(), sshd=(command,))))
    report = unreachable(board_run)
    assert "the shell of pi prints text before it runs a command: 'Welcome to the board'" in report
    assert "~/.bashrc" in report
    assert "only in interactive shells" in report


def test_a_login_shell_that_is_no_posix_shell(board_run: BoardRun, boards: Boards) -> None:
    command = 'ForceCommand /bin/tcsh -c "$SSH_ORIGINAL_COMMAND"'
    board_run.use(boards(Kind(architecture=native(), packages=("tcsh",), sshd=(command,))))
    board_run.write(test_one=ONE)
    found = board_run.go(*board_run.only())
    assert found.code == 0, found.text
    assert found.on()["tests/test_one.py::test_one"] == "PASSED"


def test_a_banner_does_not_matter(board_run: BoardRun, boards: Boards) -> None:
    command = 'ForceCommand echo Welcome >&2; eval "$SSH_ORIGINAL_COMMAND"'
    board_run.use(boards(Kind(architecture=native(), sshd=("Banner /etc/os-release", command))))
    board_run.write(test_one=ONE)
    found = board_run.go(*board_run.only())
    assert found.code == 0
    assert found.on()["tests/test_one.py::test_one"] == "PASSED"


_CLOCK = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#define YEARS (%d)
int clock_gettime(clockid_t id, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, id, now);
    if (!failed && id == CLOCK_REALTIME) now->tv_sec += YEARS * 31556952L;
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
"""


def preload(board: Board, code: str, tmp_path: Path) -> None:
    """Compile the library that all programs of a board with :data:`PRELOADED` load."""
    source = tmp_path / "preloaded.c"
    source.write_text(code, encoding="ascii")
    library = board.machine.files / "preloaded.so"
    argv = ["gcc", "-shared", "-fPIC", "-nostdlib", "-o", str(library), str(source), "-lc"]
    subprocess.run(argv, check=True, timeout=60)


#: A line of ``sshd_config``.
PRELOADED = "SetEnv LD_PRELOAD=/board/preloaded.so"


@needs_compiler
@pytest.mark.parametrize("years", [-10, pytest.param(10, marks=pytest.mark.long)])
def test_a_clock_that_is_wrong_by_years(board_run: BoardRun, boards: Boards, tmp_path: Path, years: int) -> None:
    # libfaketime 0.9.10 breaks clock_nanosleep(), which Python uses to sleep.
    board = boards(Kind(architecture=native(), sshd=(PRELOADED,)))
    preload(board, _CLOCK % years, tmp_path)
    assert abs(int(board.ssh("date +%Y").stdout) - time.gmtime().tm_year - years) <= 1
    board_run.use(board)
    board_run.write(test_one=ONE)
    for _ in range(2):
        found = board_run.go(*board_run.only())
        assert found.code == 0
        assert found.on()["tests/test_one.py::test_one"] == "PASSED"
    assert f"days {'behind' if years < 0 else 'ahead'}" in found.text


_NO_TERMINALS = """
#include <errno.h>
int posix_openpt(int flags) { errno = ENOENT; return -1; }
int openpty(int *first, int *second, char *name, const void *mode, const void *size) { return posix_openpt(0); }
"""


@needs_compiler
def test_no_pseudo_terminals(board_run: BoardRun, boards: Boards, tmp_path: Path) -> None:
    board = boards(Kind(architecture=native(), sshd=(PRELOADED,)))
    preload(board, _NO_TERMINALS, tmp_path)
    board_run.use(board)
    board_run.write(
        test_terminals="import os\n"
        "import pytest\n"
        "import demo\n"
        "@pytest.mark.pty\n"
        "def test_marked(): os.openpty()\n"
        "def test_surprising(): os.openpty()\n"
        "def test_plain(): pass\n"
    )
    found = board_run.go()
    tests = "tests/test_terminals.py::test_"
    assert [found.native[tests + name] for name in ("marked", "surprising", "plain")] == ["PASSED"] * 3
    assert [found.on()[tests + name] for name in ("marked", "surprising", "plain")] == ["SKIPPED", "FAILED", "PASSED"]
    assert "pseudo-terminals no, " in found.text
    assert "does not have pseudo-terminals" in found.report("+pi::test_surprising")
