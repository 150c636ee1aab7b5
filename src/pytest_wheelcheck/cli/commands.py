"""The parts of the command ``wheelcheck`` about interpreters and the cache: ``runtime``, ``exec``, ``doctor``, ``cache``."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_wheelcheck.backends import launcher
from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.catalog import Catalog, make_catalog
from pytest_wheelcheck.backends.qemu import emulators
from pytest_wheelcheck.cli import doctor
from pytest_wheelcheck.errors import RuntimeUnavailableError, UsageError, WheelcheckError
from pytest_wheelcheck.interpreters import directory
from pytest_wheelcheck.interpreters.architectures import ALIASES, ARCHITECTURES, runs_natively
from pytest_wheelcheck.interpreters.base import Offer, Request, here
from pytest_wheelcheck.interpreters.windows import published
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system import cache, directories, process, progress
from pytest_wheelcheck.targets.specs import Interpreter, parse_specs

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 — argparse has no other name for it

#: The commands that are run here.
NAMES = frozenset({"runtime", "exec", "doctor", "cache"})

_PLATFORM = "an architecture such as aarch64, with musllinux- before it for musl; or win_amd64, win32"


def declare(commands: Subparsers) -> None:
    """Declare the commands to the parser of ``wheelcheck``."""
    runtime = commands.add_parser("runtime", help="interpreters of other architectures and versions")
    actions = runtime.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("install", "fetch and make an interpreter, for later runs without the network"),
        ("path", "print the path of an interpreter that was made: for tox, uv, make"),
    ):
        action = actions.add_parser(name, help=text)
        _declare_interpreter(action, several=name == "install")
        action.add_argument("--json", action="store_true", help="as JSON")
    listing = actions.add_parser("list", help="what is in the cache: size, age, last use, QEMU")
    listing.add_argument("--json", action="store_true", help="as JSON")
    removing = actions.add_parser("remove", help="remove from the cache")
    removing.add_argument("name", nargs="+", help="as `runtime list` shows them; `all` for everything")
    removing.add_argument("--json", action="store_true", help="as JSON: what was removed")
    running = commands.add_parser("exec", help="run a program inside a runtime: exec aarch64 3.13 -- python -c …")
    _declare_interpreter(running, several=False)
    running.add_argument("words", nargs=argparse.REMAINDER, metavar="-- PROGRAM …", help="`python` if left out")
    examining = commands.add_parser(
        "doctor", help="what this host can run, through which provider, and what to do about the rest"
    )
    examining.add_argument("architecture", nargs="?", help=f"{_PLATFORM}; all if left out")
    examining.add_argument("--json", action="store_true", help="as JSON")
    examining.add_argument("--offline", action="store_true", help="tell only what the cache holds and what is known")
    _declare_sources(examining)

    caching = commands.add_parser("cache", help="where the cache is and how large")
    pruning = caching.add_subparsers(dest="action", metavar="prune").add_parser(
        "prune", help="remove what was not used for a while, and what was left half made"
    )
    pruning.add_argument("--days", type=float, default=30.0, help="unused for this long; 0 for all; 30 if left out")


def _declare_interpreter(parser: argparse.ArgumentParser, *, several: bool) -> None:
    parser.add_argument("architecture", help=_PLATFORM)
    parser.add_argument("version", nargs="*" if several else None, help="such as 3.13 or 3.14t")
    _declare_sources(parser)


def _declare_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--apt-source", default="", metavar="LINE", help="as ini wheel_apt_source")
    parser.add_argument("--sysroot", action="append", default=[], metavar="ARCH=PATH", help="as --wheel-sysroot")


def run(found: argparse.Namespace) -> int:
    """Run one of the commands.

    :returns: the exit status: 0, or 1 where what was asked for is not there.
    :raises WheelcheckError: it could not be done.
    """
    if found.command == "cache":
        return prune(found.days) if found.action == "prune" else show_cache()
    if found.command == "runtime" and found.action == "list":
        return list_kept(as_json=found.json)
    if found.command == "runtime" and found.action == "remove":
        return remove(found.name, as_json=found.json)
    sources = Sources(apt_source=found.apt_source, sysroots=directory.parse(found.sysroot))
    if found.command == "doctor":
        return examine(found.architecture, sources, offline=found.offline, as_json=found.json)
    if found.command == "exec":
        return execute(found.architecture, found.version, found.words, sources)
    if found.action == "install":
        return install(found.architecture, found.version, sources, as_json=found.json)
    return path(found.architecture, found.version, sources, as_json=found.json)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where interpreters come from beside the usual.

    :param apt_source: see :func:`.runtimes.providers`.
    :param sysroots: see :func:`.runtimes.providers`.
    """

    apt_source: str = ""
    sysroots: tuple[directory.Sysroot, ...] = ()

    def catalog(self, *, offline: bool) -> Catalog:
        """Return all providers and backends."""
        return make_catalog(offline=offline, apt_source=self.apt_source, sysroots=self.sysroots)


