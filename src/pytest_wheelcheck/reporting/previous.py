"""A release compared with the previous one: wheels that were lost, and contents that changed more than a release should."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from packaging.tags import Tag

from pytest_wheelcheck.checks.check import first_names
from pytest_wheelcheck.model import Outcome, Wheel
from pytest_wheelcheck.reporting import expect
from pytest_wheelcheck.reporting.changes import WheelChanges, find_changes, modules, platform_versions, requirements
from pytest_wheelcheck.reporting.report import PreviousReport
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.targets.planning.previous import PreviousRelease
from pytest_wheelcheck.targets.planning.requires_python import admitted_minors

#: Minor versions of CPython that are compared.
_MINORS = range(2, 41)

#: CPython that is not free-threaded, in the syntax of clauses.
_PLAIN = re.compile(r"cp\d+")

#: How many times larger a wheel may be.
_GROWTH = 2.0

#: Names that a line lists.
_SHOWN = 3


def clauses(
    previous: Sequence[PreviousRelease], wheels: Sequence[Wheel], *, partial: bool = False
) -> tuple[list[str], list[str]]:
    """Return clauses that expect what the previous releases had, and warnings about interpreters that no wheel is for any more.

    An interpreter that ``Requires-Python`` excludes now is not expected. CPython is expected otherwise: an installer would
    take the new release for it, and find no wheel. PyPy and free-threaded CPython that all platforms have lost were probably
    left out on purpose: a warning, because ``Requires-Python`` cannot exclude them. So is CPython where a pure wheel is left.

    :param partial: whether the user asked only for a part of the release, which says nothing about the others.
    """
    now = [expect.ReleaseFile(filename="", project="", tags=tuple(map(str, wheel.tags))) for wheel in wheels]
    admitted = _admitted(wheels)
    pairs: dict[expect.Pair, None] = {}
    for release in previous:
        for tags in release.wheels:
            pairs.update(dict.fromkeys(_pairs(tags, admitted)))
    lost: dict[str, None] = {}
    for platform, interpreter in pairs:
        others = [pair for pair in pairs if pair[1] == interpreter]
        if platform == "any" or any(expect.covers(file, pair) for pair in others for file in now):
            continue
        is_pure = any(expect.covers(file, ("any", interpreter)) for file in now)
        if partial or is_pure or not _PLAIN.fullmatch(interpreter):
            lost[interpreter] = None
    found = [f"{interpreter}: {platform}" for platform, interpreter in pairs if interpreter not in lost]
    warnings = [f"no wheel is for {name}, which {previous[0].shown} had wheels for" for name in lost]
    return [*found, expect.OTHERS], warnings


def _admitted(wheels: Sequence[Wheel]) -> list[int]:
    """Return the minor versions that a wheel of the release admits."""
    found: set[int] = set()
    for text in {wheel.requires_python for wheel in wheels}:
        found.update(admitted_minors(text, _MINORS))
    return sorted(found)


def _pairs(tags: Sequence[Tag], admitted: Sequence[int]) -> Iterator[expect.Pair]:
    """Yield the pairs of platform and interpreter that the tags of a wheel are for."""
    file = expect.ReleaseFile(filename="", project="", tags=tuple(map(str, tags)))
    for platform, interpreter in expect.pairs(map(str, tags)):
        if platform == "any" or interpreter.startswith("py"):
            yield platform, interpreter
            continue
        if "abi3" in interpreter:
            # Whichever version it begins with: all later ones can install it.
            yield platform, interpreter.partition("-")[2]
            continue
        for minor in admitted:
            for name in (f"cp3{minor}", f"cp3{minor}t", f"pp3{minor}"):
                if expect.covers(file, (platform, name)):
                    yield platform, name


def previous_result(previous: Sequence[PreviousRelease], warnings: Sequence[str]) -> StepResult:
    """Return the result of the node: warnings about what changed. Wheels that were lost are the node ``expect``.

    :param warnings: of :func:`clauses`.
    """
    lines = [*warnings]
    for release in previous:
        found: dict[str, list[str]] = {}
        for now, before in release.pairs:
            for line in _changes(now, before):
                found.setdefault(line, []).append(now.path.name)
        for line, names in found.items():
            place = "every wheel" if len(names) == len(release.pairs) else first_names(names, _SHOWN)
            lines.append(f"compared with {release.shown}, {line}: {place}")
    shown = ", ".join(release.shown for release in previous)
    return StepResult(
        name=expect.PREVIOUS, outcome=Outcome.PASSED, text=f"compared with {shown}", warnings=tuple(lines)
    )


def previous_reports(previous: Sequence[PreviousRelease]) -> tuple[PreviousReport, ...]:
    """Return what a report says about the previous releases."""
    return tuple(
        PreviousReport(release=release.shown, project=release.project, wheels=release.names) for release in previous
    )


def changes_of(previous: Sequence[PreviousRelease]) -> dict[str, WheelChanges]:
    """Compare wheels with those of the previous releases, by their paths in node ids."""
    return {
        now.shown: find_changes(release.shown, now, before, release.sizes[now.path], release.sizes[before.path])
        for release in previous
        for now, before in release.pairs
    }


def _changes(now: Wheel, before: Wheel) -> Iterator[str]:
    """Yield what a user of the previous wheel may miss."""
    if now.size > before.size * _GROWTH:
        yield f"a wheel is {now.size / before.size:.0f} times as large"
    present = set(modules(now))
    gone = [name for name in modules(before) if name not in present]
    if gone:
        yield f"{first_names(gone, _SHOWN)} is gone"
    if scripts := sorted({name for name, _ in before.console_scripts} - {name for name, _ in now.console_scripts}):
        yield f"the entry point {first_names(scripts, _SHOWN)} is gone"
    if programs := sorted({*before.scripts} - {*now.scripts}):
        yield f"the program {first_names(programs, _SHOWN)} is gone"
    if dependencies := sorted(requirements(before).keys() - requirements(now).keys()):
        yield f"{first_names(dependencies, _SHOWN)} is not required any more"
    for (family, architecture), (old, new) in platform_versions(now, before).items():
        if old < new:
            tags = [f"{family}_{major}_{minor}" for major, minor in (old, new)]
            yield f"the tag for {architecture} was raised from {tags[0]} to {tags[1]}, so older systems cannot install it"
