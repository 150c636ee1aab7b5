"""A console script whose function does not exist is named as it is written, with the function that was meant."""

from __future__ import annotations

import pytest
from builders import build_wheel
from nodes import RunDist


def test_the_entry_and_a_similar_name(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(
        pytester.path / "dist",
        "fast",
        files={
            "fast/__init__.py": "",
            "fast/cli.py": "def main(): pass\n",
            "fast/raises.py": "def main(): ''.nothing\n",
        },
        entry_points={"console_scripts": {"fast": "fast.cli:mian", "other": "fast.cli:xyz"}},
    )
    found = run_dist()
    assert found.only("FAILED") == ["entry[fast]", "entry[other]"]
    cause = 'Cause: [project.scripts] fast = "fast.cli:mian" names a function that fast.cli does not have'
    assert f"{cause}\nFix: did you mean main? Correct the entry in pyproject.toml" in found.text
    cause = 'Cause: [project.scripts] other = "fast.cli:xyz" names a function that fast.cli does not have'
    assert f"{cause}\nFix: correct the entry in pyproject.toml" in found.text
