"""The mode ``tests``: one session of the target's pytest, served item by item."""

from __future__ import annotations

import os
import sys
import time

from . import OUTPUT_LIMIT, UNIX_MODULES, finders
from .channel import dup_high
from .codec import InvalidMessageError
from .facts import local_facts
from .hooks import make_fixtures, make_plugin
from .provenance import Provenance
from .rules import TargetRules, is_directory
from .telling import render, tell_illegal_instructions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import messages
    from .channel import Channel
    from .standins import Buffer


def run_tests(channel: Channel, settings: messages.Tests) -> None:
    """Load pytest, collect, serve ``run`` messages, and send the end record."""
    import faulthandler

    # A descriptor of its own: while a test runs, pytest's capture has put a temporary file in the place of the log.
    log = dup_high(2)
    faulthandler.enable(file=log)
    try:
        import signal

        faulthandler.register(signal.SIGUSR1, file=log, all_threads=True)
    except (ImportError, AttributeError):
        pass  # Windows: the watchdog of each test writes the stacks.
    if settings["facts"]["machine"] != "host" and sys.platform != "win32":
        tell_illegal_instructions(log)
    for folder in settings["overlays"]:
        if folder not in sys.path:
            sys.path.append(folder)
    if settings["python_m"]:
        sys.path.insert(0, os.getcwd())
    sys.dont_write_bytecode = True
    guard = sys.modules["_wheelcheck_guard"].install() if "_wheelcheck_guard" in sys.modules else None
    if guard is None:
        raise RuntimeError("the guard of the environment did not start: is its .pth file disabled (-S, or -I -S)?")
    if sys.platform == "win32":
        finders.begin()
    import pytest

    facts = dict(local_facts(), **settings["facts"])
    if settings["pretend"] == "win32":
        facts.update(system="win32", pty=False)
        for name in UNIX_MODULES:
            sys.modules[name] = None  # type: ignore[assignment]
    session = WorkerSession(pytest, channel, settings, guard, facts, log)
    args = [*settings["fixed_args"], *(arg for each in settings["occurrences"] for arg in each["args"])]
    status = pytest.main(args, plugins=session.plugins())
    channel.send(
        {
            "type": "finished",
            "status": int(status),
            "summary": session.summary,
            "conftest_failed": session.conftest_failed,
        }
    )


