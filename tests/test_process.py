"""Programs that print without end, and programs that leave others running."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from builders import build_wheel
from ground import wait_for
from nodes import Run

from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.system import process, temporary

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs use fork")

#: Leaves a process that has a session of its own, holds the output open and writes its process id to a file.
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with open(sys.argv[1], "w") as file:
            file.write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
print("started")
"""


def is_running(pid: int) -> bool:
    """A killed process closes its files before it ends, so it may still run when its output has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state not in {b"Z", b"X"}


@pytest.mark.skipif(sys.platform != "linux", reason="they are found in /proc")
def test_daemon_that_holds_the_output(tmp_path: Path) -> None:
    start = time.monotonic()
    done = process.run(
        [sys.executable, "-c", DAEMON, str(tmp_path / "pid")], timeout=60, end_leftovers=True, check=False
    )
    assert time.monotonic() - start < 20
    assert done.stdout == "started\n"
    pid = int((tmp_path / "pid").read_text())
    (left,) = done.left_running
    assert left.startswith(f"{pid} ")
    wait_for(lambda: not is_running(pid), 10)


@pytest.mark.skipif(sys.platform != "linux", reason="they are found in /proc")
def test_daemon_at_the_timeout(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(ProcessError, match="did not end within 3 seconds") as caught:
        process.run([sys.executable, "-c", DAEMON, str(tmp_path / "pid")], timeout=3)
    assert time.monotonic() - start < 20
    assert caught.value.details == "started\n"
    wait_for(lambda: not is_running(int((tmp_path / "pid").read_text())), 10)


def test_child_that_ends_in_time_is_waited_for() -> None:
    code = "import os, time\nif os.fork() == 0:\n    time.sleep(1)\n    print('child')\nelse:\n    os._exit(0)"
    done = process.run([sys.executable, "-c", code])
    assert (done.stdout, done.left_running) == ("child\n", ())


def test_endless_output_is_read_in_bounded_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ProcessError) as caught:
        process.run(["yes", "x" * 99], timeout=2, max_output=1000)
    unit = 1 if sys.platform == "darwin" else 1024
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < 32 << 20
    assert len(caught.value.details) < 1100
    assert " bytes omitted]\n" in caught.value.details


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 300_000])
def test_omitted_output(size: int) -> None:
    text = ("0123456789" * size)[:size]
    done = process.run([sys.executable, "-c", f"print(('0123456789' * {size})[:{size}], end='')"], max_output=1000)
    expected = text if size <= 1000 else f"{text[:500]}\n[{size - 1000} bytes omitted]\n{text[-500:]}"
    assert done.stdout == expected


@pytest.mark.skipif(sys.platform != "linux", reason="they are found in /proc")
def test_executables_of_a_wheel(pytester: pytest.Pytester, run_wheels: Run) -> None:
    pid = pytester.path / "pid"
    loud = "#!python\nimport sys\nfor _ in range(100_000):\n    sys.stdout.write('x' * 1000)\n"
    quiet = f"#!python\nimport sys\nsys.argv[1:] = [{os.fspath(pid)!r}]\n{DAEMON}"
    scripts = {"demo-1.0.data/scripts/loud": loud, "demo-1.0.data/scripts/leaves": quiet}
    build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": "", **scripts})
    result = run_wheels("--wheel=dist", "--wheel-select=WHL201", "-v", "-rA")
    text = result.stdout.str()
    result.stdout.fnmatch_lines(["*::run[[]leaves] PASSED*", "*::run[[]loud] PASSED*"])
    assert len(text) < 100_000
    result.stdout.fnmatch_lines(["*bytes omitted]*"])
    result.stdout.fnmatch_lines(["*WheelWarning: `leaves --version` left processes running, which were ended: *"])
    wait_for(lambda: not is_running(int(pid.read_text())), 10)


def test_removal_of_a_large_directory_goes_on_in_the_background() -> None:
    made = temporary.make()
    for number in range(20):
        (made.path / str(number)).mkdir()
        for file in range(1000):
            (made.path / str(number) / str(file)).touch()
    start = time.monotonic()
    made.remove(keep=frozenset({"7"}), patience=0.0)
    waited = time.monotonic() - start
    end = time.monotonic() + 60
    while len(list(made.path.iterdir())) > 1 and time.monotonic() < end:
        time.sleep(0.05)
    assert [path.name for path in made.path.iterdir()] == ["7"]
    assert waited < time.monotonic() - start
    made.remove(patience=30.0)
    assert not made.path.exists()


#: Starts programs that interrupt this one at once, and prints those that it left running.
INTERRUPTED = """
import os, sys
from pathlib import Path
from pytest_wheelcheck.system import process

def started():
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_bytes().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == os.getpid() and state not in (b"Z", b"X"):
            found.append(stat.parent.name)
    return found

for _ in range(100):
    try:
        process.run(["sh", "-c", "kill -INT $PPID; exec sleep 60"])
    except KeyboardInterrupt:
        pass
    else:
        sys.exit("was not interrupted")
print(started())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
def test_ctrl_c_while_a_program_is_started() -> None:
    done = process.run([sys.executable, "-c", INTERRUPTED], timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
