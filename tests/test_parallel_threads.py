"""Threads of pytest-run-parallel on free-threaded CPython: a run that asks for them and gets none does not pass."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import free_threaded
import pytest
from builders import build_wheel
from compiled import needs_compiler
from nodes import RunDist, RunOutput

from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.targets.running.threads import ThreadUse
from pytest_wheelcheck.worker.messages import FromWorker, Item

MIXED = """
import sysconfig, threading
import pytest

main = threading.main_thread()

def test_in_threads(): assert (threading.current_thread() is not main) is bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

def test_with_its_output(capsys): assert threading.current_thread() is main

@pytest.mark.thread_unsafe(reason="<shares> a file")
def test_marked(): assert threading.current_thread() is main
"""

SINGLE = "def test_one(capsys): pass\ndef test_two(tmp_path, capfd): pass\n"

PLUGIN = "--wheel-requires=pytest-run-parallel"


@pytest.fixture(scope="session")
def python() -> Path:
    return free_threaded.interpreter()


@pytest.fixture
def plugin_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install pytest-run-parallel for the pytest that the user starts."""
    argv = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path), "pytest-run-parallel"]
    subprocess.run(argv, check=True, timeout=120)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    for name, text in (("test_mixed.py", MIXED), ("test_single.py", SINGLE)):
        (pytester.path / name).write_text(text)
    return pytester.path


def reason(found: RunOutput) -> str:
    """Return the text of the node ``threads``, which is an error."""
    return found.text.partition("::threads _")[2].partition("\n")[2].partition("====")[0]


@pytest.mark.network
def test_the_counts_of_a_part_are_in_the_summary_and_the_reports(
    project: Path, run_dist: RunDist, python: Path
) -> None:
    """From an override; the other target runs the same tests without threads."""
    (project / "pytest.ini").write_text("[pytest]\nwheel_overrides = cp3*t-*: --parallel-threads=3\n")
    pythons = f"--wheel-python={python},{sys.executable}"
    reports = [f"--wheel-report=r.{kind}" for kind in ("json", "md", "html")]
    found = run_dist(PLUGIN, pythons, "test_mixed.py", "--junit-xml=j.xml", "-rP", *reports)
    assert found.code == 0, found.text
    assert found.outcomes("threads") == ["PASSED"]
    counts = "1 of 3 tests ran in several threads (--parallel-threads=3)"
    assert found.text.count(f"\n    {counts}\n") == 1
    assert "\nin one thread: 1: <shares> a file\n" in found.text
    assert re.search(r"\nin one thread: 1: .*capsys.*\n", found.text)
    data = json.loads(Path("r.json").read_text(encoding="utf-8"))
    assert sorted(target["threads"] for target in data["wheels"][0]["targets"]) == ["", counts]
    for name in ("r.md", "r.html", "j.xml"):
        assert Path(name).read_text(encoding="utf-8").count(counts) == 1, name
    # The node is no test.
    assert re.search(r"\bany +py3 +yes +passed +3 passed \(cp\d+, cp314t\)", found.text)


@pytest.mark.network
@pytest.mark.usefixtures("plugin_on_the_host")
def test_an_error_if_all_tests_ran_in_one_thread(project: Path, run_dist: RunDist, python: Path) -> None:
    arguments = (PLUGIN, f"--wheel-python={python}", "--parallel-threads=auto", "test_single.py")
    found = run_dist(*arguments)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.only("ERROR") == ["threads"]
    assert found.outcomes("test_one") == ["PASSED"]
    assert "run-parallel-0" in found.text.partition("plugins: ")[2].partition("\n")[0]
    assert "incompatible with pytest-run-parallel" not in found.text, "the host's plugin leaves our nodes alone"
    text = reason(found)
    assert text.startswith("0 of 2 tests ran in several threads (--parallel-threads=auto)\nin one thread: 1: ")
    assert "\nCause: pytest-run-parallel takes no test for thread-safe\nFix: if the tests are thread-safe, " in text
    # One test of many is no statement about the target.
    found = run_dist(*arguments, "-k", "test_one")
    assert found.code == 0
    assert list(found.nodes) == ["test_single.py::test_one"]


