"""pytest's nodes for wheels, targets and what runs there; and the replay of remote outcomes through pytest's hooks."""

from __future__ import annotations

import abc
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from _pytest._code.code import (
    ExceptionChainRepr,
    ReprEntry,
    ReprEntryNative,
    ReprExceptionInfo,
    ReprFileLocation,
    ReprTraceback,
    TerminalRepr,
)
from _pytest.junitxml import xml_key

from pytest_wheelcheck.model import Outcome, Wheel
from pytest_wheelcheck.plugin import warning_categories
from pytest_wheelcheck.results import RemoteError, StepResult
from pytest_wheelcheck.targets.item_results import Collected, Crash, ItemResult
from pytest_wheelcheck.targets.prepare import Preparation
from pytest_wheelcheck.targets.run import TargetRun
from pytest_wheelcheck.targets.target import NoTarget, Target

if TYPE_CHECKING:
    from pytest_wheelcheck.worker import messages


class WheelNode(pytest.Directory):
    """A wheel. A directory to pytest, so that ``-k`` looks at targets and tests, not at the file's name."""

    def __init__(self, *, shown: str, children: Sequence[Child], **words: Any) -> None:
        super().__init__(nodeid=shown, name=shown, **words)  # type: ignore[arg-type]
        self._children = children

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        for child in self._children:
            if isinstance(child, StepResult):
                yield StepItem.from_parent(self, name=child.name, step=child, prefix=self.nodeid)
            elif isinstance(child, NoTarget):
                yield StepItem.from_parent(
                    self, name=child.name, step=_no_target_step(child), prefix=self.nodeid, quiet=True
                )
            else:
                yield TargetNode.from_parent(self, name=child.target.name, ready=child)


class ReadyTarget:
    """A prepared and collected target.

    :param run: ``None`` where there is nothing to run tests with.
    """

    def __init__(self, target: Target, preparation: Preparation, run: TargetRun | None, collected: Collected) -> None:
        self.target = target
        self.preparation = preparation
        self.run = run
        self.collected = collected


#: What stands directly below a wheel.
Child = StepResult | NoTarget | ReadyTarget


def _no_target_step(child: NoTarget) -> StepResult:
    return StepResult(name=child.name, outcome=child.outcome, text=child.reason)


class _Group(pytest.Collector):
    """A part of a target's node id that holds others: a test module or class."""

    def __init__(self, *, kind: str, **words: Any) -> None:
        super().__init__(**words)
        self.found: list[pytest.Item | pytest.Collector] = []
        self._kind = kind

    def __repr__(self) -> str:
        return f"<{self._kind} {self.name}>"

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        return self.found


class TargetNode(pytest.Collector):
    """A wheel on an interpreter."""

    def __init__(self, *, ready: ReadyTarget, **words: Any) -> None:
        super().__init__(nodeid=ready.target.node_id, **words)
        self.ready = ready

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        for step in self.ready.preparation.steps:
            yield StepItem.from_parent(self, name=step.name, step=step, prefix=self.nodeid)
        collected = self.ready.collected
        for module, text in collected.crashes:
            outcome = Outcome.ERROR if text.startswith("could not be checked: ") else Outcome.FAILED
            step = StepResult(name=module or "collect", outcome=outcome, text=text)
            yield StepItem.from_parent(self, name=step.name, step=step, prefix=self.nodeid)
        for report in collected.reports:
            yield CollectionItem.from_parent(self, name=report["nodeid"] or "collect", report=report)
        if self.ready.run is not None:
            yield from self._tests(collected.items, self.ready.run)

    def _tests(self, described: Iterable[messages.Item], run: TargetRun) -> Iterator[pytest.Item | pytest.Collector]:
        """Build the tree of modules, classes and tests, in the order of the target's collection."""
        current: list[tuple[str, _Group]] = []
        top: list[_Group] = []
        for data in described:
            path, *names = data["id"].partition("[")[0].split("::")
            parts = [path, *names[:-1]] if names else [path]
            depth = 0
            while depth < min(len(parts), len(current)) and current[depth][0] == parts[depth]:
                depth += 1
            del current[depth:]
            kinds = [kind for kind, _ in data["chain"][-len(parts) - 1 : -1]]
            for at, part in enumerate(parts[depth:], depth):
                parent = current[-1][1] if current else self
                kind = kinds[at] if len(kinds) == len(parts) else "Collector"
                group = _Group.from_parent(parent, name=part, nodeid=f"{parent.nodeid}::{part}", kind=kind)
                if current:
                    current[-1][1].found.append(group)
                else:
                    top.append(group)
                current.append((part, group))
            holder = current[-1][1]
            name = data["chain"][-1][1]
            holder.found.append(RemoteItem.from_parent(holder, name=name, data=data, run=run, prefix=self.nodeid))
        yield from top


