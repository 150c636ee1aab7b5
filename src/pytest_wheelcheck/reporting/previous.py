"""A release compared with the previous one: wheels that were lost, and contents that changed more than a release should."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import canonicalize_name

from pytest_wheelcheck.checks.check import first_names
from pytest_wheelcheck.model import Outcome, Wheel
from pytest_wheelcheck.reporting import expect
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.targets.planning.previous import PreviousRelease

#: Minor versions of CPython that are compared.
_MINORS = range(2, 41)

#: How many times larger a wheel may be.
_GROWTH = 2.0

#: Names that a line lists.
_SHOWN = 3


def clauses(previous: Sequence[PreviousRelease], wheels: Sequence[Wheel]) -> tuple[list[str], list[str]]:
    """Return clauses that expect what the previous releases had, and warnings about interpreters that no wheel is for any more.

    An interpreter that ``Requires-Python`` excludes now is not expected. One that all platforms have lost was probably left
    out on purpose: a warning. One that some platforms have lost is expected.
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
        if platform != "any" and not any(expect.covers(file, pair) for pair in others for file in now):
            lost[interpreter] = None
    found = [f"{interpreter}: {platform}" for platform, interpreter in pairs if interpreter not in lost]
    warnings = [f"no wheel is for {name}, which {previous[0].shown} had wheels for" for name in lost]
    return [*found, expect.OTHERS], warnings


def _admitted(wheels: Sequence[Wheel]) -> list[int]:
    """Return the minor versions that a wheel of the release admits."""
    found = set()
    for text in {wheel.requires_python or "" for wheel in wheels}:
        try:
            specifier = SpecifierSet(text)
        except InvalidSpecifier:
            specifier = SpecifierSet()  # WHL209 reports it
        found |= {minor for minor in _MINORS if any(specifier.contains(f"3.{minor}.{micro}") for micro in (0, 5, 30))}
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


def _changes(now: Wheel, before: Wheel) -> Iterator[str]:
    """Yield what a user of the previous wheel may miss."""
    if now.size > before.size * _GROWTH:
        yield f"a wheel is {now.size / before.size:.0f} times as large"
    gone = [name for name in _modules(before) if name not in set(_modules(now))]
    if gone:
        yield f"{first_names(gone, _SHOWN)} is gone"
    if scripts := sorted({name for name, _ in before.console_scripts} - {name for name, _ in now.console_scripts}):
        yield f"the entry point {first_names(scripts, _SHOWN)} is gone"
    if programs := sorted({*before.scripts} - {*now.scripts}):
        yield f"the program {first_names(programs, _SHOWN)} is gone"
    if requirements := sorted(_requirements(before) - _requirements(now)):
        yield f"{first_names(requirements, _SHOWN)} is not required any more"
    if raised := _raised(now, before):
        yield raised


def _modules(wheel: Wheel) -> list[str]:
    """Return the modules and packages of a wheel by their paths, without the suffix of the interpreter."""
    found = []
    for path in wheel.files:
        if path.endswith((".py", ".so", ".pyd")) and not re.search(r"(?:^|/)(?:tests?|.*\.libs|.*\.data)/", path):
            parent, slash, name = path.rpartition("/")
            found.append(f"{parent}{slash}{name.partition('.')[0]}")
    return found


def _requirements(wheel: Wheel) -> set[str]:
    """Return the names that a plain installation requires."""
    found = set()
    for line in wheel.requires:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # a check reports it
        if "extra" not in str(requirement.marker or ""):
            found.add(str(canonicalize_name(requirement.name)))
    return found


def _raised(now: Wheel, before: Wheel) -> str:
    """Return a line about a platform tag that admits fewer systems; empty if it admits as many."""
    versions: list[dict[tuple[str, str], tuple[int, int]]] = [{}, {}]
    for found, wheel in zip(versions, (now, before), strict=True):
        for platform in wheel.platforms:
            if parsed := expect.parse_platform(platform):
                family, version, architecture = parsed
                found[family, architecture] = min(version, found.get((family, architecture), version))
    for key, version in versions[0].items():
        older = versions[1].get(key)
        if older is not None and older < version:
            family, architecture = key
            numbers = [f"{family}_{major}_{minor}" for major, minor in (older, version)]
            return f"the tag for {architecture} was raised from {numbers[0]} to {numbers[1]}, so older systems cannot install it"
    return ""
