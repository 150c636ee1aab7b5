"""What a node of ours found: a frozen value that crosses process borders as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pytest_wheelcheck.model import Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One entry of a remote traceback.

    :param lines: source lines, ending with the one that was running.
    """

    file: str
    line: int
    function: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteError:
    """One exception of a chain that was raised in a target, the root cause first in its chain.

    :param missing: the module that an :class:`ImportError` could not find.
    :param relation: ``cause`` or ``context``, how it relates to the next one; empty for the last.
    """

    type: str
    message: str
    missing: str | None
    frames: tuple[Frame, ...]
    relation: str

    @classmethod
    def chain(cls, data: list[Mapping[str, Any]]) -> tuple[RemoteError, ...]:
        """Read what ``describe_exception`` of the worker wrote."""
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
    """The outcome of one node that is not a test of the user's: install, import, entry point, executable, check.

    :param name: the last part of the node id, such as ``import[pkg._native]``.
    :param seconds: how long it took.
    :param text: what is wrong, for people; for a pass, what is worth knowing.
    :param trace: the remote exception chain, if there was one.
    :param sections: headings and contents shown below a failure.
    :param properties: name and value pairs for reports (junit's ``property``).
    :param warnings: what is not wrong enough to fail, one text each.
    """

    name: str
    outcome: Outcome
    seconds: float = 0.0
    text: str = ""
    trace: tuple[RemoteError, ...] = ()
    sections: tuple[tuple[str, str], ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for :mod:`json`."""
        return {**asdict(self), "outcome": self.outcome.value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StepResult:
        """Read what :meth:`to_json` made."""
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
        )
