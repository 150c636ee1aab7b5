"""The release matrix: the wheels of a release, and where each was checked and tested; computed from outcomes alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_wheelcheck.reporting import expect
from pytest_wheelcheck.reporting.report import BAD, Report, TargetReport, WheelReport, worst

#: Headings of the columns behind platform and interpreter.
COLUMNS = ("built", "checked", "tested natively", "tested under emulation", "tested on a board", "PTY excluded")

#: The columns of :data:`COLUMNS` about tests, by kind of execution.
_EXECUTIONS = ("native", "emulated", "board")

#: An interpreter of a tag, with the parts by which it is sorted.
_INTERPRETER = re.compile(r"(?P<kind>[a-z]+)(?P<major>\d)(?P<minor>\d*)(?P<rest>.*)")
_LIBC = {"manylinux": "glibc", "musllinux": "musl"}
_SYSTEMS = {"manylinux": "linux", "musllinux": "linux", "linux": "linux", "macosx": "darwin"}
#: Families of platforms in the order of the rows.
_FAMILIES = ("any", "manylinux", "musllinux", "linux", "macosx", "win")
#: States of targets, the most important first.
_STATES = ("failed", "no", "skipped", "imported", "passed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A cell of the matrix.

    :param state: ``passed``, ``failed``, ``imported`` (installed and imported, but no test ran), ``skipped`` (only
        skips), ``missing``, ``yes``, ``no``.
    :param text: a few words.
    """

    state: str
    text: str


#: The text of a cell whose wheel was imported, and has no tests.
IMPORTED = "installed and imported"

EMPTY = Cell(state="no", text="")


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixRow:
    """A row of the matrix: one platform and interpreter.

    :param platform: without the version of the C library or system: ``manylinux_x86_64``.
    :param interpreter: ``cp312``, ``cp314t``, ``cp39-abi3``, ``py3``.
    :param cells: one for each of :data:`COLUMNS`.
    :param filenames: the names of the wheels.
    """

    platform: str
    interpreter: str
    cells: tuple[Cell, ...]
    filenames: tuple[str, ...]

    @property
    def is_tested(self) -> bool:
        """Whether a cell about tests is not empty."""
        return any(cell.text for cell in self.cells[2 : 2 + len(_EXECUTIONS)])


def matrix_rows(report: Report, missing: Iterable[expect.Pair] = ()) -> tuple[MatrixRow, ...]:
    """Compute the matrix.

    A wheel is in a row for each of its tags. Results on an interpreter that no tag names (a wheel for the stable ABI on
    CPython 3.13) are in the rows of that platform, with the name of the interpreter.

    :param missing: expected pairs of platform and interpreter without a wheel.
    """
    contents: dict[expect.Pair, tuple[list[WheelReport], list[TargetReport]]] = {}
    for wheel in report.wheels:
        pairs = expect.pairs(wheel.tags)
        for pair in pairs:
            contents.setdefault(pair, ([], []))[0].append(wheel)
        for target in wheel.targets:
            for platform in target_platforms(wheel, target):
                exact = (platform, target.interpreter)
                general = [pair for pair in pairs if pair[0] == platform and pair[1] != "py2"]
                for pair in [exact] if exact in pairs else general:
                    contents[pair][1].append(target)
    rows = [_row(pair, *content) for pair, content in contents.items()]
    rows += [
        MatrixRow(
            platform=platform,
            interpreter=interpreter,
            cells=(Cell(state="missing", text="missing"), *[EMPTY] * (len(COLUMNS) - 1)),
            filenames=(),
        )
        for platform, interpreter in missing
        if (platform, interpreter) not in contents
    ]
    return tuple(sorted(rows, key=lambda row: (_platform_order(row.platform), interpreter_order(row.interpreter))))


def target_platforms(wheel: WheelReport, target: TargetReport) -> tuple[str, ...]:
    """Return the platforms of a wheel's tags for which a target installed it."""
    platforms = dict.fromkeys(
        platform for tag in map(expect.read_tag, wheel.tags) for platform in expect.families(tag.platform)
    )
    fitting = [platform for platform in platforms if _fits(platform, target)]
    return tuple(fitting or list(platforms)[:1])


