"""Mistyped arguments of a run with wheels that are refused before anything is prepared.

Most options that the host does not know may belong to a conftest file or a plugin of the target. Two mistakes are certain here:
an option with the prefix of this plugin, and a test path that does not exist.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from pytest_wheelcheck.errors import did_you_mean
from pytest_wheelcheck.plugin.arguments import Argument

#: The beginning of options that only this plugin has.
_PREFIX = "--wheel-"


def refuse(arguments: Sequence[Argument], names: Collection[str], directory: Path) -> None:
    """Refuse unknown options of this plugin, and test paths that do not exist.

    :param arguments: those of the command line.
    :param names: the options that exist.
    :param directory: where relative test paths start.
    :raises pytest.UsageError: there is such an argument.
    """
    for argument in arguments:
        name = argument.argv[0].partition("=")[0]
        if not argument.is_option or argument.dest or not name.startswith("--wheel"):
            continue
        prefix, cutoff = (_PREFIX, 0.7) if name.startswith(_PREFIX) else ("--wheel", 0.9)
        own = [each for each in names if each.startswith(prefix)]
        guess = did_you_mean(name, own, cutoff=cutoff)
        if guess or name.startswith(_PREFIX):
            fix = guess or "`pytest --help` lists the options of wheelcheck"
            raise pytest.UsageError(f"there is no option {name}\nFix: {fix}")
    missing = [text for text in _test_paths(arguments) if not (directory / text.partition("::")[0]).exists()]
    if missing:
        names_there = sorted(path.name for path in directory.iterdir())
        guess = did_you_mean(missing[0].partition("::")[0].rstrip("/"), names_there)
        fix = f"\nFix: {guess}" if guess else ""
        raise pytest.UsageError(f"file or directory not found: {', '.join(missing)}{fix}")


def _test_paths(arguments: Sequence[Argument]) -> Iterator[str]:
    """Yield the positional arguments that can only be test paths.

    What follows an option that only the target knows may be its value. With ``--pyargs``, packages of the target are named.
    """
    if any(argument.dest == "pyargs" for argument in arguments):
        return
    may_be_value = False
    for argument in arguments:
        if argument.is_option:
            may_be_value = not argument.dest and "=" not in argument.argv[0]
        elif not may_be_value:
            yield argument.argv[0]
