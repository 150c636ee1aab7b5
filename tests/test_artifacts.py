"""What tests and crashes leave in targets comes back (``--wheel-artifacts``)."""

from __future__ import annotations

import json
import platform
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from board_runs import BoardRun
from boards import Board
from builders import build_wheel
from nodes import Run, RunOutput, run_output

from pytest_wheelcheck.system.regular_files import Copier, safe_name

TESTS = """
import faulthandler, os, pathlib, sys
import demo

LEFT = pathlib.Path(os.environ["WHEELCHECK_ARTIFACTS"])

def test_writes(tmp_path):
    (LEFT / "deep" / "er").mkdir(parents=True)
    (LEFT / "deep" / "er" / "note.txt").write_text("from " + sys.platform)
    (LEFT / "large").write_bytes(bytes(range(256)) * (10 << 12))
    (LEFT / "empty").touch()
    (tmp_path / "of a passed test").touch()
    if sys.platform != "win32":
        (LEFT / "link").symlink_to("/etc/passwd")
        (LEFT / "directory").symlink_to("/etc")
        (LEFT / "a:b?").write_text("odd")
        os.mkfifo(LEFT / "pipe")

def test_fails(tmp_path):
    (tmp_path / "state.txt").write_text("broken")
    assert 0

def test_crashes():
    print("before the crash")
    os.abort()

def test_after():
    (LEFT / "after").touch()
"""

#: What is found of every target, apart from core dumps and the log.
FILES = {
    "artifacts/deep/er/note.txt",
    "artifacts/large",
    "artifacts/empty",
    "artifacts/after",
    "tmp/1/test_fails0/state.txt",
}

#: Also where the target has names with any character.
ODD = {"artifacts/a_b_"}

LARGE = bytes(range(256)) * (10 << 12)


def make_project(path: Path, *tags: str) -> None:
    for tag in tags or ("py3-none-any",):
        build_wheel(path / "dist", "demo", files={"demo/__init__.py": ""}, tags=[tag])
    (path / "tests").mkdir(exist_ok=True)
    (path / "tests" / "test_demo.py").write_text(TESTS)


@pytest.fixture
def run(run_wheels: Run) -> Callable[..., RunOutput]:
    return lambda *args, timeout=120.0: run_output(
        run_wheels("--wheel=dist", "--wheel-select=WHL101", "-v", "tests", *args, timeout=timeout)
    )


def files_of(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir()}


def core_dumps(directory: Path) -> list[Path]:
    """Return the core dumps below a directory, which are all files of its directory ``cores``."""
    found = sorted((directory / "cores").iterdir()) if (directory / "cores").exists() else []
    for core in found:
        assert core.read_bytes()[:4] == b"\x7fELF"
        assert struct.unpack("<H", core.read_bytes()[16:18]) == (4,)
    return found


def kernel_writes_files() -> bool:
    """Whether the kernel writes core dumps to the working directory."""
    pattern = Path("/proc/sys/kernel/core_pattern")
    return sys.platform == "linux" and pattern.read_text()[0] not in "|/"


@pytest.mark.skipif(sys.platform == "win32", reason="has no links, pipes and core dumps")
def test_files_tmp_paths_cores_and_the_log(run: Callable[..., RunOutput], pytester: pytest.Pytester) -> None:
    make_project(pytester.path)
    Path("left").mkdir()
    outside = pytester.path / "outside"
    outside.mkdir()
    Path("left/demo-1.0-py3-none-any").symlink_to(outside)
    found = run("--wheel-artifacts=left", "--wheel-report=report.json")
    assert found.only("FAILED") == ["tests/test_demo.py::test_crashes", "tests/test_demo.py::test_fails"]
    [target] = Path("left/demo-1.0-py3-none-any").iterdir()
    cores = core_dumps(target)
    assert len(cores) == kernel_writes_files()
    names = files_of(target)
    assert names == {*FILES, *ODD, "worker.log", *(core.relative_to(target).as_posix() for core in cores)}
    assert (target / "artifacts/large").read_bytes() == LARGE
    assert not any(path.is_symlink() for path in target.rglob("*"))
    assert "Fatal Python error: Aborted" in (target / "worker.log").read_text()
    assert not list(outside.iterdir())
    assert f": {target} ({len(names)} files)" in found.text
    # Nothing is left in the project.
    assert "tests modified the source tree" not in found.text
    assert not list(Path().glob("core*"))
    [wheel] = json.loads(Path("report.json").read_text())["wheels"]
    assert set(wheel["targets"][0]["artifacts"]) == {f"{target}/{name}" for name in names}

    # A repetition of a node would remove them.
    assert json.loads(Path("report.json").read_text())["options"] == ["--wheel-select=WHL101"]

    # A second run replaces the files of the first one.
    Path("tests/test_demo.py").write_text("def test_passes(tmp_path): (tmp_path / 'x').touch()\n")
    assert run("--wheel-artifacts=left").code == 0
    assert files_of(target) == set()


