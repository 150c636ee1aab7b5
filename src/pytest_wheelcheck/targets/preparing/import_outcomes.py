"""The outcomes of the imports of a target together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.targets.preparing.module_list import ImportPlan
from pytest_wheelcheck.worker import messages


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
