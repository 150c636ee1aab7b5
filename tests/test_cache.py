"""The cache: entries are complete or absent, made once, and made again when damaged."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.system import cache


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "a cache"
    monkeypatch.setenv(cache.VARIABLE, str(directory))
    return directory


def _fill(directory: Path) -> None:
    (directory / "sub").mkdir()
    (directory / "sub" / "file").write_text("content", encoding="utf-8")


def test_default_is_the_users_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.VARIABLE)
    assert cache.root().is_absolute()
    assert "pytest-wheelcheck" in str(cache.root())


def test_entry_is_made_once(home: Path) -> None:
    calls = []

    def make(directory: Path) -> None:
        calls.append(directory)
        _fill(directory)

    first = cache.provision("entries/one", make)
    assert first == home / "entries" / "one" == cache.path("entries/one")
    assert (first / "sub" / "file").read_text(encoding="utf-8") == "content"
    assert cache.provision("entries/one", make) == first
    assert len(calls) == 1
    assert calls[0] != first


def test_an_error_leaves_no_entry(home: Path) -> None:
    def make(directory: Path) -> None:
        _fill(directory)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        cache.provision("entries/one", make)
    assert cache.find("entries/one") is None
    assert list((home / "entries").iterdir()) == []


def test_incomplete_entry_is_made_again() -> None:
    directory = cache.path("entries/one")
    side = directory.with_name(".making-one")
    side.mkdir(parents=True)
    _fill(side)
    directory.mkdir()
    (directory / "rubbish").write_text("", encoding="utf-8")
    assert cache.find("entries/one") is None
    assert not (cache.provision("entries/one", _fill) / "rubbish").exists()
    assert cache.find("entries/one") == directory


def test_threads_make_an_entry_once() -> None:
    calls = []

    def make(directory: Path) -> None:
        calls.append(directory)
        time.sleep(0.1)

    threads = [threading.Thread(target=cache.provision, args=("entries/one", make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


PROGRAM = """
import sys, time
from pathlib import Path
from pytest_wheelcheck.system import cache
def make(directory):
    (directory / "half").write_text("x")
    print("half", flush=True)
    time.sleep(60)
cache.provision("entries/one", make)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_process_killed_while_making_an_entry(home: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, env=_environment())
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        with pytest.raises(WheelcheckError, match="locked"), cache.locked("entries/one", timeout=0.1):
            pass
    finally:
        process.kill()
        process.communicate()
    made = cache.provision("entries/one", _fill)
    assert sorted(path.name for path in made.iterdir()) == [".complete", "sub"]
    assert [path.name for path in made.parent.iterdir()] == ["one"]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(cache.__file__).parents[2])}


def test_directory_that_cannot_be_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.parent.joinpath("file").write_text("", encoding="utf-8")
    monkeypatch.setenv(cache.VARIABLE, str(home.parent / "file" / "below"))
    with pytest.raises(WheelcheckError) as caught:
        cache.provision("entries/one", _fill)
    assert cache.VARIABLE in caught.value.fix


@pytest.mark.parametrize("key", ["", "/etc", "../up", "a/../b", "a//b", "a b", ".hidden"])
def test_keys_stay_inside_the_cache(key: str) -> None:
    with pytest.raises(ValueError, match="not a cache key"):
        cache.path(key)


def test_remove() -> None:
    cache.provision("entries/one", _fill)
    cache.remove("entries/one")
    assert not cache.path("entries/one").exists()
    cache.remove("entries/one")


def test_digest_depends_on_the_parts() -> None:
    assert cache.digest("ab", "c") != cache.digest("a", "bc")
    assert len(cache.digest("x")) == 16
