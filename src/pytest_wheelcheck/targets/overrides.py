"""Options of pytest for some targets only: the lines of the ini key ``wheel_overrides``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from pytest_wheelcheck.settings import Override, Settings, TargetArgument
from pytest_wheelcheck.targets.target import Target

#: Options whose last occurrence replaces the others. What several lines select is joined, so that each line applies.
_SELECTIONS = ("-k", "-m")


def matching(target: Target, overrides: Sequence[Override]) -> tuple[Override, ...]:
    """Return the overrides that apply to a target, in their order."""
    return tuple(override for override in overrides if fnmatchcase(target.name, override.pattern))


def unmatched(targets: Sequence[Target], overrides: Sequence[Override]) -> list[Override]:
    """Return the overrides that apply to none of the targets."""
    return [
        override for override in overrides if not any(fnmatchcase(target.name, override.pattern) for target in targets)
    ]


def settings_of(target: Target, settings: Settings) -> Settings:
    """Return the settings of one target: the options of its overrides come after those of the user."""
    given = [argument.argv for override in matching(target, settings.overrides) for argument in override.arguments]
    if not given:
        return settings
    arguments = [argv for argv in given if argv[0] not in _SELECTIONS]
    for option in _SELECTIONS:
        expressions = [argv[1] for argv in given if argv[0] == option]
        if expressions:
            joined = " and ".join(f"({each})" for each in expressions) if len(expressions) > 1 else expressions[0]
            arguments.append((option, joined))
    added = (TargetArgument(argv, known_to_host=False) for argv in arguments)
    return replace(settings, target_args=(*settings.target_args, *added))
