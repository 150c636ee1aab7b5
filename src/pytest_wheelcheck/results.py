"""The result of a step as a frozen value, which crosses process borders as JSON."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pytest_wheelcheck.errors import DISK_FULL, is_disk_full
from pytest_wheelcheck.model import Outcome

#: The node about the threads of pytest-run-parallel, and its property that reports show.
THREADS = "threads"

#: How the text of an error begins whose cause is not the wheel.
UNCHECKED = "could not be checked: "


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One entry of a remote traceback.

    :param lines: source lines up to the one that was running.
    """

    file: str
    line: int
    function: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteError:
    """One exception of a chain that was raised in a target. The root cause is the first of its chain.

    :param missing: the module that an :class:`ImportError` could not find; ``None`` for other exceptions.
    :param relation: how the next exception refers to it: ``cause`` or ``context``; empty for the last.
    """

    type: str
    message: str
    missing: str | None
    frames: tuple[Frame, ...]
    relation: str

    @classmethod
    def chain(cls, data: list[Mapping[str, Any]]) -> tuple[RemoteError, ...]:
        """Read the output of the worker's ``describe_exception``."""
        return tuple(
            cls(
                type=entry["type"],
                message=entry["message"],
                missing=entry["missing"],
                relation=entry["relation"],
                frames=tuple(Frame(**{**frame, "lines": tuple(frame["lines"])}) for frame in entry["frames"]),
            )
            for entry in data
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """The result of one step, that is a node that is no test of the user's: install, import, entry point, executable, check.

    :param name: the last part of the node id, such as ``import[pkg._native]``.
    :param seconds: duration.
    :param text: the reason of the outcome, human-readable; for a pass, notes on it.
    :param trace: the remote exception chain, if there was one.
    :param sections: headings and contents that are shown below a failure.
    :param properties: name and value pairs for reports (``property`` of JUnit).
    :param warnings: problems that do not fail the step, one text each.
    :param traceback: of an unexpected exception of this package, which is shown with ``-vv``; empty without one.
    """

    name: str
    outcome: Outcome
    seconds: float = 0.0
    text: str = ""
    trace: tuple[RemoteError, ...] = ()
    sections: tuple[tuple[str, str], ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    traceback: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for :mod:`json`."""
        return {**asdict(self), "outcome": self.outcome.value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StepResult:
        """Read the output of :meth:`to_json`."""
        trace = tuple(
            RemoteError(
                **{
                    **error,
                    "frames": tuple(Frame(**{**frame, "lines": tuple(frame["lines"])}) for frame in error["frames"]),
                }
            )
            for error in data["trace"]
        )
        return cls(
            name=data["name"],
            outcome=Outcome(data["outcome"]),
            seconds=data["seconds"],
            text=data["text"],
            trace=trace,
            sections=tuple((title, content) for title, content in data["sections"]),
            properties=tuple((name, value) for name, value in data["properties"]),
            warnings=tuple(data["warnings"]),
            traceback=data["traceback"],
        )


#: Characters of an unexpected exception's message in a report.
_MAX_MESSAGE = 300


def describe_unexpected(error: BaseException) -> str:
    """Describe an exception that this package did not expect. Nothing is known about the wheel then.

    :returns: one line, and a request to report it.
    """
    message = " ".join(str(error).split())
    if len(message) > _MAX_MESSAGE:
        message = f"{message[:_MAX_MESSAGE]}…"
    if is_disk_full(error):
        cause, fix = DISK_FULL
        return f"could not be checked: {message}\nCause: {cause}\nFix: {fix}"
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    host = isinstance(error, (OSError, MemoryError))
    return (
        f"could not be checked: unexpected {what}\n"
        f"Cause: {'this host (disk, memory, permissions), or ' if host else ''}a bug in pytest-wheelcheck\n"
        "Fix: please report it with the wheel's name and the traceback, which -vv shows"
    )


def format_traceback(error: BaseException) -> str:
    """Return the traceback of an exception as text."""
    return "".join(traceback.format_exception(error))


def unexpected(name: str, error: BaseException) -> StepResult:
    """Return the error of a step that ended with an exception which this package did not expect.

    :param name: of the node.
    """
    return StepResult(
        name=name, outcome=Outcome.ERROR, text=describe_unexpected(error), traceback=format_traceback(error)
    )
