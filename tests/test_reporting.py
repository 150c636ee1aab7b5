"""The expected wheels, the release matrix and the reports: pure functions of outcomes."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.reporting import html, markdown, matrix, terminal
from pytest_wheelcheck.reporting.compare import Comparison, Difference, headline, outcomes
from pytest_wheelcheck.reporting.compare import compare as compare_machines
from pytest_wheelcheck.reporting.expect import ReleaseFile, compare, covers, families, fits, parse
from pytest_wheelcheck.reporting.matrix import matrix_rows
from pytest_wheelcheck.reporting.merge import merge, problems
from pytest_wheelcheck.reporting.outcomes import Outcomes
from pytest_wheelcheck.reporting.release import metadata_warnings
from pytest_wheelcheck.reporting.report import (
    FORMAT_VERSION,
    OLDEST_VERSION,
    OUTCOMES,
    NodeResult,
    NotRun,
    Report,
    TargetReport,
    WheelReport,
    from_json,
    to_json,
)
from pytest_wheelcheck.system.sizes import parse_size


def release_file(*tags: str, project: str = "pkg") -> ReleaseFile:
    return ReleaseFile(filename=f"{project}-1.0-{tags[0]}.whl", project=project, tags=tags)


# The syntax of --wheel-expect ------------------------------------------------------------------------------------------


def test_every_interpreter_of_a_clause_on_every_platform() -> None:
    found = parse(["cp312-cp314, cp314t: manylinux_x86_64 win_amd64", "# a note", "", "cp39-abi3: macosx_arm64; sdist"])
    assert found.sdist
    assert found.pairs == (
        *[("manylinux_x86_64", name) for name in ("cp312", "cp313", "cp314", "cp314t")],
        *[("win_amd64", name) for name in ("cp312", "cp313", "cp314", "cp314t")],
        ("macosx_arm64", "cp39-abi3"),
    )


@pytest.mark.parametrize(
    "clause",
    ["cp312", "cp312:", ": win_amd64", "cp312 win_amd64", "cp314-cp312: win_amd64", "cp312-pp314: win_amd64",
     "cp312-cp314t: win_amd64", "3.12: win_amd64", "cp312: windows", "cp312: manylinux", "cp312: macosx_11_arm64",
     "cp31-cp399: any", "sdists", "cp312: linux"],
)  # fmt: skip
def test_an_invalid_clause_is_refused(clause: str) -> None:
    with pytest.raises(UsageError, match="--wheel-expect"):
        parse([clause])


@pytest.mark.parametrize("platform", ["pyemscripten_2025_0_wasm32", "pyodide_2024_0_wasm32", "emscripten_3_1_wasm32"])
def test_a_platform_without_versions_of_its_own_is_expected_as_it_is(platform: str) -> None:
    found = parse([f"cp313: {platform}"])
    assert found.pairs == ((platform, "cp313"),)
    assert covers(release_file(f"cp313-cp313-{platform}"), found.pairs[0])
    assert not covers(release_file("cp313-cp313-emscripten_9_9_wasm32"), found.pairs[0])


@given(st.text(alphabet="cp3124-t:abi sdwn_;,\n", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse([text])
    except UsageError:
        return
    assert len(set(found.pairs)) == len(found.pairs)


@pytest.mark.parametrize(
    ("tag", "interpreter", "covered"),
    [
        ("cp312-cp312-win_amd64", "cp312", True),
        ("cp312-cp312-win_amd64", "cp313", False),
        ("cp314-cp314t-win_amd64", "cp314", False),
        ("cp314-cp314t-win_amd64", "cp314t", True),
        ("cp314-cp314-win_amd64", "cp314t", False),
        ("cp37-cp37m-win_amd64", "cp37", True),
        ("cp39-abi3-win_amd64", "cp312", True),
        ("cp39-abi3-win_amd64", "cp38", False),
        ("cp39-abi3-win_amd64", "cp314t", False),
        ("cp315-abi3t-win_amd64", "cp315t", True),
        ("cp315-abi3t-win_amd64", "cp316", True),
        ("cp39-abi3-win_amd64", "abi3", True),
        ("cp39-abi3-win_amd64", "cp39-abi3", True),
        ("cp39-abi3-win_amd64", "cp310-abi3", False),
        ("cp315-abi3t-win_amd64", "abi3", False),
        ("cp312-cp312-win_amd64", "abi3", False),
        ("py3-none-win_amd64", "cp312", True),
        ("py3-none-win_amd64", "py3", True),
        ("py2-none-win_amd64", "cp312", False),
        ("py310-none-win_amd64", "cp312", True),
        ("py313-none-win_amd64", "cp312", False),
        ("cp312-none-win_amd64", "cp312", True),
        ("cp311-none-win_amd64", "cp312", False),
        ("pp311-pypy311_pp73-win_amd64", "pp311", True),
        ("pp311-pypy311_pp73-win_amd64", "cp311", False),
        ("cp311-cp311-win_amd64", "pp311", False),
        ("cp39-abi3-win_amd64", "pp311", False),
        ("py3-none-any", "cp312", False),
    ],
)
def test_which_wheels_are_for_an_interpreter(tag: str, interpreter: str, covered: bool) -> None:
    assert covers(release_file(tag), ("win_amd64", interpreter)) is covered


@pytest.mark.parametrize(
    ("have", "wanted", "fitting"),
    [
        ("manylinux2014_x86_64", "manylinux_x86_64", True),
        ("manylinux_2_28_x86_64", "manylinux_x86_64", True),
        ("manylinux_2_28_x86_64", "manylinux_2_28_x86_64", True),
        ("manylinux2014_x86_64", "manylinux_2_28_x86_64", True),
        ("manylinux2014_x86_64", "manylinux_2_12_x86_64", False),
        ("manylinux_2_28_x86_64", "manylinux_aarch64", False),
        ("manylinux_2_28_x86_64", "musllinux_x86_64", False),
        ("linux_x86_64", "manylinux_x86_64", False),
        ("linux_armv7l", "linux_armv7l", True),
        ("macosx_11_0_arm64", "macosx_arm64", True),
        ("macosx_10_9_universal2", "macosx_arm64", True),
        ("macosx_10_9_universal2", "macosx_10_13_x86_64", True),
        ("macosx_10_9_universal2", "macosx_universal2", True),
        ("macosx_11_0_arm64", "macosx_universal2", False),
        ("any", "win_amd64", False),
        ("any", "any", True),
        ("win32", "win_amd64", False),
    ],
)
def test_which_tags_are_for_a_platform(have: str, wanted: str, fitting: bool) -> None:
    assert fits(have, wanted) is fitting


def test_the_families_of_tags() -> None:
    tags = ["manylinux1_i686", "manylinux_2_28_x86_64", "macosx_10_9_universal2", "win_amd64", "any", "linux_armv7l"]
    assert [family for tag in tags for family in families(tag)] == [
        "manylinux_i686", "manylinux_x86_64", "macosx_x86_64", "macosx_arm64", "win_amd64", "any", "linux_armv7l",
    ]  # fmt: skip


def test_every_missing_and_every_unexpected_wheel_is_named() -> None:
    found = compare(
        parse(["cp312-cp313: manylinux_x86_64 win_amd64; sdist"]),
        [
            release_file("cp312-cp312-manylinux_2_17_x86_64", "cp312-cp312-manylinux2014_x86_64"),
            release_file("cp313-cp313-win_amd64"),
            release_file("cp311-cp311-macosx_10_9_universal2"),
        ],
    )
    assert found.missing == ("cp313 on manylinux_x86_64", "cp312 on win_amd64", "the sdist")
    assert found.missing_pairs == (("manylinux_x86_64", "cp313"), ("win_amd64", "cp312"))
    (unexpected,) = found.unexpected
    assert unexpected.endswith("(cp311 on macosx_x86_64, cp311 on macosx_arm64)")


def test_each_project_must_have_every_wheel() -> None:
    files = [release_file("py3-none-any", project="a"), ReleaseFile(filename="b-1.tar.gz", project="b")]
    found = compare(parse(["py3: any"]), files)
    assert found.missing == ("b: py3 on any",)
    assert found.unexpected == ("b-1.tar.gz (an sdist)",)
    assert compare(parse(["py3: any; sdist"]), []).missing == ("py3 on any", "the sdist")


@pytest.mark.parametrize(
    ("text", "size"), [("100", 100), ("1 MB", 10**6), ("1.5KiB", 1536), ("2gib", 2 << 30), ("7b", 7)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "0", "5 apples", "nan", "inf", "1 MM"])
def test_invalid_sizes(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the message is the text
        parse_size(text)


# Outcomes -------------------------------------------------------------------------------------------------------------


def outcome_of(*reports: tuple[str, str], expected: bool = False) -> str:
    outcomes = Outcomes()
    for when, outcome in reports:
        outcomes.add("w::n", when=when, outcome=outcome, expected=expected, text=f"{when} {outcome}", seconds=1.0)
    results = outcomes.below("w::")
    return results[0].outcome if results else ""


def test_the_outcome_of_a_node() -> None:
    assert outcome_of(("setup", "passed"), ("call", "passed"), ("teardown", "passed")) == "passed"
    assert outcome_of(("setup", "passed"), ("call", "failed"), ("teardown", "passed")) == "failed"
    assert outcome_of(("setup", "failed"), ("teardown", "passed")) == "error"
    assert outcome_of(("setup", "passed"), ("call", "passed"), ("teardown", "failed")) == "error"
    assert outcome_of(("setup", "passed"), ("call", "failed"), ("teardown", "failed")) == "failed"
    assert outcome_of(("setup", "skipped"), ("teardown", "passed")) == "skipped"
    assert outcome_of(("setup", "passed"), ("call", "rerun"), ("call", "passed")) == "passed"
    assert outcome_of(("setup", "passed"), ("teardown", "passed")) == ""
    assert outcome_of(("call", "skipped"), expected=True) == "xfailed"
    assert outcome_of(("call", "passed"), expected=True) == "xpassed"


def result(name: str, outcome: str = "passed", text: str = "", warnings: tuple[str, ...] = ()) -> NodeResult:
    return NodeResult(name=name, outcome=outcome, text=text, warnings=warnings)


def test_skips_for_pseudo_terminals_are_not_other_skips() -> None:
    assert result("t", "skipped", "needs a pseudo-terminal, which cp313 on win32 does not have").skipped_for_pty
    assert result("t", "skipped", "needs the module 'termios', which cp313 on win32 does not have").skipped_for_pty
    assert not result("t", "skipped", "needs the module 'numpy', which is slow").skipped_for_pty
    assert not result("t", "failed", "needs a pseudo-terminal, which cp313 on win32 does not have").skipped_for_pty


# The matrix -----------------------------------------------------------------------------------------------------------


def target(interpreter: str, platform: str, *results: NodeResult, **more: Any) -> TargetReport:
    system = "win32" if platform.startswith("win") else "linux"
    libc = "" if system == "win32" else "musl" if platform.startswith("musl") else "glibc"
    architecture = platform.partition("-")[2]
    fields: dict[str, Any] = {
        "name": f"{interpreter}-{platform}",
        "system": system,
        "libc": libc,
        "architecture": architecture,
    } | more
    return TargetReport(interpreter=interpreter, platform=platform, results=results, **fields)


def wheel(*tags: str, sha256: str = "", **more: Any) -> WheelReport:
    name = f"pkg-1.0-{tags[0]}.whl"
    fields: dict[str, Any] = {"checks": (result("WHL101-zip"),)} | more
    return WheelReport(
        path=f"dist/{name}", filename=name, sha256=sha256 or name, project="pkg", version="1.0", tags=tags, **fields
    )


GOOD = (result("install"), result("import[pkg]"), result("tests/test_a.py::test_a"))
NO_PTY = result("tests/t.py::test_pty", "skipped", "needs a pseudo-terminal, which cp313 on win32 does not have")


def full_report() -> Report:
    return Report(
        program="pytest-wheelcheck 1",
        expect=("cp312-cp313: manylinux_x86_64",),
        release=(result("expect", "failed", "the release is not …\nmissing: <cp313>"), result("pythons", warnings=("a & b",))),
        wheels=(
            wheel("cp312-cp312-manylinux_2_17_x86_64", "cp312-cp312-manylinux2014_x86_64",
                 targets=(target("cp312", "linux-x86_64", *GOOD),)),
            wheel("cp312-cp312-manylinux_2_17_aarch64",
                 targets=(
                     target("cp312", "linux-aarch64", *GOOD, execution="emulated", machine="aarch64"),
                     target("cp312", "linux-aarch64", *GOOD[:2], execution="emulated", machine="rpi5",
                            name="cp312-linux-aarch64+rpi5"),
                     target("cp312", "linux-aarch64", *GOOD, result("tests/b.py::test_b", "failed", "def f()\nE   assert 1 == 2"),
                           execution="board", machine="pi.local"),
                 )),
            wheel("cp313-cp313-win_amd64",
                  checks=(result("WHL501-x", "failed", "WHL501: no"), result("WHL801-y", warnings=("big",))),
                 targets=(target("cp313", "win_amd64", *GOOD, NO_PTY, execution="emulated", machine="wine"),)),
            wheel("cp39-abi3-macosx_10_9_universal2", checks=(result("WHL101-zip", "skipped", "not here"),),
                 not_run=(NotRun(name="no-target", outcome="skipped", reason="needs macOS"),)),
        ),
    )  # fmt: skip


def cells(report: Report, missing: tuple[tuple[str, str], ...] = ()) -> dict[tuple[str, str], list[str]]:
    return {(row.platform, row.interpreter): [cell.text for cell in row.cells] for row in matrix_rows(report, missing)}


def test_the_matrix_shows_which_wheels_were_built_checked_and_tested() -> None:
    found = cells(full_report(), (("manylinux_x86_64", "cp313"),))
    assert found == {
        ("manylinux_aarch64", "cp312"): [
            "yes", "passed", "", "1 passed (aarch64); installed and imported (rpi5)", "1 failed, 1 passed (pi.local)", "",
        ],
        ("manylinux_x86_64", "cp312"): ["yes", "passed", "1 passed", "", "", ""],
        ("manylinux_x86_64", "cp313"): ["missing", "", "", "", "", ""],
        ("macosx_arm64", "cp39-abi3"): ["yes", "skipped", "", "", "", ""],
        ("macosx_x86_64", "cp39-abi3"): ["yes", "skipped", "", "", "", ""],
        ("win_amd64", "cp313"): ["yes", "1 failed", "", "1 passed (wine)", "", "1 test"],
    }  # fmt: skip


def test_results_of_a_wheel_for_the_stable_abi_name_the_interpreter() -> None:
    tested = wheel("cp39-abi3-manylinux_2_17_x86_64", "cp39-abi3-musllinux_1_2_x86_64",
                  targets=(target("cp39", "linux-x86_64", *GOOD), target("cp314", "musllinux-x86_64", *GOOD[:1])))  # fmt: skip
    assert cells(Report(wheels=(tested,))) == {
        ("manylinux_x86_64", "cp39-abi3"): ["yes", "passed", "1 passed (cp39)", "", "", ""],
        ("musllinux_x86_64", "cp39-abi3"): ["yes", "passed", "installed and imported (cp314)", "", "", ""],
    }


@pytest.mark.parametrize(
    ("results", "state"),
    [
        ((), "no"),
        ((result("install", "failed"),), "failed"),
        ((result("install", "error"),), "failed"),
        ((result("install"), result("t.py::t", "skipped")), "imported"),
        ((result("t.py::t", "skipped"),), "skipped"),
        ((result("install"), result("t.py::t", "xfailed")), "passed"),
        ((result("install"), result("t.py::t", "failed"), result("t.py::u")), "failed"),
        ((result("install"), result("import[pkg]"), result("modules[pkg]"), result("compile")), "imported"),
    ],
)
def test_only_tests_count_as_tested(results: tuple[NodeResult, ...], state: str) -> None:
    assert matrix.target_state(target("cp312", "linux-x86_64", *results)).state == state


def test_errors_are_not_counted_as_failures() -> None:
    """A failure is a fault of the wheel. An error may be one of the host, of a fixture or of the network."""
    tests = [result(f"t.py::{name}", outcome) for name, outcome in (("a", "failed"), ("b", "error"), ("c", "passed"))]
    checks = [result("install", "failed"), result("import[a]", "error"), result("import[b]", "error")]

    def text(*results: NodeResult) -> str:
        return matrix.target_state(target("cp312", "linux-x86_64", *results)).text

    assert text(*tests, *checks) == "1 failed, 1 error, 1 passed, 1 check failed, 2 checks with errors"
    assert text(checks[1]) == "1 check with an error"


def test_classifiers_and_requires_python_against_the_covered_interpreters() -> None:
    def some(*minors: int, classifiers: tuple[int, ...] = (), requires: str | None = None) -> list[str]:
        names = tuple(f"Programming Language :: Python :: 3.{minor}" for minor in classifiers)
        return metadata_warnings(
            [wheel(f"cp3{m}-cp3{m}-win_amd64", classifiers=names, requires_python=requires) for m in minors]
        )

    assert some(12, 13, classifiers=(12, 13), requires=">=3.12") == []
    assert some(12, 13) == []
    assert some(12, 13, classifiers=(11, 12)) == [
        "the classifiers name 3.11, but there is no wheel",
        "there are wheels for 3.13, which the classifiers do not name",
    ]
    assert some(12, 13, requires=">=3.10") == ["Requires-Python is >=3.10, but there is no wheel for 3.10, 3.11"]
    assert some(12, requires="!!") == some(12, requires=">=3") == []
    assert metadata_warnings([wheel("cp39-abi3-win_amd64", requires_python=">=3.8")]) == []


# Several machines -----------------------------------------------------------------------------------------------------

ARM = "cp312-cp312-manylinux_2_17_aarch64"


def arm(machine: str, *results: NodeResult, execution: str = "emulated", **more: Any) -> TargetReport:
    name = f"cp312-linux-aarch64{'+' * bool(machine)}{machine}"
    return target("cp312", "linux-aarch64", *results, execution=execution, machine=machine, **{"name": name} | more)


def compared(*targets: TargetReport) -> tuple[Comparison, ...]:
    return compare_machines(Report(wheels=(wheel(ARM, targets=targets),)))


def test_outcomes_that_differ_between_machines() -> None:
    order, only = result("t.py::order", "failed"), result("t.py::only")
    (found,) = compared(
        arm("rpi4", *GOOD, result("t.py::order"), result("run[tool]")),
        arm("pi@board", *GOOD, order, only, result("run[tool]", "error"), execution="board"),
        arm("rpi5", *GOOD, result("t.py::order"), result("run[tool]")),
    )
    assert found == Comparison(
        wheel=f"pkg-1.0-{ARM}.whl",
        interpreter="cp312",
        platform="linux-aarch64",
        machines=("rpi4", "pi@board", "rpi5"),
        same=1,
        differences=(
            Difference(name="t.py::order", outcomes=("passed", "failed", "passed")),
            Difference(name="run[tool]", outcomes=("passed", "error", "passed")),
            Difference(name="t.py::only", outcomes=("", "passed", "")),
        ),
        untested=(),
    )
    assert headline(found) == "1 test has the same outcome on rpi4, pi@board and rpi5; 3 outcomes differ"
    assert [outcomes(found, each) for each in found.differences] == [
        "passed on rpi4 and rpi5, failed on pi@board",
        "passed on rpi4 and rpi5, error on pi@board",
        "not run on rpi4 and rpi5, passed on pi@board",
    ]


def test_outcomes_that_are_the_same() -> None:
    (found,) = compared(arm("aarch64", *GOOD), arm("pi", *GOOD, execution="board"))
    assert (found.same, found.differences, found.untested) == (1, (), ())
    assert headline(found) == "1 test has the same outcome on emulated aarch64 and pi"


def test_a_machine_without_tests_is_not_compared() -> None:
    (found,) = compared(arm("rpi4", *GOOD), arm("pi", result("install", "error"), execution="board"))
    assert (found.machines, found.same, found.untested) == (("rpi4",), 0, ("pi",))
    assert headline(found) == "no test ran on pi"
    # Among the others, the number counts.
    (found,) = compared(arm("rpi4", *GOOD), arm("pi", execution="board"), arm("rpi5", *GOOD))
    assert headline(found) == "1 test has the same outcome on rpi4 and rpi5; no test ran on pi"


def test_only_machines_of_one_wheel_interpreter_and_platform_are_compared() -> None:
    one = arm("rpi4", *GOOD)
    assert compared(one) == ()
    assert compared(one, target("cp313", "linux-aarch64", *GOOD), target("cp312", "musllinux-aarch64", *GOOD)) == ()
    other = wheel("cp313-cp313-manylinux_2_17_aarch64", targets=(one,))
    assert compare_machines(Report(wheels=(wheel(ARM, targets=(one,)), other))) == ()


def test_machines_of_several_hosts_have_different_names() -> None:
    here = [arm("", *GOOD, execution="native", host=host) for host in ("linux-x86_64", "linux-aarch64")]
    there = [arm("rpi4", *GOOD, host=host) for host in ("linux-x86_64", "linux-aarch64")]
    (found,) = compared(*here, *there)
    assert found.machines == ("linux-x86_64", "linux-aarch64", "rpi4 on linux-x86_64", "rpi4 on linux-aarch64")
    (found,) = compared(arm("", *GOOD, execution="native"), arm("pi", *GOOD, execution="board"))
    assert found.machines == ("this host", "pi")


def test_the_forms_list_the_differences() -> None:
    many = [result(f"t.py::test_{number}", "failed") for number in range(40)]
    targets = (
        arm("rpi4", *GOOD, *[replace(each, outcome="passed") for each in many]),
        arm("<pi>", *GOOD, *many, execution="board"),
    )
    report = Report(wheels=(wheel(ARM, targets=targets),))
    text = "1 test has the same outcome on rpi4 and <pi>; 40 outcomes differ"
    lines = [line for line, _ in terminal.comparison_lines(compare_machines(report))]
    assert lines[:2] == [f"pkg-1.0-{ARM}.whl, cp312: {text}", "  t.py::test_0: passed on rpi4, failed on <pi>"]
    assert lines[-1] == "  and 10 more, which --wheel-report lists"
    assert "## Machines" in markdown.render(report)
    assert "  - `t.py::test_39`: passed on rpi4, failed on \\<pi\\>" in markdown.render(report)
    page = _Page()
    page.feed(html.render(report))
    page.close()
    assert page.open == []
    assert text in page.text
    assert "t.py::test_39: passed on rpi4, failed on <pi>" in page.text
    data = to_json(report, comparisons=compare_machines(report))
    assert len(json.loads(data)["comparisons"][0]["differences"]) == 40
    assert from_json(data, source="x") == report
    for form in (markdown, html):
        assert "Machines" not in form.render(Report(wheels=(wheel(ARM, targets=targets[:1]),)))


# Forms ----------------------------------------------------------------------------------------------------------------


def test_json_is_read_as_it_was_written() -> None:
    report = full_report()
    assert from_json(to_json(report), source="x") == report
    data = json.loads(to_json(report))
    assert (data["format"], data["format_version"]) == ("pytest-wheelcheck", FORMAT_VERSION)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: "no json", "is not a report"),
        (lambda _: "[]", "is not a report"),
        (lambda data: json.dumps({**data, "format": "junit"}), "is not a report"),
        (lambda data: json.dumps({**data, "format_version": "2"}), "is not a report"),
        (lambda data: json.dumps({**data, "wheels": [{}]}), "is damaged"),
        (lambda data: json.dumps({**data, "release": [{**data["release"][0], "outcome": "fine"}]}), "is damaged"),
        (lambda data: json.dumps({**data, "release": [{**data["release"][0], "seconds": "1"}]}), "is damaged"),
        (lambda data: json.dumps({**data, "wheels": "none"}), "is damaged"),
        (lambda data: json.dumps({**data, "complete": 1}), "is damaged"),
    ],
)
def test_an_invalid_report_is_refused(change: object, message: str) -> None:
    data = json.loads(to_json(full_report()))
    with pytest.raises(UsageError, match=message):
        from_json(change(data), source="x.json")  # type: ignore[operator]


@pytest.mark.parametrize(("version", "fix"), [(1, "write the report again"), (FORMAT_VERSION + 1, "upgrade")])
def test_another_format_version_is_refused(version: int, fix: str) -> None:
    data = {"format": "pytest-wheelcheck", "format_version": version, "files": []}
    with pytest.raises(
        UsageError,
        match=rf"^x\.json has format version {version}; .* reads versions {OLDEST_VERSION} to {FORMAT_VERSION}",
    ) as error:
        from_json(json.dumps(data), source="x.json")
    assert error.value.fix.startswith(fix)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_has_no_external_resources_and_is_well_formed() -> None:
    page = _Page()
    text = html.render(full_report(), (("manylinux_x86_64", "cp313"),))
    page.feed(text)
    page.close()
    assert page.open == []
    assert all(link.startswith("#") for link in page.links)
    assert text.count("<script") == 1
    assert "url(" not in text
    for words in ("missing: <cp313>", "a & b", "1 passed (aarch64)", "needs macOS", "WHL501: no", "assert 1 == 2"):
        assert words in page.text


def test_markdown() -> None:
    text = markdown.render(full_report(), (("manylinux_x86_64", "cp313"),))
    assert "| manylinux_x86_64 | cp312 | yes | ✓ passed | ✓ 1 passed |  |  |  |" in text
    assert "|  | cp313 | ✗ missing |" in text
    assert "missing: \\<cp313\\>" in text
    assert "not run: needs macOS" in text
    assert text.startswith("# Wheels: pkg 1.0\n\n4 wheels, 5 targets: 3 failed.\n")
    assert "failed: assert 1 == 2\n" in text
    assert "interrupted" in markdown.render(replace(full_report(), complete=False))


def test_the_terminal_omits_empty_columns() -> None:
    lines = terminal.matrix_lines(matrix_rows(Report(wheels=full_report().wheels[:1])))
    assert lines == [
        ("platform          interpreter  built  checked  tested natively", {"bold": True}),
        ("manylinux_x86_64  cp312        yes    passed   1 passed", {"green": True}),
    ]
    assert terminal.matrix_lines(()) == []
    markup = [markup for _, markup in terminal.matrix_lines(matrix_rows(full_report()))][1:]
    assert markup == [{"red": True}, {"green": True}, {"yellow": True}, {"yellow": True}, {"red": True}]


# Merging --------------------------------------------------------------------------------------------------------------


def on(
    host: str,
    report: WheelReport,
    *checks: NodeResult,
    targets: tuple[TargetReport, ...] = (),
    missing: str = "",
) -> Report:
    not_run = (NotRun(name="no-target", outcome="skipped", reason=missing, host=host),) if missing else ()
    located = tuple(replace(target, host=host) for target in targets)
    return Report(wheels=(replace(report, checks=checks, targets=located, not_run=not_run),))


ONE = wheel("cp313-cp313-win_amd64", sha256="a")


def test_reports_of_several_hosts_are_joined_by_digest() -> None:
    linux = on("linux", ONE, result("WHL301", warnings=("x",)), result("WHL302", "failed"), missing="needs Windows")
    windows = on(
        "win", ONE, result("WHL301", "skipped"), result("WHL302"), targets=(target("cp313", "win_amd64", *GOOD),)
    )
    for both in ([linux, windows], [windows, linux]):
        (found,) = merge(both).wheels
        assert {check.name: check.outcome for check in found.checks} == {"WHL301": "passed", "WHL302": "failed"}
        assert next(check for check in found.checks if check.name == "WHL301").warnings == ("x",)
        assert [target.host for target in found.targets] == ["win"]
    assert cells(merge([linux, windows]))["win_amd64", "cp313"][2] == "1 passed"


def test_shards_of_one_target_are_one_target() -> None:
    first = on("h", ONE, targets=(target("cp313", "win_amd64", *GOOD),))
    second = on("h", ONE, targets=(target("cp313", "win_amd64", result("tests/test_b.py::test_b", "failed")),))
    (found,) = merge([first, second]).wheels
    assert [len(target.results) for target in found.targets] == [4]
    other = on("other", ONE, targets=(target("cp313", "win_amd64", *GOOD),))
    assert len(merge([first, other]).wheels[0].targets) == 2


def test_the_collected_files_of_both_shards_are_named() -> None:
    here = target("cp313", "win_amd64", *GOOD)
    shards = [
        on("h", ONE, targets=(replace(here, artifacts=artifacts),))
        for artifacts in (("both", "first"), ("both", "second"))
    ]
    (found,) = merge(shards).wheels[0].targets
    assert found.artifacts == ("both", "first", "second")


def test_the_same_name_with_another_content_is_a_problem() -> None:
    found = merge([on("a", ONE, *GOOD[:1]), on("b", replace(ONE, sha256="b"), *GOOD[:1])])
    assert len(found.wheels) == 2
    assert any("2 different files have this name" in line for line in problems(found))


def test_what_fails_a_merged_report() -> None:
    sound = on("a", ONE, result("WHL301"), targets=(target("cp313", "win_amd64", *GOOD),))
    assert problems(sound) == problems(sound, strict=True) == []
    skipped = on("a", ONE, result("WHL301"), missing="needs Windows")
    assert problems(skipped) == []
    assert problems(skipped, strict=True) == [f"{ONE.path}: not run anywhere (needs Windows)"]
    only_skips = on("a", ONE, result("WHL301"), targets=(target("cp313", "win_amd64", result("t.py::t", "skipped")),))
    assert problems(only_skips, strict=True) == [f"{ONE.path}: not run anywhere"]
    assert problems(replace(sound, complete=False)) == ["a run was interrupted"]
    failed = on("a", ONE, result("WHL301", "failed", "WHL301: bad\nmore"))
    assert problems(failed) == [f"{ONE.path}::WHL301: failed: WHL301: bad"]
    shown = "    def test_wrong():\n>       assert f() == 2\nE       assert 1 == 2\n\ntest_it.py:3: AssertionError"
    wrong = on("a", ONE, targets=(target("cp313", "win_amd64", result("t.py::test_wrong", "failed", shown)),))
    assert [line.partition("::test_wrong")[2] for line in problems(wrong)] == [" on a: failed: assert 1 == 2"]
    nothing = on("a", ONE, targets=(target("cp313", "win_amd64"),))
    assert problems(nothing) == [f"{ONE.path}::cp313-win_amd64: nothing was run on a"]
    assert problems(Report(wheels=(ONE, replace(ONE, checks=(), sha256="a")))) == [f"{ONE.path}: no results"]


def test_a_wheel_that_failed_because_it_was_not_run_passes_if_another_host_ran_it() -> None:
    failed = replace(ONE, not_run=(NotRun(name="no-target", outcome="failed", reason="needs Windows"),))
    ran = replace(ONE, targets=(target("cp313", "win_amd64", *GOOD),))
    assert problems(merge([Report(wheels=(failed,))]))
    assert problems(merge([Report(wheels=(failed,)), Report(wheels=(ran,))]), strict=True) == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(OUTCOMES)), max_size=8))
def test_no_order_of_merging_hides_a_failure(results: list[tuple[str, str]]) -> None:
    reports = [on("h", ONE, result(name, outcome)) for name, outcome in results]
    forward, backward = merge(reports), merge(reports[::-1])
    assert bool(problems(forward)) == bool(problems(backward)) == any(o in {"failed", "error"} for _, o in results)
