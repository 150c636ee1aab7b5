"""The worker processes that import a wheel, before any test tool is on ``sys.path``."""

from __future__ import annotations

from pathlib import Path

from pytest_wheelcheck.targets.preparing import payload
from pytest_wheelcheck.targets.preparing.installed_target import InstalledTarget
from pytest_wheelcheck.targets.running.channel import WorkerProcess
from pytest_wheelcheck.worker import messages


class ImportWorkers:
    """Starts and ends the worker processes of one part of the import check, in an empty directory.

    :param log: name of the file in the target's directory that receives the output.
    """

    def __init__(self, installed: InstalledTarget, *, log: str) -> None:
        self._installed = installed
        self._log = installed.directory / log
        worker = payload.write_worker(installed.directory, installed.target.runtime)
        self._argv: list[str | Path] = [installed.environment.python, "-I", "-B", worker]
        self._started: list[WorkerProcess] = []

    def start(self, task: messages.Imports | messages.Modules) -> WorkerProcess:
        """Start a worker with its task."""
        installed = self._installed
        worker = WorkerProcess(
            installed.session,
            self._argv,
            environment=installed.environment,
            cwd=installed.empty_directory,
            log=self._log,
        )
        self._started.append(worker)
        worker.start(task)
        return worker

    def end(self) -> None:
        """End the workers and what the imports left running, and note such processes."""
        for worker in self._started:
            worker.end()
        if left := "; ".join(filter(None, (worker.left_running() for worker in self._started))):
            node = self._installed.target.node_id
            self._installed.notes.append(f"{node}: importing it left processes running, which were ended: {left}")
        self._started.clear()
