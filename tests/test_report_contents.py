"""A report file says what the terminal says, and where it comes from."""

from __future__ import annotations

import json
import subprocess

import pytest
from builders import build_wheel
from nodes import Run, run_output


def test_the_diagnosis_is_in_every_report(pytester: pytest.Pytester, run_wheels: Run) -> None:
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": "import wheelcheck_absent\n"})
    (pytester.path / "test_it.py").write_text("def test_prints():\n    print('seen by the user')\n    assert 1 == 2\n")
    reports = [f"--wheel-report=r.{extension}" for extension in ("json", "md", "html")]
    found = run_output(run_wheels("--wheel", "dist", "--wheel-select=WHL101", "-v", *reports, "test_it.py"))
    assert found.outcomes("import[demo]") == ["FAILED"]
    assert found.outcomes("test_prints") == ["FAILED"]
    for extension in ("json", "md", "html"):
        text = (pytester.path / f"r.{extension}").read_text()
        # What is wrong, the traceback, and what the test printed.
        assert "the wheel does not declare a dependency that brings wheelcheck_absent" in text, extension
        assert "ModuleNotFoundError" in text, extension
        assert "seen by the user" in text, extension
    markdown = (pytester.path / "r.md").read_text()
    # A traceback keeps its lines.
    assert "\n    >       assert 1 == 2\n    E       assert 1 == 2\n" in markdown
    assert "checks failed" not in (pytester.path / "r.html").read_text()


def test_where_a_report_comes_from(pytester: pytest.Pytester, run_wheels: Run) -> None:
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    (pytester.path / "test_it.py").write_text("def test_it(): pass\n")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "test_it.py"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    arguments = ["--wheel", "dist", "--wheel-static", "--wheel-report=r.json", "--wheel-report=r.html"]
    run_wheels(*arguments, "--wheel-index=https://user:secret@example.org/simple")
    data = json.loads((pytester.path / "r.json").read_text())
    assert data["commit"] == commit
    assert data["started"].startswith("20")
    assert data["started"].endswith("Z")
    assert "--wheel-static" in data["command"]
    assert "https://example.org/simple" in data["command"]
    assert "secret" not in (pytester.path / "r.json").read_text() + (pytester.path / "r.html").read_text()
    assert commit in (pytester.path / "r.html").read_text()
    (pytester.path / "test_it.py").write_text("def test_other(): pass\n")
    run_wheels(*arguments)
    assert json.loads((pytester.path / "r.json").read_text())["commit"] == f"{commit}+"


def test_counts_of_failed_checks(pytester: pytest.Pytester, run_wheels: Run) -> None:
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": "", "demo.pyc": b"x"}, wheel_file="")
    run_wheels("--wheel", "dist", "--wheel-static", "--wheel-report=r.html")
    text = (pytester.path / "r.html").read_text()
    assert " checks failed" in text
    assert " of " in text
