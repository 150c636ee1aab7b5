"""A crash in native code has the frames of the user's code only, its cause, and a command that repeats it in a debugger."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import COMMAND, RunDist

CRASH = "import faulthandler\n\ndef crash():\n    faulthandler._read_null()\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the debugger of Linux, and its signals")
def test_a_crash_names_a_command_that_repeats_it(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(pytester.path / "dist", "crashes", files={"crashes.py": f"{CRASH}\ncrash()\n", "sound.py": CRASH})
    (pytester.path / "test_it.py").write_text("import sound\n\ndef test_it():\n    sound.crash()\n")
    found = run_dist("test_it.py")
    assert found.only("FAILED") == ["import[crashes]", "test_it.py::test_it"]
    assert "Cause: a crash in native code of the module, or of a library that it loads" in found.text
    frames = re.findall(r'^  File "(.*)", line \d+ in ', found.text, re.MULTILINE)
    assert {Path(frame).name for frame in frames} == {"crashes.py", "sound.py", "test_it.py"}, found.text
    commands = re.findall("^Fix: look where it is, and correct that code: (.*)$", found.text, re.MULTILINE)
    assert [command.rpartition("faulthandler ")[2] for command in commands] == [
        "-c 'import crashes'",
        "-m pytest test_it.py::test_it",
    ]
    for command in commands:
        words = shlex.split(command)
        # The debugger need not be here, and would wait for commands.
        start, end = words.index("gdb"), words.index("python")
        words = [COMMAND, *words[1:start], *words[end:]]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode != 0
        assert "Fatal Python error: Segmentation fault" in done.stdout + done.stderr
