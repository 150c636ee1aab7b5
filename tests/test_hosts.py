"""The verdict of ``tox run -e hosts`` on the results of a host."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hosts
import pytest

from pytest_wheelcheck.interpreters.facts import QUERY

PLATFORM = "linux-aarch64"


def listed(*interpreters: str, **different: Mapping[str, Any]) -> str:
    """Return what doctor writes.

    :param different: values of single interpreters.
    """
    usual = {"fits": True, "how": "CPython of the package repository"}
    entries = [{"interpreter": name, **usual, **different.get(name, {})} for name in interpreters]
    return json.dumps([{"platform": PLATFORM, "interpreters": entries, "notes": []}])


def reported(*interpreters: str, bad: Mapping[str, tuple[str, str]] = {}, admitted: Sequence[str] = ()) -> str:
    """Return the report of a run on one wheel for each interpreter.

    :param bad: outcome and text of the imports that did not pass, by interpreter.
    :param admitted: interpreters that the run has wheels for, and no targets of.
    """
    wheels = []
    for name in (*interpreters, *admitted):
        outcome, text = bad.get(name, ("passed", ""))
        results = [
            {"name": "install", "outcome": "passed", "text": ""},
            {"name": "import[some]", "outcome": outcome, "text": text},
        ]
        targets = [{"interpreter": name, "name": f"{name}-{PLATFORM}", "results": results}]
        tag = f"{name.removesuffix('t')}-{name}-manylinux_2_17_aarch64"
        wheels.append({"tags": [tag], "checks": [], "targets": targets if name in interpreters else []})
    return json.dumps({"wheels": wheels})


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The results of a sound host: two interpreters, and a wheel for each."""
    files = {
        f"{PLATFORM}.doctor": listed("cp311", "cp314t"),
        f"{PLATFORM}.doctor.log": "",
        f"{PLATFORM}.json": reported("cp311", "cp314t"),
        f"{PLATFORM}.log": "4 passed in 10.00s\n",
        f"{PLATFORM}.status": "0 10\n",
        "install.log": "",
        "session.log": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_a_sound_host(results: Path) -> None:
    assert hosts.judge(results) == (2, 2, [])
    assert list(hosts.platform_lines(results)) == [
        f"{PLATFORM}: cp311 1/1, cp314t 1/1; 4 passed, 0 failed, 0 skipped, 0 error; 0.2 min"
    ]


def test_a_listed_interpreter_without_a_target(results: Path) -> None:
    (results / f"{PLATFORM}.json").write_text(reported("cp311", admitted=["cp314t"]), encoding="utf-8")
    problem = f"{PLATFORM} cp314t: doctor lists it, and no wheel ran on it"
    assert hosts.judge(results) == (2, 1, [problem])


@pytest.mark.parametrize("outcome", ["failed", "error"])
def test_a_target_that_does_not_pass(results: Path, outcome: str) -> None:
    bad = {"cp311": (outcome, "No module named 'some'\nCause: unknown")}
    (results / f"{PLATFORM}.json").write_text(reported("cp311", "cp314t", bad=bad), encoding="utf-8")
    assert hosts.judge(results) == (2, 1, [f"{PLATFORM} cp311: import[some]: No module named 'some'"])


def test_what_doctor_does_not_promise(results: Path) -> None:
    """An interpreter that the release has no wheel for, one that the disk has no room for, and PyPy 8."""
    doctor = listed("cp311", "cp312", "cp313", "pp311", cp313={"fits": False}, pp311={"how": "PyPy 8.0"})
    (results / f"{PLATFORM}.doctor").write_text(doctor, encoding="utf-8")
    (results / f"{PLATFORM}.json").write_text(reported("cp311", admitted=["cp313", "pp311"]), encoding="utf-8")
    assert hosts.judge(results) == (1, 1, [])


@pytest.mark.parametrize("log", [f"{PLATFORM}.log", f"{PLATFORM}.doctor.log", "session.log"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Cause: the installer says:\n" + textwrap.indent(QUERY.strip(), "  "), "import json, os, platform"),
        ("Traceback (most recent call last):\n  File 'x'\n", "Traceback (most recent call last)"),
        ("INTERNALERROR> Traceback\n", "INTERNALERROR"),
        ("/venv/pytest_wheelcheck/model.py:7: DeprecationWarning: old\n", "pytest_wheelcheck/model.py:7: Deprecation"),
    ],
    ids=["listing", "traceback", "internal error", "warning"],
)
def test_output_that_users_must_not_see(results: Path, log: str, text: str, found: str) -> None:
    (results / log).write_text(f"before\n{text}\nafter\n", encoding="utf-8")
    listed_, worked, (problem,) = hosts.judge(results)
    assert (listed_, worked) == (2, 2)
    assert problem.startswith(f"{log}: the output has {found!r}"[:-1])


def test_output_of_the_installer_is_not_ours(results: Path) -> None:
    (results / "install.log").write_text("Traceback (most recent call last):\n", encoding="utf-8")
    (results / f"{PLATFORM}.log").write_text("imports every module from the wheel\n", encoding="utf-8")
    assert hosts.judge(results) == (2, 2, [])


def test_results_that_are_missing(results: Path) -> None:
    (results / f"{PLATFORM}.json").unlink()
    assert hosts.judge(results) == (0, 0, [f"{PLATFORM}: the run wrote no report"])
    (results / f"{PLATFORM}.doctor").write_text("", encoding="utf-8")
    (results / f"{PLATFORM}.doctor.log").write_text("Killed\n", encoding="utf-8")
    assert hosts.judge(results) == (0, 0, [f"{PLATFORM}: doctor wrote no JSON: Killed"])
    (results / f"{PLATFORM}.status").unlink()
    (results / f"{PLATFORM}.doctor").write_text(listed("cp311"), encoding="utf-8")
    assert hosts.judge(results) == (0, 0, [f"{PLATFORM}: the session ended before the run did"])
