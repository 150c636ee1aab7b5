"""pytest's nodes of a run with wheels: wheels, targets, and the items whose outcomes are replayed."""

from __future__ import annotations

import abc
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from _pytest.junitxml import xml_key

from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.plugin import replay
from pytest_wheelcheck.plugin.places import in_place
from pytest_wheelcheck.results import THREADS, StepResult, unexpected
from pytest_wheelcheck.targets.target import NoTarget, Target

if TYPE_CHECKING:
    from pytest_wheelcheck.targets.planning.left_out import LeftOut
    from pytest_wheelcheck.targets.preparing.preparation import Preparation
    from pytest_wheelcheck.targets.running.item_results import Collected, Crash, ItemResult
    from pytest_wheelcheck.targets.running.run import TargetRun
    from pytest_wheelcheck.worker import messages


@dataclass(frozen=True, slots=True)
class PreparedTarget:
    """A prepared target and the tests collected there.

    :param run: runs the tests; ``None`` if the preparation failed.
    """

    target: Target
    preparation: Preparation
    run: TargetRun | None
    collected: Collected


#: The children of a wheel's node.
Child = StepResult | NoTarget | PreparedTarget


class WheelNode(pytest.Directory):
    """A wheel. pytest sees a directory, so ``-k`` matches targets and tests, not the file name of the wheel."""

    def __init__(self, *, shown: str, children: Sequence[Child], left_out: LeftOut, **kwargs: Any) -> None:
        super().__init__(nodeid=shown, name=shown, **kwargs)  # type: ignore[arg-type]
        self._children = children
        self.left_out = left_out

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        return _collected(self, self._collect())

    def _collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        for child in self._children:
            if isinstance(child, StepResult):
                yield StepItem.from_parent(self, name=child.name, step=child)
            elif isinstance(child, NoTarget):
                step = StepResult(name=child.name, outcome=child.outcome, text=child.reason, traceback=child.traceback)
                yield StepItem.from_parent(self, name=child.name, step=step)
            else:
                yield TargetNode.from_parent(self, name=child.target.name, prepared=child)


class TargetNode(pytest.Collector):
    """A wheel on an interpreter."""

    def __init__(self, *, prepared: PreparedTarget, **kwargs: Any) -> None:
        super().__init__(nodeid=prepared.target.node_id, **kwargs)
        self._prepared = prepared

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        return _collected(self, self._collect())

    def _collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        for step in self._prepared.preparation.steps:
            yield StepItem.from_parent(self, name=step.name, step=step)
        collected = self._prepared.collected
        for failure in collected.failures:
            outcome = Outcome.ERROR if failure.unchecked else Outcome.FAILED
            step = StepResult(name=failure.module or "collect", outcome=outcome, text=failure.text)
            yield StepItem.from_parent(self, name=step.name, step=step)
        for report in collected.reports:
            yield CollectionItem.from_parent(self, name=report["nodeid"] or "collect", report=report)
        if self._prepared.run is not None:
            yield from self._tests(collected.items, self._prepared.run)
            if self._prepared.run.threads.is_expected(self._prepared.target):
                yield ThreadsItem.from_parent(self, name=THREADS, prepared=self._prepared)

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
            for index, part in enumerate(parts[depth:], depth):
                parent = current[-1][1] if current else self
                kind = kinds[index] if len(kinds) == len(parts) else "Collector"
                group = _Group.from_parent(parent, name=part, nodeid=f"{parent.nodeid}::{part}", kind=kind)
                if current:
                    current[-1][1].children.append(group)
                else:
                    top.append(group)
                current.append((part, group))
            holder = current[-1][1]
            name = data["chain"][-1][1]
            holder.children.append(RemoteItem.from_parent(holder, name=name, data=data, run=run, prefix=self.nodeid))
        yield from top


