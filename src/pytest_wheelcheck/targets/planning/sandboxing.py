"""Wheels from the package index are other people's code: they run in the sandbox only, unless the user decides otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_wheelcheck.model import Outcome, Wheel
from pytest_wheelcheck.targets.planning.index_names import is_spec
from pytest_wheelcheck.targets.target import NoTarget, Target

#: What the user can do.
_OVERRIDE = "--wheel-no-sandbox runs it with your rights"


def is_published(wheel: Wheel) -> bool:
    """Return whether a wheel is from the package index."""
    return is_spec(wheel.shown)


def without_sandbox(wheels: Iterable[Wheel], reason: str) -> list[NoTarget]:
    """Return the nodes of published wheels on a host that has no sandbox.

    :param reason: why it has none.
    """
    text = (
        "only the static checks run: a wheel from the package index runs in the sandbox, and there is none here "
        f"({reason}); {_OVERRIDE}"
    )
    return [NoTarget(wheel=wheel, outcome=Outcome.SKIPPED, reason=text) for wheel in wheels if is_published(wheel)]


def sandboxed(targets: Sequence[Target]) -> tuple[list[Target], list[NoTarget]]:
    """Leave out the targets of published wheels that the sandbox cannot include.

    :returns: the others, and nodes for those.
    """
    kept: list[Target] = []
    left_out: list[NoTarget] = []
    for target in targets:
        if target.runtime.capabilities.sandbox or not is_published(target.wheel):
            kept.append(target)
            continue
        text = f"a wheel from the package index runs in the sandbox, which does not include {target.name}; {_OVERRIDE}"
        left_out.append(NoTarget(wheel=target.wheel, outcome=Outcome.SKIPPED, reason=text, name=target.name))
    return kept, left_out