class _Replayed(pytest.Item):
    """An item whose outcome comes from elsewhere; pytest's runtest protocol is not used."""

    shown_location: tuple[str, int | None, str]

    def runtest(self) -> NoReturn:
        raise RuntimeError("outcomes of targets are replayed, not run here")

    @property
    def location(self) -> tuple[str, int | None, str]:
        """Where the user's file and line are."""
        return self.shown_location

    def reportinfo(self) -> tuple[Path, int | None, str]:
        file, line, domain = self.shown_location
        return self.config.rootpath / file, line, domain

    @abc.abstractmethod
    def outcome(self, following: _Replayed | None) -> ItemResult | None:
        """Run what is to be run; ``None`` where all is known already."""

    @abc.abstractmethod
    def reports(self, result: ItemResult | None) -> Iterator[pytest.TestReport]:
        """Return the reports to replay."""

    def report(
        self,
        when: str,
        outcome: str = "passed",
        longrepr: object = None,
        *,
        seconds: float = 0.0,
        sections: Iterable[tuple[str, str]] = (),
    ) -> pytest.TestReport:
        """Make a report of this item."""
        now = time.time()
        return pytest.TestReport(
            nodeid=self.nodeid,
            location=self.location,
            keywords=dict.fromkeys(self.keywords, 1),
            outcome=outcome,  # type: ignore[arg-type]
            longrepr=longrepr,  # type: ignore[arg-type]
            when=when,  # type: ignore[arg-type]
            sections=sections,
            duration=seconds,
            start=now - seconds,
            stop=now,
            user_properties=self.user_properties,
        )


class StepItem(_Replayed):
    """Install, import, entry point, executable, or why there is no target."""

    def __init__(self, *, step: StepResult, prefix: str, quiet: bool = False, **words: Any) -> None:
        super().__init__(nodeid=f"{prefix}::{step.name}", **words)
        self.step = step
        self.quiet = quiet
        path, _, rest = self.nodeid.partition("::")
        # The heading of a failure: below a target its name says enough, below the wheel the file's name is needed.
        # pytest would put colons in the place of the dots of a name that ends like the node's id.
        heading = f"{prefix.rpartition('::')[2]}: collecting {step.name}" if step.name.endswith(".py") else rest
        self.shown_location = (path, None, heading if "::" in rest else f"{rest} of {path.rpartition('/')[2]}")
        self.user_properties.extend(step.properties)

    def outcome(self, following: _Replayed | None) -> None:  # noqa: ARG002
        return None

    def reports(self, result: ItemResult | None) -> Iterator[pytest.TestReport]:  # noqa: ARG002
        step = self.step
        for text in step.warnings:
            warn(self, text)
        if step.outcome is Outcome.SKIPPED:
            yield self.report("setup", "skipped", (str(self.config.rootpath / self.location[0]), None, step.text))
            yield self.report("teardown")
            return
        if step.outcome is Outcome.ERROR:
            yield self.report(
                "setup", "failed", plain_text(self, step.text), seconds=step.seconds, sections=step.sections
            )
            yield self.report("teardown")
            return
        yield self.report("setup")
        sections = list(step.sections)
        longrepr: object = None
        if step.outcome is Outcome.FAILED:
            longrepr = remote_traceback(step) if step.trace else plain_text(self, step.text)
            if step.trace:
                sections.insert(0, ("What is wrong", step.text))
        elif step.text:
            sections.insert(0, ("What was done", step.text))
        yield self.report("call", step.outcome.value, longrepr, seconds=step.seconds, sections=sections)
        yield self.report("teardown")


class CollectionItem(_Replayed):
    """A test module that could not be collected in the target, or that skipped itself there."""

    def __init__(self, *, report: Mapping[str, Any], **words: Any) -> None:
        parent: TargetNode = words["parent"]
        super().__init__(nodeid=f"{parent.nodeid}::{words['name']}", **words)
        self._data = report
        shown = report["nodeid"] or parent.nodeid.partition("::")[0]
        self.shown_location = (shown, None, f"{parent.name}: collecting {words['name']}")

    def outcome(self, following: _Replayed | None) -> None:  # noqa: ARG002
        return None

    def reports(self, result: ItemResult | None) -> Iterator[pytest.TestReport]:  # noqa: ARG002
        data = {**self._data, "$report_type": "CollectReport", "result": None}
        found = self.config.hook.pytest_report_from_serializable(config=self.config, data=data)
        longrepr = found.longrepr
        if found.outcome == "skipped":
            yield self.report("setup", "skipped", tuple(longrepr), sections=found.sections)
        else:
            yield self.report("setup")
            yield self.report("call", "failed", longrepr, sections=found.sections)
        yield self.report("teardown")


