"""What is in a wheel: a rectangle for each file, as large as the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_wheelcheck.model import ContentsEntry
from pytest_wheelcheck.reporting.html.parts import Limits, count, show, show_name, size
from pytest_wheelcheck.reporting.report import WheelReport

#: Units of the drawing.
_WIDTH, _HEIGHT = 1000.0, 260.0
#: Size of a rectangle from which on it has a label, and units of the width of a character.
_LABEL, _CHARACTER = (70.0, 18.0), 7.5
#: Files that are listed below the drawing.
_LISTED = 8

_KINDS = {
    "native": "extension modules",
    "library": "libraries",
    "python": "Python",
    "data": "data",
    "metadata": "metadata",
}

_Box = tuple[float, float, float, float]


def treemap(wheel: WheelReport, limits: Limits) -> Iterator[str]:
    """Yield the drawing; nothing if the files are not known."""
    entries = [entry for entry in wheel.contents if entry.compressed_size]
    if not entries:
        return
    unpacked = sum(entry.size for entry in wheel.contents)
    files = sum(entry.files for entry in wheel.contents)
    yield f"<details><summary>{count(files, 'file')}, {size(unpacked)} unpacked: "
    yield f"{', '.join(_sums(wheel.contents))}</summary><div>"
    used = {entry.kind for entry in entries}
    legend = "".join(f'<li><i class="k-{kind}"></i>{name}</li>' for kind, name in _KINDS.items() if kind in used)
    yield f'<ul class="legend">{legend}</ul>'
    drawn = sorted(entries, key=lambda entry: -entry.compressed_size)[: limits.files]
    yield f'<svg class="map" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="Files by their compressed sizes">'
    for entry, box in zip(drawn, squares([entry.compressed_size for entry in drawn]), strict=True):
        yield _rectangle(entry, box, limits)
    yield '</svg><div class="scroll" tabindex="0" role="region" aria-label="The largest files"><table>'
    yield "<thead><tr><th>file</th><th>compressed</th><th>unpacked</th></tr></thead><tbody>"
    for entry in drawn[:_LISTED]:
        yield f"<tr><td>{_name(entry, limits)}</td><td>{size(entry.compressed_size)}</td><td>{size(entry.size)}</td></tr>"
    yield "</tbody></table></div></div></details>"


def _sums(entries: Sequence[ContentsEntry]) -> Iterator[str]:
    for kind, name in _KINDS.items():
        if total := sum(entry.compressed_size for entry in entries if entry.kind == kind):
            yield f"{name} {size(total)}"


def _name(entry: ContentsEntry, limits: Limits) -> str:
    return (
        show_name(entry.path, limits) if entry.path else f"{entry.files} smaller files of the kind {_KINDS[entry.kind]}"
    )


def _rectangle(entry: ContentsEntry, box: _Box, limits: Limits) -> str:
    x, y, width, height = box
    title = f"<title>{_name(entry, limits)}: {size(entry.compressed_size)}, {size(entry.size)} unpacked</title>"
    label = ""
    if width >= _LABEL[0] and height >= _LABEL[1]:
        short = entry.path.rpartition("/")[2] or "others"
        fitting = max(int((width - 10) / _CHARACTER), 1)
        short = short if len(short) <= fitting else f"{short[: fitting - 1]}…"
        label = f'<text x="{x + 5:.0f}" y="{y + 15:.0f}">{show(short)}</text>'
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<g>{title}<rect class="k-{entry.kind}" {place}/>{label}</g>'


def squares(sizes: Sequence[float]) -> list[_Box]:
    """Fill the drawing with rectangles that are as square as possible.

    Source: Bruls, Huizing, van Wijk: Squarified Treemaps (2000).

    :param sizes: the largest first.
    """
    scale = _WIDTH * _HEIGHT / sum(sizes)
    areas = [each * scale for each in sizes]
    x, y, width, height = 0.0, 0.0, _WIDTH, _HEIGHT
    boxes: list[_Box] = []
    while areas:
        side = max(min(width, height), 0.001)
        taken = 1
        while taken < len(areas) and _worst(areas[: taken + 1], side) <= _worst(areas[:taken], side):
            taken += 1
        row, areas = areas[:taken], areas[taken:]
        depth = sum(row) / side
        position = 0.0
        for area in row:
            length = area / depth
            boxes.append((x, y + position, depth, length) if width >= height else (x + position, y, length, depth))
            position += length
        if width >= height:
            x, width = x + depth, width - depth
        else:
            y, height = y + depth, height - depth
    return boxes


def _worst(row: Sequence[float], side: float) -> float:
    """Return the ratio of the sides of the least square rectangle of a row."""
    total = sum(row)
    return max(max(side**2 * area / total**2, total**2 / (side**2 * area)) for area in row)
