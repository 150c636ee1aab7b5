"""What changed since the previous release: the release as a whole, and each wheel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_wheelcheck.reporting.html.parts import NEXT, PASSED, WARNING, Limits, code, count, mark, more, show
from pytest_wheelcheck.reporting.report import Report
from pytest_wheelcheck.reporting.since import Line, Since, WheelLines, since

#: The space before a unit or an arrow.
_UNIT = re.compile(r"(?<=\d) (?=[kM]B|bytes?|%|→)")


def changes(report: Report, limits: Limits) -> Iterator[str]:
    """Yield the changes; nothing if the wheels were not compared with a previous release."""
    for found in since(report):
        yield from _release(found, limits)


def _release(found: Since, limits: Limits) -> Iterator[str]:
    yield f"<p>Compared with {code(found.release, limits)}:</p>"
    yield from _list(found.lines, limits)
    if found.common:
        yield f"<p>In all {count(len(found.wheels), 'wheel')} with a counterpart:</p>"
        yield from _list(found.common, limits)
    for wheel in found.wheels:
        yield from _wheel(wheel, limits)


def _wheel(wheel: WheelLines, limits: Limits) -> Iterator[str]:
    state = WARNING if wheel.note else PASSED
    heading = f"{code(wheel.filename, limits)} {_text(wheel.text, limits)} {mark(WARNING, wheel.note)}"
    if not wheel.lines:
        yield f'<p data-o="{state}">{heading}</p>'
        return
    yield f'<details data-o="{state}"><summary>{heading}</summary><div>'
    yield from _list(wheel.lines, limits)
    yield "</div></details>"


def _list(lines: Sequence[Line], limits: Limits) -> Iterator[str]:
    yield "<ul>"
    for line in lines[: limits.changes]:
        yield f"<li>{mark(WARNING, line.text) if line.bad else _text(line.text, limits)}</li>"
    yield from more(len(lines) - limits.changes, "line", "li")
    yield "</ul>"


def _text(text: str, limits: Limits) -> str:
    """Return a line with numbers that stay with their units."""
    return _UNIT.sub(NEXT, show(text, limits.text))
