"""A worker gets tests ahead of their turn, and sends the reports of a test together: no report is lost, no test is run twice."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run, RunOutput, run_output

from pytest_wheelcheck.worker.held import HELD_LIMIT, HeldFrames, make_held_file, read_held

#: Makes every test note that it ran, outside of the environment.
CONFTEST = """
import os, pytest

@pytest.fixture(autouse=True)
def noted(request):
    with open({log!r}, "a") as file:
        file.write(request.node.name + "\\n")
"""


@pytest.fixture
def run(pytester: pytest.Pytester, run_wheels: Run) -> Callable[..., RunOutput]:
    """Write a test file and run it on a wheel."""
    wheel = build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})

    def write_and_run(text: str, *args: str) -> RunOutput:
        (pytester.path / "conftest.py").write_text(CONFTEST.format(log=str(pytester.path / "ran")))
        (pytester.path / "test_it.py").write_text(textwrap.dedent(text))
        return run_output(run_wheels("--wheel", wheel, "--wheel-select=WHL101", "-v", *args, "test_it.py", timeout=60))

    return write_and_run


def ran(pytester: pytest.Pytester) -> list[str]:
    """Return the names of the tests that ran, in order."""
    return (pytester.path / "ran").read_text().split()


def outcomes(found: RunOutput) -> dict[str, str]:
    """Return the outcomes of the tests by their names."""
    return {name.rpartition("::")[2]: outcome for name, outcome in found.nodes.items() if "::test_" in name}


def test_stop(pytester: pytest.Pytester, run: Callable[..., RunOutput]) -> None:
    """After ``pytest.exit`` no other test runs, although the worker was already asked for the next ones."""
    found = run(
        """
        import pytest
        def test_first(): pass
        def test_leave(): pytest.exit("enough", returncode=9)
        def test_second(): pass
        def test_third(): pass
        """
    )
    assert found.code == 9
    assert ran(pytester) == ["test_first", "test_leave"]


def test_maxfail(pytester: pytest.Pytester, run: Callable[..., RunOutput]) -> None:
    run("def test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pass\ndef test_d(): pass\n", "-x")
    assert ran(pytester) == ["test_a", "test_b"]


@pytest.mark.parametrize("act", ["raise KeyboardInterrupt", "os.kill(os.getpid(), 9)", "os._exit(3)"])
def test_fresh_worker(act: str, pytester: pytest.Pytester, run: Callable[..., RunOutput]) -> None:
    """A fresh worker runs the tests that the one before was asked for, once each."""
    found = run(
        f"""
        import os
        def test_a(): pass
        def test_b(): {act}
        def test_c(): pass
        def test_d(): pass
        def test_e(): pass
        def test_f(): pass
        def test_g(): pass
        """
    )
    assert ran(pytester) == [f"test_{letter}" for letter in "abcdefg"]
    assert [name for name, outcome in outcomes(found).items() if outcome != "PASSED"] == ["test_b"]


#: Stops the session of the host at the first failure, as ``--stepwise`` does.
STOPS = """
import sys

class Stops:
    def pytest_sessionstart(self, session):
        self.session = session

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.session.shouldstop = "the first failure"

def pytest_configure(config):
    if "pytest_wheelcheck" in sys.modules:
        config.pluginmanager.register(Stops())
"""


def test_no_test_is_run_after_the_end(pytester: pytest.Pytester, run: Callable[..., RunOutput]) -> None:
    """A worker that was asked for tests does not run them after the host's session has stopped."""
    (pytester.path / "stops.py").write_text(STOPS)
    tests = "".join(f"def test_{letter}(): time.sleep(0.5)\n" for letter in "abcdefghijkl")
    found = run(f"import time\ndef test_fails(): assert 0\n{tests}", "-p", "stops")
    assert "the first failure" in found.text
    assert ran(pytester)[0] == "test_fails"
    assert len(ran(pytester)) <= 3