def _collected(
    parent: pytest.Collector, children: Iterator[pytest.Item | pytest.Collector]
) -> list[pytest.Item | pytest.Collector]:
    """Return the children of a node. An exception becomes an error below it: pytest would end the run."""
    found: list[pytest.Item | pytest.Collector] = []
    try:
        found.extend(children)
    except Exception as error:  # noqa: BLE001  a bug that one wheel or target meets
        step = unexpected("collect", error)
        found.append(StepItem.from_parent(parent, name=step.name, step=step))
    return found


class _Group(pytest.Collector):
    """A test module or class of a target."""

    def __init__(self, *, kind: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.children: list[pytest.Item | pytest.Collector] = []
        self._kind = kind

    def __repr__(self) -> str:
        return f"<{self._kind} {self.name}>"

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        return self.children


class ReplayedItem(pytest.Item):
    """An item whose outcome is computed in a target or beforehand; pytest's runtest protocol is not used."""

    shown_location: tuple[str, int | None, str]

    def runtest(self) -> NoReturn:
        raise RuntimeError("outcomes of targets are replayed, not run here")

    @property
    def location(self) -> tuple[str, int | None, str]:
        """The user's file and line."""
        return self.shown_location

    def reportinfo(self) -> tuple[Path, int | None, str]:
        file, line, domain = self.shown_location
        return self.config.rootpath / file, line, domain

    def run(self, nextitem: pytest.Item | None) -> ItemResult | None:  # noqa: ARG002
        """Run the test in its target. Return ``None`` if the outcome is known already."""
        return None

    @abc.abstractmethod
    def reports(self, result: ItemResult | None) -> Iterator[pytest.TestReport]:
        """Return the reports to replay.

        :param result: the result of :meth:`run`.
        """

    def error_reports(
        self, text: str, sections: Iterable[tuple[str, str]] = (), *, seconds: float = 0.0, traceback: str = ""
    ) -> Iterator[pytest.TestReport]:
        """Return the reports of an item that could not be checked.

        :param traceback: of an unexpected exception of this package; shown with ``-vv``.
        """
        sections = (*sections, *self._traceback_section(traceback))
        yield self.report("setup", "failed", replay.plain_text(self, text), seconds=seconds, sections=sections)
        yield self.report("teardown")

    def explain_missing_file(self, message: str) -> str:
        """Name the file of the source tree that is not in the wheel and that an exception lacks; empty if there is none."""
        wheel = self.getparent(WheelNode)
        return "" if wheel is None else wheel.left_out.explain(message)

    def _traceback_section(self, traceback: str) -> tuple[tuple[str, str], ...]:
        return (("Traceback", traceback),) if traceback and self.config.option.verbose >= 2 else ()

    def report(
        self,
        when: str,
        outcome: str = "passed",
        longrepr: object = None,
        *,
        seconds: float = 0.0,
        sections: Iterable[tuple[str, str]] = (),
        **attributes: object,
    ) -> pytest.TestReport:
        """Make a report of this item, with further attributes."""
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
            **attributes,
        )


