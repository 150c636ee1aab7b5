"""A missing provider is a skip for users and a failure in our own CI."""

from __future__ import annotations

import re
from pathlib import Path

import provisioned
import pytest

ROOT = Path(__file__).parent.parent


def test_what_is_missing_is_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(provisioned.VARIABLE, "uv")
    with pytest.raises(pytest.skip.Exception, match="debian is not available here: no apt"):
        raise provisioned.missing("debian", "no apt")


@pytest.mark.parametrize("value", ["debian", "uv, debian", "all"])
def test_what_is_required_is_a_failure(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(provisioned.VARIABLE, value)
    with pytest.raises(pytest.fail.Exception, match="requires debian, which is not available: no apt"):
        raise provisioned.missing("debian", "no apt")


def test_a_name_that_requires_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(provisioned.VARIABLE, "debain")
    with pytest.raises(pytest.UsageError, match="debain"):
        raise provisioned.missing("uv", "no network")


def test_our_own_runs_require_known_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (ROOT / ".github").is_dir():
        pytest.skip("the source distribution has no workflows")
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    values = re.findall(rf"^ +{provisioned.VARIABLE}: (.+)$", text, re.MULTILINE)
    assert values
    for value in re.findall(r"'([a-z,]+)'", " ".join(values)):
        monkeypatch.setenv(provisioned.VARIABLE, value)
        assert provisioned.required()


def test_no_test_skips_a_provider_on_its_own() -> None:
    """Such a skip would hide a broken provider."""
    for path in (ROOT / "tests").rglob("*.py"):
        if path.name != Path(__file__).name:
            assert not re.search(r'pytest\.skip\((f"not available|str\(error\)|reason\))', path.read_text("utf-8")), (
                path
            )
