"""Which targets a wheel gets, and the exact reason for each that it does not get.

The compatibility tags decide: an interpreter is a target of a wheel where it accepts one of the wheel's tags. Providers
are asked first; only what none of them can give is skipped, and what was asked for by name and cannot be given is an
error.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag

from pytest_wheelcheck.backends.qemu import machines
from pytest_wheelcheck.backends.qemu.machines import Profile
from pytest_wheelcheck.errors import UsageError, WheelcheckError
from pytest_wheelcheck.interpreters import base, tags
from pytest_wheelcheck.interpreters.base import OLDEST, Kind, Offer, Platform, Provider, Request
from pytest_wheelcheck.model import Machine, NoTarget, Outcome, Runtime, Target, Wheel
from pytest_wheelcheck.system import process

log = logging.getLogger(__name__)

#: The newest minor version that is thought of where no wheel names a newer one.
NEWEST_KNOWN = 15

_VERSION = re.compile(r"(?P<name>cpython|python|cp|pypy|pp)?-?3\.?(?P<minor>\d{1,2})(?P<free>t)?", re.IGNORECASE)

#: How a system is called in reasons.
_SYSTEMS = {"darwin": "macOS", "win32": "Windows", "linux": "Linux", "ios": "iOS", "android": "Android"}


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Interpreter:
    """An interpreter as tags know it: implementation, minor version, free-threaded or not."""

    version: tuple[int, int]
    implementation: str = "cpython"
    free_threaded: bool = False

    def __str__(self) -> str:
        name = {"cpython": "CPython", "pypy": "PyPy"}.get(self.implementation, self.implementation)
        number = ".".join(map(str, self.version))
        if self.free_threaded:
            return f"a free-threaded {name} {number} (cp{self.version[0]}{self.version[1]}t)"
        return f"{name} {number}"

    @property
    def short(self) -> str:
        """The version, with ``t`` where it is free-threaded: ``3.14t``, ``PyPy 3.11``."""
        number = ".".join(map(str, self.version)) + ("t" if self.free_threaded else "")
        return number if self.implementation == "cpython" else f"PyPy {number}"

    @property
    def kind(self) -> tuple[str, bool]:
        """Implementation and threading, without the version."""
        return self.implementation, self.free_threaded

    @property
    def whole(self) -> Kind:
        """As providers are asked for it."""
        return self.implementation, self.version, self.free_threaded


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """One part of ``--wheel-python``: ``auto``, ``all``, an interpreter or a path.

    :param text: as the user wrote it.
    """

    text: str
    interpreter: Interpreter | None = None
    path: Path | None = None


def parse_specs(texts: Iterable[str]) -> tuple[Spec, ...]:
    """Read the values of ``--wheel-python``; each may hold several, separated by commas.

    :returns: at least one; ``auto`` where nothing was given.
    :raises UsageError: a part is none of ``auto``, ``all``, a version such as ``3.11``, ``3.14t`` or ``pypy3.11``, and
        a path.
    """
    parts: dict[str, Spec] = {}
    for text in texts:
        for part in filter(None, (word.strip() for word in text.split(","))):
            parts.setdefault(part, _parse_spec(part))
    return tuple(parts.values()) or (Spec(text="auto"),)


def _parse_spec(part: str) -> Spec:
    if part in {"auto", "all"}:
        return Spec(text=part)
    if match := _VERSION.fullmatch(part):
        name = (match["name"] or "").lower()
        return Spec(
            text=part,
            interpreter=Interpreter(
                version=(3, int(match["minor"])),
                implementation="pypy" if name in {"pypy", "pp"} else "cpython",
                free_threaded=bool(match["free"]),
            ),
        )
    separators = {"/", os.sep, os.altsep or "/"}
    # The system has no names as long as some texts are.
    with contextlib.suppress(OSError):
        if part.startswith("~") or any(separator in part for separator in separators) or Path(part).exists():
            return Spec(text=part, path=Path(part).expanduser())
    raise UsageError(
        f"--wheel-python {part}: no such interpreter can be meant",
        fix="give auto, all, versions such as 3.11,3.14t,pypy3.11, or the path of an interpreter",
    )


def plan(
    wheels: Iterable[Wheel],
    specs: Iterable[str],
    providers: Sequence[Provider],
    *,
    host: Platform | None = None,
    profiles: Sequence[Profile] = (),
    equip: Callable[[Runtime, Profile], Runtime] = machines.equip,
) -> tuple[list[Target], list[NoTarget]]:
    """Decide the targets of all wheels and have their interpreters made.

    :param wheels: as given; the order of the result.
    :param specs: the values of ``--wheel-python``; none means ``auto``.
    :param providers: in the order in which they are preferred.
    :param host: what ``any`` and ``linux_*`` stand for; ``None`` for the running interpreter's platform.
    :param profiles: machines to pretend to be: a target of their architecture becomes one for each.
    :param equip: makes a runtime that pretends to be a machine.
    :returns: the targets, by wheel and then by version; and what got none, by wheel.
    :raises UsageError: a spec cannot be read.
    """
    parsed = parse_specs(specs)
    asking = _Asking(providers=providers, host=host or base.here())
    plans = [_Plan(wheel, asking) for wheel in wheels]
    for each in plans:
        each.choose(parsed)
    # Where no wheel at all takes what was asked for, nothing would be tested and nobody told.
    asked_in_vain = not any(each.chosen or each.problems for each in plans)
    for each in plans:
        each.conclude(Outcome.ERROR if asked_in_vain else Outcome.SKIPPED)
    runtimes = asking.make(choice for each in plans for choice in each.chosen)
    targets: list[Target] = []
    without: list[NoTarget] = []
    for each in plans:
        plain = each.targets(runtimes)
        targets.extend(each.multiply(plain, profiles, equip))
        without.extend(each.problems)
    for profile in profiles:
        if plans and profile is not machines.HOST and all(profile.name not in each.machines for each in plans):
            where = f" ({profile.architecture})" if profile.architecture else ""
            reason = f"the machine {profile.name}{where} was asked for, and no wheel of this run has a target there"
            name = f"no-target+{profile.name}"
            without.append(NoTarget(wheel=plans[0].wheel, outcome=Outcome.ERROR, reason=reason, name=name))
    return targets, without


@dataclass(frozen=True, kw_only=True, slots=True)
class _Choice:
    """An interpreter that was chosen, as the offers of it in the order in which they are tried."""

    offers: tuple[Offer, ...]

    @property
    def interpreter(self) -> Interpreter:
        return _interpreter(self.offers[0])


def _interpreter(offer: Offer) -> Interpreter:
    return Interpreter(
        version=offer.version[:2], implementation=offer.implementation, free_threaded=offer.free_threaded
    )


@dataclass(kw_only=True, slots=True)
class _Asking:
    """Asks the providers, once for each question."""

    providers: Sequence[Provider]
    host: Platform
    _answers: dict[Request, tuple[tuple[Offer, ...], tuple[str, ...]]] = field(default_factory=dict)

    def ask(self, request: Request) -> tuple[tuple[Offer, ...], tuple[str, ...]]:
        if request not in self._answers:
            self._answers[request] = base.ask(self.providers, request)
        return self._answers[request]

    def make(self, choices: Iterable[_Choice]) -> dict[_Choice, Runtime | WheelcheckError]:
        unique = list(dict.fromkeys(choices))
        if not unique:
            return {}
        with ThreadPoolExecutor(max_workers=min(len(unique), os.cpu_count() or 2)) as pool:
            return dict(zip(unique, process.map_concurrently(pool, self._make, unique), strict=True))

    def _make(self, choice: _Choice) -> Runtime | WheelcheckError:
        problem = WheelcheckError("no provider")
        named = {provider.name: provider for provider in self.providers}
        for offer in choice.offers:
            try:
                return named[offer.provider].get(offer)
            except WheelcheckError as error:  # noqa: PERF203 — the next provider is tried
                log.warning("%s could not be had from %s: %s", choice.interpreter, offer.provider, error.message)
                problem = error
        return problem


@dataclass(kw_only=True, slots=True)
class _Group:
    """The tags of a wheel that are for one platform."""

    platform: Platform
    tags: set[str]
    least: tuple[int, int]

    def admits(self, interpreter: Interpreter) -> bool:
        """Whether the tags admit an interpreter on this platform, however new its C library or macOS is."""
        return not self.tags.isdisjoint(_all_accepted(interpreter, self.platform))

    def fits(self, offer: Offer) -> bool:
        return not self.tags.isdisjoint(_as_set(offer.tags))


@lru_cache(maxsize=512)
def _all_accepted(interpreter: Interpreter, platform: Platform) -> frozenset[str]:
    architecture = "arm64" if platform.architecture.startswith("universal") else platform.architecture
    versions = {"glibc": (2, 99), "musl": (1, 99)}
    return frozenset(
        tags.accepted(
            implementation=interpreter.implementation,
            version=interpreter.version,
            free_threaded=interpreter.free_threaded,
            system=platform.system,
            architecture=architecture,
            libc=platform.libc,
            libc_version=versions.get(platform.libc, (0, 0)),
            system_version=(99, 0),
        )
    )


@lru_cache(maxsize=512)
def _as_set(accepted: tuple[str, ...]) -> frozenset[str]:
    return frozenset(accepted)


def _groups(wheel: Wheel, host: Platform) -> list[_Group]:
    groups: dict[Platform, _Group] = {}
    for tag in wheel.tags:
        system, architecture, libc, least = tags.split_platform(tag.platform)
        if not system:
            platform = host
        elif system == "linux" and not libc:
            # A bare linux tag says nothing of the C library: that of the host is meant.
            platform = Platform(system=system, architecture=architecture, libc=host.libc or "glibc")
        else:
            platform = Platform(system=system, architecture=architecture, libc=libc)
        group = groups.setdefault(platform, _Group(platform=platform, tags=set(), least=least))
        group.tags.add(str(tag))
        group.least = min(group.least, least)
    return list(groups.values())


class _Plan:
    """What one wheel gets."""

    def __init__(self, wheel: Wheel, asking: _Asking) -> None:
        self.wheel = wheel
        self.asking = asking
        self.groups = _groups(wheel, asking.host)
        self.universe = _universe(wheel.tags)
        self.primary = _primary_kinds(wheel.tags)
        self.chosen: list[_Choice] = []
        self.problems: list[NoTarget] = []
        self.machines: set[str] = set()
        self._refused: list[str] = []
        self._foreign: list[_Group] = []

    def choose(self, specs: Sequence[Spec]) -> None:
        for group in self.groups:
            # A path that is given names the interpreter of its version too, so paths come first.
            for spec in sorted(specs, key=lambda spec: spec.path is None):
                if spec.path is not None:
                    self._choose_path(group, spec.path)
                elif spec.interpreter is not None:
                    self._choose_version(group, spec.interpreter)
                else:
                    self._choose_range(group, everything=spec.text == "all")

    def conclude(self, outcome: Outcome) -> None:
        """Account for a wheel that takes nothing of what was asked for."""
        if self.chosen or self.problems:
            return
        for group in self._foreign:
            self._no_platform(group, ())
        if self._foreign or not self._refused:
            return
        asked = _listed(list(dict.fromkeys(self._refused)), "and")
        admitted = self._describe(self.groups[0], self._admitted(self.groups[0]))
        self._problem(outcome, f"needs {admitted}, and what was asked for is {asked}")

    def targets(self, runtimes: dict[_Choice, Runtime | WheelcheckError]) -> list[Target]:
        """Make the targets, in order and with names that differ; what could not be made becomes an error."""
        found: dict[Path, Runtime] = {}
        for choice in self.chosen:
            runtime = runtimes[choice]
            if isinstance(runtime, Runtime):
                found.setdefault(runtime.python, runtime)
            else:
                name = choice.offers[0].runtime(Path()).name
                self._problem(Outcome.ERROR, f"{choice.interpreter} could not be had: {runtime}", name)
        ordered = sorted(
            found.values(), key=lambda runtime: (runtime.version, runtime.implementation, runtime.free_threaded)
        )
        return [
            Target(wheel=self.wheel, runtime=runtime, machine=Machine(name=runtime.under or "host"))
            for runtime in _labelled(ordered)
        ]

    def multiply(
        self, plain: Sequence[Target], profiles: Sequence[Profile], equip: Callable[[Runtime, Profile], Runtime]
    ) -> list[Target]:
        """Make of each target one for every machine of its architecture; one that none fits stays as it is."""
        result: list[Target] = []
        for target in plain:
            fitting = [profile for profile in profiles if machines.fits(profile, target.runtime)]
            if not fitting:
                result.append(target)
            for profile in fitting:
                self.machines.add(profile.name)
                try:
                    runtime = equip(target.runtime, profile)
                except WheelcheckError as error:
                    name = replace(target, machine=profile.machine).name
                    self._problem(Outcome.ERROR, str(error), name)
                else:
                    result.append(replace(target, runtime=runtime, machine=profile.machine))
        return result

    def _choose_path(self, group: _Group, path: Path) -> None:
        offers, reasons = self.asking.ask(Request(platform=group.platform, python=path))
        if not offers:
            if reasons:
                self._problem(Outcome.ERROR, f"needs {path}, which was asked for: {'; '.join(reasons)}")
            else:
                self._foreign.append(group)
        elif group.fits(offers[0]):
            self._add(offers[:1])
        else:
            self._refused.append(f"{_interpreter(offers[0])} ({path})")

    def _choose_version(self, group: _Group, asked: Interpreter) -> None:
        if not group.admits(asked):
            self._refused.append(str(asked))
            return
        if any(choice.interpreter == asked and choice.offers[0].platform == group.platform for choice in self.chosen):
            return
        offers, reasons = self.asking.ask(
            Request(platform=group.platform, wanted=frozenset({asked.whole}), least=group.least)
        )
        same = tuple(offer for offer in offers if _interpreter(offer) == asked)
        fitting = tuple(filter(group.fits, same))
        if fitting:
            self._add(fitting)
        elif not offers:
            self._no_platform(group, reasons)
        elif same:
            self._problem(Outcome.SKIPPED, self._too_old_system(group, same), self._name(group, asked))
        else:
            reason = self._with(f"needs {asked}, which was asked for; {_found(offers)}", reasons)
            self._problem(Outcome.ERROR, reason, self._name(group, asked))

    def _choose_range(self, group: _Group, *, everything: bool) -> None:
        admitted = self._admitted(group)
        offers, reasons = self.asking.ask(
            Request(platform=group.platform, wanted=self._enough(admitted, everything=everything), least=group.least)
        )
        if not offers:
            self._no_platform(group, reasons)
            return
        fitting = tuple(filter(group.fits, offers))
        if len(admitted) > 1:
            # With one interpreter only, its installation will fail there, and tell.
            fitting = tuple(filter(self._required, fitting))
        by_kind: dict[tuple[str, bool], dict[Interpreter, list[Offer]]] = {}
        for offer in fitting:
            interpreter = _interpreter(offer)
            by_kind.setdefault(interpreter.kind, {}).setdefault(interpreter, []).append(offer)
        for kind in self.primary:
            if kind not in by_kind and not (kind == ("cpython", False) and self._any_will_do(group) and by_kind):
                wanted = [interpreter for interpreter in admitted if interpreter.kind == kind]
                self._no_interpreter(group, wanted, offers, reasons)
        for kind in sorted(by_kind, key=lambda kind: (kind not in self.primary, kind)):
            # What the user named stands for its architecture.
            named = {each: found for each, found in by_kind[kind].items() if found[0].rank < 0}
            versions = named or by_kind[kind]
            if everything:
                picked = sorted(versions)
            elif kind in self.primary or not any(known in self.primary for known in by_kind):
                picked = [min(versions), max(versions)]
            else:
                picked = []
            for interpreter in dict.fromkeys(picked):
                self._add(tuple(versions[interpreter]))

    def _enough(self, admitted: Sequence[Interpreter], *, everything: bool) -> frozenset[Kind]:
        """Say what of the admitted interpreters a run would take if all of them could be had."""
        wanted: set[Kind] = set()
        for kind in self.primary:
            of_kind = [each for each in admitted if each.kind == kind and each.version >= OLDEST]
            if of_kind:
                wanted.update(each.whole for each in (of_kind if everything else (min(of_kind), max(of_kind))))
        return frozenset(wanted)

    def _add(self, offers: tuple[Offer, ...]) -> None:
        # What the user named has no substitute.
        choice = _Choice(offers=tuple(offer for offer in offers if offer.rank < 0) or offers)
        if choice not in self.chosen:
            self.chosen.append(choice)

    def _admitted(self, group: _Group) -> list[Interpreter]:
        return [interpreter for interpreter in self.universe if group.admits(interpreter)]

    def _any_will_do(self, group: _Group) -> bool:
        """Whether the wheel is for any Python, and so PyPy or a free-threaded build stands for it as well."""
        return all(tag.startswith("py") for tag in group.tags)

    def _required(self, offer: Offer) -> bool:
        if not self.wheel.requires_python:
            return True
        try:
            specifier = SpecifierSet(self.wheel.requires_python)
        except InvalidSpecifier:
            # A check tells of it.
            return True
        return specifier.contains(".".join(map(str, offer.version)), prereleases=True)

    def _problem(self, outcome: Outcome, reason: str, name: str = "no-target") -> None:
        same = [problem for problem in self.problems if problem.reason == reason and problem.name == name]
        if same:
            return
        taken = {problem.name for problem in self.problems}
        unique = next(
            candidate
            for number in range(1, len(taken) + 2)
            if (candidate := name if number == 1 else f"{name}-{number}") not in taken
        )
        self.problems.append(NoTarget(wheel=self.wheel, outcome=outcome, reason=reason, name=unique))

    def _name(self, group: _Group, interpreter: Interpreter | None) -> str:
        """Give the name that the target would have."""
        if interpreter is None:
            return "no-target"
        return (
            Offer(
                provider="",
                implementation=interpreter.implementation,
                version=(*interpreter.version, 0),
                free_threaded=interpreter.free_threaded,
                platform=group.platform,
                libc_version=(0, 0),
                tags=(),
                how="",
            )
            .runtime(Path())
            .name
        )

    def _no_platform(self, group: _Group, reasons: tuple[str, ...]) -> None:
        admitted = self._admitted(group)
        named = self._name(group, admitted[0] if admitted else None)
        reason = f"needs {_describe_platform(group.platform, self.asking.host)}"
        self._problem(_outcome(reasons), self._with(reason, reasons), named)

    def _no_interpreter(
        self, group: _Group, wanted: list[Interpreter], offers: tuple[Offer, ...], reasons: tuple[str, ...]
    ) -> None:
        name = self._name(group, wanted[0] if wanted else None)
        outcome = Outcome.SKIPPED
        same = tuple(offer for offer in offers if _interpreter(offer) in wanted)
        if same and any(map(group.fits, same)):
            reason = f"Requires-Python {self.wheel.requires_python} refuses all that can be had: {_found(offers)}"
        elif same:
            reason = self._too_old_system(group, same)
        else:
            needed = self._describe(group, wanted)
            old = wanted and wanted[-1].version < OLDEST
            found = f"{'.'.join(map(str, OLDEST))} is the oldest that gets targets" if old else _found(offers)
            reason = self._with(f"needs {needed}, {found}", reasons)
            if not old:
                outcome = _outcome(reasons)
        self._problem(outcome, reason, name)

    def _describe(self, group: _Group, wanted: list[Interpreter]) -> str:
        if not wanted:
            return f"an interpreter that accepts {', '.join(sorted(group.tags))}"
        stable = any("-abi3" in tag or tag.startswith("py") for tag in group.tags)
        if stable and (len({interpreter.kind for interpreter in wanted}) == 1 or len(wanted) > 3):
            return f"{min(wanted)} or newer"
        return _listed([str(interpreter) for interpreter in wanted], "or")

    def _too_old_system(self, group: _Group, offers: tuple[Offer, ...]) -> str:
        least = ".".join(map(str, group.least))
        if group.platform.libc:
            have = max(offer.libc_version for offer in offers)
            return f"needs {group.platform.libc} {least} or newer, this host has {'.'.join(map(str, have))}"
        versions = [tags.split_platform(tag.rpartition("-")[2])[3] for offer in offers for tag in offer.tags]
        have = max(versions, default=(0, 0))
        system = _SYSTEMS.get(group.platform.system, group.platform.system)
        return f"needs {system} {least} or newer, this host has {'.'.join(map(str, have))}"

    @staticmethod
    def _with(reason: str, reasons: tuple[str, ...]) -> str:
        return f"{reason} ({'; '.join(reasons)})" if reasons else reason


def _outcome(reasons: tuple[str, ...]) -> Outcome:
    """Say what it is that nothing can be had: the host's nature, or that it could not be found out."""
    return Outcome.ERROR if any(isinstance(reason, base.Fault) for reason in reasons) else Outcome.SKIPPED


