"""What can be known of a wheel without running it.

:func:`run_checks` judges an opened wheel, :func:`run_container_checks` any file. Neither imports, loads or executes
anything of the wheel.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_wheelcheck.checks.base import MAX_SIZE, Check, CheckResult, Contents
from pytest_wheelcheck.checks.table import CHECKS
from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.model import Wheel

__all__ = ["CHECKS", "Check", "CheckResult", "iter_checks", "run_checks", "run_container_checks", "select_checks"]


def select_checks(*, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> tuple[Check, ...]:
    """Choose checks by their codes or the beginnings of codes; ``WHL2`` stands for the whole family.

    :param select: what to keep; nothing stands for everything.
    :param ignore: what to leave out of that. Of two that fit a check, the longer counts.
    :raises UsageError: one of them fits no check.
    """
    for word in (*select, *ignore):
        if not word or not any(check.code.startswith(word) for check in CHECKS):
            near = difflib.get_close_matches(word, [check.code for check in CHECKS], n=3, cutoff=0.5)
            raise UsageError(
                f"no check has a code that begins with {word!r}",
                fix=f"did you mean {' or '.join(near)}? " * bool(near) + "`wheelcheck checks` lists them all",
            )

    def chosen(check: Check) -> bool:
        kept = max((len(word) for word in select if check.code.startswith(word)), default=0 if select else 1)
        dropped = max((len(word) for word in ignore if check.code.startswith(word)), default=0)
        return kept > dropped

    return tuple(filter(chosen, CHECKS))


def iter_checks(
    wheel: Wheel,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    release: Sequence[Wheel] = (),
    max_size: int = MAX_SIZE,
) -> Iterator[CheckResult]:
    """Run the checks that have something to say about a wheel, one after the other, in the order of the table.

    A check that raises gives a result whose outcome is an error, with the traceback.

    :param select: codes or beginnings of codes; nothing stands for all.
    :param ignore: what to leave out of that.
    :param release: every wheel of the same invocation.
    :param max_size: bytes that the file may have without a warning.
    :raises UsageError: as :func:`select_checks`.
    """
    checks = select_checks(select=select, ignore=ignore)
    contents = Contents(wheel.path, wheel, release, max_size=max_size)
    # The families from WHL3 on look into native files.
    if wheel.platforms != ("any",) and any(check.code >= "WHL3" for check in checks):
        contents.start()
    return (check.run(contents) for check in checks if check.applies(wheel))


def run_checks(
    wheel: Wheel,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    release: Sequence[Wheel] = (),
    max_size: int = MAX_SIZE,
) -> list[CheckResult]:
    """Run all of :func:`iter_checks`."""
    return list(iter_checks(wheel, select=select, ignore=ignore, release=release, max_size=max_size))


def run_container_checks(path: Path, *, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[CheckResult]:
    """Run the checks that need no more than a file: what it is as an archive.

    This is for files that :func:`pytest_wheelcheck.wheels.reader.open_wheel` refuses, so that each fault gets its code.

    :raises UsageError: as :func:`select_checks`.
    :raises OSError: the file cannot be read.
    """
    contents = Contents(path)
    contents.archive  # noqa: B018 - a file that cannot be read is no finding
    return [check.run(contents) for check in select_checks(select=select, ignore=ignore) if check.container]
