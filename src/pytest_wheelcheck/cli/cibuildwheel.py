"""What ``wheelcheck init`` takes from ``[tool.cibuildwheel]``, and what becomes of each key."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_wheelcheck.cli import cibuildwheel_builds as builds

#: Operators of shells, by which a test command consists of several.
_OPERATORS = frozenset(("&&", "||", ";", "|", "&"))

#: Keys about tests that have no counterpart here, and what to do with them.
_NOT_TAKEN = {
    "before-test": "run it in the job, before wheelcheck",
    "test-environment": "set the variables in the job",
    "test-skip": "use the marker wheel_target, for single tests",
    "test-sources": "not needed, because the tests run in the project",
    "test-runtime": "it is about how cibuildwheel runs tests",
}

#: Keys that select the wheels.
_SELECTION = ("build", "skip", "archs", "enable")

_SYSTEMS = ("linux", "macos", "windows")


@dataclass(frozen=True)
class Taken:
    """What was found in the table.

    :param groups: dependency groups.
    :param requires: requirements of the tests.
    :param extras: extras of the wheels.
    :param arguments: what pytest gets, quoted for a shell; empty if the table has no such command.
    :param expect: clauses; empty if the table does not select wheels.
    :param systems: those that wheels are built for: ``linux``, ``macos``, ``windows``.
    :param linux_architectures: those that are built on Linux, if they are not just those of the runners.
    :param in_table: what became of the keys that are now in ``[tool.wheelcheck]``.
    :param of_expect: the same, of the keys that select wheels.
    :param in_workflow: the same, of those in the workflow.
    :param not_taken: the same, of the others.
    """

    groups: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    arguments: str = ""
    expect: tuple[str, ...] = ()
    systems: tuple[str, ...] = _SYSTEMS
    linux_architectures: tuple[str, ...] = ()
    in_table: tuple[str, ...] = ()
    of_expect: str = ""
    in_workflow: tuple[str, ...] = ()
    not_taken: tuple[str, ...] = ()


def table(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``[tool.cibuildwheel]``; empty if there is none.

    :param data: the project's pyproject.toml.
    """
    found = data.get("tool", {}).get("cibuildwheel")
    return found if isinstance(found, dict) else {}


def take(data: Mapping[str, Any]) -> Taken:
    """Return what the table says about the tests and about the wheels.

    :param data: the project's pyproject.toml.
    """
    own = table(data)
    groups, requires, extras = builds.words(own.get("test-groups")), _requirements(own), _extras(own)
    in_table = [
        f"{key}: now {name} in [tool.wheelcheck]"
        for key, name, values in (
            ("test-groups", "groups", groups),
            ("test-requires", "requires", requires),
            ("test-extras", "extras", extras),
        )
        if values
    ]
    arguments, in_workflow, not_taken = _command(own)
    expect: tuple[str, ...] = ()
    of_expect = ""
    selecting = [key for key in _SELECTION if key in own or any(key in _system(own, name) for name in _SYSTEMS)]
    wheels = builds.pairs(own, _requires_python(data))
    every = [pair for found in wheels.values() for pair in found]
    if selecting and every and (_requires_python(data) or builds.words(own.get("build"))):
        # A newer cibuildwheel builds for more interpreters.
        expect = (*builds.clauses(every), "others")
        of_expect = f"{', '.join(selecting)}: now expect in [tool.wheelcheck], {len(every)} wheels"
    elif selecting:
        not_taken.append(f"{', '.join(selecting)}: not taken: write the key expect, if the list of wheels is fixed")
    return Taken(
        groups=groups,
        requires=requires,
        extras=extras,
        arguments=arguments,
        expect=expect,
        systems=tuple(name for name, found in wheels.items() if found) or _SYSTEMS,
        linux_architectures=builds.architectures(own, "linux")
        if builds.words(builds.setting(own, "linux", "archs"))
        else (),
        in_table=tuple(in_table),
        of_expect=of_expect,
        in_workflow=tuple(in_workflow),
        not_taken=(*not_taken, *_others(own)),
    )


