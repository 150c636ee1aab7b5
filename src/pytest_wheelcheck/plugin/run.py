"""The run of wheels, as a pytest plugin: registered only with ``--wheel``."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest
from filelock import FileLock

from pytest_wheelcheck.backends import bubblewrap, registry, sandbox
from pytest_wheelcheck.backends.catalog import make_catalog
from pytest_wheelcheck.checks import select_checks
from pytest_wheelcheck.errors import UsageError, WheelcheckError
from pytest_wheelcheck.interpreters import directory
from pytest_wheelcheck.model import Outcome, Wheel
from pytest_wheelcheck.plugin import account, items, options, takeover
from pytest_wheelcheck.plugin.items import ReadyTarget, RemoteItem, StepItem, WheelNode, replay
from pytest_wheelcheck.reporting import expect
from pytest_wheelcheck.reporting.terminal import summary_lines
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import cache, process, progress, source_tree, temporary
from pytest_wheelcheck.targets.item_results import Collected, Crash, ItemResult
from pytest_wheelcheck.targets.plan import plan
from pytest_wheelcheck.targets.prepare import Preparation, prepare
from pytest_wheelcheck.targets.release import (
    BadWheel,
    Release,
    StaticResults,
    absolute,
    check_file,
    open_release,
    shown_path,
)
from pytest_wheelcheck.targets.run import TargetRun
from pytest_wheelcheck.targets.schedule import Queue, SideBySide
from pytest_wheelcheck.targets.specs import parse_specs
from pytest_wheelcheck.targets.target import NoTarget, Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What every process of a run needs to know. Made once, by the process that the user started."""

    settings: Settings
    release: Release
    targets: tuple[Target, ...]
    missing: tuple[NoTarget, ...]
    selections: tuple[str, ...]
    folder: Path


