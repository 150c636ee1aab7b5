"""A plugin that a dependency group or an extra of the project brings, and that a target lacks, is named with the fix."""

from __future__ import annotations

import json

import pytest
from builders import build_wheel
from nodes import RunDist

from pytest_wheelcheck.targets.running.missing_plugins import Lack, lacks

GROUPS = """
[project]
name = "demo"
version = "1.0"
[dependency-groups]
lint = ["ruff"]
test = ["pytest-asyncio>=1", {include-group = "mocks"}]
mocks = ["pytest_mock"]
coverage = ["pytest-cov"]
"""

ASYNC = "async def test_one(): pass\nasync def test_two(): pass\n"

FIX = 'Fix: set groups = ["test"] in [tool.wheelcheck] of pyproject.toml, or pass --wheel-group test'


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    (pytester.path / "pyproject.toml").write_text(GROUPS)
    build_wheel(
        pytester.path / "dist",
        "demo",
        files={"demo.py": ""},
        requires=["pytest-mock; extra == 'tests'"],
        extras=["docs", "tests"],
    )
    return pytester


def test_coroutines_and_fixtures_are_explained_once_for_each_target(
    project: pytest.Pytester, run_dist: RunDist
) -> None:
    (project.path / "test_it.py").write_text(f"{ASYNC}def test_mock(mocker): pass\n")
    found = run_dist("test_it.py", "--wheel-report=out.json")
    assert len(found.only("FAILED")) == 2, found.text
    assert found.only("ERROR") == ["test_it.py::test_mock"]
    # With the first failure, and at the end.
    assert found.text.count(FIX) == 2
    assert (
        found.text.count("async def tests need pytest-asyncio, which is not installed: the dependency group test") == 2
    )
    assert (
        "the fixture mocker needs pytest-mock, which is not installed: the dependency group test has it" in found.text
    )
    (wheel,) = json.loads((project.path / "out.json").read_text(encoding="utf-8"))["wheels"]
    texts = [result["text"] for result in wheel["targets"][0]["results"]]
    assert sum(FIX in text for text in texts) == 1


def test_the_fix_is_for_the_place_where_the_project_has_its_configuration(
    project: pytest.Pytester, run_dist: RunDist
) -> None:
    (project.path / "test_it.py").write_text(ASYNC)
    (project.path / "pytest.ini").write_text("[pytest]\nwheel_groups = lint\n")
    found = run_dist("test_it.py")
    assert "Fix: set wheel_groups = lint test in pytest.ini, or pass --wheel-group test" in found.text


def test_an_option_in_addopts_that_the_target_does_not_know(project: pytest.Pytester, run_dist: RunDist) -> None:
    (project.path / "pytest.ini").write_text("[pytest]\naddopts = --asyncio-mode=auto\n")
    (project.path / "test_it.py").write_text("def test_it(): pass\n")
    found = run_dist("test_it.py")
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert "unrecognized arguments: --asyncio-mode=auto" in found.text
    assert (
        "the option --asyncio-mode needs pytest-asyncio, which is not installed: the dependency group test has it"
        in found.text
    )
    assert FIX in found.text
    assert found.text.count("Fix: ") == 1


