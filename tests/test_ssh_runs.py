"""Runs on boards: outcomes are those of this host, node by node; what the board gets, and what it keeps."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from board_runs import BoardRun, files_of_home
from boards import Board, Boards
from builders import build_wheel
from compiled import LINUX_TAG, SUFFIX, extension, needs_compiler

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux")

NORMAL = """
import importlib.metadata, logging, os, pathlib, stat, subprocess, sys, warnings
import pytest
import demo

HERE = pathlib.Path(__file__).parent

def test_passes():
    assert demo.VALUE == 1

def test_fails():
    assert demo.VALUE == 2

@pytest.mark.skip(reason="not today")
def test_skipped():
    pass

@pytest.mark.xfail(strict=True)
def test_expected_failure():
    assert 0

@pytest.mark.xfail
def test_unexpected_pass():
    pass

@pytest.mark.parametrize("text", ["a b", "a::b", "/tmp/x", "\\u00e4\\u4e2d", "[x]", "", "\\n", "x=1/2"])
def test_odd_ids(text):
    assert text == text

@pytest.fixture
def broken():
    raise ValueError("a fixture")

def test_setup_error(broken):
    pass

def test_files(tmp_path, monkeypatch):
    (tmp_path / "x").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert pathlib.Path("x").read_text() == "x"

def test_data():
    assert (HERE / "data" / "file.bin").read_bytes() == bytes(range(256)) * 4
    assert (HERE / "data" / "link").is_symlink()
    assert os.readlink(HERE / "data" / "link") == "file.bin"
    assert (HERE / "data" / "directory").is_symlink()
    assert (HERE / "data" / "directory" / "file.bin").exists()
    assert subprocess.run([HERE / "data" / "script.sh"], stdout=subprocess.PIPE, check=True).stdout == b"ran\\n"
    assert stat.S_IMODE((HERE / "data" / "private").stat().st_mode) == 0o600
    assert not os.access(HERE / "data" / "file.bin", os.X_OK)

def test_subprocess():
    code = "import demo; print(demo.__file__)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == demo.__file__

def test_metadata():
    assert importlib.metadata.version("demo") == "1.0"

def test_script():
    assert subprocess.run(["demo-run"], stdout=subprocess.PIPE, text=True, check=True).stdout == "it runs\\n"

def test_terminal():
    import pty
    first, second = pty.openpty()
    assert os.isatty(second)

class TestClass:
    def test_method(self):
        warnings.warn("a warning of the test")

def test_chained():
    try:
        open(HERE / "missing")
    except OSError as error:
        raise RuntimeError(f"see {__file__}") from error
