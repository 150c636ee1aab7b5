"""The coverage matrix: what a release is, and how much of that was looked at, computed from outcomes alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from pytest_wheelcheck.reporting import expect
from pytest_wheelcheck.reporting.report import BAD, File, Place, Report, worst

#: Columns of the matrix, as people read them.
COLUMNS = ("built", "checked", "tested natively", "tested under emulation", "tested on a board", "PTY excluded")

#: An interpreter of a tag, with the parts by which it is put in order.
_INTERPRETER = re.compile(r"(?P<kind>[a-z]+)(?P<major>\d)(?P<minor>\d*)(?P<rest>.*)")
_LIBC = {"manylinux": "glibc", "musllinux": "musl"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """What stands in one field of the matrix.

    :param state: ``passed``, ``failed``, ``imported`` (installed and imported, no test of the user's was run),
        ``skipped`` (nothing but skips), ``missing``, ``yes``, ``no``.
    :param text: for people, a few words.
    """

    state: str
    text: str


NONE = Mark(state="no", text="")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One platform and interpreter.

    :param platform: without the version of the C library or system: ``manylinux_x86_64``.
    :param interpreter: ``cp312``, ``cp314t``, ``cp39-abi3``, ``py3``.
    :param marks: one for each of :data:`COLUMNS`.
    :param files: the names of the wheels.
    """

    platform: str
    interpreter: str
    marks: tuple[Mark, ...]
    files: tuple[str, ...]


def rows(report: Report, missing: Iterable[tuple[str, str]] = ()) -> tuple[Row, ...]:
    """Compute the matrix.

    A wheel stands in a row of each of its tags. What an interpreter that no tag names made of it (a wheel for the stable
    ABI on CPython 3.13) stands in the rows of that platform, with the interpreter's name.

    :param missing: pairs of platform and interpreter that were expected and are not there.
    """
    cells: dict[tuple[str, str], tuple[list[File], list[Place]]] = {}
    for file in report.files:
        own = expect.cells(file.tags)
        for cell in own:
            cells.setdefault(cell, ([], []))[0].append(file)
        for place in file.places:
            for platform in place_platforms(file, place):
                named = (platform, place.interpreter)
                general = [cell for cell in own if cell[0] == platform and cell[1] != "py2"]
                for cell in [named] if named in own else general:
                    cells[cell][1].append(place)
    found = [_row(*cell, *content) for cell, content in cells.items()]
    found += [
        Row(
            platform=platform,
            interpreter=interpreter,
            marks=(Mark(state="missing", text="missing"), *[NONE] * (len(COLUMNS) - 1)),
            files=(),
        )
        for platform, interpreter in missing
        if (platform, interpreter) not in cells
    ]
    return tuple(sorted(found, key=lambda row: (_platform_order(row.platform), _interpreter_order(row.interpreter))))


def place_platforms(file: File, place: Place) -> tuple[str, ...]:
    """Tell as which of a wheel's platforms an interpreter installed it."""
    every = dict.fromkeys(
        platform for tag in map(expect.read_tag, file.tags) for platform in expect.families(tag.platform)
    )
    fitting = [platform for platform in every if _is_on(platform, place)]
    return tuple(fitting or list(every)[:1])


def _is_on(platform: str, place: Place) -> bool:
    family, _, arch = platform.partition("_")
    if platform == "any":
        return True
    if family.startswith("win"):
        return place.system == "win32" and platform == place.platform
    systems = {"manylinux": "linux", "musllinux": "linux", "linux": "linux", "macosx": "darwin"}
    libc = _LIBC.get(family)
    return systems.get(family) == place.system and place.architecture == arch and (libc is None or libc == place.libc)


def _row(platform: str, interpreter: str, files: Sequence[File], places: Sequence[Place]) -> Row:
    groups = {how: [place for place in places if place.how == how] for how in ("native", "emulated", "board")}
    excluded = sum(node.excluded_for_pty for place in places for node in place.nodes)
    return Row(
        platform=platform,
        interpreter=interpreter,
        marks=(
            Mark(state="yes", text="yes"),
            _checked(files),
            *(_tested(groups[how], interpreter) for how in ("native", "emulated", "board")),
            Mark(state="skipped", text=_count(excluded, "test")) if excluded else NONE,
        ),
        files=tuple(file.file for file in files),
    )


def _checked(files: Sequence[File]) -> Mark:
    outcomes = [node.outcome for file in files for node in file.checks]
    warnings = sum(len(node.warnings) for file in files for node in file.checks)
    if not outcomes:
        return NONE
    worst_of = worst(outcomes)
    if worst_of in BAD:
        return Mark(state="failed", text=f"{sum(one in BAD for one in outcomes)} failed")
    if worst_of == "skipped":
        return Mark(state="skipped", text="skipped")
    if any(not any(node.outcome != "skipped" for node in file.checks) for file in files):
        return Mark(state="skipped", text="in part")
    return Mark(state="passed", text=f"passed, {_count(warnings, 'warning')}" if warnings else "passed")


def _tested(places: Sequence[Place], interpreter: str) -> Mark:
    """Say how the tests on some targets went: on which interpreters, if not the row's, and machines."""
    if not places:
        return NONE
    states = [place_state(place) for place in places]
    texts: dict[tuple[str, str], list[str]] = {}
    for place, (state, text) in zip(places, states, strict=True):
        other = "" if place.interpreter == interpreter else place.interpreter
        texts.setdefault((state, text), []).extend(filter(None, [f"{other} {place.machine}".strip()]))
    words = [f"{text} ({', '.join(dict.fromkeys(where))})" if where else text for (_, text), where in texts.items()]
    order = ("failed", "no", "skipped", "imported", "passed")
    return Mark(state=min((state for state, _ in states), key=order.index), text="; ".join(words))


def place_state(place: Place) -> tuple[str, str]:
    """Sum up what happened on one target: a state as in :class:`Mark`, and a few words."""
    bad = sum(node.outcome in BAD for node in place.nodes)
    tests = [node for node in place.nodes if node.is_test]
    good = sum(node.outcome in {"passed", "xfailed", "xpassed"} for node in tests)
    if bad:
        return "failed", f"{bad} failed, {good} passed" if good else f"{bad} failed"
    if good:
        return "passed", f"{good} passed"
    if any(node.outcome == "passed" for node in place.nodes):
        return "imported", "installed and imported" if not tests else "imported, tests skipped"
    return ("skipped", "skipped") if place.nodes else ("no", "nothing was run")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _platform_order(platform: str) -> tuple[int, str]:
    families = ("any", "manylinux", "musllinux", "linux", "macosx", "win")
    return next((at for at, family in enumerate(families) if platform.startswith(family)), len(families)), platform


def _interpreter_order(name: str) -> tuple[int, int, str]:
    found = _INTERPRETER.fullmatch(name)
    if found is None:
        return len(name), 0, name
    kinds = {"cp": 0, "py": 1, "pp": 2}
    return kinds.get(found["kind"], 3), int(found["minor"] or 0), found["rest"]


# --- the release against its metadata ------------------------------------------------------------------------------------

_CLASSIFIER = re.compile(r"Programming Language :: Python :: 3\.(\d{1,2})")
#: Newest minor version that is thought of where no upper bound is told.
_LAST = 60


def metadata_warnings(files: Sequence[File]) -> list[str]:
    """Compare ``Requires-Python`` and the classifiers of each project with the interpreters that its wheels cover.

    Only projects with wheels for single versions of CPython are judged: for others every version is covered.
    """
    lines: list[str] = []
    projects: dict[str, list[File]] = {}
    for file in files:
        if file.name:
            projects.setdefault(canonicalize_name(file.name), []).append(file)
    for project, own in projects.items():
        given = [expect.Given(file=file.file, name=file.name, tags=file.tags) for file in own]
        covered = [minor for minor in range(_LAST) if _covers_somewhere(given, minor)]
        if not covered or covered[-1] == _LAST - 1:
            continue
        prefix = f"{project}: " if len(projects) > 1 else ""
        classified = sorted(
            {int(found[1]) for file in own for one in file.classifiers if (found := _CLASSIFIER.fullmatch(one))}
        )
        if classified:
            if more := [minor for minor in classified if minor not in covered]:
                lines.append(f"{prefix}the classifiers name {_versions(more)}, for which there is no wheel")
            if more := [minor for minor in covered if minor not in classified]:
                lines.append(f"{prefix}there are wheels for {_versions(more)}, which the classifiers do not name")
        for text in dict.fromkeys(file.requires_python for file in own):
            allowed = _allowed(text)
            if more := [minor for minor in range(covered[0]) if allowed is not None and minor in allowed]:
                lines.append(f"{prefix}Requires-Python is {text}, and there is no wheel for {_versions(more)}")
    return lines


def _covers_somewhere(files: Sequence[expect.Given], minor: int) -> bool:
    wanted = f"cp3{minor}"
    return any(expect.covers(file, (expect.read_tag(tag).platform, wanted)) for file in files for tag in file.tags)


def _allowed(text: str | None) -> list[int] | None:
    """Tell the minor versions that a Requires-Python admits; ``None`` where it names no lower bound."""
    try:
        specifier = SpecifierSet(text or "")
    except InvalidSpecifier:
        return None  # WHL209 tells it
    found = [minor for minor in range(_LAST) if any(specifier.contains(f"3.{minor}.{micro}") for micro in (0, 5, 30))]
    return found if found and found[0] > 0 else None


def _versions(minors: Iterable[int]) -> str:
    return ", ".join(f"3.{minor}" for minor in minors)
