"""After a test that ends the interpreter, a copy of the worker goes on, and is like a new worker in every other way."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from builders import build_wheel
from ground import Ground

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a worker has a supervisor on Linux")

#: Runs at each start of an interpreter of the environment. The import check starts one as well.
START = "import os; open({path!r}, 'a').write(str(os.getpid()) + '\\n'){more}\n"

#: Starts a thread when pytest is loaded.
HOOK = """
import sys, threading

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "pytest":
            threading.Thread(target=threading.Event().wait, daemon=True).start()

sys.meta_path.insert(0, Finder())
"""

TESTS = """
import ctypes, os, signal
import pytest
import demo

@pytest.mark.parametrize("number", range(8))
def test_one(number, tmp_path):
    with open("ran", "a") as file:
        file.write("%d %d %s\\n" % (number, os.getpid(), tmp_path.parent))
    if number in (1, 3, 4):
        ACT

def test_no_child():
    with pytest.raises(ChildProcessError):
        os.wait()
"""


def starts(ground: Ground, act: str, *words: str, more: str = "") -> tuple[int, list[tuple[int, int, str]]]:
    """Run tests of which three end the worker; return the starts of interpreters, and for each test its process and directory."""
    noted, ran = ground.path / "starts", ground.path / "ran"
    for file in (noted, ran):
        file.unlink(missing_ok=True)
    line = START.format(path=str(noted), more=more)
    ground.wheel = build_wheel(
        ground.path / "dist", "demo", files={"demo/__init__.py": "", "demo_start.pth": line, "demo_hook.py": HOOK}
    )
    ground.write(test_ends=TESTS.replace("ACT", act))
    found = ground.run(*words, kept="--wheel-artifacts=left" in words)
    bad = [f"tests/test_ends.py::test_one[{number}]" for number in (1, 3, 4)] if act != "pass" else []
    assert found.only("FAILED") == bad, found.text
    assert found.nodes["tests/test_ends.py::test_no_child"] == "PASSED"
    lines = [line.split() for line in ran.read_text("utf-8").splitlines()]
    tests = [(int(number), int(pid), directory) for number, pid, directory in lines]
    # None twice, although the next ones had been asked for.
    assert [number for number, _, _ in tests] == list(range(8))
    return len(set(noted.read_text("ascii").split())), tests


@pytest.fixture
def usual(demo: Ground) -> int:
    """The starts of interpreters in a run without a crash."""
    demo.write(test_one="")
    return starts(demo, "pass")[0]


@pytest.mark.parametrize(
    "act",
    ["ctypes.string_at(0)", "os.abort()", "os._exit(3)", "os.killpg(0, signal.SIGTERM)"],
    ids=["segfault", "abort", "exit", "group"],
)
def test_no_interpreter_is_started(demo: Ground, usual: int, act: str) -> None:
    count, tests = starts(demo, act)
    assert count == usual
    workers = [pid for _, pid, _ in tests]
    assert workers[0] == workers[1] != workers[2] == workers[3] != workers[4] != workers[5] == workers[7]
    # Each worker has a directory of its own for temporary files, so none removes what another one left.
    assert len({(pid, Path(directory).name) for _, pid, directory in tests}) == 4
    assert len({directory for _, _, directory in tests}) == 4


@pytest.mark.parametrize(
    ("act", "more"),
    [
        # The kernel does this when it is out of memory. What the successor would need is not known.
        ("os.kill(os.getpid(), 9)", ""),
        # As after the last test.
        ("os._exit(0)", ""),
        # A copy would not have the thread.
        ("os.abort()", "; import demo_hook"),
    ],
    ids=["killed", "exit status 0", "threads"],
)
def test_an_interpreter_is_started(demo: Ground, usual: int, act: str, more: str) -> None:
    assert starts(demo, act, more=more)[0] == usual + 3


def test_a_successor_that_was_killed(demo: Ground, usual: int) -> None:
    """Code under test may end all processes of the user that look like Python."""
    act = """import subprocess
        for line in subprocess.run(["ps", "-eo", "pid,ppid"], stdout=subprocess.PIPE, text=True).stdout.splitlines()[1:]:
            pid, parent = map(int, line.split())
            if parent == os.getppid() and pid != os.getpid():
                os.kill(pid, 9)
        os.abort()"""
    assert starts(demo, act)[0] == usual + 3


def test_ended_while_it_is_made(demo: Ground) -> None:
    """The copy of a worker that ends at once is not a process that tests left running."""
    slow = "import os, time; os.register_at_fork(after_in_child=lambda: time.sleep(0.4))\n"
    demo.wheel = build_wheel(demo.path / "dist", "demo", files={"demo/__init__.py": "", "demo_start.pth": slow})
    demo.write(test_one="import os\nos.abort()\n", test_two="def test_two(): pass\n")
    found = demo.run()
    assert found.only("FAILED") == ["tests/test_one.py"]
    assert found.nodes["tests/test_two.py::test_two"] == "PASSED"
    assert "left processes running" not in found.text


@pytest.mark.network
def test_under_an_emulator(arm: Ground) -> None:
    arm.write(
        test_ends="""
        import os, pytest
        import wheelcheck_witness as witness
        @pytest.mark.parametrize("number", range(5))
        def test_one(number):
            open("pids", "a").write(f"{os.getpid()} {os.getsid(0)}\\n")
            if number in (1, 3):
                witness.misbehave("segfault")
        """
    )
    found = arm.run(bound=240)
    assert found.only("FAILED") == [f"tests/test_ends.py::test_one[{number}]" for number in (1, 3)]
    pids = [line.split() for line in (arm.path / "pids").read_text("ascii").splitlines()]
    assert len(pids) == 5
    assert len({pid for pid, _ in pids}) == 3
    assert all(pid == sid for pid, sid in pids)
    assert found.text.count("the interpreter died: killed by SIGSEGV") == 2
