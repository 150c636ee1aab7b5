"""The plugin that turns pytest's hooks into messages, and the fixtures."""

from __future__ import annotations

import os
import sys

from . import finders
from .standins import Buffer, JUnit, quiet_reporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, Literal

    from .session import WorkerSession


def make_plugin(worker: WorkerSession) -> object:
    """Make the plugin that turns pytest's hooks into messages."""
    pytest = worker.pytest
    channel = worker.channel
    tools = tuple(os.path.join(folder, "") for folder in worker.settings["overlays"])

    class WorkerPlugin:
        @pytest.hookimpl(tryfirst=True)
        def pytest_addoption(self, parser: Any, pluginmanager: Any) -> None:
            for name in worker.settings["ini_names"]:
                parser.addini(name, "of pytest-wheelcheck, meant for the host")
            if pluginmanager.is_blocked("cacheprovider"):
                # The controller names the cache's folder in any case; strict_config would refuse the unknown key.
                parser.addini("cache_dir", "nothing to be cached")

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_load_initial_conftests(
            self, early_config: Any, parser: Any, args: list[str]
        ) -> Generator[None, Any, None]:
            finders.end()
            worker.provenance.patch_import_path()
            worker.provenance.watch_loaders()
            worker.provenance.guard.first()
            outcome: Any = yield
            error = outcome.exception
            worker.conftest_failed = error is not None and not isinstance(error, pytest.UsageError)
            worker.select_args(args, parser)

        @pytest.hookimpl(trylast=True)
        def pytest_configure(self, config: Any) -> None:
            worker.provenance.guard.first()
            for line in worker.settings["markers"]:
                config.addinivalue_line("markers", line)
            reporter = config.pluginmanager.getplugin("terminalreporter")
            if reporter is not None:
                from _pytest._io import TerminalWriter

                worker.terminal = Buffer()
                config.pluginmanager.unregister(reporter)
                reporter._tw = TerminalWriter(file=worker.terminal)  # type: ignore[arg-type]
                reporter._tw.fullwidth = worker.settings["width"]
                reporter.__class__ = quiet_reporter(type(reporter))
                config.pluginmanager.register(reporter, "terminalreporter")
            worker.watch_timeouts(config)
            if worker.settings["junit"] and config.pluginmanager.hasplugin("junitxml"):
                from _pytest.junitxml import xml_key

                config.stash[xml_key] = JUnit(channel, config.getini("junit_family"))

        def pytest_collectreport(self, report: Any) -> None:
            if report.failed or report.skipped:
                data = worker.config.hook.pytest_report_to_serializable(config=worker.config, report=report)
                data.pop("result", None)
                worker.collect_reports.append(data)

        def pytest_ignore_collect(self, collection_path: Any, config: Any) -> bool | None:
            # Where the folder for temporary files is one of the project's: the test tools have tests of their own.
            if (str(collection_path) + os.sep).startswith(tools):
                return True
            # Modules whose collection ended the interpreter before; the controller has told of them.
            return True if _relative(collection_path, config) in worker.settings["skip_modules"] else None

        @pytest.hookimpl(hookwrapper=True)
        def pytest_make_collect_report(self, collector: Any) -> Generator[None, Any, None]:
            worker.provenance.guard.first()
            if isinstance(collector, pytest.File):
                channel.send({"type": "collecting", "id": collector.nodeid, "log_size": worker.logged()})
                worker.watch()
            outcome: Any = yield
            if isinstance(outcome.exception, (KeyboardInterrupt, SystemExit)):
                # Nobody is at a keyboard here: the module raised it. The others are collected as ever.
                text = collector.repr_failure(pytest.ExceptionInfo.from_exception(outcome.exception))
                outcome.force_result(pytest.CollectReport(collector.nodeid, "failed", str(text), []))
            report = outcome.get_result()
            if worker.provenance.skipped_import:
                if report.skipped:
                    # The reader looks for the test module, not for where the skip was raised.
                    report.longrepr = (str(collector.path), None, "Skipped: " + worker.provenance.skipped_import)
                worker.provenance.skipped_import = ""
            wrong = worker.provenance.foreign()
            if wrong and report.failed:
                report.sections.append(("What is more", wrong))
            elif wrong:
                report.outcome = "failed"
                report.longrepr = wrong
                report.result = []

        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionstart(self, session: Any) -> None:
            worker.config = session.config

        def pytest_collection_finish(self) -> None:
            channel.send({"type": "collecting", "id": "", "log_size": worker.logged()})
            worker.watch(on=False)

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtestloop(self, session: Any) -> bool:
            # Modules that could not be collected are nodes of their own at the controller; the others run.
            session.testsfailed = 0
            worker.send_collected(session)
            worker.collected = True
            worker.serve(session)
            return True

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport(self, item: Any, call: Any) -> Generator[None, Any, None]:
            outcome: Any = yield
            if call.excinfo is not None and not worker.rules.facts["pty"]:
                report = outcome.get_result()
                told = worker.opened_pty(call.excinfo.value) if report.failed else ""
                if told:
                    report.sections.append(("No pseudo-terminal here", told))

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(self, report: Any) -> None:
            worker.send_report(report, worker.config)

        def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
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

        @pytest.hookimpl(tryfirst=True, optionalhook=True)
        def pytest_timeout_set_timer(self, item: Any, settings: Any) -> Any:
            scale = worker.settings["timeout_scale"]
            if scale == 1 or getattr(settings, "_wheelcheck", False):
                return None
            plugin = item.config.pluginmanager.getplugin("timeout")
            return plugin.pytest_timeout_set_timer(item, settings._replace(timeout=settings.timeout * scale))

        @pytest.hookimpl(trylast=True)
        def pytest_sessionfinish(self, session: Any, exitstatus: Any) -> None:
            reporter = session.config.pluginmanager.getplugin("terminalreporter")
            if reporter is None or not worker.collected:
                return
            worker.flush_terminal()
            caller = worker.foreign_caller(session.config, "pytest_terminal_summary")
            caller(terminalreporter=reporter, exitstatus=exitstatus, config=session.config)
            worker.summary = worker.terminal.take() if worker.terminal is not None else ""

        def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
            # Nobody is at a keyboard here. The terminal reporter, which would tell of it, is quiet.
            if not worker.collected and not isinstance(excinfo.value, pytest.exit.Exception):
                sys.stderr.write("%s\n%s\n" % (excinfo.getrepr(style="short"), excinfo.exconly()))

        def pytest_internalerror(self, excrepr: object) -> None:
            channel.send({"type": "fatal", "text": "INTERNALERROR in the target's pytest\n%s" % excrepr})

    def phase(item: Any, when: Literal["setup", "call", "teardown"]) -> None:
        if worker.timeout_of(item)[1]:
            channel.send({"type": "phase", "when": when})

    return WorkerPlugin()


def make_fixtures(target: Any) -> object:
    """Make the plugin that offers fixtures: a module, since pytest 9 wants no fixtures of instances."""
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