class WheelRun:
    """One run. Its hooks make nodes of targets, run what is selected, and tell the outcome."""

    def __init__(
        self,
        config: pytest.Config,
        found: Plan,
        *,
        token: str,
        hears_sigterm: bool,
        directory: temporary.TemporaryDirectory | None = None,
    ) -> None:
        self.config = config
        self.plan = found
        self._token = token
        # Workers of xdist use the directory of the controller, which removes it.
        self._directory = directory
        self._ready: list[ReadyTarget] = []
        self._summaries: dict[str, str] = {}
        self._left_by_workers: list[str] = []
        self._header_shown = False
        self._tree = (
            source_tree.snapshot(config.rootpath, exclude=(found.folder, cache.root()))
            if directory is not None
            else None
        )
        self._changed: list[str] = []
        process.resume()
        self._hears_sigterm = hears_sigterm

    @classmethod
    def from_config(cls, config: pytest.Config) -> WheelRun:
        """Plan the run, or in a worker of xdist take the plan over.

        :raises pytest.UsageError: options, ini values or paths are wrong.
        """
        # SIGTERM ends the run as Ctrl-C does: with a summary of what is known, and with nothing left behind.
        hears = threading.current_thread() is threading.main_thread() and (
            signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        )
        if hears:
            signal.signal(signal.SIGTERM, _interrupt)
        given = getattr(config, "workerinput", None)
        if given is not None:
            # Our own file in our own temporary folder, written by the controller of this run.
            found = pickle.loads(Path(given["wheelcheck_plan"]).read_bytes())  # noqa: S301
            return cls(config, found, token=given["workerid"], hears_sigterm=hears)
        try:
            return cls._planned(config, hears_sigterm=hears)
        except BaseException:
            if hears:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
            raise

    @classmethod
    def _planned(cls, config: pytest.Config, *, hears_sigterm: bool) -> WheelRun:
        try:
            run_directory = temporary.make()
        except OSError as error:
            raise pytest.UsageError(f"no temporary folder can be made: {error}") from error
        try:
            found = make_plan(config, run_directory.path)
            notes = account.Account(
                config,
                found.release,
                found.targets,
                found.missing,
                expected=found.settings.expect,
                paths=found.settings.reports,
            )
            run = cls(config, found, token="0", hears_sigterm=hears_sigterm, directory=run_directory)
        except BaseException as error:
            run_directory.remove()
            if isinstance(error, WheelcheckError):
                raise pytest.UsageError(str(error)) from None
            if isinstance(error, OSError):
                raise pytest.UsageError(f"the wheels cannot be taken: {error}") from error
            raise
        config.pluginmanager.register(notes, "wheelcheck-account")
        return run

    # -- what is tested -----------------------------------------------------------------------------------------------

    def pytest_report_header(self) -> list[str]:
        """Name the wheels and their targets."""
        lines = []
        for file in self.plan.release.files:
            names = [target.name for target in self.plan.targets if target.wheel is file]
            lines.append(f"wheel: {file.shown} ({', '.join(names) or 'no target'})")
        if self.plan.settings.sandbox:
            lines.append("in a sandbox: no network; home, source tree and cache read-only; a private /tmp")
        if self.plan.release.others:
            names = [path.name for path in self.plan.release.others]
            lines.append(f"not tested, since they are no wheels: {', '.join(names)}")
        return lines

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Keep pytest from looking for tests itself."""
        session.config.args = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> pytest.CollectReport | None:
        """Collect wheels instead of files."""
        if not isinstance(collector, pytest.Session):
            return None
        return pytest.CollectReport(collector.nodeid, "passed", None, list(self._nodes(collector)))

    def _nodes(self, session: pytest.Session) -> Iterator[WheelNode]:
        files = self.plan.release.files
        numbers = range(len(self.plan.targets))
        with ThreadPoolExecutor(max_workers=self.plan.settings.jobs, thread_name_prefix="wheelcheck-prepare") as pool:
            try:
                verdicts = dict(
                    zip(files, process.map_concurrently(pool, self._check_file, range(len(files)), files), strict=True)
                )
                stopped = [verdicts[target.wheel].stopped_by for target in self.plan.targets]
                self._ready = process.map_concurrently(pool, self._get_one_ready, numbers, self.plan.targets, stopped)
            except BaseException:
                # Ctrl-C: the pool waits for its threads, and these for installers and workers.
                process.stop_all()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        self._raise_usage_errors()
        for file in files:
            checks = verdicts[file].steps
            if isinstance(file, BadWheel):
                children: Sequence[items.Child] = checks
                path = file.path
            else:
                children = items.wheel_children(file, self._ready, self.plan.missing, checks)
                path = file.source
            yield WheelNode.from_parent(session, path=path, shown=file.shown, children=children)
        release = account.describe(self.plan.release, expected=self.plan.settings.expect)
        if steps := account.release_steps(release):
            path = self.config.rootpath / account.RELEASE
            yield WheelNode.from_parent(session, path=path, shown=account.RELEASE, children=steps)

    def _shared(self, name: str, make: Callable[[], str]) -> str:
        """Return a text that workers of xdist share: the first one makes it."""
        if self._directory is not None:
            return make()
        done = self.plan.folder / f"{name}.json"
        with FileLock(f"{done}.lock"):
            if not done.exists():
                side = done.with_suffix(".tmp")
                side.write_text(make(), encoding="utf-8")
                side.rename(done)
        return done.read_text(encoding="utf-8")

    def _check_file(self, number: int, file: Wheel | BadWheel) -> StaticResults:
        plan = self.plan
        text = self._shared(
            f"checks-{number}",
            lambda: check_file(
                file,
                plan.release,
                select=plan.settings.select,
                ignore=plan.settings.ignore,
                max_size=plan.settings.max_size,
            ).to_json(),
        )
        return StaticResults.from_json(text)

    def _get_one_ready(self, number: int, target: Target, stopped_by: Sequence[str]) -> ReadyTarget:
        """Prepare one target and collect its tests."""
        if stopped_by:
            text = f"not installed, since the file itself is not sound: {', '.join(stopped_by)} failed"
            step = StepResult(name="install", outcome=Outcome.FAILED, text=text)
            return ReadyTarget(target, Preparation(steps=(step,)), None, Collected())
        settings = self.plan.settings
        folder = self.plan.folder / str(number)
        session = target.runtime.backend.open_session(target.runtime, target.machine, settings, folder)

        def make() -> str:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            return prepare(target, settings, folder, session).to_json()

        preparation = Preparation.from_json(self._shared(str(number), make))
        if preparation.environment is None:
            return ReadyTarget(target, preparation, None, Collected())
        run = TargetRun(target, preparation, settings, folder, session, token=self._token)
        return ReadyTarget(target, preparation, run, run.collect())

    def _raise_usage_errors(self) -> None:
        """Raise what every target calls a usage error; where others can collect, it is that target's failure."""
        asked = [ready for ready in self._ready if ready.run is not None]
        wrong = [ready for ready in asked if ready.collected.usage]
        if wrong and len(wrong) == len(asked):
            raise self._usage_error(f"{wrong[0].target.node_id}\n{wrong[0].collected.usage}")
        for ready in wrong:
            ready.collected = Collected(crashes=(("", ready.collected.usage),), messages=ready.collected.messages)

    def _usage_error(self, text: str) -> pytest.UsageError:
        """Make a usage error, and have the controller of xdist know of it: it would see an empty collection."""
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output["wheelcheck_usage"] = text
        return pytest.UsageError(text)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep what a pasted node id selects, and drop what ``--deselect`` names as an ordinary run does."""
        prefixes = tuple(config.getoption("deselect") or ())
        if prefixes:
            named = [item for item in items if isinstance(item, RemoteItem) and item.remote_id.startswith(prefixes)]
            if named:
                items[:] = [item for item in items if item not in named]
                config.hook.pytest_deselected(items=named)
        if not self.plan.selections:
            return
        kept: list[pytest.Item] = []
        dropped: list[pytest.Item] = []
        for item in items:
            (kept if any(_selects(one, item.nodeid) for one in self.plan.selections) else dropped).append(item)
        found = [one for one in self.plan.selections if any(_selects(one, item.nodeid) for item in kept)]
        missing = [one for one in self.plan.selections if one not in found]
        if missing:
            raise self._usage_error(f"not found: {missing[0]} (no such node; --collect-only shows what there is)")
        items[:] = kept
        config.hook.pytest_deselected(items=dropped)

    def pytest_report_collectionfinish(self) -> list[str]:
        """Show the lines that the user's conftest adds to the header, and what is worth knowing of the targets."""
        lines: list[str] = []
        for ready in self._ready:
            lines += [f"{ready.target.name}: {line}" for line in ready.collected.header]
            lines += ready.preparation.notes
        unknown = [" ".join(words) for words, host in self.plan.settings.occurrences if not host]
        if unknown and not any(ready.run is not None for ready in self._ready):
            lines.append(f"not looked at, since there is no target that could tell: {', '.join(unknown)}")
        return lines

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self) -> None:
        """Record the warnings of the targets' collection."""
        if hasattr(self.config, "workerinput"):
            self._shared("header", lambda: json.dumps(self.pytest_report_collectionfinish()))
        for ready in self._ready:
            for message in ready.collected.messages:
                if message["type"] == "warning":
                    items.replay_warning(self.config, message, ready.target.node_id)
                elif message["type"] == "text":
                    items.write_text(self.config, message["text"])

    # -- running --------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run one test in flight in each of several targets; outcomes are told in the order of collection."""
        if hasattr(self.config, "workerinput") or self.config.pluginmanager.hasplugin("dsession"):
            return None
        if session.testsfailed and not self.config.option.continue_on_collection_errors:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        if self.config.option.collectonly:
            return True
        queues: dict[int, Queue] = {}
        for key, item in enumerate(session.items):
            if isinstance(item, RemoteItem):
                queues.setdefault(id(item.run), Queue(run=item.run)).entries.append((key, item.remote_id))
        maxfail = int(self.config.getvalue("maxfail") or 0)
        side_by_side = SideBySide(list(queues.values()), maxfail, self._remember_summary)
        with contextlib.closing(side_by_side.results(self.plan.settings.lanes)) as outcomes:
            try:
                self._replay_in_order(session, outcomes, maxfail)
            except KeyboardInterrupt as interrupt:
                if not isinstance(interrupt, session.Interrupted):
                    side_by_side.abandon()
                raise
        return True

    def _replay_in_order(
        self, session: pytest.Session, outcomes: Iterator[tuple[int, ItemResult]], maxfail: int
    ) -> None:
        arrived: dict[int, ItemResult] = {}
        position = self._replay_from(session, 0, arrived)
        stopped = False
        failures = 0
        for key, result in outcomes:
            arrived[key] = result
            failures += result.failed
            stopped = stopped or bool(result.stop) or bool(maxfail and failures >= maxfail)
            position = self._replay_from(session, position, arrived)
        lost = ItemResult(crash=Crash(when="call", text="no result arrived from the target", seconds=0.0))
        for at in range(position, len(session.items)):
            item = session.items[at]
            if not isinstance(item, RemoteItem):
                self._replay_one(session, item, None)
            elif at in arrived or not stopped:
                self._replay_one(session, item, arrived.get(at, lost))

    def _replay_from(self, session: pytest.Session, position: int, arrived: dict[int, ItemResult]) -> int:
        """Replay from *position* on what has arrived, without a gap; return the first position that has not."""
        while position < len(session.items):
            item = session.items[position]
            if isinstance(item, RemoteItem) and position not in arrived:
                break
            self._replay_one(session, item, arrived.pop(position, None))
            position += 1
        return position

    @staticmethod
    def _replay_one(session: pytest.Session, item: pytest.Item, result: ItemResult | None) -> None:
        replay(item, result)  # type: ignore[arg-type]
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run one item where another plugin (xdist) owns the loop."""
        if not isinstance(item, (StepItem, RemoteItem, items.CollectionItem)):
            return None
        result = item.outcome(nextitem)  # type: ignore[arg-type]
        if nextitem is None:
            crash = self._finish_all()
            if crash is not None and (result is None or result.crash is None):
                before = result or ItemResult()
                result = ItemResult(messages=before.messages, crash=crash, stop=before.stop)
        replay(item, result)
        return True

    def _finish_all(self) -> Crash | None:
        crash = None
        for ready in self._ready:
            if ready.run is not None:
                summary, found = ready.run.finish()
                self._remember_summary(ready.run, summary)
                crash = crash or found
        return crash

    def _remember_summary(self, run: TargetRun, summary: str) -> None:
        if summary.strip():
            self._summaries[run.target.node_id] = summary

    @pytest.hookimpl(optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item) -> bool | None:
        """Keep pytest-timeout of the host away: the target's and the controller's own deadlines act."""
        return True if isinstance(item, (StepItem, RemoteItem, items.CollectionItem)) else None

    @pytest.hookimpl(optionalhook=True)
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> bool | None:
        """See :meth:`pytest_timeout_set_timer`."""
        return self.pytest_timeout_set_timer(item)

    # -- xdist ------------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Hand the plan to a worker of xdist."""
        file = self.plan.folder / "plan"
        if not file.exists():
            file.write_bytes(pickle.dumps(self.plan))
        node.workerinput["wheelcheck_plan"] = str(file)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what the targets of a worker of xdist had to say at the end."""
        output = getattr(node, "workeroutput", {})
        for name, text in output.get("wheelcheck_summaries", {}).items():
            self._summaries[f"{name}, {node.gateway.id}"] = text
        self._left_by_workers += output.get("wheelcheck_left", [])
        if "wheelcheck_usage" in output:
            raise pytest.UsageError(output["wheelcheck_usage"])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """Show the lines of the header, as the first of xdist's workers left them."""
        file = self.plan.folder / "header.json"
        reporter: Any = self.config.pluginmanager.getplugin("terminalreporter")
        if reporter is None or self._header_shown or not file.exists():
            return
        self._header_shown = True
        for line in json.loads(file.read_text(encoding="utf-8")):
            reporter.write_line(line)

    # -- the end ----------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """End what still runs."""
        for ready in self._ready:
            if ready.run is not None:
                ready.run.close()
        if self._tree is not None:
            after = source_tree.snapshot(self.config.rootpath, exclude=(self.plan.folder, cache.root()))
            written = [getattr(self.config.option, name, None) for name in ("log_file", "xmlpath")]
            but = [shown_path(Path(path), self.config.rootpath) for path in written if path]
            self._changed = [] if after is None else source_tree.changes(self._tree, after, exclude=but)
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output["wheelcheck_summaries"] = self._summaries
            output["wheelcheck_left"] = self._left_behind()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what the targets' plugins say at the end, and the table of targets."""
        for name, text in self._summaries.items():
            terminalreporter.section(f"from {name}", sep="-")
            terminalreporter.write_raw(text if text.endswith("\n") else f"{text}\n")
        lines = summary_lines(self.plan.release.files, self.plan.targets, self.plan.missing, terminalreporter.stats)
        if lines and not self.config.option.collectonly and terminalreporter.verbosity >= 0:
            terminalreporter.section("wheels")
            for line, markup in lines:
                terminalreporter.write_line(line, **markup)
        for line in self._left_behind():
            terminalreporter.write_line(line, yellow=True)
        if self._changed:
            more = f" and {len(self._changed) - 10} more" if len(self._changed) > 10 else ""
            names = ", ".join(self._changed[:10])
            terminalreporter.write_line(
                f"the source tree is not what it was before the run: {names}{more}", yellow=True
            )
        if self._has_long_output():
            terminalreporter.write_line(f"long output of failed tests is kept in {self.plan.folder / sandbox.OUTPUT}")
        kept = self._kept()
        if kept:
            terminalreporter.write_line(f"environments are kept in {self.plan.folder}: {', '.join(kept)}")

    def _left_behind(self) -> list[str]:
        """Say what tests left running."""
        own = [
            f"{ready.target.node_id}: tests left processes running, which were ended, {text}"
            for ready in self._ready
            if ready.run is not None
            for text in ready.run.left_running
        ]
        return [*own, *self._left_by_workers]

    def _has_long_output(self) -> bool:
        folder = self.plan.folder / sandbox.OUTPUT
        return folder.is_dir() and any(folder.iterdir())

    def _kept(self) -> list[str]:
        """Name the targets whose folders stay."""
        keep = self.plan.settings.keep
        if not keep:
            return []
        reporter: Any = self.config.pluginmanager.getplugin("terminalreporter")
        stats = reporter.stats if reporter is not None else {}
        failed = [report.nodeid for kind in ("failed", "error") for report in stats.get(kind, ())]
        return [
            f"{number}/ ({target.node_id})"
            for number, target in enumerate(self.plan.targets)
            if keep == "all" or any(name.startswith(f"{target.node_id}::") for name in failed)
        ]

    def pytest_unconfigure(self) -> None:
        """Remove what the run made, unless it is to be kept."""
        with temporary.signals_ignored():
            for ready in self._ready:
                if ready.run is not None:
                    ready.run.close()
            if self._directory is None:
                return
            kept = {name.partition("/")[0] for name in self._kept()}
            if self._has_long_output():
                kept.add(sandbox.OUTPUT)
            self._directory.remove(keep=frozenset(kept))
        if self._hears_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    raise KeyboardInterrupt(signal.Signals(number).name)


