"""Draws how time and memory grow, as an SVG file: small multiples with logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

#: Pixels: a panel, the space around it, and its distance from the edge of the picture.
_WIDTH, _HEIGHT, _LEFT, _TOP = 280, 120, 62, 46
_ACROSS, _DOWN = _WIDTH + 90, _HEIGHT + 76

#: A picture brings its background, so it is readable on every page.
_STYLE = """
.back { fill: #ffffff } .text { fill: #24292f } .faint { fill: #57606a } .grid { stroke: #d0d7de } .linear { stroke: #8c959f }
.seconds, .controller { stroke: #0969da } .tree { stroke: #bc4c00 }
.f-seconds, .f-controller { fill: #0969da } .f-tree { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
.back { fill: #161b22 } .text { fill: #e6edf3 } .faint { fill: #9198a1 } .grid { stroke: #3d444d } .linear { stroke: #656c76 }
.seconds, .controller { stroke: #58a6ff } .tree { stroke: #f0883e }
.f-seconds, .f-controller { fill: #58a6ff } .f-tree { fill: #f0883e }
}
text { font: 11px sans-serif } .title { font-weight: bold } path { fill: none; stroke-width: 1.8 } line { stroke-width: 1 }
.linear { stroke-dasharray: 4 4 }
"""

_LABELS = {"seconds": "time (s)", "controller": "controller (MB)", "tree": "all processes (MB)"}


def draw(results: Sequence[dict[str, Any]]) -> str:
    """Return a picture with a row for each axis: its time, and its memory.

    :param results: those of :func:`growth.result`.
    """
    width, height = 2 * _ACROSS, _DOWN * len(results) + 10
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        "<title>Time and memory by the size of what a run is given</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{width}" height="{height}" rx="6"/>',
    ]
    for row, axis in enumerate(results):
        for column, fields in enumerate((("seconds",), ("controller", "tree"))):
            body += _panel(axis, fields, column * _ACROSS + _LEFT, row * _DOWN + _TOP)
    return "\n".join([*body, "</svg>"]) + "\n"


def _panel(axis: dict[str, Any], fields: Sequence[str], left: float, top: float) -> Iterator[str]:
    sizes = [float(point["size"]) for point in axis["points"]]
    values = [point[field] for field in fields for point in axis["points"]]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    first, last = math.log10(sizes[0]), math.log10(sizes[-1])

    def across(size: float) -> float:
        return left + _WIDTH * (math.log10(size) - first) / (last - first)

    def down(value: float) -> float:
        return top + _HEIGHT * (high - math.log10(value)) / (high - low)

    x = left
    for number, field in enumerate(("title", *fields)):
        label = axis["unit"] if number == 0 else _LABELS[field]
        kind = "text title" if number == 0 else f"f-{field}"
        if number < 2:
            x = left
        yield f'<text class="{kind}" x="{x:.0f}" y="{top - (24 if number == 0 else 8):.0f}">{escape(label)}</text>'
        x += 6.2 * len(label) + 14
    for power in range(low, high + 1):
        y = down(10.0**power)
        yield f'<line class="grid" x1="{left}" x2="{left + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="faint" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
    for size in sizes:
        x = across(size)
        yield f'<text class="faint" x="{x:.1f}" y="{top + _HEIGHT + 16}" text-anchor="middle">{size:,.0f}</text>'
    for field in fields:
        points = [(across(point["size"]), down(point[field])) for point in axis["points"]]
        yield f'<path class="{field}" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>'
        yield from (f'<circle class="f-{field}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points)
    # Linear growth up to the largest value, as far as it is in the picture.
    end = axis["points"][-1][fields[-1]]
    begin = max(sizes[0], sizes[-1] * 10.0**low / end)
    start = end * begin / sizes[-1]
    yield (
        f'<line class="linear" x1="{across(begin):.1f}" y1="{down(start):.1f}" '
        f'x2="{across(sizes[-1]):.1f}" y2="{down(end):.1f}"/>'
    )
