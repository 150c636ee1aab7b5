"""The command `wheelcheck board`, on boards of the tests' own (:mod:`boards`)."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from board_runs import BoardRun, files_of_home, nothing_is_left
from boards import Board, Boards, Kind, native
from nodes import COMMAND

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux")

#: Where a board caches files, below the home directory of its user.
CACHE = Path(".cache/pytest-wheelcheck-board/v1")


@pytest.fixture(autouse=True)
def project(board_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the configuration of a project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return tmp_path


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, "board", *args], check=False, capture_output=True, text=True, timeout=300)


def cache_files(board: Board, directory: Path = CACHE, *, size: int = 5_000) -> Path:
    """Leave a file, as a run does."""
    store = board.home / directory / "store" / "ab"
    store.mkdir(parents=True)
    (store / f"ab{'0' * 62}").write_bytes(bytes(size))
    return store.parent


def test_what_a_board_is(board: Board) -> None:
    shown = run(board.url)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[0] == board.url.removeprefix("ssh://")
    assert re.search(rf"^  architecture +{native()}$", shown.stdout, re.MULTILINE)
    assert re.search(r"^  cp3\d+ +3\.\d+\.\d+ +/usr/bin/python3\.\d+  ready$", shown.stdout, re.MULTILINE)
    assert re.search(rf": manylinux_2_\d+_{native()} down to manylinux\w+_{native()}$", shown.stdout, re.MULTILINE)
    assert lines[-2:] == ["cache", f"  0.0 MB in /home/pi/{CACHE}"]
    # It leaves nothing behind.
    board.wait_until_idle()
    assert not list(board.home.rglob("*pytest-wheelcheck-board*"))


def kernel_says(pattern: str, name: str) -> str:
    """Return what a file of this host's kernel has, which boards share."""
    match = re.search(f"^{pattern}$", Path("/proc", name).read_text(encoding="utf-8"), re.MULTILINE)
    assert match
    return match[1]


def test_json(board: Board) -> None:
    cache_files(board)
    shown = run(board.url, "--json")
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["facts"]["machine"] == native()
    assert found["facts"]["page_size"] == 4096
    assert found["facts"]["kernel"] == f"Linux {platform.release()}"
    assert found["facts"]["features"] == kernel_says(r"(?:flags|Features|isa)\s*: (.*)", "cpuinfo").split()
    assert found["facts"]["memory"] == int(kernel_says(r"MemTotal: +(\d+) kB", "meminfo")) * 1024
    assert 0 < found["facts"]["memory_free"] < found["facts"]["memory"]
    assert found["facts"]["disk_free"] > 0
    assert found["facts"]["pty"] is True
    assert found["cache"] == {"directory": f"/home/pi/{CACHE}", "bytes": 5_000}
    (interpreter,) = found["interpreters"]
    assert interpreter["problem"] == ""
    assert interpreter["python"].startswith("/usr/bin/python3.")
    (tags,) = found["platform_tags"]
    assert tags["newest"].startswith("manylinux_2_")


def test_another_architecture(arm_board: Board) -> None:
    found = json.loads(run(arm_board.url, "--json").stdout)
    assert found["facts"]["machine"] == "aarch64"
    assert [each["oldest"] for each in found["platform_tags"]] == ["manylinux2014_aarch64"]
    assert [each["problem"] for each in found["interpreters"]] == [""]


def test_interpreters_that_cannot_be_used(board: Board) -> None:
    """Programs that answer as other interpreters do: an unknown version of CPython, an old one, and one that does not run."""
    directory = board.home / ".local/bin"
    directory.mkdir(parents=True)
    for name, version in (("python3.99", "[3, 99, 1, 'final', 0]"), ("python3.7", "[3, 7, 3, 'final', 0]")):
        script = f'#!/bin/sh\n/usr/bin/python3 "$@" | sed "s/\\"version\\": [^]]*\\]/\\"version\\": {version}/" | tr "\'" "\\""\n'
        (directory / name).write_text(script, encoding="ascii")
        (directory / name).chmod(0o755)
    (directory / "python3.12").write_text("#!/nowhere\n", encoding="ascii")
    (directory / "python3.12").chmod(0o755)
    shown = run(board.url)
    assert shown.returncode == 0, shown.stderr
    text = shown.stdout
    assert re.search(
        r"^  cp399 +3\.99\.1 .*: .* needs a CPython 3\.99 that runs here, and there is none", text, re.MULTILINE
    )
    assert "Fix: install it (uv python install 3.99)" in text
    assert re.search(r"^  - +3\.7\.3 .*/python3\.7  older than 3\.9$", text, re.MULTILINE)
    assert "/python3.12  it does not run\n" in text


