"""The release matrix of many wheels: a row for each platform, a column for each interpreter, a sign in each cell."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from pytest_wheelcheck.reporting.matrix import COLUMNS, MatrixRow, interpreter_order

#: Rows of the ordinary matrix above which this one is shown.
MAX_ROWS = 12

#: Signs, and what the legend says about them, in its order.
_SIGNS = {
    "F": "failed",
    "M": "missing",
    "+": "tests passed",
    "e": "tests passed under emulation",
    "b": "tests passed on a board",
    "i": "installed and imported",
    "s": "skipped",
    "c": "checked, not run",
    ".": "built",
}

#: The signs of the columns about tests.
_PASSED = ("+", "e", "b")

#: Failures that are named.
_MAX_NAMED = 30

Line = tuple[str, dict[str, bool]]


def compact_lines(rows: Sequence[MatrixRow], width: int) -> list[Line]:
    """Return the matrix as lines with their markup, none longer than *width*.

    :param rows: as :func:`.matrix.matrix_rows` returns them.
    """
    platforms = list(dict.fromkeys(row.platform for row in rows))
    interpreters = sorted({row.interpreter for row in rows}, key=interpreter_order)
    signs = {(row.platform, row.interpreter): _sign(row) for row in rows}
    first = max(map(len, [*platforms, "platform"]))
    lines: list[Line] = []
    for block in _blocks(interpreters, width - first - 1):
        lines.append((" ".join(["platform".ljust(first), *block]), {"bold": True}))
        for platform in platforms:
            cells = [signs.get((platform, name), "") for name in block]
            texts = [text.ljust(len(name)) for text, name in zip(cells, block, strict=True)]
            if any(cells):
                lines.append((" ".join([platform.ljust(first), *texts]).rstrip(), _markup(cells)))
    used = set(signs.values())
    legend = ", ".join(f"{sign} {meaning}" for sign, meaning in _SIGNS.items() if sign in used)
    lines += [(text, {}) for text in textwrap.wrap(legend, width)]
    return [*lines, *_failures(rows, width)]


def _blocks(names: Sequence[str], width: int) -> Iterator[list[str]]:
    """Divide columns into blocks that fit, at least one column in each."""
    block: list[str] = []
    for name in names:
        if block and sum(len(each) + 1 for each in (*block, name)) - 1 > width:
            yield block
            block = []
        block.append(name)
    if block:
        yield block


def _sign(row: MatrixRow) -> str:
    built, checked, *tested = row.cells[: 2 + len(_PASSED)]
    states = {cell.state for cell in row.cells}
    if built.state == "missing":
        return "M"
    if "failed" in states:
        return "F"
    passed = [sign for sign, cell in zip(_PASSED, tested, strict=True) if cell.state == "passed"]
    if passed:
        return passed[0]
    run = {cell.state for cell in tested if cell.text}
    for state, sign in (("imported", "i"), ("skipped", "s")):
        if state in run:
            return sign
    return "c" if checked.text else "."


def _markup(cells: Sequence[str]) -> dict[str, bool]:
    if {"F", "M"} & set(cells):
        return {"red": True}
    return {"green": True} if set(cells) <= {*_PASSED, "i", ""} else {"yellow": True}


def _failures(rows: Sequence[MatrixRow], width: int) -> Iterator[Line]:
    """Name what failed or is missing."""
    bad = [row for row in rows if _sign(row) in {"F", "M"}]
    for row in bad[:_MAX_NAMED]:
        found = [
            f"{heading}: {cell.text}" if heading != "built" else cell.text
            for heading, cell in zip(COLUMNS, row.cells, strict=True)
            if cell.state in {"failed", "missing"}
        ]
        text = f"{row.platform} {row.interpreter} {'; '.join(found)}"
        yield from ((line, {"red": True}) for line in textwrap.wrap(text, width, subsequent_indent="  "))
    if len(bad) > _MAX_NAMED:
        yield f"and {len(bad) - _MAX_NAMED} more", {"red": True}