def test_fixtures_are_shared(pytester: pytest.Pytester, run: Callable[..., RunOutput]) -> None:
    """A fixture is torn down after the last test that uses it, not earlier and not later."""
    run(
        """
        import os, pytest

        def note(text):
            with open("ran", "a") as file:
                file.write(text + "\\n")

        class TestA:
            @pytest.fixture(scope="class", autouse=True)
            def shared(self):
                note("set-up")
                yield
                note("torn-down")
            def test_a(self): pass
            def test_b(self): pass

        def test_c(): pass
        """
    )
    assert ran(pytester) == ["set-up", "test_a", "test_b", "torn-down", "test_c"]


PHASES = """
import os, signal, sys, time
import pytest

@pytest.fixture
def prints():
    print("printed in setup")

@pytest.fixture
def ends():
    print("printed in setup")
    yield
    END

@pytest.fixture
def never():
    END

def test_in_call(prints):
    END

def test_in_teardown(ends):
    print("printed in call")

def test_in_setup(never): pass
"""


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGSEGV)", "os._exit(7)", "hang()"])
@pytest.mark.skipif(sys.platform == "win32", reason="the tests send POSIX signals")
def test_phases(end: str, pytester: pytest.Pytester, run: Callable[..., RunOutput]) -> None:
    """The reports of the phases before the one that ends the process arrive."""
    text = PHASES.replace("END", end)
    if end == "hang()":
        # It holds the GIL, so that nothing in the process can act any more.
        text += "\ndef hang():\n    import ctypes\n    while True: ctypes.PyDLL(None).sleep(600)\n"
        (pytester.path / "pytest.ini").write_text("[pytest]\nwheel_test_timeout = 2\n")
    found = run(text, "-rA")
    summary = found.text.rpartition("short test summary info")[2]
    assert "FAILED" in next(line for line in summary.splitlines() if "test_in_call" in line)
    assert sorted(line.split()[0] for line in summary.splitlines() if "test_in_teardown" in line) == ["ERROR", "PASSED"]
    assert "ERROR" in next(line for line in summary.splitlines() if "test_in_setup" in line)
    assert "printed in call" in found.text


def test_closed_descriptors(run: Callable[..., RunOutput]) -> None:
    """A test that closes all descriptors is named, and the others pass."""
    found = run("import os\ndef test_a(): os.closerange(3, 4096)\ndef test_b(): pass\ndef test_c(): pass\n")
    assert outcomes(found) | {"test_a": ""} == {"test_a": "", "test_b": "PASSED", "test_c": "PASSED"}
    assert outcomes(found)["test_a"] != "PASSED"


def test_much_output(run: Callable[..., RunOutput]) -> None:
    """Reports that are larger than what is held arrive in order."""
    found = run("def test_a():\n    print('x' * 90_000)\n    assert 0\ndef test_b(): pass\n")
    assert outcomes(found) == {"test_a": "FAILED", "test_b": "PASSED"}
    assert "x" * 50_000 in found.text


@pytest.mark.skipif(sys.platform != "linux", reason="memfd_create(2) is a system call of Linux")
def test_held_frames(tmp_path: Path) -> None:
    file = make_held_file()
    try:
        held = HeldFrames(file)
        assert held.take() == b""
        assert held.add(b"one")
        assert held.add(b"two")
        assert not held.add(b"x" * HELD_LIMIT)
        assert read_held(file) == b"onetwo"
        assert held.take() == b"onetwo"
        assert read_held(file) == b""
        assert held.add(b"three")
        # Code under test wrote to every descriptor: what the worker sends is not changed.
        os.lseek(file, 0, os.SEEK_SET)
        os.write(file, b"junk!")
        assert held.take() == b"three"
    finally:
        os.close(file)
    assert not held.add(b"four")
    assert read_held(file) == b""
    assert not HeldFrames(-1).add(b"one")
    full = os.open(tmp_path, os.O_RDONLY)
    try:
        assert not HeldFrames(full).add(b"a directory takes nothing")
    finally:
        os.close(full)
