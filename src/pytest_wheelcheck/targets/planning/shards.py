"""Divides the targets of a release among the shards of a run (``--wheel-shard 2/5``).

The shard of a target depends on the names of the release's wheels and on its own name, and on nothing else: not on the order of
the wheels, on Python's hash or on the other targets that a host has interpreters for. So hosts that plan different targets
agree on the shard of each, and no target is in two shards.

The wheels are dealt out like cards, ordered by system, architecture and name. So all shards get the same number of wheels of one
architecture, give or take one, which spreads the slow, emulated ones. A wheel for one version of Python has one target, which
is in the shard of the wheel. The targets of other wheels follow by their versions, and those on other machines by a hash of
the machine's name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.settings import Shard
from pytest_wheelcheck.targets.planning.release import BadWheel, Release
from pytest_wheelcheck.targets.target import NoTarget, Target

_ARCHITECTURE = re.compile(r"_(x86_64|[a-z0-9]+)$")
_VERSION = re.compile(r"[a-z]+3(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What one shard of a run tests.

    :param shard: which one.
    :param checked: how node ids name the files whose static checks are in this shard.
    :param targets_elsewhere: the targets of other shards.
    :param not_run_elsewhere: what other shards report as not run.
    """

    shard: Shard
    checked: frozenset[str]
    targets_elsewhere: tuple[Target, ...]
    not_run_elsewhere: tuple[NoTarget, ...]

    @property
    def has_release(self) -> bool:
        """Whether the checks of the release as a whole are in this shard: they are in the first one."""
        return self.shard.number == 1

    def checks(self, file: Wheel | BadWheel) -> bool:
        """Return whether the static checks of a file are in this shard."""
        return file.shown in self.checked

    def is_elsewhere(self, node_id: str, targets: Iterable[Target]) -> bool:
        """Return whether a node id that selects nothing in this shard may select something in another one.

        :param targets: those of this shard.
        """
        file, _, rest = node_id.partition(".whl::")
        shown, part = (f"{file}.whl", rest.partition("::")[0]) if rest else (node_id, "")
        others = [(target.wheel.shown, target.name) for target in self.targets_elsewhere]
        others += [(reason.wheel.shown, reason.name) for reason in self.not_run_elsewhere]
        if any(other == shown and part in {"", name} for other, name in others):
            return True
        is_here = any(target.wheel.shown == shown and target.name == part for target in targets)
        return not is_here and shown not in self.checked


def divide(
    shard: Shard, release: Release, targets: Sequence[Target], not_run: Sequence[NoTarget]
) -> tuple[Share, tuple[Target, ...], tuple[NoTarget, ...]]:
    """Choose what a shard tests.

    :param targets: those of the whole release.
    :param not_run: those of the whole release.
    :returns: the share, and which of the targets and of those without one are in it.
    """
    deal = Deal(map(_filename, release.files))

    def is_here(file: Wheel | BadWheel, name: str = "") -> bool:
        return deal.position(_filename(file), name) % shard.total == shard.number - 1

    share = Share(
        shard=shard,
        checked=frozenset(file.shown for file in release.files if is_here(file)),
        targets_elsewhere=tuple(target for target in targets if not is_here(target.wheel, target.name)),
        not_run_elsewhere=tuple(reason for reason in not_run if not is_here(reason.wheel, reason.name)),
    )
    return (
        share,
        tuple(target for target in targets if is_here(target.wheel, target.name)),
        tuple(reason for reason in not_run if is_here(reason.wheel, reason.name)),
    )


def describe_share(share: Share, release: Release, targets: int) -> str:
    """Describe in one line what a shard tests.

    :param targets: the number of its targets.
    """
    every = targets + len(share.targets_elsewhere)
    checked = sum(map(share.checks, release.files))
    text = f"shard {share.shard.number} of {share.shard.total}: {targets} of {every} targets"
    return f"{text}, static checks of {checked} of {len(release.files)} wheels"


class Deal:
    """The order in which the targets of a release are dealt out.

    :param filenames: of all wheels of the release, in any order.
    """

    def __init__(self, filenames: Iterable[str]) -> None:
        self._ranks = {name: rank for rank, name in enumerate(sorted(set(filenames), key=_suit))}

    def position(self, filename: str, name: str = "") -> int:
        """Return the position of a target; its remainder is the shard.

        :param name: of the target; empty for the static checks of the wheel.
        """
        rank = self._ranks[filename]
        interpreter, _, machine = name.partition("+")
        own, version = (_VERSION.match(text) for text in (_python_tag(filename), interpreter))
        if version is not None:
            rank += int(version[1]) - int(own[1] if own is not None else 0)
        if machine:
            rank += int.from_bytes(hashlib.sha256(machine.encode()).digest()[:4], "big")
        return rank


def _filename(file: Wheel | BadWheel) -> str:
    return file.path.name


def _python_tag(filename: str) -> str:
    parts = filename.rsplit("-", 3)
    return parts[1] if len(parts) > 1 else ""


def _suit(filename: str) -> tuple[str, str, str]:
    """Return the system and the architecture of a wheel, and its name."""
    platform = filename.removesuffix(".whl").rpartition("-")[2]
    system = next((name for name in ("linux", "macosx", "win") if name in platform), "")
    architecture = _ARCHITECTURE.search(platform)
    return system, architecture[1] if architecture is not None else "", filename
