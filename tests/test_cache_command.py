"""``wheelcheck cache`` shows the contents of the cache, and ``prune`` removes unused entries."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pytest_wheelcheck.cli.main import main
from pytest_wheelcheck.system import cache


def fill(directory: Path) -> None:
    (directory / "file").write_bytes(bytes(3_000_000))


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHEELCHECK_CACHE", str(tmp_path))
    for key in ("overlays/used", "overlays/unused", "runtimes/unused"):
        cache.provision(key, fill)
    long_ago = time.time() - 40 * 86400
    for key in ("overlays/used", "overlays/unused", "runtimes/unused"):
        os.utime(cache.path(key) / ".complete", (long_ago, long_ago))
    assert cache.find("overlays/used")
    (tmp_path / "overlays" / ".making-broken").mkdir()
    (tmp_path / "overlays" / ".making-broken" / "file").write_bytes(bytes(2_000_000))
    (tmp_path / "virtualenv" / "answers").mkdir(parents=True)
    return tmp_path


def test_size(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["2", "MB", "1", "incomplete"],
        ["6", "MB", "2", "overlays"],
        ["3", "MB", "1", "runtimes"],
        ["11", "MB", "in", str(filled)],
    ]


def test_prune(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with cache.locked("runtimes/unused"):
        assert main(["cache", "prune"]) == 0
    assert "5 MB removed" in capsys.readouterr().out
    assert sorted(path.name for path in filled.glob("*/*") if path.parent.name != "locks") == [
        "answers",
        "unused",
        "used",
    ]
    assert main(["cache", "prune", "--days=0"]) == 0
    assert sorted(path.name for path in filled.glob("*/*") if path.parent.name != "locks") == ["answers"]


def test_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WHEELCHECK_CACHE", str(tmp_path / "none"))
    assert main(["cache"]) == main(["cache", "prune"]) == 0
    assert main(["cache", "prune", "--days=-1"]) == 4
    assert "Traceback" not in capsys.readouterr().err
