"""Fixtures of all tests: caches that several tests share, and runs of pytest on wheels in their own processes."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import archives
import platformdirs
import pytest
from filelock import FileLock
from nodes import Run, RunDist, RunOutput, run_output

from pytest_wheelcheck.interpreters.packages import apt

pytest_plugins = ["pytester", "board_fixtures"]

#: The paths of caches and toolchains. ``pytester`` gives every test another home directory.
_CACHES = {
    "WHEELCHECK_CACHE": os.environ.get("WHEELCHECK_CACHE")
    or str(platformdirs.user_cache_path("pytest-wheelcheck", appauthor=False)),
    "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(platformdirs.user_cache_path("uv", appauthor=False)),
    "CARGO_HOME": os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo"),
    "RUSTUP_HOME": os.environ.get("RUSTUP_HOME") or str(Path.home() / ".rustup"),
    "PYENV_ROOT": os.environ.get("PYENV_ROOT") or str(Path.home() / ".pyenv"),
}


# A shell without job control starts background commands with SIGINT ignored, and child processes inherit that. The runs that
# these tests interrupt would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _memory() -> str | None:
    """Return a file system in memory with room for the files of the tests (2.5 GB), or ``None``."""
    path = "/dev/shm"  # noqa: S108
    if sys.platform != "linux" or not os.access(path, os.W_OK):
        return None
    status = os.statvfs(path)
    memory = dict(re.findall(r"(\w+): +(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii")))
    room = min(status.f_bavail * status.f_frsize, int(memory["MemAvailable"]) << 10)
    return path if room > 8 << 30 and not status.f_flag & os.ST_NOEXEC else None


# The tests make and remove a million small files, which takes a third of their time on a disk.
if "TMPDIR" not in os.environ and (_in_memory := _memory()):
    os.environ["TMPDIR"] = tempfile.tempdir = _in_memory


@pytest.fixture(autouse=True)
def _lasting_caches(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name, value in _CACHES.items():
        monkeypatch.setenv(name, value)
    # All runs of pytest share their bytecode.
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.getbasetemp() / "pycache"))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    if sys.platform == "win32":
        # Output to a pipe has the encoding of the country by default; pytester reads UTF-8.
        monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    for name in ("PYTEST_ADDOPTS", "CI", "BUILD_NUMBER", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run_wheels(pytester: pytest.Pytester) -> Run:
    """Run ``pytest`` with the given arguments in the test's directory, in a process of its own.

    The wheels are tested in the running interpreter, unless the arguments contain ``--wheel-python``.
    """

    def run(*args: str | os.PathLike[str], timeout: float = 120.0) -> pytest.RunResult:
        texts = [os.fspath(arg) for arg in args]
        if not any(text.startswith("--wheel-python") for text in texts):
            texts = [f"--wheel-python={sys.executable}", *texts]
        # The plugin of hypothesis imports all of hypothesis: half a second.
        result = pytester.runpytest_subprocess(
            "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *texts, timeout=timeout
        )
        # Users can do nothing about a warning at one of our lines.
        ours = re.search(r"pytest_wheelcheck[/\\]\S+\.py:\d+: \w*Warning: .*", f"{result.stdout}\n{result.stderr}")
        if ours is not None:
            pytest.fail(ours[0])
        return result

    return run


@pytest.fixture
def run_dist(run_wheels: Run, monkeypatch: pytest.MonkeyPatch) -> RunDist:
    """Run ``pytest --wheel dist`` with the given arguments and one quick static check, and parse its output.

    Another ``--wheel`` among the arguments replaces ``dist``.
    """
    monkeypatch.setenv("COLUMNS", "250")

    def run(*args: str | os.PathLike[str]) -> RunOutput:
        wheel = () if "--wheel" in args else ("--wheel", "dist")
        return run_output(run_wheels("-v", "-rfEs", "--strict-markers", "--wheel-select=WHL101", *wheel, *args))

    return run


@pytest.fixture(scope="session")
def debian_archive() -> apt.Repository:
    """Return the archive that the host was installed from, of which interpreters of other architectures are made."""
    return archives.host_archive()


@pytest.fixture(scope="session")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of the witness, built by maturin once in a session."""
    if sys.platform == "win32" and not importlib.util.find_spec("maturin"):
        pytest.skip("needs maturin and Rust, which a Windows interpreter under Wine does not have")
    native = Path(__file__).parent / "native"
    directory = tmp_path_factory.mktemp("witness")
    (native / "target").mkdir(exist_ok=True)
    # maturin moves files in its directory, so the workers of xdist must not build at the same time.
    with FileLock(native / "target" / "witness.lock"):
        subprocess.run(
            [sys.executable, "-m", "maturin", "build", "--release", "--locked", "--out", str(directory)],
            cwd=native,
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=900,
        )
    (wheel,) = directory.glob("*.whl")
    return wheel
