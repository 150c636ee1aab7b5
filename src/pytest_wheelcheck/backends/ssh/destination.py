"""The boards that the user names: ``ssh://pi@board:22``, a name of the ini key ``wheel_hosts``, or a name of ssh's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pytest_wheelcheck.errors import UsageError

#: ``[ssh://][USER@]ADDRESS[:PORT]``; ADDRESS may be an IPv6 address in brackets, or a name of ssh's configuration.
_URL = re.compile(
    r"(?P<scheme>ssh://)?(?:(?P<user>[^\s@:/\[\]]+)@)?(?P<host>\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^\s@:/\[\]]+)(?::(?P<port>\d{1,5}))?/?"
)

#: Seconds of ``wait`` at most.
_MAX_WAIT = 86400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """A board, as the user named it.

    :param name: in node ids and messages: ``pi@board``, or the name of the ini key ``wheel_hosts``.
    :param user: empty for ssh's default.
    :param port: 0 for ssh's default.
    :param directory: where the board keeps files; empty for its user's cache directory.
    :param wait: seconds to wait for the board when the connection was lost.
    :param jobs: number of its targets whose tests run at the same time.
    """

    name: str
    host: str
    user: str = ""
    port: int = 0
    directory: str = ""
    wait: float = 60.0
    jobs: int = 1

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of ssh that name it. It never begins with a dash, and ``--`` is in front of it."""
        return (
            *(("-p", str(self.port)) if self.port else ()),
            "--",
            f"{self.user}@{self.host}" if self.user else self.host,
        )


def parse(texts: Iterable[str], configured: Iterable[str]) -> tuple[Destination, ...]:
    """Read the values of ``--wheel-host``.

    :param configured: the lines of the ini key ``wheel_hosts``, ``NAME = ADDRESS [directory=PATH] [wait=SECONDS] [jobs=N]``.
    :raises UsageError: a value is invalid.
    """
    known = dict(map(_configured, configured))
    found: dict[str, Destination] = {}
    for text in (part.strip() for value in texts for part in value.split(",")):
        destination = known.get(text) or _address(text, name="", options={}, where="--wheel-host")
        if found.setdefault(destination.name, destination) != destination:
            raise UsageError(f"--wheel-host: two boards have the name {destination.name}")
    return tuple(found.values())


def _configured(line: str) -> tuple[str, Destination]:
    name, equals, rest = (part.strip() for part in line.partition("="))
    address, *words = rest.split() or [""]
    if not equals or not address or not re.fullmatch(r"[\w@][\w@.-]*", name):
        raise UsageError(
            f"wheel_hosts: {line!r} is not a board",
            fix="write one `NAME = ssh://USER@ADDRESS[:PORT] [OPTION=VALUE ...]` per line",
        )
    options = {key: value for key, mark, value in (word.partition("=") for word in words) if mark}
    if len(options) != len(words) or not options.keys() <= {"directory", "wait", "jobs"}:
        raise UsageError(
            f"wheel_hosts: {line!r} has an unknown option", fix="use directory=PATH, wait=SECONDS or jobs=N"
        )
    return name, _address(address, name=name, options=options, where="wheel_hosts")


def _address(text: str, *, name: str, options: Mapping[str, str], where: str) -> Destination:
    match = _URL.fullmatch(text)
    port = int(match["port"] or 0) if match else 0
    # A name with a dash in front would be an option of ssh.
    if match is None or port > 65535 or match["host"].startswith("-") or (match["user"] or "").startswith("-"):
        raise UsageError(
            f"{where} {text}: not the address of a board",
            fix="write ssh://USER@ADDRESS[:PORT], or a name that ssh knows",
        )
    try:
        wait, jobs = float(options.get("wait", 60)), int(options.get("jobs", 1))
    except ValueError:
        wait, jobs = -1.0, 0
    # Infinity and "nan" are numbers, too; a run must end.
    if not 0 <= wait <= _MAX_WAIT or jobs < 1:
        raise UsageError(
            f"{where} {name or text}: wait is a number of seconds (a day at most), and jobs a number of 1 or more"
        )
    return Destination(
        name=name or text.removeprefix("ssh://").rstrip("/"),
        host=match["host"].strip("[]"),
        user=match["user"] or "",
        port=port,
        directory=options.get("directory", ""),
        wait=wait,
        jobs=jobs,
    )
