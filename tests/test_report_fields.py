"""What a worker omits from the reports of a test, and what the controller makes of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_wheelcheck.worker import report_fields

SETUP: dict[str, Any] = {
    "$report_type": "TestReport",
    "keywords": {"test_it": 1},
    "user_properties": [],
    "outcome": "passed",
    "longrepr": None,
    "sections": [],
    "when": "setup",
    "duration": 0.1,
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"outcome": "failed", "longrepr": "text"},
        {"sections": [["Captured stdout call", "text"]]},
        {"keywords": {"test_it": 1, "other": 1}},
        {"user_properties": [["name", "value"]]},
        {"$report_type": "SubtestReport", "_subtest.context": {"msg": "m"}},
        {"outcome": "skipped", "longrepr": ["file", 1, "reason"], "wasxfail": ""},
    ],
)
def test_a_report_arrives_as_it_was_sent(changes: dict[str, Any]) -> None:
    phases = [SETUP, {**SETUP, **changes, "when": "call"}, {**SETUP, "when": "teardown"}]
    sent: dict[str, Any] = {}
    received: dict[str, Any] = {}
    for phase in phases:
        data = {**phase, "nodeid": "test_it.py::test_it", "location": ["test_it.py", 1, "test_it"]}
        report_fields.omit(data, sent)
        assert report_fields.restore(data, received) == phase


def test_a_phase_that_passed_silently_is_short() -> None:
    sent: dict[str, Any] = {}
    report_fields.omit({**SETUP}, sent)
    data = {**SETUP, "when": "call"}
    report_fields.omit(data, sent)
    assert data == {"when": "call", "duration": 0.1}


def test_reports_do_not_share_what_they_hold() -> None:
    """pytest's hooks add sections to a report."""
    first, second = (report_fields.restore({"when": "call"}, {}) for _ in range(2))
    first["sections"].append(("title", "text"))
    assert second["sections"] == []
