"""Which targets a wheel gets, and the exact reason for each target that it does not get.

The compatibility tags decide: an interpreter is a target of a wheel if it accepts one of the wheel's tags. If no provider
has such an interpreter, the target is skipped; if the user requested it by name, that is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_wheelcheck.backends.base import HOST_MACHINE, MachineProfile, Runtime
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.interpreters.base import OLDEST, Kind, Offer, Request, Unavailable, here
from pytest_wheelcheck.model import Machine, Outcome, Platform, Wheel
from pytest_wheelcheck.system import progress
from pytest_wheelcheck.targets.planning import wording
from pytest_wheelcheck.targets.planning.choices import Choice, Questions, interpreter_of
from pytest_wheelcheck.targets.planning.requires_python import admitted_minors, satisfies
from pytest_wheelcheck.targets.planning.specs import Interpreter, Spec, parse_specs
from pytest_wheelcheck.targets.planning.tag_groups import TagGroup, group_tags, possible_interpreters, primary_kinds
from pytest_wheelcheck.targets.target import NoTarget, Target


def plan(
    wheels: Iterable[Wheel],
    specs: Iterable[str],
    catalog: Catalog,
    *,
    host: Platform | None = None,
    profiles: Sequence[MachineProfile] = (),
    elsewhere: Mapping[Wheel, frozenset[Platform]] | None = None,
    unresolved: Callable[[Wheel, Runtime], str] | None = None,
) -> tuple[list[Target], list[NoTarget]]:
    """Decide the targets of all wheels and have their interpreters made.

    :param wheels: as given; the order of the result.
    :param specs: the values of ``--wheel-python``; none means ``auto``.
    :param catalog: gives interpreters.
    :param host: what ``any`` and ``linux_*`` mean; ``None`` for the running interpreter's platform.
    :param profiles: machines to pretend to be: a target of their architecture becomes one target for each machine.
    :param elsewhere: platforms of wheels that are tested on boards instead.
    :param unresolved: returns why the dependencies of a wheel cannot be installed for an interpreter, or an empty string.
        It is asked about the newest of several interpreters, which was not the user's choice.
    :returns: the targets, by wheel and then by version; and the wheels and interpreters without a target, by wheel.
    :raises UsageError: a spec cannot be read.
    """
    parsed = parse_specs(specs)
    questions = Questions(catalog=catalog, host=host or here())
    plans = [_WheelPlan(wheel, questions, (elsewhere or {}).get(wheel, frozenset())) for wheel in wheels]
    for each in plans:
        each.choose(parsed)
    # If no wheel of the run accepts the requested interpreters, nothing would be tested: an error, not a skip.
    nothing_to_test = not any(each.chosen or each.problems for each in plans)
    for each in plans:
        each.conclude(Outcome.ERROR if nothing_to_test else Outcome.SKIPPED)
    chosen = list(dict.fromkeys(choice for each in plans for choice in each.chosen))
    with progress.announced(choice.described for choice in chosen):
        runtimes = questions.make(chosen)
    if unresolved is not None:
        for each in plans:
            each.pass_over(unresolved, runtimes)
    targets: list[Target] = []
    without: list[NoTarget] = []
    for each in plans:
        plain = each.targets(runtimes)
        targets.extend(each.multiply(plain, profiles, catalog))
        without.extend(each.problems)
    for profile in profiles:
        if plans and profile.name != HOST_MACHINE and all(profile.name not in each.machines for each in plans):
            reason = f"--wheel-machine {profile.name} was requested, but no wheel of this run has a target"
            reason += f" for {profile.architecture}" if profile.architecture else " for it"
            name = f"no-target+{profile.name}"
            without.append(NoTarget(wheel=plans[0].wheel, outcome=Outcome.ERROR, reason=reason, name=name))
    return targets, without


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rejected:
    """A requested interpreter that a wheel is not for.

    :param path: if it was requested by its path.
    """

    interpreter: Interpreter
    group: TagGroup
    path: str = ""


class _WheelPlan:
    """The targets of one wheel."""

    def __init__(self, wheel: Wheel, questions: Questions, elsewhere: frozenset[Platform]) -> None:
        self.wheel = wheel
        self.questions = questions
        self.groups = [group for group in group_tags(wheel, questions.host) if group.platform not in elsewhere]
        self.possible = possible_interpreters(wheel.tags)
        self.primary = primary_kinds(wheel.tags)
        self.chosen: list[Choice] = []
        self.problems: list[NoTarget] = []
        self.machines: set[str] = set()
        self._rejected: list[_Rejected] = []
        self._other_platforms: list[TagGroup] = []

    def choose(self, specs: Sequence[Spec]) -> None:
        for group in self.groups:
            # A path also satisfies a request for its version, and what the user named is never passed over.
            for spec in sorted(specs, key=lambda spec: (spec.path is None, spec.interpreter is None)):
                if spec.path is not None:
                    self._choose_path(group, spec.path)
                elif spec.interpreter is not None:
                    self._choose_version(group, spec.interpreter)
                else:
                    self._choose_range(group, everything=spec.text == "all")

    def conclude(self, outcome: Outcome) -> None:
        """Report each requested interpreter that the wheel is not for.

        :param outcome: of these.
        """
        if not (self.chosen or self.problems):
            for group in self._other_platforms:
                self._no_platform(group, ())
            if self._other_platforms:
                return
        for rejected in self._rejected:
            group = rejected.group
            reason = wording.not_admitted(group, self._admitted(group), rejected.interpreter, rejected.path)
            self._problem(outcome, reason, self._name(group, rejected.interpreter), rejected.interpreter)

    def pass_over(
        self, unresolved: Callable[[Wheel, Runtime], str], runtimes: dict[Choice, Runtime | WheelcheckError]
    ) -> None:
        """Replace the newest interpreter by an older one if the wheel's dependencies cannot be installed for it.

        :param runtimes: receives the interpreters that are made meanwhile.
        """
        for index, choice in enumerate(self.chosen):
            runtime = runtimes[choice]
            if not choice.older or not isinstance(runtime, Runtime) or not (reason := unresolved(self.wheel, runtime)):
                continue
            *between, oldest = choice.older
            runtimes |= self.questions.make([oldest] if oldest not in runtimes else [])
            runtime = runtimes[oldest]
            if not isinstance(runtime, Runtime) or unresolved(self.wheel, runtime):
                # It does not depend on the version. The installation reports it.
                continue
            passed = [(choice, reason)]
            for candidate in between:
                runtimes |= self.questions.make([candidate] if candidate not in runtimes else [])
                runtime = runtimes[candidate]
                if isinstance(runtime, Runtime):
                    if not (reason := unresolved(self.wheel, runtime)):
                        break
                    passed.append((candidate, reason))
            else:
                candidate = oldest
            self.chosen[index] = candidate
            for other, why in passed:
                text = f"{candidate.interpreter} is used instead of {other.interpreter}: {why}"
                self._problem(Outcome.SKIPPED, text, f"{other.offers[0].interpreter}-{other.offers[0].platform.name}")

    def targets(self, runtimes: dict[Choice, Runtime | WheelcheckError]) -> list[Target]:
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
                reason = f"the requested interpreter {path} cannot be used: {'; '.join(map(str, reasons))}"
                self._problem(Outcome.ERROR, reason)
            else:
                self._other_platforms.append(group)
        elif group.fits(offers[0]):
            self._add(offers[:1])
        elif group.admits(interpreter := interpreter_of(offers[0])):
            name = self._name(group, interpreter)
            self._problem(Outcome.SKIPPED, wording.too_old_system(group, offers), name, interpreter)
        else:
            self._rejected.append(_Rejected(interpreter=interpreter, group=group, path=str(path)))

    def _choose_version(self, group: TagGroup, requested: Interpreter) -> None:
        if not group.admits(requested):
            # A path satisfies the request for its version here, too.
            if any(each.interpreter == requested and each.group is group for each in self._rejected):
                return
            self._rejected.append(_Rejected(interpreter=requested, group=group))
            return
        if any(
            choice.interpreter == requested and choice.offers[0].platform == group.platform for choice in self.chosen
        ):
            return
        if requested.version < OLDEST:
            reason = f"{requested} was requested, but {wording.TOO_OLD}"
            self._problem(Outcome.ERROR, reason, self._name(group, requested))
            return
        offers, reasons = self.questions.ask(
            Request(platform=group.platform, wanted=frozenset({requested.whole}), minimum_libc=group.minimum_libc)
        )
        same = tuple(offer for offer in offers if interpreter_of(offer) == requested)
        fitting = tuple(filter(group.fits, same))
        if fitting:
            self._add(fitting)
        elif not offers:
            self._no_platform(group, reasons, requested)
        elif same:
            name = self._name(group, requested)
            self._problem(Outcome.SKIPPED, wording.too_old_system(group, same), name, requested)
        else:
            reason = wording.with_reasons(f"{requested} was requested, but {wording.only_found(offers)}", reasons)
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
            interpreter = interpreter_of(offer)
            by_kind.setdefault(interpreter.kind, {}).setdefault(interpreter, []).append(offer)
        for kind in self.primary:
            if kind not in by_kind and not (kind == ("cpython", False) and self._accepts_any_python(group) and by_kind):
                wanted = [interpreter for interpreter in admitted if interpreter.kind == kind]
                self._no_interpreter(group, wanted, offers, reasons)
        for kind in sorted(by_kind, key=lambda kind: (kind not in self.primary, kind)):
            # Interpreters that the user named replace all others of their architecture.
            named = {each: found for each, found in by_kind[kind].items() if found[0].rank < 0}
            versions = {each: tuple(found) for each, found in (named or by_kind[kind]).items()}
            if everything:
                for interpreter in sorted(versions):
                    self._add(versions[interpreter])
            elif kind in self.primary or not any(known in self.primary for known in by_kind):
                newest = _newest(versions)
                older = sorted((each for each in versions if each < newest), reverse=True)
                if min(versions) != newest:
                    self._add(versions[min(versions)])
                self._add(versions[newest], older=[versions[each] for each in older])

    def _enough(self, admitted: Sequence[Interpreter], *, everything: bool) -> frozenset[Kind]:
        """Return the admitted interpreters that a run would use if all of them were available."""
        wanted: set[Kind] = set()
        for kind in self.primary:
            of_kind = [each for each in admitted if each.kind == kind and each.version >= OLDEST]
            minors = admitted_minors(self.wheel.requires_python, [each.version[1] for each in of_kind])
            of_kind = [each for each in of_kind if each.version[1] in minors] or of_kind
            if of_kind:
                wanted.update(each.whole for each in (of_kind if everything else (min(of_kind), max(of_kind))))
        return frozenset(wanted)

    def _add(self, offers: tuple[Offer, ...], *, older: Sequence[tuple[Offer, ...]] = ()) -> None:
        def choice(offers: tuple[Offer, ...], older: tuple[Choice, ...] = ()) -> Choice:
            # An interpreter that the user named has no substitute.
            return Choice(offers=tuple(offer for offer in offers if offer.rank < 0) or offers, older=older)

        new = choice(offers, tuple(map(choice, older)))
        if all(new.offers != known.offers for known in self.chosen):
            self.chosen.append(new)

    def _admitted(self, group: TagGroup) -> list[Interpreter]:
        return [interpreter for interpreter in self.possible if group.admits(interpreter)]

    def _accepts_any_python(self, group: TagGroup) -> bool:
        """Return whether the wheel is for any Python, so that PyPy or a free-threaded build is enough."""
        return all(tag.startswith("py") for tag in group.tags)

    def _required(self, offer: Offer) -> bool:
        return satisfies(self.wheel.requires_python, offer.version)

    def _problem(
        self, outcome: Outcome, reason: str, name: str = "no-target", requested: Interpreter | None = None
    ) -> None:
        same = [problem for problem in self.problems if problem.reason == reason and problem.name == name]
        if same:
            return
        taken = {problem.name for problem in self.problems}
        unique = next(
            candidate
            for number in range(1, len(taken) + 2)
            if (candidate := name if number == 1 else f"{name}-{number}") not in taken
        )
        asked = requested.tag if requested else ""
        problem = NoTarget(wheel=self.wheel, outcome=outcome, reason=reason, name=unique, requested=asked)
        self.problems.append(problem)

    def _name(self, group: TagGroup, interpreter: Interpreter | None) -> str:
        """Return the name that the target would have."""
        if interpreter is None:
            return "no-target"
        return f"{interpreter.tag}-{group.platform.name}"

    def _no_platform(
        self, group: TagGroup, reasons: tuple[Unavailable, ...], requested: Interpreter | None = None
    ) -> None:
        admitted = self._admitted(group)
        named = self._name(group, requested or (admitted[0] if admitted else None))
        reason = f"needs {wording.describe_platform(group.platform, self.questions.host)}"
        self._problem(wording.outcome(reasons), wording.with_reasons(reason, reasons), named, requested)

    def _no_interpreter(
        self, group: TagGroup, wanted: list[Interpreter], offers: tuple[Offer, ...], reasons: tuple[Unavailable, ...]
    ) -> None:
        name = self._name(group, wanted[0] if wanted else None)
        outcome = Outcome.SKIPPED
        same = tuple(offer for offer in offers if interpreter_of(offer) in wanted)
        if same and any(map(group.fits, same)):
            reason = f"Requires-Python {self.wheel.requires_python} excludes all available interpreters: {wording.found(offers)}"
        elif same:
            reason = wording.too_old_system(group, same)
        else:
            needed = wording.describe(group, wanted)
            old = wanted and wanted[-1].version < OLDEST
            found = wording.TOO_OLD if old else wording.only_found(offers)
            reason = wording.with_reasons(f"needs {needed}, but {found}", reasons)
            if not old:
                outcome = wording.outcome(reasons)
        self._problem(outcome, reason, name)


def _newest(versions: Mapping[Interpreter, Sequence[Offer]]) -> Interpreter:
    """Return the newest version, or the one before it if only that one is the build of a distributor.

    An assembled interpreter has the standard library of another build, and libraries of its own.
    """
    newest = max(versions)
    before = [
        each
        for each in versions
        if each.version == (newest.version[0], newest.version[1] - 1) and not versions[each][0].assembled
    ]
    return before[0] if before and versions[newest][0].assembled else newest


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