def test_a_key_that_the_target_does_not_know(project: pytest.Pytester, run_dist: RunDist) -> None:
    (project.path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    (project.path / "test_it.py").write_text("def test_it(): pass\n")
    found = run_dist("test_it.py")
    assert found.code == 0
    assert found.text.count("the key asyncio_mode needs pytest-asyncio") == 1
    found = run_dist("test_it.py", "--strict-config")
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert FIX in found.text


def test_an_extra_of_the_wheel(project: pytest.Pytester, run_dist: RunDist) -> None:
    (project.path / "pyproject.toml").write_text("[project]\nname = 'demo'\nversion = '1.0'\n")
    (project.path / "test_it.py").write_text("def test_mock(mocker): pass\n")
    found = run_dist("test_it.py")
    assert "the extra tests has it" in found.text
    fix = """set requires = ["demo[tests]"] in [tool.wheelcheck] of pyproject.toml, or pass --wheel-requires 'demo[tests]'"""
    assert fix in found.text
    assert run_dist("test_it.py", "--wheel-requires", "demo[tests]").code == 0


def test_nothing_is_said_of_what_no_group_has_or_what_is_installed(project: pytest.Pytester, run_dist: RunDist) -> None:
    (project.path / "test_it.py").write_text("def test_it(benchmark): pass\ndef test_mocks(mockery): pass\n")
    found = run_dist("test_it.py", "--wheel-group=mocks")
    assert len(found.only("ERROR")) == 2
    assert "wheel-group" not in found.text
    assert "missing plugins" not in found.text


def test_modules_that_tests_import(project: pytest.Pytester, run_dist: RunDist) -> None:
    (project.path / "test_it.py").write_text("import pytest_mock\n")
    (project.path / "test_later.py").write_text("def test_it():\n    import pytest_cov\n")
    found = run_dist("test_it.py", "test_later.py")
    assert "the module pytest_mock needs pytest-mock, which is not installed" in found.text
    assert "the module pytest_cov needs pytest-cov, which is not installed" in found.text
    # The group `test` includes `mocks`, and those for tests come first.
    assert 'Fix: set groups = ["test", "coverage"]' in found.text


def test_with_xdist(project: pytest.Pytester, run_dist: RunDist) -> None:
    (project.path / "test_it.py").write_text(ASYNC)
    found = run_dist("test_it.py", "-n2")
    assert found.text.count(FIX) == 2


def test_a_module_that_a_file_of_a_dependency_lacks_is_no_plugin() -> None:
    text = "t.py:1: in <module>\n    import a\n/env/lib/site-packages/a.py:1: in <module>\n    import b\n"
    error = "E   ModuleNotFoundError: No module named 'b'"
    assert not list(lacks(text + error))
    assert list(lacks(f"t.py:1: in <module>\n    import b\n{error}")) == [Lack("module", "b")]
    assert not list(lacks(f"t.py:1: in <module>\n    import b\n{error}", own=["b"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("error: unrecognized arguments: --cov=x --reruns 3", [Lack("option", "--cov"), Lack("option", "--reruns")]),
        ("Missing required plugins: pytest-cov>=4", [Lack("distribution", "pytest-cov")]),
        ("'asyncio' not found in `markers` configuration option", [Lack("marker", "asyncio")]),
        ("Unknown pytest.mark.benchmark - is this a typo?", [Lack("marker", "benchmark")]),
        ('Error importing plugin "pytest_cov": No module named \'pytest_cov\'', [Lack("module", "pytest_cov")]),
    ],
)  # fmt: skip
def test_messages_of_pytest(text: str, expected: list[Lack]) -> None:
    assert list(lacks(text)) == expected


@pytest.mark.parametrize(
    ("lack", "distribution"),
    [
        (Lack("async"), "PyTest_AsyncIO"),
        (Lack("option", "--cov-report"), "pytest-cov"),
        (Lack("option", "--no-cov"), "pytest-cov"),
        (Lack("key", "DJANGO_SETTINGS_MODULE"), "pytest-django"),
        (Lack("fixture", "snapshot"), "syrupy"),
        (Lack("fixture", "requests_mock"), "requests-mock"),
        (Lack("marker", "benchmark"), "pytest-benchmark"),
        (Lack("module", "yaml"), "PyYAML"),
    ],
)
def test_what_brings_it(lack: Lack, distribution: str) -> None:
    assert lack.is_met_by(distribution)
    assert not lack.is_met_by("requests")


@pytest.mark.parametrize(
    ("module", "distribution"), [("no_such_tool", "no-such-tool"), ("yaml", "pyyaml")], ids=["same-name", "other-name"]
)
def test_a_module_that_the_tests_need_and_nothing_brings(
    project: pytest.Pytester, run_dist: RunDist, module: str, distribution: str
) -> None:
    (project.path / "test_it.py").write_text(f"import {module}\n")
    (project.path / "test_own.py").write_text("import helpers_of_tests\n")
    (project.path / "more").mkdir()
    (project.path / "more" / "helpers_of_tests.py").write_text("")
    found = run_dist("test_it.py", "test_own.py")
    cause = f"Cause: the tests import {module}, which is not installed: the environment of the tests is incomplete"
    assert found.text.count(cause) == 1, found.text
    assert f'Fix: set requires = ["{distribution}"] in [tool.wheelcheck] of pyproject.toml, ' in found.text
    assert f"or pass --wheel-requires {distribution}\n" in found.text
    # The project has it.
    assert "the tests import helpers_of_tests" not in found.text


def test_a_module_that_a_conftest_needs_and_nothing_brings(project: pytest.Pytester, run_dist: RunDist) -> None:
    (project.path / "conftest.py").write_text("import no_such_tool\n")
    (project.path / "test_it.py").write_text("def test_it(): pass\n")
    assert "Cause: the tests import no_such_tool, which is not installed" in run_dist("test_it.py").text
