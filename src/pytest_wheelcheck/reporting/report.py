"""A run as values: what was there, what was done, how it ended. Written as JSON, read again, joined with others.

Nothing here looks at a disk or at pytest; every report, in whatever form, is computed from these values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.model import Outcome, Wheel
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.targets.target import NoTarget, Target

#: What a file of ours begins with, and the version of its form. It grows with every change that older readers would
#: misunderstand.
FORMAT, FORMAT_VERSION = "pytest-wheelcheck", 1

#: Outcomes of nodes, the worst first. pytest's own words; ``error`` is one outside the test itself.
OUTCOMES = ("failed", "error", "xpassed", "passed", "xfailed", "skipped")
#: Those that fail a run.
BAD = frozenset({"failed", "error"})

#: The reasons that the targets' rules for pseudo-terminals give.
_PTY = re.compile(r"needs (?:a pseudo-terminal|the module '(?:pty|tty|termios|fcntl|resource)'), which ")
_NOT_TESTS = re.compile(r"install$|(?:import|entry|run)\[")
#: Characters of a text that are kept.
_MAX_TEXT = 4000


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One node that was run.

    :param name: what stands in its id behind the wheel or the target.
    :param outcome: one of :data:`OUTCOMES`.
    :param text: why it failed or was skipped.
    :param warnings: what is not wrong enough to fail.
    """

    name: str
    outcome: str
    text: str = ""
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def is_test(self) -> bool:
        """Whether it is a test of the user's, not one of our own nodes."""
        return _NOT_TESTS.match(self.name) is None

    @property
    def excluded_for_pty(self) -> bool:
        """Whether it was skipped since the target has no pseudo-terminal."""
        return self.outcome == "skipped" and _PTY.search(self.text) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A target and what was run on it.

    :param name: as in node ids, such as ``cp311-linux-aarch64+rpi5``.
    :param how: ``native``, ``emulated`` or ``board``.
    :param machine: what was emulated (``aarch64``, ``rpi5``, ``wine``) or which board it was; empty for this host itself.
    :param where: one line for people on where the interpreter comes from.
    :param host: on which host it was, where reports of several were joined.
    """

    name: str
    interpreter: str
    platform: str
    system: str
    libc: str = ""
    architecture: str = ""
    how: str = "native"
    machine: str = ""
    where: str = ""
    host: str = ""
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Untested:
    """An interpreter on which a wheel could not be run, or the wheel as a whole.

    :param outcome: ``skipped`` where the host cannot by nature, else ``error`` or ``failed``.
    """

    name: str
    outcome: str
    reason: str
    host: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A wheel, or what was given as one.

    :param shown: its path as in node ids.
    :param file: its name.
    :param sha256: empty where it could not be read.
    :param name: of the project; empty where it could not be opened.
    :param tags: whole tags, expanded.
    :param checks: the static checks that ran.
    """

    shown: str
    file: str
    sha256: str = ""
    size: int = 0
    name: str = ""
    version: str = ""
    tags: tuple[str, ...] = ()
    requires_python: str | None = None
    classifiers: tuple[str, ...] = ()
    checks: tuple[Node, ...] = ()
    places: tuple[Place, ...] = ()
    untested: tuple[Untested, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A run, or several that were joined.

    :param files: the wheels.
    :param others: names of other files of the release, such as its sdist.
    :param release: nodes about the release as a whole.
    :param expect: the clauses of ``--wheel-expect``.
    :param complete: whether every run came to its end.
    """

    files: tuple[File, ...] = ()
    others: tuple[str, ...] = ()
    release: tuple[Node, ...] = ()
    expect: tuple[str, ...] = ()
    complete: bool = True
    program: str = field(default="", compare=False)


def to_json(report: Report) -> str:
    """Write a report."""
    return json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(report)}, indent=1) + "\n"


def from_json(text: str, *, source: str) -> Report:
    """Read what :func:`to_json` wrote.

    :param source: the file's name, for errors.
    :raises UsageError: it is not a report of ours, or one of a later form.
    """
    try:
        data = json.loads(text)
        version = data["format_version"] if data["format"] == FORMAT else None
    except (ValueError, TypeError, KeyError):
        version = None
    if version is None:
        raise UsageError(
            f"{source} is no report of a run of wheels", fix="give files that --wheel-report NAME.json wrote"
        )
    if version != FORMAT_VERSION:
        raise UsageError(
            f"{source} has form {version}, and this version reads form {FORMAT_VERSION}",
            fix="merge with the version of pytest-wheelcheck that wrote the newest of the reports",
        )
    try:
        return Report(
            files=tuple(map(_file, data["files"])),
            others=tuple(data["others"]),
            release=tuple(map(_node, data["release"])),
            expect=tuple(data["expect"]),
            complete=bool(data["complete"]),
            program=data["program"],
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{source} is damaged: {type(error).__name__}: {error}") from None


def _node(data: Mapping[str, Any]) -> Node:
    if data["outcome"] not in OUTCOMES:
        raise KeyError(f"outcome {data['outcome']!r}")
    return Node(**{**data, "warnings": tuple(data["warnings"])})


def _place(data: Mapping[str, Any]) -> Place:
    return Place(**{**data, "nodes": tuple(map(_node, data["nodes"]))})


def _file(data: Mapping[str, Any]) -> File:
    return File(
        **{
            **data,
            "tags": tuple(data["tags"]),
            "classifiers": tuple(data["classifiers"]),
            "checks": tuple(map(_node, data["checks"])),
            "places": tuple(map(_place, data["places"])),
            "untested": tuple(Untested(**one) for one in data["untested"]),
        }
    )


class Outcomes:
    """What happened to each node, gathered from pytest's reports as they come in."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._warnings: dict[str, list[str]] = {}

    def add(self, node_id: str, *, when: str, outcome: str, expected: bool, text: str, seconds: float) -> None:
        """Take one report.

        :param when: ``setup``, ``call`` or ``teardown``.
        :param outcome: ``passed``, ``failed``, ``skipped``; anything else (``rerun``) is not final and is left out.
        :param expected: the test was marked as one that fails.
        """
        if outcome not in {"passed", "failed", "skipped"}:
            return
        if expected:
            outcome = {"passed": "xpassed", "skipped": "xfailed"}.get(outcome, outcome)
        elif outcome == "failed" and when != "call":
            outcome = "error"
        elif outcome == "passed" and when != "call" and node_id not in self._nodes:
            return  # a setup or teardown alone is no outcome
        before = self._nodes.get(node_id)
        if before is None:
            self._nodes[node_id] = Node(name=node_id, outcome=outcome, text=text[:_MAX_TEXT], seconds=seconds)
            return
        worse = OUTCOMES.index(outcome) < OUTCOMES.index(before.outcome) and not (
            outcome == "passed" and when != "call"
        )
        self._nodes[node_id] = replace(
            before,
            outcome=outcome if worse else before.outcome,
            text=(text if worse else before.text or text)[:_MAX_TEXT],
            seconds=before.seconds + seconds,
        )

    def add_warning(self, node_id: str, text: str) -> None:
        """Take a warning about a node."""
        self._warnings.setdefault(node_id, []).append(text[:_MAX_TEXT])

    def below(self, prefix: str) -> list[Node]:
        """Return the nodes whose ids begin with a prefix, named by what follows it, in the order in which they ended."""
        return [
            replace(node, name=name.removeprefix(prefix), warnings=tuple(self._warnings.get(name, ())))
            for name, node in self._nodes.items()
            if name.startswith(prefix)
        ]


def describe_file(
    shown: str,
    file: str,
    wheel: Wheel | None,
    targets: Sequence[Target],
    missing: Sequence[NoTarget],
    outcomes: Outcomes,
    host: str,
) -> File:
    """Tell of one file what was done with it.

    :param wheel: ``None`` where it could not be opened as one.
    :param targets: its targets.
    :param missing: what it got no target for.
    """
    places = tuple(
        replace(describe_target(target, host), nodes=tuple(outcomes.below(f"{target.node_id}::"))) for target in targets
    )
    below = {f"{place.name}::" for place in places}
    left_out = {one.name for one in missing}
    checks = tuple(
        node
        for node in outcomes.below(f"{shown}::")
        if not node.name.startswith(tuple(below)) and node.name not in left_out
    )
    untested = tuple(
        Untested(name=one.name, outcome=one.outcome.value, reason=one.reason, host=host) for one in missing
    )
    if wheel is None:
        return File(shown=shown, file=file, checks=checks)
    return File(
        shown=shown,
        file=file,
        sha256=wheel.sha256,
        size=wheel.size,
        name=wheel.name,
        version=wheel.version,
        tags=tuple(map(str, wheel.tags)),
        requires_python=wheel.requires_python,
        classifiers=wheel.classifiers,
        checks=checks,
        places=places,
        untested=untested,
    )


def describe_target(target: Target, host: str) -> Place:
    """Tell what a target is, before anything was run on it."""
    runtime, machine = target.runtime, target.machine.name
    pretended = "" if machine == "host" else machine
    platform, how = runtime.platform, runtime.backend.category
    what = pretended or ("" if how == "native" else platform.architecture)
    return Place(
        name=target.name,
        interpreter=runtime.interpreter,
        platform=platform.name,
        system=platform.system,
        libc=platform.libc,
        architecture=platform.architecture,
        how=how,
        machine=what,
        where=runtime.installation.how,
        host=host,
    )


def merge(reports: Sequence[Report]) -> Report:
    """Join the reports of several runs by the digests of their wheels.

    What one host could not look at, and another could, counts as the other has it. Whatever failed anywhere failed.
    """
    files: dict[str, File] = {}
    for report in reports:
        for file in report.files:
            key = file.sha256 or f"unreadable {file.file}"
            files[key] = _join(files[key], file) if key in files else file
    others = dict.fromkeys(name for report in reports for name in report.others)
    expect = dict.fromkeys(line for report in reports for line in report.expect)
    return Report(
        files=tuple(files.values()),
        others=tuple(others),
        expect=tuple(expect),
        complete=all(report.complete for report in reports),
        program=reports[0].program if reports else "",
    )


def _join(first: File, second: File) -> File:
    return replace(
        first,
        checks=_join_nodes((*first.checks, *second.checks)),
        places=_join_places((*first.places, *second.places)),
        untested=tuple(dict.fromkeys((*first.untested, *second.untested))),
    )


def _join_places(places: Iterable[Place]) -> tuple[Place, ...]:
    """Join the nodes of one target on one host, as shards of one run have them."""
    found: dict[tuple[str, str, str, str], Place] = {}
    for place in places:
        key = (place.name, place.how, place.machine, place.host)
        before = found.get(key)
        found[key] = place if before is None else replace(before, nodes=_join_nodes((*before.nodes, *place.nodes)))
    return tuple(found.values())


def _join_nodes(nodes: Iterable[Node]) -> tuple[Node, ...]:
    found: dict[str, Node] = {}
    for node in nodes:
        before = found.get(node.name)
        if before is None or _rank(node) < _rank(before):
            found[node.name] = replace(
                node, warnings=tuple(dict.fromkeys((*(before.warnings if before else ()), *node.warnings)))
            )
        elif node.warnings:
            found[node.name] = replace(before, warnings=tuple(dict.fromkeys((*before.warnings, *node.warnings))))
    return tuple(found.values())


def _rank(node: Node) -> int:
    return OUTCOMES.index(node.outcome)


def worst(outcomes: Iterable[str]) -> str:
    """Tell the worst outcome of several; an empty string for none."""
    return min(outcomes, key=OUTCOMES.index, default="")


def problems(report: Report, *, strict: bool = False) -> list[str]:
    """List what fails a report, one line each.

    :param strict: a wheel that was run nowhere fails.
    """
    lines: list[str] = []
    digests: dict[str, set[str]] = {}
    if not report.complete:
        lines.append("a run was interrupted before its end")
    for file in report.files:
        digests.setdefault(file.file, set()).add(file.sha256)
        if not file.checks and not file.places:
            lines.append(f"{file.shown}: nothing is known of it")
        lines += [
            f"{file.shown}::{node.name}: {node.outcome}{_reason(node)}" for node in file.checks if node.outcome in BAD
        ]
        lines += [
            f"{file.shown}::{place.name}::{node.name}{f' on {place.host}' if place.host else ''}: "
            f"{node.outcome}{_reason(node)}"
            for place in file.places
            for node in place.nodes
            if node.outcome in BAD
        ]
        lines += [
            f"{file.shown}::{place.name}: nothing was run{f' on {place.host}' if place.host else ''}"
            for place in file.places
            if not place.nodes
        ]
        ran = any(node.outcome != "skipped" for place in file.places for node in place.nodes)
        for one in file.untested:
            if one.outcome == Outcome.ERROR.value or (one.outcome == Outcome.FAILED.value and not ran):
                lines.append(f"{file.shown}::{one.name}: {one.outcome}: {one.reason}")
        if strict and not ran and file.sha256:
            why = "; ".join(dict.fromkeys(one.reason for one in file.untested))
            lines.append(f"{file.shown}: not run anywhere{f' ({why})' if why else ''}")
    lines += [f"{name}: {len(found)} files of this name differ" for name, found in digests.items() if len(found) > 1]
    lines += [f"release::{node.name}: {node.outcome}{_reason(node)}" for node in report.release if node.outcome in BAD]
    return lines


def _reason(node: Node) -> str:
    first = node.text.strip().partition("\n")[0]
    return f": {first}" if first else ""


def named(file: File, *, name: str, version: str, tags: tuple[str, ...]) -> File:
    """Add what the name of a file tells that could not be opened."""
    return replace(file, name=name, version=version, tags=tags)


def of_step(step: StepResult) -> Node:
    """Make the node of a step that no run of pytest told of."""
    return Node(name=step.name, outcome=step.outcome.value, text=step.text, warnings=step.warnings)
