"""What changed in a release since the previous one, in words: the release as a whole, and each wheel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from pytest_wheelcheck.checks.check import first_names
from pytest_wheelcheck.reporting import expect
from pytest_wheelcheck.reporting.changes import CHANGED, GONE, KINDS, NEW, FileChange, NameChange, WheelChanges
from pytest_wheelcheck.reporting.report import PreviousReport, Report, WheelReport
from pytest_wheelcheck.system.sizes import show_size

#: Names that a line lists, and lines about files.
_SHOWN, _MAX_FILES = 6, 10
#: How many times larger a wheel may be before that is marked.
_GROWTH = 2.0
#: Wheels above which what all of them share is said once.
_FEW = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of a list.

    :param text: with names of the wheels in it.
    :param bad: users of the previous release may miss something.
    """

    text: str
    bad: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelLines:
    """What changed in a wheel.

    :param filename: its name.
    :param text: its size before and now.
    :param lines: what changed, without what every wheel has in common.
    :param note: what of that its users may miss, in a few words; empty for nothing.
    """

    filename: str
    text: str
    lines: tuple[Line, ...]
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Since:
    """What changed since one previous release.

    :param release: as ``--wheel`` names it.
    :param lines: about the release as a whole.
    :param common: what changed in every wheel that was compared.
    :param wheels: those that were compared.
    """

    release: str
    lines: tuple[Line, ...]
    common: tuple[Line, ...]
    wheels: tuple[WheelLines, ...]


def since(report: Report) -> list[Since]:
    """Compare a report with the previous releases that it names."""
    return [_since(previous, report) for previous in report.previous]


def _since(previous: PreviousReport, report: Report) -> Since:
    own = [wheel for wheel in report.wheels if canonicalize_name(wheel.project) == previous.project]
    compared = [(wheel, wheel.changes) for wheel in own if wheel.changes is not None]
    common: set[NameChange] = set()
    if len(compared) > _FEW:
        common = set.intersection(*(set(changes.names) for _, changes in compared))
    ordered = [name for name in compared[0][1].names if name in common] if compared else []
    return Since(
        release=previous.release,
        lines=(*_coverage(previous, own), *_sizes(own, compared)),
        common=tuple(_names(ordered)),
        wheels=tuple(_wheel(wheel, changes, common) for wheel, changes in compared),
    )


def _coverage(previous: PreviousReport, own: Sequence[WheelReport]) -> Iterator[Line]:
    """Yield platforms and interpreters that were lost or gained."""
    before = [expect.wheel_file(name, previous.project) for name in previous.wheels]
    now = [expect.ReleaseFile(filename=wheel.filename, project=wheel.project, tags=wheel.tags) for wheel in own]
    gone, new = _lost(before, now), _lost(now, before)
    for noun, lost, gained in zip(("platforms", "interpreters", "wheels"), gone, new, strict=True):
        if lost:
            yield Line(text=f"{noun} gone: {first_names(lost, _SHOWN)}", bad=True)
        if gained:
            yield Line(text=f"{noun} new: {first_names(gained, _SHOWN)}")
    if not any((*gone, *new)):
        yield Line(text="the same platforms and interpreters")


def _lost(
    before: Sequence[expect.ReleaseFile], now: Sequence[expect.ReleaseFile]
) -> tuple[list[str], list[str], list[str]]:
    """Return what the files of a release are for, and none of another release is.

    :returns: platforms; interpreters that are covered on none of the other platforms; and other pairs of both.
    """
    pairs = expect.pairs(tag for file in before for tag in file.tags)
    lost = [pair for pair in pairs if not any(expect.covers(file, pair) for file in now)]
    kept = {platform for platform, _ in expect.pairs(tag for file in now for tag in file.tags)}
    platforms = list(dict.fromkeys(platform for platform, _ in lost if platform not in kept))
    elsewhere = [(platform, name) for platform, name in lost if platform in kept]
    names = [
        name
        for name in dict.fromkeys(name for _, name in elsewhere)
        if not any(expect.covers(file, (platform, name)) for file in now for platform in kept)
    ]
    return platforms, names, [f"{name} on {platform}" for platform, name in elsewhere if name not in names]


