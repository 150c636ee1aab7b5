"""Which targets a wheel gets, and the exact reason for each target that it does not get.

The compatibility tags decide: an interpreter is a target of a wheel if it accepts one of the wheel's tags. If no provider
has such an interpreter, the target is skipped; if the user requested it by name, that is an error.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from pytest_wheelcheck.backends.base import HOST_MACHINE, MachineProfile, Runtime
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.interpreters import tags
from pytest_wheelcheck.interpreters.base import OLDEST, Kind, Offer, Request, Unavailable, here
from pytest_wheelcheck.model import Machine, Outcome, Platform, Wheel, interpreter_name
from pytest_wheelcheck.system import process
from pytest_wheelcheck.targets.planning.specs import Interpreter, Spec, parse_specs
from pytest_wheelcheck.targets.planning.tag_groups import TagGroup, group_tags, possible_interpreters, primary_kinds
from pytest_wheelcheck.targets.target import NoTarget, Target

log = logging.getLogger(__name__)

#: Names of systems in reasons.
_SYSTEMS = {"darwin": "macOS", "win32": "Windows", "linux": "Linux", "ios": "iOS", "android": "Android"}


def plan(
    wheels: Iterable[Wheel],
    specs: Iterable[str],
    catalog: Catalog,
    *,
    host: Platform | None = None,
    profiles: Sequence[MachineProfile] = (),
) -> tuple[list[Target], list[NoTarget]]:
    """Decide the targets of all wheels and have their interpreters made.

    :param wheels: as given; the order of the result.
    :param specs: the values of ``--wheel-python``; none means ``auto``.
    :param catalog: gives interpreters.
    :param host: what ``any`` and ``linux_*`` mean; ``None`` for the running interpreter's platform.
    :param profiles: machines to pretend to be: a target of their architecture becomes one target for each machine.
    :returns: the targets, by wheel and then by version; and the wheels and interpreters without a target, by wheel.
    :raises UsageError: a spec cannot be read.
    """
    parsed = parse_specs(specs)
    questions = _Questions(catalog=catalog, host=host or here())
    plans = [_WheelPlan(wheel, questions) for wheel in wheels]
    for each in plans:
        each.choose(parsed)
    # If no wheel of the run accepts the requested interpreters, nothing would be tested: an error, not a skip.
    nothing_to_test = not any(each.chosen or each.problems for each in plans)
    for each in plans:
        each.conclude(Outcome.ERROR if nothing_to_test else Outcome.SKIPPED)
    runtimes = questions.make(choice for each in plans for choice in each.chosen)
    targets: list[Target] = []
    without: list[NoTarget] = []
    for each in plans:
        plain = each.targets(runtimes)
        targets.extend(each.multiply(plain, profiles, catalog))
        without.extend(each.problems)
    for profile in profiles:
        if plans and profile.name != HOST_MACHINE and all(profile.name not in each.machines for each in plans):
            where = f" ({profile.architecture})" if profile.architecture else ""
            reason = f"the machine {profile.name}{where} was requested, and no wheel of this run has a target there"
            name = f"no-target+{profile.name}"
            without.append(NoTarget(wheel=plans[0].wheel, outcome=Outcome.ERROR, reason=reason, name=name))
    return targets, without


@dataclass(frozen=True, kw_only=True, slots=True)
class _Choice:
    """A chosen interpreter: its offers, in the order in which they are tried."""

    offers: tuple[Offer, ...]

    @property
    def interpreter(self) -> Interpreter:
        return _interpreter(self.offers[0])


def _interpreter(offer: Offer) -> Interpreter:
    return Interpreter(
        version=offer.version[:2], implementation=offer.implementation, free_threaded=offer.free_threaded
    )


@dataclass(kw_only=True, slots=True)
class _Questions:
    """Asks the catalog, once for each request."""

    catalog: Catalog
    host: Platform
    _answers: dict[Request, tuple[tuple[Offer, ...], tuple[Unavailable, ...]]] = field(default_factory=dict)

    def ask(self, request: Request) -> tuple[tuple[Offer, ...], tuple[Unavailable, ...]]:
        if request not in self._answers:
            self._answers[request] = self.catalog.ask(request)
        return self._answers[request]

    def make(self, choices: Iterable[_Choice]) -> dict[_Choice, Runtime | WheelcheckError]:
        unique = list(dict.fromkeys(choices))
        if not unique:
            return {}
        with ThreadPoolExecutor(max_workers=min(len(unique), os.cpu_count() or 2)) as pool:
            return dict(zip(unique, process.map_concurrently(pool, self._make, unique), strict=True))

    def _make(self, choice: _Choice) -> Runtime | WheelcheckError:
        problem = WheelcheckError("no provider")
        for offer in choice.offers:
            try:
                return self.catalog.get(offer)
            except WheelcheckError as error:  # noqa: PERF203 — the next provider is tried
                log.warning("%s is not available from %s: %s", choice.interpreter, offer.provider, error.message)
                problem = error
        return problem


class _WheelPlan:
    """The targets of one wheel."""

    def __init__(self, wheel: Wheel, questions: _Questions) -> None:
        self.wheel = wheel
        self.questions = questions
        self.groups = group_tags(wheel, questions.host)
        self.possible = possible_interpreters(wheel.tags)
        self.primary = primary_kinds(wheel.tags)
        self.chosen: list[_Choice] = []
        self.problems: list[NoTarget] = []
        self.machines: set[str] = set()
        self._rejected: list[str] = []
        self._other_platforms: list[TagGroup] = []

    def choose(self, specs: Sequence[Spec]) -> None:
        for group in self.groups:
            # A path also satisfies a request for its version, so paths come first.
            for spec in sorted(specs, key=lambda spec: spec.path is None):
                if spec.path is not None:
                    self._choose_path(group, spec.path)
                elif spec.interpreter is not None:
                    self._choose_version(group, spec.interpreter)
                else:
                    self._choose_range(group, everything=spec.text == "all")

    def conclude(self, outcome: Outcome) -> None:
        """Report a wheel that accepts none of the requested interpreters."""
        if self.chosen or self.problems:
            return
        for group in self._other_platforms:
            self._no_platform(group, ())
        if self._other_platforms or not self._rejected:
            return
        requested = _listed(list(dict.fromkeys(self._rejected)), "and")
        admitted = self._describe(self.groups[0], self._admitted(self.groups[0]))
        self._problem(outcome, f"needs {admitted}, but {requested} was requested")

    def targets(self, runtimes: dict[_Choice, Runtime | WheelcheckError]) -> list[Target]:
        """Return the targets, in order and with unique names; an interpreter that could not be made becomes an error."""
        found: dict[Path, Runtime] = {}
        for choice in self.chosen:
            runtime = runtimes[choice]
            if isinstance(runtime, Runtime):
                found.setdefault(runtime.python, runtime)
            else:
                offer = choice.offers[0]
                name = f"{offer.interpreter}-{offer.platform.name}"
                self._problem(Outcome.ERROR, f"{choice.interpreter} is not available: {runtime}", name)
        ordered = sorted(
            found.values(),
            key=lambda runtime: (
                runtime.installation.version,
                runtime.installation.implementation,
                runtime.installation.free_threaded,
            ),
        )
        return [
            Target(wheel=self.wheel, runtime=runtime, machine=runtime.backend.machine) for runtime in _labeled(ordered)
        ]

    def multiply(self, plain: Sequence[Target], profiles: Sequence[MachineProfile], catalog: Catalog) -> list[Target]:
        """Return one target for each machine of its architecture; a target that no machine fits stays as it is."""
        result: list[Target] = []
        for target in plain:
            fitting = [profile for profile in profiles if profile.fits(target.runtime.platform)]
            if not fitting:
                result.append(target)
            for profile in fitting:
                self.machines.add(profile.name)
                machine = Machine(name=profile.name)
                try:
                    runtime = catalog.on_machine(target.runtime, profile)
                except WheelcheckError as error:
                    name = replace(target, machine=machine).name
                    self._problem(Outcome.ERROR, str(error), name)
                else:
                    result.append(replace(target, runtime=runtime, machine=machine))
        return result

    def _choose_path(self, group: TagGroup, path: Path) -> None:
        offers, reasons = self.questions.ask(Request(platform=group.platform, python=path))
        if not offers:
            if reasons:
                self._problem(Outcome.ERROR, f"needs {path}, which was requested: {'; '.join(map(str, reasons))}")
            else:
                self._other_platforms.append(group)
        elif group.fits(offers[0]):
            self._add(offers[:1])
        else:
            self._rejected.append(f"{_interpreter(offers[0])} ({path})")

    def _choose_version(self, group: TagGroup, requested: Interpreter) -> None:
        if not group.admits(requested):
            self._rejected.append(str(requested))
            return
        if any(
            choice.interpreter == requested and choice.offers[0].platform == group.platform for choice in self.chosen
        ):
            return
        offers, reasons = self.questions.ask(
            Request(platform=group.platform, wanted=frozenset({requested.whole}), minimum_libc=group.minimum_libc)
        )
        same = tuple(offer for offer in offers if _interpreter(offer) == requested)
        fitting = tuple(filter(group.fits, same))
        if fitting:
            self._add(fitting)
        elif not offers:
            self._no_platform(group, reasons)
        elif same:
            self._problem(Outcome.SKIPPED, self._too_old_system(group, same), self._name(group, requested))
        else:
            reason = self._with(f"needs {requested}, which was requested; {_found(offers)}", reasons)
            self._problem(Outcome.ERROR, reason, self._name(group, requested))

    def _choose_range(self, group: TagGroup, *, everything: bool) -> None:
        admitted = self._admitted(group)
        offers, reasons = self.questions.ask(
            Request(
                platform=group.platform,
                wanted=self._enough(admitted, everything=everything),
                minimum_libc=group.minimum_libc,
            )
        )
        if not offers:
            self._no_platform(group, reasons)
            return
        fitting = tuple(filter(group.fits, offers))
        if len(admitted) > 1:
            # If only one interpreter is admitted, its installation fails and names Requires-Python.
            fitting = tuple(filter(self._required, fitting))
        by_kind: dict[tuple[str, bool], dict[Interpreter, list[Offer]]] = {}
        for offer in fitting:
            interpreter = _interpreter(offer)
            by_kind.setdefault(interpreter.kind, {}).setdefault(interpreter, []).append(offer)
        for kind in self.primary:
            if kind not in by_kind and not (kind == ("cpython", False) and self._accepts_any_python(group) and by_kind):
                wanted = [interpreter for interpreter in admitted if interpreter.kind == kind]
                self._no_interpreter(group, wanted, offers, reasons)
        for kind in sorted(by_kind, key=lambda kind: (kind not in self.primary, kind)):
            # Interpreters that the user named replace all others of their architecture.
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
        """Return the admitted interpreters that a run would use if all of them were available."""
        wanted: set[Kind] = set()
        for kind in self.primary:
            of_kind = [each for each in admitted if each.kind == kind and each.version >= OLDEST]
            if of_kind:
                wanted.update(each.whole for each in (of_kind if everything else (min(of_kind), max(of_kind))))
        return frozenset(wanted)

    def _add(self, offers: tuple[Offer, ...]) -> None:
        # An interpreter that the user named has no substitute.
        choice = _Choice(offers=tuple(offer for offer in offers if offer.rank < 0) or offers)
        if choice not in self.chosen:
            self.chosen.append(choice)

    def _admitted(self, group: TagGroup) -> list[Interpreter]:
        return [interpreter for interpreter in self.possible if group.admits(interpreter)]

    def _accepts_any_python(self, group: TagGroup) -> bool:
        """Return whether the wheel is for any Python, so that PyPy or a free-threaded build is enough."""
        return all(tag.startswith("py") for tag in group.tags)

    def _required(self, offer: Offer) -> bool:
        if not self.wheel.requires_python:
            return True
        try:
            specifier = SpecifierSet(self.wheel.requires_python)
        except InvalidSpecifier:
            # A static check reports it.
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

    def _name(self, group: TagGroup, interpreter: Interpreter | None) -> str:
        """Return the name that the target would have."""
        if interpreter is None:
            return "no-target"
        name = interpreter_name(
            interpreter.implementation, interpreter.version, free_threaded=interpreter.free_threaded
        )
        return f"{name}-{group.platform.name}"

    def _no_platform(self, group: TagGroup, reasons: tuple[Unavailable, ...]) -> None:
        admitted = self._admitted(group)
        named = self._name(group, admitted[0] if admitted else None)
        reason = f"needs {_describe_platform(group.platform, self.questions.host)}"
        self._problem(_outcome(reasons), self._with(reason, reasons), named)

    def _no_interpreter(
        self, group: TagGroup, wanted: list[Interpreter], offers: tuple[Offer, ...], reasons: tuple[Unavailable, ...]
    ) -> None:
        name = self._name(group, wanted[0] if wanted else None)
        outcome = Outcome.SKIPPED
        same = tuple(offer for offer in offers if _interpreter(offer) in wanted)
        if same and any(map(group.fits, same)):
            reason = (
                f"Requires-Python {self.wheel.requires_python} excludes all available interpreters: {_found(offers)}"
            )
        elif same:
            reason = self._too_old_system(group, same)
        else:
            needed = self._describe(group, wanted)
            old = wanted and wanted[-1].version < OLDEST
            found = f"{'.'.join(map(str, OLDEST))} is the oldest supported version" if old else _found(offers)
            reason = self._with(f"needs {needed}, {found}", reasons)
            if not old:
                outcome = _outcome(reasons)
        self._problem(outcome, reason, name)

    def _describe(self, group: TagGroup, wanted: list[Interpreter]) -> str:
        if not wanted:
            return f"an interpreter that accepts {', '.join(sorted(group.tags))}"
        stable = any("-abi3" in tag or tag.startswith("py") for tag in group.tags)
        if stable and (len({interpreter.kind for interpreter in wanted}) == 1 or len(wanted) > 3):
            return f"{min(wanted)} or newer"
        return _listed([str(interpreter) for interpreter in wanted], "or")

    def _too_old_system(self, group: TagGroup, offers: tuple[Offer, ...]) -> str:
        minimum = ".".join(map(str, group.minimum_libc))
        if group.platform.libc:
            have = max(offer.libc_version for offer in offers)
            return f"needs {group.platform.libc} {minimum} or newer, this host has {'.'.join(map(str, have))}"
        versions = [tags.split_platform(tag.rpartition("-")[2])[3] for offer in offers for tag in offer.tags]
        have = max(versions, default=(0, 0))
        system = _SYSTEMS.get(group.platform.system, group.platform.system)
        return f"needs {system} {minimum} or newer, this host has {'.'.join(map(str, have))}"

    @staticmethod
    def _with(reason: str, reasons: tuple[Unavailable, ...]) -> str:
        return f"{reason} ({'; '.join(map(str, reasons))})" if reasons else reason


def _outcome(reasons: tuple[Unavailable, ...]) -> Outcome:
    """Return ``ERROR`` if it could not be found out whether an interpreter exists, else ``SKIPPED``."""
    return Outcome.ERROR if any(reason.unchecked for reason in reasons) else Outcome.SKIPPED


def _describe_platform(requested: Platform, host: Platform) -> str:
    """Name the part of a platform in which it differs from the host: ``macOS``, ``aarch64``, ``musl libc``."""
    if requested.system != host.system:
        return _SYSTEMS.get(requested.system, f"a platform {requested.system}_{requested.architecture}")
    parts = []
    if requested.architecture != host.architecture:
        parts.append(requested.architecture)
    if requested.libc != host.libc:
        parts.append("musl libc" if requested.libc == "musl" else requested.libc)
    return " with ".join(parts) or "an interpreter, but none was found"


def _found(offers: Sequence[Offer]) -> str:
    names = [interpreter.short for interpreter in sorted({_interpreter(offer) for offer in offers})]
    return f"found {_listed(names, 'and')}"


def _listed(words: Sequence[str], last: str) -> str:
    if len(words) < 2:
        return "".join(words) or "none"
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def _labeled(runtimes: Sequence[Runtime]) -> list[Runtime]:
    """Label runtimes that have the same name: with the full version, and a number if that is not enough."""
    result: list[Runtime] = []
    for runtime in runtimes:
        same = [other for other in runtimes if other.name == runtime.name]
        if len(same) == 1:
            result.append(runtime)
            continue
        twins = [other for other in same if other.installation.version == runtime.installation.version]
        number = f"-{twins.index(runtime) + 1}" if len(twins) > 1 else ""
        result.append(replace(runtime, label=f"{runtime.installation.version_text}{number}"))
    return result
