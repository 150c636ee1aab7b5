"""Every command in README and in the pages is run by a test, or named here with the test or the reason why it is not.

``test_guides.py`` runs the commands of the tutorial and of the how-to pages, and ``test_ci_recipes.py`` those of ``docs/ci.md``.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import build_wheel
from test_guides import PROGRAMS

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    {*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / name for name in ("tutorial.md", "ci.md")}
)

#: Commands that are run here, and the exit status if it is not 0.
RUN = {
    "pytest --wheel dist/*.whl": 0,
    "pytest --wheel 'dist/*.whl' tests": 0,
    "pytest --wheel dist tests": 0,
    "pytest --wheel dist --wheel-group test tests/": 0,
    "pytest --wheel 'dist/*.whl' --wheel-python all": 0,
    "pytest --wheel dist --wheel-artifacts left": 0,
    "pytest --wheel dist -k round_trip -x -n 4": 0,
    "pytest --wheel dist --wheel-offline --wheel-find-links wheelhouse": 0,
    "wheelcheck init": 0,
    "wheelcheck test --wheel dist": 0,
    "wheelcheck checks WHL3": 0,
    "wheelcheck machines": 0,
    "wheelcheck doctor dist": 0,
    "wheelcheck doctor --offline aarch64": 1,
    "wheelcheck runtime list": 0,
    "wheelcheck runtime path aarch64 3.13": 1,
    "wheelcheck runtime remove all": 0,
    "wheelcheck cache": 0,
    "wheelcheck cache prune": 0,
    "wheelcheck cache prune --max-size 5GB": 0,
}

#: Commands of which the last one needs the files of the others.
SEQUENCES = (
    (
        "pytest --wheel dist --wheel-report linux.json",
        "pytest --wheel dist --wheel-report windows.json",
        "wheelcheck merge linux.json windows.json --wheel-strict --wheel-report release.html",
    ),
    (
        "pytest --wheel dist --wheel-shard 1/2 --wheel-report 1.json",
        "pytest --wheel dist --wheel-shard 2/2 --wheel-report 2.json",
        "wheelcheck merge 1.json 2.json --wheel-strict --wheel-report release.html",
    ),
)

#: Commands that other tests run: the file of these tests, and what it says where it runs the command.
ELSEWHERE = {
    "pip install pytest-wheelcheck": ("test_ci_recipes.py", "shell(install[0]"),
    "wheelcheck try": ("test_first_look.py", '[COMMAND, "try"]'),
    "wheelcheck doctor": ("test_runtimes_command.py", 'wheelcheck("doctor")'),
    "pytest --wheel 'pypi:ruamel.yaml.clib==0.2.12/*-cp312-manylinux*_aarch64.whl' --wheel-static": (
        "test_first_look.py",
        '[COMMAND, "try"]',
    ),
    "pytest --wheel pypi:NAME==1.2": ("test_published_release.py", 'f"pypi:{NAME}==1.2"'),
    "pytest --wheel dist --wheel-expect previous": ("test_previous_release.py", '"--wheel-expect=previous"'),
    "pytest --wheel dist --wheel-sandbox": ("faults/test_sandbox.py", '"--wheel-sandbox"'),
    "pytest --wheel dist --wheel-machine rpi4,rpi5": ("test_emulation.py", '"--wheel-machine=rpi4,rpi5'),
    "pytest --wheel dist --wheel-machine rpi4,rpi5 tests": ("test_emulation.py", '"--wheel-machine=rpi4,rpi5'),
    "pytest --wheel dist --cov=pkg": ("test_coverage_data.py", "--cov"),
    "pytest --wheel dist --cov=pkg --cov-report=term-missing --cov-report=xml --cov-fail-under=90": (
        "test_coverage_data.py",
        "--cov-fail-under",
    ),
    "pytest --wheel dist --wheel-host pi@board": ("test_guides.py", "def test_a_board"),
    "pytest --wheel dist --wheel-host pi@board tests": ("test_guides.py", "def test_a_board"),
    "pytest --wheel dist --wheel-host pi@board.local tests": ("test_guides.py", "def test_a_board"),
    "pytest --wheel dist --wheel-host pi@board.local --wheel-machine rpi4 tests": (
        "test_guides.py",
        "def test_a_board",
    ),
    "wheelcheck board pi@board": ("test_guides.py", "def test_a_board"),
    "wheelcheck board pi@board.local": ("test_guides.py", "def test_a_board"),
    "wheelcheck board pi@board.local --clean": ("test_board_command.py", 'run(board.url, "--clean")'),
    "pytest --wheel dist --wheel-sysroot aarch64=raspios": (
        "test_interpreters_directory.py",
        "--wheel-sysroot=aarch64={root}",
    ),
    "wheelcheck exec aarch64 3.13 -- python -V": ("test_exec_command.py", "def test_pip_of_another_architecture"),
    "wheelcheck exec musllinux-aarch64 3.12 -- python -m pip --version": (
        "test_exec_command.py",
        "def test_pip_of_another_architecture",
    ),
    "jq -r '.wheels[] | .filename as $wheel | .targets[] | .name as $target": (
        "test_report_schema.py",
        "jq.compile(example)",
    ),
}

#: Why no test runs a command.
EXCEPTIONS = {
    "pytest --wheel dist --wheel-sysroot aarch64=alpine": "as the line before it, with a directory that Docker makes",
    "pytest --wheel dist --wheel-sysroot x86_64=/srv/sid": "the same, with a directory that the user has",
    "pytest --wheel dist --wheel-sysroot armv7l=raspios/usr/local/bin/python3.13": "the same",
    "wheelcheck runtime install aarch64 3.13 3.14t": "the fixtures of emulated interpreters download what it does",
    "wheelcheck runtime install aarch64 3.9 3.13": "the same",
    "wheelcheck runtime install musllinux-x86_64 3.12": "the same",
    "uvx pytest-wheelcheck test --wheel dist tests/": "needs a release; `tox run -e dist` installs its wheel with uv and pipx",
    "uvx pytest-wheelcheck test --wheel dist": "the same",
    "pipx run pytest-wheelcheck doctor dist": "the same",
    "uv tool install pytest-wheelcheck": "the same",
    "rpi-imager": "a program of others, with windows",
    "ssh pi@board.local true": "ssh itself, with a question to the user",
    "gh run download --name wheels --dir dist": "needs an account on GitHub",
}

#: Starts of commands that are environments of tox; ``test_docs.py`` compares their names with ``tox.ini``.
TOX = ("python3 -m tox", "tox run -e", "python3 -m pip install tox")

#: Starts of commands that take some seconds.
LONG = ("pytest", "wheelcheck test", "wheelcheck doctor")


def commands() -> Iterator[tuple[str, str]]:
    """Yield the page and the command of each line with a prompt. A prompt may name the machine."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```(?:console)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            for line in re.findall(r"^(?:\w[\w ]*)?\$ +(.*)$", block, re.MULTILINE):
                yield page.name, line.partition("  #")[0].partition(" # ")[0].strip()


