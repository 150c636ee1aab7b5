"""Reads the ini key ``wheel_overrides``: options of pytest for some targets only."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.plugin.arguments import HOST_ONLY, Action, Argument, parse
from pytest_wheelcheck.settings import Override, TargetArgument

#: Destinations of options that select tests. The target's pytest acts on those of an override.
_SELECTIONS = {"keyword": "-k", "markexpr": "-m", "deselect": "--deselect"}

#: Destinations of options that have no effect in a target, because the host writes the output.
_OUTPUT = frozenset({"reportchars", "disable_warnings", "showcapture", "code_highlight", "force_short_summary"})

#: Options that a host without the plugin does not know: pytest-xdist's, and a loop without an end.
_UNKNOWN = frozenset({"-n", "--numprocesses", "--maxprocesses", "--dist", "--tx", "-f", "--looponfail", "--forever"})


def parse_overrides(lines: Iterable[str], actions: Mapping[str, Action]) -> tuple[Override, ...]:
    """Parse the lines of the key.

    :param actions: the host's options by their strings, short and long.
    :raises UsageError: a line has another form than ``PATTERN: OPTIONS``, or an option that is not for one target.
    """
    return tuple(_parse_line(line.strip(), actions) for line in lines if line.strip())


def _parse_line(line: str, actions: Mapping[str, Action]) -> Override:
    # The address of a board may have a colon, too.
    separator = ": " if ": " in line else ":"
    pattern, colon, rest = (part.strip() for part in line.partition(separator))
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise UsageError(f"wheel_overrides: {line!r}: {str(error).lower()}", fix="close the quotation marks") from None
    if not colon or not pattern or any(char.isspace() for char in pattern) or not words:
        raise UsageError(
            f"wheel_overrides: {line!r} is not of the form `PATTERN: OPTIONS`",
            fix="write a pattern for names of targets, a colon, and options of pytest: `cp3*t-*: --parallel-threads=4`",
        )
    arguments: list[TargetArgument] = []
    may_be_value = False
    for argument in parse(words, actions):
        _check(line, argument, may_be_value=may_be_value)
        option = _SELECTIONS.get(argument.dest, "") if argument.is_option else ""
        argv = (option, _value(argument)) if option else argument.argv
        arguments.append(TargetArgument(argv, known_to_host=False))
        # Only the target's pytest knows whether an option of its plugins takes a value.
        may_be_value = argument.is_option and not argument.dest and "=" not in argument.argv[0]
    return Override(pattern=pattern, arguments=tuple(arguments), line=line)


def _value(argument: Argument) -> str:
    first = argument.argv[0]
    joined = not first.startswith("--") and len(first) > 2
    return first[2:].removeprefix("=") if joined else argument.value


def _check(line: str, argument: Argument, *, may_be_value: bool) -> None:
    first = argument.argv[0]
    name = first.partition("=")[0] if first.startswith("--") else first[:2]
    where = f"wheel_overrides: {line!r}: {name}"
    if not argument.is_option:
        if not may_be_value:
            raise UsageError(
                f"wheel_overrides: {line!r}: {first} is no option",
                cause="the test paths are those of the whole run",
                fix="select tests with -k, -m, --deselect or --ignore",
            )
    elif argument.dest in _SELECTIONS and not _value(argument):
        raise UsageError(f"{where} needs a value", fix=f"write it after the option: {name} VALUE")
    elif name.startswith("--wheel") or _is_own_key(argument):
        raise UsageError(
            f"{where} is a setting of pytest-wheelcheck, not an option of the target's pytest",
            fix="remove it from the line, and set it for the whole run: on the command line, or as an ini key",
        )
    elif argument.dest in {"usepdb", "usepdb_cls", "trace"} or (
        argument.dest == "capture" and _value(argument) not in {"fd", "sys"}
    ):
        raise UsageError(
            f"{where} cannot be used with --wheel",
            cause="the tests run in other interpreters, which have no access to this terminal",
            fix="remove it from the line; -rP on the command line shows the output of passed tests",
        )
    elif name in _UNKNOWN or argument.dest in (HOST_ONLY | _OUTPUT) - _SELECTIONS.keys():
        raise UsageError(
            f"{where} acts on the whole run, not on one target",
            fix="remove it from the line, and pass it on the command line or in addopts",
        )


def _is_own_key(argument: Argument) -> bool:
    return argument.dest == "override_ini" and _value(argument).startswith("wheel_")
