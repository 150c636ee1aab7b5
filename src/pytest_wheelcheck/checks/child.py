"""Asks the parsers of others, in a process that may die.

A malformed file makes pyelftools, macholib, pefile and auditwheel raise, loop or take all memory, and auditwheel
changes the working directory. So :mod:`~pytest_wheelcheck.checks.parsers` runs as a program: with a deadline, a bound
on memory, in a folder of its own. Its answer is a file of JSON that is written at the very end; whatever goes wrong
before leaves none, which is an error of the check, never a pass.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from pytest_wheelcheck.checks.audit import Audit, Policy, Verdict, platform_parts
from pytest_wheelcheck.errors import ProcessError, WheelcheckError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.system import process
from pytest_wheelcheck.wheels.archive import Entry
from pytest_wheelcheck.wheels.binary import Binary

#: Seconds that a parser may take for any wheel, and for each MiB of it on top.
DEADLINE, DEADLINE_PER_MIB = 60.0, 3.0
#: Files with these endings are never native, and are not looked into.
_TEXT = (
    *(".py", ".pyi", ".pyc", ".pyx", ".pxd", ".c", ".cpp", ".h", ".hpp", ".hxx", ".cuh"),
    *(".txt", ".md", ".rst", ".json", ".html", ".css", ".js", ".svg", ".xml"),
)
#: Exit status of the child where a library that it needs is not installed.
NOT_INSTALLED = 3


class ImpossibleHereError(WheelcheckError):
    """A check that this host cannot run by nature, or that needs an optional dependency."""


def may_be_native(entry: Entry) -> bool:
    """Whether a member is looked into by :func:`read_binaries`."""
    return entry.size >= 16 and not entry.name.endswith(_TEXT)


def read_binaries(path: Path) -> tuple[tuple[Binary, ...], dict[str, bytes]]:
    """Read every native file of a wheel, in a child process.

    :returns: one value for each slice; and the sha256 of each file that could be unpacked whole, by its name.
    :raises ProcessError: the reader died or outlived its deadline.
    """
    items, digests = _ask("binaries", path)
    binaries = tuple(Binary(**{key: _frozen(value) for key, value in item.items()}) for item in items)
    return binaries, {name: bytes.fromhex(digest) for name, digest in digests.items()}


def read_audit(path: Path, wheel: Wheel) -> Audit:
    """Ask auditwheel about every C library and architecture that a wheel's tags name, in a child process.

    :raises ImpossibleHereError: on Windows, where auditwheel cannot be installed.
    :raises ProcessError: auditwheel is not installed, raised, died, or outlived its deadline.
    """
    if sys.platform == "win32":
        raise ImpossibleHereError(
            "auditwheel judges this, and cannot be installed on Windows",
            fix="judge the wheels for Linux on Linux or macOS, and merge the reports with `wheelcheck merge`",
        )
    parts = filter(None, map(platform_parts, wheel.platforms))
    wanted = [f"{libc}:{architecture}" for libc, architecture in dict.fromkeys(parts)]
    return Audit(verdicts=tuple(_verdict(item) for item in _ask("audit", path, *wanted)))


def read_rendering(path: Path) -> str:
    """Render the description of a wheel as reStructuredText, in a child process.

    :returns: why it cannot be rendered; an empty string where it can.
    :raises ImpossibleHereError: readme-renderer, an optional dependency, is not installed.
    :raises ProcessError: the renderer died or outlived its deadline.
    """
    if importlib.util.find_spec("readme_renderer") is None:
        raise ImpossibleHereError(
            "readme-renderer is not installed, so the reStructuredText description was not checked",
            fix="install pytest-wheelcheck[readme]",
        )
    return str(_ask("rendering", path)[0])


def _verdict(item: dict[str, Any]) -> Verdict:
    policies = tuple(
        Policy(
            name=policy["name"],
            aliases=tuple(policy["aliases"]),
            priority=policy["priority"],
            versions={key: tuple(value) for key, value in policy["versions"].items()},
            libraries=_frozen(policy["libraries"]),
            symbols=_frozen(policy["symbols"]),
        )
        for policy in item.pop("policies", [])
    )
    return Verdict(policies=policies, **item)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _ask(what: str, path: Path, *more: str) -> list[Any]:
    """Run the parsers and return their answer."""
    with tempfile.TemporaryDirectory(prefix="wheelcheck-") as folder:
        reply = Path(folder, "answer.json")
        home = Path(folder, "work")
        home.mkdir()
        done = process.run(
            [sys.executable, "-m", f"{__package__}.parsers", what, os.path.abspath(path), reply, *more],  # noqa: PTH100
            env=_environment(home),
            cwd=home,
            timeout=DEADLINE + DEADLINE_PER_MIB * (path.stat().st_size >> 20),
            check=False,
        )
        if done.returncode == 0 and reply.is_file():
            said: list[Any] = json.loads(reply.read_text("utf-8"))
            return said
    raise ProcessError(
        f"{path.name} could not be looked into: the reader ended with {process.describe_status(done.returncode)}",
        cause="a file in the wheel is malformed in a way that the reading library does not survive"
        if done.returncode != NOT_INSTALLED
        else "a library that the check needs is not installed on this system",
        details=done.stderr or done.stdout,
    )


def _environment(home: Path) -> dict[str, str]:
    """Give the child this process's import path, but never the working directory of a run as part of it."""
    environment = dict(os.environ)
    for name in ("PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONWARNINGS", "PYTHONDEVMODE"):
        environment.pop(name, None)
    places = [os.path.abspath(place) for place in sys.path if place]  # noqa: PTH100 - zip files are kept as they are
    environment |= {"PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8"}
    return environment | {"TMPDIR": os.fspath(home), "TEMP": os.fspath(home), "TMP": os.fspath(home)}
