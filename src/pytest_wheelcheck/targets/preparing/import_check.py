"""The import check: everything that a wheel offers is imported, each module in a process of its own.

It runs before any test tool is in reach, so an undeclared dependency is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_wheelcheck.backends.base import Environment, Session
from pytest_wheelcheck.errors import WorkerError, WorkerFatalError
from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.preparing import imports, payload
from pytest_wheelcheck.targets.preparing.mapped_libraries import ImportContext
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
    jobs = imports.jobs(target.wheel, settings.import_ignore)
    if not jobs:
        return
    context = ImportContext(
        environment=environment.root,
        sites=environment.site_directories,
        interpreter=tuple(_library_directories(target)),
    )
    factor = scale(target, settings)
    timeout = settings.test_timeout * factor or 1e9
    empty = directory / "empty"
    empty.mkdir(exist_ok=True)
    argv: list[str | Path] = [environment.python, "-I", "-B", str(payload.write_worker(directory, target.runtime))]

    def start(several: list[messages.ImportJob], *, fork: bool) -> WorkerProcess:
        worker = WorkerProcess(session, argv, environment=environment, cwd=empty, log=directory / "import.log")
        worker.start(
            {
                "type": "imports",
                "jobs": several,
                "fork": fork,
                "names": list(target.wheel.top_levels),
                "sites": [str(path) for path in environment.site_directories],
                "free_threaded": target.runtime.installation.free_threaded,
                "machine": "" if target.machine.name == "host" else target.machine.name,
                "timeout": timeout,
                "watchdog": 0.9 * settings.test_timeout,
            }
        )
        return worker

    workers = []
    try:
        if not session.capabilities.fork:
            # Each import has an interpreter that is started for it.
            for job in jobs:
                worker = start([job], fork=False)
                workers.append(worker)
                step = imports.evaluate_import(_import_alone(worker, job, timeout), target, context, session)
                yield _diagnosed(step, worker.output(), session)
            return
        worker = start(jobs, fork=True)
        workers.append(worker)
        for _ in ("hello", *jobs):
            message = worker.receive(timeout + START_TIMEOUT * factor)
            if message is None:
                raise WorkerError("the import check stopped responding", details=worker.output())
            if message["type"] == "imported":
                step = imports.evaluate_import(message, target, context, session)
                yield _diagnosed(step, message["output"], session)
    except WorkerError as error:
        yield StepResult(name="import", outcome=Outcome.ERROR, text=session.program_output(str(error)))
    finally:
        for worker in workers:
            worker.end()
        if left := "; ".join(filter(None, (worker.left_running() for worker in workers))):
            notes.append(f"{target.node_id}: importing it left processes running, which were ended: {left}")


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


def _diagnosed(step: StepResult, output: str, session: Session) -> StepResult:
    """Turn a failed import that is not the wheel's fault into an error; name a missing library.

    :param output: everything that was written during the import.
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
        step.text,
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
