"""``wheel_overrides``: options of pytest for some targets only, by patterns of their names."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run, RunDist, RunOutput, run_output

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.plugin.overrides import parse_overrides
from pytest_wheelcheck.plugin.takeover import known_options
from pytest_wheelcheck.reporting.merge import merge
from pytest_wheelcheck.reporting.report import from_json, to_json

CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--level", type=int, default=0)
    parser.addoption("--speed", action="append", default=[])
"""

TESTS = """
import pytest

def test_options(pytestconfig):
    print("level", pytestconfig.getoption("level"), "speed", pytestconfig.getoption("speed"))

def test_locale(): pass

@pytest.mark.skipif(False, reason="never")
def test_marked(): pass
"""

#: The interpreter that runs the tests, as in the names of targets.
TAG = f"cp3{sys.version_info[1]}"

#: Extensions of reports.
KINDS = ("json", "md", "html")

OPTIONS, LOCALE, MARKED = (f"tests/test_it.py::test_{name}" for name in ("options", "locale", "marked"))


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with three tests, one more that is not to be collected, and the wheel of its package."""
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    for name, text in (("conftest.py", CONFTEST), ("test_it.py", TESTS), ("test_more.py", "def test_more(): pass\n")):
        path = pytester.path / "tests" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return pytester


def overrides(project: pytest.Pytester, *lines: str) -> None:
    project.makeini("\n".join(["[pytest]", "wheel_overrides =", *(f"    {line}" for line in lines)]) + "\n")


def selected_tests(found: RunOutput) -> set[str]:
    return {name for name in found.nodes if name.startswith("tests/")}


def test_options_come_after_those_of_the_user_and_all_lines_apply_in_order(
    project: pytest.Pytester, run_dist: RunDist
) -> None:
    overrides(
        project,
        f"{TAG}-*: --level 3 --speed=low",
        "cp2*: --speed=never",
        f"{TAG}-*-*: --speed 'very high' -p no:doctest",
    )
    found = run_dist("tests", "--level=1", "--speed=first", "-rP")
    assert found.code == 0, found.text
    assert "level 3 speed ['first', 'low', 'very high']" in found.text
    # The summary names what applied, and -v what did not.
    lines = [line.strip() for line in found.text.splitlines() if "wheel_overrides: " in line]
    assert lines[-1] == (
        f"wheel_overrides: {TAG}-*: --level 3 --speed=low; {TAG}-*-*: --speed 'very high' -p no:doctest"
    )
    assert len(lines) == 2
    assert re.fullmatch(
        rf"wheel_overrides: cp2\*: --speed=never: matches no target of this run \({TAG}-\S+\)", lines[0]
    )
    # Without -v, a job of a CI matrix is not reminded of the lines for the others.
    assert "matches no target" not in run_dist("tests", "-q").text


@pytest.mark.parametrize(
    ("line", "selected"),
    [
        ("-knot\\ locale", {OPTIONS, MARKED}),
        ("-m skipif", {MARKED}),
        (f"--deselect {LOCALE} --deselect={MARKED}", {OPTIONS}),
        ("--ignore=tests/test_it.py", set()),
    ],
)
def test_selections_are_for_the_matching_target_only(
    project: pytest.Pytester, run_dist: RunDist, line: str, selected: set[str]
) -> None:
    overrides(project, f"{TAG}-*: {line}", f"{TAG}t-*: -k nothing")
    found = run_dist("tests")
    assert found.code == 0, found.text
    assert selected_tests(found) == {*selected, "tests/test_more.py::test_more"} - (
        {"tests/test_more.py::test_more"} if line.startswith("-m") else set()
    )
    # What is ignored is not collected, and so not deselected.
    note = f"{4 - len(selected_tests(found))} of 4 tests deselected there"
    assert (note in found.text) is not line.startswith("--ignore")


def test_several_selections_of_a_target_are_joined(project: pytest.Pytester, run_dist: RunDist) -> None:
    """pytest itself takes the last ``-k``; here each line applies, and so does the user's own."""
    overrides(project, f"{TAG}-*: -k 'locale or marked or more'", "*: -k 'not marked'")
    assert selected_tests(run_dist("tests")) == {LOCALE, "tests/test_more.py::test_more"}
    assert selected_tests(run_dist("tests", "-k", "not more")) == {LOCALE}


