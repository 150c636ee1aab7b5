"""The parts of the command ``wheelcheck`` about interpreters and the cache: ``runtime``, ``exec``, ``doctor``, ``cache``."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import cache
from .errors import RuntimeUnavailableError, UsageError
from .model import Runtime
from .runtimes import progress, providers
from .runtimes.architectures import ALIASES, ARCHITECTURES
from .runtimes.base import Offer, Platform, Request, ask, here

if TYPE_CHECKING:
    from .targets import Interpreter

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 — argparse has no other name for it

#: The commands that are run here.
NAMES = frozenset({"runtime", "exec", "doctor", "cache"})

_PLATFORM = "an architecture such as aarch64, with musllinux- before it for musl"


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
        if name == "install":
            action.add_argument("--apt-source", default="", metavar="LINE", help="an archive instead of the host's")
    listing = actions.add_parser("list", help="what is in the cache: size, origin, age")
    listing.add_argument("--json", action="store_true", help="as JSON")
    removing = actions.add_parser("remove", help="remove from the cache")
    removing.add_argument("name", nargs="+", help="as `runtime list` shows them; `all` for everything")
    running = commands.add_parser("exec", help="run a program inside a runtime: exec aarch64 3.13 -- python -c …")
    _declare_interpreter(running, several=False)
    running.add_argument("words", nargs=argparse.REMAINDER, metavar="-- PROGRAM …", help="`python` if left out")
    examining = commands.add_parser(
        "doctor", help="what this host can run, through which provider, and why not the rest"
    )
    examining.add_argument("--json", action="store_true", help="as JSON")
    examining.add_argument("--offline", action="store_true", help="tell only what the cache holds and what is known")

    caching = commands.add_parser("cache", help="where the cache is and how large")
    pruning = caching.add_subparsers(dest="action", metavar="prune").add_parser(
        "prune", help="remove what was not used for a while, and what was left half made"
    )
    pruning.add_argument("--days", type=float, default=30.0, help="unused for this long; 0 for all; 30 if left out")


def _declare_interpreter(parser: argparse.ArgumentParser, *, several: bool) -> None:
    parser.add_argument("architecture", help=_PLATFORM)
    parser.add_argument("version", nargs="*" if several else None, help="such as 3.13 or 3.14t")


def run(found: argparse.Namespace) -> int:
    """Run one of the commands.

    :returns: the exit status: 0, or 1 where what was asked for is not there.
    :raises WheelcheckError: it could not be done.
    """
    if found.command == "cache":
        return prune(found.days) if found.action == "prune" else show_cache()
    if found.command == "doctor":
        return doctor(offline=found.offline, as_json=found.json)
    if found.command == "exec":
        return execute(found.architecture, found.version, found.words)
    if found.action == "install":
        return install(found.architecture, found.version, apt_source=found.apt_source, as_json=found.json)
    if found.action == "path":
        return path(found.architecture, found.version, as_json=found.json)
    if found.action == "list":
        return list_kept(as_json=found.json)
    return remove(found.name)


# --- interpreters ------------------------------------------------------------------------------------------------------


def platform_of(text: str) -> Platform:
    """Read ``aarch64``, ``linux-aarch64``, ``musllinux-aarch64`` or ``host``.

    :raises UsageError: it is none of these.
    """
    if text == "host":
        return here()
    libc = "musl" if text.startswith("musllinux-") else "glibc"
    name = ALIASES.get(plain := re.sub(r"^(musl)?linux-", "", text), plain)
    if name not in ARCHITECTURES:
        raise UsageError(f"{text}: no such architecture is known", advice=f"give one of {', '.join(ARCHITECTURES)}")
    return Platform(system="linux", architecture=name, libc=libc)


def _interpreter(text: str) -> Interpreter:
    from .targets import parse_specs

    (spec,) = parse_specs([text])
    if spec.interpreter is None:
        raise UsageError(f"{text}: not a version of Python", advice="give one such as 3.13 or 3.14t")
    return spec.interpreter


def obtain(platform: Platform, wanted: Interpreter, *, offline: bool = False, apt_source: str = "") -> Runtime:
    """Give an interpreter, made if need be.

    :param offline: only one that is in the cache or on the host.
    :raises RuntimeUnavailableError: no provider can give it.
    """
    having = providers(offline=offline, apt_source=apt_source)
    offers, reasons = ask(having, Request(platform=platform, wanted=frozenset({wanted.whole})))
    problem = None
    for offer in (each for each in offers if _is(each, wanted)):
        try:
            return next(each for each in having if each.name == offer.provider).get(offer)
        except RuntimeUnavailableError as error:  # noqa: PERF203 — the next provider is tried
            problem = error
    if problem is not None:
        raise problem
    versions = ", ".join(sorted({offer.runtime(Path()).interpreter for offer in offers}))
    raise RuntimeUnavailableError(
        f"{wanted} for {platform.architecture} cannot be had{' without the network' if offline else ''}",
        cause="; ".join(reasons) or f"found {versions or 'none'}",
        advice=f"wheelcheck runtime install {platform.architecture} {wanted.short}"
        if offline
        else "wheelcheck doctor tells what this host can run",
    )


def _is(offer: Offer, wanted: Interpreter) -> bool:
    return (offer.implementation, offer.version[:2], offer.free_threaded) == wanted.whole


def install(architecture: str, versions: Sequence[str], *, apt_source: str = "", as_json: bool = False) -> int:
    """Make interpreters ready, and QEMU with them."""
    platform = platform_of(architecture)
    texts = versions or ["{}.{}".format(*sys.version_info[:2])]
    with progress.shown():
        made = [obtain(platform, _interpreter(text), apt_source=apt_source) for text in texts]
    _print([_described(each) for each in made], [str(each.python) for each in made], as_json=as_json)
    return 0


def path(architecture: str, version: str, *, as_json: bool = False) -> int:
    """Print the path of an interpreter that is there already."""
    found = obtain(platform_of(architecture), _interpreter(version), offline=True)
    _print(_described(found), [str(found.python)], as_json=as_json)
    return 0


def execute(architecture: str, version: str, words: Sequence[str]) -> int:
    """Become a program inside a runtime; its folder is the first of ``PATH``."""
    given = [*words]
    if given[:1] == ["--"]:
        del given[0]
    with progress.shown():
        found = obtain(platform_of(architecture), _interpreter(version))
    folder = str(found.python.parent)
    program, *rest = given or ["python"]
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    env["PATH"] = os.pathsep.join((folder, env.get("PATH", os.defpath)))
    if re.fullmatch(r"python(3(\.\d+t?)?)?", program):
        program = str(found.python)
    sys.stdout.flush()
    try:
        os.execvpe(program, [program, *rest], env)  # noqa: S606 — that is what the user asked for
    except OSError as error:
        raise UsageError(f"{program} cannot be started: {error.strerror}") from error


def _described(runtime: Runtime) -> dict[str, Any]:
    return {
        "name": runtime.name,
        "python": str(runtime.python),
        "version": runtime.version_text,
        "architecture": runtime.architecture,
        "libc": f"{runtime.libc} {'.'.join(map(str, runtime.libc_version))}",
        "emulated": runtime.emulated,
        "provider": runtime.provider,
        "how": runtime.how,
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
    """

    key: str
    size: int
    age: float

    @property
    def name(self) -> str:
        """What people call it."""
        return self.key.partition("/")[2]


