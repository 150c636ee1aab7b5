"""What a target's pytest reported: its collection, and the result of each test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_wheelcheck.worker import messages as protocol
from pytest_wheelcheck.worker.messages import FromWorker


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What the target's pytest collected.

    :param items: as the worker's ``describe_item`` tells them.
    :param reports: collection reports of modules that failed or were skipped, serialised by pytest.
    :param crashes: node id of a module and text, for each whose collection ended the interpreter.
    :param header: lines of the user's ``pytest_report_header``.
    :param messages: warnings and terminal texts that came meanwhile.
    :param usage: a usage error of the target's pytest; empty where there was none.
    :param unknown: options of the host's that the target does not know.
    """

    items: tuple[protocol.Item, ...] = ()
    reports: tuple[Mapping[str, Any], ...] = ()
    crashes: tuple[tuple[str, str], ...] = ()
    header: tuple[str, ...] = ()
    messages: tuple[FromWorker, ...] = ()
    usage: str = ""
    unknown: tuple[str, ...] = ()
    pytest: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Crash:
    """A test that ended its interpreter, or was ended.

    :param when: the phase that is to blame: ``setup``, ``call`` or ``teardown``.
    """

    when: str
    text: str
    seconds: float
    sections: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemResult:
    """What came of one test.

    :param messages: the worker's ``report``, ``warning`` and ``text`` messages, in order.
    :param crash: set where the test did not come to an end of its own.
    :param stop: why the whole session is to stop; empty where it is not.
    """

    messages: tuple[FromWorker, ...] = ()
    crash: Crash | None = None
    stop: str = ""

    @property
    def failed(self) -> bool:
        """Whether it counts for ``--maxfail``."""
        return self.crash is not None or any(
            message["type"] == "report"
            and message["data"].get("outcome") == "failed"
            and not message["data"].get("wasxfail")
            for message in self.messages
        )
