"""Sharing between the processes of a run under pytest-xdist: the plan, and the results of work done once."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_wheelcheck.plugin.plan import Plan

#: Keys of ``workerinput`` and ``workeroutput``, the dictionaries that xdist passes between controller and worker.
_PLAN = "wheelcheck_plan"
SUMMARIES, LEFTOVERS, USAGE_ERROR = "wheelcheck_summaries", "wheelcheck_leftovers", "wheelcheck_usage_error"
UNEXPECTED, TIMINGS, PYTESTS = "wheelcheck_unexpected", "wheelcheck_timings", "wheelcheck_pytests"


def received_plan(config: pytest.Config) -> tuple[Plan, str] | None:
    """Return the plan that the controller passed and the id of this worker; ``None`` if this is no worker."""
    workerinput = getattr(config, "workerinput", None)
    if workerinput is None:
        return None
    # A file of this plugin in the run's own directory, written by the controller of this run.
    plan: Plan = pickle.loads(Path(workerinput[_PLAN]).read_bytes())  # noqa: S301
    return replace(plan, processes=workerinput["workercount"]), workerinput["workerid"]


def send_plan(plan: Plan, node: Any) -> None:
    """Pass the plan to a worker.

    :param node: xdist's ``WorkerController``.
    """
    file = plan.directory / "plan"
    if not file.exists():
        file.write_bytes(pickle.dumps(plan))
    node.workerinput[_PLAN] = str(file)


def send_output(config: pytest.Config, **output: object) -> None:
    """Pass values to the controller; nothing happens if this is no worker."""
    workeroutput = getattr(config, "workeroutput", None)
    if workeroutput is not None:
        workeroutput.update(output)


def make_scheduler(config: pytest.Config, log: Any) -> object:
    """Return the scheduler of ``--dist loadfile``; ``None`` for other distributions, which xdist's own schedulers fit.

    xdist takes what is before the first ``::`` of a node id for the file. With wheels that is the wheel, so all of its tests
    would go to one worker.

    :param log: xdist's producer of log messages.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    scheduler = LoadScopeScheduling(config, log)
    # A method for subclasses; xdist has no type information, so none can be declared here.
    scheduler._split_scope = _file_of_target  # noqa: SLF001
    return scheduler


def _file_of_target(node_id: str) -> str:
    # WHEEL::TARGET::FILE::TEST, WHEEL::TARGET::STEP or WHEEL::CHECK.
    parts = node_id.split("::")
    return "::".join(parts[: min(len(parts) - 1, 3)])


class SharedFiles:
    """Texts that the workers of a run share: the first worker that needs one makes it.

    :param directory: the run's temporary directory.
    :param enabled: whether this process is a worker; in any other process, each text is made and returned.
    """

    def __init__(self, directory: Path, *, enabled: bool) -> None:
        self._directory = directory
        self._enabled = enabled

    def get(self, name: str, make: Callable[[], str]) -> str:
        """Return the text *name*, made by *make* if no worker has made it yet."""
        if not self._enabled:
            return make()
        from filelock import FileLock

        file = self.path(name)
        with FileLock(f"{file}.lock"):
            if not file.exists():
                part = file.with_suffix(".tmp")
                part.write_text(make(), encoding="utf-8")
                part.rename(file)
        return file.read_text(encoding="utf-8")

    def path(self, name: str) -> Path:
        """Return the path of the file for the text *name*."""
        return self._directory / f"{name}.json"
