"""Plans a release so that an unexpected exception costs the targets of one wheel only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pytest_wheelcheck.backends.base import MachineProfile, Runtime
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.model import Outcome, Platform, Wheel
from pytest_wheelcheck.results import describe_unexpected, format_traceback
from pytest_wheelcheck.targets.planning.plan import plan
from pytest_wheelcheck.targets.target import NoTarget, Target


def plan_release(
    wheels: Sequence[Wheel],
    specs: Sequence[str],
    catalog: Catalog,
    *,
    host: Platform | None = None,
    profiles: Sequence[MachineProfile] = (),
    elsewhere: Mapping[Wheel, frozenset[Platform]] | None = None,
    unresolved: Callable[[Wheel, Runtime], str] | None = None,
) -> tuple[list[Target], list[NoTarget]]:
    """Decide the targets of all wheels, as :func:`~pytest_wheelcheck.targets.planning.plan.plan` does.

    :returns: as there. A wheel whose planning ends with an unexpected exception gets an error.
    :raises UsageError: a spec cannot be read.
    """
    try:
        return plan(
            wheels, specs, catalog, host=host, profiles=profiles, elsewhere=elsewhere or {}, unresolved=unresolved
        )
    except WheelcheckError:
        raise
    except Exception as error:  # noqa: BLE001 - a bug that one wheel meets; the others are planned
        if len(wheels) == 1:
            reason, traceback = describe_unexpected(error), format_traceback(error)
            return [], [NoTarget(wheel=wheels[0], outcome=Outcome.ERROR, reason=reason, traceback=traceback)]
    targets: list[Target] = []
    not_run: list[NoTarget] = []
    for wheel in wheels:
        own_targets, own_not_run = plan_release(
            [wheel], specs, catalog, host=host, profiles=profiles, elsewhere=elsewhere, unresolved=unresolved
        )
        targets += own_targets
        not_run += own_not_run
    return targets, not_run
