"""Runs on boards that are interrupted, and boards and networks that fail in the middle of a run."""

from __future__ import annotations

import signal
import sys
import time

import provisioned
import pytest
from board_runs import AFTER_SILENCE, WAITS, BoardRun, nothing_is_left
from boards import Board, Boards, Kind, native, wait_until
from builders import build_wheel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux")

FIRST, WAITING, LAST = (f"tests/test_waits.py::test_{name}" for name in ("first", "waits", "last"))


@pytest.fixture
def waiting(board_run: BoardRun) -> BoardRun:
    """A run whose second test says that it runs, starts a process, and waits."""
    board_run.write(test_waits=WAITS)
    return board_run


def test_ctrl_c_in_a_test(waiting: BoardRun, board: Board) -> None:
    waiting.use(board)
    with waiting.in_a_test(board, *waiting.only()) as process:
        assert board.processes()
        process.send_signal(signal.SIGINT)
        found = waiting.end(process, 30)
    assert found.code == pytest.ExitCode.INTERRUPTED
    nothing_is_left(board)
    waiting.nothing_left()


def test_a_run_that_is_killed(waiting: BoardRun, board: Board) -> None:
    waiting.use(board)
    with waiting.in_a_test(board, *waiting.only()) as process:
        process.kill()
        nothing_is_left(board)
    waiting.nothing_left(files=False)
    assert list(waiting.temp.iterdir())
    # The next run removes the files that the killed one has left here.
    waiting.write(test_waits="def test_one(): pass\n")
    assert waiting.go(*waiting.only()).code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_end_of_a_run_that_sends_files(
    waiting: BoardRun, boards: Boards, board: Board, number: signal.Signals
) -> None:
    proxy = boards.proxy(board)
    waiting.use(board.through(proxy))
    with waiting.started(*waiting.only()) as process:
        wait_until(lambda: proxy.up > 200_000, waiting.said, 60)
        proxy.rate = 100_000
        process.send_signal(number)
        found = waiting.end(process, 40)
    assert found.code != 0
    nothing_is_left(board, 30)
    waiting.nothing_left(files=number == signal.SIGINT)


@pytest.mark.parametrize("fault", ["cut", "kill_connections"])
def test_a_connection_that_is_lost_in_a_test(waiting: BoardRun, boards: Boards, board: Board, fault: str) -> None:
    proxy = boards.proxy(board)
    waiting.use(board.through(proxy))
    with waiting.in_a_test(board, *waiting.only()) as process:
        before = {each.pid for each in board.processes()}
        proxy.cut() if fault == "cut" else board.kill_connections()
        # What ran there ends by itself; the run goes on with the next test.
        wait_until(lambda: not before & {each.pid for each in board.processes()}, "it runs on", 15)
        found = waiting.end(process, 60)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.on()[FIRST] == "PASSED"
    assert found.on()[WAITING] in {"ERROR", "FAILED"}
    assert found.on()[LAST] == "PASSED"
    report = found.report("test_waits")
    assert "could not be checked: the connection to pi was lost" in report
    assert "Cause: the network failed" in report
    nothing_is_left(board)
    waiting.nothing_left()


@pytest.mark.long
def test_a_network_that_becomes_silent(waiting: BoardRun, boards: Boards, board: Board) -> None:
    proxy = boards.proxy(board)
    waiting.use(board.through(proxy), options="wait=5")
    with waiting.in_a_test(board, *waiting.only()) as process:
        start = time.monotonic()
        proxy.freeze()
        wait_until(lambda: not board.processes(), lambda: str(board.processes()), AFTER_SILENCE)
        print("ended after", time.monotonic() - start)
        found = waiting.end(process, 120)
    assert found.on()[FIRST] == "PASSED"
    assert found.on()[WAITING] == found.on()[LAST] == "ERROR"
    assert "the connection to pi was lost" in found.text
    proxy.thaw()
    nothing_is_left(board)
    waiting.nothing_left()


