"""Explains why uv could not resolve or install the test tools: by what the user requested, not by the wheel."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pytest_wheelcheck.errors import InstallError
from pytest_wheelcheck.settings import Named, as_option
from pytest_wheelcheck.system import uv_errors
from pytest_wheelcheck.system.process import CompletedProcess
from pytest_wheelcheck.targets.preparing.dependency_groups import read_groups

#: uv 0.13's message about a project that no index or directory has.
_NOT_FOUND = re.compile(r"([\w.-]+) was not found in (?:the package registry|the provided package locations)")

#: Its message about a version that does not exist.
_NO_VERSION = re.compile(r"there is no version of ([\w.-]+)(?:\[[^\]]*\])?([<>=!~]\S+)")

#: Its message about a line that is no requirement: the reason, and the line.
_SYNTAX = re.compile(r"Couldn't parse requirement in .*\n\s*cause: (?P<reason>.*)\n\s*(?P<line>.*)")

#: Its message about a path that does not exist.
_NO_PATH = re.compile(r"Distribution not found at: (\S+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Requested:
    """What the tests need, as the user requested it.

    :param requirements: requirements, local paths, ``-r FILE``.
    :param groups: names of dependency groups of *project*.
    :param named: see :data:`~pytest_wheelcheck.settings.Named`.
    """

    requirements: Sequence[str] = ()
    groups: Sequence[str] = ()
    project: Path | None = None
    named: Named = as_option

    def error(self, what: str, completed: CompletedProcess) -> InstallError:
        """Return the error for a failed call of uv.

        :param what: what failed, one sentence.
        """
        details = uv_errors.output(completed)
        found = self._not_found(details) or self._wrong_syntax(details) or self._no_path(details)
        if found is None:
            return uv_errors.install_error(what, completed)
        place, cause, fix = found
        return InstallError(f"{place}: {what}", cause=cause, fix=fix, details=details)

    def _not_found(self, details: str) -> tuple[str, str, str] | None:
        for match in _NOT_FOUND.finditer(details):
            if place := self._place_of(match[1]):
                cause = f"no index or directory has a project {match[1]}"
                return place, cause, "correct its name, or add its source with --wheel-index or --wheel-find-links"
        for match in _NO_VERSION.finditer(details):
            if place := self._place_of(match[1]):
                return (
                    place,
                    f"there is no {match[1]}{match[2].rstrip(',')} for this interpreter",
                    "correct the version",
                )
        return None

    def _wrong_syntax(self, details: str) -> tuple[str, str, str] | None:
        match = _SYNTAX.search(details)
        if match is None:
            return None
        line = match["line"].strip()
        for text in self.requirements:
            if text.strip() == line or text.strip().endswith(line):
                fix = (
                    "write a requirement such as pytest-mock>=3.14, a path, or a requirements file that ends with .txt"
                )
                return f"{self.named('--wheel-requires', text)}: {text}", match["reason"].rstrip(), fix
        return None

    def _no_path(self, details: str) -> tuple[str, str, str] | None:
        match = _NO_PATH.search(details)
        path = match[1].removeprefix("file://") if match else ""
        for text in self.requirements:
            given = text.partition("@")[2].strip() or text.strip()
            if path and path.endswith(given.removeprefix("file://").removeprefix("./").removeprefix("../")):
                cause = f"there is no {path}"
                return (
                    f"{self.named('--wheel-requires', text)}: {text}",
                    cause,
                    f"correct the path: it begins at {Path.cwd()}",
                )
        return None

    def _place_of(self, name: str) -> str:
        """Return where a distribution was requested; empty if nothing that the user requested names it."""
        for text in self.requirements:
            file = re.match(r"-(?:r|-requirements?)[\s=]*(.*)", text)
            if file is not None:
                number = next((number for number, line in _lines(Path(file[1])) if _is(line, name)), 0)
                if number:
                    return f"{file[1]}, line {number}"
            elif _is(text, name):
                return f"{self.named('--wheel-requires', text)}: {text}"
        groups = read_groups(self.project) if self.project is not None else {}
        wanted = set(map(canonicalize_name, self.groups))
        for group, lines in groups.items():
            if canonicalize_name(group) in wanted and (line := next((line for line in lines if _is(line, name)), "")):
                return f"{line} in the dependency group {group} of pyproject.toml"
        return ""


def names(requirements: Iterable[str]) -> Iterator[str]:
    """Yield the normalized names of the distributions that requirements name."""
    for text in requirements:
        with contextlib.suppress(InvalidRequirement):
            yield canonicalize_name(Requirement(text).name)


def _is(text: str, name: str) -> bool:
    return canonicalize_name(name) in names([text])


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return
    for number, line in enumerate(text.splitlines(), 1):
        yield number, line.partition(" #")[0].strip()