@pytest.mark.network
def test_workers_of_xdist_count_the_selected_tests(project: Path, run_dist: RunDist, python: Path) -> None:
    (project / "test_mixed.py").write_text(MIXED + "\ndef test_a_failure(capsys): assert 0\n")
    found = run_dist(PLUGIN, f"--wheel-python={python}", "--parallel-threads=2", "test_mixed.py", "-n2", "-rP")
    assert found.outcomes("threads") == [], "xdist prints the outcome first"
    assert "1 of 4 tests ran in several threads (--parallel-threads=2)" in found.text
    assert "::threads" not in found.text.partition("short test summary")[2]


@pytest.mark.network
@pytest.mark.usefixtures("plugin_on_the_host")
@pytest.mark.parametrize("override", [False, True], ids=["command line", "override"])
def test_the_plugin_is_missing(project: Path, run_dist: RunDist, python: Path, *, override: bool) -> None:
    """Also if the host has it: its option would otherwise be for the host, and be dropped in the target."""
    option = "--parallel-threads=2"
    if override:
        (project / "pytest.ini").write_text(f"[pytest]\nwheel_overrides = cp3*t-*: {option}\n")
    found = run_dist(f"--wheel-python={python}", *([] if override else [option]), "test_mixed.py")
    assert found.code == (pytest.ExitCode.TESTS_FAILED if override else pytest.ExitCode.USAGE_ERROR)
    assert "unrecognized arguments: --parallel-threads=2" in found.text
    assert 'Fix: add pytest-run-parallel to the test requirements: requires = ["pytest-run-parallel"]' in found.text
    assert ("wheel_overrides: cp3*t-*: --parallel-threads=2: the pytest of cp314t-" in found.text) is override


@needs_compiler
@pytest.mark.network
def test_a_module_that_enables_the_gil(pytester: pytest.Pytester, run_dist: RunDist, python: Path) -> None:
    """pytest-run-parallel would end the whole run; here it is an error of the target, and the other one is tested."""
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    helper = free_threaded.extension(pytester.path / "build", "helper", keeps_gil_off=False)
    (pytester.path / f"helper{free_threaded.SUFFIX}").write_bytes(helper)
    (pytester.path / "test_it.py").write_text(
        "import sys\ndef test_first(): pass\ndef test_import():\n    if sys.version_info >= (3, 14): import helper\n"
        "def test_last(): pass\n"
    )
    arguments = (PLUGIN, f"--wheel-python={python},{sys.executable}", "--parallel-threads=2", "test_it.py")
    found = run_dist(*arguments)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.only("ERROR") == ["threads"]
    assert found.text.count("::test_last PASSED") == 2
    since = "with the GIL since test_it.py::test_import: from then on, no threads ran in parallel"
    text = reason(found)
    assert text.startswith(f"importing helper enabled the GIL in a free-threaded interpreter\n{since}")
    assert "gil_used = false" in text
    assert f"\n    {since}" in found.text
    # Who ignores that on purpose gets the threads.
    found = run_dist(*arguments, "--ignore-gil-enabled", "-rP")
    assert found.code == 0, found.text
    assert "3 of 3 tests ran in several threads" in found.text
    # The warning that names the module may be filtered.
    found = run_dist(*arguments, "-W", "ignore")
    assert "Fix: show the warning: -W default::RuntimeWarning" in reason(found)