def test_interpreters_of_pyenv_and_uv(board: Board) -> None:
    places = {".pyenv/versions/3.11.9/bin/python3.11", ".local/share/uv/python/cpython-3.11.9-linux/bin/python3.11"}
    for place in places:
        path = board.home / place
        path.parent.mkdir(parents=True)
        path.write_text('#!/bin/sh\nexec /usr/bin/python3 "$@"\n', encoding="ascii")
        path.chmod(0o755)
    found = json.loads(run(board.url, "--json").stdout)
    assert {each["python"] for each in found["interpreters"]} == {
        *(f"/home/pi/{place}" for place in places),
        os.path.realpath(board.root / "usr/bin/python3").removeprefix(str(board.root)),
    }


def test_the_cache_is_removed(board: Board) -> None:
    cache_files(board)
    cleaned = run(board.url, "--clean")
    name = board.url.removeprefix("ssh://")
    assert (cleaned.returncode, cleaned.stdout, cleaned.stderr) == (0, f"{name}: 5000 bytes freed\n", "")
    board.wait_until_idle()
    assert not list(board.home.rglob("*pytest-wheelcheck-board*"))
    assert run(board.url, "--clean").stdout == f"{name} has no cached files\n"
    assert json.loads(run(board.url, "--clean", "--json").stdout) == {"board": name, "freed": 0}


def test_what_a_run_has_left_is_removed(board_run: BoardRun, board: Board) -> None:
    board_run.use(board)
    board_run.write(test_one="import demo\ndef test_one(): pass\n")
    assert board_run.go(*board_run.only()).code == 0
    assert files_of_home(board) == {"store"}
    cleaned = run(board.url, "--clean")
    assert re.search(r": [1-9]\d{6,7} bytes freed$", cleaned.stdout)
    nothing_is_left(board)
    # The directory of caches is everybody's.
    assert {path.name for path in board.home.rglob("*")} <= {".cache"}


def test_a_full_board_can_be_cleaned(boards: Boards) -> None:
    board = boards(Kind(architecture=native(), home_size=1 << 20))
    store = cache_files(board, size=500_000)
    # All that is left.
    board.ssh("cat /dev/zero > filler")
    refused = run(board.url)
    assert refused.returncode == 1
    assert "is full" in refused.stderr
    assert f"`wheelcheck board {board.url} --clean`" in refused.stderr
    cleaned = run(board.url, "--clean")
    assert cleaned.returncode == 0, cleaned.stderr
    assert re.search(r": 5\d{5} bytes freed$", cleaned.stdout)
    assert not store.exists()
    assert run(board.url).returncode == 0


def test_a_cache_that_cannot_be_removed(boards: Boards) -> None:
    board = boards(Kind(architecture=native(), home_read_only=True))
    cache_files(board)
    cleaned = run(board.url, "--clean")
    assert cleaned.returncode == 1
    assert "is read-only" in cleaned.stderr
    assert cleaned.stdout == ""


def test_a_name_of_the_project(board: Board, project: Path) -> None:
    (project / "pytest.ini").write_text(
        f"[pytest]\nwheel_hosts =\n  pi = {board.url} directory=~/files\n", encoding="utf-8"
    )
    cache_files(board, Path("files/v1"))
    shown = run("pi", "--json")
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["board"] == "pi"
    assert found["cache"] == {"directory": "/home/pi/files/v1", "bytes": 5_000}
    assert run("pi", "--clean").stdout == "pi: 5000 bytes freed\n"


def test_a_name_of_the_table_of_the_project(board: Board, project: Path) -> None:
    (project / "pytest.ini").unlink()
    (project / "pyproject.toml").write_text(f'[tool.wheelcheck]\nhosts = ["pi = {board.url}"]\n', encoding="utf-8")
    cache_files(board)
    assert run("pi", "--clean").stdout == "pi: 5000 bytes freed\n"


@pytest.mark.parametrize("arguments", [(), ("--clean",), ("--json",)], ids=" ".join)
def test_errors_are_explained(board: Board, arguments: tuple[str, ...]) -> None:
    board.refuse_key()
    shown = run(board.url, *arguments)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr.startswith(
        f"wheelcheck: {board.url.removeprefix('ssh://')} refuses this account's keys\nCause: "
    )
    assert "\nFix: ssh-copy-id" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_board_without_python(boards: Boards) -> None:
    shown = run(boards(Kind(architecture=native(), python=False)).url)
    assert shown.returncode == 1
    assert "has no Python 3.9 or newer" in shown.stderr


@pytest.mark.parametrize("name", ["-oProxyCommand=x", "pi@one,pi@two", "ssh://pi@board:99999"])
def test_wrong_names(name: str) -> None:
    shown = run("--", name)
    assert shown.returncode == 4
    assert "\nFix: " in shown.stderr
