"""The pytest plugins of the worker: hooks that send messages to the controller, and the fixtures."""

from __future__ import annotations

import os
import sys

from . import finders
from .replacements import JUnitForwarder, TerminalBuffer, silent_reporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, Literal

    from .session import WorkerSession


def make_plugin(worker: WorkerSession) -> object:
    """Return the plugin that turns calls of hooks into messages."""
    pytest = worker.pytest
    channel = worker.channel
    tools = tuple(os.path.join(directory, "") for directory in worker.task["overlays"])

    class WorkerPlugin:
        @pytest.hookimpl(tryfirst=True)
        def pytest_addoption(self, parser: Any, pluginmanager: Any) -> None:
            for name in worker.task["ini_names"]:
                parser.addini(name, "a setting of pytest-wheelcheck for the host")
            if pluginmanager.is_blocked("cacheprovider"):
                # The controller always sets the cache directory; strict_config would refuse the unknown key.
                parser.addini("cache_dir", "not used: the plugin cacheprovider is disabled")

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_load_initial_conftests(
            self, early_config: Any, parser: Any, args: list[str]
        ) -> Generator[None, Any, None]:
            finders.uninstall()
            worker.provenance.patch_import_path()
            worker.provenance.patch_module_from_spec()
            worker.provenance.guard.move_to_front()
            outcome: Any = yield
            error = outcome.exception
            worker.conftest_failed = error is not None and not isinstance(error, pytest.UsageError)
            worker.select_args(args, parser)

        @pytest.hookimpl(tryfirst=True)
        def pytest_cmdline_main(self, config: Any) -> None:
            worker.threads.configure(config, worker.facts["free_threaded"])

        @pytest.hookimpl(trylast=True)
        def pytest_configure(self, config: Any) -> None:
            worker.provenance.guard.move_to_front()
            for line in worker.task["markers"]:
                config.addinivalue_line("markers", line)
            reporter = config.pluginmanager.getplugin("terminalreporter")
            if reporter is not None:
                from _pytest._io import TerminalWriter

                worker.terminal = TerminalBuffer()
                config.pluginmanager.unregister(reporter)
                reporter._tw = TerminalWriter(file=worker.terminal)  # type: ignore[arg-type]
                reporter._tw.fullwidth = worker.task["width"]
                reporter.__class__ = silent_reporter(type(reporter))
                config.pluginmanager.register(reporter, "terminalreporter")
            worker.forward_timeouts(config)
            if worker.task["junit"] and config.pluginmanager.hasplugin("junitxml"):
                from _pytest.junitxml import xml_key

                config.stash[xml_key] = JUnitForwarder(channel, config.getini("junit_family"))

        def pytest_collectreport(self, report: Any) -> None:
            if report.failed or report.skipped:
                data = worker.config.hook.pytest_report_to_serializable(config=worker.config, report=report)
                data.pop("result", None)
                worker.collect_reports.append(data)

        def pytest_ignore_collect(self, collection_path: Any, config: Any) -> bool | None:
            # The directory for temporary files may be inside the project, and the test tools have tests of their own.
            if (str(collection_path) + os.sep).startswith(tools):
                return True
            # Modules whose collection ended the interpreter before; the controller reports them.
            return True if _relative(collection_path, config) in worker.task["skip_modules"] else None

        @pytest.hookimpl(hookwrapper=True)
        def pytest_make_collect_report(self, collector: Any) -> Generator[None, Any, None]:
            worker.provenance.guard.move_to_front()
            if isinstance(collector, pytest.File):
                channel.send({"type": "collecting", "id": collector.nodeid, "log_size": worker.log_size()})
                worker.set_watchdog()
            outcome: Any = yield
            if isinstance(outcome.exception, (KeyboardInterrupt, SystemExit)):
                # There is no keyboard: the module raised it. Collection continues with the other modules.
                text = collector.repr_failure(pytest.ExceptionInfo.from_exception(outcome.exception))
                outcome.force_result(pytest.CollectReport(collector.nodeid, "failed", str(text), []))
            report = outcome.get_result()
            if worker.provenance.skipped_import:
                if report.skipped:
                    # The location of the skip is the test module, not the line of pytest that raised it.
                    report.longrepr = (str(collector.path), None, "Skipped: " + worker.provenance.skipped_import)
                worker.provenance.skipped_import = ""
            call = getattr(report, "call", None)
            reason = worker.not_reached(call.excinfo.value) if report.failed and call and call.excinfo else ""
            if reason:
                report.outcome = "skipped"
                report.longrepr = (str(collector.path), None, "Skipped: " + reason)
            foreign = worker.provenance.report_foreign()
            if foreign and report.failed:
                report.sections.append(("Modules that are not the wheel's", foreign))
            elif foreign:
                report.outcome = "failed"
                report.longrepr = foreign
                report.result = []

        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionstart(self, session: Any) -> None:
            worker.config = session.config

        def pytest_collection_finish(self) -> None:
            channel.send({"type": "collecting", "id": "", "log_size": worker.log_size()})
            worker.set_watchdog(on=False)

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtestloop(self, session: Any) -> bool:
            # The controller shows modules that could not be collected as nodes of their own, and runs the other tests.
            session.testsfailed = 0
            worker.send_collected(session)
            worker.collected = True
            if worker.function_only:
                session.config.pluginmanager.register(make_phase_plugin(worker))
            worker.serve(session)
            return True

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport(self, item: Any, call: Any) -> Generator[None, Any, None]:
            outcome: Any = yield
            report = outcome.get_result()
            reason = worker.not_reached(call.excinfo.value) if report.failed and call.excinfo is not None else ""
            if reason:
                report.outcome = "skipped"
                report.longrepr = (str(item.path), None, "Skipped: " + reason)
            elif call.when != "setup":
                # Those of the collection and of fixtures, too: pytest would not call a test whose setup failed.
                undeclared = worker.undeclared.take()
                if undeclared and report.failed:
                    report.sections.append(("Undeclared dependencies", undeclared))
                elif undeclared:
                    report.outcome = "failed"
                    report.longrepr = undeclared
            if call.excinfo is not None and not worker.rules.facts["pty"]:
                explanation = worker.explain_pty_failure(call.excinfo.value) if report.failed else ""
                if explanation:
                    report.sections.append(("No pseudo-terminal available", explanation))

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(self, report: Any) -> None:
            worker.send_report(report, worker.config)

        def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
            worker.threads.notice_warning(str(warning_message.message))
            channel.send(
                {
                    "type": "warning",
                    "text": str(warning_message.message),
                    "category": warning_message.category.__name__,
                    "filename": warning_message.filename,
                    "lineno": warning_message.lineno,
                    "when": when,
                    "nodeid": nodeid,
                    "location": list(location) if location else None,
                }
            )

        @pytest.hookimpl(tryfirst=True, optionalhook=True)
        def pytest_timeout_set_timer(self, item: Any, settings: Any) -> Any:
            scale = worker.task["timeout_scale"]
            if scale == 1:
                return None
            plugin = item.config.pluginmanager.getplugin("timeout")
            return plugin.pytest_timeout_set_timer(item, settings._replace(timeout=settings.timeout * scale))

        @pytest.hookimpl(trylast=True)
        def pytest_sessionfinish(self, session: Any, exitstatus: Any) -> None:
            reporter = session.config.pluginmanager.getplugin("terminalreporter")
            if reporter is None or not worker.collected:
                return
            worker.flush_terminal()
            caller = worker.user_hook(session.config, "pytest_terminal_summary")
            caller(terminalreporter=reporter, exitstatus=exitstatus, config=session.config)
            worker.summary = worker.terminal.take() if worker.terminal is not None else ""

        def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
            # There is no keyboard: a conftest or plugin raised it. The terminal reporter, which prints it, is silent.
            if not worker.collected and not isinstance(excinfo.value, pytest.exit.Exception):
                sys.stderr.write("%s\n%s\n" % (excinfo.getrepr(style="short"), excinfo.exconly()))

        def pytest_internalerror(self, excrepr: object) -> None:
            channel.send({"type": "fatal", "text": "INTERNALERROR in the target's pytest\n%s" % excrepr})

    return WorkerPlugin()


