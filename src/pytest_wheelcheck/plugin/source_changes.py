"""What a run changed in the source tree, where tests of wheels have nothing to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_wheelcheck.plugin.plan import Plan
from pytest_wheelcheck.system import cache, source_tree
from pytest_wheelcheck.targets.planning.release import shown_path

#: Changed files that the summary names.
_MAX_CHANGES = 10


class SourceChanges:
    """Compares the source tree with its state when the object was made."""

    def __init__(self, config: pytest.Config, plan: Plan) -> None:
        self._config = config
        self._plan = plan
        self._before = self._take_snapshot()
        self._changes: list[str] = []

    def compare(self) -> None:
        """Compare it. Files that options name are left out."""
        after = None if self._before is None else self._take_snapshot()
        if self._before is None or after is None:
            return
        outputs = [getattr(self._config.option, name, None) for name in ("log_file", "xmlpath")]
        exclude = [shown_path(Path(path), self._config.rootpath) for path in outputs if path]
        changed = [name for name in {*self._before, *after} if self._before.get(name) != after.get(name)]
        outputs_of_shell = source_tree.output_files(self._config.rootpath, changed) if changed else ()
        self._changes = source_tree.changes(self._before, after, exclude={*exclude, *outputs_of_shell})

    def show(self, reporter: pytest.TerminalReporter) -> None:
        """Show the changed files."""
        if self._changes:
            more = f" and {len(self._changes) - _MAX_CHANGES} more" if len(self._changes) > _MAX_CHANGES else ""
            names = ", ".join(self._changes[:_MAX_CHANGES])
            reporter.write_line(f"tests modified the source tree: {names}{more}", yellow=True)

    def _take_snapshot(self) -> source_tree.Snapshot | None:
        artifacts = self._plan.settings.artifacts
        excluded = (self._plan.directory, cache.root(), *([artifacts] if artifacts else []))
        return source_tree.snapshot(self._config.rootpath, exclude=excluded)
