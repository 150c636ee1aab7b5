"""Fixtures of the fault suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import build_wheel
from ground import Ground


@pytest.fixture
def ground(pytester: pytest.Pytester, witness: Path) -> Ground:
    """A project of its own with the witness."""
    return Ground(pytester.path, pytester.path / "temporary", witness)


@pytest.fixture
def demo(pytester: pytest.Pytester) -> Ground:
    """A project of its own with a wheel of pure Python, and one test."""
    wheel = build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": ""})
    found = Ground(pytester.path, pytester.path / "temporary", wheel)
    found.write(test_one="import demo\ndef test_one(): pass\n")
    return found
