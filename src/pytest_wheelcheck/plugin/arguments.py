"""Divides pytest's command line between the host's pytest and the targets' pytest.

The host keeps the options that it acts on itself, and gets no test path. All other arguments go to the targets' pytest,
which collects and runs the tests. So does an option that the host does not know: it may belong to the user's conftest or
to a plugin among the test tools, and only the target's parser can decide whether it exists.

The arguments are walked here, not by :mod:`argparse`: pytest's parser would fail on unknown options, and would not report
which strings belong to which option.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_wheelcheck.plugin import coverage_options
from pytest_wheelcheck.settings import TargetArgument
from pytest_wheelcheck.targets.planning.index_names import is_spec

#: Destinations of pytest's and common plugins' options that only the host acts on.
HOST_ONLY = frozenset(
    {
        "keyword", "markexpr", "deselect", "lf", "failedfirst", "newfirst", "last_failed_no_failures", "stepwise",
        "stepwise_skip", "stepwise_reset", "maxfail", "xmlpath", "junitprefix", "collectonly", "usepdb", "usepdb_cls",
        "trace", "cacheclear", "cacheshow", "basetemp", "inifilename", "rootdir", "durations", "durations_min", "color",
        "numprocesses", "maxprocesses", "dist", "tx", "distload", "distribution", "px", "rsyncdir", "rsyncignore",
        "testrunuid", "maxschedchunk", "maxworkerrestart", "loadscopereorder", "looponfail", "session_timeout",
        "pastebin", "help", "version", "markers", "showfixtures", "show_fixtures_per_test", "debug", "traceconfig",
        "no_header", "no_summary", "fold_skipped", "console_output_style",
    }
)  # fmt: skip

#: Destinations of options that the host must not act on, because they name modules that only the target has.
#: And one that a target must not ignore: without pytest-run-parallel there, its tests would pass in one thread.
TARGET_ONLY = frozenset({"pythonwarnings", "parallel_threads"})

#: The start of a node id below a target that names a test file, not a node of this plugin such as `import[pkg.mod]`.
_TEST_FILE = re.compile(r"(?!(?:import|entry|run)\[)[^:]*\.\w+(?:::|$)")

#: The start of the node id of a static check.
_CHECK = re.compile(r"[A-Z]{3}\d")

#: A node id that needs no target: that of a static check, or of a check of the release.
_STATIC_NODE = re.compile(r"release::.+|.*?(?:\.whl|^pypi:[^:]*)::(?:[A-Z]{3}\d[^:]*|open|checks|source-tree)")


class Action(Protocol):
    """The part of :class:`argparse.Action` that is used here."""

    dest: str
    nargs: int | str | None


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command line.

    :param argv: an option with its values, or one positional argument.
    :param dest: the destination of an option that the host knows; empty otherwise.
    :param is_option: whether it is an option.
    """

    argv: tuple[str, ...]
    dest: str
    is_option: bool

    @property
    def value(self) -> str:
        """The value of an option that takes one."""
        return self.argv[1] if len(self.argv) > 1 else self.argv[0].partition("=")[2]


def parse(args: Sequence[str], actions: Mapping[str, Action]) -> Iterator[Argument]:
    """Group the strings of a command line into arguments, by the rules of :mod:`argparse`.

    :param actions: the host's options by their strings, short and long.
    """
    remaining = list(expand_files(args))
    while remaining:
        text = remaining.pop(0)
        if text == "--":
            for positional in remaining:
                yield Argument((positional,), "", is_option=False)
            return
        if not text.startswith("-") or text == "-":
            yield Argument((text,), "", is_option=False)
        elif text.startswith("--") or text in actions:
            name, equals, _ = text.partition("=")
            action = actions.get(text) or actions.get(name)
            values = [] if action is None or equals else _take_values(action, remaining)
            yield Argument((text, *values), action.dest if action else "", is_option=True)
        else:
            yield from _parse_short(text, remaining, actions)


def expand_files(args: Iterable[str]) -> Iterator[str]:
    """Replace each ``@FILE`` by the lines of the file, as pytest's parser does (``fromfile_prefix_chars`` of argparse).

    pytest has reported files that cannot be read before this is called.
    """
    for text in args:
        try:
            lines = Path(text[1:]).read_text(encoding="utf-8", errors="surrogateescape") if text[:1] == "@" else None
        except OSError:
            lines = None
        if lines is None:
            yield text
        else:
            yield from expand_files(lines.splitlines())


