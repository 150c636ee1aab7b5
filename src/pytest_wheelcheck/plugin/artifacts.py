"""The directory of ``--wheel-artifacts``: filled when the last target has ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_wheelcheck.plugin.plan import Plan
from pytest_wheelcheck.plugin.unexpected import UnexpectedErrors
from pytest_wheelcheck.targets.running.artifacts import Artifacts, collect, destination
from pytest_wheelcheck.targets.running.remains import keep_cores
from pytest_wheelcheck.targets.target import Target


class ArtifactsDirectory:
    """Collects the artifacts of all targets, in the process that the user started."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._found: list[tuple[Target, Artifacts]] = []

    def collect(self, errors: UnexpectedErrors) -> dict[str, tuple[str, ...]]:
        """Copy the artifacts; return their paths by the node ids of the targets.

        :param errors: receives the targets whose artifacts cannot be written.
        """
        settings = self._plan.settings
        if settings.artifacts is None:
            return {}
        used: set[Path] = set()
        for number, target in enumerate(self._plan.targets):
            own = self._plan.directory / str(number)
            try:
                made = destination(target, settings.artifacts, used)
                if own.is_dir():
                    # Those of the import check.
                    keep_cores(own, settings.cwd)
                    self._found.append((target, collect(own, made)))
            except OSError as error:
                errors.add(
                    "ERROR", f"{target.node_id}: --wheel-artifacts {settings.artifacts} cannot be written: {error}"
                )
        return {
            target.node_id: tuple(os.path.relpath(found.directory / name, settings.cwd) for name in found.files)
            for target, found in self._found
        }

    def show(self, reporter: pytest.TerminalReporter) -> None:
        """Name the directories, and what was left out."""
        for target, found in self._found:
            if found.files:
                path = os.path.relpath(found.directory, self._plan.settings.cwd)
                reporter.write_line(f"artifacts of {target.node_id}: {path} ({len(found.files)} files)")
            if found.omitted:
                reporter.write_line(f"artifacts of {target.node_id}: {found.omitted}", yellow=True)
        self._found.clear()
