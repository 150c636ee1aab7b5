"""Every pytest hook of this plugin, and no logic: each hook calls the function that does the work.

This module is imported in every pytest run of the environment. It imports nothing heavy without ``--wheel``
(``benchmarks/idle.py`` measures the cost).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_wheelcheck.plugin import options

if TYPE_CHECKING:
    from pytest_wheelcheck.plugin.local import LocalRun
    from pytest_wheelcheck.plugin.report import RunReport
    from pytest_wheelcheck.plugin.run import WheelRun
    from pytest_wheelcheck.worker.facts import WheelTarget


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare options and ini keys."""
    options.declare(parser)
    options.name_command(parser, pluginmanager)
    options.drop_required_plugins(pluginmanager)


def _read_pyproject(config: pytest.Config) -> bytes:
    """Return pyproject.toml; nothing if there is none."""
    try:
        return (config.rootpath / "pyproject.toml").read_bytes()
    except OSError:
        return b""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, object, object]:
    """Read the project's table. With wheels, keep the host's pytest from the user's conftest files, tests and options."""
    # Most projects have no table of ours, and an ordinary run loads no TOML parser for it.
    if b"wheelcheck" in (data := _read_pyproject(early_config)):
        from pytest_wheelcheck.plugin import project_table

        project_table.read(early_config, data)
    # A wrapper runs before pytest's own hooks, which import the modules that warning filters name.
    if early_config.known_args_namespace.wheel:
        from pytest_wheelcheck.plugin.takeover import take_over

        take_over(early_config, parser, args)
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Run again if the path of a wheel misled pytest about the root directory.

    :raises pytest.UsageError: a wheel is given without the option.
    """
    if config.option.wheel:
        from pytest_wheelcheck.plugin.takeover import restart

        return restart(config)
    if given := next((text for text in config.args if options.names_a_wheel(text)), None):
        raise pytest.UsageError(f"{given} is a wheel\nFix: put --wheel before it: pytest --wheel {shlex.quote(given)}")
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and the hooks of a run with wheels or of one on a system without pseudo-terminals."""
    options.declare_markers(config)
    if config.option.wheel:
        from pytest_wheelcheck.plugin.run import WheelRun
        from pytest_wheelcheck.plugin.unexpected import interrupt_shown

        with interrupt_shown():
            run = WheelRun.start(config)
        if run.report is not None:
            config.pluginmanager.register(ReportHooks(run.report), "wheelcheck-report")
        config.pluginmanager.register(RunHooks(run), "wheelcheck-run")
    elif not hasattr(os, "openpty"):
        from pytest_wheelcheck.plugin.local import LocalRun

        config.pluginmanager.register(LocalHooks(LocalRun(config)), "wheelcheck-local")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """If an ordinary run found no tests, say how the wheels of a given directory are tested."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and not config.option.wheel:
        directory = options.directory_of_wheels(config)
        if directory:
            line = f"{directory} has wheels: `pytest --wheel {shlex.quote(directory)}` tests them"
            terminalreporter.write_line(line, yellow=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In an ordinary run, apply the markers, and the name patterns if the ini file sets them."""
    if options.rules_apply(config, items):
        from pytest_wheelcheck.plugin.local import skip_items

        skip_items(config, items)


@pytest.fixture(scope="session")
def wheel_target() -> WheelTarget:
    """Frozen facts of the target: wheel, interpreter, architecture, libc, machine, emulated or not."""
    from pytest_wheelcheck.worker.facts import WheelTarget, local_facts

    return WheelTarget(local_facts())


class RunHooks:
    """The hooks of a run with wheels."""

    def __init__(self, run: WheelRun) -> None:
        from pytest_wheelcheck.plugin.takeover import spare_garbage_collector
        from pytest_wheelcheck.worker.garbage import collector_paused

        self._run = run
        self._spare_garbage_collector = spare_garbage_collector
        self._collector_paused = collector_paused
        spare_garbage_collector()

    def pytest_report_header(self) -> list[str]:
        """Name the wheels and their targets."""
        return self._run.header()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """Keep pytest from collecting test files in this process."""
        session.config.args = []
        with self._collector_paused():
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> pytest.CollectReport | None:
        """Collect wheels instead of files."""
        if isinstance(collector, pytest.Session):
            return pytest.CollectReport(collector.nodeid, "passed", None, [*self._run.collect(collector)])
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Apply ``--deselect`` and the node ids on the command line."""
        self._run.select(items)

    def pytest_report_collectionfinish(self) -> list[str]:
        """Show the header lines of the user's conftest files, and notes on the targets."""
        return self._run.collection_notes()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self) -> None:
        """Record the warnings of the targets' collection."""
        self._spare_garbage_collector()
        self._run.replay_collection()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run the tests of all targets."""
        return self._run.run_session(session)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run one item where another plugin (xdist) owns the loop."""
        return self._run.run_item(item, nextitem)

    @pytest.hookimpl(optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item) -> bool | None:
        """Disable the host's pytest-timeout: the target and the controller have timeouts of their own."""
        return self._run.owns(item) or None

    @pytest.hookimpl(optionalhook=True)
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> bool | None:
        """See :meth:`pytest_timeout_set_timer`."""
        return self._run.owns(item) or None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Pass the plan to a worker of xdist."""
        self._run.send_plan(node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> object:
        """Distribute by the files of a target and not by wheels, with ``--dist loadfile``."""
        from pytest_wheelcheck.plugin.xdist import make_scheduler

        return make_scheduler(config, log)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """Show the notes on the targets once, as one of xdist's workers left them."""
        self._run.show_shared_notes()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over the results of a worker of xdist."""
        self._run.receive_output(node)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """End the workers in the targets."""
        self._run.finish(session)
        self._spare_garbage_collector()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the output of the targets' plugins, and the table of targets."""
        self._run.show_summary(terminalreporter)

    def pytest_unconfigure(self) -> None:
        """Remove the temporary directory of the run."""
        self._run.clean_up()


class ReportHooks:
    """The hooks that gather outcomes for the reports, in the process that the user started."""

    def __init__(self, report: RunReport) -> None:
        self._report = report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the outcome of a phase, before the JUnit report does."""
        self._report.add_report(report)

    def pytest_warning_recorded(self, warning_message: Any, nodeid: str) -> None:
        """Record the warnings of the static checks."""
        self._report.add_warning(warning_message, nodeid)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the report files."""
        self._report.write(session, exitstatus)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the release matrix, and the paths of the report files."""
        self._report.show(terminalreporter)


class LocalHooks:
    """The hooks of an ordinary run on a system without pseudo-terminals."""

    def __init__(self, run: LocalRun) -> None:
        self._run = run

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        """Report skipped test modules at their own path."""
        report = yield
        self._run.relocate_skip(collector, report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_pycollect_makemodule(self) -> Generator[None, Any, Any]:
        """Watch the import of a test module."""
        module = yield
        self._run.watch_import(module)
        return module
