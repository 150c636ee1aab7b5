"""An unexpected exception of this package is an error of one wheel, target or test; the others are not affected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run

REQUEST = "Fix: please report it with the wheel's name and the traceback, which -vv shows"

#: A plugin of the host that puts bugs into functions of this package.
BUGS = """
import importlib.util

def put_bug(module, function, condition):
    owner = importlib.import_module("pytest_wheelcheck." + module)
    *parents, name = function.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = getattr(owner, name)

    def broken(*args, **kwargs):
        if eval(condition):
            raise KeyError("a bug\\nof two lines")
        return original(*args, **kwargs)

    setattr(owner, name, broken)

# The targets' pytest loads this plugin too.
if importlib.util.find_spec("pytest_wheelcheck"):
"""


def put_bugs(root: Path, *bugs: tuple[str, str, str]) -> None:
    """Write the plugin `bugs`.

    :param bugs: module, function, and the expression by which the function raises.
    """
    lines = [f"    put_bug({module!r}, {function!r}, {condition!r})\n" for module, function, condition in bugs]
    (root / "bugs.py").write_text(BUGS + "".join(lines), encoding="utf-8")


@pytest.fixture
def root(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the wheel `good`, and one test."""
    build_wheel(pytester.path / "dist", "good", files={"good/__init__.py": ""})
    pytester.makeini("[pytest]\n")
    pytester.mkdir("tests").joinpath("test_it.py").write_text("def test_it(): pass\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    monkeypatch.setenv("COLUMNS", "250")
    return pytester.path


TEST = "tests/test_it.py::test_it"
ARGUMENTS = ("-p", "bugs", "--wheel=dist", "--wheel-select=WHL201", "--wheel-report=r.json", "tests")

#: Wheels, the function that has a bug for them, the expression that recognizes them, and the node that shows it.
PLACES = {
    "bad_open": ("targets.planning.release", "open_wheel", "'bad_open' in repr(args)", "open"),
    "bad_checks": ("targets.planning.release", "run_checks", "'bad_checks' in repr(args[0])", "checks"),
    "bad_plan": ("targets.planning.plan", "group_tags", "'bad_plan' in repr(args)", "no-target"),
    "bad_install": ("targets.preparing.prepare", "install_wheel", "'bad_install' in repr(args)", "install"),
    "bad_import": ("targets.preparing.prepare", "check_imports", "'bad_import' in repr(args)", "tools"),
    "bad_collect": ("plugin.preparing", "TargetRun.collect", "args[0].target.wheel.name == 'bad_collect'", "collect"),
    "bad_nodes": ("plugin.nodes", "TargetNode._tests", "'bad_nodes' in args[0].nodeid", "collect"),
    "bad_run": ("targets.running.run", "TargetRun.run", "args[0].target.wheel.name == 'bad_run'", TEST),
    "bad_end": ("targets.running.run", "TargetRun.finish", "args[0].target.wheel.name == 'bad_end'", TEST),
    "bad_reports": ("plugin.nodes", "RemoteItem.reports", "'bad_reports' in args[0].nodeid", TEST),
}


@pytest.mark.parametrize("verbosity", ["-v", "-vv"])
def test_other_wheels_are_tested(root: Path, run_wheels: Run, verbosity: str) -> None:
    for name in PLACES:
        build_wheel(root / "dist", name, files={f"{name}/__init__.py": ""})
    put_bugs(root, *(place[:3] for place in PLACES.values()))
    result = run_wheels(*ARGUMENTS, verbosity, "-rE")
    assert result.ret == 1
    text = result.stdout.str()
    assert "INTERNALERROR" not in text
    errors = [line for line in text.splitlines() if line.startswith("ERROR dist/")]
    assert len(errors) == len(PLACES)
    for name, (*_, node) in PLACES.items():
        (line,) = [line for line in errors if line.startswith(f"ERROR dist/{name}-1.0-py3-none-any.whl::")]
        assert f"::{node} - could not be checked: unexpected KeyError: 'a bug" in line
    assert text.count(REQUEST) >= len(PLACES)
    assert text.count("Traceback (most recent call last)") == (len(PLACES) if verbosity == "-vv" else 0)
    found = {wheel["filename"]: wheel for wheel in json.loads((root / "r.json").read_text("utf-8"))["wheels"]}
    (target,) = found["good-1.0-py3-none-any.whl"]["targets"]
    assert {each["name"]: each["outcome"] for each in target["results"]} == {
        "install": "passed",
        "import[good]": "passed",
        TEST: "passed",
    }


def test_bugs_at_the_end_fail_the_run(root: Path, run_wheels: Run) -> None:
    actions = {
        "writing the report": ("plugin.report", "write_reports"),
        "showing the release matrix": ("plugin.report", "matrix_lines"),
        "showing the summary": ("plugin.run", "summary_lines"),
        "comparing the source tree": ("plugin.source_changes", "source_tree.changes"),
    }
    put_bugs(root, *((module, function, "True") for module, function in actions.values()))
    result = run_wheels(*ARGUMENTS)
    assert result.ret == 1
    result.assert_outcomes(passed=4)
    for action in actions:
        result.stdout.fnmatch_lines_random([f"{action}: could not be checked: unexpected KeyError: *"])
    assert "Traceback" not in result.stdout.str()


def test_xdist(root: Path, run_wheels: Run) -> None:
    put_bugs(root, ("targets.running.run", "TargetRun.run", "True"), ("plugin.run", "replay_messages", "True"))
    result = run_wheels(*ARGUMENTS, "-rE", "-n2")
    assert result.ret == 1
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["ERROR dist/good-1.0*::test_it - could not be checked: unexpected KeyError: *"])
    result.stdout.fnmatch_lines(
        ["showing the collection's messages of *: could not be checked: unexpected KeyError: *"]
    )


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_metadata_in_another_encoding(root: Path, run_wheels: Run, encoding: str) -> None:
    """The wheel fails a check; the other one is tested."""
    lines = "Metadata-Version: 2.1\nName: bad\nVersion: 1.0\nSummary: na\u00efve\n"
    build_wheel(root / "dist", "bad", files={"bad/__init__.py": ""}, metadata=lines.encode(encoding))
    result = run_wheels("--wheel=dist", "--wheel-select=WHL209", "-v", "-rfE", "tests")
    assert result.ret == 1
    text = result.stdout.str()
    assert "INTERNALERROR" not in text
    assert "unexpected" not in text
    assert "FAILED dist/bad-1.0-py3-none-any.whl::WHL209-metadata" in text
    assert "FAILED dist/good" not in text
    result.stdout.fnmatch_lines([f"dist/good-1.0-py3-none-any.whl::cp*::{TEST} PASSED*"])
