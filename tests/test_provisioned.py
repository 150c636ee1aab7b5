"""A missing provider is a skip for users and a failure in our own CI."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import archives
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


def test_a_host_without_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv(provisioned.VARIABLE, "debian")
    with pytest.raises(pytest.fail.Exception, match="requires debian, which is not available: this host has no apt"):
        archives.host_archive()
    monkeypatch.setenv(provisioned.VARIABLE, "")
    with pytest.raises(pytest.skip.Exception, match="debian is not available here"):
        archives.host_archive()


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
    own_skip = re.compile(
        r"""pytest\.skip\((f"not\ available|str\(error\)|reason\))  # its reason was computed
        | \bor\ pytest\.skip\(                                      # instead of what a provider did not give
        | skipif\((?:[^()]|\([^()]*\))*host_repository              # a condition
        """,
        re.VERBOSE,
    )
    for path, text in _tests():
        assert not own_skip.search(text), path


def test_everything_that_may_be_required_is_required_by_a_test() -> None:
    used = {name for _, text in _tests() for name in re.findall(r'provisioned\.missing\(\s*"(\w+)"', text)}
    assert used == provisioned.NAMES - {"all"}


def _tests() -> Iterator[tuple[Path, str]]:
    for path in [ROOT / "conftest.py", *(ROOT / "tests").rglob("*.py")]:
        if path.name != Path(__file__).name:
            yield path, path.read_text(encoding="utf-8")
