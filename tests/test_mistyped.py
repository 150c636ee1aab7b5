"""Mistyped arguments are refused before a target is prepared, and arguments that only the target can judge are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run, RunDist


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    (pytester.path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (pytester.path / "sub").mkdir()
    (pytester.path / "tests").mkdir()
    (pytester.path / "tests" / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--level', nargs=2)\n"
    )
    (pytester.path / "tests" / "test_it.py").write_text("def test_it(): import demo\n")
    build_wheel(pytester.path / "dist", "demo", "1.0", {"demo/__init__.py": ""})
    return pytester.path


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--wheel-pyton", "3.13"], "there is no option --wheel-pyton\nFix: did you mean --wheel-python?"),
        (["--wheel-pyton=3.13"], "there is no option --wheel-pyton\nFix: did you mean --wheel-python?"),
        (["--wheelstatic"], "there is no option --wheelstatic\nFix: did you mean --wheel-static?"),
        (["--wheel-zzz"], "there is no option --wheel-zzz\nFix: `pytest --help`"),
        (["tets"], "file or directory not found: tets\nFix: did you mean tests?"),
        (["tests", "none/test_a.py::test_a"], "file or directory not found: none/test_a.py::test_a"),
        (["-v", "none"], "file or directory not found: none"),
        (["--level=1", "none"], "file or directory not found: none"),
    ],
)
def test_certain_mistakes_are_refused_before_anything_is_prepared(
    project: Path, run_wheels: Run, args: list[str], message: str
) -> None:
    """The interpreter does not exist, which a run that gets as far as the plan reports."""
    result = run_wheels("--wheel", "dist", f"--wheel-python={project}/no-python", *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()
    assert "no-python" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    "args",
    [
        ["--level", "1", "2"],
        ["tests/test_it.py::test_it", "-k", "it"],
        ["--pyargs", "demo", "tests"],
        ["-p", "no:xdist"],
    ],
)
def test_arguments_of_the_target_are_left_to_it(project: Path, run_dist: RunDist, args: list[str]) -> None:
    Path("tests/conftest.py").rename("conftest.py")
    found = run_dist(*args)
    assert found.code == 0, found.text
    assert found.nodes["tests/test_it.py::test_it"] == "PASSED"


def test_test_paths_start_at_the_current_directory(
    project: Path, run_wheels: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "sub")
    result = run_wheels("--wheel", "../dist", "--wheel-static", "--wheel-select=WHL101", "../tests")
    assert result.ret == 0, result.stderr.str()
    wrong = run_wheels("--wheel", "../dist", "--wheel-static", "--wheel-select=WHL101", "tests")
    assert "file or directory not found: tests" in wrong.stderr.str()
