"""Skips tests that cannot run on a target: the markers ``pty`` and ``wheel_target``."""

from __future__ import annotations

import os

from .facts import WheelTarget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


#: Modules of platforms that have pseudo-terminals. A test module that cannot be imported without one of them is skipped.
UNIX_MODULES = ("pty", "tty", "termios", "fcntl", "resource")


class TargetRules:
    """The pytest plugin that skips such tests, in the worker and in an ordinary run.

    :param facts: as :func:`~.facts.local_facts` returns them.
    :param patterns: words in the name of a test that needs a pseudo-terminal; ``pty`` matches a whole word of a
        ``snake_case`` or ``CamelCase`` name, never a part of ``empty``.
    """

    def __init__(self, facts: dict[str, Any], patterns: Iterable[str]) -> None:
        import pytest

        self.pytest = pytest
        self.facts = facts
        self.target = WheelTarget(facts)
        self.patterns = tuple(pattern.lower() for pattern in patterns if pattern)
        self._matches: dict[str, bool] = {}

    def target_name(self) -> str:
        """Return the name of the target for messages."""
        return "%s on %s" % (self.facts["interpreter"], self.facts["system"])

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            self._apply_facts(item)
            if not self.facts["pty"] and self._needs_pty(item):
                item.add_marker(
                    self.pytest.mark.skip(reason="needs a pseudo-terminal, which %s does not have" % self.target_name())
                )

    def _needs_pty(self, item: Any) -> bool:
        mark = item.get_closest_marker("pty")
        if mark is not None:
            return not (mark.args and mark.args[0] is False)
        if not self.patterns:
            return False
        names = []
        for node in item.listchain():
            if isinstance(node, self.pytest.Session) or is_directory(self.pytest, node):
                continue
            names.append(os.path.basename(node.name) if isinstance(node, self.pytest.Module) else node.name)
        return any(self._matches_pattern(name) for name in names)

    def _matches_pattern(self, name: str) -> bool:
        bare = name.partition("[")[0]
        matches = self._matches.get(bare)
        if matches is None:
            words = split_words(bare)
            matches = self._matches[bare] = any(
                "_".join(words[start : start + size]) == pattern
                for pattern in self.patterns
                for size in [pattern.count("_") + 1]
                for start in range(len(words) - size + 1)
            )
        return matches

    def _apply_facts(self, item: Any) -> None:
        for mark in item.iter_markers("wheel_target"):
            required = dict(mark.kwargs)
            skip = bool(required.pop("skip", False))
            own_reason = required.pop("reason", "")
            unknown = sorted(set(required) - set(self.facts))
            if unknown or mark.args or not required:
                raise self.pytest.UsageError(
                    "%s: @pytest.mark.wheel_target(...) takes facts by keyword (%s), and skip= and reason=; got %s"
                    % (item.nodeid, ", ".join(sorted(self.facts)), ", ".join(unknown) or repr(mark.args))
                )
            holds = all(self._holds(name, value) for name, value in required.items())
            if holds is skip:
                text = ", ".join("%s=%r" % pair for pair in sorted(required.items()))
                actual = ", ".join("%s=%r" % (name, self.facts[name]) for name in sorted(required))
                reason = "not for targets with %s" % text if skip else "needs a target with %s; has %s" % (text, actual)
                item.add_marker(self.pytest.mark.skip(reason=own_reason or reason))

    def _holds(self, name: str, value: Any) -> bool:
        values = value if isinstance(value, (tuple, list, set, frozenset)) else (value,)
        return self.facts[name] in values

    def skips_import(self, error: ImportError, is_wheel_file: Callable[[str], bool]) -> str:
        """Return the reason to skip a test module whose import fails since the target lacks pseudo-terminals.

        :param is_wheel_file: returns whether a file belongs to the wheel; its own failing import is a failure.
        :returns: an empty string for any other import error.
        """
        if self.facts["pty"]:
            return ""
        name = (error.name or "").partition(".")[0]
        if name not in UNIX_MODULES:
            return ""
        entry = error.__traceback__
        importing_file = ""
        while entry is not None:
            file = entry.tb_frame.f_code.co_filename
            # On Windows ``import pty`` finds the module, and an import inside it fails: the file that imports pty counts.
            if not file.startswith("<frozen") and entry.tb_frame.f_globals.get("__name__") not in UNIX_MODULES:
                importing_file = file
            entry = entry.tb_next
        if is_wheel_file(importing_file):
            return ""
        return "needs the module %r, which %s does not have" % (name, self.target_name())


def split_words(name: str) -> list[str]:
    """Split a ``snake_case`` or ``CamelCase`` name, or a file name, into lower-case words."""
    words = []
    current = ""
    previous = ""
    for index, char in enumerate(name):
        following = name[index + 1 : index + 2]
        boundary = not char.isalnum() or (
            char.isupper()
            and (previous.islower() or previous.isdigit() or (previous.isupper() and following.islower()))
        )
        if boundary and current:
            words.append(current.lower())
            current = ""
        if char.isalnum():
            current += char
        previous = char
    if current:
        words.append(current.lower())
    return words


def is_directory(pytest: Any, node: Any) -> bool:
    """Return whether a node is a directory (pytest 8 and later)."""
    cls = getattr(pytest, "Directory", None)
    return cls is not None and isinstance(node, cls)
