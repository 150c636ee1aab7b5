"""The import check: everything that a wheel offers is imported.

It runs before the test tools are on ``sys.path``, so an undeclared dependency is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from pytest_wheelcheck.checks import select_checks
from pytest_wheelcheck.errors import WorkerError
from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.results import UNCHECKED, StepResult
from pytest_wheelcheck.targets.preparing import circular_imports, compile_check, imports
from pytest_wheelcheck.targets.preparing.import_outcomes import Outcomes
from pytest_wheelcheck.targets.preparing.import_runs import ImportRuns, Key, Results, key
from pytest_wheelcheck.targets.preparing.installed_target import InstalledTarget
from pytest_wheelcheck.targets.preparing.mapped_libraries import ImportContext
from pytest_wheelcheck.targets.preparing.module_check import check_modules
from pytest_wheelcheck.targets.preparing.module_list import ImportPlan, make_plan
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.worker.messages import ImportJob

#: A reference to a static check, in messages of the import check.
_REFERENCE = re.compile(r" \(see (WHL\d+)\)")


def check_imports(installed: InstalledTarget) -> Iterator[StepResult]:
    """Import everything that the wheel offers."""
    settings = installed.settings
    selected = {check.code for check in select_checks(select=settings.select, ignore=settings.ignore)}

    def without_dangling(text: str) -> str:
        return _REFERENCE.sub(lambda match: match[0] if match[1] in selected else "", text)

    for step in _steps(installed):
        yield replace(step, text=without_dangling(step.text), warnings=tuple(map(without_dangling, step.warnings)))


def _steps(installed: InstalledTarget) -> Iterator[StepResult]:
    plan = make_plan(installed.target.wheel, installed.settings.import_ignore)
    steps = []
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="wheelcheck-compile") as pool:
        compiled = compile_check.begin(pool, installed, plan.sources)
        if plan.jobs:
            for step in _ImportCheck(installed, plan).run():
                steps.append(step)
                yield step
        yield from check_modules(installed, plan, steps, compiled)


class _ImportCheck:
    """Imports what has a node of its own."""

    def __init__(self, installed: InstalledTarget, plan: ImportPlan) -> None:
        self._installed = installed
        self._plan = plan
        self._context = ImportContext(
            environment=installed.environment.root,
            sites=installed.environment.site_directories,
            project=installed.settings.root,
            interpreter=tuple(_library_directories(installed.target)),
            extras=installed.settings.extras,
            test_timeout=installed.settings.test_timeout,
            timeout_scale=installed.settings.timeout_scale,
        )
        self._runs = ImportRuns(installed)
        self._found: dict[Key, tuple[Mapping[str, Any], StepResult]] = {}

    def run(self) -> Iterator[StepResult]:
        """Yield the result of each import."""
        problem = "the process that imported it was lost"
        try:
            self._import_all()
        except WorkerError as error:
            session = self._installed.session
            explanation = session.explain_failure(str(error))
            problem = explanation.removeprefix(UNCHECKED) or session.program_output(str(error))
            yield StepResult(name="import", outcome=Outcome.ERROR, text=explanation or problem)
        finally:
            self._runs.end()
        outcomes = Outcomes(self._plan, self._installed.environment.site_directories)
        for job in self._plan.jobs:
            if key(job) in self._found and self._is_certain(job):
                yield from outcomes.add(job, *self._found[key(job)])
            else:
                name = f"{job['kind']}[{job['name']}]"
                lost = StepResult(name=name, outcome=Outcome.ERROR, text=f"{UNCHECKED}{problem}")
                yield outcomes.unreached(job) or lost

    def _import_all(self) -> None:
        jobs = self._plan.jobs
        self._evaluate(jobs, self._runs.together(jobs))
        # What is not sound after its package may be so alone.
        doubtful = [job for job in jobs if not self._is_certain(job)]
        self._evaluate(doubtful, self._runs.alone(doubtful))
        self._try_other_orders()

    def _evaluate(self, jobs: Sequence[ImportJob], results: Results) -> None:
        for job in jobs:
            if message := results.get(key(job)):
                self._found[key(job)] = message, self._step(job, message)

    def _step(self, job: ImportJob, message: Mapping[str, Any]) -> StepResult:
        target, session = self._installed.target, self._installed.session
        step = imports.evaluate_import(job, message, target, self._context, session, self._plan.main)
        return diagnosed(step, message["output"], self._installed)

    def _is_certain(self, job: ImportJob) -> bool:
        """Return whether the result of a job decides, or it has none because its package cannot be imported."""
        if found := self._found.get(key(job)):
            message, step = found
            if step.outcome is Outcome.PASSED or not message["after"]:
                return True
        parts = job["module"].split(".")
        packages = (("import", ".".join(parts[:length])) for length in range(1, len(parts) + (job["kind"] == "entry")))
        above = (self._found[package][0] for package in packages if package in self._found)
        return any(not message["complete"] or message["error"] for message in above if not message["after"])

    def _try_other_orders(self) -> None:
        """Import what fails in a circle after the other module of it. The names that users import must work first."""
        circles = []
        for job in self._plan.jobs:
            _, step = self._found.get(key(job), ({}, None))
            if step and step.outcome is Outcome.FAILED and job["name"] not in self._plan.main:
                others = circular_imports.other_modules(
                    job, step.trace, self._installed.target.wheel, self._context.sites
                )
                circles.append((job, step, others))
        while tried := [
            (job, step, others.pop(0)) for job, step, others in circles if others and self._found[key(job)][1] is step
        ]:
            results = self._runs.alone([{**job, "after": other} for job, _, other in tried])
            for job, step, other in tried:
                message = results[key(job)]
                passed = self._step(job, message)
                if passed.outcome is Outcome.PASSED:
                    warning = circular_imports.describe(job, other, step.trace[-1])
                    self._found[key(job)] = message, replace(passed, warnings=(*passed.warnings, warning))
                elif passed.outcome is Outcome.SKIPPED:
                    # What the other module needs is missing here, which is no fault. That decides.
                    self._found[key(job)] = {**message, "after": ""}, passed


def diagnosed(step: StepResult, output: str, installed: InstalledTarget) -> StepResult:
    """Turn a failed import or executable that is not the wheel's fault into an error; name a missing library.

    :param output: everything that was written meanwhile, also by the backend itself.
    """
    if step.outcome is not Outcome.FAILED:
        return step
    session = installed.session
    if explanation := session.explain_failure(output):
        return replace(step, outcome=Outcome.ERROR, text=explanation, trace=())
    missing = session.missing_libraries(output)
    if not missing:
        return step
    library, needing = missing[0]
    if owner := _dependency_with(needing, installed):
        text = (
            f"could not be checked: the dependency {owner} cannot be loaded\n"
            f"Cause: its {needing} needs {library}, which is not part of Windows or Python, nor in a directory that is searched\n"
            f"Fix: report it to the project {owner}, which has to bundle it, or require another version of it"
        )
        return replace(step, outcome=Outcome.ERROR, text=text, trace=())
    lines = [
        # What follows explains the exception as one that the wheel's own code raises.
        step.text.partition("\nCause: ")[0],
        f"Cause: {needing} needs {library}, which is not part of Windows or Python, nor in a directory that is searched",
        "Fix: bundle it (delvewheel repair), or link it statically (see WHL503)",
    ]
    return replace(step, text="\n".join(lines))


def _dependency_with(name: str, installed: InstalledTarget) -> str:
    """Return the name and version of the dependency that has a file; empty if the wheel has one of that name, or nobody has."""
    owners = {
        canonicalize_name(distribution.name): f"{distribution.name} {distribution.version}"
        for distribution in distributions(path=list(map(str, installed.environment.site_directories)))
        if any(file.name.lower() == name.lower() for file in distribution.files or ())
    }
    return "" if canonicalize_name(installed.target.wheel.name) in owners else next(iter(owners.values()), "")


def _library_directories(target: Target) -> Iterator[Path]:
    installation = target.runtime.installation
    prefix = target.runtime.python.resolve().parent.parent
    name = "pypy" if installation.implementation == "pypy" else "python"
    version = f"{installation.version[0]}.{installation.version[1]}"
    for lib in ("lib", "lib64"):
        for suffix in ("", "t"):
            yield prefix / lib / f"{name}{version}{suffix}"
