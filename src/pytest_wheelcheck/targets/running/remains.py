"""What the workers of a target leave in its directory, and how it comes back from there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pytest_wheelcheck.backends.base import Session
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.coverage import data as coverage_data
from pytest_wheelcheck.targets.preparing.preparation import Preparation

#: The name of the directory for what comes back, in a target's own directory.
LEFT = "left"


class Remains:
    """What the workers of one :class:`.run.TargetRun` leave.

    :param directory: the target's own.
    :param token: see :class:`.run.TargetRun`.
    """

    def __init__(self, directory: Path, session: Session, settings: Settings, token: str) -> None:
        self._directory = directory
        self._session = session
        self._settings = settings
        self._token = token
        self._workers: list[Path] = []
        self._with_tests: list[Path] = []
        self._taken = False

    @property
    def _left(self) -> Path:
        return self._directory / LEFT / self._token

    def variables(self) -> dict[str, str]:
        """Make the directories of the next worker; return the variables that name them there."""
        if self._settings.coverage is None:
            return {}
        # A worker that collected ahead in vain may have had the same directory.
        parent = self._left / "coverage"
        parent.mkdir(parents=True, exist_ok=True)
        self._workers.append(Path(tempfile.mkdtemp(dir=parent)))
        return {"COVERAGE_FILE": self._session.paths.to_target(self._workers[-1] / coverage_data.DATA)}

    def note_test(self) -> None:
        """Remember that the current worker ran a test."""
        if self._workers and self._workers[-1] not in self._with_tests:
            self._with_tests.append(self._workers[-1])

    def take(self, prepared: Preparation) -> None:
        """Bring everything back, once, after the last worker has ended and before the session ends."""
        if self._taken or not self._with_tests or prepared.environment is None:
            return
        self._taken = True
        problem = self._session.fetch(self._left)
        coverage_data.take(
            self._directory,
            self._with_tests,
            self._token,
            prepared.environment,
            prepared.overlays,
            self._session.paths,
            problem,
        )
