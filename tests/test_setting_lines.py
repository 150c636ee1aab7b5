"""A message that says which key to set has a line for the file where the project keeps its configuration, ready to paste."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import RunDist

import pytest_wheelcheck
from pytest_wheelcheck.plugin.options import INI_KEYS
from pytest_wheelcheck.setting_lines import list_line, value_line

FIRST, SECOND = "raise RuntimeError('one')\n", "raise RuntimeError('two')\n"
PROJECT = "[project]\nname = 'pkg'\nversion = '1.0'\n"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    files = {"pkg/__init__.py": "", "pkg/first.py": FIRST, "pkg/second.py": SECOND}
    build_wheel(pytester.path / "dist", "pkg", files=files)
    (pytester.path / "test_it.py").write_text("def test_it(): pass\n")
    return pytester


@pytest.mark.parametrize("before", ["", "import-ignore = ['pkg.first']\n"])
def test_the_line_for_the_table(project: pytest.Pytester, run_dist: RunDist, before: str) -> None:
    written = f"{PROJECT}[tool.wheelcheck]\nimport-strict = true\n"
    (project.path / "pyproject.toml").write_text(f"{written}{before}")
    found = run_dist()
    assert found.only("FAILED") == ["modules[pkg]"]
    lines = re.findall(r"set (.*) in \[tool\.wheelcheck\] of pyproject\.toml", found.text)
    assert lines
    # Each one is complete: of a second failure it has to be pasted into the same key.
    for line in dict.fromkeys(lines):
        (project.path / "pyproject.toml").write_text(f"{written}{line}\n")
        after = run_dist()
        assert after.text.count("cannot be imported:") < found.text.count("cannot be imported:"), after.text


@pytest.mark.parametrize("file", ["pytest.ini", "tox.ini", "setup.cfg"])
def test_the_lines_for_the_configuration_of_pytest(project: pytest.Pytester, run_dist: RunDist, file: str) -> None:
    section = "[tool:pytest]" if file == "setup.cfg" else "[pytest]"
    written = f"{section}\nwheel_import_strict = true\n"
    (project.path / file).write_text(f"{written}wheel_import_ignore = pkg.first\n")
    found = run_dist()
    assert found.only("FAILED") == ["modules[pkg]"]
    match = re.search(rf"set in {file}:\n(wheel_import_ignore =\n(?: +[\w.]+\n)+)", found.text)
    assert match is not None, found.text
    (project.path / file).write_text(f"{written}{match[1]}")
    assert run_dist().code == 0


def test_a_project_without_pyproject_gets_a_line_for_the_file_that_it_has(
    project: pytest.Pytester, run_dist: RunDist
) -> None:
    (project.path / "pytest.ini").write_text("[pytest]\n")
    build_wheel(project.path / "dist", "pkg", files={"pkg/__init__.py": "import absent_module\n"})
    assert "or set wheel_import_ignore = pkg in pytest.ini" in run_dist().text


SOURCES = sorted(Path(pytest_wheelcheck.__file__).parent.rglob("*.py"))


def test_no_message_names_a_key_to_set_in_another_form() -> None:
    keys = "|".join(key.name for key in INI_KEYS)
    other = re.compile(rf"\b(?:set|increase|add it to|correct|(?:set|in) the ini key) (?:{keys})\b|\b(?:{keys}) ?= ")
    wrong = []
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        wrong += [
            f"{path.name}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and other.search(node.value)
        ]
    assert not wrong


def test_each_line_names_a_key_that_there_is() -> None:
    keys = {key.name.removeprefix("wheel_") for key in INI_KEYS}
    used = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {list_line.__name__, value_line.__name__}:
                argument = node.args[0]
                assert isinstance(argument, ast.Constant), path
                used.add(argument.value)
    assert {"import_ignore", "executables", "test_timeout"} <= used <= keys
