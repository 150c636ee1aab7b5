"""``wheelcheck doctor``: the interpreters that this host can run, their providers, and how to get the missing ones."""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_wheelcheck.backends import bubblewrap
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.cli import doctor_wheels, output
from pytest_wheelcheck.cli.fixes import fixes
from pytest_wheelcheck.cli.interpreters import PLATFORM_HELP, Sources, declare_sources, parse_platform
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES
from pytest_wheelcheck.interpreters.base import OLDEST, Answer, Kind, Offer, Request, here
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system import cache, progress, temporary
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.planning.tag_groups import NEWEST_KNOWN
from pytest_wheelcheck.targets.preparing.overlay import check_tools

if TYPE_CHECKING:
    from pytest_wheelcheck.cli.output import Subparsers

#: Bytes that an interpreter which is fetched takes on disk, with its packages and the test tools: between 50 and 130 MB.
_FETCHED_SIZE = 150_000_000

#: The first minor version with a free-threaded build (PEP 703).
_FREE_THREADED_SINCE = 13


def declare(commands: Subparsers) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "doctor",
        help="show which interpreters this host can run, or where wheels would be tested, and how to get the others",
        description="Without wheels: show which interpreters this host can run, and how to get the others. With wheels: show "
        "where a run would test each of them, what it would fetch for that, and what cannot be tested here. Nothing is "
        "downloaded, installed or run.",
        epilog="Exit status 1 if no interpreter can be run; with wheels, if something cannot be tested here.",
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="WHAT",
        help=f"{PLATFORM_HELP}; default: all. Or wheels: files, directories or quoted patterns",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--offline", action="store_true", help="do not use the network")
    doctor_wheels.declare_options(parser)
    declare_sources(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    """Report on every platform, on some of them, or on wheels.

    :returns: 1 if no interpreter can be run, or a wheel cannot be tested.
    :raises UsageError: an argument is wrong.
    """
    sources = Sources.from_args(args)
    if doctor_wheels.are_wheels(args):
        return doctor_wheels.run(args, sources, lambda: _find_problem(offline=args.offline))
    platforms = tuple(map(parse_platform, args.what)) or _platforms()
    catalog, cached = sources.catalog(offline=args.offline), sources.catalog(offline=True)
    with (
        progress.log_to(),
        progress.asking(f"finding out what this host can run: {len(platforms)} platform{'s' * (len(platforms) > 1)}"),
    ):
        problem = _find_problem(offline=args.offline)
        if problem is None:
            reports = [_examine(platform, catalog, cached) for platform in platforms]
        else:
            reports = [_unusable(platform, problem) for platform in platforms]
    if problem is not None and not args.json:
        output.write([f"no wheel can be installed or imported on this host; static checks work\n{problem}"])
    elif args.json:
        output.write_json([report.to_json() for report in reports])
    else:
        reasons = Counter(reason for report in reports for reason in report.relevant_reasons)
        common = [reason for reason, count in reasons.items() if count > 1]
        for report in reports:
            output.write(report.lines(exclude=common))
        if common:
            output.write(["reasons that concern several platforms", *(f"  {reason}" for reason in common)])
        if not args.what:
            output.write(["sandbox (--wheel-sandbox)", f"  {_sandbox_status(offline=args.offline)}"])
    return 0 if any(report.found for report in reports) else 1


@dataclass(frozen=True, kw_only=True, slots=True)
class _PlatformReport:
    """The interpreters of one platform.

    :param found: the best offer of each kind.
    :param others: names of the other providers of each kind.
    :param ready: the kinds that need no network.
    :param missing: CPython versions that no provider has.
    :param reasons: why providers have nothing, or not all, with their names.
    :param fixes: how to get the missing interpreters.
    :param backend_notes: the limits of results, by name of the backend.
    :param emulators: names of the backends that emulate instructions.
    :param room: bytes that are free on the disk of the cache.
    """

    platform: Platform
    found: dict[Kind, Offer]
    others: dict[Kind, tuple[str, ...]]
    ready: frozenset[Kind]
    missing: tuple[Kind, ...]
    reasons: tuple[str, ...]
    fixes: tuple[str, ...]
    backend_notes: Mapping[str, str]
    emulators: frozenset[str]
    room: int

    @property
    def fetched_size(self) -> int:
        """Bytes that the interpreters which are not ready may take."""
        return _FETCHED_SIZE * len(self.found.keys() - self.ready)

    @property
    def has_room(self) -> bool:
        """Whether these interpreters fit on the disk."""
        return self.room >= self.fetched_size

    @property
    def name(self) -> str:
        """The name of the platform as in the names of targets."""
        return self.platform.name

    @property
    def notes(self) -> tuple[str, ...]:
        """The limits of the results on this platform."""
        notes = (self.backend_notes.get(offer.backend) for offer in self.found.values())
        return tuple(dict.fromkeys(note for note in notes if note))

    @property
    def relevant_reasons(self) -> tuple[str, ...]:
        """The reasons, if an interpreter is missing."""
        return self.reasons if self.missing or not self.found else ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for :mod:`json`."""
        return {
            "platform": self.name,
            "interpreters": [
                {
                    "interpreter": offer.interpreter,
                    "version": ".".join(map(str, offer.version)),
                    "provider": offer.provider,
                    "others": list(self.others[kind]),
                    "ready": kind in self.ready,
                    "fits": kind in self.ready or self.has_room,
                    "emulated": offer.backend in self.emulators,
                    "how": offer.how,
                    "assembled": offer.assembled,
                }
                for kind, offer in self.found.items()
            ],
            "notes": list(self.notes),
            "missing": [_tag(kind) for kind in self.missing],
            "reasons": list(self.reasons),
            "advice": list(self.fixes),
        }

    def lines(self, *, exclude: Container[str] = ()) -> Iterator[str]:
        """Return the report as text.

        :param exclude: reasons that are printed elsewhere.
        """
        yield self.name
        for kind, offer in self.found.items():
            fetched = "fetched on first use" if self.has_room else "fetched on first use, if the disk has room"
            ready = "ready" if kind in self.ready else fetched
            others = f"; also {', '.join(self.others[kind])}" if self.others[kind] else ""
            name, version = offer.interpreter, ".".join(map(str, offer.version))
            yield f"  {name:8} {version:9} {offer.provider:10} {offer.how} ({ready}{others})"
        for note in self.notes:
            yield f"  note: {note}"
        if not self.has_room:
            yield (
                f"  note: the interpreters that are fetched may need {self.fetched_size / 1e9:.1f} GB, and "
                f"{self.room / 1e9:.1f} GB are free in {cache.root()}"
            )
            yield "  Fix: free disk space, or name a directory on another disk in WHEELCHECK_CACHE"
        if self.missing:
            yield f"  missing: {', '.join(map(_tag, self.missing))}"
        for reason in self.relevant_reasons:
            if reason not in exclude:
                yield f"  {reason}"
        for fix in self.fixes:
            yield f"  Fix: {fix}"


def _tag(kind: Kind) -> str:
    """Return the tag of an interpreter: ``cp314t``."""
    implementation, version, free_threaded = kind
    return f"{'cp' if implementation == 'cpython' else 'pp'}{version[0]}{version[1]}{'t' if free_threaded else ''}"


def _platforms() -> tuple[Platform, ...]:
    """Return the platforms that wheels are published for, this host's first."""
    platforms = [Platform(system="linux", architecture=name, libc="glibc") for name in ARCHITECTURES]
    platforms += [Platform(system="linux", architecture=name, libc="musl") for name in ("x86_64", "aarch64")]
    platforms += [Platform(system="win32", architecture=name) for name in ("amd64", "arm64", "x86")]
    platforms += [Platform(system="darwin", architecture=name) for name in ("arm64", "x86_64")]
    return tuple(dict.fromkeys((here(), *platforms)))


def _examine(platform: Platform, catalog: Catalog, cached: Catalog) -> _PlatformReport:
    """Ask all providers about one platform.

    :param cached: the same providers, without network.
    """
    answers = catalog.answers(Request(platform=platform))
    found, others = _best_offers(answers)
    missing = tuple(kind for kind in _known_kinds() if kind not in found)
    reasons = tuple(f"{name}: {answer.reason}" if name else answer.reason for name, answer in answers if answer.reason)
    return _PlatformReport(
        platform=platform,
        found={kind: found[kind] for kind in sorted(found)},
        others=others,
        ready=frozenset(_best_offers(cached.answers(Request(platform=platform)))[0]) & frozenset(found),
        missing=missing,
        reasons=reasons,
        fixes=tuple(fixes(platform, reasons, any_found=bool(found))) if missing else (),
        backend_notes={backend.name: backend.note for backend in catalog.backends},
        emulators=frozenset(backend.name for backend in catalog.backends if backend.emulated),
        room=_free_bytes(),
    )


def _free_bytes() -> int:
    """Return the bytes that are free on the disk of the cache."""
    directory = cache.root()
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return shutil.disk_usage(directory).free


def _find_problem(*, offline: bool) -> WheelcheckError | None:
    """Return what prevents every target on this host from being prepared, if there is anything."""
    try:
        with cache.locked("doctor"), temporary.directory() as directory:
            check_tools(directory, InstallSettings(offline=offline))
    except WheelcheckError as error:
        return error
    return None


def _unusable(platform: Platform, problem: WheelcheckError) -> _PlatformReport:
    """Return the report of a platform on a host on which no target can be prepared."""
    return _PlatformReport(
        platform=platform,
        found={},
        others={},
        ready=frozenset(),
        missing=_known_kinds(),
        reasons=(": ".join(filter(None, (problem.message, problem.cause))),),
        fixes=(problem.fix,) if problem.fix else (),
        backend_notes={},
        emulators=frozenset(),
        room=0,
    )


def _known_kinds() -> tuple[Kind, ...]:
    return tuple(
        ("cpython", (3, minor), free_threaded)
        for minor in range(OLDEST[1], NEWEST_KNOWN + 1)
        for free_threaded in ((False, True) if minor >= _FREE_THREADED_SINCE else (False,))
    )


def _best_offers(answers: Sequence[tuple[str, Answer]]) -> tuple[dict[Kind, Offer], dict[Kind, tuple[str, ...]]]:
    best: dict[Kind, Offer] = {}
    others: dict[Kind, tuple[str, ...]] = {}
    for offer in sorted((offer for _, answer in answers for offer in answer.offers), key=lambda offer: offer.rank):
        kind = offer.implementation, offer.version[:2], offer.free_threaded
        if kind not in best:
            best[kind], others[kind] = offer, ()
        elif offer.provider != best[kind].provider:
            others[kind] = tuple(dict.fromkeys((*others[kind], offer.provider)))
    return best, others


def _sandbox_status(*, offline: bool) -> str:
    """Return whether ``--wheel-sandbox`` works on this host. Fetches nothing."""
    try:
        bubblewrap.find(offline=True)
    except WheelcheckError as error:
        if isinstance(error, bubblewrap.NotFetchedError) and not offline:
            return "fetched on first use; it is not known yet whether this system allows sandboxes"
        return "; ".join(filter(None, (error.message.removeprefix("--wheel-sandbox: "), error.cause)))
    return "ready"
