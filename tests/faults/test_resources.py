"""Memory and disk that a run takes."""

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
    """Run tests that print so many blocks of 20 kB each, half of them failing.

    :returns: KiB that the run itself had in memory at most, and bytes that it said.
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


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_memory_does_not_grow_with_output(demo: Ground) -> None:
    """Of 200 MB as of 10 MB: what a report has no room for stays in the target and in files."""
    little, said = peak(demo, 25)
    much, more = peak(demo, 500)
    print(f"{little} KiB, {much} KiB; {said} and {more} bytes said")
    assert much - little < 40 << 10
    assert more < 1.5 * said


def test_what_is_kept(demo: Ground) -> None:
    """Nothing, unless it is asked for; then the run says where."""
    build_wheel(demo.path / "dist", "other", files={"other/__init__.py": ""})
    demo.write(test_one="def test_one(): import other\n")
    for word, kept in (("-v", []), ("--wheel-keep-failed", ["0"]), ("--wheel-keep", ["0", "1"])):
        with demo.started("--wheel=dist", word) as process:
            assert process.wait(60) == pytest.ExitCode.TESTS_FAILED
        folders = list(demo.temp.glob("wheelcheck-*"))
        assert sorted(path.name for folder in folders for path in folder.iterdir()) == kept
        for folder in folders:
            assert f"environments are kept in {folder}: 0/ (dist/demo-1.0-py3-none-any.whl::" in demo.said()
            python = next((folder / "0" / "env").glob("*/python.exe" if sys.platform == "win32" else "*/python"))
            assert subprocess.run([python, "-c", "import demo"], check=False).returncode == 0
            shutil.rmtree(folder)
