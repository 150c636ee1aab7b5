"""The markers ``pty`` and ``wheel_target`` in an ordinary run, without ``--wheel``."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_wheelcheck.worker.facts import local_facts
from pytest_wheelcheck.worker.rules import TargetRules


def rules(config: pytest.Config) -> TargetRules:
    """Return the rules for the running interpreter.

    Name patterns apply only if the ini file sets them: an ordinary run has ``-k`` for the rest.
    """
    return TargetRules(local_facts(), tuple(config.getini("wheel_pty_patterns") or ()))


def skip_items(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests that the running interpreter cannot run."""
    rules(config).pytest_collection_modifyitems(items)


class LocalRun:
    """On a system without pseudo-terminals (Windows), skips test modules that import a missing Unix module."""

    def __init__(self, config: pytest.Config) -> None:
        self._rules = rules(config)
        self._reasons: dict[str, str] = {}

    def relocate_skip(self, collector: pytest.Collector, report: pytest.CollectReport) -> None:
        """Make the report name the path of the skipped test module, not that of this file."""
        reason = self._reasons.pop(collector.nodeid, "")
        if reason and report.skipped:
            report.longrepr = (str(collector.path), None, f"Skipped: {reason}")  # type: ignore[assignment]

    def watch_import(self, module: Any) -> None:
        """Turn a failed import of a test module into a skip where the rules say so.

        :param module: the :class:`pytest.Module`, or ``None``.
        """
        if module is None:
            return
        original = module._getobj

        def getobj() -> object:
            try:
                return original()
            except module.CollectError as error:
                cause = error.__cause__
                reason = self._rules.skips_import(cause, lambda _: False) if isinstance(cause, ImportError) else ""
                if reason:
                    self._reasons[module.nodeid] = reason
                    raise pytest.skip.Exception(reason, allow_module_level=True) from error
                raise

        module._getobj = getobj