def test_without_the_option_nothing_is_named(run: Callable[..., RunOutput], pytester: pytest.Pytester) -> None:
    make_project(pytester.path)
    Path("tests/test_demo.py").write_text(
        "import os\ndef test_none(): assert 'WHEELCHECK_ARTIFACTS' not in os.environ\n"
    )
    found = run()
    assert found.code == 0
    assert "artifacts of" not in found.text


def test_a_board(board_run: BoardRun, board: Board) -> None:
    board_run.use(board)
    make_project(board_run.path)
    tests = board_run.path / "tests" / "test_demo.py"
    # Where core dumps are searched; who opens it waits for ever.
    tests.write_text(f"{TESTS}\ndef test_pipe():\n    os.mkfifo('core.pipe')\n")
    found = board_run.go("--wheel-artifacts=left", "tests")
    assert found.on()["tests/test_demo.py::test_crashes"] == "FAILED"
    [target] = (board_run.path / "left/demo-1.0-py3-none-any").glob("*+pi")
    cores = core_dumps(target)
    assert len(cores) == kernel_writes_files()
    assert files_of(target) == {*FILES, *ODD, "worker.log", *(core.relative_to(target).as_posix() for core in cores)}
    assert (target / "artifacts/large").read_bytes() == LARGE
    assert (target / "artifacts/deep/er/note.txt").read_text() == "from linux"


@pytest.mark.long
@pytest.mark.network
@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="emulates on x86-64 Linux")
def test_emulated_and_windows(run_wheels: Run, pytester: pytest.Pytester) -> None:
    make_project(pytester.path, "py3-none-manylinux_2_17_aarch64", "py3-none-win_amd64")
    words = ("--wheel=dist", "--wheel-select=WHL101", "--wheel-python=auto", "--wheel-artifacts=left", "tests")
    run_wheels(*words, timeout=900)
    emulated = list(Path("left/demo-1.0-py3-none-manylinux_2_17_aarch64").iterdir())
    windows = list(Path("left/demo-1.0-py3-none-win_amd64").iterdir())
    assert emulated
    assert windows
    for target in emulated:
        assert {*FILES, *ODD, "worker.log"} <= files_of(target)
        # QEMU writes it, whatever the kernel does with its own.
        assert any(core.name.startswith("qemu_") for core in core_dumps(target))
    for target in windows:
        assert files_of(target) == {*FILES, "worker.log"}
        assert (target / "artifacts/deep/er/note.txt").read_text() == "from win32"
    assert not list(Path().glob("*core*"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain.txt", "plain.txt"),
        ("a b-\u00e4", "a b-\u00e4"),
        ('<>:"/\\|?*\n', "__________"),
        ("con", "_con"),
        ("LPT1.txt", "_LPT1.txt"),
        ("..", "_"),
        ("end. ", "end_"),
        ("x" * 300, "x" * 200),
    ],
)
def test_safe_names(name: str, expected: str) -> None:
    assert safe_name(name) == expected


def test_copies_are_bounded_and_have_names_of_their_own(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, size in (("a", 60), ("b:", 10), ("b?", 10), ("c", 30), ("d", 20)):
        (source / name).write_bytes(bytes(size))
    copier = Copier(tmp_path / "made", 100)
    copier.tree(source, "tree")
    assert copier.copied == ["tree/a", "tree/b_", "tree/b_-2", "tree/d"]
    assert copier.omitted == (1, 30)
    (tmp_path / "link").symlink_to(source)
    copier.tree(tmp_path / "link")
    assert len(copier.copied) == 4
