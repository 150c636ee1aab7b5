"""Options and ini keys as values. Every pytest run imports this module, so it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

#: How executables are started that the user names no arguments for.
DEFAULT_EXECUTABLES: tuple[str, tuple[str, ...] | None] = ("*", ("--version",))


# Not dataclasses: these take a millisecond to create, in every pytest run.
class Option(NamedTuple):
    """A command line option.

    :param flag: such as ``--wheel-python``; its destination in ``config.option`` is the flag with underscores.
    :param help: one or two sentences.
    :param metavar: the placeholder of the value in the help; empty for a switch.
    :param repeat: whether it may be given several times.
    :param type: converter of the value.
    """

    flag: str
    help: str
    metavar: str = ""
    repeat: bool = False
    type: Callable[[str], Any] | None = None

    @property
    def dest(self) -> str:
        """The attribute of ``config.option``."""
        return self.flag[2:].replace("-", "_")


class IniKey(NamedTuple):
    """A key of the project's pytest configuration.

    :param type: as in :meth:`pytest.Parser.addini`.
    """

    name: str
    help: str
    type: Any = "string"
    default: Any = ""
