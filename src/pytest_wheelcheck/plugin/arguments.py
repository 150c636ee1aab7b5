"""Splits pytest's command line into the host's part and the target's part.

The host's pytest keeps options that it acts on itself, and sees no test path. Everything else travels to the target's
pytest, which collects and runs. An option that the host does not know is the target's business: it may come from the
user's conftest or from a plugin among the test tools. Whether it exists there, only the target can say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

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

#: Options that the host must not act on, since they name things which only the target has.
TARGET_ONLY = frozenset({"pythonwarnings"})


#: The start of a node id below a target that is a file of tests, not one of our own nodes such as `import[pkg.mod]`.
_TEST_FILE = re.compile(r"(?!(?:import|entry|run)\[)[^:]*\.\w+(?:::|$)")


#: The start of a check's node id.
_CHECK = re.compile(r"[A-Z]{3}\d")


class Action(Protocol):
    """The part of :class:`argparse.Action` that is needed here."""

    dest: str
    nargs: int | str | None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Words of the command line that belong together.

    :param words: an option with its values, or one positional argument.
    :param dest: the destination of an option that the host knows; empty for others.
    :param option: whether it is an option at all.
    """

    words: tuple[str, ...]
    dest: str
    option: bool


def walk(args: Sequence[str], actions: Mapping[str, Action]) -> Iterator[Occurrence]:
    """Divide a command line into occurrences, as :mod:`argparse` would.

    :param actions: the host's options by their strings, short and long.
    """
    words = list(args)
    while words:
        word = words.pop(0)
        if word == "--":
            for rest in words:
                yield Occurrence((rest,), "", option=False)
            return
        if not word.startswith("-") or word == "-":
            yield Occurrence((word,), "", option=False)
        elif word.startswith("--") or word in actions:
            name, equals, _ = word.partition("=")
            action = actions.get(word) or actions.get(name)
            values = [] if action is None or equals else _take(action, words)
            yield Occurrence((word, *values), action.dest if action else "", option=True)
        else:
            yield from _short(word, words, actions)


def _short(word: str, words: list[str], actions: Mapping[str, Action]) -> Iterator[Occurrence]:
    """Divide a word such as ``-xvs`` or ``-kexpr``."""
    while len(word) > 1:
        action = actions.get(word[:2])
        if action is None:
            yield Occurrence((word,), "", option=True)
            return
        if action.nargs != 0:
            if len(word) > 2:
                yield Occurrence((word,), action.dest, option=True)
            else:
                yield Occurrence((word, *_take(action, words)), action.dest, option=True)
            return
        yield Occurrence((word[:2],), action.dest, option=True)
        word = f"-{word[2:]}"


def _take(action: Action, words: list[str]) -> list[str]:
    """Take an option's values from the words that follow it."""
    if action.nargs is None:
        count = 1
    elif isinstance(action.nargs, int):
        count = action.nargs
    else:
        limit = 1 if action.nargs == "?" else len(words)
        count = next((at for at, word in enumerate(words[:limit]) if word.startswith("-")), min(limit, len(words)))
    taken, words[:] = words[:count], words[count:]
    return taken


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """A divided command line.

    :param host: what the host's pytest parses.
    :param target: what the target's pytest gets: words, and whether the host knows the option.
    :param wheels: wheels among the positional arguments.
    :param selections: node ids of ours among them, which select.
    :param paths: test paths, without node ids' tails.
    :param refused: destinations that make no sense with wheels.
    """

    host: tuple[str, ...]
    target: tuple[tuple[tuple[str, ...], bool], ...]
    wheels: tuple[str, ...]
    selections: tuple[str, ...]
    paths: tuple[str, ...]
    refused: tuple[str, ...]


def split(args: Sequence[str], actions: Mapping[str, Action]) -> Split:
    """Divide a command line, see the module."""
    host: list[str] = []
    target: list[tuple[tuple[str, ...], bool]] = []
    wheels: list[str] = []
    selections: list[str] = []
    paths: list[str] = []
    tests: list[str] = []
    everything = False
    refused: list[str] = []
    for found in walk(args, actions):
        first = found.words[0]
        # What was pasted may stand right after `--wheel`.
        given = _value(found) if found.dest == "wheel" else "" if found.option else first
        path, colons, tail = given.partition("::")
        if path.endswith(".whl") and (colons or not found.option):
            if found.option:
                host.extend(("--wheel", path))
            else:
                wheels.append(path)
            if colons:
                selections.append(given)
                below, _, test = tail.partition("::")
                if _TEST_FILE.match(test):
                    tests.append(test)
                everything = everything or (not test and not _CHECK.match(below))
            continue
        if not found.option and path == "release" and colons:
            selections.append(given)
            continue
        if not found.option:
            paths.append(path)
            target.append((found.words, False))
            continue
        known = bool(found.dest)
        if _refused(found):
            refused.append(first)
        if known and found.dest not in TARGET_ONLY:
            host.extend(found.words)
        if found.dest == "wheel" or found.dest.startswith("wheel_") or found.dest in HOST_ONLY:
            continue
        target.append((found.words, known))
    if not everything:
        target.extend(((test,), False) for test in tests)
    return Split(
        host=tuple(host),
        target=tuple(target),
        wheels=tuple(wheels),
        selections=tuple(selections),
        paths=tuple(paths),
        refused=tuple(refused),
    )


def _value(found: Occurrence) -> str:
    """Return the value of an option that takes one."""
    return found.words[1] if len(found.words) > 1 else found.words[0].partition("=")[2]


def _refused(found: Occurrence) -> bool:
    if found.dest in {"usepdb", "trace"}:
        return True
    return found.dest == "capture" and (found.words[0] == "-s" or found.words[-1].endswith(("no", "tee-sys")))
