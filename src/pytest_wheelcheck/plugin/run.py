"""One run with wheels in one process: the process that the user started, or a worker of pytest-xdist."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import pytest

from pytest_wheelcheck.errors import UsageError, WheelcheckError
from pytest_wheelcheck.plugin import collection, loop, xdist
from pytest_wheelcheck.plugin.hints import PluginHints
from pytest_wheelcheck.plugin.nodes import PreparedTarget, RemoteItem, ReplayedItem, WheelNode
from pytest_wheelcheck.plugin.plan import Plan, make_plan
from pytest_wheelcheck.plugin.replay import replay_messages
from pytest_wheelcheck.plugin.report import RunReport
from pytest_wheelcheck.plugin.source_changes import SourceChanges
from pytest_wheelcheck.plugin.terminal_lines import new_line, replaced_line
from pytest_wheelcheck.plugin.turns import Turns
from pytest_wheelcheck.plugin.unexpected import UnexpectedErrors
from pytest_wheelcheck.reporting.terminal import summary_lines
from pytest_wheelcheck.system import core_dumps, process, progress, signals, temporary, timing
from pytest_wheelcheck.system.cache_size import suggestion
from pytest_wheelcheck.targets.planning.shards import describe_share

if TYPE_CHECKING:
    from pytest_wheelcheck.plugin.artifacts import ArtifactsDirectory
    from pytest_wheelcheck.plugin.coverage import CoverageReports
    from pytest_wheelcheck.targets.running.item_results import Crash
    from pytest_wheelcheck.targets.running.run import TargetRun
    from pytest_wheelcheck.targets.target import Target

#: Seconds that an interrupted run waits until its files are removed.
_REMOVE_PATIENCE = 3.0


class WheelRun:
    """One run. Its methods are called by the hooks of the same purpose.

    :param errors: collects unexpected exceptions outside of all nodes.
    :param report: gathers outcomes; ``None`` in a worker of xdist.
    :param directory: the run's temporary directory; ``None`` in a worker of xdist: the controller removes it.
    :param worker_id: the id of a worker of xdist; ``0`` in the process that the user started.
    :param restore_sigterm: whether this run has set a handler for SIGTERM.
    """

    def __init__(
        self,
        config: pytest.Config,
        plan: Plan,
        *,
        restore_sigterm: bool,
        errors: UnexpectedErrors | None = None,
        report: RunReport | None = None,
        directory: temporary.TemporaryDirectory | None = None,
        worker_id: str = "0",
    ) -> None:
        self.report = report
        self._errors = errors or UnexpectedErrors()
        self._directory = directory
        self._config = config
        self._plan = plan
        self._worker_id = worker_id
        self._restore_sigterm = restore_sigterm
        self._hints = report.hints if report is not None else PluginHints(config, plan.settings, plan.targets)
        self._shared = xdist.SharedFiles(plan.directory, enabled=self._is_worker)
        self._targets: tuple[PreparedTarget, ...] = ()
        self._turns = Turns(plan.most_workers, self._finish_target)
        self._coverage: CoverageReports | None = None
        self._artifacts: ArtifactsDirectory | None = None
        self._summaries: dict[str, str] = {}
        self._leftovers_of_workers: list[str] = []
        self._pytests: dict[str, str] = {}
        self._notes_shown = False
        self._interrupted = False
        self._changes = None if self._is_worker else SourceChanges(config, plan)
        self._prepare_to_collect()

    def _prepare_to_collect(self) -> None:
        """Load what is needed to bring back what targets write, if that was asked for."""
        settings = self._plan.settings
        if settings.artifacts is not None:
            core_dumps.allow()
        if settings.coverage is not None and not self._is_worker:
            from pytest_wheelcheck.plugin.coverage import CoverageReports

            self._coverage = CoverageReports(self._plan)
        if settings.artifacts is not None and not self._is_worker:
            from pytest_wheelcheck.plugin.artifacts import ArtifactsDirectory

            self._artifacts = ArtifactsDirectory(self._plan)

    @classmethod
    def start(cls, config: pytest.Config) -> WheelRun:
        """Plan the run; in a worker of xdist, read the controller's plan.

        :raises pytest.UsageError: an option, an ini value or a path is wrong.
        """
        began = timing.begin()
        process.resume()
        restore_sigterm = signals.interrupt_on_sigterm()
        received = xdist.received_plan(config)
        if received is not None:
            plan, worker_id = received
            return cls(config, plan, worker_id=worker_id, restore_sigterm=restore_sigterm)
        try:
            return cls._planned(config, began, restore_sigterm=restore_sigterm)
        except BaseException:
            if restore_sigterm:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
            raise

    @classmethod
    def _planned(cls, config: pytest.Config, began: float, *, restore_sigterm: bool) -> WheelRun:
        try:
            directory = temporary.make()
        except OSError as error:
            raise pytest.UsageError(f"cannot create a temporary directory: {error}") from error
        try:
            with timing.step("", "plan"):
                plan = make_plan(config, directory.path)
            errors = UnexpectedErrors()
            report = RunReport(config, plan, errors, began)
            return cls(config, plan, restore_sigterm=restore_sigterm, errors=errors, report=report, directory=directory)
        except BaseException as error:
            directory.remove()
            if isinstance(error, WheelcheckError):
                raise pytest.UsageError(str(error)) from None
            if isinstance(error, OSError):
                raise pytest.UsageError(f"cannot read the wheels: {error}") from error
            raise

    @property
    def _is_worker(self) -> bool:
        return self._worker_id != "0"

    # -- collection ---------------------------------------------------------------------------------------------------

    def header(self) -> list[str]:
        """Return the lines that name the wheels and their targets."""
        share, targets = self._plan.share, self._plan.targets
        lines = [describe_share(share, self._plan.release, len(targets))] if share is not None else []
        for file in collection.files(self._plan):
            names = [f"{target.name} [{_origin(target)}]" for target in targets if target.wheel is file]
            without = "no target" if share is None else "no target in this shard"
            lines.append(f"wheel: {file.shown} ({', '.join(names) or without})")
        machines = {target.machine.name: target.machine.facts for target in self._plan.targets if target.machine.facts}
        for name, facts in machines.items():
            lines.append(f"board: {name} ({', '.join(f'{key} {value}' for key, value in facts)})")
        if resolution := self._plan.settings.resolution:
            lines.append(f"dependencies of the wheels: {resolution} versions (--wheel-resolution)")
        if self._plan.settings.sandbox:
            lines.append("sandbox: no network; home, source tree and cache are read-only; private /tmp")
        if self._plan.release.others:
            names = [path.name for path in self._plan.release.others]
            lines.append(f"not tested, not a wheel: {', '.join(names)}")
        return lines

    def collect(self, session: pytest.Session) -> list[WheelNode]:
        """Check the files, prepare the targets and collect their tests.

        :raises pytest.UsageError: every target's pytest reports a usage error.
        """
        with progress.lines_to(replaced_line(self._config)), progress.shown_by(new_line(self._config)):
            checks, self._targets = collection.collect(self._plan, self._shared, self._worker_id)
        if self.report is not None:
            self.report.contents = collection.contents_of(checks)
        with self._usage_errors():
            self._targets = collection.resolve_usage_errors(self._targets, self._hints.explain)
        return list(collection.nodes(session, self._plan, checks, self._targets))

    def select(self, items: list[pytest.Item]) -> None:
        """Apply ``--deselect`` and the node ids on the command line.

        :raises pytest.UsageError: a node id selects nothing.
        """
        collection.deselect(self._config, items)
        with self._usage_errors():
            collection.select(self._config, items, self._plan)

    @contextlib.contextmanager
    def _usage_errors(self) -> Iterator[None]:
        """Raise errors as pytest's; the controller of xdist needs the text, because it sees only an empty collection."""
        try:
            yield
        except UsageError as error:
            xdist.send_output(self._config, **{xdist.USAGE_ERROR: str(error)})
            raise pytest.UsageError(str(error)) from None

    def collection_notes(self) -> list[str]:
        """Return the header lines of the user's conftest files, and notes on the targets."""
        with self._errors.caught("describing the targets"):
            return collection.notes(self._plan, self._targets, verbosity=self._config.option.verbose)
        return []

    def replay_collection(self) -> None:
        """Record the warnings and show the terminal output of the targets' collection."""
        if self._is_worker:
            self._shared.get("notes", lambda: json.dumps(self.collection_notes()))
        for target in self._targets:
            with self._errors.caught(f"showing the collection's messages of {target.target.node_id}"):
                replay_messages(self._config, target.collected.messages, target.target.node_id)

    # -- running ------------------------------------------------------------------------------------------------------

    def run_session(self, session: pytest.Session) -> bool | None:
        """Run all items; return ``None`` if xdist owns the loop."""
        if self._is_worker or self._config.pluginmanager.hasplugin("dsession"):
            return None
        if session.testsfailed and not self._config.option.continue_on_collection_errors:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        if not self._config.option.collectonly:
            plan, runs = self._plan, self._target_runs()
            loop.run_session(session, plan.settings.parallel_tests, plan.most_workers, runs, self._add_summary)
        return True

    def run_item(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run one item where xdist owns the loop; return ``None`` for an item of another plugin."""
        if not isinstance(item, ReplayedItem):
            return None
        if isinstance(item, RemoteItem):
            with self._errors.caught(f"ending workers before {item.nodeid}"):
                self._turns.begin(item)
        loop.run_item(item, nextitem, self._finish_targets)
        return True

    def owns(self, item: pytest.Item) -> bool:
        """Return whether an item is one of this plugin's."""
        return isinstance(item, ReplayedItem)

    def _target_runs(self) -> list[TargetRun]:
        return [target.run for target in self._targets if target.run is not None]

    def _finish_targets(self) -> Crash | None:
        first_crash = self._turns.crash
        for run in self._target_runs():
            crash = self._finish_target(run)
            first_crash = first_crash or crash
        return first_crash

    def _finish_target(self, run: TargetRun) -> Crash | None:
        summary, crash = run.finish()
        self._add_summary(run, summary)
        return crash

    def _add_summary(self, run: TargetRun, summary: str) -> None:
        if summary.strip():
            # With xdist, a target may have several sessions in one process.
            self._summaries[run.target.node_id] = self._summaries.get(run.target.node_id, "") + summary

    # -- xdist --------------------------------------------------------------------------------------------------------

    def send_plan(self, node: Any) -> None:
        """Pass the plan to a worker of xdist.

        :param node: xdist's ``WorkerController``.
        """
        xdist.send_plan(self._plan, node)

    def show_shared_notes(self) -> None:
        """Show the notes that the first of xdist's workers left, once."""
        file = self._shared.path("notes")
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None and not self._notes_shown and file.exists():
            self._notes_shown = True
            for line in json.loads(file.read_text(encoding="utf-8")):
                reporter.write_line(line)

    def receive_output(self, node: Any) -> None:
        """Take over the results of a worker of xdist.

        :param node: xdist's ``WorkerController``.
        :raises pytest.UsageError: the worker found a usage error.
        """
        output = getattr(node, "workeroutput", {})
        for name, text in output.get(xdist.SUMMARIES, {}).items():
            self._summaries[f"{name}, {node.gateway.id}"] = text
        self._pytests.update(output.get(xdist.PYTESTS, {}))
        self._leftovers_of_workers += output.get(xdist.LEFTOVERS, [])
        if self.report is not None:
            self.report.add_spans(timing.Span(*span) for span in output.get(xdist.TIMINGS, []))
            self.report.contents = collection.contents_of(collection.shared_checks(self._plan, self._shared))
        self._errors.receive(output.get(xdist.UNEXPECTED, []))
        if xdist.USAGE_ERROR in output:
            raise pytest.UsageError(output[xdist.USAGE_ERROR])

    # -- the end ------------------------------------------------------------------------------------------------------

    def finish(self, session: pytest.Session) -> None:
        """End the workers in the targets, and compare the source tree with its state before the run."""
        self._interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
        collection.accept_empty_share(session, self._plan)
        for run in self._target_runs():
            with self._errors.caught(f"ending {run.target.node_id}"):
                run.close()
        if self._artifacts is not None and self.report is not None:
            with self._errors.caught("collecting the artifacts"):
                self.report.artifacts = self._artifacts.collect(self._errors)
        with self._errors.caught("comparing the source tree"):
            if self._changes is not None:
                self._changes.compare()
        if self._coverage is not None:
            with self._errors.caught("combining the coverage data"):
                self._coverage.make(session)
        self._errors.finish(session)
        xdist.send_output(
            self._config,
            **{
                xdist.SUMMARIES: self._summaries,
                xdist.LEFTOVERS: self._leftovers(),
                xdist.PYTESTS: self._other_pytests(),
                xdist.UNEXPECTED: self._errors.send(),
                xdist.TIMINGS: list(map(astuple, timing.recorded())) if self._is_worker else [],
            },
        )

    def _leftovers(self) -> list[str]:
        """Return a line for each worker whose tests left processes running."""
        lines = [
            f"{run.target.node_id}: tests left processes running, which were ended: {processes}"
            for run in self._target_runs()
            for processes in run.left_running
        ]
        return [*lines, *self._leftovers_of_workers]

    def show_summary(self, reporter: pytest.TerminalReporter) -> None:
        """Show the output of the targets' plugins, the table of targets, and the leftovers of the run."""
        with self._errors.caught("showing the summary"):
            self._show_summary(reporter)
        self._errors.show(reporter)

    def _show_summary(self, reporter: pytest.TerminalReporter) -> None:
        for name, text in self._summaries.items():
            reporter.section(f"from {name}", sep="-")
            reporter.write_raw(text if text.endswith("\n") else f"{text}\n")
        if self._coverage is not None:
            self._coverage.show(reporter)
        plan = self._plan
        short = reporter.verbosity < 0
        lines = summary_lines(
            collection.files(plan),
            plan.targets,
            plan.not_run,
            reporter.stats,
            self._other_pytests(),
            overrides=plan.settings.overrides,
            short=short,
        )
        if lines and not self._config.option.collectonly and reporter.verbosity >= -1:
            if not short:
                reporter.section("wheels")
            for line, markup in lines:
                reporter.write_line(line, **markup)
        if self._artifacts is not None:
            self._artifacts.show(reporter)
        for line in self._leftovers():
            reporter.write_line(line, yellow=True)
        if self._changes is not None:
            self._changes.show(reporter)
        if self._has_long_output():
            reporter.write_line(f"the complete output of failed tests is in {plan.directory / temporary.LONG_OUTPUT}")
        if line := suggestion(plan.settings.cache_size):
            reporter.write_line(line, yellow=True)
        if retained := self._retained_targets():
            names = ", ".join(f"{number}/ ({node_id})" for number, node_id in retained.items())
            reporter.write_line(f"environments retained in {plan.directory}: {names}")

    def _other_pytests(self) -> dict[str, str]:
        """Return the versions of the targets' pytest that differ from the host's, by node id."""
        own = {each.target.node_id: each.collected.pytest for each in self._targets}
        versions = {**self._pytests, **own}
        return {node_id: version for node_id, version in versions.items() if version not in {"", pytest.__version__}}

    def _has_long_output(self) -> bool:
        directory = self._plan.directory / temporary.LONG_OUTPUT
        return directory.is_dir() and any(directory.iterdir())

    def _retained_targets(self) -> dict[int, str]:
        """Return the node ids of the targets whose directories are retained, by their numbers."""
        keep = self._plan.settings.keep
        if not keep:
            return {}
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        stats = reporter.stats if reporter is not None else {}
        failed = [report.nodeid for category in ("failed", "error") for report in stats.get(category, ())]
        return {
            number: target.node_id
            for number, target in enumerate(self._plan.targets)
            if keep == "all" or any(node_id.startswith(f"{target.node_id}::") for node_id in failed)
        }

    def clean_up(self) -> None:
        """Remove the run's temporary directory, except for the environments to keep."""
        with signals.ignored():
            for run in self._target_runs():
                run.close()
            if self._plan.settings.hosts:
                from pytest_wheelcheck.backends.boards import close_boards

                close_boards()
            if self._directory is None:
                return
            retained = {str(number) for number in self._retained_targets()}
            if self._has_long_output():
                retained.add(temporary.LONG_OUTPUT)
            # After Ctrl-C, nobody wants to wait until large environments are removed.
            self._directory.remove(keep=frozenset(retained), patience=_REMOVE_PATIENCE if self._interrupted else None)
        if self._restore_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _origin(target: Target) -> str:
    """Return what runs a target's interpreter, and which provider it comes from: ``native, host``."""
    runtime = target.runtime
    words = [runtime.backend.name, runtime.installation.provider, "assembled" if runtime.installation.assembled else ""]
    return ", ".join(filter(None, words))
