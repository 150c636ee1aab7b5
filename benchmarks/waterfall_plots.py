"""Draws where the time of a run goes, as SVG files: a row for each step, and the other side for comparison."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import waterfalls

from pytest_wheelcheck.reporting.html.waterfall import WORDS

#: Units: the picture, where its bars begin and end, and the heights of a row, of a bar in it, and of the axis.
_WIDTH, _LEFT, _RIGHT, _ROW, _BAR, _AXIS = 640, 172, 556, 21, 13, 30

#: Characters of a title in a line, and the largest number of marks on the axis.
_LINE, _MARKS = 60, 6

#: A picture brings its background, so it is readable on every page. A narrow screen shrinks it, so letters grow.
_STYLE = """
.back { fill: #ffffff } .title { stroke: #ffffff } text { fill: #24292f } .faint { fill: #57606a } .grid { stroke: #d0d7de }
.step { fill: #0969da } .around { fill: #8c959f } .other { fill: #bc4c00 } .total { stroke: #bc4c00 }
@media (prefers-color-scheme: dark) {
.back { fill: #161b22 } .title { stroke: #161b22 } text { fill: #e6edf3 } .faint { fill: #9198a1 } .grid { stroke: #3d444d }
.step { fill: #58a6ff } .around { fill: #656c76 } .other { fill: #f0883e } .total { stroke: #f0883e }
}
text { font: 13px sans-serif } .title { font-weight: bold; stroke-width: 5; paint-order: stroke } line { stroke-width: 1 }
.total { stroke-dasharray: 4 4; stroke-width: 1.5 }
@media (max-width: 480px) { text { font-size: 18px } }
"""

#: The name of a row, the class of its bars, and their starts and ends.
_Row = tuple[str, str, list[tuple[float, float]]]


def write(directory: Path, cases: Sequence[dict[str, Any]]) -> None:
    """Write the picture of each case that has one, and remove all others."""
    drawn = {waterfalls.file_name(case): draw(case) for case in cases if case.get("waterfall")}
    for path in directory.glob("waterfall-*.svg"):
        if path.name not in drawn:
            path.unlink()
    for name, text in drawn.items():
        (directory / name).write_text(text, encoding="utf-8")


def draw(case: dict[str, Any]) -> str:
    """Return the picture of a case.

    The axis begins with the process. The other side begins there, too, or with the step that is compared.
    """
    groups = list(_groups(case))
    end = max(bar_end for _, rows in groups for *_, bars in rows for _, bar_end in bars)
    step = _step(end)
    marks = [number * step for number in range(math.floor(end / step + 1e-9) + 1)]

    def across(seconds: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * seconds / end

    body: list[str] = []
    y = float(_AXIS)
    for title, rows in groups:
        for line in textwrap.wrap(title, _LINE):
            y += _ROW
            body.append(f'<text class="title" x="8" y="{y - 5:.0f}">{escape(line)}</text>')
        for name, kind, bars in rows:
            y += _ROW
            body.append(f'<text class="faint" x="8" y="{y - 5:.0f}">{escape(name)}</text>')
            lanes, seconds = _lanes(bars)
            bar_height, gap = _BAR / len(lanes), int(len(lanes) > 1)
            for number, lane in enumerate(lanes):
                for first, last in lane:
                    x, width = across(first), max(across(last) - across(first), 1.5)
                    place = f'x="{x:.1f}" y="{y - 17 + number * bar_height:.1f}"'
                    body.append(f'<rect class="{kind}" {place} width="{width:.1f}" height="{bar_height - gap:.1f}"/>')
            body.append(f'<text x="{_WIDTH - 8}" y="{y - 5:.0f}" text-anchor="end">{seconds:.2f} s</text>')
        y += 6
    height = round(y) + 4
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    # From the bar of the other side to the last row.
    total, top = across(groups[0][1][0][2][0][1]), _AXIS + _ROW * len(textwrap.wrap(groups[0][0], _LINE)) + 4
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>Where the time goes: {escape(_plain(case['title']))}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="back" width="{_WIDTH}" height="{height}" rx="6"/>',
            *_axis([(seconds, across(seconds)) for seconds in marks], step, height),
            *body,
            f'<line class="total" x1="{total:.1f}" x2="{total:.1f}" y1="{top}" y2="{height - 8}"/>',
            "</svg>\n",
        ]
    )


def _lanes(bars: Sequence[tuple[float, float]]) -> tuple[list[list[tuple[float, float]]], float]:
    """Divide bars, such as those of several workers, so that they do not overlap; return also the seconds that they cover."""
    lanes: list[list[tuple[float, float]]] = []
    seconds = end = 0.0
    for bar in sorted(bars):
        lane = next((lane for lane in lanes if lane[-1][1] <= bar[0]), None)
        if lane is None:
            lanes.append([bar])
        else:
            lane.append(bar)
        seconds += max(bar[1] - max(bar[0], end), 0.0)
        end = max(end, bar[1])
    return lanes, seconds


def _axis(marks: Sequence[tuple[float, float]], step: float, height: int) -> Iterator[str]:
    digits = max(0, -math.floor(math.log10(step)))
    for seconds, x in marks:
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_AXIS}" y2="{height - 8}"/>'
        text = f"{seconds:.{digits}f}{' s' if seconds == marks[-1][0] else ''}"
        yield f'<text class="faint" x="{x:.1f}" y="{_AXIS - 8}" text-anchor="middle">{text}</text>'


def _step(end: float) -> float:
    """Return the distance of the marks on an axis: 1, 2 or 5, and zeros."""
    power = 10.0 ** math.floor(math.log10(end / _MARKS))
    return next(power * factor for factor in (1, 2, 5, 10) if end <= power * factor * _MARKS)


def _groups(case: dict[str, Any]) -> Iterator[tuple[str, list[_Row]]]:
    """Yield the titles and rows of the picture, the other side first."""
    found = case["waterfall"]
    shift, whole = found["before"], found["seconds"]
    (_, run), *others = waterfalls.groups(found)
    begin = 0.0
    if found["step"]:
        begin = shift + min(step["start"] for _, steps in others for step in steps if step["name"] == found["step"])
    yield _plain(case["against"]), [("the other side", "other", [(begin, begin + case["other"])])]
    around: list[_Row] = [("before the plugin", "around", [(0.0, shift)])]
    after: _Row = ("after the last step", "around", [(whole - found["after"], whole)])
    yield "this plugin", [("the whole run", "step", [(0.0, whole)]), *around, *_rows(run, shift), after]
    for name, steps in others:
        yield name, list(_rows(steps, shift))


def _rows(steps: Sequence[dict[str, Any]], shift: float) -> Iterator[_Row]:
    """Yield a row for each name of a step, by its first start."""
    bars: dict[str, list[tuple[float, float]]] = {}
    for step in sorted(steps, key=lambda each: float(each["start"])):
        bars.setdefault(step["name"], []).append((shift + step["start"], shift + step["end"]))
    yield from ((WORDS.get(name, name), "step", found) for name, found in bars.items())


def _plain(text: str) -> str:
    return text.replace("`", "")