"""


def write_normal(run: BoardRun) -> None:
    (run.path / "dist").joinpath(run.wheel.name).unlink()
    run.wheel = build_wheel(
        run.path / "dist",
        "demo",
        files={"demo/__init__.py": "VALUE = 1\ndef run(): print('it runs')\n", "demo/bad.py": "import nowhere\n"},
        entry_points={"console_scripts": {"demo-run": "demo:run", "demo-lost": "demo:lost"}},
    )
    run.write(test_normal=NORMAL)
    data = run.path / "tests/data"
    data.mkdir()
    (data / "file.bin").write_bytes(bytes(range(256)) * 4)
    (data / "link").symlink_to("file.bin")
    (data / "directory").symlink_to(".")
    (data / "private").write_text("secret", encoding="utf-8")
    (data / "private").chmod(0o600)
    (data / "script.sh").write_text("#!/bin/sh\necho ran\n", encoding="utf-8")
    (data / "script.sh").chmod(0o755)


def compare(run: BoardRun, *names: str) -> None:
    found = run.go(bound=600)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    tests = {node: outcome for node, outcome in found.native.items() if node.startswith("tests/")}
    assert len(tests) == 22
    assert {outcome for node, outcome in tests.items() if "odd" in node} == {"PASSED"}
    assert {node.rpartition("::")[2] for node, outcome in tests.items() if outcome in {"FAILED", "ERROR"}} == {
        "test_fails",
        "test_chained",
        "test_setup_error",
    }
    assert found.native["entry[demo-lost]"] == "FAILED"
    assert found.native["entry[demo-run]"] == "PASSED"
    for name in names:
        assert found.on(name) == found.native
        # No path of the board is shown, and messages are those of this host.
        assert "/home/pi" not in found.report(f"+{name}")
        assert f"see {run.path}/tests/test_normal.py" in found.report(f"+{name}::test_chained")
        assert f"{run.path}/tests/missing" in found.report(f"+{name}::test_chained")


def test_outcomes_are_those_of_this_host(board_run: BoardRun, board: Board) -> None:
    write_normal(board_run)
    board_run.use(board)
    compare(board_run, "pi")
    assert files_of_home(board) == {"store"}
    # Everything went through one connection.
    assert board.log.count("Accepted publickey for pi") == 1


@pytest.mark.long
def test_two_boards_side_by_side(board_run: BoardRun, board: Board, arm_board: Board) -> None:
    write_normal(board_run)
    board_run.use(board)
    board_run.use(arm_board, "arm")
    compare(board_run, "pi", "arm")


NATIVE = """
#include <stdlib.h>
#include <unistd.h>
static PyObject *crash(PyObject *self, PyObject *none) { abort(); }
static PyObject *fault(PyObject *self, PyObject *none) { *(volatile int *)8 = 1; return NULL; }
static PyObject *hang(PyObject *self, PyObject *none) { for (;;) pause(); }
static PyMethodDef more[] = {
    {"crash", crash, METH_NOARGS, 0}, {"fault", fault, METH_NOARGS, 0}, {"hang", hang, METH_NOARGS, 0}, {0}
};
"""

FATAL = """
import os, subprocess, sys
import pytest
from demo import native

def test_native(): assert native.answer() == 42
def test_aborts(): native.crash()
def test_after_abort(): pass
def test_faults(): native.fault()
def test_exits(): os._exit(0)
def test_after_exit(): pass
@pytest.mark.timeout(2)
def test_hangs(): native.hang()
def test_leaves_a_process(): subprocess.Popen(["sleep", "654"], start_new_session=True)
def test_long_output():
    for number in range(60_000): print("line", number)
    assert 0
