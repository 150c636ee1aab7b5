"""The import check: everything that a wheel offers is imported, each module in a process of its own.

It runs before the test tools are on ``sys.path``, so an undeclared dependency is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_wheelcheck.backends.base import Environment, Session
from pytest_wheelcheck.errors import WorkerError, WorkerFatalError
from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.preparing import imports
from pytest_wheelcheck.targets.preparing.import_workers import ImportWorkers
from pytest_wheelcheck.targets.preparing.mapped_libraries import ImportContext
from pytest_wheelcheck.targets.preparing.module_check import check_modules
from pytest_wheelcheck.targets.preparing.module_list import ImportPlan, make_plan
from pytest_wheelcheck.targets.running.channel import WorkerProcess
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.targets.timeouts import START_TIMEOUT, scale
from pytest_wheelcheck.worker import messages


def check_imports(
    target: Target,
    environment: Environment,
    settings: Settings,
    directory: Path,
    session: Session,
    notes: list[str],
) -> Iterator[StepResult]:
    """Import everything that the wheel offers.

    :param notes: receives what the user should know besides the results.
    """
    plan = make_plan(target.wheel, settings.import_ignore)
    context = ImportContext(
        environment=environment.root,
        sites=environment.site_directories,
        interpreter=tuple(_library_directories(target)),
    )
    steps = []
    if plan.jobs:
        for step in _import_each(plan, target, environment, settings, directory, session, context, notes):
            steps.append(step)
            yield step
    yield from check_modules(plan, steps, target, environment, settings, directory, session, notes)


def _import_each(
    plan: ImportPlan,
    target: Target,
    environment: Environment,
    settings: Settings,
    directory: Path,
    session: Session,
    context: ImportContext,
    notes: list[str],
) -> Iterator[StepResult]:
    """Import what has a node of its own, each in a process of its own."""
    factor = scale(target, settings)
    timeout = settings.test_timeout * factor or 1e9
    workers = ImportWorkers(target, environment, directory, session, log="import.log")

    def start(several: Sequence[messages.ImportJob], *, fork: bool) -> WorkerProcess:
        return workers.start(
            {
                "type": "imports",
                "jobs": list(several),
                "fork": fork,
                "names": list(target.wheel.top_levels),
                "sites": [str(path) for path in environment.site_directories],
                "free_threaded": target.runtime.installation.free_threaded,
                "machine": "" if target.machine.name == "host" else target.machine.name,
                "timeout": timeout,
                "watchdog": 0.9 * settings.test_timeout,
            }
        )

    outcomes = Outcomes(plan, environment.site_directories)

    def evaluate(job: messages.ImportJob, message: Mapping[str, Any]) -> Iterator[StepResult]:
        step = imports.evaluate_import(job, message, target, context, session, plan.main)
        yield from outcomes.add(job, message, diagnosed(step, message["output"], session))

    try:
        if not session.capabilities.fork:
            # Each import has an interpreter that is started for it.
            for job in plan.jobs:
                if step := outcomes.unreached(job):
                    yield step
                    continue
                worker = start([job], fork=False)
                yield from evaluate(job, _import_alone(worker, job, timeout))
            return
        worker = start(plan.jobs, fork=True)
        remaining = iter(plan.jobs)
        for _ in ("hello", *plan.jobs):
            message = worker.receive(timeout + START_TIMEOUT * factor)
            if message is None:
                raise WorkerError("the import check stopped responding", details=worker.output())
            if message["type"] == "imported":
                yield from evaluate(next(remaining), message)
    except WorkerError as error:
        yield StepResult(name="import", outcome=Outcome.ERROR, text=session.program_output(str(error)))
    finally:
        workers.end(notes)


class Outcomes:
    """The outcomes of a target's imports so far: one cause is one failure.

    :param sites: the directories of installed modules.
    """

    def __init__(self, plan: ImportPlan, sites: Sequence[Path]) -> None:
        self._plan = plan
        self._failed: dict[str, str] = {}
        self._loaded: dict[str, set[str]] = {}
        self._files: dict[str, list[str]] = {}
        for path, name in plan.extension_files.items():
            self._files.setdefault(name, []).extend(os.path.realpath(site / path) for site in sites)

    def add(self, job: messages.ImportJob, message: Mapping[str, Any], step: StepResult) -> Iterator[StepResult]:
        """Yield the step of an import, unless it says nothing new."""
        if self._has_other_name(job):
            return
        for name, file in message.get("extensions", ()):
            self._loaded.setdefault(os.path.realpath(file), set()).add(name)
        if step.outcome is not Outcome.PASSED:
            if unreached := self.unreached(job):
                yield unreached
                return
            if job["kind"] == "import":
                self._failed[job["name"]] = step.name
        yield step

    def _has_other_name(self, job: messages.ImportJob) -> bool:
        """Return whether a package has loaded the file of an extension module under another name (OpenCV does)."""
        files = self._files.get(job["name"], ()) if job["kind"] == "import" else ()
        return any(file in self._loaded and job["name"] not in self._loaded[file] for file in files)

    def unreached(self, job: messages.ImportJob) -> StepResult | None:
        """Return the step of a module below a package that cannot be imported."""
        parts = job["module"].split(".")
        for length in range(1, len(parts) + (job["kind"] == "entry")):
            if cause := self._failed.get(".".join(parts[:length])):
                name = f"{job['kind']}[{job['name']}]"
                return StepResult(
                    name=name, outcome=Outcome.SKIPPED, text=f"not imported, because {cause} did not pass"
                )
        return None


def _import_alone(worker: WorkerProcess, job: messages.ImportJob, timeout: float) -> Mapping[str, Any]:
    """Wait for the one import of a process; return its message as :class:`~pytest_wheelcheck.worker.importer.Importer`."""
    message: Mapping[str, Any] | None = None
    death = ""
    if worker.receive(START_TIMEOUT) is None:
        raise WorkerError("the import check stopped responding", details=worker.output())
    try:
        message = worker.receive(timeout)
    except WorkerFatalError:
        raise
    except WorkerError as error:
        death = error.message
    # After its message it has nothing more to do; a module may import, and crash or hang while the interpreter ends.
    ending = worker.ending(timeout) if message else death or None
    worker.end()
    return {
        **(message or {}),
        "name": job["name"],
        "kind": job["kind"],
        "ending": ending,
        "timed_out": ending is None,
        "output": worker.output(),
        "complete": message is not None,
    }


def diagnosed(step: StepResult, output: str, session: Session) -> StepResult:
    """Turn a failed import or executable that is not the wheel's fault into an error; name a missing library.

    :param output: everything that was written meanwhile, also by the backend itself.
    """
    if step.outcome is not Outcome.FAILED:
        return step
    if explanation := session.explain_failure(output):
        return replace(step, outcome=Outcome.ERROR, text=explanation, trace=())
    missing = session.missing_libraries(output)
    if not missing:
        return step
    library, needing = missing[0]
    lines = [
        # What follows explains the exception as one that the wheel's own code raises.
        step.text.partition("\nCause: ")[0],
        f"Cause: {needing} needs {library}, which is not part of Windows or Python, nor in a directory that is searched",
        "Fix: bundle it (delvewheel repair), or link it statically; WHL503 lists all such libraries",
    ]
    return replace(step, text="\n".join(lines))


def _library_directories(target: Target) -> Iterator[Path]:
    installation = target.runtime.installation
    prefix = target.runtime.python.resolve().parent.parent
    name = "pypy" if installation.implementation == "pypy" else "python"
    version = f"{installation.version[0]}.{installation.version[1]}"
    for lib in ("lib", "lib64"):
        for suffix in ("", "t"):
            yield prefix / lib / f"{name}{version}{suffix}"
