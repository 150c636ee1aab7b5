"""Chooses the targets of a run's wheels: in the interpreters of this host, and on the boards that the user named.

A run of the static checks alone does not load this module, which needs all providers and backends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_wheelcheck.backends import bubblewrap, registry
from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.boards import open_boards
from pytest_wheelcheck.backends.catalog import make_catalog
from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.directory.sysroots import parse_sysroots
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import progress
from pytest_wheelcheck.targets.planning.boards import plan_everywhere
from pytest_wheelcheck.targets.planning.sandboxing import is_published, sandboxed, without_sandbox
from pytest_wheelcheck.targets.planning.specs import parse_specs
from pytest_wheelcheck.targets.preparing.dependency_groups import check_groups
from pytest_wheelcheck.targets.preparing.install import unresolved
from pytest_wheelcheck.targets.preparing.requirements import check_files
from pytest_wheelcheck.targets.target import NoTarget, Target


def check_names(settings: Settings) -> None:
    """Check the names of interpreters, machines and sysroots that the user gave.

    :raises UsageError: one is invalid.
    """
    parse_specs(settings.pythons)
    registry.parse_machines(settings.machines)
    parse_sysroots(settings.sysroots, settings.named)


def check_tools(settings: Settings) -> None:
    """Check what the user gave for the tests, as far as that is known before anything is prepared.

    :raises InstallError: a dependency group or a requirements file does not exist.
    """
    check_groups(settings.groups, settings.root, settings.named)
    check_files(settings.requires, settings.cwd, settings.named)


def choose_targets(
    settings: Settings, wheels: Sequence[Wheel], *, sandbox: bool, no_sandbox: bool
) -> tuple[Settings, Sequence[Target], Sequence[NoTarget]]:
    """Choose the targets of all wheels.

    :param sandbox: the value of ``--wheel-sandbox``.
    :param no_sandbox: the value of ``--wheel-no-sandbox``.
    :returns: the settings, with the sandbox if one is needed; the targets; and the wheels and interpreters without one.
    :raises UsageError: an option is wrong.
    :raises RuntimeUnavailableError: the user requested the sandbox, and there is none.
    """
    settings, refused = _with_sandbox(settings, wheels, sandbox=sandbox, no_sandbox=no_sandbox)
    runnable = [wheel for wheel in wheels if not any(reason.wheel is wheel for reason in refused)]
    if not runnable:
        return settings, (), refused
    profiles = registry.parse_machines(settings.machines)
    with progress.log_to():
        catalog = make_catalog(
            offline=settings.offline,
            index=settings.index,
            find_links=settings.find_links,
            apt_source=settings.apt_source,
            sysroots=parse_sysroots(settings.sysroots),
            providers_allowed=settings.providers,
            ignored=settings.ignore,
            without=settings.without_backends,
        )

        def why_unresolved(wheel: Wheel, runtime: Runtime) -> str:
            return unresolved(runtime, wheel, settings)

        boards = open_boards(settings.hosts, settings.known_hosts, catalog, settings.board_python)
        targets, without = plan_everywhere(
            runnable, settings.pythons, catalog, boards, profiles, unresolved=why_unresolved
        )
    not_run = (*refused, *without)
    if settings.sandbox and not sandbox:
        targets, left_out = sandboxed(targets)
        not_run = (*not_run, *left_out)
    return settings, targets, not_run


def _with_sandbox(
    settings: Settings, wheels: Sequence[Wheel], *, sandbox: bool, no_sandbox: bool
) -> tuple[Settings, list[NoTarget]]:
    """Return the settings with the sandbox, if one is needed, and nodes for the wheels that must not run without it."""
    if no_sandbox or not (sandbox or any(map(is_published, wheels))):
        return settings, []
    try:
        with progress.log_to():
            return replace(settings, sandbox=bubblewrap.find(offline=settings.offline)), []
    except RuntimeUnavailableError as error:
        if sandbox:
            raise
        reason = error.cause or error.message.removeprefix("--wheel-sandbox: ")
        return settings, without_sandbox(wheels, reason)