@pytest.mark.parametrize("part", [0.02, 0.5, 0.98])
def test_a_connection_that_is_lost_in_preparation(waiting: BoardRun, boards: Boards, board: Board, part: float) -> None:
    """It is an error of the target, if it was needed after all; the next run sends what is missing."""
    proxy = boards.proxy(board)
    waiting.write(test_waits="import demo\ndef test_one(): pass\n")
    waiting.use(board.through(proxy))
    cuts: list[int] = []

    def cut() -> None:
        cuts.append(proxy.up)
        proxy.cut()

    proxy.after(int(4_500_000 * part), cut)
    found = waiting.go(*waiting.only())
    assert len(cuts) == 1
    outcome = found.on().get("tests/test_waits.py::test_one")
    if found.code == 0:
        assert outcome == "PASSED"
    else:
        assert "ERROR" in found.on().values()
        assert "FAILED" not in found.on().values()
        assert "the connection to pi was lost" in found.text
        # The import check had the old connection, and the tests a new one.
        if outcome == "PASSED":
            imports = {result for node, result in found.on().items() if node.startswith("import[")}
            assert imports == {"ERROR"}
    assert waiting.go(*waiting.only()).code == 0


def test_a_board_that_is_gone_in_preparation(waiting: BoardRun, boards: Boards, board: Board) -> None:
    proxy = boards.proxy(board)
    waiting.use(board.through(proxy), options="wait=3")
    # The environment of the wheel is there, and the tools with which it is tested are not.
    proxy.after(2_000_000, board.stop)
    found = waiting.go(*waiting.only(), bound=120)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.on() == {"install": "PASSED", "import[demo]": "PASSED", "tools": "ERROR"}
    report = found.report("+pi::tools")
    assert report.count("the connection to pi was lost") == 1
    assert "Cause: the network failed, the board was switched off or restarted" in report
    assert "wait=SECONDS in wheel_hosts" in report


def test_a_connection_that_is_lost_at_the_end(waiting: BoardRun, boards: Boards, board: Board) -> None:
    """Whether the hooks at the end of the session fail is not known, and that is no fault of the wheel."""
    proxy = boards.proxy(board)
    waiting.use(board.through(proxy))
    waiting.write(
        test_waits="import os, pathlib\ndef test_one(): pathlib.Path(os.path.expanduser('~/started')).write_text('')\n"
    )
    (waiting.path / "conftest.py").write_text(
        "import os, time\ndef pytest_unconfigure():\n"
        "    if os.path.exists(os.path.expanduser('~/started')): time.sleep(3)\n",
        encoding="utf-8",
    )
    with waiting.in_a_test(board, *waiting.only()) as process:
        time.sleep(1)
        proxy.cut()
        found = waiting.end(process, 60)
    assert found.on()["tests/test_waits.py::test_one"] == "ERROR"
    report = found.report("teardown of cp311-linux-x86_64+pi::test_one")
    assert "at the end of the session: could not be checked: the connection to pi was lost" in report
    assert "native code" not in report
    nothing_is_left(board)


@pytest.mark.parametrize("home_size", [None, 200 << 20])
def test_a_board_that_reboots_in_a_test(waiting: BoardRun, boards: Boards, home_size: int | None) -> None:
    """A home in memory is empty afterwards: all files are sent once more."""
    board = boards(Kind(architecture=native(), home_size=home_size))
    waiting.use(board)
    with waiting.in_a_test(board, *waiting.only()) as process:
        board.reboot(3.0)
        found = waiting.end(process, 90)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.on()[FIRST] == "PASSED"
    assert found.on()[WAITING] in {"ERROR", "FAILED"}
    assert found.on()[LAST] == "PASSED"
    assert "could not be checked: the connection to pi was lost" in found.report("test_waits")
    assert "the board was switched off or restarted" in found.report("test_waits")
    nothing_is_left(board)


