"""The worker processes that import a wheel, before any test tool is on ``sys.path``."""

from __future__ import annotations

from pathlib import Path

from pytest_wheelcheck.backends.base import Environment, Session
from pytest_wheelcheck.targets.preparing import payload
from pytest_wheelcheck.targets.running.channel import WorkerProcess
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.worker import messages


class ImportWorkers:
    """Starts and ends the worker processes of one part of the import check.

    :param directory: the target's own. The workers run in an empty directory in it.
    :param log: name of the file in *directory* that receives the output.
    """

    def __init__(
        self, target: Target, environment: Environment, directory: Path, session: Session, *, log: str
    ) -> None:
        self._target = target
        self._environment = environment
        self._session = session
        self._log = directory / log
        self._empty = directory / "empty"
        self._empty.mkdir(exist_ok=True)
        self._argv: list[str | Path] = [environment.python, "-I", "-B", payload.write_worker(directory, target.runtime)]
        self._started: list[WorkerProcess] = []

    def start(self, task: messages.Imports | messages.Modules) -> WorkerProcess:
        """Start a worker with its task."""
        worker = WorkerProcess(self._session, self._argv, environment=self._environment, cwd=self._empty, log=self._log)
        self._started.append(worker)
        worker.start(task)
        return worker

    def end(self, notes: list[str]) -> None:
        """End the workers and what the imports left running.

        :param notes: receives a note on processes that were left running.
        """
        for worker in self._started:
            worker.end()
        if left := "; ".join(filter(None, (worker.left_running() for worker in self._started))):
            notes.append(f"{self._target.node_id}: importing it left processes running, which were ended: {left}")
        self._started.clear()