def _universe(wheel_tags: Sequence[Tag]) -> list[Interpreter]:
    """All interpreters that a wheel could mean: the known ones, and those that its tags name."""
    minors = set(range(OLDEST[1], NEWEST_KNOWN + 1))
    for tag in wheel_tags:
        if match := re.fullmatch(r"(?:cp|pp)3(\d+)", tag.interpreter):
            minors.add(int(match[1]))
    found = []
    for minor in sorted(minors):
        found.append(Interpreter(version=(3, minor)))
        if minor >= 13:
            found.append(Interpreter(version=(3, minor), free_threaded=True))
        if minor <= 11 or any(tag.interpreter == f"pp3{minor}" for tag in wheel_tags):
            found.append(Interpreter(version=(3, minor), implementation="pypy"))
    return sorted(found)


def _primary_kinds(wheel_tags: Sequence[Tag]) -> list[tuple[str, bool]]:
    """List the kinds of interpreter that a wheel's tags speak of: a tag ``py3`` means CPython first."""
    kinds: dict[tuple[str, bool], None] = {}
    for tag in wheel_tags:
        if tag.interpreter.startswith("pp"):
            kinds["pypy", False] = None
        elif tag.interpreter.startswith("cp") and tag.abi.endswith("t"):
            kinds["cpython", True] = None
        else:
            kinds["cpython", False] = None
    return sorted(kinds)


