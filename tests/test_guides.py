"""The commands of the tutorial and of the how-to pages are run as they are written, in a project as the page describes it."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from boards import Board
from builders import build_wheel
from filelock import FileLock
from typed import commands as typed_commands
from typed import has_passed, typed

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

#: Commands that other tests run, because README and the reference have them, too.
ELSEWHERE = {"pip install pytest-wheelcheck", "wheelcheck try", "wheelcheck doctor"}


def commands(page: str) -> list[str]:
    """Return the commands of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    found = [line for block in blocks for line in block.splitlines()]
    assert found
    assert all(line.startswith("$ ") for line in found)
    return [line[2:].partition("  #")[0].strip() for line in found]


def run(command: str, directory: Path, *, status: int = 0, options: str = "") -> str:
    """Run a command as it is written.

    :param options: of pytest, which are in its environment.
    :returns: its output.
    """
    return typed(command, directory, status=status, **({"PYTEST_ADDOPTS": options} if options else {}))


def run_page(page: str, directory: Path, options: str = "") -> dict[str, str]:
    """Run the commands of a page, which all succeed; return their output."""
    own = [each for each in commands(page) if each not in ELSEWHERE]
    return {each: run(each, directory, options=options) for each in own}


#: The running interpreter is the only one: a wheel for every Python 3 is tested on two.
THIS = f"--wheel-python={sys.executable}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a wheel and two tests, of which one needs a pseudo-terminal."""
    build_wheel(tmp_path / "dist", "demo", files={"demo.py": ""}, tags=[f"cp3{sys.version_info[1]}-none-any"])
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_demo.py").write_text(
        "import demo, pytest\n\n\ndef test_demo(): pass\n\n\n@pytest.mark.pty\ndef test_colors(): import pty\n"
    )
    return tmp_path


def test_every_page_has_a_test() -> None:
    pages = {path.relative_to(DOCS).as_posix() for path in [*DOCS.glob("howto/*.md"), DOCS / "tutorial.md"]}
    assert pages == set(re.findall(r'"(howto/[a-z-]+\.md|tutorial\.md)"', Path(__file__).read_text(encoding="utf-8")))
    # test_commands.py looks that a test runs these.
    assert set(typed_commands()) >= ELSEWHERE


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
    found = run_page(page, project)
    assert "the workflow runs wheelcheck test tests -x" in found["wheelcheck init"]
    assert '[tool.wheelcheck]\ngroups = ["test"]' in (project / "pyproject.toml").read_text()
    assert (project / "wheels.html").is_file()


def test_pseudo_terminals(project: Path) -> None:
    run_page("howto/windows-pty.md", project)
    assert (project / "windows.json").is_file()


def test_a_release(project: Path) -> None:
    run_page("howto/release.md", project)
    assert (project / "release.html").is_file()
    run(
        "wheelcheck test --wheel=dist --wheel-report=macos.json tests",
        project,
        options="--wheel-expect=sdist",
        status=1,
    )
    merge = next(each for each in commands("howto/release.md") if " merge " in each)
    run(merge, project, status=1)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="boards are made on Linux")
@pytest.mark.usefixtures("board_path")
def test_a_board(named_board: Board, project: Path) -> None:
    page = "howto/board.md"
    text = (DOCS / page).read_text(encoding="utf-8")
    (table,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    # The wheel has no native file.
    (project / "pyproject.toml").write_text(f'{table}ignore = ["WHL602"]\n')
    for wheel in (project / "dist").iterdir():
        wheel.unlink()
    python = named_board.python
    build_wheel(project / "dist", "demo", files={"demo.py": ""}, tags=[f"{python}-{python}-manylinux_2_17_aarch64"])
    found = run_page(page, project)
    for command, output in found.items():
        if "--wheel-host" in command:
            assert has_passed(output, "linux-aarch64+pi")
        assert ("2 tests have the same outcome on rpi4 and pi" in output) is ("--wheel-machine" in command)


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
        run_page("howto/maturin.md", project, options="--wheel-providers=host")
    assert [path.name for path in (project / "dist").iterdir()] == [witness.name]
    assert "[tool.wheelcheck]" in (project / "pyproject.toml").read_text()
