"""Replacements of pytest's terminal output and JUnit report, which the controller writes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .channel import Channel


class TerminalBuffer:
    """A text stream. The controller prints what is written to it."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.parts: list[str] = []

    def write(self, text: str) -> int:
        self.parts.append(text)
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False

    def take(self) -> str:
        """Return the text written since the last call."""
        text, self.parts = "".join(self.parts), []
        return text


class JUnitForwarder:
    """Acts as pytest's ``LogXML``: sends the properties that its fixtures record to the controller."""

    def __init__(self, channel: Channel, family: Any, nodeid: str = "") -> None:
        self._channel = channel
        self.family = family
        self._nodeid = nodeid

    def __bool__(self) -> bool:
        return False  # pytest has nothing to close at the end.

    def node_reporter(self, nodeid: object) -> Any:
        # pytest 9.2 passes a NodeId, older versions a string.
        return JUnitForwarder(self._channel, self.family, str(nodeid))

    def add_attribute(self, name: str, value: object) -> None:
        self._channel.send({"type": "property", "id": self._nodeid, "name": str(name), "value": str(value)})

    add_global_property = add_attribute


def silent_reporter(base: Any) -> Any:
    """Return a subclass of pytest's terminal reporter that keeps statistics for plugins and prints nothing by itself."""
    SilentReporter: Any = type("SilentReporter", (base,), {})

    inherited = {"pytest_warning_recorded", "pytest_deselected"}
    for name in dir(base):
        if name.startswith("pytest_") and name not in inherited:
            setattr(SilentReporter, name, None)

    def pytest_runtest_logreport(self: Any, report: Any) -> None:
        status = self.config.hook.pytest_report_teststatus(report=report, config=self.config)
        if status:
            self.stats.setdefault(status[0], []).append(report)

    def pytest_sessionstart(self: Any, session: Any) -> None:
        # The inherited methods read it, for example when a conftest deselects tests.
        self._session = session

    SilentReporter.pytest_runtest_logreport = pytest_runtest_logreport
    SilentReporter.pytest_sessionstart = pytest_sessionstart
    return SilentReporter
