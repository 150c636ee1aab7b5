"""Starts the interpreter of a worker that runs tests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_wheelcheck.backends.base import Session
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.preparing import payload
from pytest_wheelcheck.targets.preparing.preparation import Preparation
from pytest_wheelcheck.targets.running.channel import WorkerProcess
from pytest_wheelcheck.targets.target import Target


def launch(
    target: Target,
    prepared: Preparation,
    settings: Settings,
    directory: Path,
    session: Session,
    token: str,
    variables: Mapping[str, str],
) -> WorkerProcess:
    """Start an interpreter.

    :param directory: the target's own directory.
    :param token: see :class:`.run.TargetRun`.
    :param variables: further environment variables.
    :raises OSError: it cannot be started.
    :raises ProcessError: it cannot be started.
    """
    environment, temporary = prepared.environment, directory / f"t{token}" / "tmp"
    assert environment is not None  # noqa: S101  only targets that can run tests are started
    temporary.mkdir(parents=True, exist_ok=True)
    return WorkerProcess(
        session,
        [environment.python, directory / payload.WORKER],
        environment=environment,
        cwd=settings.cwd,
        log=directory / f"worker{token}.log",
        variables={
            payload.GUARD_VARIABLE: session.paths.to_target(directory / "guard"),
            **variables,
            **_search_path(target, prepared),
            **({"PYTEST_PLUGINS": settings.plugins_env} if settings.plugins_env else {}),
        },
        temporary=temporary,
    )


def _search_path(target: Target, prepared: Preparation) -> dict[str, str]:
    """Return ``PATH`` with the console scripts of the test tools, which tests may start by name."""
    if target.runtime.platform.is_windows or prepared.environment is None:
        # The programs there start the interpreter that installed them.
        return {}
    directories = (prepared.environment.scripts, *(path / "bin" for path in prepared.overlays))
    return {"PATH": os.pathsep.join(filter(None, (*map(str, directories), os.environ.get("PATH", ""))))}
