"""Puts each test of a report side by side for all targets: where it fails, what these targets share, and where it is slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from pytest_wheelcheck.reporting.report import BAD, NodeResult, Report, TargetReport, WheelReport, worst

#: A test is slow on a target if it takes this many times as long as the median of the others, and so many seconds longer.
SLOW_RATIO, SLOW_SECONDS = 4.0, 1.0

#: Seconds below which ratios mean nothing, and tests that show what is usual on a target.
_MIN_SECONDS, _MIN_TESTS = 0.001, 3

#: Failing targets that a summary names.
_NAMED = 5

#: What targets can share, with the words for a sentence.
_SHARED = (
    ("libc", "{}"),
    ("system", "{}"),
    ("architecture", "{}"),
    ("interpreter", "{}"),
    ("execution", "{} targets"),
    ("machine", "{}"),
    ("host", "{}"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A target of a wheel.

    :param name: such that it differs from the other columns.
    """

    name: str
    wheel: WheelReport
    target: TargetReport


@dataclass(frozen=True, kw_only=True, slots=True)
class Slow:
    """A target on which a test is slow.

    :param ratio: of its time to the median of the others.
    """

    column: Column
    seconds: float
    ratio: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A test on all targets.

    :param results: one for each column; ``None`` where it was not run.
    :param summary: where it failed, in words.
    :param differs: whether it failed on some targets, and not on all where it was run.
    """

    name: str
    results: tuple[NodeResult | None, ...]
    summary: str
    differs: bool
    slow: Slow | None

    @property
    def outcome(self) -> str:
        """The worst outcome."""
        return worst(result.outcome for result in self.results if result is not None)


def columns(report: Report) -> tuple[Column, ...]:
    """Return the targets on which a test was run, with names that differ."""
    found = [
        (wheel, target)
        for wheel in report.wheels
        for target in wheel.targets
        if any(result.is_test for result in target.results)
    ]
    counts = Counter(target.name for _, target in found)
    return tuple(
        Column(
            name=target.name if counts[target.name] == 1 else f"{target.name} of {wheel.filename}{_on(target)}",
            wheel=wheel,
            target=target,
        )
        for wheel, target in found
    )


def _on(target: TargetReport) -> str:
    return f" on {target.host}" if target.host else ""


def rows(found: Sequence[Column]) -> tuple[Row, ...]:
    """Return a row for each test: first what differs between targets, then what failed, then what is slow, then the others."""
    outcomes = [{result.name: result for result in column.target.results if result.is_test} for column in found]
    names = dict.fromkeys(name for each in outcomes for name in each)
    results = {name: tuple(each.get(name) for each in outcomes) for name in names}
    factors = _factors(results.values(), len(found))
    return tuple(sorted((_row(name, each, found, factors) for name, each in results.items()), key=_order))


def _order(row: Row) -> int:
    failed = row.outcome in BAD
    return 0 if row.differs else 1 if failed else 2 if row.slow else 3


def _row(name: str, results: tuple[NodeResult | None, ...], found: Sequence[Column], factors: Sequence[float]) -> Row:
    bad = [column for column, result in zip(found, results, strict=True) if result and result.outcome in BAD]
    good = [column for column, result in zip(found, results, strict=True) if result and result.outcome not in BAD]
    skipped = sum(result is not None and result.outcome == "skipped" for result in results)
    return Row(
        name=name,
        results=results,
        summary=_summary(bad, good, skipped),
        differs=bool(bad) and len(good) > skipped,
        slow=_slow(results, found, factors),
    )


def _summary(bad: Sequence[Column], good: Sequence[Column], skipped: int) -> str:
    passed = len(good) - skipped
    parts = []
    if bad and passed:
        shared = _what_is_shared(bad, good)
        where = f"{shared} only" if shared else ", ".join(column.name for column in bad[:_NAMED])
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED and not shared else ""
        number = f" ({len(bad)} targets)" if shared and len(bad) > 1 else ""
        parts += [f"fails on {where}{more}{number}", f"passes on {passed}"]
    elif bad:
        parts.append(f"fails on all {len(bad)} targets" if len(bad) > 1 else f"fails on {bad[0].name}")
    elif passed:
        parts.append(f"passes on {'all ' * (passed > 1 and not skipped)}{passed} target{'s' * (passed != 1)}")
    if skipped:
        parts.append(f"skipped on {skipped}")
    return ", ".join(parts)


def _what_is_shared(bad: Sequence[Column], good: Sequence[Column]) -> str:
    """Name what the failing targets have in common and no other has: ``musl``, ``cp314t``, or the only target."""
    for attribute, words in _SHARED:
        values = {getattr(column.target, attribute) for column in bad}
        others = {getattr(column.target, attribute) for column in good}
        if len(values) == 1 and not values & others and (value := values.pop()):
            return words.format(value)
    return bad[0].name if len(bad) == 1 else ""


def _factors(table: Iterable[tuple[NodeResult | None, ...]], count: int) -> list[float]:
    """Return how many times slower each target usually is than the median of the others: an emulator is slow in all tests."""
    ratios: list[list[float]] = [[] for _ in range(count)]
    for row in table:
        for index, seconds, others in _times(row):
            if others > _MIN_SECONDS:
                ratios[index].append(seconds / others)
    # Of few tests, the slow one itself would be what is usual.
    return [max(median(each), 1.0) if len(each) >= _MIN_TESTS else 1.0 for each in ratios]


def _times(results: Sequence[NodeResult | None]) -> Iterator[tuple[int, float, float]]:
    """Yield the position, the seconds of a test there, and the median of the others."""
    own = [
        (result.seconds, index)
        for index, result in enumerate(results)
        if result is not None and result.outcome in {"passed", "failed"}
    ]
    own.sort()
    for position, (seconds, index) in enumerate(own):
        # The median of a sorted list without one element, of which there may be hundreds.
        left = len(own) - 1
        if left:
            low, high = ((left - 1) // 2, left // 2)
            yield index, seconds, sum(own[each + (each >= position)][0] for each in (low, high)) / 2


def _slow(results: Sequence[NodeResult | None], found: Sequence[Column], factors: Sequence[float]) -> Slow | None:
    """Return the one target on which a test is slow, compared with the others and with what is usual on that target."""
    slow = []
    for index, seconds, others in _times(results):
        expected = max(others, _MIN_SECONDS)
        usual = expected * factors[index]
        if seconds > usual * SLOW_RATIO and seconds - usual > SLOW_SECONDS:
            slow.append(Slow(column=found[index], seconds=seconds, ratio=seconds / expected))
    return slow[0] if len(slow) == 1 else None