# --- interpreters ------------------------------------------------------------------------------------------------------


def platform_of(text: str) -> Platform:
    """Read ``aarch64``, ``linux-aarch64``, ``musllinux-aarch64``, ``win_amd64``, ``win32`` or ``host``.

    :raises UsageError: it is none of these.
    """
    if text == "host":
        return here()
    if text in published.PLATFORMS:
        return published.PLATFORMS[text]
    libc = "musl" if text.startswith("musllinux-") else "glibc"
    name = ALIASES.get(plain := re.sub(r"^(musl)?linux-", "", text), plain)
    if name not in ARCHITECTURES:
        raise UsageError(
            f"{text}: no such architecture is known", fix=f"give one of {', '.join(ARCHITECTURES)}, win_amd64, win32"
        )
    return Platform(system="linux", architecture=name, libc=libc)


def _interpreter(text: str) -> Interpreter:

    (spec,) = parse_specs([text])
    if spec.interpreter is None:
        raise UsageError(f"{text}: not a version of Python", fix="give one such as 3.13 or 3.14t")
    return spec.interpreter


def obtain(platform: Platform, wanted: Interpreter, sources: Sources, *, offline: bool = False) -> Runtime:
    """Give an interpreter, made if need be.

    :param offline: only one that is in the cache or on the host.
    :raises RuntimeUnavailableError: no provider can give it.
    """
    catalog = sources.catalog(offline=offline)
    offers, reasons = catalog.ask(Request(platform=platform, wanted=frozenset({wanted.whole})))
    problem = None
    fitting = [each for each in offers if _is(each, wanted)]
    # What was named has no substitute.
    for offer in [each for each in fitting if each.rank < 0] or fitting:
        try:
            return catalog.get(offer)
        except RuntimeUnavailableError as error:  # noqa: PERF203 — the next provider is tried
            problem = error
    if problem is not None:
        raise problem
    versions = ", ".join(sorted({offer.interpreter for offer in offers}))
    raise RuntimeUnavailableError(
        f"{wanted} for {platform.architecture} cannot be had{' without the network' if offline else ''}",
        cause="; ".join(map(str, reasons)) or f"found {versions or 'none'}",
        fix=f"wheelcheck runtime install {platform.architecture} {wanted.short}"
        if offline
        else "wheelcheck doctor tells what this host can run",
    )


def _is(offer: Offer, wanted: Interpreter) -> bool:
    return (offer.implementation, offer.version[:2], offer.free_threaded) == wanted.whole


def install(architecture: str, versions: Sequence[str], sources: Sources, *, as_json: bool = False) -> int:
    """Make interpreters ready, and QEMU with them."""
    platform = platform_of(architecture)
    texts = versions or ["{}.{}".format(*sys.version_info[:2])]
    with progress.log_to():
        made = [obtain(platform, _interpreter(text), sources) for text in texts]
    _print([_described(each) for each in made], [str(each.python) for each in made], as_json=as_json)
    return 0


def path(architecture: str, version: str, sources: Sources, *, as_json: bool = False) -> int:
    """Print the path of an interpreter that is there already."""
    found = obtain(platform_of(architecture), _interpreter(version), sources, offline=True)
    _print(_described(found), [str(found.python)], as_json=as_json)
    return 0


def execute(architecture: str, version: str, words: Sequence[str], sources: Sources) -> int:
    """Become a program inside a runtime; its folder is the first of ``PATH``.

    :returns: the program's exit status, on Windows.
    :raises ProcessError: it cannot be started.
    """
    given = [*words]
    if given[:1] == ["--"]:
        del given[0]
    with progress.log_to():
        found = obtain(platform_of(architecture), _interpreter(version), sources)
    folder = str(found.python.parent)
    program, *rest = given or ["python"]
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    env["PATH"] = os.pathsep.join((folder, env.get("PATH", os.defpath)))
    if re.fullmatch(r"python(3(\.\d+t?)?)?", program):
        program = str(found.python)
    return process.exec_program([program, *rest], env)


def _described(runtime: Runtime) -> dict[str, Any]:
    installation = runtime.installation
    return {
        "name": runtime.name,
        "python": str(runtime.python),
        "version": installation.version_text,
        "architecture": installation.platform.architecture,
        "libc": f"{installation.platform.libc} {'.'.join(map(str, installation.libc_version))}",
        "emulated": runtime.backend.emulated,
        "provider": installation.provider,
        "how": installation.how,
    }


def _print(data: object, lines: Sequence[str], *, as_json: bool) -> None:
    sys.stdout.write(json.dumps(data, indent=1) + "\n" if as_json else "".join(f"{line}\n" for line in lines))


