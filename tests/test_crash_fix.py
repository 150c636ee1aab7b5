"""A crash in native code has the frames of the user's code only, its cause, and a command that repeats it in a debugger."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import COMMAND, RunDist

CRASH = "import faulthandler\n\ndef crash():\n    faulthandler._read_null()\n"


COMMANDS = re.compile("^Fix: look where it is, and correct that code: (.*)$", re.MULTILINE)


def assert_repeats(command: str) -> None:
    """Run a printed command, without the debugger, which would wait for commands."""
    words = shlex.split(command)
    words = [COMMAND, *words[1 : words.index("--") + 1], *words[words.index("python") :]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "Fatal Python error: Segmentation fault" in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the debugger of Linux, and its signals")
def test_a_crash_names_a_command_that_repeats_it(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(pytester.path / "dist", "crashes", files={"crashes.py": f"{CRASH}\ncrash()\n", "sound.py": CRASH})
    (pytester.path / "test_it.py").write_text("import sound\n\ndef test_it():\n    sound.crash()\n")
    found = run_dist("test_it.py")
    assert found.only("FAILED") == ["import[crashes]", "test_it.py::test_it"]
    assert "Cause: a crash in native code of the module, or of a library that it loads" in found.text
    frames = re.findall(r'^  File "(.*)", line \d+ in ', found.text, re.MULTILINE)
    assert {Path(frame).name for frame in frames} == {"crashes.py", "sound.py", "test_it.py"}, found.text
    commands = COMMANDS.findall(found.text)
    assert [command.rpartition("faulthandler ")[2] for command in commands] == [
        "-c 'import crashes'",
        "-m pytest test_it.py::test_it",
    ]
    for command in commands:
        assert_repeats(command)


#: A project whose tests need a dependency group, a requirements file and an extra.
PROJECT = """
[project]
name = "crashes"
version = "1.0"
[dependency-groups]
test = ["six"]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the debugger of Linux, and its signals")
@pytest.mark.parametrize("debugger", [True, False], ids=["gdb", "no gdb"])
def test_the_command_installs_what_the_run_has_installed(
    pytester: pytest.Pytester, run_dist: RunDist, debugger: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(
        pytester.path / "dist",
        "crashes",
        files={"crashes.py": CRASH},
        requires=["markupsafe; extra == 'fast'"],
        extras=["fast"],
    )
    (pytester.path / "pyproject.toml").write_text(PROJECT)
    (pytester.path / "more.txt").write_text("tomli\n")
    (pytester.path / "test_it.py").write_text(
        "import pytest, six, tomli, colorama, markupsafe, crashes\n\n"
        "@pytest.mark.parametrize('text', ['x  y'])\ndef test_it(text):\n    crashes.crash()\n"
    )
    programs = pytester.mkdir("programs")
    if debugger:
        (programs / "gdb").symlink_to(sys.executable)
    # The directories of the others may have it.
    kept = [name for name in os.get_exec_path() if not Path(name, "gdb").exists()]
    for name in ("git", "sh", "bwrap", "uv", "ldconfig"):
        if path := shutil.which(name):
            (programs / name).symlink_to(path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), *kept]))
    given = ("--wheel-group=test", "--wheel-extra=fast", "--wheel-requires=more.txt", "--wheel-requires=colorama>=0.4")
    found = run_dist(*given, "test_it.py")
    (command,) = COMMANDS.findall(found.text)
    assert ("-- gdb -ex run " in command) == debugger
    assert command.endswith(" -m pytest 'test_it.py::test_it[x  y]'")
    if debugger:
        assert_repeats(command)
