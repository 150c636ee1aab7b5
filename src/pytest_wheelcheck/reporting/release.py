"""The checks of the release as a whole: the expected wheels, and the metadata against the covered interpreters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename

from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.reporting import expect
from pytest_wheelcheck.reporting.report import Report, WheelReport
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.targets.planning.requires_python import admitted_minors

#: The node of the release in node ids.
RELEASE = "release"

_CLASSIFIER = re.compile(r"Programming Language :: Python :: 3\.(\d{1,2})")
#: The newest minor version that is considered where there is no upper bound.
_MAX_MINOR = 60


def release_results(report: Report) -> list[StepResult]:
    """Check the release as a whole.

    :returns: a result for each node below ``release``.
    """
    results = []
    if report.expect:
        text = _differences(expected_files(report), report)
        results.append(StepResult(name="expect", outcome=Outcome.FAILED if text else Outcome.PASSED, text=text))
    projects = [canonicalize_name(wheel.project) for wheel in report.wheels if wheel.project]
    native = any(not tag.endswith("-any") for wheel in report.wheels for tag in wheel.tags)
    if native and (report.expect or len(set(projects)) < len(projects)):
        # If there is only one wheel of a project, the others are usually built on other machines.
        warnings = tuple(metadata_warnings(report.wheels))
        results.append(StepResult(name="pythons", outcome=Outcome.PASSED, warnings=warnings))
    return results


def expected_files(report: Report) -> expect.Comparison:
    """Compare the files of a report with the expected ones; no differences if nothing is expected."""
    if not report.expect:
        return expect.Comparison()
    return expect.compare(expect.parse(report.expect), _release_files(report))


def _differences(comparison: expect.Comparison, report: Report) -> str:
    if not comparison.missing and not comparison.unexpected:
        return ""
    counts = [f"{len(comparison.missing)} missing"] * bool(comparison.missing)
    counts += [f"{len(comparison.unexpected)} unexpected"] * bool(comparison.unexpected)
    had = _had(comparison, report)
    fixes = ["build the missing wheels"] * bool(comparison.missing)
    fixes += ["remove the unexpected ones"] * bool(comparison.unexpected)
    if set(had) >= set(comparison.missing) and not comparison.unexpected:
        # There are no clauses to correct.
        fixes.append(
            "if they are left out on purpose, name the expected wheels in --wheel-expect (or the key expect) instead of previous"
        )
    else:
        fixes.append("correct the expected wheels (--wheel-expect, or the key expect)")
    lines = [
        f"the release does not match the expected wheels: {', '.join(counts)}",
        *(f"missing: {text}{f', which {had[text]} has' if text in had else ''}" for text in comparison.missing),
        *(f"unexpected: {text}" for text in comparison.unexpected),
        f"Fix: {', or '.join(filter(None, (', '.join(fixes[:-1]), fixes[-1])))}",
    ]
    return "\n".join(lines)


def _had(comparison: expect.Comparison, report: Report) -> dict[str, str]:
    """Return which previous release has a missing wheel, by the text of the comparison."""
    found: dict[str, str] = {}
    for release in report.previous:
        files = [expect.wheel_file(name, release.project) for name in release.wheels]
        for platform, interpreter in comparison.missing_pairs:
            if any(expect.covers(file, (platform, interpreter)) for file in files):
                text = f"{interpreter} on {platform}"
                found |= {text: release.release, f"{release.project}: {text}": release.release}
    return {text: found[text] for text in comparison.missing if text in found}


def _release_files(report: Report) -> list[expect.ReleaseFile]:
    """Return the wheels of a report, and the source distributions of the same projects."""
    wheels = [wheel for wheel in report.wheels if wheel.project]
    projects = {canonicalize_name(wheel.project) for wheel in wheels}
    sdists = []
    for name in report.other_files:
        try:
            project, _ = parse_sdist_filename(name)
        except InvalidSdistFilename:
            continue
        if project in projects:
            sdists.append(expect.ReleaseFile(filename=name, project=project))
    return [*map(_release_file, wheels), *sdists]


def _release_file(wheel: WheelReport) -> expect.ReleaseFile:
    return expect.ReleaseFile(filename=wheel.filename, project=wheel.project, tags=wheel.tags)


def metadata_warnings(wheels: Sequence[WheelReport]) -> list[str]:
    """Compare ``Requires-Python`` and the classifiers of each project with the interpreters that its wheels cover.

    Only projects with wheels for single versions of CPython are compared: in others, every version is covered.
    """
    lines: list[str] = []
    projects: dict[str, list[WheelReport]] = {}
    for wheel in wheels:
        if wheel.project:
            projects.setdefault(canonicalize_name(wheel.project), []).append(wheel)
    for project, own in projects.items():
        files = [_release_file(wheel) for wheel in own]
        covered = [minor for minor in range(_MAX_MINOR) if _is_covered(files, minor)]
        if not covered or covered[-1] == _MAX_MINOR - 1:
            continue
        prefix = f"{project}: " if len(projects) > 1 else ""
        classified = sorted(
            {int(match[1]) for wheel in own for line in wheel.classifiers if (match := _CLASSIFIER.fullmatch(line))}
        )
        if classified:
            if minors := [minor for minor in classified if minor not in covered]:
                lines.append(f"{prefix}the classifiers name {_versions(minors)}, but there is no wheel")
            if minors := [minor for minor in covered if minor not in classified]:
                lines.append(f"{prefix}there are wheels for {_versions(minors)}, which the classifiers do not name")
        for text in dict.fromkeys(wheel.requires_python for wheel in own):
            admitted = _admitted_minors(text)
            if minors := [minor for minor in range(covered[0]) if minor in admitted]:
                lines.append(f"{prefix}Requires-Python is {text}, but there is no wheel for {_versions(minors)}")
    return lines


def _is_covered(files: Sequence[expect.ReleaseFile], minor: int) -> bool:
    interpreter = f"cp3{minor}"
    return any(expect.covers(file, (expect.read_tag(tag).platform, interpreter)) for file in files for tag in file.tags)


def _admitted_minors(requires_python: str | None) -> list[int]:
    """Return the minor versions that a Requires-Python admits; none if it has no lower bound."""
    minors = admitted_minors(requires_python, range(_MAX_MINOR))
    return minors if minors and minors[0] > 0 else []


def _versions(minors: Iterable[int]) -> str:
    return ", ".join(f"3.{minor}" for minor in minors)
