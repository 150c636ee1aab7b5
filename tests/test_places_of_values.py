"""An error in a value names where it is written: the option, or the key and its file; and what it should be."""

from __future__ import annotations

import pytest
from builders import build_wheel
from nodes import Run, RunDist

from pytest_wheelcheck.cli.main import main

PROJECT = """
[project]
name = "demo"
version = "1.0"
[project.optional-dependencies]
speed = ["six"]
[dependency-groups]
test = ["six"]
docs = ["no-such-project-of-docs"]
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    (pytester.path / "pyproject.toml").write_text(PROJECT)
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    (pytester.path / "test_it.py").write_text("def test_it(): pass\n")
    return pytester


#: Key, option, and a value that is wrong in both.
VALUES = [
    ("wheel_groups", "--wheel-group", "tset"),
    ("wheel_extras", "--wheel-extra", "tset"),
    ("wheel_requires", "--wheel-requires", "no-such-project-at-all"),
    ("wheel_requires", "--wheel-requires", "six == = 1"),
    ("wheel_requires", "--wheel-requires", "six==99.99"),
    ("wheel_requires", "--wheel-requires", "-r nowhere.txt"),
    ("wheel_requires", "--wheel-requires", "./nowhere"),
    ("wheel_select", "--wheel-select", "WHK101"),
    ("wheel_ignore", "--wheel-ignore", "WHK101"),
    ("wheel_expect", "--wheel-expect", "cp312 nonsense"),
    ("wheel_sysroots", "--wheel-sysroot", "pdp11=/nowhere"),
    ("wheel_providers", "--wheel-providers", "conda"),
]


@pytest.mark.parametrize(("key", "option", "value"), VALUES, ids=lambda text: text.replace("/", "-"))
def test_a_key_of_the_configuration_of_pytest(
    project: pytest.Pytester, run_dist: RunDist, key: str, option: str, value: str
) -> None:
    (project.path / "pytest.ini").write_text(f"[pytest]\n{key} = {value}\n")
    found = run_dist("test_it.py")
    assert found.code in {1, 4}, found.text
    assert f"{key} in pytest.ini" in found.text
    assert option not in found.text.replace("--wheel-select=WHL101", "")


@pytest.mark.parametrize(("key", "option", "value"), VALUES[::3], ids=lambda text: text.replace("/", "-"))
def test_a_key_of_the_table(project: pytest.Pytester, run_dist: RunDist, key: str, option: str, value: str) -> None:
    (project.path / "pyproject.toml").write_text(
        f"{PROJECT}\n[tool.wheelcheck]\n{key.removeprefix('wheel_')} = ['{value}']\n"
    )
    found = run_dist("test_it.py")
    assert found.code in {1, 4}, found.text
    assert f"{key.removeprefix('wheel_')} in [tool.wheelcheck] of pyproject.toml" in found.text
    assert option not in found.text
    assert key not in found.text


@pytest.mark.parametrize(("key", "option", "value"), VALUES[1::3], ids=lambda text: text.replace("/", "-"))
def test_an_option(project: pytest.Pytester, run_dist: RunDist, key: str, option: str, value: str) -> None:
    # The configuration has another value.
    (project.path / "pytest.ini").write_text("[pytest]\nwheel_groups = test\n")
    found = run_dist(f"{option}={value}", "test_it.py")
    assert found.code in {1, 4}, found.text
    assert option in found.text
    assert f"{key} in pytest.ini" not in found.text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("wheel_max_size = big", "wheel_max_size = big in pytest.ini is not a size"),
        ("wheel_test_timeout = soon", "wheel_test_timeout = soon in pytest.ini is not a number of 0 or more"),
        ("wheel_wine = maybe", "wheel_wine in pytest.ini: "),
        ("wheel_executables = nonsense", "wheel_executables in pytest.ini: 'nonsense' is not of the form"),
    ],
)
def test_a_value_of_another_type(project: pytest.Pytester, run_dist: RunDist, line: str, expected: str) -> None:
    (project.path / "pytest.ini").write_text(f"[pytest]\n{line}\n")
    assert expected in run_dist("test_it.py").text


def test_the_command_names_its_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exec", "--providers=conda", "aarch64", "3.13"]) == 4
    assert "wheelcheck: --providers: conda is not a provider" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("tset", "Cause: its dependency groups are test, docs\nFix: did you mean test? Correct --wheel-group"),
        ("nothing", "Cause: its dependency groups are test, docs\nFix: correct --wheel-group"),
        ("speed", "Fix: speed is an extra: pass --wheel-requires 'demo[speed]' instead of the group"),
    ],
)
def test_a_group_that_does_not_exist(project: pytest.Pytester, run_dist: RunDist, group: str, expected: str) -> None:
    found = run_dist(f"--wheel-group={group}", "test_it.py")
    assert found.code == 4
    assert f"pyproject.toml has no dependency group {group}, which --wheel-group names" in found.text
    assert expected in found.text
    assert "uv ended" not in found.text


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--wheel-group=tset", "pyproject.toml has no dependency group tset, which --wheel-group names"),
        ("--wheel-requires=-r nowhere.txt", "nowhere.txt does not exist\nCause: --wheel-requires names it"),
        ("--wheel-find-links=nowhere", "--wheel-find-links nowhere: "),
    ],
)
def test_what_cannot_be_there_is_refused_before_anything_is_prepared(
    project: pytest.Pytester, run_wheels: Run, argument: str, expected: str
) -> None:
    result = run_wheels("--wheel=dist", argument, "test_it.py")
    assert result.ret == 4
    assert expected in result.stderr.str()
    assert "test session starts" not in result.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--wheel-requires=no-such-project-at-all>=1"], "--wheel-requires: no-such-project-at-all>=1: "),
        (["--wheel-requires=listed.txt"], "listed.txt, line 3: "),
        (["--wheel-group=docs"], "no-such-project-of-docs in the dependency group docs of pyproject.toml: "),
    ],
)
def test_a_project_that_does_not_exist(
    project: pytest.Pytester, run_dist: RunDist, arguments: list[str], expected: str
) -> None:
    (project.path / "listed.txt").write_text("# tests\nsix\nno-such-project-at-all  # a typo\n")
    found = run_dist(*arguments, "test_it.py")
    assert f"{expected}pytest and the test requirements cannot be resolved" in found.text
    assert "Fix: correct its name, or add its source with --wheel-index or --wheel-find-links" in found.text
    assert "Requires-Dist" not in found.text


def test_a_requirement_of_the_wheel_that_does_not_exist_is_still_the_wheels(
    project: pytest.Pytester, run_dist: RunDist
) -> None:
    build_wheel(project.path / "dist", "demo", files={"demo.py": ""}, requires=["no-such-project-at-all"])
    found = run_dist("--wheel-requires=no-such-project-at-all", "test_it.py")
    assert "Fix: correct Requires-Dist" in found.text
