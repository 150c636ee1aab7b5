"""Target: where a wheel is installed, imported and tested."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_wheelcheck.model import Machine, Outcome, Wheel

if TYPE_CHECKING:
    from pytest_wheelcheck.backends.base import Runtime


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Wheel, Runtime and Machine."""

    wheel: Wheel
    runtime: Runtime
    machine: Machine = field(default_factory=Machine)

    @property
    def name(self) -> str:
        """``cp311-linux-x86_64``, with ``+machine`` where it is not the host itself."""
        suffix = "" if self.machine.name == "host" else f"+{self.machine.name}"
        return f"{self.runtime.name}{suffix}"

    @property
    def node_id(self) -> str:
        """The prefix of the ids of all nodes of this target."""
        return f"{self.wheel.shown}::{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class NoTarget:
    """A wheel, or one of the interpreters requested for it, that gets no target on this host.

    :param outcome: ``SKIPPED`` if this host cannot run it by nature, ``ERROR`` if it should have been possible.
    :param reason: the exact reason, such as ``needs macOS`` or ``needs CPython 3.12, found 3.11 and 3.13``.
    :param name: takes the position of a target's name in the node id.
    :param requested: the interpreter that the user requested by name or path, such as ``cp314t``; empty if it is another
        part of the wheel.
    :param promised: whether the tag of a wheel names it as the oldest version of the stable ABI, and other versions are tested.
    :param traceback: of an unexpected exception of this package; empty without one.
    """

    wheel: Wheel
    outcome: Outcome
    reason: str
    name: str = "no-target"
    requested: str = ""
    promised: bool = False
    traceback: str = ""
