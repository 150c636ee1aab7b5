"""On GitHub Actions, the report is in the summary of the step, and each fault is an annotation."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run, run_output

TESTS = """
import pytest

@pytest.mark.parametrize("value", range({count}))
def test_value(value):
    assert value < {limit}, "50%, or: more"
"""


@pytest.fixture
def summary(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file for the summary, as the service sets it. It may have a text of an earlier command."""
    path = pytester.path / "summary.md"
    path.write_text("earlier\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def test_faults(pytester: pytest.Pytester, run_wheels: Run, summary: Path) -> None:
    for name in ("one", "two"):
        build_wheel(pytester.path / "dist", name, files={f"{name}.py": "", f"{name}.pyc": b"x"})
    (pytester.path / "tests").mkdir()
    (pytester.path / "tests" / "test_it.py").write_text(TESTS.format(count=2, limit=1))
    found = run_output(
        run_wheels("--wheel", "dist", "--wheel-select=WHL1,WHL802", "--wheel-expect=cp312: win_amd64", "tests")
    )
    assert found.code == 1
    lines = [line for line in found.text.splitlines() if line.startswith("::")]
    # One for the test, although it failed on two targets.
    (test,) = [line for line in lines if "test_value" in line]
    assert test.startswith("::error title=tests/test_it.py%3A%3Atest_value[1],file=tests/test_it.py,line=6::")
    assert "AssertionError: 50%25, or: more" in test
    assert "%0Acp3" in test
    assert "one-1.0-py3-none-any.whl" in test
    assert "two-1.0-py3-none-any.whl" in test
    (release,) = [line for line in lines if "title=release" in line]
    assert "the release does not match the expected wheels" in release
    assert summary.read_text().startswith("earlier\n# Wheels: one 1.0, two 1.0")
    assert "| win_amd64 | cp312 |" in summary.read_text()


def test_many_faults(pytester: pytest.Pytester, run_wheels: Run, summary: Path) -> None:
    """The service shows ten. The last one says that there are more."""
    build_wheel(pytester.path / "dist", "one", files={"one.py": ""})
    (pytester.path / "test_it.py").write_text(TESTS.format(count=15, limit=0))
    found = run_output(run_wheels("--wheel", "dist", "--wheel-select=WHL101", "-q", "test_it.py"))
    lines = [line for line in found.text.splitlines() if line.startswith("::")]
    assert len(lines) == 10
    assert lines[-1].endswith("5 more faults are in the log and in the summary")
    assert summary.read_text().count("test_value") >= 15


def test_a_sound_release(pytester: pytest.Pytester, run_wheels: Run, summary: Path) -> None:
    build_wheel(pytester.path / "dist", "one", files={"one.py": ""})
    found = run_output(run_wheels("--wheel", "dist", "--wheel-select=WHL101", "-n1"))
    assert found.code == 0
    assert "::error" not in found.text
    assert summary.read_text().count("# Wheels: one 1.0") == 1


def test_a_summary_that_cannot_be_written(
    pytester: pytest.Pytester, run_wheels: Run, summary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(pytester.path / "dist", "one", files={"one.py": ""})
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "absent" / "summary.md"))
    found = run_output(run_wheels("--wheel", "dist", "--wheel-select=WHL101", "--wheel-static"))
    assert "the summary of the step cannot be written" in found.text
    assert "Traceback" not in found.text


def test_elsewhere(pytester: pytest.Pytester, run_wheels: Run) -> None:
    build_wheel(pytester.path / "dist", "one", files={"one.py": "raise ValueError\n"})
    found = run_output(run_wheels("--wheel", "dist", "--wheel-select=WHL101"))
    assert found.code == 1
    assert "::error" not in found.text
