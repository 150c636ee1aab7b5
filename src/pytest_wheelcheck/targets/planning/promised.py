"""The oldest version that a wheel of the stable ABI promises: where it was not chosen, nobody has tested that promise.

A module that was compiled with a newer ``Py_LIMITED_API`` than its tag says is imported by all newer versions, and fails only on
the oldest one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_wheelcheck.interpreters.base import OLDEST
from pytest_wheelcheck.model import Outcome, Platform, Wheel
from pytest_wheelcheck.targets.planning.requires_python import admitted_minors
from pytest_wheelcheck.targets.planning.specs import Interpreter, parse_specs
from pytest_wheelcheck.targets.planning.tag_groups import NEWEST_KNOWN
from pytest_wheelcheck.targets.target import NoTarget, Target


def untested(
    wheels: Sequence[Wheel], specs: Sequence[str], targets: Sequence[Target], without: Sequence[NoTarget]
) -> list[NoTarget]:
    """Return an entry for each wheel and platform with targets of which none has the oldest version of the tag.

    :param specs: the values of ``--wheel-python``. Who names versions has left out the others.
    :param targets: those of this host and of all boards.
    :param without: what is reported already.
    """
    if all(spec.text not in {"auto", "all"} for spec in parse_specs(specs)):
        return []
    return [
        entry
        for wheel in wheels
        for entry in _untested(wheel, [target for target in targets if target.wheel is wheel])
        if not any(each.wheel is wheel and each.name == entry.name for each in without)
    ]


def _untested(wheel: Wheel, targets: Sequence[Target]) -> Iterator[NoTarget]:
    oldest = _oldest(wheel)
    if oldest is None:
        return
    platforms: dict[Platform, list[Target]] = {}
    for target in targets:
        platforms.setdefault(target.runtime.platform, []).append(target)
    for platform, own in platforms.items():
        if any(target.runtime.interpreter == oldest.tag for target in own):
            continue
        reason = f"the oldest version of the tag was not tested: no {oldest} for {platform.name} here"
        yield NoTarget(
            wheel=wheel, outcome=Outcome.SKIPPED, reason=reason, name=f"{oldest.tag}-{platform.name}", promised=True
        )


def _oldest(wheel: Wheel) -> Interpreter | None:
    """Return the oldest CPython that a wheel of the stable ABI is for, of those that are supported; ``None`` for others."""
    minors = [
        int(match[1])
        for tag in wheel.tags
        if tag.abi == "abi3" and (match := re.fullmatch(r"cp3(\d+)", tag.interpreter))
    ]
    if not minors:
        return None
    admitted = admitted_minors(wheel.requires_python, range(max(min(minors), OLDEST[1]), NEWEST_KNOWN + 1))
    return Interpreter(version=(3, admitted[0])) if admitted else None