def test_last(): pass
"""


@needs_compiler
def test_crashes_hangs_and_long_output(board_run: BoardRun, board: Board, tmp_path: Path) -> None:
    binary = extension(
        tmp_path / "c", "native", head=NATIVE, body="if (PyModule_AddFunctions(module, more)) return -1;"
    )
    board_run.wheel.unlink()
    board_run.wheel = build_wheel(
        board_run.path / "dist",
        "demo",
        files={"demo/__init__.py": "", f"demo/native{SUFFIX}": binary},
        tags=[LINUX_TAG],
    )
    board_run.write(test_fatal=FATAL)
    board_run.use(board)
    board_run.lines.append("wheel_timeout_scale = 1.5")
    found = board_run.go(kept=True)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    there = found.on()
    assert there == found.native
    assert {node.rpartition("::test_")[2] for node, outcome in there.items() if outcome != "PASSED"} == {
        "aborts",
        "faults",
        "exits",
        "hangs",
        "long_output",
    }
    for name, texts in {
        "aborts": ("killed by SIGABRT", "in test_aborts"),
        "faults": ("killed by SIGSEGV", "in test_faults"),
        "exits": ("the interpreter died: exit status 0",),
        "hangs": ("Timeout", "in test_hangs"),
    }.items():
        report = found.report(f"+pi::test_{name}")
        for text in texts:
            assert text in report, (name, text)
        assert "/home/pi" not in report
    left = ": tests left processes running, which were ended: "
    assert re.search(rf"^\S+\+pi{left}.*sleep 654", found.text, re.MULTILINE)
    files = {
        re.search(r"the full output is in (\S+?)\]?$", found.report(f"{target}::test_long_output"), re.MULTILINE)
        for target in ("cp311-linux-x86_64", "cp311-linux-x86_64+pi")
    }
    assert len({match and match[1] for match in files}) == 2
    for match in files:
        assert match
        assert Path(match[1]).read_text(encoding="utf-8").endswith("line 59999\n")


def test_choosing_tests(board_run: BoardRun, board: Board) -> None:
    board_run.use(board)
    board_run.lines.append("wheel_timeout_scale = 1.5")
    board_run.write(
        test_a="import demo, time\ndef test_one(): pass\ndef test_two(): assert 0\ndef test_three(): pass\n",
        test_b="import time\ndef test_four(): pass\ndef test_slow(): time.sleep(60)\n",
    )
    (only,) = board_run.only()
    run = board_run.go(only, "-k", "one or three")
    assert [node for node in run.on() if "test_" in node] == [
        "tests/test_a.py::test_one",
        "tests/test_a.py::test_three",
    ]
    run = board_run.go(only, "-x", "--deselect", f"{only}::tests/test_b.py::test_slow")
    assert "tests/test_a.py::test_three" not in run.on()
    run = board_run.go(only, "--timeout=2", "-p", "cacheprovider", "-k", "two or slow")
    assert run.on()["tests/test_b.py::test_slow"] == run.on()["tests/test_a.py::test_two"] == "FAILED"
    assert run.seconds < 60
    run = board_run.go(*board_run.only("tests/test_b.py::test_four", "tests/test_a.py::test_one"))
    assert [*run.on()] == ["tests/test_b.py::test_four", "tests/test_a.py::test_one"]
    assert run.code == 0
    run = board_run.go(only, "-n2", "-k", "one or two or four")
    assert {node: outcome for node, outcome in run.on().items() if "test_" in node} == {
        "tests/test_a.py::test_one": "PASSED",
        "tests/test_a.py::test_two": "FAILED",
        "tests/test_b.py::test_four": "PASSED",
    }


def test_only_those_that_failed(board_run: BoardRun, board: Board) -> None:
    board_run.use(board)
    board_run.write(test_a="import demo\ndef test_one(): pass\ndef test_two(): assert 0\n")
    (only,) = board_run.only()
    board_run.go(only, "-p", "cacheprovider")
    run = board_run.go(only, "-p", "cacheprovider", "--lf")
    assert run.on()["tests/test_a.py::test_two"] == "FAILED"
    assert "tests/test_a.py::test_one" not in run.on()


def test_what_is_sent(board_run: BoardRun, board: Board) -> None:
    board_run.use(board)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x", "-C", str(board_run.path)]
    subprocess.run([*git, "init", "-q"], check=True)
    (board_run.path / ".gitignore").write_text("dist/\nignored\nbuilt.dat\npytest.ini\n", encoding="utf-8")
    for name in ("ignored", "built.dat", "tracked.txt", "secret.key", "untracked.txt"):
        (board_run.path / name).write_text(name, encoding="utf-8")
    subprocess.run([*git, "add", "tracked.txt", "secret.key"], check=True)
    board_run.lines += ["wheel_push =", "    built.dat", "    !*.key"]
    board_run.write(
        test_files="import demo, os, pathlib\n"
        "def test_files():\n"
        "    names = {path.name for path in pathlib.Path(__file__).parent.parent.iterdir()}\n"
        "    assert names >= {'tracked.txt', 'untracked.txt', 'built.dat', 'tests'}\n"
        "    assert not names & {'ignored', 'secret.key', 'dist', '.git'}\n"
    )
    assert board_run.go(*board_run.only()).on()["tests/test_files.py::test_files"] == "PASSED"


def test_the_second_run_sends_little(board_run: BoardRun, boards: Boards, board: Board) -> None:
    proxy = boards.proxy(board)
    board_run.use(board.through(proxy))
    blob = os.urandom(3_000_000)
    board_run.wheel.unlink()
    board_run.wheel = build_wheel(board_run.path / "dist", "demo", files={"demo/__init__.py": "", "demo/blob": blob})
    board_run.write(test_one="import demo\ndef test_one(): pass\n")
    sent = []
    for _ in range(2):
        assert board_run.go(*board_run.only()).code == 0
        sent.append(proxy.up)
        proxy.reset_counts()
    (board_run.path / "tests/test_one.py").write_text("import demo\ndef test_one(): assert 1\n", encoding="utf-8")
    assert board_run.go(*board_run.only()).code == 0
    sent.append(proxy.up)
    print("bytes sent:", sent)
    assert sent[0] > len(blob)
    assert max(sent[1:]) < 200_000


def test_wheels_that_do_not_fit(board_run: BoardRun, board: Board) -> None:
    board_run.use(board)
    build_wheel(
        board_run.path / "dist", "demo", files={"demo/__init__.py": ""}, tags=["py3-none-musllinux_1_2_riscv64"]
    )
    board_run.write(test_one="import demo\ndef test_one(): pass\n")
    found = board_run.go("--wheel=dist", "--wheel-providers=host")
    assert found.on()["tests/test_one.py::test_one"] == "PASSED"
    (target,) = [target for target in found.nodes if "riscv64" in target and target.endswith("+pi")]
    assert found.nodes[target] == {"": "SKIPPED"}
    assert "on pi (linux-x86_64): needs riscv64 with musl libc" in found.text


def test_an_interpreter_that_the_board_does_not_have(board_run: BoardRun, board: Board) -> None:
    board_run.use(board)
    board_run.write(test_one="import demo\ndef test_one(): pass\n")
    board_run.python = "3.12"
    found = board_run.go()
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.native["tests/test_one.py::test_one"] == "PASSED"
    report = found.error()
    assert "3.12" in report
    assert "on pi" in report


def test_executables(board_run: BoardRun, board: Board) -> None:
    scripts: dict[str, bytes | str] = {
        "demo-echo": Path("/bin/echo").read_bytes(),
        "demo-bad": "#!/bin/sh\necho out\necho err >&2\nexit 3\n",
    }
    board_run.wheel.unlink()
    board_run.wheel = build_wheel(
        board_run.path / "dist",
        "demo",
        files={"demo/__init__.py": "", **{f"demo-1.0.data/scripts/{name}": data for name, data in scripts.items()}},
        tags=["py3-none-linux_x86_64"],
        modes={f"demo-1.0.data/scripts/{name}": 0o100755 for name in scripts},
    )
    board_run.use(board)
    board_run.write(
        test_one="import subprocess\n"
        "def test_one(): assert subprocess.run(['demo-echo', 'x'], stdout=subprocess.PIPE, check=True).stdout == b'x\\n'\n"
    )
    found = board_run.go("-rA")
    assert found.on() == found.native
    assert found.on()["run[demo-echo]"] == found.on()["tests/test_one.py::test_one"] == "PASSED"
    assert found.on()["run[demo-bad]"] == "FAILED"
    # What the two wrote, and nothing of the agent.
    reports = [found.report(f"cp311-linux-x86_64{end}::run[demo-bad]") for end in ("", "+pi")]
    assert "ended with exit status 3" in reports[0]
    assert "\nout\n" in reports[0]
    assert "\nerr" in reports[0]
    assert reports[0] == reports[1]
    assert "wheelcheck board" not in found.text


def test_an_address_on_the_command_line(board_run: BoardRun, board: Board) -> None:
    board_run.boards["pi"] = board
    board_run.write(test_one="import demo\ndef test_one(): pass\ndef test_two(): pass\n")
    name = board.url.removeprefix("ssh://")
    found = board_run.go(f"--wheel-host={board.url}")
    assert found.code == 0
    assert found.on(name) == found.native
    node = next(line.split()[0] for line in found.text.splitlines() if f"+{name}::tests/test_one.py::test_two" in line)
    again = board_run.go(f"--wheel-host={board.url}", node)
    assert again.on(name) == {"tests/test_one.py::test_two": "PASSED"}
