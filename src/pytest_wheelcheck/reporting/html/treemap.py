"""What is in a wheel: a rectangle for each file, as large as the file, with the sections of native files in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_wheelcheck.model import ContentsEntry, Section
from pytest_wheelcheck.reporting.html.parts import NEXT, WARNING, Limits, count, mark, show, show_name, size
from pytest_wheelcheck.reporting.report import WheelReport

#: Units of the drawing.
_WIDTH, _HEIGHT = 1000.0, 260.0
#: Size of a rectangle from which on it has a label, and units of the width of a character.
_LABEL, _CHARACTER = (70.0, 18.0), 7.5
#: Size of a file's rectangle from which on its sections are drawn, below its label; and area of a section's own.
_DIVIDED, _MIN_SECTION = (40.0, 50.0), 60.0
#: Files that are listed below the drawing, and sections of each.
_LISTED, _LISTED_SECTIONS = 8, 4
#: Bytes that strip would remove, from which on the page says so.
_MIN_STRIPPED = 50_000

_KINDS = {
    "native": "extension modules",
    "library": "libraries",
    "python": "Python",
    "data": "data",
    "metadata": "metadata",
}

#: The kinds of sections, by the beginning of the name; the first that fits. Any other is data.
_SECTIONS = {
    "debug": (".debug", ".zdebug", ".stab", ".gdb_index", "__DWARF,"),
    "symbols": (".symtab", ".strtab", "symbol table"),
    "code": (".text", ".plt", ".init", ".fini", "__TEXT,__text", "__TEXT,__stub"),
}
_SECTION_NAMES = {"code": "code", "rest": "data", "symbols": "symbol tables", "debug": "debug information"}

_Box = tuple[float, float, float, float]
_ALL: _Box = (0.0, 0.0, _WIDTH, _HEIGHT)


def treemap(wheel: WheelReport, limits: Limits, *, sections: int = 0) -> Iterator[str]:
    """Yield the drawing; nothing if the files are not known.

    :param sections: number of sections that may be drawn.
    """
    entries = [entry for entry in wheel.contents if entry.compressed_size]
    if not entries:
        return
    unpacked = sum(entry.size for entry in wheel.contents)
    files = sum(entry.files for entry in wheel.contents)
    yield f"<details><summary>{count(files, 'file')}, {size(unpacked)} unpacked: "
    yield f"{', '.join(_sums(wheel.contents))}</summary><div>"
    drawn = sorted(entries, key=lambda entry: -entry.compressed_size)[: limits.files]
    found: dict[str, None] = {}
    rectangles = []
    for entry, box in zip(drawn, squares([entry.compressed_size for entry in drawn]), strict=True):
        rectangles.append(_rectangle(entry, box, limits))
        for kind, inner in _divided(entry, box, limits) if sections >= len(entry.sections) else ():
            sections -= 1
            found[kind] = None
            rectangles.append(inner)
    used = {entry.kind for entry in entries}
    legend = "".join(f'<li><i class="k-{kind}"></i>{name}</li>' for kind, name in _KINDS.items() if kind in used)
    inside = "".join(
        f'<li><i class="n-{kind}"></i>{name}</li>' for kind, name in _SECTION_NAMES.items() if kind in found
    )
    yield f'<ul class="legend">{legend}{f"<li>in native files:</li>{inside}" if inside else ""}</ul>'
    yield f'<svg class="map" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="Files by their compressed sizes">'
    yield from rectangles
    yield "</svg>"
    yield from _stripping(wheel.contents)
    yield from _table(drawn[: min(_LISTED, limits.files // 4)], limits)
    yield "</div></details>"


def _sums(entries: Sequence[ContentsEntry]) -> Iterator[str]:
    for kind, name in _KINDS.items():
        if total := sum(entry.compressed_size for entry in entries if entry.kind == kind):
            yield f"{name} {size(total)}"
    if total := sum(entry.debug_size for entry in entries):
        yield f"debug information {size(total)} (unpacked)"


def _stripping(entries: Sequence[ContentsEntry]) -> Iterator[str]:
    """Say how much smaller the native files would be."""
    debug, symbols = (
        sum(each) for each in zip(*((entry.debug_size, entry.symbols_size) for entry in entries), strict=True)
    )
    parts = [f"debug information {size(debug)}"] * bool(debug) + [f"symbol tables {size(symbols)}"] * bool(symbols)
    if debug + symbols >= _MIN_STRIPPED:
        yield f"<p>{mark(WARNING, 'not stripped') if debug else ''} Stripping the native files saves about "
        yield f"{size(debug + symbols)} unpacked: {', '.join(parts)}. Only debuggers and profilers read these. "
        yield "Strip when you build: <code>maturin build --release --strip</code>, the linker flag <code>-s</code>, or on Linux "
        yield "<code>auditwheel repair --strip</code>. Keep a copy for crash reports.</p>"


def _table(entries: Sequence[ContentsEntry], limits: Limits) -> Iterator[str]:
    native = any(entry.sections for entry in entries)
    more = "<th>sections, unpacked</th><th>strip removes</th>" * native
    yield '<div class="scroll" tabindex="0" role="region" aria-label="The largest files"><table class="files">'
    yield f"<thead><tr><th>file</th><th>compressed</th><th>unpacked</th>{more}</tr></thead><tbody>"
    for entry in entries:
        row = f"<td>{_name(entry, limits)}</td><td>{size(entry.compressed_size)}</td><td>{size(entry.size)}</td>"
        if native:
            listed = [
                f"{show_name(each.name, limits)}{NEXT}{size(each.size)}" for each in entry.sections[:_LISTED_SECTIONS]
            ]
            stripped = entry.debug_size + entry.symbols_size
            row += f"<td>{', '.join(listed)}</td><td>{size(stripped) if stripped else ''}</td>"
        yield f"<tr>{row}</tr>"
    yield "</tbody></table></div>"


def _name(entry: ContentsEntry, limits: Limits) -> str:
    return (
        show_name(entry.path, limits) if entry.path else f"{entry.files} smaller files of the kind {_KINDS[entry.kind]}"
    )


def _rectangle(entry: ContentsEntry, box: _Box, limits: Limits) -> str:
    x, y, width, height = box
    title = f"<title>{_name(entry, limits)}: {size(entry.compressed_size)}, {size(entry.size)} unpacked</title>"
    label = _label(entry.path.rpartition("/")[2] or "others", box)
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<g>{title}<rect class="k-{entry.kind}" {place}/>{label}</g>'


def _label(text: str, box: _Box) -> str:
    """Write a text into a rectangle; nothing if there is no room."""
    x, y, width, height = box
    if width < _LABEL[0] or height < _LABEL[1]:
        return ""
    fitting = max(int((width - 10) / _CHARACTER), 1)
    short = text if len(text) <= fitting else f"{text[: fitting - 1]}…"
    return f'<text x="{x + 5:.0f}" y="{y + 15:.0f}">{show(short)}</text>'


def _divided(entry: ContentsEntry, box: _Box, limits: Limits) -> Iterator[tuple[str, str]]:
    """Yield the kinds and the rectangles of the sections of a native file, below its label."""
    x, y, width, height = box
    if not entry.sections or width < _DIVIDED[0] or height < _DIVIDED[1]:
        return
    inside = (x + 2, y + 20, width - 4, height - 22)
    ordered = sorted(entry.sections, key=lambda section: -section.size)
    for section, (left, top, wide, high) in zip(ordered, squares([each.size for each in ordered], inside), strict=True):
        if wide * high >= _MIN_SECTION:
            kind = kind_of(section)
            place = f'x="{left:.0f}" y="{top:.0f}" width="{wide:.0f}" height="{high:.0f}"'
            title = f"<title>{show_name(section.name, limits)}: {size(section.size)} unpacked</title>"
            label = _label(section.name, (left, top, wide, high))
            yield kind, f'<g>{title}<rect class="n-{kind}" {place}/>{label}</g>'


def kind_of(section: Section) -> str:
    """Return the kind of a section, for its color."""
    return next((kind for kind, names in _SECTIONS.items() if section.name.startswith(names)), "rest")


def squares(sizes: Sequence[float], box: _Box = _ALL) -> list[_Box]:
    """Fill a part of the drawing with rectangles that are as square as possible.

    Source: Bruls, Huizing, van Wijk: Squarified Treemaps (2000).

    :param sizes: the largest first.
    :param box: the part.
    """
    x, y, width, height = box
    scale = width * height / sum(sizes)
    areas = [each * scale for each in sizes]
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