def _selects(selection: str, node_id: str) -> bool:
    return node_id == selection or node_id.startswith((f"{selection}::", f"{selection}["))


# --- plan ------------------------------------------------------------------------------------------------------------------


def make_plan(config: pytest.Config, folder: Path) -> Plan:
    """Open the wheels and choose their targets.

    :raises UsageError: options, ini values or paths are wrong.
    """
    settings = read_settings(config)
    parse_specs(settings.pythons)
    profiles = registry.parse_machines(settings.machines)
    sysroots = directory.parse(settings.sysroots)
    select_checks(select=settings.select, ignore=settings.ignore)
    if config.option.wheel_sandbox and not settings.static:
        with progress.log_to():
            settings = replace(settings, sandbox=bubblewrap.find(offline=settings.offline))
    release = open_release(settings.wheels, cwd=settings.cwd, root=settings.root, store=folder / "wheels")
    targets: Sequence[Target] = ()
    missing: Sequence[NoTarget] = ()
    if not settings.static:
        with progress.log_to():
            targets, missing = plan(
                release.wheels,
                settings.pythons,
                make_catalog(
                    offline=settings.offline,
                    index=settings.index,
                    find_links=settings.find_links,
                    apt_source=settings.apt_source,
                    sysroots=sysroots,
                    without=settings.without_backends,
                ),
                profiles=profiles,
            )
    if settings.strict:
        missing = [_strict(one, targets) for one in missing]
    root = settings.root
    selections = tuple(_normal(one, settings.cwd, root) for one in config.stash[takeover.SPLIT].selections)
    return Plan(
        settings=settings,
        release=release,
        targets=tuple(targets),
        missing=tuple(missing),
        selections=selections,
        folder=folder,
    )