class WorkerSession:
    """The worker's half of a pytest run."""

    def __init__(
        self, pytest: Any, channel: Channel, settings: messages.Tests, guard: Any, facts: dict[str, Any], log: Any
    ) -> None:
        self.pytest = pytest
        self.log = log
        self.channel = channel
        self.settings = settings
        self.facts = facts
        self.rules = TargetRules(facts, settings["pty_patterns"])
        self.provenance = Provenance(pytest, guard, self.rules)
        self.summary = ""
        self.collect_reports: list[dict[str, Any]] = []
        self.unknown: list[str] = []
        self.terminal: Buffer | None = None
        self.config: Any = None
        self.collected = False
        self.conftest_failed = False

    def plugins(self) -> list[object]:
        """Return the plugins to hand to :func:`pytest.main`."""
        return [make_plugin(self), make_fixtures(self.rules.target), self.rules]

    def opened_pty(self, error: BaseException) -> str:
        """Say of a failure on a target without pseudo-terminals that it happened in a call which opens one."""
        from . import ptys

        call, place = ptys.opened(error, self.settings["pty_calls"])
        return ptys.advice(call, place, self.rules.where(), str(self.config.rootpath)) if call else ""

    def logged(self) -> int:
        """Return the length of the log in bytes; -1 where it cannot be told."""
        try:
            return os.fstat(self.log).st_size
        except OSError:
            return -1

    # -- options ------------------------------------------------------------------------------------------------

    def select_args(self, args: list[str], parser: Any) -> None:
        """Drop, in place, the host's options that this target does not know; what the user gave it alone stays."""
        known = _known_options(parser)
        kept = []
        for occurrence in self.settings["occurrences"]:
            first = occurrence["args"][0]
            option = first.partition("=")[0] if first.startswith("--") else first[:2]
            if occurrence["from_host"] and first.startswith("-") and option not in known:
                self.unknown.append(option)
                continue
            kept.extend(occurrence["args"])
        args[:] = [*self.settings["fixed_args"], *kept]

    # -- collection ---------------------------------------------------------------------------------------------

    def describe_item(self, item: Any) -> messages.Item:
        """Tell the controller what it needs to make an item that behaves like this one."""
        chain = item.listchain()
        names = []
        for index, node in enumerate(chain):
            if index > 0 and not (
                index == 1 and not isinstance(node, self.pytest.Item) and is_directory(self.pytest, node)
            ):
                names.append(node.name)
        names.extend(item.listextrakeywords())
        function = getattr(item, "function", None)
        if function is not None:
            names.extend(name for name in getattr(function, "__dict__", ()) if not name.startswith("__"))
        marks: list[messages.Mark] = []
        for mark in item.iter_markers():
            names.append(mark.name)
            # The values of a parametrised test may be many and large, and nobody asks for them.
            args = () if mark.name == "parametrize" else mark.args
            kwargs = {key: _plain(value) for key, value in mark.kwargs.items()}
            marks.append({"name": mark.name, "args": [_plain(arg) for arg in args], "kwargs": kwargs})
        doc = getattr(getattr(item, "obj", None), "__doc__", None)
        timeout, func_only = self.timeout_of(item)
        return {
            "id": item.nodeid,
            "location": list(item.location),
            "chain": [[type(node).__name__, node.name] for node in chain[1:]],
            "names": sorted(set(map(str, names))),
            "marks": marks,
            "doc": doc if isinstance(doc, str) else "",
            "timeout": timeout,
            "func_only": func_only,
        }

    def watch_timeouts(self, config: Any) -> None:
        """Let pytest-timeout's thread tell the controller what it would print before it ends the process."""
        plugin = config.pluginmanager.getplugin("timeout")
        original = getattr(plugin, "timeout_timer", None)
        if original is None or self.terminal is None:
            return
        terminal = self.terminal

        def timeout_timer(item: Any, settings: Any) -> None:
            def tell() -> None:
                self.channel.send({"type": "expired", "seconds": settings.timeout, "text": terminal.take()})

            terminal.__dict__["flush"] = tell
            original(item, settings)
            del terminal.__dict__["flush"]  # A debugger is at work.

        plugin.timeout_timer = timeout_timer

    def timeout_of(self, item: Any) -> tuple[float, bool]:
        """Return the test's own time-out in seconds, scaled, or 0, and whether it counts the function only."""
        plugin = item.config.pluginmanager.getplugin("timeout")
        find = getattr(plugin, "_get_item_settings", None)
        if find is None:
            return 0, False
        try:
            found = find(item)
        except Exception:
            return 0, False
        return (found.timeout or 0) * self.settings["timeout_scale"], bool(found.func_only)

    def send_collected(self, session: Any) -> None:
        """Send everything that collection found."""
        self.flush_terminal()
        self.channel.send(
            {
                "type": "collected",
                "items": [self.describe_item(item) for item in session.items],
                "reports": self.collect_reports,
                "header": self.header(session.config),
                "unknown_options": self.unknown,
                "pytest_version": self.pytest.__version__,
            }
        )

    def header(self, config: Any) -> list[str]:
        """Return the lines that the user's conftest and plugins add to the header."""
        caller = self.foreign_caller(config, "pytest_report_header")
        lines: list[Any] = []
        for found in reversed(caller(config=config, start_path=config.invocation_params.dir, startdir=None)):
            lines.extend([found] if isinstance(found, str) else list(found))
        return [str(line) for line in lines]

    @staticmethod
    def foreign_caller(config: Any, hook: str) -> Any:
        """Return what calls a hook in the user's conftests and plugins only."""
        ours = []
        for implementation in getattr(config.pluginmanager.hook, hook).get_hookimpls():
            module = getattr(implementation.function, "__module__", "") or ""
            if module == "pytest_timeout" or module.startswith(("_pytest.", __package__ + ".")):
                ours.append(implementation.plugin)
        return config.pluginmanager.subset_hook_caller(hook, remove_plugins=ours)

    # -- running ------------------------------------------------------------------------------------------------

    def serve(self, session: Any) -> None:
        """Run what the controller names, until it says ``finish``."""
        items: dict[str, list[Any]] = {}
        for item in session.items:
            items.setdefault(item.nodeid, []).append(item)
        while True:
            message = self.channel.receive()
            if message["type"] == "finish":
                self.watch()
                return
            if message["type"] != "run":
                raise InvalidMessageError("the controller sent %s to a running session" % message["type"])
            # Ids may repeat (--keep-duplicates): each run takes the next of that name.
            same = items.get(message["id"])
            if not same:
                self.channel.send({"type": "fatal", "text": "the target did not collect %s" % message["id"]})
                return
            item = same.pop(0) if len(same) > 1 else same[0]
            following = items.get(message["next"]) if message["next"] else None
            nextitem = following[0] if following else None
            self.run_one(session, item, nextitem, message)

    def watch(self, *, on: bool = True) -> None:
        """On Windows, have the stacks written shortly before the time for what is done now is over."""
        import faulthandler

        if self.settings["watchdog"]:
            faulthandler.cancel_dump_traceback_later()
            if on:
                faulthandler.dump_traceback_later(self.settings["watchdog"], file=self.log)

    def run_one(self, session: Any, item: Any, nextitem: Any, message: messages.Run) -> None:
        """Run one item with its fixtures, up to the common part with the next one."""
        import faulthandler

        self.provenance.guard.first()
        if message["watchdog"]:
            faulthandler.dump_traceback_later(message["watchdog"], exit=message["watchdog_exits"], file=self.log)
        # pytest stops in the middle of an item (subtests) where the run is to stop at this failure.
        if message["failures_left"]:
            session.config.option.maxfail = session.testsfailed + message["failures_left"]
        stop = ""
        restart = False
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        except self.pytest.exit.Exception as leave:
            stop = "%s: %s" % (item.nodeid, leave.msg)
        except KeyboardInterrupt as interrupt:
            # Nobody is at a keyboard here: the code under test raised it. Its fixtures are still set up, so the rest
            # runs in a fresh worker.
            restart = True
            self.send_failure(item, "call", "the test raised KeyboardInterrupt\n" + self.show_failure(item, interrupt))
        finally:
            if message["watchdog"]:
                faulthandler.cancel_dump_traceback_later()
        wrong = self.provenance.foreign()
        if wrong:
            self.send_failure(item, "teardown", wrong)
        if not stop and session.shouldstop:
            stop = str(session.shouldstop)
        if not stop and session.shouldfail and not message["failures_left"]:
            stop = str(session.shouldfail)
        self.flush_terminal()
        self.channel.send({"type": "done", "stop": stop, "restart": restart})

    def show_failure(self, item: Any, error: BaseException) -> str:
        """Show an exception as the item itself shows its failures."""
        try:
            return str(item.repr_failure(self.pytest.ExceptionInfo.from_exception(error)))
        except Exception:
            return render(error)

    def send_failure(self, item: Any, when: str, text: Any) -> None:
        """Send a failed report that pytest itself did not make."""
        now = time.time()
        report = self.pytest.TestReport(
            item.nodeid, item.location, {}, "failed", text, when, duration=0, start=now, stop=now
        )
        self.send_report(report, item.config)

    def send_report(self, report: Any, config: Any) -> None:
        """Send a report as pytest serialises it."""
        # Some outcomes are settled only here (a test with failed subtests).
        config.hook.pytest_report_teststatus(report=report, config=config)
        # What was written before the report (--setup-show) stands before it.
        self.flush_terminal()
        data = config.hook.pytest_report_to_serializable(config=config, report=report)
        if any(len(content) > OUTPUT_LIMIT for _, content in data.get("sections") or ()):
            data["sections"] = [
                (name, self.cut(content, report.failed, report.nodeid)) for name, content in data["sections"]
            ]
        self.channel.send({"type": "report", "data": data})

    def cut(self, content: str, failed: bool, nodeid: str) -> str:
        """Cut captured output that is too long to be shown; for a failure all of it goes into a file."""
        left_out = len(content) - OUTPUT_LIMIT
        if left_out <= 0:
            return content
        where = "only a failed test's is kept"
        if failed:
            folder = self.settings["output"]
            try:
                os.makedirs(folder, exist_ok=True)
                stem = "".join(char if char.isalnum() else "-" for char in nodeid[-60:])
                path = os.path.join(folder, "%s-%s-%d.txt" % (self.facts["interpreter"], stem, time.time_ns()))
                with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(content)
                where = "all of it is in %s" % path
            except OSError as error:
                where = "it could not be kept: %s" % error
        half = OUTPUT_LIMIT // 2
        note = "[%d characters are left out here; %s]" % (left_out, where)
        return "%s\n%s\n%s" % (content[:half], note, content[-half:])

    def flush_terminal(self) -> None:
        """Send what plugins wrote to the terminal since the last time."""
        if self.terminal is not None:
            text = self.terminal.take()
            if text.strip():
                self.channel.send({"type": "text", "text": text})


def _plain(value: object) -> object:
    """Keep what ``-m "device(serial=1)"`` can compare with; describe the rest."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    try:
        return repr(value)
    except BaseException:
        # It is the user's, and may raise anything.
        return object.__repr__(value)


def _known_options(parser: Any) -> set[str]:
    """Return every option string that a pytest parser knows."""
    found = {"-" + letter for letter in "ckmorxqvlsphVhW"}
    groups = [parser._anonymous, *parser._groups]
    for group in groups:
        for option in group.options:
            names = option.names() if hasattr(option, "names") else option._short_opts + option._long_opts
            found.update(names)
    return found
