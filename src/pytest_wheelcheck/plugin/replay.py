"""Shows messages of a target as pytest shows its own: warnings, terminal output, failures, tracebacks."""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

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

from pytest_wheelcheck.plugin import warning_categories
from pytest_wheelcheck.plugin.places import in_place

if TYPE_CHECKING:
    from pytest_wheelcheck.results import RemoteError
    from pytest_wheelcheck.worker import messages


#: The section of a failure that says what happened, why, and how to fix it.
EXPLANATION = "Explanation"


def replay_messages(config: pytest.Config, received: Iterable[messages.FromWorker], node_id: str) -> None:
    """Replay the warnings and the terminal output of a target's collection."""
    for message in received:
        if message["type"] == "warning":
            replay_warning(config, message, node_id)
        elif message["type"] == "text":
            write_text(config, message["text"])


def write_text(config: pytest.Config, text: str) -> None:
    """Show the text that a plugin of the target wrote to its terminal."""
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.ensure_newline()
        reporter.write_raw(text if text.endswith("\n") else f"{text}\n", flush=True)


class WheelWarning(UserWarning):
    """A static check warns about a wheel."""


def warn(item: pytest.Item, text: str) -> None:
    """Record a warning about a wheel with pytest."""
    path = item.location[0]
    text = in_place(item.config, text)
    recorded = warnings.WarningMessage(WheelWarning(text), WheelWarning, filename=path, lineno=0)
    item.ihook.pytest_warning_recorded.call_historic(
        kwargs={"warning_message": recorded, "when": "runtest", "nodeid": item.nodeid, "location": None}
    )


def replay_warning(config: pytest.Config, message: messages.RecordedWarning, prefix: str) -> None:
    """Record a warning of a target. Its class is built from the name alone: nothing of the user's is imported."""
    name = message["category"]
    known = getattr(pytest, name, None) or getattr(builtins, name, None)
    if not (isinstance(known, type) and issubclass(known, Warning)):
        known = getattr(warning_categories, name)
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
    """Render a text as a failure. pytest's short summary shows its first line."""
    text = in_place(item.config, text)
    file, line, _ = item.location
    crash = ReprFileLocation(file, (line or 0) + 1, text.partition("\n")[0])
    entry = ReprEntryNative([text if text.endswith("\n") else f"{text}\n"])
    return ReprExceptionInfo(ReprTraceback([entry], None, "native"), crash)


class _ExplainedChain(ExceptionChainRepr):
    """A traceback whose text, which the JUnit report shows, begins with the explanation. The terminal has a section for that."""

    explanation = ""

    def __str__(self) -> str:
        return f"{self.explanation}\n\n{super().__str__()}"


def explain_in_junit(report: pytest.TestReport) -> None:
    """Put the explanation of a step's failure into its text for the JUnit report, which has no sections.

    It is done in the process that writes the report: a report that a worker of xdist sends has a traceback of pytest's own class.
    """
    if hasattr(report, "wheelcheck_step") and isinstance(report.longrepr, ExceptionChainRepr):
        text = next((content for name, content in report.sections if name == EXPLANATION), "")
        if text:
            explained = _ExplainedChain(report.longrepr.chain)
            explained.explanation = text.rstrip("\n")
            report.longrepr = explained


def remote_traceback(trace: Iterable[RemoteError], headline: str = "") -> TerminalRepr:
    """Render a remote exception chain as pytest renders its own.

    :param headline: for pytest's short summary, before the last exception.
    """
    chain: list[tuple[ReprTraceback, ReprFileLocation | None, str | None]] = []
    for error in trace:
        description = {
            "cause": "The above exception was the direct cause of the following exception:",
            "context": "During handling of the above exception, another exception occurred:",
        }.get(error.relation)
        chain.append((_traceback(error), _crash(error), description))
    crash = chain[-1][1]
    if headline and crash is not None:
        crash.message = f"{headline}\n{crash.message}"
    # The description is between an exception and the one that follows it: the last exception has none.
    return ExceptionChainRepr(chain)


def _summary(error: RemoteError) -> str:
    return f"{error.type}: {error.message}" if error.message else error.type


def _crash(error: RemoteError) -> ReprFileLocation:
    if not error.frames:
        # The importer itself raised it; the short summary needs a location for the message.
        return ReprFileLocation("<import>", 0, _summary(error))
    last = error.frames[-1]
    return ReprFileLocation(last.file, last.line, _summary(error))


def _traceback(error: RemoteError) -> ReprTraceback:
    entries = []
    for index, frame in enumerate(error.frames):
        is_last = index + 1 == len(error.frames)
        lines = [f"    {line}" for line in frame.lines[:-1]]
        lines += [f">   {line}" for line in frame.lines[-1:]]
        if is_last:
            lines += [f"E   {line}" for line in _summary(error).splitlines()]
        location = ReprFileLocation(frame.file, frame.line, error.type if is_last else f"in {frame.function}")
        entries.append(ReprEntry(lines, None, None, location, "long"))
    if not entries:
        lines = [f"E   {line}" for line in _summary(error).splitlines()]
        entries.append(ReprEntry(lines, None, None, None, "long"))
    return ReprTraceback(entries, None, "long")
