"""The steps of one run with wheels: what a picture of them needs, and the words below the picture."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from materials import PYTEST
from sides import Ours

#: Runs pytest as ``-m pytest`` does, and writes when the clock of the report began: when pytest called the plugin.
_MARKING = """
import sys
from pytest_wheelcheck.system import timing
begin, path = timing.begin, sys.argv.pop(1)
def marked():
    began = begin()
    with open(path, 'w') as file:
        file.write(repr(began))
    return began
timing.begin = marked
import pytest
sys.exit(pytest.console_main())
"""


def needed(case: dict[str, Any]) -> bool:
    """Return whether a case has to show where its time goes: its ratio is above its goal, by any amount."""
    return bool(case["ratio"] > case["goal"])


def measure(ours: Ours, directory: Path) -> dict[str, Any]:
    """Run one side of a case once more, and return its steps, and what is before and after them.

    The steps have the times of the report, which begin when pytest calls the plugin.
    """
    report, began = directory / "waterfall.json", directory / "began.txt"
    start = (sys.executable, "-m", "pytest")
    assert ours.argv[:3] == PYTEST[:3] == start
    begin = time.monotonic()
    usage = ours.measure((sys.executable, "-c", _MARKING, began, *ours.argv[3:], f"--wheel-report={report}"))
    before = float(began.read_text(encoding="ascii")) - begin
    data = json.loads(report.read_text(encoding="utf-8"))
    wheels = [
        {
            "name": wheel["filename"],
            "steps": wheel["timings"],
            "targets": [{"name": target["name"], "steps": target["timings"]} for target in wheel["targets"]],
        }
        for wheel in data["wheels"]
    ]
    found: dict[str, Any] = {"run": data["timings"], "wheels": wheels}
    return {
        "seconds": usage.seconds,
        "processor": usage.processor,
        "before": before,
        "after": usage.seconds - before - max(step["end"] for _, steps in groups(found) for step in steps),
        "step": ours.step,
        **found,
    }


def groups(found: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the steps of the run, then those of each target; the name of a group is that of a target or a wheel.

    The checks of a wheel are among the steps of the run if it is the only wheel, and of its target if it has one.
    """
    wheels = found["wheels"]
    one = wheels[0]["steps"] if len(wheels) == 1 else []
    yield "", [*found["run"], *one]
    for wheel in wheels:
        checks = wheel["steps"] if len(wheels) > 1 else []
        if checks and len(wheel["targets"]) != 1:
            yield wheel["name"], checks
            checks = []
        for target in wheel["targets"]:
            yield target["name"], [*checks, *target["steps"]]


def file_name(case: dict[str, Any]) -> str:
    """Return the name of the picture of a case."""
    return f"waterfall-{case['name']}.svg"


def lines(cases: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the page: each picture, and what it says in figures."""
    drawn = [case for case in cases if case.get("waterfall")]
    missed = sum(map(needed, cases))
    yield f"Of {len(cases)} ratios, {missed} {'is' if missed == 1 else 'are'} above the goal."
    for case in drawn:
        yield ""
        yield f"**{case['title']}.** {_sentence(case)}"
        yield ""
        yield f"![The steps of the run, and the other side: {case['title'].replace('`', '')}]({file_name(case)})"


def _sentence(case: dict[str, Any]) -> str:
    found = case["waterfall"]
    ours = f"The run in the picture took {_used(found['seconds'], found['processor'])}"
    part = f"what is compared took {case['ours']:.2f} s, " if found["step"] else ""
    return f"{ours}; {part}the other side ({case['against']}) {_used(case['other'], case['processor'][1])}."


def _used(seconds: float, processor: float | None) -> str:
    return f"{seconds:.2f} s" + (f" and {processor:.2f} s of processor time" if processor is not None else "")