class StepItem(ReplayedItem):
    """A check, an installation, an import, an executable, or the reason why there is no target."""

    def __init__(self, *, step: StepResult, **kwargs: Any) -> None:
        parent: pytest.Collector = kwargs["parent"]
        super().__init__(nodeid=f"{parent.nodeid}::{step.name}", **kwargs)
        self._step = step
        path, _, rest = self.nodeid.partition("::")
        # The heading of a failure. Below a target, the target's name is enough; below a wheel, its file name is needed.
        # pytest would replace the dots of a name that equals the end of the node id by colons.
        target_name = parent.nodeid.rpartition("::")[2]
        heading = f"{target_name}: collecting {step.name}" if step.name.endswith(".py") else rest
        if "." in target_name:
            heading = heading.replace("::", ": ")
        self.shown_location = (path, None, heading if "::" in rest else f"{rest} of {path.rpartition('/')[2]}")
        self.user_properties.extend(step.properties)

    def reports(self, result: ItemResult | None) -> Iterator[pytest.TestReport]:  # noqa: ARG002
        step = replace(self._step, text=in_place(self.config, self._step.text))
        for text in step.warnings:
            replay.warn(self, text)
        if step.outcome is Outcome.SKIPPED:
            yield self.report("setup", "skipped", (str(self.config.rootpath / self.location[0]), None, step.text))
            yield self.report("teardown")
            return
        if step.outcome is Outcome.ERROR:
            yield from self.error_reports(step.text, step.sections, seconds=step.seconds, traceback=step.traceback)
            return
        yield self.report("setup")
        sections = list(step.sections)
        longrepr: object = None
        if step.outcome is Outcome.FAILED:
            headline = self.explain_missing_file(step.text)
            text = f"{headline}\n{step.text}" if headline else step.text
            longrepr = replay.remote_traceback(step.trace, headline) if step.trace else replay.plain_text(self, text)
            if step.trace:
                sections.insert(0, (replay.EXPLANATION, text))
        elif step.text:
            sections.insert(0, ("Details", step.text))
        yield self.report(
            "call", step.outcome.value, longrepr, seconds=step.seconds, sections=sections, wheelcheck_step=True
        )
        yield self.report("teardown")


class ThreadsItem(StepItem):
    """Whether the tests of a target ran in several threads. It is the last node of the target, since only then it is known."""

    def __init__(self, *, prepared: PreparedTarget, **kwargs: Any) -> None:
        super().__init__(step=StepResult(name=THREADS, outcome=Outcome.PASSED), **kwargs)
        self._prepared = prepared

    def reports(self, result: ItemResult | None) -> Iterator[pytest.TestReport]:
        run = self._prepared.run
        assert run is not None  # noqa: S101  there are tests
        items = self.session.items
        selected = [item.remote_id for item in items if isinstance(item, RemoteItem) and item.target_run is run]
        self._step = run.threads.result(selected, self._prepared.preparation.steps)
        self.user_properties.extend(self._step.properties)
        return super().reports(result)


class CollectionItem(ReplayedItem):
    """A test module that could not be collected in the target, or that skipped itself there."""

    def __init__(self, *, report: Mapping[str, Any], **kwargs: Any) -> None:
        parent: TargetNode = kwargs["parent"]
        super().__init__(nodeid=f"{parent.nodeid}::{kwargs['name']}", **kwargs)
        self._data = report
        shown = report["nodeid"] or parent.nodeid.partition("::")[0]
        self.shown_location = (shown, None, f"{parent.name}: collecting {kwargs['name']}")

    def reports(self, result: ItemResult | None) -> Iterator[pytest.TestReport]:  # noqa: ARG002
        data = {**self._data, "$report_type": "CollectReport", "result": None}
        collected = self.config.hook.pytest_report_from_serializable(config=self.config, data=data)
        if collected.outcome == "skipped":
            yield self.report("setup", "skipped", tuple(collected.longrepr), sections=collected.sections)
        else:
            yield self.report("setup")
            headline = self.explain_missing_file(collected.longreprtext)
            longrepr = (
                replay.plain_text(self, f"{headline}\n{collected.longreprtext}") if headline else collected.longrepr
            )
            yield self.report("call", "failed", longrepr, sections=collected.sections)
        yield self.report("teardown")


