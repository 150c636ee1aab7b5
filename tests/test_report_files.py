"""Files that a run cannot write: known before it begins, they are refused; later, they do not hide its outcomes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import COMMAND, Run, run_output

ARGUMENTS = ("--wheel=dist", "--wheel-select=WHL101", "test_it.py")


@pytest.fixture
def root(pytester: pytest.Pytester) -> Path:
    """A project with one wheel and one test, which puts files where directories would be made."""
    build_wheel(pytester.path / "dist", "one", files={"one.py": ""})
    lines = [
        "import os",
        "from pathlib import Path",
        "def test_it():",
        f"    Path({str(pytester.path)!r}, 'late').touch()",
        "    if left := os.environ.get('WHEELCHECK_ARTIFACTS'):",
        "        Path(left, 'file').touch()",
    ]
    (pytester.path / "test_it.py").write_text("\n".join(lines))
    (pytester.path / "file").touch()
    return pytester.path


@pytest.mark.parametrize(
    "option", ["--wheel-report=file/x.json", "--wheel-report=file/a/x.md", "--wheel-artifacts=file/x"]
)
def test_a_place_that_cannot_be_written_is_refused_before_the_run(root: Path, run_wheels: Run, option: str) -> None:
    found = run_output(run_wheels(*ARGUMENTS, option))
    assert found.code == 4
    assert option.replace("=", " ") in found.text
    assert "Fix: use a" in found.text
    assert not (root / "late").exists()
    assert not any(found.outcomes(name) for name in ("PASSED", "FAILED", "ERROR"))


def test_nothing_is_left_of_the_attempt(root: Path, run_wheels: Run) -> None:
    assert run_output(run_wheels(*ARGUMENTS, "--collect-only", "--wheel-report=new/x.json")).code == 0
    assert not (root / "new").exists()


def test_a_merged_report_that_cannot_be_written_is_refused(root: Path) -> None:
    words = [COMMAND, "merge", "absent.json", "--wheel-report=file/x.json"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith("wheelcheck: --wheel-report file/x.json: the file cannot be written: ")


def test_a_file_that_cannot_be_written_later_does_not_hide_the_outcomes(root: Path, run_wheels: Run) -> None:
    reports = ("--wheel-report=late/x.json", "--wheel-report=x.json", "--wheel-artifacts=late")
    result = run_wheels(*ARGUMENTS, *reports, "-q")
    found = run_output(result)
    assert found.code == 1
    result.assert_outcomes(passed=4)
    lines = found.text.splitlines()
    (report,) = [line for line in lines if "--wheel-report" in line]
    assert report.startswith(f"ERROR: --wheel-report {root / 'late' / 'x.json'}: the file cannot be written: ")
    (artifacts,) = [line for line in lines if "--wheel-artifacts" in line]
    assert artifacts.startswith("ERROR: dist/one-1.0-py3-none-any.whl::")
    assert (root / "x.json").exists()