def _parse_short(text: str, remaining: list[str], actions: Mapping[str, Action]) -> Iterator[Argument]:
    """Divide joined short options such as ``-xvs`` or ``-kexpr``."""
    while len(text) > 1:
        action = actions.get(text[:2])
        if action is None:
            yield Argument((text,), "", is_option=True)
            return
        if action.nargs != 0:
            if len(text) > 2:
                yield Argument((text,), action.dest, is_option=True)
            else:
                yield Argument((text, *_take_values(action, remaining)), action.dest, is_option=True)
            return
        yield Argument((text[:2],), action.dest, is_option=True)
        text = f"-{text[2:]}"


def _take_values(action: Action, remaining: list[str]) -> list[str]:
    """Remove an option's values from the strings that follow it, and return them."""
    if action.nargs is None:
        count = 1
    elif isinstance(action.nargs, int):
        count = action.nargs
    else:
        limit = 1 if action.nargs == "?" else len(remaining)
        values = remaining[:limit]
        count = next((index for index, text in enumerate(values) if text.startswith("-")), len(values))
    taken, remaining[:] = remaining[:count], remaining[count:]
    return taken


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandLine:
    """A divided command line.

    :param host: arguments for the host's pytest.
    :param target: arguments for the targets' pytest.
    :param wheels: wheels among the positional arguments.
    :param selections: node ids of a run with wheels among the arguments; only these nodes run.
    :param paths: test paths, without the part behind ``::``.
    :param refused: options that are not supported with wheels.
    :param coverage: the options of pytest-cov, which neither the host nor the targets get unchanged.
    :param own: the test paths and the options, except those of pytest-cov, in their order.
    """

    host: tuple[str, ...]
    target: tuple[TargetArgument, ...]
    wheels: tuple[str, ...]
    selections: tuple[str, ...]
    paths: tuple[str, ...]
    refused: tuple[str, ...]
    coverage: tuple[Argument, ...] = ()
    own: tuple[Argument, ...] = ()


def divide(args: Sequence[str], actions: Mapping[str, Action]) -> CommandLine:
    """Divide a command line between host and targets; see the module.

    :param actions: the host's options by their strings, short and long.
    """
    host: list[str] = []
    target: list[TargetArgument] = []
    wheels: list[str] = []
    selections: list[str] = []
    paths: list[str] = []
    own: list[Argument] = []
    selected_tests: list[str] = []
    selects_whole_target = False
    refused: list[str] = []
    arguments = list(parse(args, {**coverage_options.ACTIONS, **actions}))
    coverage = [argument for argument in arguments if _is_of_coverage(argument)]
    for argument in (argument for argument in arguments if not _is_of_coverage(argument)):
        first = argument.argv[0]
        # A pasted node id may follow `--wheel`.
        given = argument.value if argument.dest == "wheel" else "" if argument.is_option else first
        path, colons, node = given.partition("::")
        is_wheel = path.endswith(".whl") or (is_spec(path) and not argument.is_option)
        if is_wheel and (colons or not argument.is_option):
            if argument.is_option:
                host.extend(("--wheel", path))
            else:
                wheels.append(path)
            if colons:
                selections.append(given)
                target_name, _, test = node.partition("::")
                if _TEST_FILE.match(test):
                    selected_tests.append(test)
                selects_whole_target = selects_whole_target or (not test and not _CHECK.match(target_name))
        elif not argument.is_option and path == "release" and colons:
            selections.append(given)
        elif not argument.is_option:
            paths.append(path)
            own.append(argument)
            target.append(TargetArgument(argument.argv, known_to_host=False))
        else:
            known = bool(argument.dest)
            own.append(argument)
            if _is_refused(argument):
                refused.append(first)
            if known and argument.dest not in TARGET_ONLY:
                host.extend(argument.argv)
            if argument.dest != "wheel" and not argument.dest.startswith("wheel_") and argument.dest not in HOST_ONLY:
                known_to_host = known and argument.dest not in TARGET_ONLY
                target.append(TargetArgument(argument.argv, known_to_host=known_to_host))
    if not selects_whole_target:
        target.extend(TargetArgument((test,), known_to_host=False) for test in selected_tests)
    return CommandLine(
        host=tuple(host),
        target=tuple(target),
        wheels=tuple(wheels),
        selections=tuple(selections),
        paths=tuple(paths),
        refused=tuple(refused),
        coverage=tuple(coverage),
        own=tuple(own),
    )


def need_no_target(selections: Sequence[str]) -> bool:
    """Return whether node ids select only static checks and checks of the release."""
    return bool(selections) and all(map(_STATIC_NODE.fullmatch, selections))


def _is_of_coverage(argument: Argument) -> bool:
    return argument.is_option and argument.argv[0].partition("=")[0] in coverage_options.ACTIONS


def _is_refused(argument: Argument) -> bool:
    if argument.dest in {"usepdb", "trace"}:
        return True
    return argument.dest == "capture" and (argument.argv[0] == "-s" or argument.argv[-1].endswith(("no", "tee-sys")))
