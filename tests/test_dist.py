"""The script that checks a release names what it could not run, and shows what fails."""

from __future__ import annotations

import sys
from pathlib import Path

import dist
import pytest
from builders import build_wheel


@pytest.mark.parametrize(("required", "verdict"), [([], "not run"), (["3.99"], "FAILED")])
def test_an_interpreter_that_is_not_available(required: list[str], verdict: str) -> None:
    (result,) = dist.results("unused.whl", ["3.99"], required)
    assert (result.name, result.verdict) == ("CPython 3.99", verdict)
    assert "3.99" in result.details


@pytest.mark.parametrize(("optional", "verdict"), [(True, "not run"), (False, "FAILED")])
def test_a_wheel_that_cannot_be_installed(tmp_path: Path, optional: bool, verdict: str) -> None:
    missing = str(tmp_path / "demo-1.0-py3-none-any.whl")
    result = dist.one("demo", "uv", sys.executable, missing, optional=optional)
    assert result.verdict == verdict
    assert "demo-1.0" in result.details


def test_an_installation_that_does_not_work(tmp_path: Path) -> None:
    """The wheel is installed, and has no command. An installation that failed would not be a failure, as it is optional."""
    wheel = build_wheel(tmp_path, "demo", files={"demo/__init__.py": ""})
    result = dist.one("demo", "uv", sys.executable, str(wheel), optional=True)
    assert result.verdict == "FAILED"
