"""Translation of paths between this host and a board: some directories have other paths there, all others the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Keys of messages whose value is not translated, and those of a collected test: names, which only look like paths.
_PLAIN = frozenset({"type", "keywords"})
_NAMES = frozenset({*_PLAIN, "names", "chain"})


@dataclass(frozen=True, slots=True)
class Prefixes:
    """The directories with other paths. See :class:`pytest_wheelcheck.backends.base.PathMapping` for the methods.

    :param pairs: absolute paths of this host and of the board, the longest first.
    :param mentioned: is called with each path of this host that is translated for the board: files that it needs are sent.
    """

    pairs: tuple[tuple[str, str], ...]
    mentioned: Callable[[str], None]

    def to_target(self, path: Path | str) -> str:
        """See :class:`pytest_wheelcheck.backends.base.PathMapping`."""
        text = str(path)
        for here, there in self.pairs:
            if text == here or text.startswith(f"{here}/"):
                self.mentioned(text)
                return there + text[len(here) :]
        return text

    def settings_to_target(self, value: Any) -> Any:
        """See :class:`pytest_wheelcheck.backends.base.PathMapping`."""
        if isinstance(value, str):
            option, equals, path = value.partition("=")
            if equals and path.startswith("/") and not option.startswith("/"):
                return f"{option}={self.node_id_to_target(path)}"
            return self.node_id_to_target(value)
        if isinstance(value, (list, tuple)):
            return [self.settings_to_target(each) for each in value]
        if isinstance(value, dict):
            return {name: self.settings_to_target(each) for name, each in value.items()}
        return value

    def node_id_to_target(self, node_id: str) -> str:
        """See :class:`pytest_wheelcheck.backends.base.PathMapping`."""
        file, colons, rest = node_id.partition("::")
        return f"{self.to_target(file)}{colons}{rest}" if file.startswith("/") else node_id

    def message_from_target(self, message: Any) -> Any:
        """See :class:`pytest_wheelcheck.backends.base.PathMapping`."""
        if isinstance(message, str):
            return self.text_from_target(message)
        if isinstance(message, list):
            return [self.message_from_target(each) for each in message]
        if isinstance(message, dict):
            # A report has a chain, too: that of its exceptions.
            plain = _NAMES if "marks" in message else _PLAIN
            return {
                name: value if name in plain else self.message_from_target(value) for name, value in message.items()
            }
        return message

    def text_from_target(self, text: str) -> str:
        """See :class:`pytest_wheelcheck.backends.base.PathMapping`."""
        for here, there in self.pairs:
            if there in text:
                text = re.sub(rf"{re.escape(there)}(?![\w.-])", here.replace("\\", r"\\"), text)
        return text
