"""The scientific stack for Windows: published wheels under Wine, with their own tests, compared with those for Linux.

    python tests/windows_stack.py [--only NAME] [OPTIONS OF PYTEST ...]

Run by the tox environment ``windows-stack``. The wheels are downloaded by name and digest and contain their tests. An
outcome that differs from that of the Linux wheel fails the run unless :data:`EXPLAINED` has it. A failure always does, and
so do fewer passed tests than :data:`MINIMUM`.
"""

from __future__ import annotations

import argparse
import collections
import re
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from matrix import fetch, run

from pytest_wheelcheck.reporting import report as reports

#: The interpreter on both sides.
PYTHON = "3.13"

#: Tests of a project that must pass on each side. Without it, two sides that run nothing would be equal.
MINIMUM = 1000


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project, and which of its tests are run.

    :param windows: sha256 of the wheel for Windows.
    :param linux: platform tag and sha256 of the wheel for Linux.
    :param tests: dotted names of its modules and packages of tests.
    :param options: further options of pytest.
    """

    name: str
    version: str
    windows: str
    linux: tuple[str, str]
    tests: tuple[str, ...]
    options: tuple[str, ...] = ()


PROJECTS = (
    Project(
        name="numpy",
        version="2.5.5",
        windows="e0608d1585557b68dcb6a70a41654f7536567960afad79d91752d2863b242b68",
        linux=("manylinux_2_27_x86_64", "824025655df929268bfe6b47ed91a00d14209a6f760847cf150be446829e1ce4"),
        tests=(
            "numpy.linalg",
            "numpy.fft",
            "numpy.polynomial",
            "numpy.random",
            *(
                f"numpy._core.tests.test_{name}"
                for name in ("umath_complex", "numerictypes", "scalarmath", "getlimits", "longdouble", "shape_base")
            ),
        ),
    ),
    Project(
        name="pandas",
        version="3.1.1",
        windows="6d84760cc1bd799440a66b4df2ceb7a508870f3b8b4d8dda21befd62779cd3b4",
        linux=("manylinux_2_24_x86_64", "645fa00fd85cfced2d2c09dc116d3694f578501b1ce4899153fbe64788ecda98"),
        tests=(
            "pandas.tests.test_nanops",
            "pandas.tests.test_take",
            "pandas.tests.test_sorting",
            "pandas.tests.reshape.merge.test_merge",
        ),
    ),
    Project(
        name="scipy",
        version="1.18.1",
        windows="559ed65f60c1af5a03f3912605a1b5114f522c7c32fb23c3376ae8f03219fe28",
        linux=("manylinux_2_27_x86_64", "fdaf5ea890a6183d0565f51a61799d67081bd5b1cf03c5f4b3fd3732108625c9"),
        tests=("scipy.linalg.tests.test_basic", "scipy.fft.tests.test_basic", "scipy.ndimage.tests.test_morphology"),
        # They are half of the tests and take most of the time. They passed on both sides in one run.
        options=("-k", "not TestLstsq and not TestSolve"),
    ),
)

#: Why a test is skipped or missing on one side only: the project, a pattern of node ids and the reason. Failures are never
#: explained here.
EXPLAINED = (
    (
        "numpy",
        "test_names_are_understood_by_dtype|test_names_reflect_attributes|test_stable_ordering|test_scalar_matches_array_op",
        "the same tests with other names: long, by which numpy names a type, has 32 bits on Windows",
    ),
    (
        "numpy",
        "test_repeatability_32bit_boundary_broadcasting|test_randint_117",
        "need a long of 64 bits, which Windows does not have",
    ),
    (
        "numpy",
        "test_int_from_huge_longdouble|test_(array_repr|format|percent)$",
        "about a long double that is longer than double, which it is not on Windows",
    ),
    ("numpy", "TestC(exp|log|sqrt)::test_special_values", "numpy runs it on Linux only"),
    ("numpy", "TestCommaDecimalPointLocale", "needs a French locale: Microsoft's C library has one, this host may not"),
    ("pandas", "test_check_below_min_count_large_shape", "pandas skips it on Windows"),
    ("pandas", "test_returned_dtype", "need a long double that is longer than double, and are named by it"),
)


def outcomes(target: reports.TargetReport) -> dict[str, reports.NodeResult]:
    """Return the results of the tests. The ids of tests in different packages may be the same: these are numbered."""
    seen: collections.Counter[str] = collections.Counter()
    found = {}
    for node in target.results:
        if node.is_test:
            seen[node.name] += 1
            number = f" ({seen[node.name]})" if seen[node.name] > 1 else ""
            found[node.name + number] = node
    return found


def compare(project: Project, report: reports.Report, code: int) -> tuple[str, list[str]]:
    """Compare the two targets.

    :param code: exit status of the run.
    :returns: a line for the table, and one for each failure and each difference that nothing explains.
    """
    targets = {target.system: target for wheel in report.wheels for target in wheel.targets}
    if set(targets) != {"win32", "linux"}:
        return "", [f"{project.name}: there are targets for {', '.join(targets) or 'nothing'}"]
    problems = [
        f"{project.name}: {target.name}::{node.name}: {node.outcome}: {node.text}"
        for target in targets.values()
        for node in target.results
        if not node.is_test and node.outcome in reports.BAD
    ]
    # Only what the report does not have: the failures in it are named.
    if code not in {0, 1} or not report.complete:
        problems.append(
            f"{project.name}: exit status {code}, the report is {'' if report.complete else 'not '}complete"
        )
    windows, linux = (outcomes(targets[system]) for system in ("win32", "linux"))
    for system, side in (("win32", windows), ("linux", linux)):
        passed = sum(node.outcome == "passed" for node in side.values())
        if passed < MINIMUM:
            problems.append(f"{project.name}: {targets[system].name}: {passed} tests passed, at least {MINIMUM} must")
    reasons: collections.Counter[str] = collections.Counter()
    for name in sorted(windows.keys() | linux.keys()):
        pair = [_outcome(side.get(name)) for side in (windows, linux)]
        bad = not reports.BAD.isdisjoint(pair)
        if pair[0] == pair[1] and not bad:
            continue
        reason = next((reason for p, rule, reason in EXPLAINED if p == project.name and re.search(rule, name)), "")
        if bad:
            reason = ""
        reasons[reason] += 1
        if not reason:
            texts = " / ".join(side[name].text.strip()[-300:] for side in (windows, linux) if name in side)
            problems.append(f"{project.name}: {name}: {pair[0]}, on Linux {pair[1]}: {texts}")
    explained = "; ".join(f"{number}: {reason}" for reason, number in reasons.items() if reason) or "none"
    if code and not problems:
        problems.append(f"{project.name}: exit status {code}, and nothing in the report explains it")
    counts = [_counts(list(side.values())) for side in (linux, windows)]
    return f"| {project.name} {project.version} | {counts[0]} | {counts[1]} | {explained} |", problems


def _outcome(node: reports.NodeResult | None) -> str:
    return "missing" if node is None else node.outcome


def _counts(nodes: Collection[reports.NodeResult]) -> str:
    found = collections.Counter(node.outcome for node in nodes)
    each = ", ".join(f"{number} {outcome}" for outcome, number in sorted(found.items()))
    return f"{found.total()} collected: {each}; {sum(node.seconds for node in nodes):.0f} s"


def main() -> int:
    """Download everything, run it, compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    chosen, arguments = parser.parse_known_args()
    lines: list[str] = []
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="windows-stack-") as name:
        for project in (each for each in PROJECTS if chosen.only in each.name):
            directory = Path(name) / project.name
            (directory / "dist").mkdir(parents=True)
            (directory / "empty").mkdir()
            for platform, digest in (("win_amd64", project.windows), project.linux):
                choice = ("--only-binary=:all:", f"--python-version={PYTHON}", f"--platform={platform}")
                fetch(directory / "dist", f"{project.name} {project.version}", digest, *choice)
            options = [
                *(f"--wheel={directory / 'dist'}", f"--wheel-python={PYTHON}", "--wheel-select=WHL101", "-q"),
                # The tests import what they need; the import check of a hundred extension modules would take longer.
                *("-o", f"wheel_import_ignore={project.name}.*"),
                *("--wheel-requires=hypothesis", f"--rootdir={directory / 'empty'}", *project.options),
            ]
            report = directory / "report.json"
            code, seconds = run(
                [*options, *arguments, "--pyargs", *project.tests], directory / "empty", report, project.name
            )
            if not report.exists():
                problems.append(f"{project.name}: exit status {code}")
                continue
            text = report.read_text(encoding="utf-8")
            line, unexplained = compare(project, reports.from_json(text, source=name), code)
            lines.append(f"{line} {seconds:.0f} s |")
            problems += unexplained
    print("\n| wheels | for Linux | for Windows | differences | in all |", "| --- | --- | --- | --- | --- |", sep="\n")
    print(*lines, sep="\n")
    print("", *(problems or ["every outcome equals that of the Linux wheel, or is explained"]), sep="\n")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
