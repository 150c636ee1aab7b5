"""What the workers of a target leave in its directory, and how it comes back from there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pytest_wheelcheck.backends.base import Session
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import core_dumps
from pytest_wheelcheck.targets.coverage import data as coverage_data
from pytest_wheelcheck.targets.preparing.preparation import Preparation

#: The name of the directory for what comes back, in a target's own directory.
LEFT = "left"

#: The name of the directory of core dumps, in the directory of the run: code under test cannot write there in the sandbox.
CORES = "cores"

#: The variable that names the directory for files of tests that come back.
VARIABLE = "WHEELCHECK_ARTIFACTS"


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
        self._started = False
        self._workers: list[Path] = []
        self._with_tests: list[Path] = []
        self._taken = False
        self._problem = ""

    @property
    def _left(self) -> Path:
        return self._directory / LEFT / self._token

    def variables(self) -> dict[str, str]:
        """Make the directories of the next worker; return the variables that name them there."""
        self._started = True
        found = {}
        if self._settings.artifacts is not None:
            (self._left / "artifacts").mkdir(parents=True, exist_ok=True)
            found[VARIABLE] = self._session.paths.to_target(self._left / "artifacts")
        if self._settings.coverage is not None:
            # A worker that collected ahead in vain may have had the same directory.
            parent = self._left / "coverage"
            parent.mkdir(parents=True, exist_ok=True)
            self._workers.append(Path(tempfile.mkdtemp(dir=parent)))
            found["COVERAGE_FILE"] = self._session.paths.to_target(self._workers[-1] / coverage_data.DATA)
        return found

    def note_test(self) -> None:
        """Remember that the current worker ran a test."""
        if self._workers and self._workers[-1] not in self._with_tests:
            self._with_tests.append(self._workers[-1])

    def keep_cores(self) -> None:
        """Take the core dumps of a worker that has ended: the next ones may have the same names."""
        if self._settings.artifacts is not None:
            keep_cores(self._directory, self._settings.cwd, self._token)

    def take(self, prepared: Preparation, starts: int) -> None:
        """Bring everything back, once, after the last worker has ended and before the session ends.

        :param starts: number of the workers that were started.
        """
        if self._taken or not self._started or prepared.environment is None:
            return
        self._taken = True
        if self._settings.artifacts is not None or self._with_tests:
            self._problem = self._session.fetch(self._left)
        if self._settings.artifacts is not None:
            for number in range(1, starts + 1):
                self._session.fetch(self._directory / f"t{self._token}" / f"b{number}")
            self._session.fetch_cores(_cores(self._directory, self._token), self._directory)
        if self._with_tests:
            coverage_data.take(
                self._directory,
                self._with_tests,
                self._token,
                prepared.environment,
                prepared.overlays,
                self._session.paths,
                self._problem,
            )


def keep_cores(directory: Path, cwd: Path, token: str = "0") -> None:
    """Move the core dumps of a target's programs from their working directory to the directory of core dumps.

    :param directory: the target's own; its path is in the memory of its programs.
    """
    for core in core_dumps.find(core_dumps.directories(cwd), f"{directory}/"):
        core_dumps.move(core, _cores(directory, token))


def _cores(directory: Path, token: str) -> Path:
    return directory.parent / CORES / f"{directory.name}-{token}"