# --- the cache ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """Something in the cache.

    :param key: its name there.
    :param size: in bytes.
    :param age: in seconds.
    :param unused: seconds since it was last used.
    """

    key: str
    size: int
    age: float
    unused: float

    @property
    def name(self) -> str:
        """What people call it."""
        return self.key.partition("/")[2]

    @property
    def qemu(self) -> str:
        """The version of QEMU that runs it, if one does and is there."""
        words = self.name.split("-")
        architecture = next((each for each in ARCHITECTURES.values() if each.name in words), None)
        if self.key.startswith("qemu/") or architecture is None or runs_natively(architecture.name):
            return ""
        with contextlib.suppress(WheelcheckError):
            return ".".join(map(str, emulators.find(architecture, offline=True).version))
        return ""


def kept() -> list[Kept]:
    """List the interpreters, C libraries and emulators of the cache."""
    found = []
    for kind in ("runtimes", "roots", "qemu"):
        for mark in sorted((cache.root() / kind).glob("*/.complete")):
            folder = mark.parent
            now = time.time()
            found.append(
                Kept(
                    key=f"{kind}/{folder.name}",
                    size=directories.size(folder),
                    age=now - folder.stat().st_mtime,
                    unused=now - mark.stat().st_mtime,
                )
            )
    return found


def list_kept(*, as_json: bool = False) -> int:
    """Print what is in the cache."""
    found = kept()
    lines = [f"{'size':>9}  {'age':>10}  {'unused':>10}  {'QEMU':5} name"] if found else []
    for each in found:
        times = f"{_age(each.age):>10}  {_age(each.unused):>10}"
        lines.append(f"{each.size / 1e6:6.0f} MB  {times}  {each.qemu:5} {each.key}")
    if found:
        lines.append(f"{sum(each.size for each in found) / 1e6:6.0f} MB in {cache.root()}")
    else:
        lines.append(f"nothing yet in {cache.root()}")
    data = [
        {
            "name": each.name,
            "kind": each.key.partition("/")[0],
            "provider": each.name.partition("-")[0] if each.key.startswith("runtimes/") else "",
            "qemu": each.qemu,
            "bytes": each.size,
            "age": each.age,
            "unused": each.unused,
        }
        for each in found
    ]
    _print(data, lines, as_json=as_json)
    return 0


def _age(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return "new"


def remove(names: Sequence[str], *, as_json: bool = False) -> int:
    """Remove interpreters or emulators from the cache, with the launchers that lead to them.

    :returns: 1 where one of the names is not there.
    """
    having = kept()
    removed: dict[str, None] = {}
    status = 0
    for name in names:
        chosen = [each for each in having if name in {"all", each.name, each.key}]
        if not chosen:
            sys.stderr.write(f"wheelcheck: {name} is not in the cache; `wheelcheck runtime list` shows what is\n")
            status = 1
        for each in chosen:
            cache.remove(each.key)
            removed[each.key] = None
    for key in launcher.broken():
        cache.remove(key)
    _print(list(removed), list(removed), as_json=as_json)
    return status


def show_cache() -> int:
    """Print where the cache is, and how much there is of what."""
    kinds: dict[str, list[cache.Entry]] = {}
    for entry in cache.entries():
        kinds.setdefault(entry.key.partition("/")[0] if entry.complete else "half made", []).append(entry)
    for kind, found in sorted(kinds.items()):
        sys.stdout.write(f"{sum(each.size for each in found) / 1e6:6.0f} MB  {len(found):4} {kind}\n")
    total = sum(each.size for found in kinds.values() for each in found)
    sys.stdout.write(f"{total / 1e6:6.0f} MB in {cache.root()}\n")
    return 0


def prune(days: float) -> int:
    """Remove from the cache what was not used for some days."""
    if not 0 <= days < float("inf"):
        raise UsageError(f"--days {days:g}: not a number of days, 0 or more")
    removed = cache.prune(days * 86400)
    for entry in removed:
        sys.stdout.write(f"{entry.size / 1e6:6.0f} MB  {entry.key}{'' if entry.complete else ' (half made)'}\n")
    sys.stdout.write(f"{sum(each.size for each in removed) / 1e6:6.0f} MB removed from {cache.root()}\n")
    return 0


# --- doctor ------------------------------------------------------------------------------------------------------------


def examine(text: str | None, sources: Sources, *, offline: bool = False, as_json: bool = False) -> int:
    """Tell for every architecture, or one, which interpreters this host can run, and why not the others.

    :returns: 1 where none can be run.
    """
    catalog, cached = sources.catalog(offline=offline), sources.catalog(offline=True)
    chosen = doctor.platforms() if text is None else (platform_of(text),)
    more = [] if text else ["sandbox (--wheel-sandbox)", f"  {doctor.sandbox(offline=offline)}"]
    return doctor.report((doctor.examine(platform, catalog, cached) for platform in chosen), as_json=as_json, more=more)
