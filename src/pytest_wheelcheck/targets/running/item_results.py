"""The reports of a target's pytest: its collection, and the result of each test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_wheelcheck.results import describe_unexpected, format_traceback
from pytest_wheelcheck.worker import messages as protocol
from pytest_wheelcheck.worker import report_fields
from pytest_wheelcheck.worker.messages import FromWorker

#: Why a test is not run that only an earlier worker of its target has collected.
NOT_AGAIN = (
    "this test was not run: an earlier worker of this target has collected it, and the worker that was to run it has not\n"
    "Cause: a worker is started again after a crash, and before its turn if there are many targets; the node ids of this "
    "module differ from one start to the next\n"
    "Fix: give the parameters ids that do not depend on the time, on random numbers or on files that tests write"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedCollection:
    """A collection that ended the interpreter, or that did not start.

    :param module: node id of the test module; empty if no single module is the cause.
    :param unchecked: the cause is known and it is not the wheel, so nothing is known about the wheel.
    """

    text: str
    module: str = ""
    unchecked: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """The collection of the target's pytest.

    :param items: see :class:`pytest_wheelcheck.worker.messages.Item`.
    :param reports: collection reports of modules that failed or were skipped, serialised by pytest.
    :param failures: the collections that ended the interpreter or did not start.
    :param header: lines of the user's ``pytest_report_header``.
    :param messages: warnings and terminal texts that the collection sent.
    :param usage: a usage error of the target's pytest; empty if there was none.
    :param unknown: options of the host that the target does not know.
    :param deselected: number of tests that its options or the user's conftest deselected.
    :param pytest: version of the target's pytest; empty if it did not collect.
    """

    items: tuple[protocol.Item, ...] = ()
    reports: tuple[Mapping[str, Any], ...] = ()
    failures: tuple[FailedCollection, ...] = ()
    header: tuple[str, ...] = ()
    messages: tuple[FromWorker, ...] = ()
    usage: str = ""
    unknown: tuple[str, ...] = ()
    deselected: int = 0
    pytest: str = ""

    @classmethod
    def read(
        cls, found: protocol.Collected, failures: Sequence[FailedCollection], messages: Sequence[FromWorker]
    ) -> Collected:
        """Read the worker's message.

        :param failures: collections that ended an earlier worker.
        :param messages: those that came before.
        """
        return cls(
            items=tuple(found["items"]),
            reports=tuple(found["reports"]),
            failures=tuple(failures),
            header=tuple(found["header"]),
            messages=tuple(messages),
            unknown=tuple(found["unknown_options"]),
            deselected=found["deselected"],
            pytest=found["pytest_version"],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Crash:
    """A test that ended its interpreter, or that the controller ended.

    :param when: the phase that caused it: ``setup``, ``call`` or ``teardown``.
    :param traceback: of an unexpected exception of this package; empty without one.
    """

    when: str
    text: str
    seconds: float
    sections: tuple[tuple[str, str], ...] = ()
    traceback: str = ""


def unexpected_crash(error: BaseException, *, when: str = "setup") -> Crash:
    """Return the error of a test that met an exception which this package did not expect."""
    return Crash(when=when, text=describe_unexpected(error), seconds=0.0, traceback=format_traceback(error))


def complete_reports(messages: list[FromWorker]) -> None:
    """Give the reports of one test, in place, the fields that a worker does not send each time."""
    before: dict[str, Any] = {}
    for message in messages:
        if message["type"] == "report":
            message["data"] = report_fields.restore(message["data"], before)


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemResult:
    """The result of one test.

    :param messages: the worker's ``report``, ``warning`` and ``text`` messages, in order.
    :param crash: set if the test did not end by itself.
    :param stop: why the whole session must stop; empty if it goes on.
    :param returncode: the exit status that ``pytest.exit`` asks for then.
    """

    messages: tuple[FromWorker, ...] = ()
    crash: Crash | None = None
    stop: str = ""
    returncode: int | None = None

    @property
    def failed(self) -> bool:
        """Whether it counts for ``--maxfail``."""
        return self.crash is not None or any(
            message["type"] == "report"
            and message["data"].get("outcome") == "failed"
            and not message["data"].get("wasxfail")
            for message in self.messages
        )
