"""The oldest version of an abi3 tag: a run that does not test it says so."""

from __future__ import annotations

import pytest
from test_targets import a_wheel, catalog, some

from pytest_wheelcheck.interpreters.base import OLDEST
from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.plugin.plan import strict
from pytest_wheelcheck.targets.planning.boards import plan_everywhere

TAG = "cp310-abi3-manylinux2014_x86_64"
MISSING = ["cp310-linux-x86_64: the oldest version of the tag was not tested: no CPython 3.10 for linux-x86_64 here"]


@pytest.mark.parametrize(
    ("tag", "requires", "spec", "has", "expected"),
    [
        (TAG, None, "auto", ["3.11", "3.15"], MISSING),
        (TAG, None, "all", ["3.11", "3.12"], MISSING),
        (TAG, ">=3.9", "auto", ["3.9", "3.11"], MISSING),
        (TAG, None, "auto", ["3.10", "3.15"], []),
        (TAG, ">=3.11", "auto", ["3.11", "3.15"], []),
        (TAG, ">=3.10.7", "auto", ["3.11", "3.15"], MISSING),
        (TAG, None, "3.11", ["3.11", "3.15"], []),
        ("cp311-abi3-manylinux2014_x86_64", None, "auto", ["3.11", "3.15"], []),
        ("py3-none-manylinux2014_x86_64", None, "auto", ["3.11"], []),
        ("cp311-cp311-manylinux2014_x86_64", None, "auto", ["3.11"], []),
        ("cp36-abi3-manylinux2014_x86_64", None, "auto", [f"3.{OLDEST[1]}", "3.12"], []),
    ],
)
def test_an_oldest_version_that_was_not_tested_is_named(
    tag: str, requires: str | None, spec: str, has: list[str], expected: list[str]
) -> None:
    targets, without = plan_everywhere([a_wheel(tag, requires_python=requires)], [spec], catalog(some(*has)), [])
    assert targets
    assert [f"{each.name}: {each.reason}" for each in without] == expected


def test_a_wheel_without_targets_on_a_platform_has_its_own_reason() -> None:
    _, without = plan_everywhere([a_wheel("cp310-abi3-manylinux2014_x86_64")], ["auto"], catalog(some("3.9")), [])
    assert len(without) == 1
    assert "the oldest version" not in without[0].reason


def test_a_strict_run_fails_if_the_oldest_version_was_not_tested() -> None:
    targets, (reason,) = plan_everywhere([a_wheel(TAG)], ["auto"], catalog(some("3.11", "3.15")), [])
    assert reason.outcome is Outcome.SKIPPED
    failed = strict(reason, targets)
    assert failed.outcome is Outcome.FAILED
    assert "--wheel-strict: the tag promises it; name versions with --wheel-python to leave it out" in failed.reason