def kept() -> list[Kept]:
    """List the interpreters, C libraries and emulators of the cache."""
    found = []
    for kind in ("runtimes", "roots", "qemu"):
        for mark in sorted((cache.root() / kind).glob("*/.complete")):
            folder = mark.parent
            age = time.time() - mark.stat().st_mtime
            found.append(Kept(key=f"{kind}/{folder.name}", size=progress.size(folder), age=age))
    return found


def list_kept(*, as_json: bool = False) -> int:
    """Print what is in the cache."""
    found = kept()
    lines = [f"{each.size / 1e6:6.0f} MB  {_age(each.age):>8}  {each.key}" for each in found]
    if found:
        lines.append(f"{sum(each.size for each in found) / 1e6:6.0f} MB in {cache.root()}")
    else:
        lines.append(f"nothing yet in {cache.root()}")
    data = [
        {"name": each.name, "kind": each.key.partition("/")[0], "bytes": each.size, "age": each.age} for each in found
    ]
    _print(data, lines, as_json=as_json)
    return 0


def _age(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return "new"


def remove(names: Sequence[str]) -> int:
    """Remove interpreters or emulators from the cache, with the launchers that lead to them.

    :returns: 1 where one of the names is not there.
    """
    having = kept()
    status = 0
    for name in names:
        chosen = [each for each in having if name in {"all", each.name, each.key}]
        if not chosen:
            sys.stderr.write(f"wheelcheck: {name} is not in the cache; `wheelcheck runtime list` shows what is\n")
            status = 1
        for each in chosen:
            cache.discard(each.key)
    for launcher in (cache.root() / "launchers").glob("*/bin/python3.*"):
        if not launcher.is_symlink() and not _leads(launcher):
            cache.discard(f"launchers/{launcher.parent.parent.name}")
    return status


def _leads(launcher: Path) -> bool:
    """Tell whether everything that a launcher names in the cache is there."""
    import shlex

    words = shlex.split(launcher.read_text(encoding="utf-8"), comments=True)
    inside = [word for word in words if word.startswith(str(cache.root())) and ":" not in word]
    return all(Path(word).exists() for word in inside)


def show_cache() -> int:
    """Print where the cache is, and how much there is of what."""
    kinds: dict[str, list[cache.Thing]] = {}
    for thing in cache.things():
        kinds.setdefault(thing.key.partition("/")[0] if thing.whole else "half made", []).append(thing)
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
    for thing in removed:
        sys.stdout.write(f"{thing.size / 1e6:6.0f} MB  {thing.key}{'' if thing.whole else ' (half made)'}\n")
    sys.stdout.write(f"{sum(each.size for each in removed) / 1e6:6.0f} MB removed from {cache.root()}\n")
    return 0


# --- doctor ------------------------------------------------------------------------------------------------------------


def doctor(*, offline: bool = False, as_json: bool = False) -> int:
    """Tell for every architecture which interpreters this host can run, and why not the others."""
    having = providers(offline=offline)
    at = here()
    platforms = [Platform(system="linux", architecture=name, libc="glibc") for name in ARCHITECTURES]
    platforms += [Platform(system="linux", architecture=name, libc="musl") for name in ("x86_64", "aarch64")]
    if at not in platforms:
        platforms.insert(0, at)
    rows: list[dict[str, Any]] = []
    for platform in platforms:
        offers, reasons = ask(having, Request(platform=platform))
        best: dict[tuple[Any, ...], Offer] = {}
        for offer in offers:
            best.setdefault((offer.version[:2], offer.implementation, offer.free_threaded), offer)
        rows.append(
            {
                "platform": Offer.runtime(_nobody(platform), Path()).platform,
                "interpreters": [
                    {
                        "interpreter": offer.runtime(Path()).interpreter,
                        "version": ".".join(map(str, offer.version)),
                        "provider": offer.provider,
                        "emulated": offer.emulated,
                        "how": offer.how,
                    }
                    for _, offer in sorted(best.items())
                ],
                "reasons": list(reasons),
            }
        )
    lines = []
    for row in rows:
        lines.append(row["platform"])
        lines += [
            f"  {each['interpreter']:8} {each['version']:9} {each['provider']:10} {each['how']}"
            for each in row["interpreters"]
        ]
        lines += [f"  missing: {reason}" for reason in row["reasons"]]
        if not row["interpreters"] and not row["reasons"]:
            lines.append("  missing: no provider has anything for it on this host")
    _print(rows, lines, as_json=as_json)
    return 0


def _nobody(platform: Platform) -> Offer:
    return Offer(
        provider="",
        implementation="cpython",
        version=(3, 0, 0),
        free_threaded=False,
        platform=platform,
        libc_version=(0, 0),
        tags=(),
        how="",
    )
