"""Fixtures of the fault suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from ground import Ground


@pytest.fixture
def ground(pytester: pytest.Pytester, witness: Path) -> Ground:
    """A project of its own with the witness."""
    return Ground(pytester.path, pytester.path / "temporary", witness)
