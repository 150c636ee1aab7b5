"""A report says when each step of a run began and ended."""

from __future__ import annotations

import json
import platform
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from builders import build_wheel
from nodes import Run

from pytest_wheelcheck.system import timing


def targets(pytester: pytest.Pytester, run_wheels: Run, *args: str) -> tuple[Any, list[dict[str, list[Any]]]]:
    """Run two tests on two targets; return the report, and the steps of each target by their names."""
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    (pytester.path / "test_it.py").write_text(
        "import time\ndef test_a(): time.sleep(0.2)\ndef test_b(): time.sleep(0.2)\n"
    )
    run_wheels("--wheel", "dist", "--wheel-select=WHL101", "--wheel-report=r.json", *args, "test_it.py")
    data = json.loads((pytester.path / "r.json").read_text())
    found: list[dict[str, list[Any]]] = []
    for target in data["wheels"][0]["targets"]:
        steps: dict[str, list[Any]] = {}
        for step in target["timings"]:
            assert 0 <= step["start"] <= step["end"]
            steps.setdefault(step["name"], []).append(step)
        assert [step["start"] for step in target["timings"]] == sorted(step["start"] for step in target["timings"])
        found.append(steps)
    return data, found


def test_every_step_has_a_start_and_an_end(pytester: pytest.Pytester, run_wheels: Run) -> None:
    data, found = targets(pytester, run_wheels)
    (plan,) = data["timings"]
    (checks,) = data["wheels"][0]["timings"]
    assert (plan["name"], checks["name"]) == ("plan", "checks")
    assert plan["end"] <= checks["start"]
    for steps in found:
        assert sorted(steps) == sorted(set(timing.STEPS) - {"plan", "checks"})
        assert all(len(each) == 1 for each in steps.values())
        order = ["environment", "install", "boot", "collection", "tests", "end"]
        starts = [steps[name][0]["start"] for name in order]
        assert starts == sorted(starts)
        assert steps["interpreter"][0]["end"] <= plan["end"]
        # All tests of a target are one step.
        assert steps["tests"][0]["end"] - steps["tests"][0]["start"] >= 0.4


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the wheel is for x86-64 Linux")
def test_what_forbids_no_installation_is_checked_while_the_wheel_is_installed(
    pytester: pytest.Pytester, run_wheels: Run
) -> None:
    library = (Path(__file__).parent / "checks" / "data" / "elf-x86_64.so").read_bytes()
    tag = f"cp3{sys.version_info.minor}-cp3{sys.version_info.minor}-manylinux_2_17_x86_64"
    libraries: dict[str, bytes | str] = {f"demo/libs/lib{number}.so.1": library for number in range(150)}
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": "", **libraries}, tags=[tag])
    run_wheels("--wheel=dist", "--wheel-report=r.json", "--wheel-select=WHL1,WHL301")
    (wheel,) = json.loads((pytester.path / "r.json").read_text())["wheels"]
    (checks,) = wheel["timings"]
    (target,) = wheel["targets"]
    starts = {step["name"]: step["start"] for step in target["timings"]}
    assert checks["start"] < starts["environment"] < starts["install"] < checks["end"], (starts, checks)


def test_steps_in_processes_of_xdist_are_recorded(pytester: pytest.Pytester, run_wheels: Run) -> None:
    data, found = targets(pytester, run_wheels, "-n", "2")
    (plan,) = data["timings"]
    assert len(data["wheels"][0]["timings"]) == 1
    for steps in found:
        assert len(steps["install"]) == 1, "one process prepares a target for all"
        assert len(steps["boot"]) == 2
        assert steps["install"][0]["start"] >= plan["end"]
        # xdist may give both tests to one process.
        assert 1 <= len(steps["tests"]) <= 2


def test_threads_record_at_the_same_time() -> None:
    timing.begin()
    started = threading.Barrier(8)

    def work(number: int) -> None:
        started.wait()
        for _ in range(200):
            with timing.step(number, "install"), timing.step("all", "tests", joined=True):
                pass

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = timing.recorded()
    timing.begin()
    assert [len([span for span in found if span.owner == number]) for number in range(8)] == [200] * 8
    (tests,) = [span for span in found if span.owner == "all"]
    assert tests.start <= min(span.end for span in found)
    assert tests.end >= max(span.start for span in found)


def test_a_step_that_fails_is_recorded() -> None:
    timing.begin()

    def fail() -> None:
        with timing.steps("w", "boot") as change:
            change("boot")
            change("collection")
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        fail()
    assert [span.name for span in timing.recorded()] == ["boot", "collection"]
    assert timing.begin() > 0
    assert timing.recorded() == []
