"""``wheelcheck cache`` shows the contents of the cache, and ``prune`` removes unused entries."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run

from pytest_wheelcheck.cli.main import main
from pytest_wheelcheck.system import cache, cache_size, temporary


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


def test_the_size_is_bounded(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was unused for the longest time goes first. What may be in use stays, and what another run is making."""
    hour = 3600.0
    for key, hours in (("overlays/used", 0.0), ("overlays/unused", 5.0), ("runtimes/unused", 4.0)):
        then = time.time() - hours * hour
        os.utime(cache.path(key) / ".complete", (then, then))
    assert main(["cache", "prune", "--max-size=6MB"]) == 0
    assert "  overlays/unused\n" in capsys.readouterr().out
    assert cache.is_complete("runtimes/unused")
    with cache.locked("runtimes/unused"):
        assert main(["cache", "prune", "--max-size=1MB"]) == 0
    assert cache.is_complete("runtimes/unused")
    assert main(["cache", "prune", "--max-size=1MB"]) == 0
    assert [cache.is_complete(key) for key in ("runtimes/unused", "overlays/used")] == [False, True]
    assert main(["cache", "prune", "--max-size=much"]) == 4


@pytest.mark.skipif(os.name == "nt", reason="no locks of runs on Windows")
def test_what_a_run_in_progress_has_used_stays(filled: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run = temporary.make()
    try:
        then = time.time() - 10 * 3600.0
        os.utime(run.path / "in-use", (then, then))
        for key in ("overlays/used", "overlays/unused", "runtimes/unused"):
            os.utime(cache.path(key) / ".complete", (then + 60.0, then + 60.0))
        assert main(["cache", "prune", "--max-size=1MB"]) == 0
        assert cache.is_complete("runtimes/unused")
    finally:
        run.remove()
    assert main(["cache", "prune", "--max-size=1MB"]) == 0
    assert not cache.is_complete("runtimes/unused")


def test_a_run_suggests_to_prune_once_a_day(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size is in the marks; entries of earlier versions get one, which is no use of them."""
    mark = cache.path("runtimes/unused") / ".complete"
    mark.write_text("", encoding="ascii")
    then = time.time() - 40 * 86400
    os.utime(mark, (then, then))
    monkeypatch.setenv(cache_size.VARIABLE, "8MB")
    limit = cache_size.limit("5GB")
    assert limit == 8_000_000
    assert cache_size.suggestion(limit).endswith("wheelcheck cache prune --max-size 0.008GB")
    assert cache_size.suggestion(limit) == ""
    assert abs(mark.stat().st_mtime - then) < 1
    assert mark.read_text(encoding="ascii") == "3000000"
    os.utime(filled / "size-checked", (then, then))
    assert cache_size.suggestion(10_000_000) == ""
    os.utime(filled / "size-checked", (then, then))
    assert cache_size.suggestion(0) == ""


def test_the_end_of_a_run_suggests_it(
    filled: Path, pytester: pytest.Pytester, run_wheels: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(pytester.path / "dist", "pkg")
    pytester.makeini("[pytest]\nwheel_cache_size = 8MB\n")
    shown = run_wheels("--wheel=dist", "--wheel-static")
    shown.stdout.fnmatch_lines(["the cache has 0.0 GB; *: wheelcheck cache prune --max-size 0.008GB"])
    assert "cache prune" not in run_wheels("--wheel=dist", "--wheel-static").stdout.str()
    monkeypatch.setenv(cache_size.VARIABLE, "much")
    assert "much is not a size" in run_wheels("--wheel=dist", "--wheel-static").stderr.str()


@pytest.mark.parametrize(("value", "status"), [("0", 0), ("1000", 0), ('"2 MB"', 0), ("true", 4), ("-1", 4)])
def test_the_key_in_native_toml(pytester: pytest.Pytester, run_wheels: Run, value: str, status: int) -> None:
    """pytest takes a string there, and a number is a size, too."""
    build_wheel(pytester.path / "dist", "pkg")
    (pytester.path / "pytest.toml").write_text(f"[pytest]\nwheel_cache_size = {value}\n", encoding="utf-8")
    found = run_wheels("--wheel=dist", "--wheel-static")
    assert found.ret == status
    assert ("wheel_cache_size = " in found.stderr.str()) is (status == 4)
