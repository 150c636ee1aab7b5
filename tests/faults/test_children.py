"""Processes that tests leave behind end with the target, and the report says so."""

from __future__ import annotations

import sys

import pytest
from ground import Ground

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux")

TESTS = """
import multiprocessing, os, signal, subprocess, sys, time
import pytest
import wheelcheck_witness as witness

def leave(seconds, *, ignore=False, clean=False):
    # Forked twice, in a session of its own: a daemon as it stands in the book.
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            if ignore:
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                    signal.signal(number, signal.SIG_IGN)
            os.execve("/bin/sleep", ["sleep", str(seconds)], {{}} if clean else dict(os.environ))
        os._exit(0)
    os.wait()

def test_interpreter():
    text = "import pathlib, time; pathlib.Path('child').touch(); time.sleep(9008)"
    subprocess.Popen([sys.executable, "-c", text], start_new_session=True)
    while not os.path.exists("child"): time.sleep(0.05)
def test_daemon(): leave(9001)
def test_stubborn_daemon(): leave(9002, ignore=True)
def test_daemon_without_variables(): leave(9003, clean=True)
def test_child(): subprocess.Popen(["sleep", "9004"])
def test_child_of_a_child(): subprocess.Popen(["sh", "-c", "sleep 9005 & sleep 9006"], start_new_session=True)
def test_pool():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(abs, [-1]) == [1]
def test_ends_by_itself(): subprocess.Popen(["sleep", "0.1"])
def test_{end}(): {act}
def test_last(): pass
"""


@pytest.mark.parametrize(
    ("end", "act"),
    [
        ("nothing", "pass"),
        ("crash", "witness.misbehave('segfault')"),
        ("hang", "witness.misbehave('hang')"),
    ],
)
def test_what_is_left(ground: Ground, end: str, act: str) -> None:
    _look(ground, end, act)


@pytest.mark.network
def test_what_is_left_under_an_emulator(arm: Ground) -> None:
    """Emulated children, and programs of the host's, of a worker that crashed."""
    _look(arm, "crash", "witness.misbehave('segfault')")


def _look(ground: Ground, end: str, act: str) -> None:
    ground.ini("wheel_test_timeout = 2", "wheel_timeout_scale = 5")
    ground.write(test_children=TESTS.format(end=end, act=act))
    found = ground.run(bound=240)
    bad = [] if end == "nothing" else [f"tests/test_children.py::test_{end}"]
    assert found.only("FAILED") == bad
    assert found.nodes["tests/test_children.py::test_last"] == "PASSED"
    (line,) = [line for line in found.text.splitlines() if "tests left processes running, which were ended" in line]
    assert "sleep 900" in line
    assert "time.sleep(9008)" in line
    assert "sleep 0.1" not in line
    assert "multiprocessing" not in line


def test_supervisor_killed(ground: Ground) -> None:
    """Code under test can kill the supervisor; the worker and its group are ended all the same."""
    ground.write(
        test_children="""
        import os, subprocess, time
        def test_patricide():
            subprocess.Popen(["sleep", "9007"])
            os.kill(os.getppid(), 9)
            time.sleep(60)
        def test_last(): pass
        """
    )
    found = ground.run()
    assert found.only("FAILED") == ["tests/test_children.py::test_patricide"]
    assert found.nodes["tests/test_children.py::test_last"] == "PASSED"