@needs_compiler
@pytest.mark.network
def test_a_module_of_the_wheel_that_enables_the_gil_is_one_failure(
    pytester: pytest.Pytester, run_dist: RunDist, python: Path
) -> None:
    switches = free_threaded.extension(pytester.path / "build", "switches", keeps_gil_off=False)
    files: dict[str, str | bytes] = {"pkg/__init__.py": "", f"pkg/switches{free_threaded.SUFFIX}": switches}
    build_wheel(pytester.path / "dist", "pkg", files=files, tags=[free_threaded.TAG])
    (pytester.path / "test_it.py").write_text("import pkg.switches\ndef test_it(): pass\n")
    found = run_dist(PLUGIN, f"--wheel-python={python}", "--parallel-threads=2", "test_it.py")
    assert found.only("FAILED") == ["import[pkg.switches]"]
    assert found.only("SKIPPED") == ["threads"]
    assert found.only("ERROR") == []
    since = "with the GIL since the collection of the tests: from then on, no threads ran in parallel"
    assert f"{since} (--parallel-threads=2); import[pkg.switches] did not pass" in found.text


def collected(**tests: str | int) -> list[Item]:
    """Describe tests as a worker does: by the number of their threads, or by the reason for one."""
    items: list[Item] = []
    for name, value in tests.items():
        threads, single = (value, "") if isinstance(value, int) else (1, value)
        items.append(
            {
                "id": name,
                "location": [],
                "chain": [],
                "names": [],
                "marks": [],
                "doc": "",
                "timeout": 0,
                "func_only": False,
                "threads": threads,
                "single": single,
            }
        )
    return items


def outcome(of: ThreadUse, *selected: str) -> tuple[Outcome, str]:
    step: StepResult = of.result(selected, ())
    return step.outcome, step.text


RAN: list[FromWorker] = [{"type": "report", "data": {"when": "call", "outcome": "passed"}}]
SKIPPED: list[FromWorker] = [{"type": "report", "data": {"when": "setup", "outcome": "skipped"}}]


def test_skipped_tests_prove_nothing() -> None:
    found = ThreadUse("4", collected(a=4, b="unsafe"))
    found.add("a", SKIPPED, None)
    found.add("b", SKIPPED, None)
    assert outcome(found, "a", "b") == (Outcome.SKIPPED, "all tests were skipped")
    found.add("b", RAN, None)
    assert outcome(found, "a", "b")[0] is Outcome.ERROR
    found.add("a", RAN, None)
    assert outcome(found, "a", "b")[0] is Outcome.PASSED
    assert outcome(found) == (Outcome.SKIPPED, "no test was selected")


def test_an_expected_failure_has_run() -> None:
    found = ThreadUse("4", collected(a=4, b="unsafe"))
    found.add("a", [{"type": "report", "data": {"when": "call", "outcome": "skipped", "wasxfail": ""}}], None)
    found.add("b", RAN, None)
    assert outcome(found, "a", "b")[1].startswith("1 of 2 tests ran in several threads")


def test_a_run_that_ended_early_is_decided_by_the_selected_tests() -> None:
    found = ThreadUse("4", collected(a=4, b="unsafe", c="unsafe"))
    found.add("b", RAN, None)
    assert outcome(found, "b", "a")[0] is Outcome.PASSED
    assert outcome(found, "b", "c")[0] is Outcome.ERROR


def test_one_processor_and_a_version_that_lists_nothing() -> None:
    found = outcome(ThreadUse("auto", collected(a=1)), "a")
    assert found[0] is Outcome.ERROR
    assert "Cause: pytest-run-parallel found one processor\nFix: pass a number of threads" in found[1]
    found = outcome(ThreadUse("4", collected(a=0)), "a")
    assert found[0] is Outcome.ERROR
    assert "Fix: install pytest-run-parallel 0.5 or newer" in found[1]


def test_the_most_frequent_reasons_are_listed() -> None:
    tests = {f"test_{number}{letter}": f"reason {number}" for number in range(8) for letter in "abcdefgh"[number:]}
    lines = outcome(ThreadUse("4", collected(**tests)), *tests)[1].splitlines()
    assert lines[1:7] == [*(f"in one thread: {8 - number}: reason {number}" for number in range(5)), "…"]
