"""Ctrl-C, SIGTERM and SIGKILL, of the run itself: it ends soon, tells what is known, and leaves nobody behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from ground import BOUND, Ground, wait_for

from pytest_wheelcheck.system import temporary

if sys.platform == "win32":
    pytest.skip("signals of Unix", allow_module_level=True)

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
        start = time.monotonic()
        for number in signals:
            process.send_signal(number)
            time.sleep(0.05)
        code = process.wait(60)
        taken = time.monotonic() - start
    ground.nothing_left(files=len(signals) == 1)
    said = ground.said()
    print(said)
    assert code == pytest.ExitCode.INTERRUPTED
    assert taken < BOUND
    if len(signals) == 1:
        assert "known already" in said
        assert "1 failed" in said.splitlines()[-1]
        assert "Traceback" not in said


def test_killed(ground: Ground) -> None:
    """`kill -9` of the run: the worker, which listens to nothing, and what it started, end by the keeper's hand."""
    ground.write(test_busy=BUSY)
    with ground.started() as process:
        wait_for((ground.path / "pid").exists)
        process.kill()
        start = time.monotonic()
        wait_for(lambda: not ground.processes())
        assert time.monotonic() - start < BOUND
    # The folder is left; the next run removes it.
    assert len(list(ground.temp.glob("wheelcheck-*"))) == 1
    ground.write(test_busy="def test_quick(): pass\n")
    assert ground.run().code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
def test_while_preparing(ground: Ground, number: signal.Signals) -> None:
    """An index that accepts connections and never answers: the installer waits, the run does not."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        ground.write(test_one="def test_one(): pass\n")
        words = (f"--wheel-index={url}", "--wheel-requires=no-such-distribution-anywhere")
        with ground.started(*words) as process:
            wait_for(lambda: any("pip compile" in words for words in ground.processes().values()))
            start = time.monotonic()
            process.send_signal(number)
            code = process.wait(60)
            assert time.monotonic() - start < BOUND
            # The installer of a run that was killed has its own moment, while the index still keeps silent.
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
    ("number", "everybody"),
    [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGKILL, False)],
    ids=["ctrl-c", "terminated", "killed"],
)
def test_xdist_ended(ground: Ground, number: signal.Signals, *, everybody: bool) -> None:
    """Its workers, and theirs, end with it. execnet gives them five seconds, where no terminal tells them, too."""
    ground.write(test_busy=BUSY)
    with ground.started("-n2") as process:
        wait_for((ground.path / "pid").exists)
        start = time.monotonic()
        if everybody:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        code = process.wait(60)
        wait_for(lambda: not ground.processes())
        assert time.monotonic() - start < BOUND
    assert code != 0
    ground.nothing_left(files=number != signal.SIGKILL)


def test_nothing_of_a_run_is_in_the_way_of_the_next(ground: Ground) -> None:
    """Folders of runs that live, or that are to be kept, stay; those of runs that were killed go."""
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


def test_interrupted_while_outcomes_are_told(ground: Ground) -> None:
    """The interrupt meets the run in a hook, not in its wait for the next outcome."""
    ground.write(test_busy=BUSY)
    (ground.path / "slow_telling.py").write_text(
        "import os, pathlib, time\n"
        "def pytest_runtest_logfinish(nodeid):\n"
        "    if nodeid.endswith('test_fails') and 'WHEELCHECK_GUARD' not in os.environ:\n"
        "        pathlib.Path('telling').touch()\n"
        "        time.sleep(60)\n"
    )
    with ground.started("-p", "slow_telling") as process:
        wait_for((ground.path / "telling").exists)
        wait_for((ground.path / "pid").exists)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == pytest.ExitCode.INTERRUPTED
        assert time.monotonic() - start < BOUND
    ground.nothing_left()
    assert "known already" in ground.said()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_stopped_when_all_is_done(ground: Ground, number: signal.Signals) -> None:
    """The signal comes while the run puts its folder away, which takes a while."""
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
        # What it says may reach its file at its very end only; the files grow in number until they are put away.
        most = 0
        while most < 20_000 or files() >= most:
            assert process.poll() is None
            most = max(most, files())
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(30) == 0
    ground.nothing_left()
    assert "Traceback" not in ground.said()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_while_planning(ground: Ground, number: signal.Signals) -> None:
    """An interpreter that says nothing, when it is asked what it is."""
    slow = ground.path / "python3"
    slow.write_text("#!/bin/sh\ntouch asked\nexec sleep 60\n")
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


def test_folders_that_were_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of runs that were killed in the moment in which they made theirs; of one that is in it just now, nothing goes."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    old, new = tmp_path / ".wheelcheck-old", tmp_path / ".wheelcheck-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "in-use").touch()
    os.utime(old, (1e9, 1e9))
    made = temporary.make()
    assert sorted(tmp_path.iterdir()) == [new, made.path]
    made.remove()
    assert list(tmp_path.iterdir()) == [new]
