"""The markers ``pty`` and ``wheel_target`` in an ordinary run, without ``--wheel``."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_wheelcheck.worker.facts import local_facts
from pytest_wheelcheck.worker.rules import TargetRules


def patterns(config: pytest.Config) -> tuple[str, ...]:
    """Return the patterns of the ini file; none where it has none, since an ordinary run has a ``-k`` for the rest."""
    return tuple(config.getini("wheel_pty_patterns") or ())


def apply(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests that the interpreter at hand cannot run."""
    TargetRules(local_facts(), patterns(config)).pytest_collection_modifyitems(items)


class LocalRules:
    """Where pseudo-terminals are unknown (Windows): a test module whose import fails for want of a Unix module is skipped."""

    def __init__(self, config: pytest.Config) -> None:
        self._rules = TargetRules(local_facts(), patterns(config))
        self._reasons: dict[str, str] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Any:
        """Tell where the test module is, not where the skip was raised."""
        report: pytest.CollectReport = yield
        reason = self._reasons.pop(collector.nodeid, "")
        if reason and report.skipped:
            report.longrepr = (str(collector.path), None, f"Skipped: {reason}")  # type: ignore[assignment]
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_pycollect_makemodule(self) -> Any:
        """Watch the import of a test module."""
        module = yield
        if module is not None:
            original = module._getobj

            def importing() -> object:
                try:
                    return original()
                except module.CollectError as error:
                    cause = error.__cause__
                    reason = self._rules.skips_import(cause, lambda _: False) if isinstance(cause, ImportError) else ""
                    if reason:
                        self._reasons[module.nodeid] = reason
                        raise pytest.skip.Exception(reason, allow_module_level=True) from error
                    raise

            module._getobj = importing
        return module
