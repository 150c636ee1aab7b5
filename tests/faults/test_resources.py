"""Memory and disk space that a run uses."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import build_wheel
from ground import Ground

TESTS = """
import os, sys
import pytest

@pytest.mark.parametrize("number", range(20))
def test_prints(number):
    for _ in range({blocks}):
        sys.stdout.write("x" * 9_999 + "\\n")
        os.write(2, b"y" * 9_999 + b"\\n")
    assert number % 2
"""


def peak(ground: Ground, blocks: int) -> tuple[int, int]:
    """Run tests that print *blocks* blocks of 20 kB each, half of them failing.

    :returns: peak memory of the controller in KiB, and length of the output.
    """
    ground.write(test_prints=TESTS.format(blocks=blocks))
    highest = 0
    with ground.started("-rN", "--tb=short") as process:
        end = time.monotonic() + 90
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                highest = max(highest, int((re.search(r"VmHWM:\s+(\d+)", status) or [])[1]))
            time.sleep(0.02)
        assert process.poll() == pytest.ExitCode.TESTS_FAILED
    assert "10 failed" in ground.said()
    return highest, len(ground.said())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_output(demo: Ground) -> None:
    """With 200 MB as with 10 MB: output that a report has no room for stays in the target and in files."""
    small_peak, small_output = peak(demo, 25)
    large_peak, large_output = peak(demo, 500)
    print(f"{small_peak} KiB, {large_peak} KiB; {small_output} and {large_output} bytes of output")
    assert large_peak - small_peak < 40 << 10
    assert large_output < 1.5 * small_output


def test_kept_environments(demo: Ground) -> None:
    """None without an option. With one, the run prints their directory."""
    build_wheel(demo.path / "dist", "other", files={"other/__init__.py": ""})
    demo.write(test_one="def test_one(): import other\n")
    for option, kept in (("-v", []), ("--wheel-keep-failed", ["0"]), ("--wheel-keep", ["0", "1"])):
        with demo.started("--wheel=dist", option) as process:
            assert process.wait(60) == pytest.ExitCode.TESTS_FAILED
        directories = list(demo.temp.glob("wheelcheck-*"))
        assert sorted(path.name for directory in directories for path in directory.iterdir()) == kept
        for directory in directories:
            assert f"environments retained in {directory}: 0/ (dist/demo-1.0-py3-none-any.whl::" in demo.said()
            python = next((directory / "0" / "env").glob("*/python.exe" if sys.platform == "win32" else "*/python"))
            assert subprocess.run([python, "-c", "import demo"], check=False).returncode == 0
            shutil.rmtree(directory)
