"""The ``.dist-info`` directory of a wheel: METADATA and ``entry_points.txt``.

METADATA is parsed by packaging. Source: core metadata and entry points specifications.
"""

from __future__ import annotations

import configparser

from packaging.metadata import RawMetadata, parse_email

from pytest_wheelcheck.errors import WheelError
from pytest_wheelcheck.wheels.container import Container

#: Maximum size in bytes of METADATA, WHEEL and entry_points.txt. The largest published METADATA has about 2 MB.
MAX_TEXT = 16 << 20


def find_dist_info(container: Container, *, shown: str) -> str:
    """Return the name of the only ``.dist-info`` directory.

    :raises WheelError: there is none, or more than one.
    """
    tops = (member.name.partition("/") for member in container.members)
    names = sorted({top for top, slash, _ in tops if slash and top.endswith(".dist-info")})
    if len(names) == 1:
        return names[0]
    raise WheelError(
        f"{shown} has {len(names)} .dist-info directories: {', '.join(names)}"
        if names
        else f"{shown} has no .dist-info directory",
        cause="two wheels were merged into one archive" if names else "the file is an ordinary ZIP archive",
        fix="build the wheel with a build backend: python -m build --wheel",
    )


def read_metadata(container: Container, dist_info: str) -> RawMetadata:
    """Return the fields of METADATA that can be parsed; none if it is missing. The checks report errors.

    :raises WheelError: METADATA cannot be unpacked, or is larger than :data:`MAX_TEXT`.
    """
    member = container.find(f"{dist_info}/METADATA")
    return {} if member is None else parse_email(container.read(member, limit=MAX_TEXT))[0]


def read_console_scripts(container: Container, dist_info: str) -> list[tuple[str, str]]:
    """Return name and object reference of each console script; none if ``entry_points.txt`` cannot be parsed.

    :raises WheelError: as :func:`read_metadata`.
    """
    member = container.find(f"{dist_info}/entry_points.txt")
    text = "" if member is None else container.read(member, limit=MAX_TEXT).decode("utf-8", "replace")
    try:
        groups = parse_entry_points(text)
    except configparser.Error:
        return []
    return list(groups.get("console_scripts", {}).items())


class _EntryPointsParser(configparser.ConfigParser):
    """The parser that the entry points specification names: keys keep their case, only ``=`` separates."""

    def __init__(self) -> None:
        super().__init__(delimiters=("=",), interpolation=None, default_section="")

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def parse_entry_points(text: str) -> dict[str, dict[str, str]]:
    """Parse an ``entry_points.txt``: object references by name, by group.

    ``importlib.metadata`` is not used. It accepts repeated names, and ignores lines outside of groups, which installers
    that follow the specification refuse.

    :raises configparser.Error: the text cannot be parsed.
    """
    parser = _EntryPointsParser()
    parser.read_string(text)
    return {group: dict(parser.items(group)) for group in parser.sections()}
