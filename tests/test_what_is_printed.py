"""What is printed is accepted: node ids, names of checks; and a wheel without the option is recognized."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import COMMAND, Run, run_output

import pytest_wheelcheck


@pytest.mark.parametrize("place", ["root", "subdirectory"])
def test_node_ids_of_wheels_outside_of_the_root_directory(
    pytester: pytest.Pytester, run_wheels: Run, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """They are relative to the root directory, wherever pytest was started."""
    root = pytester.path / "project"
    (root / "sub").mkdir(parents=True)
    (root / "pytest.ini").write_text("[pytest]\n")
    wheel = build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    monkeypatch.chdir(root if place == "root" else root / "sub")
    found = run_output(run_wheels("--wheel", wheel, f"--rootdir={root}", "--wheel-select=WHL1", "--wheel-static", "-v"))
    node = "../dist/demo-1.0-py3-none-any.whl::WHL101-zip"
    assert f"{node} PASSED" in found.text
    found = run_output(run_wheels("--wheel", node, f"--rootdir={root}", "--wheel-static", "-v"))
    assert f"{node} PASSED" in found.text
    assert "1 passed" in found.text


@pytest.mark.parametrize("option", ["--wheel-select", "--wheel-ignore"])
def test_names_of_checks(pytester: pytest.Pytester, run_wheels: Run, option: str) -> None:
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    found = run_output(run_wheels("--wheel", "dist", f"{option}=WHL101-zip", "--wheel-static", "-v"))
    assert found.code == 0
    assert ("WHL101-zip PASSED" in found.text) == (option == "--wheel-select")


def test_the_command_explains_a_check_by_its_name() -> None:
    done = subprocess.run([COMMAND, "checks", "WHL301-policy"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("WHL301-policy (error)")


def test_the_version() -> None:
    done = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"pytest-wheelcheck {pytest_wheelcheck.__version__}\n"


@pytest.mark.parametrize(
    "argument", ["{wheel}", "{wheel}::cp311-linux-x86_64", "{wheel}::test_it[x  y-2]", "pypi:demo"]
)
def test_a_wheel_without_the_option(pytester: pytest.Pytester, argument: str) -> None:
    wheel = build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    given = argument.format(wheel=wheel)
    result = pytester.runpytest_subprocess("-p", "no:hypothesispytest", given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (command,) = re.findall("^Fix: put --wheel before it: (.*)$", result.stderr.str(), re.MULTILINE)
    assert shlex.split(command) == ["pytest", "--wheel", given]


def test_an_ordinary_run(pytester: pytest.Pytester) -> None:
    (pytester.path / "test_it.py").write_text("def test_it(): pass\n")
    (pytester.path / "x.whl.py").write_text("")
    assert pytester.runpytest_subprocess("-p", "no:hypothesispytest", "test_it.py").ret == 0
    assert Path(pytester.path / "x.whl.py").exists()


@pytest.mark.parametrize("wheels", [1, 2])
@pytest.mark.parametrize("quiet", [(), ("-q",), ("-qq",)], ids=["", "-q", "-qq"])
def test_header_lines_of_a_target_are_those_of_a_header(
    pytester: pytest.Pytester, run_wheels: Run, wheels: int, quiet: tuple[str, ...]
) -> None:
    names = ["one", "two"][:wheels]
    for name in names:
        build_wheel(pytester.path / "dist", name, files={f"{name}.py": ""})
    (pytester.path / "conftest.py").write_text("def pytest_report_header(): return 'a line'\n")
    (pytester.path / "test_it.py").write_text("def test_it(): pass\n")
    words = ("--wheel=dist", "--wheel-select=WHL101", "--collect-only", *quiet, "test_it.py")
    lines = [line for line in run_wheels(*words).outlines if line.endswith(": a line")]
    prefixes = [f"dist/{name}-1.0-py3-none-any.whl::cp" for name in names] if wheels > 1 else ["cp"]
    assert len(lines) == (0 if quiet else wheels)
    assert all(line.startswith(prefix) for line, prefix in zip(lines, prefixes, strict=not quiet))