class RemoteItem(ReplayedItem):
    """A test of the user's, in a target."""

    def __init__(self, *, data: messages.Item, run: TargetRun, prefix: str, **kwargs: Any) -> None:
        super().__init__(nodeid=f"{prefix}::{data['id']}", **kwargs)
        self.remote_id: str = data["id"]
        self.target_run = run
        self._prefix = prefix
        self._kind: str = data["chain"][-1][0]
        file, line, domain = data["location"]
        self.shown_location = str(file), line if isinstance(line, int) else None, f"{run.target.name}::{domain}"
        self.extra_keyword_matches.update(data["names"])
        if data["doc"]:
            self.obj = _DocstringHolder(data["doc"])
        for described in reversed(data["marks"]):
            mark = pytest.Mark(described["name"], tuple(described["args"]), described["kwargs"], _ispytest=True)
            self.own_markers.insert(0, mark)
            self.keywords[mark.name] = pytest.MarkDecorator(mark, _ispytest=True)

    def __repr__(self) -> str:
        return f"<{self._kind} {self.name}>"

    def run(self, nextitem: pytest.Item | None) -> ItemResult:
        same_target = isinstance(nextitem, RemoteItem) and nextitem.target_run is self.target_run
        following = [nextitem.remote_id] if isinstance(nextitem, RemoteItem) and same_target else []
        maxfail = int(self.config.getvalue("maxfail") or 0)
        left = max(maxfail - self.session.testsfailed, 1) if maxfail else 0
        return self.target_run.run(self.remote_id, following, left)

    def reports(self, result: ItemResult | None) -> Iterator[pytest.TestReport]:
        assert result is not None  # noqa: S101  run() made it
        for message in result.messages:
            if message["type"] == "report":
                yield self._read_report(dict(message["data"]))
            elif message["type"] == "warning":
                replay.replay_warning(self.config, message, self._prefix)
            elif message["type"] == "text":
                replay.write_text(self.config, message["text"])
            elif message["type"] == "property":
                self._add_to_junit(message)
        if result.crash is not None:
            yield from self._crash_reports(result.crash)

    def _add_to_junit(self, message: messages.Property) -> None:
        xml: Any = self.config.stash.get(xml_key, None)
        if xml is None:
            # A worker of xdist, which has no JUnit report; in an ordinary run the fixtures do nothing there either.
            return
        if message["id"]:
            xml.node_reporter(self.nodeid).add_attribute(message["name"], message["value"])
        else:
            xml.add_global_property(message["name"], message["value"])

    def _crash_reports(self, crash: Crash) -> Iterator[pytest.TestReport]:
        from pytest_wheelcheck.targets.running.crash_fix import CRASH_CAUSE, crash_fix, tool_options

        text = crash.text
        if text.endswith(f"Cause: {CRASH_CAUSE}") and crash.when != "setup":
            target, settings = self.target_run.target, self.target_run.settings
            tools = tool_options(target.wheel, settings)
            fix = crash_fix(target, ("-m", "pytest", self.remote_id), settings.extras, tools)
            text = "\n".join(filter(None, (text, fix)))
        longrepr = replay.plain_text(self, text)
        sections = (*crash.sections, *self._traceback_section(crash.traceback))
        yield self.report(crash.when, "failed", longrepr, seconds=crash.seconds, sections=sections)
        if crash.when != "teardown":
            yield self.report("teardown")

    def _read_report(self, fields: dict[str, Any]) -> pytest.TestReport:
        """Make a report of this item from the target's report."""
        fields["nodeid"] = self.nodeid
        fields["location"] = self.location
        fields["sections"] = [tuple(section) for section in fields.get("sections", ())]
        fields["user_properties"] = [tuple(pair) for pair in fields.get("user_properties", ())]
        if isinstance(fields.get("longrepr"), list):
            fields["longrepr"] = tuple(fields["longrepr"])
        report = self.config.hook.pytest_report_from_serializable(config=self.config, data=fields)
        if not isinstance(report, pytest.TestReport):
            return self.report("call", "failed", f"the target sent an invalid report: {fields!r:.500}")
        crash: Any = getattr(report.longrepr, "reprcrash", None)
        if report.failed and crash is not None and (headline := self.explain_missing_file(crash.message)):
            # pytest's short summary shows the first line.
            crash.message = f"{headline}\n{crash.message}"
            report.sections.insert(0, (replay.EXPLANATION, headline))
        context = fields.get("_subtest.context")
        if context:
            # pytest formats a subtest's values when it makes the context, and would format the texts again.
            object.__setattr__(report.context, "kwargs", context["kwargs"])
        return report


class _DocstringHolder:
    """Replaces the test function for ``--collect-only -v``, which shows its docstring."""

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc
