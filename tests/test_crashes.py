"""Native code may kill, exit or fork its process, or ignore signals: that test fails, and the other tests run."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run, RunOutput, run_output

WINDOWS = sys.platform == "win32"

#: The message on a program that reads from an invalid address.
FAULT = "access violation" if WINDOWS else "killed by SIGSEGV"


@pytest.fixture
def run(pytester: pytest.Pytester, run_wheels: Run) -> Callable[..., RunOutput]:
    """Write test files and run them on a wheel."""
    wheel = build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": ""})

    def write_and_run(*args: str, **files: str) -> RunOutput:
        for name, text in files.items():
            path = pytester.path / "tests" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return run_output(run_wheels("--wheel", wheel, "--wheel-select=WHL101", "-v", *args, timeout=60))

    return write_and_run


def failures(text: str) -> dict[str, str]:
    """Return the texts of the failures by their titles."""
    found = {}
    for part in text.split("\n___")[1:]:
        title, _, rest = part.partition("\n")
        found[title.strip("_ ").replace("::test_", " test_").split()[-1]] = f"{rest}\n"
    return found


def test_ends_of_the_process(run: Callable[..., RunOutput]) -> None:
    found = run(
        test_ends="""
        import faulthandler, os, subprocess, sys, time
        import pytest

        @pytest.fixture(scope="module")
        def number():
            yield 1

        @pytest.fixture
        def crash_in_setup(number):
            faulthandler._read_null()

        @pytest.fixture
        def crash_in_teardown(number):
            yield
            os.abort()

        def test_first(number): pass
        def test_segfault(number): faulthandler._read_null()
        def test_after_segfault(number): assert number == 1
        def test_exit_0(): os._exit(0)
        def test_after_exit(number): pass
        def test_kill(): os.kill(os.getpid(), 9)
        def test_interrupt(number): raise KeyboardInterrupt("not at a keyboard")
        def test_after_interrupt(number): pass
        def test_system_exit(): sys.exit(0)
        def test_setup(crash_in_setup): pass
        def test_teardown(crash_in_teardown): pass
        def test_fork_and_die():
            # The child keeps the files of its parent open.
            if not hasattr(os, "fork"):
                subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"], close_fds=False)
            elif os.fork() == 0:
                time.sleep(30)
            os._exit(0)
        def test_last(number): pass
        """
    )
    assert found.code == pytest.ExitCode.TESTS_FAILED
    outcomes = {name.partition("::")[2]: outcome for name, outcome in found.nodes.items() if "::" in name}
    assert outcomes == {
        "test_first": "PASSED",
        "test_segfault": "FAILED",
        "test_after_segfault": "PASSED",
        "test_exit_0": "FAILED",
        "test_after_exit": "PASSED",
        "test_kill": "FAILED",
        "test_interrupt": "FAILED",
        "test_after_interrupt": "PASSED",
        "test_system_exit": "FAILED",
        "test_setup": "ERROR",
        "test_teardown": "ERROR",
        "test_fork_and_die": "FAILED",
        "test_last": "PASSED",
    }
    texts = failures(found.text)
    assert f"the interpreter died: {FAULT}" in texts["test_segfault"]
    assert "in test_segfault\n" in texts["test_segfault"]
    assert "the interpreter died: exit status 0" in texts["test_exit_0"]
    assert "os._exit" in texts["test_exit_0"]
    assert f"the interpreter died: {'exit status 9' if WINDOWS else 'killed by SIGKILL'}" in texts["test_kill"]
    assert "the test raised KeyboardInterrupt" in texts["test_interrupt"]
    assert "E   KeyboardInterrupt: not at a keyboard" in texts["test_interrupt"]
    assert "_pytest" not in texts["test_interrupt"]
    assert "SystemExit: 0" in texts["test_system_exit"]
    assert "ERROR at setup of" in found.text
    assert "in crash_in_setup\n" in texts["test_setup"]
    assert "ERROR at teardown of" in found.text
    assert ("Aborted" if WINDOWS else "killed by SIGABRT") in texts["test_teardown"]
    assert "exit status 0" in texts["test_fork_and_die"]


def test_the_channel_survives(run: Callable[..., RunOutput], pytester: pytest.Pytester) -> None:
    found = run(
        "-rP",
        test_channel="""
        import ctypes, os, signal, time
        import pytest

        def test_print_from_c():
            libc = ctypes.CDLL("ucrtbase" if os.name == "nt" else None)
            libc.puts(b"printed by C on stdout")
            libc.fflush(None)
            os.write(1, b"\\x00\\x00\\x00\\x08{}{}{}{}\\n")
            os.write(2, b"printed on stderr\\n")

        def test_child_runs_on():
            with open("started", "a") as file:
                file.write("x")
            if hasattr(os, "fork"):
                os.fork()

        def test_once():
            with open("once", "a") as file:
                file.write("x")

        def test_child_stays():
            if hasattr(os, "fork") and os.fork() == 0:
                time.sleep(30)
                os._exit(0)

        def test_close_standard():
            for fd in (0, 1, 2):
                os.close(fd)

        def test_after_close_standard():
            print("still captured")

        def test_signals():
            for name in ("SIGTERM", "SIGUSR1", "SIGALRM"):
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), signal.SIG_IGN)

        def test_directory(tmp_path):
            os.chdir(tmp_path)

        def test_close_all():
            os.closerange(3, 4096)

        def test_last():
            pass
        """,
    )
    names = [name.partition("::")[2] for name in found.only("FAILED")]
    assert names == ["test_close_all"]
    texts = failures(found.text)
    assert "the worker in the target closed its channel" in texts["test_close_all"]
    assert "printed by C on stdout" in texts["test_print_from_c"]
    assert "printed on stderr" in texts["test_print_from_c"]
    assert "still captured" in texts["test_after_close_standard"]
    assert found.nodes["tests/test_channel.py::test_last"] == "PASSED"
    # A forked child that returns from a test runs no further test.
    assert Path("started").read_text() == Path("once").read_text() == "x"


def test_while_collecting(run: Callable[..., RunOutput]) -> None:
    # The module that forks is the last: its child would write stacks between those of the others.
    found = run(
        test_segfault="import faulthandler\nfaulthandler._read_null()\n",
        test_exit="import os\nos._exit(0)\n",
        test_zfork="import os\nif hasattr(os, 'fork'): os.fork()\ndef test_fork(): pass\n",
        test_good="def test_good(): pass\n",
    )
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.only("FAILED") == ["tests/test_exit.py", "tests/test_segfault.py"]
    assert found.nodes["tests/test_good.py::test_good"] == "PASSED"
    assert found.nodes["tests/test_zfork.py::test_fork"] == "PASSED"
    texts = failures(found.text)
    assert f"{FAULT}, while tests/test_segfault.py was collected" in found.text
    assert 'test_segfault.py", line 2 in <module>' in found.text
    assert "exit status 0, while tests/test_exit.py was collected" in found.text
    assert set(texts) >= {"tests/test_exit.py", "tests/test_segfault.py"}


def test_crashes_outside_of_tests(run: Callable[..., RunOutput]) -> None:
    """A crash while pytest is loaded or after the last test is a failed node, with any exit status."""
    found = run(
        conftest="import os\ndef pytest_sessionfinish():\n    os._exit(0)\n", test_good="def test_good(): pass\n"
    )
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.nodes["tests/test_good.py::test_good"] == "ERROR"
    assert "at the end of the session: the interpreter died: exit status 0" in found.text

    found = run(conftest="import os\nos._exit(0)\n")
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.nodes["collect"] == "FAILED"
    assert "exit status 0, while pytest and the conftest files were loaded" in found.text

    # After the end record, nothing changes the outcome.
    found = run(conftest="import atexit, os\natexit.register(os._exit, 7)\n")
    assert found.code == 0


@pytest.mark.skipif(WINDOWS, reason="Ctrl-C goes to all processes of a console, so also to these tests")
def test_ctrl_c(pytester: pytest.Pytester) -> None:
    """Ctrl-C ends the run at once, with a test that is busy in native code, and the child processes of the test."""
    wheel = build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": ""})
    pytester.makepyfile(
        test_busy="""
        import ctypes, os, pathlib, signal, subprocess, sys
        def test_busy():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            pathlib.Path("new").write_text(f"{os.getpid()} {child.pid}")
            os.rename("new", "pids")
            while True:  # a signal ends it early
                ctypes.PyDLL(None).sleep(60)
        """
    )
    args = [
        "--wheel",
        str(wheel),
        f"--wheel-python={sys.executable}",
        "--wheel-select=WHL101",
        "-p",
        "no:cacheprovider",
    ]
    with Path("output").open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "pytest", *args], stdout=output, stderr=output)
        try:
            wait_for(lambda: Path("pids").exists())
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == pytest.ExitCode.INTERRUPTED
            assert time.monotonic() - start < 60
        finally:
            process.kill()
    for pid in Path("pids").read_text().split():
        wait_for(partial(gone, int(pid)))
    text = Path("output").read_text()
    assert "KeyboardInterrupt" in text
    assert "the run ended early: 1 of 4 tests and checks have no result" in text
    # Where the test was, not only where this package waited for it.
    name, stack = text.partition("_ interrupted: ")[2].partition(" _")[::2]
    assert name.endswith("::test_busy.py::test_busy"), text
    assert re.search(r'test_busy\.py", line \d+ in test_busy$', stack, re.MULTILINE)


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Return whether a process has ended; a zombie counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
