"""Where the user wrote a value: errors name that place, and not the option of the same meaning."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from pytest_wheelcheck.plugin.options import INI_KEYS
from pytest_wheelcheck.plugin.project_table import FROM_TABLE
from pytest_wheelcheck.setting_lines import TABLE, replace_lines, shown_list, shown_value

#: Makes values of what is written.
Read = Callable[[Sequence[str]], Iterable[str]]


def key_place(config: pytest.Config, key: str, value: object = None) -> str:
    """Return where a key is set.

    :param value: is shown behind the key.
    :returns: ``wheel_groups in pytest.ini``, or ``max_size = big in [tool.wheelcheck] of pyproject.toml``.
    """
    shown = "" if value is None else f" = {value}"
    if key in config.stash.get(FROM_TABLE, frozenset()):
        return f"{key.removeprefix('wheel_')}{shown} in {TABLE}"
    private: Any = config
    found = private._inicfg.get(key)  # noqa: SLF001  where a key is set has no public name
    if found is not None and found.origin == "override":
        return f"-o {key}{shown}"
    return f"{key}{shown} in {config.inipath.name}" if found is not None and config.inipath else f"{key}{shown}"


class Values:
    """Values that may be on the command line and in the configuration.

    Attribute ``places``: where those are written that are only in the configuration, by the option and the value.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.places: dict[tuple[str, str], str] = {}

    def merged(self, flag: str, key: str, read: Read = tuple, read_key: Read | None = None) -> tuple[str, ...]:
        """Return the values of a key and of the option of the same meaning.

        :param read: makes the values of what is written.
        :param read_key: the same for the key, where that is different.
        """
        configured = tuple((read_key or read)(self._config.getini(key)))
        given = tuple(read(self._config.getoption(flag[2:].replace("-", "_"))))
        self.record(flag, key, [value for value in configured if value not in given])
        return (*configured, *given)

    def record(self, flag: str, key: str, values: Iterable[str]) -> None:
        """Record that values are in the configuration."""
        place = key_place(self._config, key)
        self.places.update(((flag, value), place) for value in values)


def addition(config: pytest.Config, key: str, values: Sequence[str]) -> str:
    """Return how to set a key where this project keeps its configuration: ``groups = ["test"] in ...``.

    :param values: all values of the key.
    """
    return _line(config, key, values)


def in_place(config: pytest.Config, text: str) -> str:
    """Write the lines that a message says to set for the place where this project keeps its configuration.

    Values that a list has already are kept.
    """

    def written(name: str, value: list[str] | str | float) -> str:
        key = f"wheel_{name}"
        if isinstance(value, list):
            return _line(config, key, list(dict.fromkeys((*config.getini(key), *value))))
        return _line(config, key, value)

    return replace_lines(text, written)


def _line(config: pytest.Config, key: str, value: Sequence[str] | str | float) -> str:
    private: Any = config
    set_keys = private._inicfg.items()  # noqa: SLF001  as above
    keys: set[str] = {name for name, value in set_keys if name.startswith("wheel_") and value.origin == "file"}
    is_list = not isinstance(value, (str, float, int))
    shown = shown_list(value) if is_list else shown_value(value)  # type: ignore[arg-type]
    # Where none is set, the table is the better place, if the project has that file.
    is_in_table = keys <= config.stash.get(FROM_TABLE, frozenset[str]())
    if config.inipath is None or (is_in_table and (keys or (config.rootpath / "pyproject.toml").is_file())):
        return f"{key.removeprefix('wheel_')} = {shown} in {TABLE}"
    file = config.inipath.name
    if config.inipath.suffix == ".toml":
        return f"{key} = {shown} in {file}"
    if not is_list:
        return f"{key} = {value} in {file}"
    values = [str(each) for each in value]  # type: ignore[union-attr]
    if next(declared.type for declared in INI_KEYS if declared.name == key) == "args":
        return f"{key} = {shlex.join(values)} in {file}"
    if len(values) == 1:
        return f"{key} = {values[0]} in {file}"
    # A list of lines begins below its key, and ends before anything else.
    return "\n".join([f"in {file}:", f"{key} =", *(f"    {each}" for each in values), ""])
