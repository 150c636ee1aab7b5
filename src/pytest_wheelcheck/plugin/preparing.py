"""Prepares a target of the run and collects its tests.

A run of the static checks alone does not load this module, which needs all that runs in targets.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.plugin.nodes import PreparedTarget
from pytest_wheelcheck.plugin.plan import Plan
from pytest_wheelcheck.plugin.xdist import SharedFiles
from pytest_wheelcheck.results import StepResult, unexpected
from pytest_wheelcheck.targets.overrides import settings_of
from pytest_wheelcheck.targets.preparing.preparation import Preparation
from pytest_wheelcheck.targets.preparing.prepare import prepare
from pytest_wheelcheck.targets.running.ahead import CollectionAhead
from pytest_wheelcheck.targets.running.item_results import Collected
from pytest_wheelcheck.targets.running.run import TargetRun
from pytest_wheelcheck.targets.running.usage import explain_usage
from pytest_wheelcheck.targets.running.window import lives_on
from pytest_wheelcheck.targets.target import Target


def prepare_target(
    plan: Plan, shared: SharedFiles, worker_id: str, number: int, target: Target, stopping: Future[tuple[str, ...]]
) -> PreparedTarget:
    """Prepare one target and collect its tests. An unexpected exception becomes an error of this target.

    :param stopping: the checks that forbid an installation, of which this waits for the result.
    """
    failed_checks = stopping.result()
    try:
        prepared = _prepare_and_collect(plan, shared, worker_id, number, target, failed_checks)
        if prepared.run is not None and not _lives_on(plan, number):
            prepared.run.pause()
    except Exception as error:  # noqa: BLE001  a bug that one target meets; the others are tested
        return PreparedTarget(target, Preparation(steps=(unexpected("install", error),)), None, Collected())
    return prepared


def _lives_on(plan: Plan, number: int) -> bool:
    backend = plan.targets[number].runtime.backend
    lanes = 1 if plan.processes > 1 else max(1, backend.place_jobs or plan.settings.parallel_tests)
    return lives_on(plan.targets, number, plan.most_workers, lanes)


def _prepare_and_collect(
    plan: Plan, shared: SharedFiles, worker_id: str, number: int, target: Target, failed_checks: Sequence[str]
) -> PreparedTarget:
    if failed_checks:
        text = f"not installed: {', '.join(failed_checks)} failed"
        step = StepResult(name="install", outcome=Outcome.FAILED, text=text)
        return PreparedTarget(target, Preparation(steps=(step,)), None, Collected())
    settings, directory = settings_of(target, plan.settings), plan.directory / str(number)
    session = target.runtime.backend.open_session(target.runtime, target.machine, settings, directory)

    ahead = CollectionAhead(target, settings, directory, session, token=worker_id)

    def run() -> str:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        return prepare(target, settings, directory, session, ahead).to_json()

    preparation = Preparation.from_json(shared.get(str(number), run))
    if preparation.environment is None:
        return PreparedTarget(target, preparation, None, Collected())
    if (found := ahead.take(preparation)) is not None:
        target_run, collected = found
        return PreparedTarget(target, preparation, target_run, explain_usage(collected, target, settings))
    target_run = TargetRun(target, preparation, settings, directory, session, token=worker_id)
    try:
        collected = target_run.collect()
    except Exception as error:  # noqa: BLE001  as in prepare_target()
        target_run.close()
        steps = (*preparation.steps, unexpected("collect", error))
        return PreparedTarget(target, replace(preparation, steps=steps), None, Collected())
    if note := ahead.note(collected):
        preparation = replace(preparation, notes=(*preparation.notes, note))
    return PreparedTarget(target, preparation, target_run, explain_usage(collected, target, settings))