def test_a_board_that_does_not_come_back(waiting: BoardRun, board: Board) -> None:
    waiting.use(board, options="wait=6")
    waiting.write(test_waits=WAITS + "def test_further(): pass\n")
    with waiting.in_a_test(board, *waiting.only()) as process:
        board.stop()
        found = waiting.end(process, 60)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.on()[FIRST] == "PASSED"
    rest = [WAITING, LAST, LAST.replace("last", "further")]
    assert [found.on()[node] for node in rest] == ["ERROR"] * 3
    assert "pi refuses the connection" in found.text
    waiting.nothing_left()


@pytest.fixture
def small_board(boards: Boards) -> Board:
    """A board with 192 MiB of memory."""
    board = boards(Kind(architecture=native(), memory=192 << 20))
    if board.memory_limit != "cgroup":
        raise provisioned.missing("boards", "this user may not make a cgroup, which limits the memory of a board")
    return board


def test_a_board_without_memory(waiting: BoardRun, small_board: Board) -> None:
    board = small_board
    waiting.use(board)
    waiting.write(
        test_waits="import os\ndef test_first(): pass\n"
        "def test_waits():\n    if os.environ['HOME'] == '/home/pi': b'x' * (400 << 20)\n"
        "def test_last(): pass\n"
    )
    found = waiting.go(*waiting.only())
    assert board.oom_kills == 1
    assert found.on()[FIRST] == found.on()[LAST] == "PASSED"
    assert found.on()[WAITING] in {"ERROR", "FAILED"}
    assert "ran out of memory" in found.report("test_waits")


@pytest.mark.parametrize(("place", "node"), [("__init__", "import[demo]"), ("first", "modules[demo]")])
def test_a_board_without_memory_for_an_import(waiting: BoardRun, small_board: Board, place: str, node: str) -> None:
    """A small board says nothing about the wheel."""
    fill = "import os\nif os.environ['HOME'] == '/home/pi': b'x' * (400 << 20)\n"
    waiting.wheel.unlink()
    files = {"demo/__init__.py": "", "demo/second.py": "", f"demo/{place}.py": fill}
    waiting.wheel = build_wheel(waiting.path / "dist", "demo", files=files)
    waiting.use(small_board)
    waiting.write(test_waits="def test_first(): pass\n")
    found = waiting.go()
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.native[node] == "PASSED"
    assert found.on()[node] == "ERROR"
    assert "FAILED" not in found.on().values()
    report = found.report(f"+pi::{node}")
    assert "could not be checked: pi ran out of memory" in report
    assert ("when demo.first was imported" in report) == (place == "first")
    assert "these modules cannot be imported" not in found.text
    assert small_board.oom_kills >= 1


def test_two_runs_on_one_board(waiting: BoardRun, board: Board, request: pytest.FixtureRequest) -> None:
    waiting.use(board)
    other = BoardRun(waiting.path.parent / "other")
    other.use(board)
    other.write(test_two="import demo\ndef test_two(): pass\n")
    with waiting.in_a_test(board, *waiting.only()) as process:
        with other.started(*other.only()) as second:
            found = other.end(second, 120)
        assert found.code == 0
        assert process.poll() is None
        assert board.processes()
        process.send_signal(signal.SIGINT)
        waiting.end(process, 30)
    nothing_is_left(board)


def test_two_runs_that_send_the_same_files(waiting: BoardRun, board: Board) -> None:
    other = BoardRun(waiting.path.parent / "other")
    for run in (waiting, other):
        run.use(board)
        run.write(test_waits="import demo\ndef test_one(): pass\n")
    with waiting.started(*waiting.only()) as first, other.started(*other.only()) as second:
        for run, process in ((waiting, first), (other, second)):
            found = run.end(process, 120)
            assert found.code == 0
            assert found.on()["tests/test_waits.py::test_one"] == "PASSED"
    nothing_is_left(board)


