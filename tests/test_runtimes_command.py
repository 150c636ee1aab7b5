"""``wheelcheck doctor`` and ``wheelcheck runtime`` where nothing is in the cache, and what their page promises."""

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

from pytest_wheelcheck.interpreters import c_library
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES
from pytest_wheelcheck.system import cache

PAGE = Path(__file__).parent.parent / "docs" / "interpreters.md"


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))


def wheelcheck(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_wheelcheck", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_doctor_without_network_and_cache() -> None:
    told = wheelcheck("doctor", "--offline", "--json")
    assert told.returncode == 0, told.stderr
    rows = {row["platform"]: row for row in json.loads(told.stdout)}
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


def test_doctor_of_one_platform_says_what_to_do() -> None:
    told = wheelcheck("doctor", "--offline", "s390x" if sys.platform == "linux" else "win_amd64")
    if sys.platform == "linux":
        assert told.returncode == 1
        assert told.stdout.startswith("linux-s390x\n  missing: cp39, cp310")
        assert "--wheel-sysroot s390x=DIR" in told.stdout
    assert wheelcheck("doctor", "vax").returncode == 4
    assert "not of the form" in wheelcheck("doctor", "--sysroot", "nonsense").stderr


def test_nothing_is_there() -> None:
    assert json.loads(wheelcheck("runtime", "list", "--json").stdout) == []
    told = wheelcheck("runtime", "path", "riscv64", "3.13")
    assert told.returncode == 1
    assert "wheelcheck runtime install riscv64 3.13" in told.stderr
    removed = wheelcheck("runtime", "remove", "--json", "cp313-linux-riscv64")
    assert (removed.returncode, json.loads(removed.stdout)) == (1, [])


def test_a_program_inside_a_runtime() -> None:
    """Its words and exit status are those of the command, on Windows too, where nothing becomes another program."""
    version = "{}.{}".format(*sys.version_info[:2])
    code = "import sys; print(*sys.argv[1:], sys.version_info[:2]); sys.exit(7)"
    done = wheelcheck("exec", "host", version, "--", "python", "-c", code, "two words")
    assert (done.returncode, done.stdout) == (7, f"two words {sys.version_info[:2]}\n"), done.stderr
    missing = wheelcheck("exec", "host", version, "no-such-program")
    assert missing.returncode == 4
    assert "no-such-program cannot be started" in missing.stderr


def test_the_options_that_the_page_names_exist() -> None:
    commands = re.findall(r"^\$ wheelcheck (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) > 5
    for command in commands:
        words = shlex.split(command, comments=True)
        heads = words[: 2 if words[0] == "runtime" else 1]
        told = wheelcheck(*heads, "--help")
        assert told.returncode == 0, command
        for word in words[: words.index("--") if "--" in words else None]:
            assert not word.startswith("--") or word in told.stdout, command


def test_what_is_offered_only_is_not_used() -> None:
    library = c_library.LibcPackage(
        architecture="aarch64", libc="glibc", version=(2, 36), package="2.36-9", cross=False, suite="twelve"
    )

    def make(side: Path) -> None:
        told = {
            name: getattr(library, name) for name in ("architecture", "libc", "version", "package", "cross", "suite")
        }
        (side / "c-library.json").write_text(json.dumps(told), encoding="utf-8")
        (side / "root").mkdir()

    mark = cache.provision(library.key, make) / ".complete"
    long_ago = time.time() - 40 * 86400
    os.utime(mark, (long_ago, long_ago))
    assert c_library.find(ARCHITECTURES["aarch64"], "glibc", (), offline=True) == library
    assert mark.stat().st_mtime < time.time() - 39 * 86400
    assert c_library.provide(library) == mark.parent / "root"
    assert mark.stat().st_mtime > time.time() - 86400