class RemoteItem(_Replayed):
    """A test of the user's, in a target."""

    def __init__(self, *, data: messages.Item, run: TargetRun, prefix: str, **words: Any) -> None:
        super().__init__(nodeid=f"{prefix}::{data['id']}", **words)
        self.remote_id: str = data["id"]
        self.run = run
        self._prefix = prefix
        self._kind: str = data["chain"][-1][0]
        self.shown_location = shown_location(data["location"], run.target)
        self.extra_keyword_matches.update(data["names"])
        if data["doc"]:
            self.obj = _Documented(data["doc"])
        for described in reversed(data["marks"]):
            mark = pytest.Mark(described["name"], tuple(described["args"]), described["kwargs"], _ispytest=True)
            self.own_markers.insert(0, mark)
            self.keywords[mark.name] = pytest.MarkDecorator(mark, _ispytest=True)

    def __repr__(self) -> str:
        return f"<{self._kind} {self.name}>"

    def outcome(self, following: _Replayed | None) -> ItemResult:
        follower = following if isinstance(following, RemoteItem) and following.run is self.run else None
        return self.run.run(self.remote_id, follower.remote_id if follower else None, self._left())

    def _left(self) -> int:
        maxfail = int(self.config.getvalue("maxfail") or 0)
        return max(maxfail - self.session.testsfailed, 1) if maxfail else 0

    def reports(self, result: ItemResult | None) -> Iterator[pytest.TestReport]:
        assert result is not None  # noqa: S101  outcome() made it
        for message in result.messages:
            if message["type"] == "report":
                yield self.read_report(message["data"])
            elif message["type"] == "warning":
                replay_warning(self.config, message, self._prefix)
            elif message["type"] == "text":
                write_text(self.config, message["text"])
            elif message["type"] == "property":
                self._add_to_junit(message)
        if result.crash is not None:
            yield from self._crash_reports(result.crash)

    def _add_to_junit(self, message: messages.Property) -> None:
        xml: Any = self.config.stash.get(xml_key, None)
        if xml is None:
            # A worker of xdist, which has no JUnit report; the fixtures do nothing there in an ordinary run, too.
            return
        if message["id"]:
            xml.node_reporter(self.nodeid).add_attribute(message["name"], message["value"])
        else:
            xml.add_global_property(message["name"], message["value"])

    def _crash_reports(self, crash: Crash) -> Iterator[pytest.TestReport]:
        yield self.report(
            crash.when, "failed", plain_text(self, crash.text), seconds=crash.seconds, sections=crash.sections
        )
        if crash.when != "teardown":
            yield self.report("teardown")

    def read_report(self, data: Mapping[str, Any]) -> pytest.TestReport:
        """Make the target's report one of this item."""
        words = dict(data)
        words["nodeid"] = self.nodeid
        words["location"] = self.location
        words["sections"] = [tuple(section) for section in words.get("sections", ())]
        words["user_properties"] = [tuple(pair) for pair in words.get("user_properties", ())]
        if isinstance(words.get("longrepr"), list):
            words["longrepr"] = tuple(words["longrepr"])
        report = self.config.hook.pytest_report_from_serializable(config=self.config, data=words)
        if not isinstance(report, pytest.TestReport):
            return self.report("call", "failed", f"the target sent a report that cannot be read: {data!r:.500}")
        context = words.get("_subtest.context")
        if context:
            # pytest describes a subtest's values when it is made, and would describe the descriptions again.
            object.__setattr__(report.context, "kwargs", context["kwargs"])
        return report


class _Documented:
    """Stands for a test function where ``--collect-only -v`` asks for its docstring."""

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc


def shown_location(location: Sequence[Any], target: Target) -> tuple[str, int | None, str]:
    """Return the location of a test for reports: the user's file, and the target's name before the test's."""
    file, line, domain = location
    return str(file), line, f"{target.name}::{domain}"


def following_in_target(items: Sequence[pytest.Item], index: int) -> _Replayed | None:
    """Return the item after *index* that runs in the same target."""
    here = items[index]
    if not isinstance(here, RemoteItem):
        return None
    return next((item for item in items[index + 1 :] if isinstance(item, RemoteItem) and item.run is here.run), None)


