"""``wheelcheck try``: the first minute of a new user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from index_server import serve
from nodes import COMMAND
from typed import typed

from pytest_wheelcheck.cli.try_it import sound_wheel
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.planning.published import list_releases


def test_two_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs nothing but an index: no project, and an empty cache."""
    monkeypatch.setenv("WHEELCHECK_CACHE", str(tmp_path / "cache"))
    found = typed("wheelcheck try", tmp_path)
    assert "WHL603: _ruamel_yaml.cpython-312-x86_64-linux-gnu.so is for CPython 3.12 on x86_64-linux-gnu" in found
    assert "1 failed" in found
    if sys.platform == "linux":
        assert "installed and imported" in found
        assert "It was checked, installed into an environment of its own, and imported." in found
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no sandbox at all")
def test_what_ran_without_a_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bubblewrap that does not work: the sound wheel gets the static checks only."""
    program = tmp_path / "bin" / "bwrap"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'No permissions to create a new namespace' >&2\nexit 1\n", "ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    done = subprocess.run([COMMAND, "try"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Only its static checks ran, for the reason above: it was not installed or imported." in done.stdout
    assert "there is none here" in done.stdout
    assert "environment of its own" not in done.stdout


def test_other_verdicts_are_named(tmp_path: Path) -> None:
    with serve(tmp_path / "index") as index:
        argv = [COMMAND, "try", f"--wheel-index={index.url}"]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "These are not the expected verdicts" in done.stdout
    assert "the package index has no such project" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def sound_wheels() -> list[str]:
    """The names of the wheels of the sound release."""
    (release,) = [each for each in list_releases("bcrypt", InstallSettings()) if str(each.version) == "5.0.0"]
    return [file.name for file in release.wheels]


@pytest.mark.parametrize(
    "platform",
    [
        Platform(system="linux", architecture="x86_64", libc="glibc"),
        Platform(system="linux", architecture="aarch64", libc="glibc"),
        Platform(system="linux", architecture="x86_64", libc="musl"),
        Platform(system="linux", architecture="aarch64", libc="musl"),
        Platform(system="darwin", architecture="arm64"),
        Platform(system="win32", architecture="amd64"),
        Platform(system="win32", architecture="x86"),
    ],
    ids=lambda platform: platform.name,
)
def test_a_sound_wheel_for_every_platform(sound_wheels: list[str], platform: Platform) -> None:
    import fnmatch

    pattern = sound_wheel(platform).partition("/")[2]
    assert len([name for name in sound_wheels if fnmatch.fnmatchcase(name, pattern)]) == 1, pattern
