"""Static checks: finds defects of a wheel without running it.

:func:`run_checks` checks an opened wheel, :func:`run_container_checks` any file. Neither imports, loads or executes
anything from the wheel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_wheelcheck.checks.check import Check, CheckResult, order_by_cause
from pytest_wheelcheck.checks.contents import MAX_SIZE, Contents
from pytest_wheelcheck.checks.table import CHECKS
from pytest_wheelcheck.errors import UsageError, did_you_mean
from pytest_wheelcheck.model import Wheel

if TYPE_CHECKING:
    from pytest_wheelcheck.wheels.binary import Binary

__all__ = ["CHECKS", "MAX_SIZE", "Check", "CheckResult", "run_checks", "run_container_checks", "select_checks"]


def select_checks(*, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> tuple[Check, ...]:
    """Select checks by codes or prefixes of codes. ``WHL2`` stands for the whole family.

    The name of a check, as node ids have it (``WHL203-wheel-file``), stands for its code.

    :param select: codes to run; empty for all.
    :param ignore: codes to leave out. Of two entries that match a check, the longer one counts.
    :raises UsageError: an entry matches no check.
    """
    codes = {check.name: check.code for check in CHECKS}
    select = [codes.get(text, text) for text in select]
    ignore = [codes.get(text, text) for text in ignore]
    for prefix in (*select, *ignore):
        if not prefix or not any(check.code.startswith(prefix) for check in CHECKS):
            guess = _guess(prefix)
            raise UsageError(
                f"no check has a code that starts with {prefix!r}",
                fix=f"{guess} `wheelcheck checks` lists all codes".lstrip(),
            )

    def is_selected(check: Check) -> bool:
        selected = max((len(prefix) for prefix in select if check.code.startswith(prefix)), default=0 if select else 1)
        ignored = max((len(prefix) for prefix in ignore if check.code.startswith(prefix)), default=0)
        return selected > ignored

    return tuple(filter(is_selected, CHECKS))


def _guess(prefix: str) -> str:
    """Return the question that suggests codes: similar ones of the same family, if there is such a family."""
    family = re.match("WHL[0-9]", prefix.upper())
    codes = [check.code for check in CHECKS if family is None or check.code.startswith(family[0])]
    similar = did_you_mean(prefix.upper(), codes, most=3, cutoff=0.5)
    if family is None or not codes:
        return similar
    return similar.replace("?", f", or all of {family[0]}?") if similar else f"did you mean {family[0]}?"


def run_checks(
    wheel: Wheel,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    release: Sequence[Wheel] = (),
    max_size: int = MAX_SIZE,
    for_install: bool = False,
    on_stopping: Callable[[tuple[str, ...]], None] = lambda _: None,
    native: list[Binary] | None = None,
) -> list[CheckResult]:
    """Run the checks that apply to a wheel, in the order of the table. What explains others comes before them.

    A check that raises gives a result whose outcome is an error, with the traceback.

    :param select: codes or prefixes of codes; empty for all.
    :param ignore: codes or prefixes to leave out.
    :param release: all wheels of the same invocation.
    :param max_size: maximum size of the file in bytes, above which a check warns.
    :param for_install: add what forbids an installation because of the container, also if it is not selected. Only *ignore*
        leaves it out: who selects other checks does not ask to install an archive that readers understand differently.
    :param on_stopping: is called with the names of the checks that forbid an installation, as soon as all that can forbid it
        have run. The others take most of the time.
    :param native: gets the native files, if the checks read them.
    :raises UsageError: as :func:`select_checks`.
    """
    checks = select_checks(select=select, ignore=ignore)
    contents = Contents(wheel.path, wheel, release, max_size=max_size)
    # The families from WHL3 on read native files.
    if wheel.platforms != ("any",) and any(check.code >= "WHL3" for check in checks):
        contents.start_parsers()
    applying = [check for check in checks if check.applies(wheel)]
    results = {check: check.run(contents) for check in applying if check.stops_install}
    if for_install:
        further = (check for check in select_checks(ignore=ignore) if check.container and check not in checks)
        stopping = {check: result for check in further if (result := check.run(contents)).stops_install}
        applying += stopping
        results |= stopping
    on_stopping(tuple(check.name for check, result in results.items() if result.stops_install))
    results |= {check: check.run(contents) for check in applying if check not in results}
    if native is not None:
        native += contents.binaries_so_far()
    return order_by_cause([results[check] for check in applying])


def run_container_checks(path: Path, *, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[CheckResult]:
    """Run the checks of the ZIP container, which need no parsed wheel.

    This is for files that :func:`pytest_wheelcheck.wheels.reader.open_wheel` refuses, so that each defect has its code.

    :raises UsageError: as :func:`select_checks`.
    :raises OSError: the file cannot be read.
    """
    contents = Contents(path)
    contents.container  # noqa: B018 - a file that cannot be read is not a finding
    return [check.run(contents) for check in select_checks(select=select, ignore=ignore) if check.container]