@pytest.mark.long
def test_a_slow_and_distant_network(waiting: BoardRun, boards: Boards, board: Board) -> None:
    proxy = boards.proxy(board, rate=50_000, delay=0.15)
    waiting.use(board.through(proxy))
    waiting.write(test_waits="import demo\ndef test_one(): pass\ndef test_bad(): assert 0\n")
    found = waiting.go(*waiting.only(), bound=400)
    assert found.on()["tests/test_waits.py::test_one"] == "PASSED"
    assert found.on()["tests/test_waits.py::test_bad"] == "FAILED"
    again = waiting.go(*waiting.only(), bound=400)
    assert again.on() == found.on()
    print(found.seconds, again.seconds)


_WAIT = """
import os, pathlib, time
mark = pathlib.Path(os.path.expanduser("~/started"))
if os.environ.get("HOME") == "/home/pi" and not mark.exists():
    mark.write_text("")
    time.sleep(600)
"""


@pytest.mark.parametrize("place", ["import", "submodule", "executable", "entry point", "collection"])
def test_a_connection_that_is_lost_in_a_check(waiting: BoardRun, boards: Boards, board: Board, place: str) -> None:
    """Nothing is known about the wheel then: an error, and not a failure."""
    files = {
        "demo/__init__.py": _WAIT if place == "import" else "",
        "demo/sub.py": _WAIT if place == "submodule" else "",
        "demo/script.py": _WAIT if place == "entry point" else "def main(): pass\n",
    }
    if place == "executable":
        files["demo-1.0.data/scripts/demo-wait"] = f"#!python\n{_WAIT}"
    waiting.wheel.unlink()
    waiting.wheel = build_wheel(
        waiting.path / "dist", "demo", files=files, entry_points={"console_scripts": {"demo-main": "demo.script:main"}}
    )
    waiting.write(test_waits=f"{_WAIT if place == 'collection' else ''}\ndef test_one(): import demo\n")
    proxy = boards.proxy(board)
    waiting.use(board.through(proxy))
    with waiting.in_a_test(board, *waiting.only()) as process:
        proxy.cut()
        found = waiting.end(process, 60)
    assert "FAILED" not in found.on().values()
    assert "could not be checked: the connection to pi was lost" in found.text
    if place == "collection":
        # It is repeated, and the user is told: nothing was left out.
        assert (
            "collecting the tests failed while the wheel was imported, and succeeded when it was repeated" in found.text
        )
        assert found.code == 0
        assert found.on()["tests/test_waits.py::test_one"] == "PASSED"
    else:
        assert found.code == pytest.ExitCode.TESTS_FAILED
        assert "ERROR" in found.on().values()
    nothing_is_left(board)
    waiting.nothing_left()


@pytest.mark.parametrize("place", ["import", "executable"])
def test_a_board_that_is_gone_in_a_check(waiting: BoardRun, board: Board, place: str) -> None:
    waiting.wheel.unlink()
    waiting.wheel = build_wheel(
        waiting.path / "dist",
        "demo",
        files={
            "demo/__init__.py": _WAIT if place == "import" else "",
            "demo/sub.py": "",
            "demo-1.0.data/scripts/demo-wait": f"#!python\n{_WAIT if place == 'executable' else ''}",
            "demo-1.0.data/scripts/demo-zero": "#!python\n",
        },
    )
    waiting.write(test_waits="def test_one(): import demo\n")
    waiting.use(board, options="wait=1")
    with waiting.in_a_test(board, *waiting.only()) as process:
        board.stop()
        found = waiting.end(process, 60)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    outcomes = found.on()
    assert "FAILED" not in outcomes.values()
    assert outcomes.pop("install") == "PASSED"
    if place == "executable":
        for name in ("import[demo]", "modules[demo]", "compile"):
            assert outcomes.pop(name) == "PASSED"
    else:
        # This host compiles the files.
        assert (outcomes.pop("modules[demo]"), outcomes.pop("compile")) == ("SKIPPED", "PASSED")
    # What follows has no nodes of its own, since the target cannot be prepared.
    assert set(outcomes.values()) == {"ERROR"}
    assert outcomes["tools"] == "ERROR"
    assert "the connection to pi was lost" in found.text
    waiting.nothing_left()
