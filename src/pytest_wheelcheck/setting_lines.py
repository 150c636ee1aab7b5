"""A key to set, as messages name it: a line that can be pasted into ``[tool.wheelcheck]`` of pyproject.toml.

Only the plugin knows where a project has its configuration. It finds these lines in messages, and writes them for that place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

#: The table, for messages.
TABLE = "[tool.wheelcheck] of pyproject.toml"

#: Values of a list that a message names.
_MAX_VALUES = 10

_STRING = r'"(?:[^"\\\n]|\\.)*"'
_LINE = re.compile(rf"\b([a-z_]+) = (\[{_STRING}(?:, {_STRING})*\]|{_STRING}|[0-9.]+) in {re.escape(TABLE)}")


def list_line(key: str, *values: str) -> str:
    """Return how to add values to a list: ``import_ignore = ["pkg.part"] in [tool.wheelcheck] of pyproject.toml``."""
    more = f" (and {len(values) - _MAX_VALUES} more)" if len(values) > _MAX_VALUES else ""
    return f"{key} = {shown_list(values[:_MAX_VALUES])} in {TABLE}{more}"


def value_line(key: str, value: str | float) -> str:
    """Return how to set a key that is not a list."""
    return f"{key} = {shown_value(value)} in {TABLE}"


def shown_list(values: Sequence[str]) -> str:
    """Return a list as TOML has it."""
    return f"[{', '.join(map(shown_value, values))}]"


def shown_value(value: str | float) -> str:
    """Return a string or a number as TOML has it."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else f"{value:g}"


def replace_lines(text: str, written: Callable[[str, list[str] | str | float], str]) -> str:
    """Replace the lines of this module in a message.

    :param written: takes a key and its value, and returns the replacement.
    """
    return _LINE.sub(lambda match: written(match[1], json.loads(match[2])), text)