def _system(own: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = own.get(name)
    return found if isinstance(found, dict) else {}


def _requires_python(data: Mapping[str, Any]) -> str:
    return str(data.get("project", {}).get("requires-python", ""))


def _requirements(own: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the requirements; ``-r FILE`` is one."""
    value = own.get("test-requires")
    if isinstance(value, str):
        try:
            texts = shlex.split(value)
        except ValueError:
            texts = value.split()
    else:
        texts = list(map(str, value)) if isinstance(value, list) else []
    found: list[str] = []
    for text in map(_in_project, texts):
        if found and found[-1] in ("-r", "-c"):
            found[-1] += f" {text}"
        else:
            found.append(text)
    return tuple(found)


def _extras(own: Mapping[str, Any]) -> tuple[str, ...]:
    texts = builds.words(own.get("test-extras"))
    return tuple(name for text in texts for name in text.split(",") if name)


def _in_project(text: str) -> str:
    """Return a path as seen from the project's directory."""
    return re.sub(r"^\{(?:project|package)\}(?:[/\\]|$)", "", text) or (text and ".")


def _command(own: Mapping[str, Any]) -> tuple[str, list[str], list[str]]:
    """Return the arguments of the pytest that is the test command, and what became of the key: taken, not taken."""
    value = own.get("test-command")
    text = " && ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    if not text.strip():
        return "", [], []
    others, arguments = [], None
    directory = ""
    try:
        commands = list(_commands(text))
    except ValueError as error:
        return "", [], [f"test-command: not taken: {error}"]
    for command in commands:
        found = _pytest_arguments(command)
        if command[0] == "cd":
            directory = _in_project(command[-1]).removesuffix("/")
        elif found is None or arguments is not None or any(re.search(r"[$%`<>]|\{\w+\}", word) for word in found):
            others.append(f"test-command: not taken: {shlex.join(command)}")
        else:
            arguments = list(_from_directory("" if directory == "." else directory, found))
    if arguments is None:
        return "", [], others
    quoted = shlex.join(arguments)
    return quoted, [f"test-command: the workflow runs {f'wheelcheck test {quoted}'.strip()}"], others


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of a shell's line, as words.

    :raises ValueError: a quotation is not closed.
    """
    lexer = shlex.shlex(text.replace("\n", " ; "), posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    for word in (*lexer, ";"):
        if word not in _OPERATORS:
            words.append(word)
        elif words:
            yield words
            words = []


def _pytest_arguments(command: Sequence[str]) -> list[str] | None:
    """Return the arguments, if the command runs pytest."""
    first, *rest = command
    if Path(first).name in ("pytest", "py.test"):
        return [_in_project(word) for word in rest]
    if re.fullmatch(r"python[\d.]*|py", Path(first).name) and "-m" in rest:
        index = rest.index("-m")
        if rest[index + 1 : index + 2] == ["pytest"]:
            return [_in_project(word) for word in rest[index + 2 :]]
    return None


def _from_directory(directory: str, arguments: Sequence[str]) -> Iterator[str]:
    """Yield arguments for the project's directory, of a command that runs in a directory below it."""
    is_path = [_exists(Path(directory, word.partition("::")[0])) and not word.startswith("-") for word in arguments]
    for word, exists in zip(arguments, is_path, strict=True):
        yield Path(directory, word).as_posix() if exists and directory else word
    if not any(is_path) and "--pyargs" not in arguments and (tests := directory or tests_directory()):
        yield tests


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # an expression of -k may be longer than a name can be
        return False


def tests_directory() -> str:
    """Return the directory of the tests, if it has a usual name; empty otherwise."""
    return next((name for name in ("tests", "test") if Path(name).is_dir()), "")


def _others(own: Mapping[str, Any]) -> Iterator[str]:
    """Yield what became of the other keys about tests."""
    for key, advice in _NOT_TAKEN.items():
        if own.get(key):
            yield f"{key}: not taken: {advice}"
    for name in ("pyodide", "android", "ios"):
        if name in own:
            yield f"{name}: not taken: such wheels get the static checks only"
    entries = own.get("overrides")
    tables = [
        ("overrides", entry) for entry in (entries if isinstance(entries, list) else ()) if isinstance(entry, dict)
    ]
    tables += [(name, dict(_system(own, name))) for name in _SYSTEMS]
    for name in dict.fromkeys(
        name for name, entry in tables if any(key.startswith(("test-", "before-test")) for key in entry)
    ):
        yield f"test keys of {name}: not taken: the key overrides of [tool.wheelcheck] has options for some targets"
