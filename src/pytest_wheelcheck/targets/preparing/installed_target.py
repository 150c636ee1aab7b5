"""A target with an environment that the wheel is installed in: what its imports and executables are started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.backends.base import Environment, Session
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.targets.timeouts import START_TIMEOUT, scale


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledTarget:
    """A target whose wheel is installed.

    :param environment: what is installed: the wheel and its dependencies.
    :param directory: the target's own.
    :param notes: receives what the user should know in addition to the results.
    """

    target: Target
    environment: Environment
    settings: Settings
    directory: Path
    session: Session
    notes: list[str]

    @property
    def scale(self) -> float:
        """The factor for timeouts."""
        return scale(self.target, self.settings)

    @property
    def start_timeout(self) -> float:
        """Seconds that a worker may take to start."""
        return START_TIMEOUT * self.scale

    @property
    def empty_directory(self) -> Path:
        """An empty directory, in which programs are started."""
        path = self.directory / "empty"
        path.mkdir(exist_ok=True)
        return path
