"""What a failure of apt is taken for: an answer of the repository, a network, or a disk of this host."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import archives
import pytest

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.base import NativePython, Request
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.packages import apt, apt_suites
from pytest_wheelcheck.interpreters.packages.apt_run import run
from pytest_wheelcheck.interpreters.packages.debian import DebianProvider
from pytest_wheelcheck.interpreters.published.provider import PublishedProvider
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system import cache, progress

pytestmark = pytest.mark.skipif(
    not (shutil.which("gpg") and shutil.which("apt-get")), reason="apt reads an archive that gpg signs"
)

ARM = Platform(system="linux", architecture="aarch64", libc="glibc")
INDEX = "Package: python3.11-minimal\nArchitecture: amd64\nVersion: 3.11.2-6\nFilename: none\n\n"
#: Larger than the small disk.
LARGE = INDEX + "".join(f"Package: p{number}\nVersion: {number}\n\n" for number in range(90_000))


def no_native(version: tuple[int, int], free_threaded: bool) -> Path | None:
    return None


NATIVE: NativePython = no_native


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk for temporary files that a package index does not fit on."""
    # The paths of gpg's sockets must be short.
    folder = Path(tempfile.mkdtemp(prefix="small-", dir="/var/tmp" if sys.platform != "win32" else None))
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=1777", "tmpfs", str(folder)]
    if sys.platform == "win32" or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[apt.Repository]:
    """Serve an archive over HTTP: apt reads files where they are."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder / "archive"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = f"http://127.0.0.1:{server.server_port}/"
        yield apt.parse_source(f"deb [signed-by={folder / 'key.gpg'}] {where} suite main")
        server.shutdown()


@contextlib.contextmanager
def slow_server() -> Iterator[apt.Repository]:
    """A server that thinks before it knows of nothing."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(1.5)
            self.send_error(404)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield apt.parse_source(f"deb http://127.0.0.1:{server.server_port}/debian suite main")
        server.shutdown()


@pytest.fixture
def large(tmp_path: Path) -> Iterator[apt.Repository]:
    """An archive whose index does not fit on the small disk."""
    archives.make_archive(tmp_path, index=LARGE)
    with served(tmp_path) as source:
        yield source


def fill(disk: Path) -> Path:
    """Leave 8 KB on a disk."""
    (disk / "rest").write_bytes(bytes(shutil.disk_usage(disk).free - 8192))
    return disk / "rest"


def cached_answers() -> list[Path]:
    return list(cache.root().glob("archives/*"))


def test_a_full_disk_is_no_answer_of_the_repository(
    tmp_path: Path, large: apt.Repository, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (suite,) = apt_suites.query(large, "amd64", ["suite"])
    expected = f"no space left in the directory for temporary files, {small_disk} (TMPDIR)"
    assert suite.problem == f"the host's package repository could not be read: {expected}"
    rest = fill(small_disk)
    (other,) = apt_suites.query(large, "arm64", ["suite"])
    assert other.problem == suite.problem, "not even its signature can be checked"
    assert not cached_answers()
    rest.unlink()
    with pytest.raises(RuntimeUnavailableError, match="cannot be downloaded: no space left in the directory"):
        apt.fetch_newest(["one"], tmp_path / "into", work=small_disk / "work", repository=large)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (suite,) = apt_suites.query(large, "amd64", ["suite"])
    assert suite.packages == {"python3.11-minimal": "3.11.2-6"}


def test_a_full_disk_is_an_error_of_the_run(tmp_path: Path, small_disk: Path) -> None:
    line = archives.make_archive(tmp_path, index=INDEX)
    fill(small_disk)
    answer = DebianProvider(NATIVE, apt_source=line).offers(Request(platform=ARM))
    assert answer.unavailable is not None
    assert answer.unavailable.unchecked
    assert "no space left in the directory for temporary files" in answer.reason
    assert "does not carry" not in answer.reason


@pytest.mark.parametrize("published", [False, True])
def test_without_a_network_nothing_is_said_about_what_the_repository_has(
    published: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    line = "deb http://127.0.0.1:9/debian suite main"
    request = Request(platform=ARM)
    if published:
        answer = PublishedProvider(HostProvider(), NATIVE, apt_source=line).offers(request)
    else:
        answer = DebianProvider(NATIVE, apt_source=line).offers(request)
    assert apt_suites.UNREACHABLE in answer.reason
    assert "no C library" not in answer.reason
    assert answer.unavailable is not None
    assert answer.unavailable.unchecked


def test_an_index_that_cannot_be_read_is_not_one_that_is_not_there(tmp_path: Path) -> None:
    """After it, apt asks for the index in another format, and its last words are that the server does not have that."""
    archives.make_archive(tmp_path, index=INDEX)
    index = tmp_path / "archive/dists/suite/main/binary-amd64/Packages"
    with served(tmp_path) as source:
        (suite,) = apt_suites.query(source, "amd64", ["suite"])
        assert suite.packages
        shutil.rmtree(cache.root())
        index.write_text(INDEX.replace("3.11.2-6", "3.11.2-7"))
        (suite,) = apt_suites.query(source, "amd64", ["suite"])
        assert suite.problem.startswith("the host's package repository cannot be used: E: Failed to fetch")
        shutil.rmtree(cache.root())
        index.unlink()
        (suite,) = apt_suites.query(source, "amd64", ["suite"])
        assert suite.problem == "the host's package repository does not carry the architecture amd64"


def test_temporary_files_of_apt_are_in_our_own_directory(tmp_path: Path) -> None:
    """It leaves them when it is killed."""
    state = tmp_path / "state"
    source = apt.parse_source(archives.make_archive(tmp_path, index=INDEX))
    command = apt.apt_get_command(source, "suite", state, "amd64")
    hook = f"APT::Update::Pre-Invoke::=echo $TMPDIR > {tmp_path / 'told'}"
    run([*command, "-o", hook, "update"], state)
    assert Path((tmp_path / "told").read_text().strip()).is_relative_to(state)
    with pytest.raises(ProcessError, match="apt-get failed: exit status 100"):
        run([*command, "download", "missing"], state)


def test_a_question_that_takes_long_is_announced(large: apt.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that does not is not."""
    # A process announces it once, and that may have been in another test.
    monkeypatch.setattr(progress, "_told", set())
    told = io.StringIO()
    with progress.log_to(told):
        (suite,) = apt_suites.query(large, "amd64", ["suite"])
        assert suite.packages
        assert told.getvalue() == ""
        with slow_server() as source:
            apt_suites.query(source, "arm64", ["one"])
            apt_suites.query(source, "arm64", ["two"])
    assert told.getvalue().splitlines() == [
        "wheelcheck: asking the package repository of this host what it has for arm64 (once; cached for later runs)"
    ]
