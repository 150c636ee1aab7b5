"""The commands of the tutorial and of the how-to pages are run as they are written, in a project as the page describes it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from boards import Board
from builders import build_wheel
from filelock import FileLock
from nodes import COMMAND

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

#: Commands that other tests run: the file of these tests, and what it says where it runs the command.
ELSEWHERE = {
    "pip install pytest-wheelcheck": ("test_ci_recipes.py", "shell(install[0]"),
    "wheelcheck try": ("test_first_look.py", '[COMMAND, "try"]'),
    "wheelcheck doctor": ("test_runtimes_command.py", 'wheelcheck("doctor")'),
}
PROGRAMS = {
    "python": [sys.executable],
    "pip": [sys.executable, "-m", "pip"],
    "pytest": [sys.executable, "-m", "pytest"],
    "maturin": [sys.executable, "-m", "maturin"],
    "wheelcheck": [COMMAND],
}


def commands(page: str) -> list[str]:
    """Return the commands of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    found = [line for block in blocks for line in block.splitlines()]
    assert found
    assert all(line.startswith("$ ") for line in found)
    return [line[2:].partition("  #")[0].strip() for line in found]


def run(
    command: str, directory: Path, *, status: int = 0, options: Sequence[str] = (), words: Mapping[str, str] = {}
) -> str:
    """Run a command.

    :param options: more options of a run of pytest.
    :param words: what replaces words of the command, such as the name of a board.
    :returns: its output.
    """
    argv = [words.get(word, word) for word in shlex.split(command)]
    if argv[0] == "pytest" or argv[:2] == ["wheelcheck", "test"]:
        argv += [*options, "-p", "no:hypothesispytest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*PROGRAMS[argv[0]], *argv[1:]], cwd=directory, capture_output=True, text=True, timeout=300, check=False
    )
    print(command, done.stdout, done.stderr)
    assert done.returncode == status, command
    return done.stdout


def run_page(page: str, directory: Path, options: Sequence[str], words: Mapping[str, str] = {}) -> dict[str, str]:
    """Run the commands of a page, which all succeed; return their output."""
    own = [each for each in commands(page) if each not in ELSEWHERE]
    return {each: run(each, directory, options=options, words=words) for each in own}


THIS = (f"--wheel-python={sys.executable}",)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a wheel and two tests, of which one needs a pseudo-terminal."""
    build_wheel(tmp_path / "dist", "demo", files={"demo.py": ""})
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_demo.py").write_text(
        "import demo, pytest\n\n\ndef test_demo(): pass\n\n\n@pytest.mark.pty\ndef test_colors(): import pty\n"
    )
    return tmp_path


def test_every_page_has_a_test() -> None:
    pages = {path.relative_to(DOCS).as_posix() for path in [*DOCS.glob("howto/*.md"), DOCS / "tutorial.md"]}
    assert pages == set(re.findall(r'"(howto/[a-z-]+\.md|tutorial\.md)"', Path(__file__).read_text(encoding="utf-8")))
    for command, (name, words) in ELSEWHERE.items():
        assert words in (ROOT / "tests" / name).read_text(encoding="utf-8"), command


@pytest.mark.long
@pytest.mark.network
def test_the_tutorial(tmp_path: Path) -> None:
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    files = re.findall(r"^```\w+\n# (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(files) == 4
    for name, content in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    ordinary, build, broken, build_again, fixed = [each for each in commands("tutorial.md") if each not in ELSEWHERE]
    run(ordinary, tmp_path)
    run(build, tmp_path)
    found = run(broken, tmp_path, status=1, options=THIS)
    for line in text.partition("Shortened, it prints:")[2].split("```")[1].strip().splitlines():
        shown = re.escape(line.strip()).replace("cp313", r"cp3\d+")
        assert re.search(shown.replace("linux\\-x86_64", r"\S+"), found), line
    (change,) = re.findall(r"write `(packages = .*?)`", text)
    path = tmp_path / "pyproject.toml"
    path.write_text(re.sub("packages = .*", change, path.read_text()))
    run(build_again, tmp_path)
    run(fixed, tmp_path, options=THIS)


def test_cibuildwheel(project: Path) -> None:
    page = "howto/cibuildwheel.md"
    own = 'test-groups = ["test"]\ntest-command = "pytest {project}/tests -x"\n'
    (project / "pyproject.toml").write_text(f"[dependency-groups]\ntest = []\n[tool.cibuildwheel]\n{own}")
    found = run_page(page, project, options=THIS)
    assert "the workflow runs wheelcheck test tests -x" in found["wheelcheck init"]
    assert '[tool.wheelcheck]\ngroups = ["test"]' in (project / "pyproject.toml").read_text()
    assert (project / "wheels.html").is_file()


def test_pseudo_terminals(project: Path) -> None:
    run_page("howto/windows-pty.md", project, options=THIS)
    assert (project / "windows.json").is_file()


def test_a_release(project: Path) -> None:
    run_page("howto/release.md", project, options=THIS)
    assert (project / "release.html").is_file()
    run(
        "wheelcheck test --wheel=dist --wheel-report=macos.json tests",
        project,
        options=[*THIS, "--wheel-expect=sdist"],
        status=1,
    )
    merge = next(each for each in commands("howto/release.md") if " merge " in each)
    run(merge, project, status=1)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux")
def test_a_board(board: Board, board_path: Path, project: Path) -> None:
    page = "howto/board.md"
    text = (DOCS / page).read_text(encoding="utf-8")
    (table,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert "pi@board.local" in table
    (project / "pyproject.toml").write_text(table.replace("ssh://pi@board.local", board.url))
    # The board is of this host's architecture, and the emulated machine of the page is not.
    found = run_page(
        page,
        project,
        options=["-v", "--wheel-python=3.11"],
        words={"pi@board.local": board.url, "rpi4": "x86-64-v2"},
    )
    tested = next(output for command, output in found.items() if "--wheel-host" in command)
    assert "+pi::tests/test_demo.py::test_demo PASSED" in tested


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="needs Rust")
def test_maturin(witness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The witness is the project; it was built before, which takes the time."""
    native = ROOT / "native"
    project = tmp_path / "project"
    shutil.copytree(native, project, ignore=shutil.ignore_patterns("target", "dist"))
    for path in (project / "tests").glob("test_*.py"):
        if path.name != "test_facts.py":
            path.unlink()
    monkeypatch.setenv("CARGO_TARGET_DIR", str(native / "target"))
    with FileLock(native / "target" / "witness.lock"):
        run_page("howto/maturin.md", project, options=["--wheel-providers=host"])
    assert [path.name for path in (project / "dist").iterdir()] == [witness.name]
    assert "[tool.wheelcheck]" in (project / "pyproject.toml").read_text()