def _strict(one: NoTarget, targets: Sequence[Target]) -> NoTarget:
    if one.outcome is not Outcome.SKIPPED or any(target.wheel is one.wheel for target in targets):
        return one
    return NoTarget(
        wheel=one.wheel,
        outcome=Outcome.FAILED,
        reason=f"{one.reason} (--wheel-strict: not run anywhere)",
        name=one.name,
    )


def _normal(selection: str, cwd: Path, root: Path) -> str:
    path, _, rest = selection.partition("::")
    if path == account.RELEASE:
        return selection
    return f"{shown_path(absolute(path, cwd), root)}::{rest}"


def read_settings(config: pytest.Config) -> Settings:
    """Read options and ini keys.

    :raises UsageError: a value is wrong.
    """
    found = config.stash[takeover.SPLIT]
    launch = takeover.launch_of(config)
    option = config.option
    travelling = [one for one in found.target if one[0] not in launch.host_args]
    occurrences = (*(((word,), False) for word in launch.target_args), *travelling)
    ini = takeover.ini_file(config)
    fixed = [
        *("-p", "no:wheelcheck"),
        *("-p", "no:lfplugin", "-p", "no:nfplugin", "-p", "no:stepwiseplugin"),
        *("-o", "addopts="),
        f"--rootdir={config.rootpath}",
        *(("-c", str(ini)) if ini is not None else ()),
        "--color=no",
    ]
    jobs = option.wheel_jobs if option.wheel_jobs is not None else options.default_jobs()
    if jobs < 1:
        raise UsageError(f"--wheel-jobs {jobs}: at least one target must run", fix="leave the option out, or give 1")
    try:
        executables = options.parse_executables(config.getini("wheel_executables"))
    except ValueError as error:
        raise UsageError(f"wheel_executables: {error}") from None
    size = config.getini("wheel_max_size")
    try:
        max_size = options.parse_size(size)
    except ValueError:
        raise UsageError(f"wheel_max_size = {size}: not a size", fix="write 250MB, 100MiB or bytes") from None
    clauses = tuple(option.wheel_expect or config.getini("wheel_expect"))
    expect.parse(clauses)
    return Settings(
        cwd=config.invocation_params.dir,
        root=config.rootpath,
        wheels=(*option.wheel, *found.wheels),
        pythons=tuple(option.wheel_python) or ("auto",),
        machines=tuple(option.wheel_machine),
        apt_source=str(config.getini("wheel_apt_source")),
        sysroots=(
            *(_sysroot(text, config.rootpath) for text in config.getini("wheel_sysroots")),
            *(_sysroot(text, config.invocation_params.dir) for text in option.wheel_sysroot),
        ),
        requires=tuple(
            _requirement(text, config.invocation_params.dir)
            for text in (*config.getini("wheel_requires"), *option.wheel_requires)
        ),
        groups=(*config.getini("wheel_groups"), *option.wheel_group),
        extras=(*config.getini("wheel_extras"), *options.split_codes(option.wheel_extra)),
        offline=option.wheel_offline,
        find_links=tuple(_link(text, config.invocation_params.dir) for text in option.wheel_find_links),
        index=option.wheel_index,
        without_backends=() if _flag(config, "wheel_wine") and not option.wheel_no_wine else ("wine",),
        strict=option.wheel_strict,
        static=option.wheel_static,
        jobs=jobs,
        lanes=option.wheel_jobs or 1,
        select=options.split_codes([*config.getini("wheel_select"), *option.wheel_select]),
        ignore=options.split_codes([*config.getini("wheel_ignore"), *option.wheel_ignore]),
        max_size=max_size,
        expect=clauses,
        reports=tuple(account.parse_report_path(text, config.invocation_params.dir) for text in option.wheel_report),
        import_ignore=tuple(config.getini("wheel_import_ignore")),
        executables=executables,
        entry_timeout=_number(config, "wheel_entry_timeout"),
        test_timeout=_number(config, "wheel_test_timeout"),
        timeout_scale=_number(config, "wheel_timeout_scale"),
        pty_patterns=("pty",)
        if config.getini("wheel_pty_patterns") is None
        else tuple(config.getini("wheel_pty_patterns")),
        pty_calls=tuple(config.getini("wheel_pty_calls")),
        occurrences=occurrences,
        fixed_args=tuple(fixed),
        plugins_env=launch.plugins_env or os.environ.get("PYTEST_PLUGINS", ""),
        ini_names=tuple(key.name for key in options.INI_KEYS),
        markers=options.MARKERS,
        python_m=Path(sys.argv[0]).name == "__main__.py",
        keep="all" if option.wheel_keep else "failed" if option.wheel_keep_failed else "",
        width=shutil.get_terminal_size().columns,
        junit=bool(getattr(option, "xmlpath", None)),
        pretend=os.environ.get("WHEELCHECK_PRETEND_PLATFORM", ""),
    )


def _number(config: pytest.Config, name: str) -> float:
    text = config.getini(name)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise UsageError(f"{name} = {text}: not a number of seconds or a factor, 0 or more")
    return number


def _flag(config: pytest.Config, name: str) -> bool:
    try:
        return bool(config.getini(name))
    except (ValueError, pytest.UsageError) as error:
        raise UsageError(f"{name}: {error}", fix="write true or false") from None


def _requirement(text: str, cwd: Path) -> str:
    """Return a requirement; a file of requirements may be named by its path alone."""
    return f"-r {text}" if text.endswith((".txt", ".in")) and (cwd / text).is_file() else text


def _sysroot(text: str, start: Path) -> str:
    name, equals, path = text.partition("=")
    return f"{name}={absolute(path.strip(), start)}" if equals and path.strip() else text


def _link(text: str, cwd: Path) -> str:
    return text if "://" in text else str(absolute(text, cwd))
