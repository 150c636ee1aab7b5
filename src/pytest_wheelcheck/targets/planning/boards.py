"""The targets on boards. A board has interpreters of its own; apart from that, the rules are those of this host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pytest_wheelcheck.backends.base import MachineProfile, Runtime
from pytest_wheelcheck.backends.boards import Board
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.interpreters import base
from pytest_wheelcheck.interpreters.architectures import runs_natively
from pytest_wheelcheck.model import Outcome, Platform, Wheel
from pytest_wheelcheck.targets.planning.isolated import plan_release
from pytest_wheelcheck.targets.planning.promised import untested
from pytest_wheelcheck.targets.planning.specs import parse_specs
from pytest_wheelcheck.targets.target import NoTarget, Target


def plan_everywhere(
    wheels: Sequence[Wheel],
    specs: Sequence[str],
    catalog: Catalog,
    boards: Sequence[Board],
    profiles: Sequence[MachineProfile] = (),
    *,
    unresolved: Callable[[Wheel, Runtime], str] | None = None,
) -> tuple[list[Target], list[NoTarget]]:
    """Decide the targets of all wheels, on this host and on boards. See :func:`pytest_wheelcheck.targets.planning.plan.plan`.

    :raises UsageError: a spec cannot be read.
    """
    on_boards, not_on_boards = plan_boards(wheels, specs, boards, unresolved=unresolved)
    here, not_here = plan_release(
        wheels,
        specs,
        catalog,
        profiles=profiles,
        elsewhere=left_to_boards(on_boards, profiles),
        unresolved=unresolved,
    )
    targets, without = [*here, *on_boards], [*not_here, *not_on_boards]
    return targets, [*without, *untested(wheels, specs, targets, without)]


def plan_boards(
    wheels: Sequence[Wheel],
    specs: Sequence[str],
    boards: Sequence[Board],
    *,
    unresolved: Callable[[Wheel, Runtime], str] | None = None,
) -> tuple[list[Target], list[NoTarget]]:
    """Decide the targets of all wheels on all boards. See :func:`pytest_wheelcheck.targets.planning.plan.plan`.

    :raises UsageError: a spec cannot be read.
    """
    targets: list[Target] = []
    without: list[NoTarget] = []
    for board in boards:
        found, reasons = _plan(wheels, specs, board, unresolved)
        targets += found
        without += [
            replace(
                each, name=f"{each.name}+{board.name}", reason=f"on {board.name} ({_platforms(board)}): {each.reason}"
            )
            for each in reasons
        ]
    return targets, without


def _plan(
    wheels: Sequence[Wheel],
    specs: Sequence[str],
    board: Board,
    unresolved: Callable[[Wheel, Runtime], str] | None,
) -> tuple[list[Target], list[NoTarget]]:
    if board.catalog is None or not board.platforms:
        reason = board.problem or f"{board.name} has no supported interpreter (CPython 3.9 or newer)"
        text = f"could not be checked: {reason}"
        return [], [NoTarget(wheel=wheel, outcome=Outcome.ERROR, reason=text) for wheel in wheels[:1]]
    # Interpreters that were named by their paths are this host's, unless the board has the same path.
    known = {str(path) for path in board.pythons}
    own = [spec.text for spec in parse_specs(specs) if spec.path is None or str(spec.path) in known]
    found, reasons = plan_release(
        wheels, own or ["auto"], board.catalog, host=board.platforms[0], unresolved=unresolved
    )
    if found or any(each.outcome is not Outcome.SKIPPED for each in reasons) or not reasons:
        return found, reasons
    # Nothing at all would be tested on a board that the user has named.
    first, *others = reasons
    text = (
        f"no wheel of this run has a target on this board (--wheel-host): {first.reason}\n"
        f"Fix: pass wheels for {_platforms(board)}, or omit this board"
    )
    return found, [replace(first, outcome=Outcome.ERROR, reason=text), *others]


def _platforms(board: Board) -> str:
    """Name the platforms that a board has interpreters for."""
    return ", ".join(sorted({platform.name for platform in board.platforms})) or "no interpreter"


def left_to_boards(
    targets: Sequence[Target], profiles: Sequence[MachineProfile]
) -> Mapping[Wheel, frozenset[Platform]]:
    """Return the platforms for which a wheel is not emulated, because it has a target on a board.

    :param targets: on boards.
    :param profiles: the machines to be emulated: who names one wants to compare it with the board.
    """
    left: dict[Wheel, set[Platform]] = {}
    for target in targets:
        platform = target.runtime.platform
        native = platform.system == base.here().system and runs_natively(platform.architecture)
        if not native and not any(profile.fits(platform) for profile in profiles):
            left.setdefault(target.wheel, set()).add(platform)
    return {wheel: frozenset(platforms) for wheel, platforms in left.items()}
