"""Which tests a target's facts rule out: the markers ``pty`` and ``wheel_target``."""

from __future__ import annotations

import os

from . import UNIX_MODULES
from .facts import WheelTarget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


class TargetRules:
    """Which tests a target's facts rule out. A pytest plugin, for the worker and for an ordinary run alike.

    :param facts: as :func:`local_facts` returns them.
    :param patterns: names that mark a test as one that needs a pseudo-terminal; ``pty`` matches as a whole word of a
        ``snake_case`` or ``CamelCase`` name, never as a part of ``empty``.
    """

    def __init__(self, facts: dict[str, Any], patterns: Iterable[str]) -> None:
        import pytest

        self.pytest = pytest
        self.facts = facts
        self.target = WheelTarget(facts)
        self.patterns = tuple(pattern.lower() for pattern in patterns if pattern)
        self._words: dict[str, bool] = {}

    def where(self) -> str:
        """Name the target in a reason."""
        return "%s on %s" % (self.facts["interpreter"], self.facts["system"])

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            self._apply_facts(item)
            if not self.facts["pty"] and self._needs_pty(item):
                item.add_marker(
                    self.pytest.mark.skip(reason="needs a pseudo-terminal, which %s does not have" % self.where())
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
        return any(self._names_pty(name) for name in names)

    def _names_pty(self, name: str) -> bool:
        bare = name.partition("[")[0]
        found = self._words.get(bare)
        if found is None:
            words = split_words(bare)
            found = self._words[bare] = any(
                "_".join(words[start : start + size]) == pattern
                for pattern in self.patterns
                for size in [pattern.count("_") + 1]
                for start in range(len(words) - size + 1)
            )
        return found

    def _apply_facts(self, item: Any) -> None:
        for mark in item.iter_markers("wheel_target"):
            wanted = dict(mark.kwargs)
            skip = bool(wanted.pop("skip", False))
            why = wanted.pop("reason", "")
            unknown = sorted(set(wanted) - set(self.facts))
            if unknown or mark.args or not wanted:
                raise self.pytest.UsageError(
                    "%s: @pytest.mark.wheel_target(...) takes facts by keyword (%s), and skip= and reason=; got %s"
                    % (item.nodeid, ", ".join(sorted(self.facts)), ", ".join(unknown) or repr(mark.args))
                )
            holds = all(self._holds(name, value) for name, value in wanted.items())
            if holds is skip:
                text = ", ".join("%s=%r" % pair for pair in sorted(wanted.items()))
                have = ", ".join("%s=%r" % (name, self.facts[name]) for name in sorted(wanted))
                reason = (
                    ("not for a target with %s" % text) if skip else "needs a target with %s, has %s" % (text, have)
                )
                item.add_marker(self.pytest.mark.skip(reason=why or reason))

    def _holds(self, name: str, value: Any) -> bool:
        values = value if isinstance(value, (tuple, list, set, frozenset)) else (value,)
        return self.facts[name] in values

    def skips_import(self, error: ImportError, is_wheel_file: Callable[[str], bool]) -> str:
        """Say whether an import error of a test module means that the target lacks pseudo-terminals.

        :param error: the :class:`ImportError`.
        :param is_wheel_file: tells whether a file belongs to the wheel; its own failing import is a failure.
        :returns: the reason to skip, or an empty string.
        """
        if self.facts["pty"]:
            return ""
        name = (error.name or "").partition(".")[0]
        if name not in UNIX_MODULES:
            return ""
        frame = error.__traceback__
        last = ""
        while frame is not None:
            file = frame.tb_frame.f_code.co_filename
            # On Windows ``import pty`` finds the module, which fails inside: whoever asked for it counts.
            if not file.startswith("<frozen") and frame.tb_frame.f_globals.get("__name__") not in UNIX_MODULES:
                last = file
            frame = frame.tb_next
        if is_wheel_file(last):
            return ""
        return "needs the module %r, which %s does not have" % (name, self.where())


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
    """Say whether a node stands for a folder (pytest 8 and later)."""
    kind = getattr(pytest, "Directory", None)
    return kind is not None and isinstance(node, kind)
