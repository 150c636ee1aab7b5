"""The time of a run: a bar for each step of each target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_wheelcheck.reporting.html.parts import FAILED, PASSED, SKIPPED, Limits, count, more, show, show_name
from pytest_wheelcheck.reporting.matrix import target_state
from pytest_wheelcheck.reporting.report import Report, Timing
from pytest_wheelcheck.system.timing import STEPS

#: Units of the width of the drawing, and parts of the axis.
_WIDTH, _PARTS = 1000, 4
#: Rows above which the section is closed at first.
_OPEN_ROWS = 40
_HEIGHT = 10

#: What readers call the steps, where it is not the name itself.
WORDS = {
    "checks": "static checks",
    "install": "installation",
    "imports": "import check",
    "tools": "test tools",
    "boot": "start of pytest",
    "end": "end of the session",
}

_Row = tuple[str, str, str, Sequence[Timing]]


def waterfall(report: Report, limits: Limits) -> Iterator[str]:
    """Yield the drawing; nothing if no times are known."""
    rows = list(_rows(report))
    total = max((timing.end for *_, timings in rows for timing in timings), default=0.0)
    if not total:
        return
    used = {timing.name for *_, timings in rows for timing in timings}
    yield f"<details{' open' * (len(rows) <= _OPEN_ROWS)}><summary>{total:.1f} s, {count(len(rows), 'row')}</summary><div>"
    legend = "".join(f'<li><i class="s-{name}"></i>{WORDS.get(name, name)}</li>' for name in STEPS if name in used)
    yield f'<ul class="legend">{legend}</ul>'
    if len({target.host for wheel in report.wheels for target in wheel.targets}) > 1:
        yield '<p class="soft">Each host has a clock of its own, which begins with its run.</p>'
    axis = "".join(f"<span>{total * part / _PARTS:.{1 if total < 100 else 0}f} s</span>" for part in range(_PARTS + 1))
    yield f'<div class="row axis"><span></span><div>{axis}</div></div>'
    for title, name, state, timings in rows[: limits.steps]:
        yield f'<div class="row" data-o="{state}"><span title="{show_name(title, limits)}">{show_name(name, limits)}</span>'
        yield f"{_bars(timings, total)}</div>"
    yield from more(len(rows) - limits.steps, "row", "p")
    yield "</div></details>"


def _rows(report: Report) -> Iterator[_Row]:
    if report.timings:
        yield "the whole run", "the run", PASSED, report.timings
    several = len(report.wheels) > 1
    one_release = len({(wheel.project, wheel.version) for wheel in report.wheels}) == 1
    for wheel in report.wheels:
        short = wheel.filename
        if one_release:
            short = short.removeprefix(f"{wheel.project}-{wheel.version}-").removesuffix(".whl")
        for target in wheel.targets:
            state = target_state(target).state
            name = f"{target.name}{f' on {target.host}' if target.host else ''}"
            shown = f"{name}, {short}" if several else name
            shown_state = state if state in {FAILED, SKIPPED} else PASSED
            timings = (*wheel.timings, *target.timings)
            if timings:
                yield f"{wheel.filename}: {name}", shown, shown_state, timings
        if wheel.timings and not wheel.targets:
            yield wheel.filename, short, FAILED if wheel.failures else PASSED, wheel.timings


def _bars(timings: Sequence[Timing], total: float) -> str:
    """Draw bars, one below the other where they overlap."""
    ends: list[float] = []
    rects, texts = [], []
    for timing in sorted(timings, key=lambda each: each.start):
        lane = next((index for index, end in enumerate(ends) if end <= timing.start), len(ends))
        ends[lane : lane + 1] = [timing.end]
        left, right = (round(_WIDTH * value / total, 1) for value in (timing.start, timing.end))
        width = round(max(right - left, 1.0), 1)
        rects.append(
            f'<rect class="s-{timing.name}" x="{left:g}" y="{lane * _HEIGHT}" width="{width:g}" height="{_HEIGHT}"/>'
        )
        texts.append(f"{WORDS.get(timing.name, timing.name)} {timing.end - timing.start:.2f} s")
    lanes = max(len(ends), 1)
    return (
        f'<svg class="l{min(lanes, 4)}" viewBox="0 0 {_WIDTH} {lanes * _HEIGHT}" preserveAspectRatio="none" role="img">'
        f"<title>{show(', '.join(texts))}</title>{''.join(rects)}</svg>"
    )
