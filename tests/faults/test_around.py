"""Ctrl-C, SIGTERM and SIGKILL of the run itself: it ends soon, reports its results, and leaves no process behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import elsewhere
import pytest
from builders import build_wheel
from ground import BOUND, Ground, wait_for

from pytest_wheelcheck.system import temporary

if sys.platform == "win32":
    pytest.skip("needs Unix signals", allow_module_level=True)

BUSY = """
import os, pathlib, signal, subprocess
import wheelcheck_witness as witness

def test_before(): pass
def test_fails(): assert False, "known already"

def test_busy():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    subprocess.Popen(["sleep", "9000"], start_new_session=True)
    pathlib.Path("new").write_text(str(os.getpid()))
    os.rename("new", "pid")
    witness.misbehave("hang")
"""


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM]], ids=str)
def test_interrupted(ground: Ground, signals: list[signal.Signals]) -> None:
    ground.write(test_busy=BUSY)
    with ground.started() as process:
        wait_for((ground.path / "pid").exists)
        # The result before this test was sent; a busy host needs time to show it.
        time.sleep(1.0)
        start = time.monotonic()
        for number in signals:
            process.send_signal(number)
            time.sleep(0.05)
        code = process.wait(60)
        taken = time.monotonic() - start
    ground.nothing_left(files=len(signals) == 1)
    output = ground.said()
    print(output)
    assert code == pytest.ExitCode.INTERRUPTED
    assert taken < BOUND
    if len(signals) == 1:
        assert "known already" in output
        assert "1 failed" in output.splitlines()[-1]
        assert "Traceback" not in output


def test_killed(ground: Ground) -> None:
    """`kill -9` of the run: the supervisor ends the worker, which ignores signals, and its children."""
    ground.write(test_busy=BUSY)
    with ground.started() as process:
        wait_for((ground.path / "pid").exists)
        process.kill()
        start = time.monotonic()
        wait_for(lambda: not ground.processes())
        assert time.monotonic() - start < BOUND
    # The next run removes the directory.
    assert len(list(ground.temp.glob("wheelcheck-*"))) == 1
    ground.write(test_busy="def test_quick(): pass\n")
    assert ground.run().code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
def test_while_preparing(ground: Ground, number: signal.Signals) -> None:
    """A package index that accepts connections and never answers: the installer waits, the run does not."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        ground.write(test_one="def test_one(): pass\n")
        options = (f"--wheel-index={url}", "--wheel-requires=no-such-distribution-anywhere")
        with ground.started(*options) as process:
            wait_for(lambda: any("pip compile" in command for command in ground.processes().values()))
            start = time.monotonic()
            process.send_signal(number)
            code = process.wait(60)
            assert time.monotonic() - start < BOUND
            # The index still does not answer, and the installer of a killed run needs a moment to end.
            ground.nothing_left(files=number != signal.SIGKILL)
    if number != signal.SIGKILL:
        assert code == pytest.ExitCode.INTERRUPTED


def test_worker_of_xdist_killed(ground: Ground) -> None:
    ground.write(
        test_busy="""
        import os, pathlib, signal, time
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_before(number): pass

        def test_kills_its_controller():
            parent = int(pathlib.Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(parent, signal.SIGKILL)
            time.sleep(60)

        @pytest.mark.parametrize("number", range(4))
        def test_after(number): pass
        """
    )
    found = ground.run("-n2")
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed" in found.text.splitlines()[-1]
    assert "test_kills_its_controller" in found.text.splitlines()[-2]
    assert "crashed while running" in found.text
    for name in ("before", "after"):
        for number in range(4):
            assert any("PASSED" in line and f"test_{name}[{number}]" in line for line in found.text.splitlines()), (
                name,
                number,
            )


@pytest.mark.parametrize(
    ("number", "whole_group", "bound"),
    [(signal.SIGINT, True, 6), (signal.SIGTERM, False, 15), (signal.SIGKILL, False, 15)],
    ids=["ctrl-c", "terminated", "killed"],
)
def test_xdist_ended(ground: Ground, number: signal.Signals, *, whole_group: bool, bound: float) -> None:
    """Its workers, and their workers, end with it. Without a terminal that signals them, execnet waits five seconds."""
    ground.write(test_busy=BUSY)
    with ground.started("-n2") as process:
        wait_for((ground.path / "pid").exists)
        start = time.monotonic()
        if whole_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        code = process.wait(60)
        wait_for(lambda: not ground.processes())
        assert time.monotonic() - start < BOUND
    assert code != 0
    ground.nothing_left(files=number != signal.SIGKILL)