# --- replay --------------------------------------------------------------------------------------------------------------


def replay(item: _Replayed, result: ItemResult | None) -> None:
    """Tell pytest what happened to an item, through the hooks that it uses for its own."""
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in item.reports(result):
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    if result is not None and result.stop and not item.session.shouldstop:
        item.session.shouldstop = result.stop


def write_text(config: pytest.Config, text: str) -> None:
    """Show what a plugin of the target wrote to its terminal."""
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.ensure_newline()
        reporter.write_raw(text if text.endswith("\n") else f"{text}\n", flush=True)


class WheelWarning(UserWarning):
    """A wheel could be better."""


def warn(item: pytest.Item, text: str) -> None:
    """Record a warning about a wheel with pytest."""
    path = item.location[0]
    recorded = warnings.WarningMessage(WheelWarning(text), WheelWarning, filename=path, lineno=0)
    item.ihook.pytest_warning_recorded.call_historic(
        kwargs={"warning_message": recorded, "when": "runtest", "nodeid": item.nodeid, "location": None}
    )


def replay_warning(config: pytest.Config, message: messages.RecordedWarning, prefix: str) -> None:
    """Record a warning of the target's. Its class is rebuilt by name only: nothing of the user's is imported."""
    known = getattr(pytest, message["category"], None) or getattr(__import__("builtins"), message["category"], None)
    if not (isinstance(known, type) and issubclass(known, Warning)):
        known = getattr(warning_categories, message["category"])
    recorded = warnings.WarningMessage(
        message=known(message["text"]),
        category=known,
        filename=message["filename"],
        lineno=message["lineno"],
    )
    location = tuple(message["location"]) if message["location"] else None
    config.hook.pytest_warning_recorded.call_historic(
        kwargs={
            "warning_message": recorded,
            "when": message["when"],
            "nodeid": f"{prefix}::{message['nodeid']}" if message["nodeid"] else prefix,
            "location": location,
        }
    )


def plain_text(item: pytest.Item, text: str) -> TerminalRepr:
    """Show a text as a failure whose first line also stands in pytest's short summary."""
    file, line, _ = item.location
    crash = ReprFileLocation(file, (line or 0) + 1, text.partition("\n")[0])
    entry = ReprEntryNative([text if text.endswith("\n") else f"{text}\n"])
    return ReprExceptionInfo(ReprTraceback([entry], None, "native"), crash)


def remote_traceback(step: StepResult) -> TerminalRepr:
    """Show a remote exception chain as pytest shows its own."""
    chain: list[tuple[ReprTraceback, ReprFileLocation | None, str | None]] = []
    for error in step.trace:
        description = {
            "cause": "The above exception was the direct cause of the following exception:",
            "context": "During handling of the above exception, another exception occurred:",
        }.get(error.relation)
        chain.append((_traceback(error), _crash(error), description))
    # The relation is told between an exception and the one that it led to: the last has none.
    return ExceptionChainRepr(chain)


def _summary(error: RemoteError) -> str:
    return f"{error.type}: {error.message}" if error.message else error.type


def _crash(error: RemoteError) -> ReprFileLocation:
    if not error.frames:
        # The importer itself raised it; the line of the short summary needs the message all the same.
        return ReprFileLocation("<import>", 0, _summary(error))
    last = error.frames[-1]
    return ReprFileLocation(last.file, last.line, _summary(error))


def _traceback(error: RemoteError) -> ReprTraceback:
    entries = []
    for position, frame in enumerate(error.frames):
        final = position + 1 == len(error.frames)
        lines = [f"    {line}" for line in frame.lines[:-1]]
        lines += [f">   {line}" for line in frame.lines[-1:]]
        if final:
            lines += [f"E   {line}" for line in _summary(error).splitlines()]
        where = ReprFileLocation(frame.file, frame.line, error.type if final else f"in {frame.function}")
        entries.append(ReprEntry(lines, None, None, where, "long"))
    if not entries:
        lines = [f"E   {line}" for line in _summary(error).splitlines()]
        entries.append(ReprEntry(lines, None, None, None, "long"))
    return ReprTraceback(entries, None, "long")


def wheel_children(
    wheel: Wheel, ready: Iterable[ReadyTarget], missing: Iterable[NoTarget], checks: Iterable[StepResult]
) -> list[Child]:
    """Return what stands below a wheel's node, in order: checks, targets, and why there are no others."""
    return [
        *checks,
        *(one for one in ready if one.target.wheel is wheel),
        *(one for one in missing if one.wheel is wheel),
    ]
