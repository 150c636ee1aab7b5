"""``wheelcheck doctor``: what this host can run, through which provider, and what to do about the rest."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_wheelcheck.backends import bubblewrap
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, host_architecture
from pytest_wheelcheck.interpreters.base import OLDEST, Answer, Kind, Offer, Request, here
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.targets.tag_groups import NEWEST_KNOWN

_SYSTEMS = {
    "darwin": "macOS",
    "linux": "Linux (on Windows, also in WSL), where it emulates other machines",
    "win32": "Windows",
}

#: The first minor version with a free-threaded build (PEP 703).
_FREE_THREADED_SINCE = 13


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What can be run of one platform.

    :param found: the best offer of every kind, by kind.
    :param also: names of the providers that have the same, too.
    :param ready: the kinds that need no network any longer.
    :param missing: CPythons that no provider gives.
    :param reasons: of providers, each with its name.
    :param advice: what to do about what is missing.
    :param backend_notes: what a green run means, by name of the backend.
    :param emulators: names of the backends that emulate instructions.
    """

    platform: Platform
    found: dict[Kind, Offer]
    also: dict[Kind, tuple[str, ...]]
    ready: frozenset[Kind]
    missing: tuple[Kind, ...]
    reasons: tuple[str, ...]
    advice: tuple[str, ...]
    backend_notes: Mapping[str, str]
    emulators: frozenset[str]

    @property
    def name(self) -> str:
        """Of the platform, as targets have it."""
        return self.platform.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What a green run means there, where it is not all that it seems."""
        return tuple(
            dict.fromkeys(filter(None, (self.backend_notes.get(offer.backend) for offer in self.found.values())))
        )

    @property
    def hindrances(self) -> tuple[str, ...]:
        """The reasons, where they stand in the way of something."""
        return self.reasons if self.missing or not self.found else ()

    def to_json(self) -> dict[str, Any]:
        """Say it as data."""
        return {
            "platform": self.name,
            "interpreters": [
                {
                    "interpreter": offer.interpreter,
                    "version": ".".join(map(str, offer.version)),
                    "provider": offer.provider,
                    "others": list(self.also[kind]),
                    "ready": kind in self.ready,
                    "emulated": offer.backend in self.emulators,
                    "how": offer.how,
                }
                for kind, offer in self.found.items()
            ],
            "notes": list(self.notes),
            "missing": [short(kind) for kind in self.missing],
            "reasons": list(self.reasons),
            "advice": list(self.advice),
        }

    def lines(self, *, but: Container[str] = ()) -> list[str]:
        """Say it to people.

        :param but: reasons that are told elsewhere.
        """
        lines = [self.name]
        for kind, offer in self.found.items():
            ready = "ready" if kind in self.ready else "fetched on first use"
            also = f"; also {', '.join(self.also[kind])}" if self.also[kind] else ""
            name, version = offer.interpreter, ".".join(map(str, offer.version))
            lines.append(f"  {name:8} {version:9} {offer.provider:10} {offer.how} ({ready}{also})")
        lines += [f"  note: {each}" for each in self.notes]
        if self.missing:
            lines.append(f"  missing: {', '.join(map(short, self.missing))}")
        lines += [f"  {reason}" for reason in self.hindrances if reason not in but]
        lines += [f"  Fix: {each}" for each in self.advice]
        return lines


def short(kind: Kind) -> str:
    """Give the tag of an interpreter: ``cp314t``."""
    implementation, version, free_threaded = kind
    return f"{'cp' if implementation == 'cpython' else 'pp'}{version[0]}{version[1]}{'t' if free_threaded else ''}"


def platforms() -> tuple[Platform, ...]:
    """List the platforms that wheels are published for, this host's first."""
    found = [Platform(system="linux", architecture=name, libc="glibc") for name in ARCHITECTURES]
    found += [Platform(system="linux", architecture=name, libc="musl") for name in ("x86_64", "aarch64")]
    found += [Platform(system="win32", architecture=name) for name in ("amd64", "arm64", "x86")]
    found += [Platform(system="darwin", architecture=name) for name in ("arm64", "x86_64")]
    return tuple(dict.fromkeys((here(), *found)))


