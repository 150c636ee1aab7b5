"""What stands in the target for parts of pytest that are the controller's: terminal and JUnit report."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .channel import Channel


class Buffer:
    """A text stream whose content is taken in pieces."""

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
        text, self.parts = "".join(self.parts), []
        return text


class JUnit:
    """Stands for the JUnit report, which the controller writes: what the fixtures of pytest add crosses the channel."""

    def __init__(self, channel: Channel, family: Any, nodeid: str = "") -> None:
        self._channel = channel
        self.family = family
        self._nodeid = nodeid

    def __bool__(self) -> bool:
        return False  # pytest has nothing to put away at the end.

    def node_reporter(self, nodeid: str) -> Any:
        return JUnit(self._channel, self.family, nodeid)

    def add_attribute(self, name: str, value: object) -> None:
        self._channel.send({"type": "property", "id": self._nodeid, "name": str(name), "value": str(value)})

    add_global_property = add_attribute


def quiet_reporter(base: Any) -> Any:
    """Return a terminal reporter that counts, keeps its attributes for plugins, and prints nothing by itself."""
    QuietReporter: Any = type("QuietReporter", (base,), {})

    keep = {"pytest_warning_recorded", "pytest_deselected"}
    for name in dir(base):
        if name.startswith("pytest_") and name not in keep:
            setattr(QuietReporter, name, None)

    def pytest_runtest_logreport(self: Any, report: Any) -> None:
        found = self.config.hook.pytest_report_teststatus(report=report, config=self.config)
        if found:
            self.stats.setdefault(found[0], []).append(report)

    QuietReporter.pytest_runtest_logreport = pytest_runtest_logreport
    return QuietReporter
