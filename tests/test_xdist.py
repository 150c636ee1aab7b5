"""With `-n`, several workers run the tests of all targets; nothing else changes."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run, outcomes

#: Logs each import: in which environment, and whether by the import check (without pytest) or by the tests.
PACKAGE = """
import os, sys
with open(os.path.join({directory!r}, "imports"), "a") as log:
    log.write("%s %s %s\\n" % (__name__, sys.prefix, "tests" if "pytest" in sys.modules else "check"))
"""

TESTS = """
import os, signal, warnings
import pytest
import one

@pytest.fixture(scope="module")
def shared():
    return []

@pytest.mark.parametrize("n", range(6))
def test_passes(n, shared, record_property):
    record_property("n", n)

def test_fails(shared):
    assert one is None

@pytest.mark.skip(reason="of the test itself")
def test_skipped():
    pass

@pytest.mark.xfail(strict=True)
def test_xfails():
    assert False

@pytest.fixture
def broken():
    raise OSError("broken")

def test_error(broken):
    pass

def test_crash():
    os.kill(os.getpid(), signal.SIGSEGV)

class TestIt:
    def test_it(self):
        warnings.warn("careful")

    def test_after(self):
        pass
"""

CONFTEST = """
import os

def pytest_report_header():
    return "header of the conftest"

def pytest_terminal_summary(terminalreporter):
    passed = len(terminalreporter.stats.get("passed", []))
    terminalreporter.write_line(f"summary of the conftest, worker {os.environ.get('PYTEST_XDIST_WORKER')}")
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    """Two wheels, so two targets. In the second, the tests fail at their import."""
    for name in ("one", "two"):
        text = PACKAGE.format(directory=str(pytester.path))
        build_wheel(pytester.path / "dist", name, files={f"{name}/__init__.py": text})
    pytester.makeini("[pytest]\n")
    pytester.makeconftest(CONFTEST)
    tests = pytester.mkdir("tests")
    (tests / "test_it.py").write_text(TESTS, encoding="utf-8")
    (tests / "test_more.py").write_text(
        "import pytest\n\n@pytest.mark.parametrize('n', range(10))\ndef test_more(n):\n    pass\n", encoding="utf-8"
    )
    return pytester.path


#: On Windows, os.kill() ends a process with the number as its status.
DIED = f"exit status {signal.SIGSEGV}" if sys.platform == "win32" else "killed by SIGSEGV"

ARGS = ("--wheel=dist", "--wheel-select=WHL101,WHL201", "tests")


def test_outcomes_equal_those_of_a_serial_run(project: Path, run_wheels: Run) -> None:
    serial = run_wheels(*ARGS, "--junit-xml=serial.xml")
    log = project / "imports"
    checks = [line for line in log.read_text().splitlines() if line.endswith("check")]
    assert sorted(line.split(" ")[0] for line in checks) == ["one", "two"]
    log.unlink()

    parallel = run_wheels(*ARGS, "--junit-xml=parallel.xml", "-n2", "-rA")
    assert parallel.ret == serial.ret == pytest.ExitCode.TESTS_FAILED
    assert parallel.parseoutcomes() == serial.parseoutcomes()
    expected = outcomes(project / "serial.xml")
    assert len(expected) == 2 * (2 + 2) + 13 + 10 + 1 + 10
    assert Counter(bool(results) for results in expected.values())[True] > 10
    assert outcomes(project / "parallel.xml") == expected
    parallel.stdout.fnmatch_lines([f"the interpreter died: {DIED}", "FAILED *::test_crash*"])

    # Each target is prepared once, and several workers run its tests.
    lines = [line.split(" ") for line in log.read_text().splitlines()]
    assert sorted(name for name, _, kind in lines if kind == "check") == ["one", "two"]
    assert len({prefix for _, prefix, kind in lines if kind == "tests"}) == 1
    workers = {line.split()[0] for line in parallel.outlines if line.startswith("[gw")}
    assert workers == {"[gw0]", "[gw1]"}

    # Both runs show the output of the conftest under the target's name.
    for result in (serial, parallel):
        text = result.stdout.str()
        assert "cp3" in text.partition("header of the conftest")[0].splitlines()[-1]
        assert "summary of the conftest" in text.partition("from dist/one-1.0-py3-none-any.whl::cp3")[2]
    for worker in ("gw0", "gw1"):
        assert f"summary of the conftest, worker {worker}" in parallel.stdout.str()
    assert parallel.stdout.str().count("UserWarning: careful") == 1


def test_ids_and_selection(project: Path, run_wheels: Run) -> None:
    """`-n` in `addopts`, `-k`, a pasted node id, and a wheel outside the project."""
    project.joinpath("sub").mkdir()
    project.joinpath("sub", "pytest.ini").write_text("[pytest]\naddopts = -n 2\n", encoding="utf-8")
    project.joinpath("tests").rename(project / "sub" / "tests")
    os.chdir(project / "sub")
    args = ("--wheel=../dist/one-1.0-py3-none-any.whl", "--wheel-select=WHL101", "-rA")
    result = run_wheels(*args, "-k", "test_more or install", "tests")
    result.assert_outcomes(passed=11)
    ids = [line.removeprefix("PASSED ") for line in result.outlines if line.startswith("PASSED ")]
    assert len(ids) == 11
    assert all(node_id.startswith("../dist/one-1.0-py3-none-any.whl::cp3") for node_id in ids)
    (chosen,) = (node_id for node_id in ids if node_id.endswith("[7]"))
    result = run_wheels(*args, chosen)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"PASSED {chosen}"])


def test_files_of_a_target_are_distributed(project: Path, run_wheels: Run) -> None:
    """`--dist loadfile` keeps the tests of a file together, and gives the files of one target to several workers."""
    args = ("--wheel=dist/one-1.0-py3-none-any.whl", "--wheel-select=WHL101", "-v", "-n2", "--dist=loadfile")
    result = run_wheels(*args, "tests")
    workers: dict[str, set[str]] = {}
    for line in result.outlines:
        if found := re.match(r"\[(gw\d)\] .* (?:PASSED|FAILED|SKIPPED|ERROR|XFAIL) .*::tests/(test_\w+\.py)::", line):
            workers.setdefault(found[2], set()).add(found[1])
    assert workers.keys() == {"test_it.py", "test_more.py"}
    # A crash of the target's interpreter does not move the file to another worker.
    assert [len(names) for names in workers.values()] == [1, 1]
    assert set.union(*workers.values()) == {"gw0", "gw1"}


def test_usage_errors_end_the_run(project: Path, run_wheels: Run) -> None:
    result = run_wheels("--wheel=dist/none*.whl", "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no file matches*"])
    result = run_wheels(*ARGS, "-n2", "--no-such-option", timeout=60)
    assert result.ret != pytest.ExitCode.OK
    assert "--no-such-option" in result.stdout.str() + result.stderr.str()
