"""In a run with many targets, few workers live at a time: one that waits long for its turn is ended and started again."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run

from pytest_wheelcheck.system import memory

#: Notes sessions, tests and the live workers of the run. A worker and its supervisor are of one target.
CONFTEST = """
import os, re, sys

SHOWN = {proc}

def live():
    workers = set()
    for pid in filter(str.isdigit, os.listdir("/proc") if SHOWN else ()):
        try:
            with open("/proc/" + pid + "/cmdline", "rb") as file:
                words = file.read().decode().split(chr(0))
        except OSError:
            continue
        # The worker's file is in the directory of its target, which is in that of the run.
        if len(words) > 1 and "_wheelcheck_worker" in words[1] and words[1].startswith(RUN):
            workers.add((words[1], os.environ.get("PYTEST_XDIST_WORKER")))
    return len(workers)

TARGET = os.path.dirname(sys.prefix)
RUN = os.path.dirname(TARGET) + os.sep

def note(what):
    with open({log!r}, "a") as file:
        file.write("%s %s %d\\n" % (what, os.path.basename(TARGET), live()))

def pytest_sessionstart(session):
    note("start")

def pytest_sessionfinish(session):
    note("finish")

def pytest_runtest_setup(item):
    note("test")
"""

WHEELS = 6

#: The workers that live after the collection with ``--wheel-jobs=1``.
MOST = 4


class Project:
    """A project with a number of pure wheels, each of which is a target."""

    def __init__(self, path: Path, run_wheels: Run) -> None:
        self.path = path
        self._run = run_wheels
        for number in range(WHEELS):
            build_wheel(path / "dist", f"demo{number}", files={f"demo{number}.py": "VALUE = 1\n"})
        log = str(path / "log")
        (path / "conftest.py").write_text(CONFTEST.format(log=log, proc=sys.platform == "linux"))

    def run(self, tests: str, *args: str) -> pytest.RunResult:
        """Run tests on all wheels."""
        (self.path / "test_it.py").write_text(textwrap.dedent(tests))
        return self._run("--wheel=dist", "--wheel-select=WHL101", "-v", *args, "test_it.py")

    def log(self) -> list[tuple[str, int, int]]:
        """Return what was noted, in order: an event, the number of the target, and the number of live workers."""
        lines = [line.split() for line in (self.path / "log").read_text().splitlines()]
        return [(what, int(target), int(live)) for what, target, live in lines]

    def events(self, target: int) -> list[str]:
        """Return the events of one target, in order."""
        return [what for what, number, _ in self.log() if number == target]

    def most_alive(self) -> int:
        """Return the highest number of live workers at an event, the collections among them."""
        return max(live for _, _, live in self.log())


@pytest.fixture
def project(pytester: pytest.Pytester, run_wheels: Run) -> Project:
    return Project(pytester.path, run_wheels)


def shown(result: pytest.RunResult, outcome: str) -> list[str]:
    """Return wheel and name of the tests with an outcome, in the order of the output."""
    found = re.findall(rf"dist/(demo\d)\S*\.whl::\S+::test_it\.py::(\S+) {outcome}", result.stdout.str())
    return [f"{wheel} {name}" for wheel, name in found]


TWO = """
def test_first(): pass
def test_second(): pass
"""

SESSION = ["start", "test", "test", "finish"]


def test_few_workers_live_at_a_time(project: Project) -> None:
    """The first targets keep the worker that collected. Each of the others gets a second one, after the end of the one before."""
    result = project.run(TWO, "--wheel-jobs=1")
    assert result.ret == 0
    every = [f"demo{number} test_{name}" for number in range(WHEELS) for name in ("first", "second")]
    assert shown(result, "PASSED") == every
    for target in range(WHEELS):
        assert project.events(target) == (SESSION if target < MOST else ["start", "finish", *SESSION])
    ran = [(what, target) for what, target, _ in project.log() if what != "start"]
    paused = [("finish", target) for target in range(MOST, WHEELS)]
    assert ran == [*paused, *((what, target) for target in range(WHEELS) for what in SESSION[1:])]
    # No code of a project runs next to the tests of another target.
    again = [(what, target) for what, target, _ in project.log()][-4 * (WHEELS - MOST) :]
    assert again == [(what, target) for target in range(MOST, WHEELS) for what in SESSION]
    if sys.platform == "linux":
        # The next ones are started ahead.
        lives = {target: live for what, target, live in project.log() if what == "test"}
        assert lives == {target: min(MOST, WHEELS - target) for target in range(WHEELS)}
        # One more is collecting.
        assert project.most_alive() == MOST + 1


def test_a_run_with_few_targets_starts_each_worker_once(project: Project) -> None:
    result = project.run(TWO, "--wheel-jobs=4")
    assert result.ret == 0
    assert [project.events(target) for target in range(WHEELS)] == [SESSION] * WHEELS
    if sys.platform == "linux":
        assert project.most_alive() == WHEELS


def test_crashes_of_workers_that_were_started_again(project: Project) -> None:
    """One that dies in a test is replaced. If none can collect, the tests are errors. Other targets are not affected."""
    tests = """
    import os, sys

    target = os.path.dirname(sys.prefix)
    if target.endswith("5") and os.path.exists(os.path.join(target, "collected")):
        os._exit(3)
    open(os.path.join(target, "collected"), "w").close()

    def test_first():
        if target.endswith("4"):
            os._exit(3)

    def test_second(): pass
    """
    result = project.run(tests, "--wheel-jobs=1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert shown(result, "FAILED") == ["demo4 test_first"]
    assert project.events(4) == ["start", "finish", "start", "test", "start", "test", "finish"]
    assert shown(result, "ERROR") == ["demo5 test_first", "demo5 test_second"]
    assert project.events(5) == ["start", "finish", "start", "start", "start"]
    result.stdout.fnmatch_lines(["no fresh worker could be started (3 tries): this test was not run"])
    assert len(shown(result, "PASSED")) == 2 * MOST + 1


def test_node_ids_that_differ_from_start_to_start(project: Project) -> None:
    """A test that only the first worker collected is an error that says why. The others run, each once."""
    tests = """
    import os, time
    import pytest

    @pytest.mark.parametrize("value", ["a", str(time.time_ns()), "z"])
    def test_it(value): pass

    def test_last(): pass
    """
    result = project.run(tests, "--wheel-jobs=1")
    errors = shown(result, "ERROR")
    assert [name.split()[0] for name in errors] == [f"demo{number}" for number in range(MOST, WHEELS)]
    assert all(re.search(r"test_it\[\d+\]$", name) for name in errors)
    assert len(shown(result, "PASSED")) == 4 * MOST + 3 * (WHEELS - MOST)
    result.stdout.fnmatch_lines(["Fix: give the parameters ids that do not depend on the time, *"])
    assert project.events(MOST) == ["start", "finish", "start", "test", "test", "test", "finish"]


def test_xdist(project: Project) -> None:
    """Each of xdist's workers keeps few, and ends those that it has left."""
    result = project.run(TWO, "--wheel-jobs=1", "-n2")
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] >= 2 * WHEELS
    tests = [(what, target) for what, target, _ in project.log() if what == "test"]
    assert sorted(tests) == [("test", target) for target in range(WHEELS) for _ in range(2)]
    events = project.log()
    assert sum(what == "start" for what, *_ in events) == sum(what == "finish" for what, *_ in events)
    if sys.platform == "linux":
        assert max(live for what, _, live in events if what == "test") <= 4