def make_phase_plugin(worker: WorkerSession) -> object:
    """Return the plugin that tells the controller when a phase begins of a test whose timeout counts its function only."""
    import pytest

    class PhasePlugin:
        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_setup(self, item: Any) -> Generator[None, Any, None]:
            phase(item, "setup")
            yield

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_runtest_call(self, item: Any) -> Generator[None, Any, None]:
            phase(item, "call")
            yield

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_teardown(self, item: Any) -> Generator[None, Any, None]:
            phase(item, "teardown")
            yield

    def phase(item: Any, when: Literal["setup", "call", "teardown"]) -> None:
        if item.nodeid in worker.function_only:
            worker.channel.send({"type": "phase", "when": when})

    return PhasePlugin()


def make_fixtures(target: Any) -> object:
    """Return the plugin with the fixtures: a module, since pytest 9.1 deprecates session-scoped fixtures as methods."""
    import types

    import pytest

    @pytest.fixture(scope="session")
    def wheel_target() -> Any:
        """Frozen facts of the target: wheel, interpreter, architecture, libc, machine, emulated or not."""
        return target

    fixtures = types.ModuleType("wheelcheck_fixtures")
    fixtures.__dict__["wheel_target"] = wheel_target
    return fixtures


def _relative(path: Any, config: Any) -> str:
    try:
        return path.relative_to(config.rootpath).as_posix()
    except ValueError:
        return str(path)
