"""``wheelcheck cache``, ``runtime list`` and ``runtime remove``: the contents of the cache."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_wheelcheck.backends import launcher
from pytest_wheelcheck.backends.registry import EMULATOR, EMULATOR_KIND, emulator_version
from pytest_wheelcheck.cli import output
from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, runs_natively
from pytest_wheelcheck.system import cache, directories, temporary
from pytest_wheelcheck.system.sizes import parse_size

if TYPE_CHECKING:
    from pytest_wheelcheck.cli.output import Subparsers

#: Kinds of cache entries that ``runtime list`` shows: interpreters, C libraries, emulators.
_RUNTIME_KINDS = ("runtimes", "roots", EMULATOR_KIND)

_INCOMPLETE = "incomplete"

#: Seconds in which a run that cannot be noticed, such as one in a container, may have used an entry.
_IN_USE = 2 * 3600.0


def declare(commands: Subparsers, runtime_actions: Subparsers) -> None:
    """Declare the commands.

    :param runtime_actions: the actions of ``wheelcheck runtime``.
    """
    parser = runtime_actions.add_parser("list", help=f"list the cached interpreters: size, age, last use, {EMULATOR}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_list)
    parser = runtime_actions.add_parser(
        "remove",
        help="remove interpreters from the cache",
        epilog="Exit status 1 if one of the names is not in the cache.",
    )
    parser.add_argument("name", nargs="+", help="as shown by `runtime list`; `all` for everything")
    parser.add_argument("--json", action="store_true", help="print the removed names as JSON")
    parser.set_defaults(run=_remove)
    parser = commands.add_parser("cache", help="print the path and the size of the cache")
    parser.set_defaults(run=_show)
    pruning = parser.add_subparsers(dest="action", metavar="prune").add_parser(
        "prune", help="remove unused and incomplete entries"
    )
    pruning.add_argument(
        "--days", type=float, default=30.0, help="remove entries unused for this many days; 0 for all; default 30"
    )
    pruning.add_argument(
        "--max-size",
        metavar="SIZE",
        help="then remove what was unused for the longest time, until the cache has at most this size, such as 5GB; what was "
        "used in the last 2 hours, or since a run that is in progress began, stays",
    )
    pruning.set_defaults(run=_prune)


@dataclass(frozen=True, kw_only=True, slots=True)
class _CachedRuntime:
    """A cached interpreter, C library or emulator.

    :param key: its name in the cache.
    :param size: in bytes.
    :param age: in seconds.
    :param idle: seconds since the last use.
    """

    key: str
    size: int
    age: float
    idle: float

    @property
    def name(self) -> str:
        """The name without its kind."""
        return self.key.partition("/")[2]

    @property
    def emulator(self) -> str:
        """The version of the emulator that runs it; empty if it runs natively or the emulator is not cached."""
        parts = self.name.split("-")
        architecture = next((found for found in ARCHITECTURES.values() if found.name in parts), None)
        if self.key.startswith(f"{EMULATOR_KIND}/") or architecture is None or runs_natively(architecture.name):
            return ""
        return emulator_version(architecture)


def _cached_runtimes() -> list[_CachedRuntime]:
    found = []
    for kind in _RUNTIME_KINDS:
        for mark in sorted((cache.root() / kind).glob("*/.complete")):
            directory = mark.parent
            now = time.time()
            found.append(
                _CachedRuntime(
                    key=f"{kind}/{directory.name}",
                    size=directories.size(directory),
                    age=now - directory.stat().st_mtime,
                    idle=now - mark.stat().st_mtime,
                )
            )
    return found


def _list(args: argparse.Namespace) -> int:
    """Print the cached interpreters, C libraries and emulators."""
    found = _cached_runtimes()
    if args.json:
        output.write_json(
            [
                {
                    "name": runtime.name,
                    "kind": runtime.key.partition("/")[0],
                    "provider": runtime.name.partition("-")[0] if runtime.key.startswith("runtimes/") else "",
                    EMULATOR_KIND: runtime.emulator,
                    "bytes": runtime.size,
                    "age": runtime.age,
                    "unused": runtime.idle,
                }
                for runtime in found
            ]
        )
        return 0
    if not found:
        output.write([f"no interpreters in {cache.root()}"])
        return 0
    output.write([f"{'size':>9}  {'age':>10}  {'unused':>10}  {EMULATOR:5} name"])
    output.write(
        f"{_megabytes(runtime.size)}  {_duration(runtime.age):>10}  {_duration(runtime.idle):>10}  "
        f"{runtime.emulator:5} {runtime.key}"
        for runtime in found
    )
    output.write([f"{_megabytes(sum(runtime.size for runtime in found))} in {cache.root()}"])
    return 0


def _remove(args: argparse.Namespace) -> int:
    """Remove interpreters or emulators from the cache, with the launchers that start them.

    :returns: 1 if one of the names is not in the cache.
    """
    found = _cached_runtimes()
    removed: dict[str, None] = {}
    status = 0
    for name in args.name:
        chosen = [runtime for runtime in found if name in {"all", runtime.name, runtime.key}]
        if not chosen and name != "all":
            sys.stderr.write(
                f"wheelcheck: {name} is not in the cache\nFix: run `wheelcheck runtime list` to see the names\n"
            )
            status = 1
        for runtime in chosen:
            cache.remove(runtime.key)
            removed[runtime.key] = None
    for key in launcher.broken():
        cache.remove(key)
    if args.json:
        output.write_json(list(removed))
    else:
        output.write(removed)
    return status


def _show(args: argparse.Namespace) -> int:  # noqa: ARG001
    """Print the path of the cache, and number and size of its entries by kind."""
    kinds: dict[str, list[cache.Entry]] = {}
    for entry in cache.entries():
        kinds.setdefault(entry.key.partition("/")[0] if entry.complete else _INCOMPLETE, []).append(entry)
    output.write(
        f"{_megabytes(sum(entry.size for entry in found))}  {len(found):4} {kind}"
        for kind, found in sorted(kinds.items())
    )
    total = sum(entry.size for found in kinds.values() for entry in found)
    output.write([f"{_megabytes(total)} in {cache.root()}"])
    return 0


def _prune(args: argparse.Namespace) -> int:
    """Remove unused and incomplete entries of the cache.

    :raises UsageError: the number of days is negative, or the size is none.
    """
    if not 0 <= args.days < float("inf"):
        raise UsageError(f"--days {args.days:g} is not a number of 0 or more")
    try:
        max_size = parse_size(args.max_size) if args.max_size is not None else float("inf")
    except ValueError:
        raise UsageError(f"--max-size {args.max_size} is not a size", fix="write bytes, 5GB or 500MiB") from None
    in_use = max(_IN_USE, temporary.seconds_in_use() + cache.MARK_INTERVAL)
    removed = cache.prune(args.days * 86400, max_size, in_use=in_use)
    output.write(
        f"{_megabytes(entry.size)}  {entry.key}{'' if entry.complete else f' ({_INCOMPLETE})'}" for entry in removed
    )
    output.write([f"{_megabytes(sum(entry.size for entry in removed))} removed from {cache.root()}"])
    return 0


def _megabytes(size: int) -> str:
    return f"{size / 1e6:6.0f} MB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return "new"
