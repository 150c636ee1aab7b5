"""One session of the target's pytest: describes the collected tests to the controller, and runs those that it asks for."""

from __future__ import annotations

import os
import stat
import time

# Bound here: tests replace the functions of the module.
from time import monotonic

from . import report_fields
from .codec import InvalidMessageError
from .descriptions import Descriptions
from .errors import format_exception
from .garbage import collector_paused
from .parallel_threads import ParallelThreads
from .provenance import Provenance
from .rules import TargetRules
from .supervisor import TEST_LINE
from .undeclared import UndeclaredImports, find_failed_package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import messages
    from .channel import Channel
    from .replacements import TerminalBuffer

#: Characters of captured output that a report carries; longer output loses its middle.
OUTPUT_LIMIT = 100_000

#: Seconds between two looks whether the controller ends the session: with quick tests, a look takes a part of their time.
LOOK = 0.005


class WorkerSession:
    """The worker's part of a pytest session.

    :param pytest: the target's pytest.
    :param guard: the environment's :class:`~.guard.Guard`.
    :param facts: of the target, see :class:`~.facts.WheelTarget`.
    :param log: descriptor of the log.

    Attribute ``function_only``: node ids of the tests whose own timeout counts the test function only.
    Attributes that :mod:`.hooks` sets: ``config``; ``terminal``, the text that plugins write; ``collect_reports`` of
    modules that failed or were skipped; ``collected``, whether the collection has ended; ``conftest_failed``; ``summary``.
    """

    def __init__(
        self, pytest: Any, channel: Channel, task: messages.Tests, guard: Any, facts: dict[str, Any], log: int
    ) -> None:
        self.pytest = pytest
        self.log = log
        self.channel = channel
        self.task = task
        self.facts = facts
        self.rules = TargetRules(facts, task["pty_patterns"])
        self.provenance = Provenance(pytest, guard, self.rules)
        self.undeclared = UndeclaredImports(guard)
        guard.observer = self.undeclared.find_spec
        self.threads = ParallelThreads()
        self.unknown_options: list[str] = []
        self.config: Any = None
        self.terminal: TerminalBuffer | None = None
        self.collect_reports: list[dict[str, Any]] = []
        self.collected = False
        self.function_only: set[str] = set()
        self.conftest_failed = False
        self.summary = ""
        self._sent: dict[str, Any] = {}
        self._next_save = 0.0
        self._next_look = 0.0
        self._arrived: list[messages.FromController] = []

    def explain_pty_failure(self, error: BaseException) -> str:
        """Explain a failure in a call that opens a pseudo-terminal; return an empty string for any other failure."""
        from . import ptys

        found = ptys.find_call(error, self.task["pty_calls"])
        return ptys.explain(found, self.rules.target_name(), str(self.config.rootpath)) if found else ""

    def not_reached(self, error: BaseException) -> str:
        """Return why a test is skipped that fails because a package cannot be imported, which has a node of its own."""
        name = find_failed_package(error, self.provenance.guard)
        return "needs %s, but import[%s] did not pass" % (name, name) if name else ""

    def log_size(self) -> int:
        """Return the size of the log in bytes; -1 where it is not known: behind ``ssh`` it is a pipe."""
        try:
            status = os.fstat(self.log)
        except OSError:
            return -1
        return status.st_size if stat.S_ISREG(status.st_mode) else -1

    # -- options ------------------------------------------------------------------------------------------------

    def select_args(self, args: list[str], parser: Any) -> None:
        """Drop, in place, the host's options that this target's pytest does not know. Options for the target alone stay."""
        known = _known_options(parser)
        selected = []
        for occurrence in self.task["occurrences"]:
            first = occurrence["args"][0]
            option = first.partition("=")[0] if first.startswith("--") else first[:2]
            if occurrence["from_host"] and first.startswith("-") and option not in known:
                self.unknown_options.append(option)
                continue
            selected.extend(occurrence["args"])
        args[:] = [*self.task["fixed_args"], *selected]

    # -- collection ---------------------------------------------------------------------------------------------

    def forward_timeouts(self, config: Any) -> None:
        """Have the thread of pytest-timeout send the controller the text that it prints before it ends the process."""
        plugin = config.pluginmanager.getplugin("timeout")
        original = getattr(plugin, "timeout_timer", None)
        if original is None or self.terminal is None:
            return
        terminal = self.terminal

        def timeout_timer(item: Any, settings: Any) -> None:
            def flush() -> None:
                self.channel.send({"type": "expired", "seconds": settings.timeout, "text": terminal.take()})

            terminal.__dict__["flush"] = flush
            original(item, settings)
            del terminal.__dict__["flush"]  # It returned: a debugger is active.

        plugin.timeout_timer = timeout_timer

    def send_collected(self, session: Any) -> None:
        """Send the result of the collection."""
        self.flush_terminal()
        descriptions = Descriptions(self.pytest, self.threads, self.task["timeout_scale"])
        with collector_paused():
            items = [descriptions.describe(item) for item in session.items]
            self.function_only = {item["id"] for item in items if item["func_only"]}
            self.channel.send(
                {
                    "type": "collected",
                    "items": items,
                    "reports": self.collect_reports,
                    "header": self.header(session.config),
                    "unknown_options": self.unknown_options,
                    "deselected": self._count_deselected(session.config),
                    "parallel_threads": self.threads.asked,
                    "gil_module": self.threads.gil_module(),
                    "pytest_version": self.pytest.__version__,
                }
            )

    @staticmethod
    def _count_deselected(config: Any) -> int:
        reporter = config.pluginmanager.getplugin("terminalreporter")
        return len(reporter.stats.get("deselected", ())) if reporter is not None else 0

    def header(self, config: Any) -> list[str]:
        """Return the lines that the user's conftest and plugins add to the header."""
        caller = self.user_hook(config, "pytest_report_header")
        lines: list[Any] = []
        for found in reversed(caller(config=config, start_path=config.invocation_params.dir, startdir=None)):
            lines.extend([found] if isinstance(found, str) else list(found))
        return [str(line) for line in lines]

    @staticmethod
    def user_hook(config: Any, hook: str) -> Any:
        """Return a caller of a hook in the user's conftests and plugins only."""
        ours = []
        for implementation in getattr(config.pluginmanager.hook, hook).get_hookimpls():
            module = getattr(implementation.function, "__module__", "") or ""
            if module == "pytest_timeout" or module.startswith(("_pytest.", __package__ + ".")):
                ours.append(implementation.plugin)
        return config.pluginmanager.subset_hook_caller(hook, remove_plugins=ours)

    # -- running ------------------------------------------------------------------------------------------------

    def serve(self, session: Any) -> None:
        """Run the tests that the controller asks for, until it sends ``finish``.

        It asks for the next tests while one runs. They are not run when a test stops the session or needs a new worker, or when
        ``finish`` has arrived as well.
        """
        items: dict[str, list[Any]] = {}
        for item in session.items:
            items.setdefault(item.nodeid, []).append(item)
        goes_on = True
        while True:
            message = self.next_message()
            if message["type"] == "finish":
                self.set_watchdog()
                return
            if message["type"] != "run":
                raise InvalidMessageError("the controller sent %s to a running session" % message["type"])
            if not goes_on:
                continue
            # Node ids may repeat (--keep-duplicates): each run takes the next one.
            same = items.get(message["id"])
            if not same:
                self.channel.send({"type": "fatal", "text": "%s is not among the collected tests" % message["id"]})
                return
            item = same.pop(0) if len(same) > 1 else same[0]
            following = items.get(message["next"]) if message["next"] else None
            nextitem = following[0] if following else None
            goes_on = self.run_one(session, item, nextitem, message)

    def next_message(self) -> messages.FromController:
        """Wait for the next message; ``finish`` comes before those that arrived earlier, unless it has just arrived."""
        self.channel.end_stray_child()
        now = monotonic()
        while not self._arrived or (now > self._next_look and not self.channel.is_idle()):
            message = self.channel.receive()
            if message["type"] == "finish":
                return message
            self._arrived.append(message)
        if now > self._next_look:
            self._next_look = now + LOOK
        return self._arrived.pop(0)

    def set_watchdog(self, *, on: bool = True) -> None:
        """On Windows, have the stacks written shortly before the timeout of collection, or of the end of the session."""
        import faulthandler

        if self.task["watchdog"]:
            faulthandler.cancel_dump_traceback_later()
            if on:
                faulthandler.dump_traceback_later(self.task["watchdog"], file=self.log)

    def run_one(self, session: Any, item: Any, nextitem: Any, message: messages.Run) -> bool:
        """Run one item and its fixtures, except the teardown of those that the next item uses as well.

        :returns: whether the session goes on in this process.
        """
        import faulthandler

        self.provenance.guard.move_to_front()
        self._sent = {}
        if self.log_size() < 0:
            line = "\n%s%s %d\n" % (TEST_LINE, self.channel.nonce, message["number"])
            os.write(self.log, line.encode("ascii"))
        # One that ends the process only acts when the controller is gone, which a supervisor notices as well. It is a thread,
        # and an emulator translates code for one thread faster.
        watched = message["watchdog"] and not (message["watchdog_exits"] and self.channel.supervised)
        if watched:
            faulthandler.dump_traceback_later(message["watchdog"], exit=message["watchdog_exits"], file=self.log)
        # With -x, pytest stops in the middle of an item that has subtests.
        if message["failures_left"]:
            session.config.option.maxfail = session.testsfailed + message["failures_left"]
        stop = ""
        returncode: int | None = None
        restart = False
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        except self.pytest.exit.Exception as leave:
            stop = "%s: %s" % (item.nodeid, leave.msg)
            returncode = None if leave.returncode is None else int(leave.returncode)
        except KeyboardInterrupt as interrupt:
            # There is no keyboard: the code under test raised it. Its fixtures are still set up, so the other tests run
            # in a fresh worker.
            restart = True
            self.send_failure(item, "call", "the test raised KeyboardInterrupt\n" + self.show_failure(item, interrupt))
        finally:
            if watched:
                faulthandler.cancel_dump_traceback_later()
        foreign = self.provenance.report_foreign()
        if foreign:
            self.send_failure(item, "teardown", foreign)
        if not stop and session.shouldstop:
            stop = str(session.shouldstop)
        if not stop and session.shouldfail and not message["failures_left"]:
            stop = str(session.shouldfail)
        self.flush_terminal()
        self.save_coverage()
        self.channel.send(
            {
                "type": "done",
                "stop": stop,
                "returncode": returncode,
                "restart": restart,
                "log_size": self.log_size(),
                "gil_module": self.threads.gil_module(),
            }
        )
        return not stop and not restart

    def save_coverage(self) -> None:
        """Have pytest-cov write its data now and then: a later crash does not lose what was covered until now."""
        plugin = self.config.pluginmanager.getplugin("_cov")
        coverage = getattr(getattr(plugin, "cov_controller", None), "cov", None)
        start = monotonic()
        if coverage is None or start < self._next_save:
            return
        import contextlib
        import warnings

        # At the end, pytest-cov warns again, and reports what went wrong.
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            coverage.save()
        end = monotonic()
        self._next_save = end + max(1.0, 20 * (end - start))

    def show_failure(self, item: Any, error: BaseException) -> str:
        """Return the text of an exception as the item itself shows its failures."""
        try:
            return str(item.repr_failure(self.pytest.ExceptionInfo.from_exception(error)))
        except Exception:
            return format_exception(error)

    def send_failure(self, item: Any, when: str, text: Any) -> None:
        """Send a failed report in addition to those of pytest."""
        now = time.time()
        report = self.pytest.TestReport(
            item.nodeid, item.location, {}, "failed", text, when, duration=0, start=now, stop=now
        )
        self.send_report(report, item.config)

    def send_report(self, report: Any, config: Any) -> None:
        """Send a report as pytest serializes it, without what the controller knows."""
        # This hook decides some outcomes (a test with failed subtests).
        config.hook.pytest_report_teststatus(report=report, config=config)
        # The terminal shows the text that was written before the report (--setup-show) before it.
        self.flush_terminal()
        data = config.hook.pytest_report_to_serializable(config=config, report=report)
        if any(len(content) > OUTPUT_LIMIT for _, content in data.get("sections") or ()):
            data["sections"] = [
                (name, self.shorten(content, report.failed, report.nodeid)) for name, content in data["sections"]
            ]
        report_fields.omit(data, self._sent)
        self.channel.send({"type": "report", "data": data})

    def shorten(self, content: str, failed: bool, nodeid: str) -> str:
        """Omit the middle of captured output that is too long for a report; write all output of a failed test to a file."""
        omitted = len(content) - OUTPUT_LIMIT
        if omitted <= 0:
            return content
        full = "the full output is available for failed tests only"
        if failed:
            directory = self.task["output"]
            try:
                os.makedirs(directory, exist_ok=True)
                stem = "".join(char if char.isalnum() else "-" for char in nodeid[-60:])
                path = os.path.join(directory, "%s-%s-%d.txt" % (self.facts["interpreter"], stem, time.time_ns()))
                with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(content)
                full = "the full output is in %s" % path
            except OSError as error:
                full = "the full output could not be written: %s" % error
        half = OUTPUT_LIMIT // 2
        return "%s\n[%d characters omitted; %s]\n%s" % (content[:half], omitted, full, content[-half:])

    def flush_terminal(self) -> None:
        """Send the text that plugins wrote to the terminal since the last call."""
        if self.terminal is not None:
            text = self.terminal.take()
            if text.strip():
                self.channel.send({"type": "text", "text": text})


def _known_options(parser: Any) -> set[str]:
    """Return the option strings that a pytest parser knows."""
    found = {"-" + letter for letter in "ckmorxqvlsphVhW"}
    groups = [parser._anonymous, *parser._groups]
    for group in groups:
        for option in group.options:
            names = option.names() if hasattr(option, "names") else option._short_opts + option._long_opts
            found.update(names)
    return found