def test_every_command_is_run_or_named() -> None:
    found = {command for _, command in commands()}
    assert len(found) > 60
    run = [*RUN, *(command for sequence in SEQUENCES for command in sequence)]
    named = {*run, *ELSEWHERE, *EXCEPTIONS}
    assert sorted(command for command in found - named if not command.startswith(TOX)) == []
    assert sorted(named - found) == [], "no page has them"
    assert len(named) == len(run) + len(ELSEWHERE) + len(EXCEPTIONS)
    for command, (name, words) in ELSEWHERE.items():
        assert words in (ROOT / "tests" / name).read_text(encoding="utf-8"), command


def test_shell_blocks_are_in_the_page_of_recipes_only() -> None:
    """Their lines have no prompt."""
    assert [
        page.name
        for page in PAGES
        if re.search(r"^```(?:sh|shell|bash)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ] == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a wheel for the running interpreter, and a test."""
    root = tmp_path
    tag = f"cp3{sys.version_info[1]}-none-any"
    build_wheel(root / "dist", "demo", files={"demo.py": ""}, tags=[tag])
    (root / "pyproject.toml").write_text('[project]\nname = "demo"\nversion = "1.0"\n[dependency-groups]\ntest = []\n')
    (root / "tests").mkdir()
    (root / "wheelhouse").mkdir()
    (root / "tests" / "test_demo.py").write_text("import demo\n\n\ndef test_round_trip(): pass\n")
    return root


def run(project: Path, command: str) -> int:
    """Run a command as a shell does; return its exit status."""
    env = dict(os.environ)
    options: list[str] = []
    if command.startswith(("pytest", "wheelcheck test")):
        options = ["-p", "no:hypothesispytest"]
        if "--wheel-python" not in command:
            options.append(f"--wheel-python={sys.executable}")
    else:
        # Not that of the other tests, of which some of these commands remove files.
        env["WHEELCHECK_CACHE"] = str(project / "cache")
    argv: list[str] = []
    for word in shlex.split(command):
        is_pattern = "*" in word and f"'{word}'" not in command
        argv += [path.relative_to(project).as_posix() for path in project.glob(word)] if is_pattern else [word]
    program = [*PROGRAMS[argv[0]], *argv[1:], *options]
    done = subprocess.run(program, cwd=project, env=env, capture_output=True, text=True, timeout=300, check=False)
    print(done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.returncode


@pytest.mark.parametrize(
    "command", [pytest.param(each, marks=[pytest.mark.long] if each.startswith(LONG) else []) for each in RUN]
)
def test_a_command(project: Path, command: str) -> None:
    assert run(project, command) == RUN[command]


@pytest.mark.long
@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence[-1])
def test_commands_that_need_each_other(project: Path, sequence: tuple[str, ...]) -> None:
    for command in sequence:
        assert run(project, command) == 0, command