def _fits(platform: str, target: TargetReport) -> bool:
    family, _, arch = platform.partition("_")
    if platform == "any":
        return True
    if family.startswith("win"):
        return platform == target.platform
    libc = _LIBC.get(family, target.libc)
    return _SYSTEMS.get(family) == target.system and target.architecture == arch and libc == target.libc


def _row(pair: expect.Pair, wheels: Sequence[WheelReport], targets: Sequence[TargetReport]) -> MatrixRow:
    platform, interpreter = pair
    tested = (
        _tested([target for target in targets if target.execution == execution], interpreter)
        for execution in _EXECUTIONS
    )
    skipped = sum(result.skipped_for_pty for target in targets for result in target.results)
    return MatrixRow(
        platform=platform,
        interpreter=interpreter,
        cells=(
            Cell(state="yes", text="yes"),
            _checked(wheels),
            *tested,
            Cell(state="skipped", text=_count(skipped, "test")) if skipped else EMPTY,
        ),
        filenames=tuple(wheel.filename for wheel in wheels),
    )


def _checked(wheels: Sequence[WheelReport]) -> Cell:
    """Summarize the static checks of some wheels."""
    outcomes = [check.outcome for wheel in wheels for check in wheel.checks]
    warnings = sum(len(check.warnings) for wheel in wheels for check in wheel.checks)
    if not outcomes:
        return EMPTY
    if worst(outcomes) in BAD:
        return Cell(state="failed", text=", ".join(_bad(outcomes)))
    if worst(outcomes) == "skipped":
        return Cell(state="skipped", text="skipped")
    if any(all(check.outcome == "skipped" for check in wheel.checks) for wheel in wheels):
        return Cell(state="skipped", text="in part")
    return Cell(state="passed", text=f"passed, {_count(warnings, 'warning')}" if warnings else "passed")


def _tested(targets: Sequence[TargetReport], interpreter: str) -> Cell:
    """Summarize the tests on some targets, with the interpreter if it is not that of the row, and the machine."""
    if not targets:
        return EMPTY
    locations: dict[Cell, list[str]] = {}
    for target in targets:
        other = "" if target.interpreter == interpreter else target.interpreter
        locations.setdefault(target_state(target), []).extend(filter(None, [f"{other} {target.machine}".strip()]))
    texts = [
        f"{cell.text} ({', '.join(dict.fromkeys(names))})" if names else cell.text for cell, names in locations.items()
    ]
    return Cell(state=min((cell.state for cell in locations), key=_STATES.index), text="; ".join(texts))


def target_state(target: TargetReport) -> Cell:
    """Summarize the results on one target."""
    tests = [result for result in target.results if result.is_test]
    passed = sum(result.outcome in {"passed", "xfailed", "xpassed"} for result in tests)
    bad = _bad([result.outcome for result in tests])
    checks = _bad([result.outcome for result in target.results if not result.is_test], "check")
    if bad or checks:
        return Cell(state="failed", text=", ".join([*bad, *[f"{passed} passed"] * bool(passed), *checks]))
    if passed:
        return Cell(state="passed", text=f"{passed} passed")
    if any(result.outcome == "passed" for result in target.results):
        return Cell(state="imported", text="imported, tests skipped" if tests else IMPORTED)
    return Cell(state="skipped", text="skipped") if target.results else Cell(state="no", text="nothing was run")


def _bad(outcomes: Sequence[str], noun: str = "") -> list[str]:
    """Count failures, which are faults of the wheel, apart from errors, which may have other causes."""
    failed, errors = outcomes.count("failed"), outcomes.count("error")
    if not noun:
        return [f"{failed} failed"] * bool(failed) + [_count(errors, "error")] * bool(errors)
    with_errors = f"{_count(errors, noun)} with {'an error' if errors == 1 else 'errors'}"
    return [f"{_count(failed, noun)} failed"] * bool(failed) + [with_errors] * bool(errors)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _platform_order(platform: str) -> tuple[int, str]:
    order = (index for index, family in enumerate(_FAMILIES) if platform.startswith(family))
    return next(order, len(_FAMILIES)), platform


def interpreter_order(name: str) -> tuple[int, int, str]:
    """Return the place of an interpreter among the rows of a platform."""
    match = _INTERPRETER.fullmatch(name)
    if match is None:
        return len(name), 0, name
    kinds = {"cp": 0, "py": 1, "pp": 2}
    return kinds.get(match["kind"], 3), int(match["minor"] or 0), match["rest"]