def test_interrupted_while_planning(ground: Ground) -> None:
    """An interpreter that does not answer. pytest shows an interrupt only after that."""
    ground.write(test_one="def test_one(): pass\n")
    slow = ground.path / "python3.99"
    slow.write_text(f"#!/bin/sh\ntouch '{ground.path}/asked'\nexec sleep 60\n", "ascii")
    slow.chmod(0o755)
    with ground.started(f"--wheel-python={slow}") as process:
        wait_for((ground.path / "asked").exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == pytest.ExitCode.INTERRUPTED
    assert "interrupted while the run was planned: nothing was tested" in ground.said()
    ground.nothing_left()


def test_directories_of_killed_runs_are_removed(ground: Ground) -> None:
    """Directories of running runs, and those that the user keeps, stay."""
    ground.write(test_one="def test_one(): pass\n")
    found = ground.run("--wheel-keep", kept=True)
    (kept,) = ground.temp.glob("wheelcheck-*")
    assert str(kept) in found.text
    with ground.started() as process:
        wait_for(lambda: list(ground.temp.glob("wheelcheck-*/in-use")) != [])
        process.kill()
        process.wait()
    ground.nothing_left(files=False)
    assert len(list(ground.temp.glob("wheelcheck-*"))) == 2
    ground.run(kept=True)
    assert list(ground.temp.glob("wheelcheck-*")) == [kept]
    assert Path(os.fspath(kept), "0").is_dir()


def test_interrupted_while_outcomes_are_reported(ground: Ground) -> None:
    """The interrupt arrives while the run is in a hook, not while it waits for the next outcome."""
    ground.write(test_busy=BUSY)
    (ground.path / "slow_reporting.py").write_text(
        "import os, pathlib, time\n"
        "def pytest_runtest_logfinish(nodeid):\n"
        "    if nodeid.endswith('test_fails') and 'WHEELCHECK_GUARD' not in os.environ:\n"
        "        pathlib.Path('reporting').touch()\n"
        "        time.sleep(60)\n"
    )
    with ground.started("-p", "slow_reporting") as process:
        wait_for((ground.path / "reporting").exists)
        wait_for((ground.path / "pid").exists)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == pytest.ExitCode.INTERRUPTED
        assert time.monotonic() - start < BOUND
    ground.nothing_left()
    assert "known already" in ground.said()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_stopped_while_cleaning_up(ground: Ground, number: signal.Signals) -> None:
    """The signal arrives while the run removes its directory, which takes a while."""
    ground.write(
        test_many="""
        import pathlib, tempfile
        def test_many():
            for name in range(50_000):
                pathlib.Path(tempfile.gettempdir(), str(name)).touch()
        """
    )

    def files() -> int:
        with contextlib.suppress(OSError, StopIteration):
            return sum(1 for _ in os.scandir(next(ground.temp.glob("wheelcheck-*/*/*/tmp"))))
        return 0

    with ground.started() as process:
        # The output may reach its file at the very end only. The number of files grows until they are removed.
        highest = 0
        while highest < 20_000 or files() >= highest:
            assert process.poll() is None
            highest = max(highest, files())
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(30) == 0
    ground.nothing_left()
    assert "Traceback" not in ground.said()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_while_planning(ground: Ground, number: signal.Signals) -> None:
    """An interpreter that does not answer the query for its facts."""
    slow = ground.path / "python3"
    slow.write_text(f"#!/bin/sh\ntouch '{ground.path}/asked'\nexec sleep 60\n")
    slow.chmod(0o755)
    ground.python = str(slow)
    with ground.started() as process:
        wait_for((ground.path / "asked").exists)
        start = time.monotonic()
        process.send_signal(number)
        assert process.wait(60) == pytest.ExitCode.INTERRUPTED
        assert time.monotonic() - start < BOUND
    ground.nothing_left()
    assert "Traceback" not in ground.said()


@pytest.mark.parametrize(("package", "fork"), [("one/", True), ("", False)], ids=["package", "modules, no fork"])
def test_while_importing(pytester: pytest.Pytester, tmp_path: Path, package: str, *, fork: bool) -> None:
    """Two wheels with many slow modules, below a package or none, are imported at the same time."""
    touched = tmp_path / "touched"
    touched.mkdir()
    slow = "import os, pathlib, time\npathlib.Path(os.environ['TOUCHED'], __name__).touch()\ntime.sleep(60)\n"
    for name in ("one", "two"):
        folder = package.replace("one", name)
        files = {f"{folder}{name}{number:02}.py": slow for number in range(30)}
        build_wheel(pytester.path / "dist", name, files=files | ({f"{folder}__init__.py": ""} if folder else {}))
    ground = Ground(pytester.path, tmp_path / "temporary", pytester.path / "dist")
    ground.env["TOUCHED"] = str(touched)
    if not fork:
        elsewhere.require_mounts()
        ground.program = [elsewhere.__file__]
        ground.env["ELSEWHERE"] = str(tmp_path / "elsewhere")
        (tmp_path / "elsewhere").mkdir()
    with ground.started("--wheel-jobs=2") as process:
        wait_for(lambda: {file.name.rpartition(".")[2][:3] for file in touched.iterdir()} == {"one", "two"})
        assert process.poll() is None
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == pytest.ExitCode.INTERRUPTED
        assert time.monotonic() - start < BOUND
    ground.nothing_left()
    assert "Traceback" not in ground.said()


def test_directories_without_their_final_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old one belongs to a killed run and is removed; a new one may belong to a starting run and stays."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    old, new = tmp_path / ".wheelcheck-old", tmp_path / ".wheelcheck-new"
    for directory in (old, new):
        directory.mkdir()
        (directory / "in-use").touch()
    os.utime(old, (1e9, 1e9))
    made = temporary.make()
    assert sorted(tmp_path.iterdir()) == [new, made.path]
    made.remove()
    assert list(tmp_path.iterdir()) == [new]
