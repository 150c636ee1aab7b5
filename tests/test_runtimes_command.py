"""``wheelcheck doctor`` and ``wheelcheck runtime`` with an empty cache, and the commands that their page names."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES
from pytest_wheelcheck.interpreters.packages import c_library
from pytest_wheelcheck.system import cache

PAGE = Path(__file__).parent.parent / "docs" / "interpreters.md"


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))


def wheelcheck(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_wheelcheck", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_doctor_without_network_and_cache() -> None:
    done = wheelcheck("doctor", "--offline", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["platform"]: row for row in json.loads(done.stdout)}
    assert {"linux-aarch64", "musllinux-x86_64", "win_amd64", "macosx-arm64"} <= set(rows)
    own = [row for row in rows.values() if any(each["provider"] == "host" for each in row["interpreters"])]
    assert own
    assert all(each["ready"] for row in own for each in row["interpreters"])
    for row in rows.values():
        names = {each["interpreter"] for each in row["interpreters"]}
        assert names.isdisjoint(row["missing"])
        assert bool(row["notes"]) == any("under Wine" in each["how"] for each in row["interpreters"])
        assert {"cp39", "cp313", "cp314t"} <= names | set(row["missing"])
        assert row["advice"] or row["reasons"] or not row["missing"]
        system = "macOS" if "macosx" in row["platform"] else "Windows;" if "win" in row["platform"] else "Linux"
        assert all(f"works on {system}" in each for each in row["advice"] if "works on" in each)


@pytest.mark.parametrize(
    ("variable", "message"),
    [(cache.VARIABLE, "cache directory"), ("UV_CACHE_DIR", "cache"), ("UV_DEFAULT_INDEX", "index")],
)
def test_doctor_lists_nothing_where_nothing_can_be_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, message: str
) -> None:
    """A file in place of a cache directory; an index that does not answer."""
    (tmp_path / "file").touch()
    if variable == "UV_DEFAULT_INDEX":
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
        for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "PIP_FIND_LINKS", "UV_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(variable, "http://127.0.0.1:9/simple")
    else:
        monkeypatch.setenv(variable, str(tmp_path / "file" / "cache"))
    done = wheelcheck("doctor")
    # What takes long is announced.
    assert (done.returncode, re.sub(r"^wheelcheck: .*\n", "", done.stderr, flags=re.MULTILINE)) == (1, "")
    first, *rest = done.stdout.splitlines()
    assert first == "no wheel can be installed or imported on this host; static checks work"
    assert message in rest[0] + rest[1]
    assert any(line.startswith("Fix: ") for line in rest)
    rows = json.loads(wheelcheck("doctor", "--json").stdout)
    assert len(rows) > 10
    assert all(row["reasons"] and row["advice"] and row["missing"] and not row["interpreters"] for row in rows)


def test_doctor_of_one_platform_shows_a_fix() -> None:
    done = wheelcheck("doctor", "--offline", "s390x" if sys.platform == "linux" else "win_amd64")
    if sys.platform == "linux":
        assert done.returncode == 1
        assert done.stdout.startswith("linux-s390x\n  missing: cp39, cp310")
        assert "--wheel-sysroot s390x=DIR" in done.stdout
    assert wheelcheck("doctor", "vax").returncode == 4
    assert "not of the form" in wheelcheck("doctor", "--sysroot", "nonsense").stderr


def test_an_empty_cache() -> None:
    assert json.loads(wheelcheck("runtime", "list", "--json").stdout) == []
    done = wheelcheck("runtime", "path", "riscv64", "3.13")
    assert done.returncode == 1
    assert "wheelcheck runtime install riscv64 3.13" in done.stderr
    removed = wheelcheck("runtime", "remove", "--json", "cp313-linux-riscv64")
    assert (removed.returncode, json.loads(removed.stdout)) == (1, [])


def test_a_program_inside_a_runtime() -> None:
    """Its output and exit status are those of the command, also on Windows, which cannot replace a process."""
    version = "{}.{}".format(*sys.version_info[:2])
    code = "import sys; print(*sys.argv[1:], sys.version_info[:2]); sys.exit(7)"
    done = wheelcheck("exec", "host", version, "--", "python", "-c", code, "two words")
    assert (done.returncode, done.stdout) == (7, f"two words {sys.version_info[:2]}\n"), done.stderr
    missing = wheelcheck("exec", "host", version, "no-such-program")
    assert missing.returncode == 1
    assert "no-such-program cannot be started" in missing.stderr


def test_the_options_that_the_page_names_exist() -> None:
    commands = re.findall(r"^\$ wheelcheck (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) > 5
    for command in commands:
        words = shlex.split(command, comments=True)
        heads = words[: 2 if words[0] == "runtime" or words[:2] == ["cache", "prune"] else 1]
        done = wheelcheck(*heads, "--help")
        assert done.returncode == 0, command
        for word in words[: words.index("--") if "--" in words else None]:
            assert not word.startswith("--") or word in done.stdout, command


def test_an_offer_does_not_count_as_use() -> None:
    library = c_library.LibcPackage(
        architecture="aarch64", libc="glibc", version=(2, 36), package="2.36-9", cross=False, suite="twelve"
    )

    def make(side: Path) -> None:
        done = {
            name: getattr(library, name) for name in ("architecture", "libc", "version", "package", "cross", "suite")
        }
        (side / "c-library.json").write_text(json.dumps(done), encoding="utf-8")
        (side / "root").mkdir()

    mark = cache.provision(library.key, make) / ".complete"
    long_ago = time.time() - 40 * 86400
    os.utime(mark, (long_ago, long_ago))
    assert c_library.find(ARCHITECTURES["aarch64"], "glibc", (), offline=True) == library
    assert mark.stat().st_mtime < time.time() - 39 * 86400
    assert c_library.provide(library) == mark.parent / "root"
    assert mark.stat().st_mtime > time.time() - 86400
