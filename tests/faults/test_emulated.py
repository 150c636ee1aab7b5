"""The same under an emulator: ends, hangs and children of an aarch64 target on an x86-64 host."""

from __future__ import annotations

import platform
import sys
import time
from pathlib import Path

import pytest
from builders import build_wheel
from ground import Ground, wait_for

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="a Debian on x86-64"),
    pytest.mark.skipif(not Path("/usr/bin/apt-get").exists(), reason="interpreters of the archive come by apt"),
]

TESTS = """
import ctypes, os, pathlib, platform, signal, subprocess, sys, time

def test_first(): assert platform.machine() == "aarch64"
def test_segfault(): ctypes.string_at(0)
def test_after_segfault(): pass
def test_exit(): os._exit(0)
def test_after_exit(): pass
def test_kill_group(): os.killpg(0, 9)
def test_hang(): ctypes.PyDLL(None).sleep(600)
def test_after_hang(): pass
def test_junk():
    os.write(1, b"\\xff" * 100_000)
    os.closerange(0, 3)
def test_signals():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
def test_daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(9020)"], {})
        os._exit(0)
    os.wait()
    time.sleep(3)
def test_last(): pass
"""


@pytest.fixture
def arm(pytester: pytest.Pytester) -> Ground:
    wheel = build_wheel(
        pytester.path / "dist", "demo", files={"demo/__init__.py": ""}, tags=["py3-none-manylinux_2_17_aarch64"]
    )
    found = Ground(pytester.path, pytester.path / "temporary", wheel)
    found.ini("wheel_test_timeout = 5", "wheel_timeout_scale = 2")
    return found


def version() -> str:
    return f"--wheel-python={sys.version_info[0]}.{sys.version_info[1]}"


def test_ends(arm: Ground) -> None:
    arm.write(test_ends=TESTS)
    found = arm.run(version(), bound=180)
    names = {name.partition("::test_")[2]: outcome for name, outcome in found.nodes.items() if "::" in name}
    if not names:
        pytest.skip(f"no emulated target here:\n{found.text[-500:]}")
    print(found.text)
    assert sorted(name for name, outcome in names.items() if outcome != "PASSED") == [
        "exit",
        "hang",
        "kill_group",
        "segfault",
    ]
    assert len(names) == 12
    assert "killed by SIGSEGV" in found.text
    assert "in test_hang\n" in found.text
    (line,) = [line for line in found.text.splitlines() if "tests left processes running, which were ended" in line]
    assert "time.sleep(9020)" in line


def test_killed(arm: Ground) -> None:
    arm.write(
        test_busy="""
        import ctypes, pathlib
        def test_busy():
            pathlib.Path("busy").touch()
            ctypes.PyDLL(None).sleep(600)
        """
    )
    with arm.started(version()) as process:
        wait_for(lambda: (arm.path / "busy").exists() or process.poll() is not None, 120)
        if process.poll() is not None:
            pytest.skip(f"no emulated target here:\n{arm.said()[-500:]}")
        process.kill()
        start = time.monotonic()
        wait_for(lambda: not arm.processes(), 10)
        assert time.monotonic() - start < 5
    arm.nothing_left(files=False)