def _describe_platform(asked: Platform, host: Platform) -> str:
    """Say what of a platform the host is not: ``macOS``, ``aarch64``, ``musl libc``."""
    if asked.system != host.system:
        return _SYSTEMS.get(asked.system, f"a platform {asked.system}_{asked.architecture}")
    parts = []
    if asked.architecture != host.architecture:
        parts.append(asked.architecture)
    if asked.libc != host.libc:
        parts.append("musl libc" if asked.libc == "musl" else asked.libc)
    return " with ".join(parts) or "an interpreter, and none was found"


def _found(offers: Sequence[Offer]) -> str:
    names = [interpreter.short for interpreter in sorted({_interpreter(offer) for offer in offers})]
    return f"found {_listed(names, 'and')}"


def _listed(words: Sequence[str], last: str) -> str:
    if len(words) < 2:
        return "".join(words) or "none"
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def _labelled(runtimes: Sequence[Runtime]) -> list[Runtime]:
    """Give labels to runtimes of one name: the whole version, and a number where that is not enough."""
    result: list[Runtime] = []
    for runtime in runtimes:
        same = [other for other in runtimes if other.name == runtime.name]
        if len(same) == 1:
            result.append(runtime)
            continue
        twins = [other for other in same if other.version == runtime.version]
        number = f"-{twins.index(runtime) + 1}" if len(twins) > 1 else ""
        result.append(replace(runtime, label=f"{runtime.version_text}{number}"))
    return result