def test_two_targets_and_the_reports(project: pytest.Pytester, run_dist: RunDist) -> None:
    """The wheel of one interpreter has an override; the other one has none, and neither is affected by the other."""
    other = f"3.{sys.version_info[1] - 1}"
    overrides(project, f"{TAG}-*: -k 'not locale'")
    found = run_dist(
        "tests", f"--wheel-python={sys.executable},{other}", *(f"--wheel-report=r.{kind}" for kind in KINDS)
    )
    assert found.code == 0, found.text
    line = f"{TAG}-*: -k 'not locale'"
    report = from_json(Path("r.json").read_text(encoding="utf-8"), source="r.json")
    here, there = sorted(report.wheels[0].targets, key=lambda target: target.interpreter != TAG)
    assert (here.overrides, there.overrides) == ((line,), ())
    ran: Mapping[str, set[str]] = {
        target.name: {result.name for result in target.results if result.name.startswith("tests/")}
        for target in (here, there)
    }
    assert ran[there.name] - ran[here.name] == {LOCALE}
    assert from_json(to_json(report), source="again") == report
    # Shards of a run may have different configurations.
    targets = tuple(replace(target, overrides=("*: -v",)) for target in report.wheels[0].targets)
    shard = replace(report, wheels=(replace(report.wheels[0], targets=targets),))
    merged = {target.name: target.overrides for target in merge([report, shard]).wheels[0].targets}
    assert merged == {here.name: (line, "*: -v"), there.name: ("*: -v",)}
    assert found.text.count(f"    wheel_overrides: {line}\n") == 1
    assert Path("r.md").read_text(encoding="utf-8").count(f"wheel\\_overrides: {line.replace('*', chr(92) + '*')}") == 1
    assert Path("r.html").read_text(encoding="utf-8").count("wheel_overrides: <code>") == 1


def test_a_report_of_a_version_without_overrides_is_read(project: pytest.Pytester, run_dist: RunDist) -> None:
    run_dist("tests", "--wheel-report=r.json")
    data = json.loads(Path("r.json").read_text(encoding="utf-8"))
    assert data["wheels"][0]["targets"][0].pop("overrides") == []
    assert from_json(json.dumps(data), source="r.json").wheels[0].targets[0].overrides == ()


def test_workers_of_xdist_apply_them(project: pytest.Pytester, run_dist: RunDist) -> None:
    overrides(project, "*: -k 'not locale' --level=4", "none*: --level=1")
    found = run_dist("tests", "-n2", "-rP")
    assert found.code == 0, found.text
    assert "level 4" in found.text
    assert "test_locale" not in found.text
    assert found.text.count("matches no target") == found.text.count("1 of 4 tests deselected there") == 1
    assert "    wheel_overrides: *: -k 'not locale' --level=4\n" in found.text


@pytest.mark.parametrize(
    "table",
    [
        'overrides = ["*: --level=2", "cp*: --speed \'very high\'"]',
        '[tool.wheelcheck.overrides]\n"*" = "--level=2"\n"cp*" = ["--speed", "very high"]',
    ],
    ids=["list", "table"],
)
def test_in_the_table_of_the_project(project: pytest.Pytester, run_dist: RunDist, table: str) -> None:
    (project.path / "pyproject.toml").write_text(f"[tool.wheelcheck]\n{table}\n")
    found = run_dist("tests", "-rP")
    assert found.code == 0, found.text
    assert "level 2 speed ['very high']" in found.text


@pytest.mark.parametrize("value", ["3", '["a", 1]'])
def test_a_table_with_another_value(project: pytest.Pytester, run_wheels: Run, value: str) -> None:
    (project.path / "pyproject.toml").write_text(f'[tool.wheelcheck.overrides]\n"*" = {value}\n')
    found = run_output(run_wheels("--wheel", "dist", "tests"))
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert "[tool.wheelcheck] of pyproject.toml: overrides.'*' is " in found.text
    assert "Fix: write the options in one string, or in a list of strings" in found.text