def examine(platform: Platform, catalog: Catalog, cached: Catalog) -> Row:
    """Ask all providers about one platform.

    :param cached: the same providers, without the network.
    """
    answers = catalog.answers(Request(platform=platform))
    found, also = _best(answers)
    known = [
        ("cpython", (3, minor), threading)
        for minor in range(OLDEST[1], NEWEST_KNOWN + 1)
        for threading in ((False, True) if minor >= _FREE_THREADED_SINCE else (False,))
    ]
    missing = tuple(kind for kind in known if kind not in found)
    reasons = tuple(f"{name}: {answer.reason}" if name else answer.reason for name, answer in answers if answer.reason)
    return Row(
        platform=platform,
        found={kind: found[kind] for kind in sorted(found)},
        also=also,
        ready=frozenset(_best(cached.answers(Request(platform=platform)))[0]) & frozenset(found),
        missing=missing,
        reasons=reasons,
        advice=tuple(_advice(platform, missing, found, reasons)),
        backend_notes={backend.name: backend.note for backend in catalog.backends},
        emulators=frozenset(backend.name for backend in catalog.backends if backend.emulated),
    )


def sandbox(*, offline: bool) -> str:
    """Say whether ``--wheel-sandbox`` can be had here. Fetches nothing."""
    try:
        bubblewrap.find(offline=True)
    except WheelcheckError as error:
        if isinstance(error, bubblewrap.NotFetchedError) and not offline:
            return "fetched on first use; whether this system allows sandboxes is seen then"
        return "; ".join(filter(None, (error.message.removeprefix("--wheel-sandbox: "), error.cause)))
    return "ready"


def report(rows: Iterable[Row], *, as_json: bool, more: Sequence[str] = ()) -> int:
    """Print what was found.

    :param more: lines for people.
    :returns: the exit status: 1 where nothing of what was asked for can be run.
    """
    listed = list(rows)
    if as_json:
        sys.stdout.write(json.dumps([row.to_json() for row in listed], indent=1) + "\n")
    else:
        told = Counter(reason for row in listed for reason in row.hindrances)
        often = [reason for reason, times in told.items() if times > 1]
        lines = [line for row in listed for line in row.lines(but=often)]
        lines += ["what stands in the way of several of these", *(f"  {reason}" for reason in often)] if often else []
        lines += more
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0 if any(row.found for row in listed) else 1


def _best(answers: Sequence[tuple[str, Answer]]) -> tuple[dict[Kind, Offer], dict[Kind, tuple[str, ...]]]:
    found: dict[Kind, Offer] = {}
    also: dict[Kind, tuple[str, ...]] = {}
    for offer in sorted((each for _, answer in answers for each in answer.offers), key=lambda each: each.rank):
        kind = offer.implementation, offer.version[:2], offer.free_threaded
        if kind not in found:
            found[kind], also[kind] = offer, ()
        elif offer.provider != found[kind].provider:
            also[kind] = tuple(dict.fromkeys((*also[kind], offer.provider)))
    return found, also


def _advice(
    platform: Platform, missing: Sequence[Kind], found: dict[Kind, Offer], reasons: Sequence[str]
) -> Iterable[str]:
    if not missing:
        return
    at = here()
    if platform.system != at.system:
        if not found:
            yield f"run there: pytest-wheelcheck works on {_SYSTEMS[platform.system]}; here such wheels get the static checks"
        return
    if platform == at:
        yield "install it: PATH, pyenv's and uv's folders are looked into"
    elif platform.system != "linux":
        yield "install it, if this machine can run it: PATH, pyenv's and uv's folders are looked into"
    if platform.system != "linux" or host_architecture() is None:
        return
    if any(reason.startswith("debian: ") for reason in reasons) and not found:
        yield "ini wheel_apt_source names an archive that has the architecture"
    if platform != at:
        architecture = platform.architecture
        yield f"--wheel-sysroot {architecture}=DIR names a root file system that has it, such as an unpacked image"