def _sizes(own: Sequence[WheelReport], compared: Sequence[tuple[WheelReport, WheelChanges]]) -> Iterator[Line]:
    if not compared:
        yield Line(text="no wheel has a counterpart there")
        return
    before = (
        sum(changes.previous_size for _, changes in compared),
        sum(changes.previous_unpacked_size for _, changes in compared),
    )
    now = sum(wheel.size for wheel, _ in compared), sum(changes.unpacked_size for _, changes in compared)
    which = "the wheel" if len(own) == 1 else f"{len(compared)} of {len(own)} wheels with a counterpart, together"
    yield Line(
        text=f"{which}: {_from_to(before[0], now[0])}; unpacked {_from_to(before[1], now[1])}",
        bad=_has_grown(before[0], now[0]),
    )


def _wheel(wheel: WheelReport, changes: WheelChanges, common: set[NameChange]) -> WheelLines:
    lines = [*_names([name for name in changes.names if name not in common])]
    if changes.more_names:
        lines.append(Line(text=f"and {changes.more_names} more names"))
    counts = ((changes.new, NEW), (changes.gone, GONE), (changes.changed, "with another size"))
    if counted := ", ".join(f"{number} {word}" for number, word in counts if number):
        lines.append(Line(text=f"files: {counted}; the largest changes:" if changes.files else f"files: {counted}"))
    lines += [Line(text=_file_text(file)) for file in changes.files[:_MAX_FILES]]
    text = f"{_from_to(changes.previous_size, wheel.size)}; unpacked "
    text += _from_to(changes.previous_unpacked_size, changes.unpacked_size)
    grown = (
        [f"{wheel.size / changes.previous_size:.0f} times as large"]
        if _has_grown(changes.previous_size, wheel.size)
        else []
    )
    note = ", ".join([*grown, *(re.split("[:,]", line.text)[0] for line in lines if line.bad)])
    return WheelLines(filename=wheel.filename, text=text, lines=tuple(lines), note=note)


def _has_grown(before: int, now: int) -> bool:
    return now > before * _GROWTH > 0


def _names(names: Sequence[NameChange]) -> Iterator[Line]:
    """Yield a line for each kind of things that are gone, changed or new."""
    for change in (GONE, CHANGED, NEW):
        for kind in KINDS:
            found = [name for name in names if (name.kind, name.change) == (kind, change)]
            if found and change != CHANGED:
                plural = kind if len(found) == 1 else f"{kind.removesuffix('y')}{'ies' if kind.endswith('y') else 's'}"
                yield Line(
                    text=f"{plural} {change}: {first_names([name.name for name in found], _SHOWN)}", bad=change == GONE
                )
            elif found:
                raised = any(map(_is_raised, found))
                how = "raised, so older systems cannot install it" if raised else CHANGED
                yield Line(
                    text=f"{kind} {how}: {first_names([f'{name.before} → {name.after}' for name in found], _SHOWN)}",
                    bad=raised,
                )


def _is_raised(name: NameChange) -> bool:
    """Whether a platform tag admits fewer systems than before."""
    versions = [expect.parse_platform(f"{text}_x") for text in (name.before, name.after)]
    old, new = versions
    return name.kind == "platform tag" and old is not None and new is not None and old[1] < new[1]


def _file_text(file: FileChange) -> str:
    if file.change == NEW:
        return f"{file.path}: new, {show_size(file.compressed_size)} compressed, {show_size(file.size)} unpacked"
    if file.change == GONE:
        return f"{file.path}: gone, was {show_size(file.previous_compressed_size)}"
    sizes = _from_to(file.previous_compressed_size, file.compressed_size)
    return f"{file.path}: {sizes}; unpacked {_from_to(file.previous_size, file.size)}"


def _from_to(before: int, now: int) -> str:
    """Return two sizes with their difference: ``1.20 MB → 1.35 MB (+12.5 %)``."""
    if before == now or not before:
        return f"{show_size(now)}, as before" if before == now else show_size(now)
    percent = 100 * (now - before) / before
    number = f"{percent:+.0f}" if abs(percent) >= 10 else f"{percent:+.1f}"
    return (
        f"{show_size(before)} → {show_size(now)} ({number} %)"
        if abs(percent) >= 0.05
        else f"{show_size(now)}, nearly as before"
    )
