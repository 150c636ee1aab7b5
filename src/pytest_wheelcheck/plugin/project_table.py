"""The table ``[tool.wheelcheck]`` of pyproject.toml: the ini keys of this package, without ``wheel_`` in front.

A key in the pytest configuration is unknown to a pytest without this plugin, which ``--strict-config`` makes an error. So the
keys may be in a table of their own.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from _pytest.config.findpaths import ConfigValue

from pytest_wheelcheck.errors import did_you_mean
from pytest_wheelcheck.plugin.options import INI_KEYS
from pytest_wheelcheck.setting_lines import TABLE

#: The keys that the table sets, with ``wheel_`` in front.
FROM_TABLE = pytest.StashKey[frozenset[str]]()

_KEYS = {key.name.removeprefix("wheel_"): key for key in INI_KEYS}

#: What values of each type of keys are in TOML, and how a message calls them.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "args": ((list,), "a list of strings"),
    "linelist": ((list,), "a list of strings"),
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a number"),
    "float": ((int, float), "a number"),
    "string": ((str,), "a string"),
}


#: Keys that may also be a table: patterns with options.
_PATTERNS = frozenset({"wheel_overrides"})


def read(config: pytest.Config, data: bytes) -> None:
    """Take the values of the table for those of the pytest configuration.

    :param data: the content of pyproject.toml.
    :raises pytest.UsageError: a key is unknown, has a value of another type, or is set in both places.
    """
    found = set()
    for name, value in table(data).items():
        key = _KEYS.get(name.replace("-", "_"))
        if key is None:
            hint = did_you_mean(name, _KEYS, most=2) or f"the keys are {', '.join(sorted(_KEYS))}"
            raise pytest.UsageError(f"{TABLE}: there is no key {name}\nFix: {hint}")
        private: Any = config
        if key.name in private._inicfg and private._inicfg[key.name].origin == "file":
            raise pytest.UsageError(
                f"{TABLE}: {name} is also set as {key.name} in the configuration of pytest\nFix: remove one of them"
            )
        if key.name in _PATTERNS and isinstance(value, dict):
            value = _lines(name, value)  # noqa: PLW2901
        checked = _checked(name, key.type if isinstance(key.type, tuple) else (key.type,), value)
        if key.name not in private._inicfg:
            private._inicfg[key.name] = ConfigValue(checked, origin="file", mode="toml")
            found.add(key.name)
    config.stash[FROM_TABLE] = frozenset(found)


def _lines(name: str, entries: Mapping[str, object]) -> list[str]:
    """Return the lines of a key that is a table of patterns and options."""
    lines = []
    for pattern, options in entries.items():
        if isinstance(options, list) and all(isinstance(option, str) for option in options):
            lines.append(f"{pattern}: {shlex.join(options)}")
        elif isinstance(options, str):
            lines.append(f"{pattern}: {options}")
        else:
            raise pytest.UsageError(
                f"{TABLE}: {name}.{pattern!r} is {options!r}\nFix: write the options in one string, or in a list of strings"
            )
    return lines


def table(data: bytes) -> dict[str, Any]:
    """Return the table as it is written; empty if there is none.

    :param data: the content of pyproject.toml.
    :raises pytest.UsageError: it is not a table.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        tools = tomllib.loads(data.decode("utf-8")).get("tool", {})
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}  # pytest reports it, or does not read it
    found = tools.get("wheelcheck", {}) if isinstance(tools, dict) else {}
    if not isinstance(found, dict):
        raise pytest.UsageError(f"{TABLE} is not a table\nFix: write [tool.wheelcheck], and a key in each line")
    return found


def _checked(name: str, types: tuple[str, ...], value: object) -> object:
    """Return a value as pytest's own TOML configuration has it.

    :raises pytest.UsageError: it has another type.
    """
    for kind in types:
        accepted, _ = _TYPES[kind]
        is_flag = isinstance(value, bool)
        entries = value if isinstance(value, list) else []
        if (
            isinstance(value, accepted)
            and is_flag == (kind == "bool")
            and all(isinstance(entry, str) for entry in entries)
        ):
            return float(value) if kind == "float" and isinstance(value, int) else value
    expected = " or ".join(dict.fromkeys(_TYPES[kind][1] for kind in types))
    raise pytest.UsageError(f"{TABLE}: {name} is {value!r}\nFix: write {expected}")
