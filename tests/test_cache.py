"""The cache: atomic, locked, healing."""

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
    folder = tmp_path / "a cache"
    monkeypatch.setenv(cache.VARIABLE, str(folder))
    return folder


def _fill(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text("content", encoding="utf-8")


def test_the_default_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.VARIABLE)
    assert cache.root().is_absolute()
    assert "pytest-wheelcheck" in str(cache.root())


def test_made_once(home: Path) -> None:
    calls = []

    def make(folder: Path) -> None:
        calls.append(folder)
        _fill(folder)

    first = cache.provision("things/one", make)
    assert first == home / "things" / "one" == cache.path("things/one")
    assert (first / "sub" / "file").read_text(encoding="utf-8") == "content"
    assert cache.provision("things/one", make) == first
    assert len(calls) == 1
    assert calls[0] != first


def test_an_error_leaves_nothing(home: Path) -> None:
    def make(folder: Path) -> None:
        _fill(folder)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        cache.provision("things/one", make)
    assert cache.find("things/one") is None
    assert list((home / "things").iterdir()) == []


def test_half_written_is_made_again() -> None:
    folder = cache.path("things/one")
    side = folder.with_name(".making-one")
    side.mkdir(parents=True)
    _fill(side)
    folder.mkdir()
    (folder / "rubbish").write_text("", encoding="utf-8")
    assert cache.find("things/one") is None
    assert not (cache.provision("things/one", _fill) / "rubbish").exists()
    assert cache.find("things/one") == folder


def test_threads_make_it_once() -> None:
    calls = []

    def make(folder: Path) -> None:
        calls.append(folder)
        time.sleep(0.1)

    threads = [threading.Thread(target=cache.provision, args=("t/one", make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


VICTIM = """
import sys, time
from pathlib import Path
from pytest_wheelcheck.system import cache
def make(folder):
    (folder / "half").write_text("x")
    print("half", flush=True)
    time.sleep(60)
cache.provision("things/one", make)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_while_making(home: Path) -> None:
    victim = subprocess.Popen([sys.executable, "-c", VICTIM], stdout=subprocess.PIPE, env=_environment())
    try:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"half\n"
        with pytest.raises(WheelcheckError, match="locked"), cache.locked("things/one", timeout=0.1):
            pass
    finally:
        victim.kill()
        victim.communicate()
    made = cache.provision("things/one", _fill)
    assert sorted(path.name for path in made.iterdir()) == [".complete", "sub"]
    assert [path.name for path in made.parent.iterdir()] == ["one"]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(cache.__file__).parents[2])}


def test_a_folder_that_cannot_be_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.parent.joinpath("file").write_text("", encoding="utf-8")
    monkeypatch.setenv(cache.VARIABLE, str(home.parent / "file" / "below"))
    with pytest.raises(WheelcheckError) as caught:
        cache.provision("things/one", _fill)
    assert cache.VARIABLE in caught.value.fix


@pytest.mark.parametrize("key", ["", "/etc", "../up", "a/../b", "a//b", "a b", ".hidden"])
def test_keys_stay_inside(key: str) -> None:
    with pytest.raises(ValueError, match="not a cache key"):
        cache.path(key)


def test_discard() -> None:
    cache.provision("things/one", _fill)
    cache.remove("things/one")
    assert not cache.path("things/one").exists()
    cache.remove("things/one")


def test_digest_knows_borders() -> None:
    assert cache.digest("ab", "c") != cache.digest("a", "bc")
    assert len(cache.digest("x")) == 16