def test_an_early_end_starts_no_other_session(project: Project) -> None:
    result = project.run("def test_first(): assert 0\n", "--wheel-jobs=1", "-x")
    assert shown(result, "FAILED") == ["demo0 test_first"]
    assert project.events(0) == ["start", "test", "finish"]
    for target in range(MOST, WHEELS):
        assert project.events(target) == ["start", "finish"]


def write_memory(root: Path, *, available: int, limit: str = "max", used: int = 0, files: int = 0) -> None:
    """Write what the kernel says about the memory of a host of 1000 kB, and about that of a container."""
    for name, text in {
        "proc/meminfo": f"MemTotal:  1000 kB\nMemFree:  1 kB\nMemAvailable:  {available} kB\nHugePages_Total:  0\n",
        "sys/fs/cgroup/memory.max": f"{limit}\n",
        "sys/fs/cgroup/memory.current": f"{used}\n",
        "sys/fs/cgroup/memory.stat": f"anon 1\ninactive_file {files}\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_memory_is_scarce_if_a_tenth_is_left(tmp_path: Path) -> None:
    assert not memory.is_scarce(tmp_path)
    write_memory(tmp_path, available=101)
    assert not memory.is_scarce(tmp_path)
    write_memory(tmp_path, available=99)
    assert memory.is_scarce(tmp_path)


def test_memory_of_a_container_is_scarce_if_a_tenth_of_its_limit_is_left(tmp_path: Path) -> None:
    write_memory(tmp_path, available=900, limit="1000", used=899)
    assert not memory.is_scarce(tmp_path)
    write_memory(tmp_path, available=900, limit="1000", used=950)
    assert memory.is_scarce(tmp_path)
    write_memory(tmp_path, available=900, limit="1000", used=950, files=100)
    assert not memory.is_scarce(tmp_path)
