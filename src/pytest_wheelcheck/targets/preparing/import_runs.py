"""Runs imports in worker processes: a package is imported once, and its modules after it, or each job alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_wheelcheck.errors import WorkerError, WorkerFatalError
from pytest_wheelcheck.system import progress
from pytest_wheelcheck.targets.preparing.import_workers import ImportWorkers
from pytest_wheelcheck.targets.preparing.installed_target import InstalledTarget
from pytest_wheelcheck.targets.running.channel import WorkerProcess
from pytest_wheelcheck.worker import messages

#: Kind and name of a job.
Key = tuple[str, str]

#: The results of jobs: ``imported`` messages, see :class:`pytest_wheelcheck.worker.messages.Imported`. Where there is no
#: ``fork``, they also have ``ending``: how the process ended, empty if it ended normally.
Results = dict[Key, Mapping[str, Any]]

#: Seconds, before scaling, that a module may take after its package, before it is repeated alone with the whole timeout.
_LIMIT = 60.0

#: Modules of a package that may end the process, before all others are imported alone.
_MAX_DEATHS = 5


def key(job: messages.ImportJob | Mapping[str, Any]) -> Key:
    """Return what identifies a job and its result."""
    return job["kind"], job["name"]


class ImportRuns:
    """Runs the imports of one target.

    :raises WorkerError: from each method: a worker stopped responding.
    """

    def __init__(self, installed: InstalledTarget) -> None:
        self._installed = installed
        self._workers = ImportWorkers(installed, log="import.log")
        self._timeout = installed.settings.test_timeout * installed.scale or 1e9
        self._waiting: dict[Key, None] = {}

    def together(self, jobs: Sequence[messages.ImportJob]) -> Results:
        """Import packages once, and their modules after them.

        A job has no result, or none that is complete, if its package cannot be imported, or if its process was lost.
        """
        groups = _groups(jobs)
        with progress.taking_long(self._describe):
            if self._installed.session.capabilities.fork:
                return self._forked([job for group in groups for job in group])
            results: Results = {}
            for group in groups:
                results.update(self._in_one_process(group) if len(group) > 1 else self._in_its_own(group[0]))
            return results

    def alone(self, jobs: Iterable[messages.ImportJob]) -> Results:
        """Import each in a process that has imported nothing but what the job names."""
        with progress.taking_long(self._describe):
            if self._installed.session.capabilities.fork:
                found = list(jobs)
                return self._forked(found) if found else {}
            results: Results = {}
            for job in jobs:
                results.update(self._in_its_own(job))
            return results

    def _describe(self, seconds: float) -> str:
        """Return the message about imports that take long: which modules have no result yet."""
        names = ", ".join(name for _, name in list(self._waiting)[:3])
        limit = f"; the timeout is {self._timeout:g} s" if self._timeout < 1e9 else ""
        return f"{self._installed.target.node_id}: importing {names}, after {seconds:.0f} s{limit}"

    def end(self) -> None:
        """End the workers."""
        self._workers.end()

    def _start(self, jobs: Sequence[messages.ImportJob], *, fork: bool) -> WorkerProcess:
        target, settings = self._installed.target, self._installed.settings
        self._waiting = dict.fromkeys(map(key, jobs))
        return self._workers.start(
            {
                "type": "imports",
                "jobs": list(jobs),
                "fork": fork,
                "names": list(target.wheel.top_levels),
                "sites": [str(path) for path in self._installed.environment.site_directories],
                "free_threaded": target.runtime.installation.free_threaded,
                "machine": "" if target.machine.name == "host" else target.machine.name,
                "timeout": self._timeout,
                "limit": self._limit,
                "watchdog": 0.9 * settings.test_timeout,
            }
        )

    @property
    def _limit(self) -> float:
        return min(self._timeout, _LIMIT * self._installed.scale)

    # --- with fork ---------------------------------------------------------------------------------------------------

    def _forked(self, jobs: Sequence[messages.ImportJob]) -> Results:
        worker = self._start(jobs, fork=True)
        results: Results = {}
        self._await_start(worker)
        while len(results) < len(jobs):
            message = worker.receive(self._timeout + self._installed.start_timeout)
            if message is None:
                raise WorkerError("the import check stopped responding", details=worker.output())
            if message["type"] == "imported":
                results[key(message)] = message
                self._waiting.pop(key(message), None)
        return results

    # --- without fork ------------------------------------------------------------------------------------------------

    def _in_one_process(self, group: Sequence[messages.ImportJob]) -> Results:
        """Import a package, and go on through its modules; without a module that ended the process, another one does so."""
        remaining = list(group)
        for _ in range(_MAX_DEATHS):
            worker = self._start(remaining, fork=False)
            self._await_start(worker)
            results: Results = {}
            for job in remaining:
                message, death = self._receive(worker, self._limit if job["after"] else self._timeout)
                if not results and (message is None or message["error"]):
                    return self._ended(worker, job, message, death)
                if message is None:
                    break
                results[key(job)] = {**message, "output": worker.output(), "ending": ""}
                self._waiting.pop(key(job), None)
                worker.mark_end()
            if len(results) == len(remaining):
                if worker.ending(self._timeout) == "":
                    worker.end()
                    return results
                # Any of them may be the cause.
                break
            worker.end()
            remaining.pop(len(results))
        return self._in_its_own(group[0])

    def _in_its_own(self, job: messages.ImportJob) -> Results:
        worker = self._start([job], fork=False)
        self._await_start(worker)
        return self._ended(worker, job, *self._receive(worker, self._timeout))

    def _await_start(self, worker: WorkerProcess) -> None:
        timeout = self._installed.start_timeout
        if worker.receive(timeout) is None:
            raise WorkerError(
                f"the interpreter did not start within {timeout:g} s",
                cause="a .pth file or a sitecustomize module of the wheel or of a dependency hangs",
                details=worker.output(),
            )

    def _receive(self, worker: WorkerProcess, timeout: float) -> tuple[Mapping[str, Any] | None, str]:
        """Return the next message, or how the process ended, or neither if the timeout has passed."""
        try:
            return worker.receive(timeout), ""
        except WorkerFatalError:
            raise
        except WorkerError as error:
            return None, error.message

    def _ended(
        self, worker: WorkerProcess, job: messages.ImportJob, message: Mapping[str, Any] | None, death: str
    ) -> Results:
        """Return the result of the only job of a process.

        :param message: about it.
        :param death: how the process ended without a message.
        """
        # After its message it has nothing more to do; a module may import, and crash or hang while the interpreter ends.
        ending = worker.ending(self._timeout) if message else death or None
        worker.end()
        result = {
            **(message or {}),
            "name": job["name"],
            "kind": job["kind"],
            "after": job["after"],
            "ending": ending,
            "timed_out": ending is None,
            "output": worker.output(),
            "complete": message is not None,
        }
        return {key(job): result}


def _groups(jobs: Sequence[messages.ImportJob]) -> list[list[messages.ImportJob]]:
    """Divide jobs: those whose package has a job of its own come after it."""
    packages = {job["module"]: [job] for job in jobs if job["kind"] == "import"}
    groups = []
    for job in jobs:
        parts = job["module"].split(".")
        above = (".".join(parts[:length]) for length in range(1, len(parts) + (job["kind"] == "entry")))
        package = next((name for name in above if name in packages), "")
        if package:
            packages[package].append({**job, "after": package})
        else:
            groups.append(packages[job["module"]] if job["kind"] == "import" else [job])
    return groups