@pytest.mark.parametrize(
    ("line", "message", "fix"),
    [
        ("--level=3", "is not of the form `PATTERN: OPTIONS`", "write a pattern"),
        ("cp3*:", "is not of the form `PATTERN: OPTIONS`", "write a pattern"),
        ("cp3* cp4*: -x", "is not of the form `PATTERN: OPTIONS`", "write a pattern"),
        ("*: -k 'not", "no closing quotation", "close the quotation marks"),
        ("*: tests/test_it.py", "tests/test_it.py is no option", "select tests with -k"),
        ("*: --tb=short tests", "tests is no option", "select tests with -k"),
        ("*: -k", "-k needs a value", "-k VALUE"),
        ("*: --deselect", "--deselect needs a value", "--deselect VALUE"),
        ("*: --wheel-strict", "--wheel-strict is a setting of pytest-wheelcheck", "set it for the whole run"),
        ("*: --wheel=dist", "--wheel is a setting of pytest-wheelcheck", "set it for the whole run"),
        ("*: --wheel-nonsense", "--wheel-nonsense is a setting of pytest-wheelcheck", "set it for the whole run"),
        ("*: -o wheel_test_timeout=3", "-o is a setting of pytest-wheelcheck", "set it for the whole run"),
        *(
            (f"*: {option}", f"{option.partition('=')[0].split()[0][:30]} acts on the whole run", "in addopts")
            for option in (
                "--numprocesses=4", "--dist load", "--collect-only", "--maxfail=1", "-x", "--stepwise", "--junit-xml=j.xml",
                "--rootdir=..", "-c other.ini", "--durations=3", "--color=yes", "--basetemp=t", "--forever", "-r a",
            )
        ),
        ("*: -n4", "-n acts on the whole run", "in addopts"),
        *(
            (f"*: {option}", "cannot be used with --wheel", "-rP")
            for option in ("-s", "--capture=no", "--capture tee-sys", "--pdb", "--trace", "-vs")
        ),
    ],
)  # fmt: skip
def test_mistakes_name_the_line_and_the_fix(pytestconfig: pytest.Config, line: str, message: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_overrides(["cp3*: --level=1", line], known_options(pytestconfig))
    assert f"wheel_overrides: {line!r}" in str(caught.value)
    assert message in str(caught.value)
    assert fix in str(caught.value).partition("\nFix: ")[2]


def test_a_mistake_ends_the_run_before_it_begins(project: pytest.Pytester, run_wheels: Run) -> None:
    overrides(project, "*: -n 4")
    found = run_output(run_wheels("--wheel", "dist", "tests"))
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: wheel_overrides: '*: -n 4': -n acts on the whole run" in found.text
    assert "Traceback" not in found.text


def test_an_option_that_the_target_does_not_know_is_an_error_of_the_target(
    project: pytest.Pytester, run_dist: RunDist
) -> None:
    """The other target is tested; so the run does not end with a usage error, also if there is no other one."""
    other = f"3.{sys.version_info[1] - 1}"
    overrides(project, f"{TAG}-*: --levle 3 --tb=short", "*: --speed=low")
    found = run_dist("tests", f"--wheel-python={sys.executable},{other}")
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.only("ERROR") == ["collect"]
    assert f"wheel_overrides: {TAG}-*: --levle 3 --tb=short: the pytest of {TAG}-" in found.text
    assert "unrecognized arguments: --levle" in found.text
    assert "Fix: correct the line, or add the plugin" in found.text
    assert "--speed=low: the pytest" not in found.text
    assert found.outcomes("test_options") == ["PASSED"]

    found = run_dist("tests")
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.nodes == {"install": "PASSED", "import[demo]": "PASSED", "collect": "ERROR"}


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--level=high", "argument --level: invalid int value: 'high'"),
        ("-k '('", "Wrong expression passed to '-k'"),
        ("--cov=demo", 'Fix: add pytest-cov to the test requirements: requires = ["pytest-cov"]'),
    ],
)
def test_a_value_that_the_target_refuses(
    project: pytest.Pytester, run_dist: RunDist, option: str, expected: str
) -> None:
    overrides(project, f"*: {option}")
    found = run_dist("tests")
    assert found.code == pytest.ExitCode.TESTS_FAILED, found.text
    assert found.only("ERROR") == ["collect"]
    assert f"wheel_overrides: *: {option}: the pytest of {TAG}-" in found.text
    assert expected in found.text


def test_a_usage_error_of_the_command_line_does_not_blame_an_override(
    project: pytest.Pytester, run_dist: RunDist
) -> None:
    overrides(project, "*: --level=3")
    found = run_dist("tests", "--timeout-methd=thread")
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert "unrecognized arguments: --timeout-methd=thread" in found.text
    assert "wheel_overrides: *: --level=3: the pytest of" not in found.text
