"""Every command in README and in the pages is run by a test as it is written, or named here with the reason why it is not.

``test_guides.py`` runs the commands of the tutorial and of the how-to pages, and ``test_ci_recipes.py`` those of ``docs/ci.md``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from builders import build_wheel
from index_server import serve
from typed import PAGES, commands, make_project, typed, typed_in

#: Commands that need nothing but a project: the exit status, and what they print.
RUN = {
    "pytest --wheel dist/*.whl": (0, "1 test passed; 2 checks passed"),
    "pytest --wheel 'dist/*.whl' tests": (0, "1 test passed; 2 checks passed"),
    "pytest --wheel dist tests": (0, "1 test passed; 2 checks passed"),
    "pytest --wheel dist --wheel-group test tests/": (0, "1 test passed; 2 checks passed"),
    "pytest --wheel 'dist/*.whl' --wheel-python all": (0, "1 test passed; 2 checks passed"),
    "pytest --wheel dist --cov=pkg": (0, " tests coverage "),
    "pytest --wheel dist --cov=pkg --cov-report=term-missing --cov-report=xml --cov-fail-under=90": (0, "coverage.xml"),
    "pytest --wheel dist --wheel-artifacts left": (0, "1 test passed; 2 checks passed"),
    "pytest --wheel dist -k round_trip -x -n 4": (0, "1 passed"),
    "pytest --wheel 'pypi:ruamel.yaml.clib==0.2.12/*-cp312-manylinux*_aarch64.whl' --wheel-static": (
        1,
        "WHL603: _ruamel",
    ),
    "wheelcheck init": (0, "Next: build wheels into dist/"),
    "wheelcheck test --wheel dist": (0, "1 test passed; 2 checks passed"),
    "wheelcheck checks WHL3": (0, "WHL301"),
    "wheelcheck machines": (0, "rpi4"),
    "wheelcheck doctor": (0, "sandbox (--wheel-sandbox)"),
    "wheelcheck doctor dist": (0, "to be fetched: "),
    "wheelcheck doctor --offline aarch64": (1, "  missing: cp39, cp310"),
    "wheelcheck cache": (0, "  0 MB in "),
    "wheelcheck cache prune": (0, " 0 MB removed from "),
    "wheelcheck cache prune --max-size 5GB": (0, " 0 MB removed from "),
}

#: Starts of commands that are given an empty cache: they remove its files, or say what is not there.
EMPTY_CACHE = ("wheelcheck cache", "wheelcheck doctor --offline")

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

#: The files of the other tests that run commands.
TESTS = (
    "test_commands.py",
    "test_commands_installed.py",
    "test_commands_of_boards.py",
    "test_commands_of_targets.py",
    "test_first_look.py",
    "test_report_schema.py",
)

#: Why no test runs a command.
EXCEPTIONS = {
    "rpi-imager": "a program of others, with windows",
    "gh run download --name wheels --dir dist": "needs an account on GitHub",
}

#: Starts of commands that are environments of tox; ``test_docs.py`` compares their names with ``tox.ini``.
TOX = ("python3 -m tox", "tox run -e", "python3 -m pip install tox")

#: Starts of commands that take some seconds.
LONG = ("pytest", "wheelcheck test", "wheelcheck doctor")

#: No project on a public index has this name.
NAME = "wheelcheck-no-such-project"


def test_every_command_is_run_or_named() -> None:
    found = {command for command in commands() if not command.startswith(TOX)}
    assert len(found) > 50
    run = {*RUN, *(command for sequence in SEQUENCES for command in sequence), *typed_in(*TESTS)}
    assert sorted(found - run - set(EXCEPTIONS)) == [], "no test runs them"
    assert sorted(({*RUN, *EXCEPTIONS} | {each for sequence in SEQUENCES for each in sequence}) - found) == [], (
        "no page has them"
    )
    assert run.isdisjoint(EXCEPTIONS)


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
    return make_project(tmp_path / "project")


@pytest.mark.parametrize(
    "command", [pytest.param(each, marks=[pytest.mark.long] if each.startswith(LONG) else []) for each in RUN]
)
def test_a_command(project: Path, command: str) -> None:
    cache = {"WHEELCHECK_CACHE": str(project / "cache")} if command.startswith(EMPTY_CACHE) else {}
    status, text = RUN[command]
    assert text in typed(command, project, status=status, **cache)


@pytest.mark.long
@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence[-1])
def test_commands_that_need_each_other(project: Path, sequence: tuple[str, ...]) -> None:
    for command in sequence:
        typed(command, project)
    assert (project / "release.html").is_file()


@pytest.mark.long
@pytest.mark.network
@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap makes sandboxes on Linux")
def test_the_sandbox(project: Path) -> None:
    found = typed("pytest --wheel dist --wheel-sandbox", project)
    assert "sandbox: no network; home, source tree and cache are read-only" in found
    assert "1 test passed; 2 checks passed" in found


@pytest.mark.long
@pytest.mark.network
def test_a_release_on_the_index(project: Path) -> None:
    with serve(project / "index") as index:
        files = {"pkg/__init__.py": "VALUE = 1\n"}
        build_wheel(index.directory, "NAME", "1.2", files=files, tags=[f"cp3{sys.version_info[1]}-none-any"])
        found = typed("pytest --wheel pypi:NAME==1.2", project, PIP_EXTRA_INDEX_URL=index.url)
    assert "pypi:name==1.2/NAME-1.2-" in found
    assert "1 test passed; 2 checks passed" in found


@pytest.mark.long
def test_the_previous_release(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", name=NAME)
    with serve(tmp_path / "index") as index:
        for tag in (f"cp3{sys.version_info[1]}-none-any", "cp312-cp312-win_amd64"):
            build_wheel(index.directory, NAME, "0.9", files={"old.py": ""}, tags=[tag])
        command = "pytest --wheel dist --wheel-expect previous"
        found = typed(command, project, status=1, PIP_EXTRA_INDEX_URL=index.url)
    assert f"missing: cp312 on win_amd64, which pypi:{NAME}==0.9 has\n" in found
