"""uv's managed interpreters; uv installs them from a catalog and archives that are made here of real interpreters."""

from __future__ import annotations

import json
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import archives
import builders
import catalogs
import provisioned
import pytest
import uv_layout

from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.catalog import Catalog, make_catalog
from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.interpreters.uv_builds.catalog import read_catalog
from pytest_wheelcheck.interpreters.uv_builds.installation import provide_windows, windows_downloads
from pytest_wheelcheck.interpreters.uv_builds.provider import UvProvider
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system import cache

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the interpreters run on x86-64 Linux"
)
signs = pytest.mark.skipif(not shutil.which("gpg"), reason="makes an archive, which gpg signs")

GLIBC = Platform(system="linux", architecture="x86_64", libc="glibc")
MUSL = Platform(system="linux", architecture="x86_64", libc="musl")
ARM = Platform(system="linux", architecture="aarch64", libc="glibc")

#: An entry of a catalog, whose file is never opened.
ENTRY: dict[str, object] = {
    "name": "cpython",
    "arch": {"family": "x86_64", "variant": None},
    "os": "linux",
    "libc": "gnu",
    "major": 3,
    "minor": 12,
    "patch": 9,
    "prerelease": "",
    "url": "file:///nowhere/python.tar.gz",
    "sha256": "0" * 64,
    "variant": None,
    "build": "20260801",
}


def _catalog(*, offline: bool = False) -> Catalog:
    return catalogs.catalog_of(lambda native_python: UvProvider(native_python, offline=offline), host=False)


def _get(catalog: Catalog, platform: Platform) -> Runtime:
    answer = catalogs.ask(catalog, "uv", Request(platform=platform))
    assert answer.offers, answer.reason
    return catalog.get(answer.offers[0])


def test_the_catalog_of_uv() -> None:
    found = read_catalog()
    kinds = {(each.version[:2], each.free_threaded, each.system, each.architecture, each.libc) for each in found}
    assert len(kinds) == len(found)
    for wanted in (("linux", "aarch64", "glibc"), ("linux", "x86_64", "musl"), ("linux", "armv7l", "glibc")):
        assert ((3, 12), False, *wanted) in kinds
    assert ((3, 12), False, "win32", "amd64", "") in kinds
    assert ((3, 12), False, "win32", "x86", "") in kinds
    assert ((3, 14), True, "linux", "aarch64", "glibc") in kinds
    assert min(each.version for each in found) >= (3, 9)


@pytest.mark.network
def test_a_download_of_uv() -> None:
    """The other tests make their downloads, so only this one needs those of uv."""
    answer = catalogs.ask(_catalog(), "uv", Request(platform=GLIBC, wanted=frozenset({("cpython", (3, 12), False)})))
    offer = next((each for each in answer.offers if each.version[:2] == (3, 12)), None)
    if offer is None:
        raise provisioned.missing("uv", answer.reason)
    python = _catalog().get(offer).python
    code = "import ssl, sys; print(sys.version_info[:2])"
    completed = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "(3, 12)"


def test_the_newest_release_of_a_catalog(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entries = {
        "cpython-3.12.9-linux-x86_64-gnu": ENTRY,
        "cpython-3.12.10-linux-x86_64-gnu": {**ENTRY, "patch": 10},
        "cpython-3.13.0rc1-linux-x86_64-gnu": {**ENTRY, "minor": 13, "patch": 0, "prerelease": "rc1"},
        "cpython-3.8.20-linux-x86_64-gnu": {**ENTRY, "minor": 8, "patch": 20},
        "cpython-3.12.9-windows-x86_64-none": {**ENTRY, "os": "windows", "libc": "none"},
    }
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", archives.write_catalogue(tmp_path / "catalogue.json", entries))
    assert [(each.system, each.version) for each in read_catalog()] == [
        ("win32", (3, 12, 9)),
        ("linux", (3, 12, 10)),
    ]


def test_unreachable_downloads_are_reported_quickly_and_tried_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        # The system accepts connections, and nothing answers.
        url = f"http://127.0.0.1:{server.getsockname()[1]}/python.tar.gz"
        url_of_catalog = archives.write_catalogue(
            tmp_path / "catalogue.json", {"cpython-3.12.9-linux-x86_64-gnu": {**ENTRY, "url": url}}
        )
        monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", url_of_catalog)
        provider = UvProvider(catalogs.no_python)
        assert provider.costly(Request(platform=GLIBC))
        start = time.monotonic()
        answer = provider.offers(Request(platform=GLIBC))
        first = time.monotonic() - start
        assert answer.offers == ()
        assert "UV_PYTHON_INSTALL_MIRROR" in answer.reason
        # It is an error only if the downloads have something that is wanted.
        for minor, unchecked in ((12, True), (11, False)):
            unavailable = provider.offers(
                Request(platform=GLIBC, wanted=frozenset({("cpython", (3, minor), False)}))
            ).unavailable
            assert unavailable is not None
            assert unavailable.unchecked is unchecked
        assert first > 4.0
        start = time.monotonic()
        assert UvProvider(catalogs.no_python).offers(Request(platform=GLIBC)) == answer
        assert time.monotonic() - start < first
    assert provide_windows((3, 12), "amd64") is None


@pytest.mark.network
def test_a_native_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installation = uv_layout.copy_installation(GLIBC, 14, tmp_path, free_threaded=True)
    key = "cpython-3.14.9+freethreaded-linux-x86_64-gnu"
    entry = archives.make_download(tmp_path, installation, key=key, arch="x86_64", libc="gnu", threading="freethreaded")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", archives.write_catalogue(tmp_path / "one.json", {key: entry}))
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    runtime = _get(_catalog(), GLIBC)
    made = runtime.installation
    assert (made.provider, made.free_threaded, made.version[:2]) == ("uv", True, (3, 14))
    code = "import sys, sysconfig, ssl; print(sys.prefix, sysconfig.get_config_var('prefix'))"
    completed = subprocess.run([runtime.python, "-I", "-c", code], capture_output=True, text=True, check=True)
    final = str(cache.path(next((tmp_path / "cache/runtimes").iterdir()).name.join(("runtimes/", ""))) / "python")
    assert completed.stdout.split() == [final, final]
    # The cached interpreter is enough, also when the catalog has a newer one.
    assert _get(_catalog(offline=True), GLIBC).python == runtime.python
    newer = {key.replace("3.14.9", "3.14.10"): {**entry, "patch": 10}}
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", archives.write_catalogue(tmp_path / "two.json", newer))
    assert _get(_catalog(), GLIBC).python == runtime.python


@pytest.mark.network
def test_a_download_that_was_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    key = "cpython-3.12.9-linux-x86_64-gnu"
    entry = archives.make_download(tmp_path, tmp_path / "python", key=key, arch="x86_64", libc="gnu")
    entry["sha256"] = "0" * 64
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", archives.write_catalogue(tmp_path / "one.json", {key: entry}))
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(RuntimeUnavailableError, match="uv could not install") as caught:
        _get(_catalog(), GLIBC)
    assert "0" * 64 in caught.value.details
    assert list((tmp_path / "cache/runtimes").iterdir()) == []


@pytest.mark.network
@pytest.mark.parametrize(("architecture", "arch", "word"), [("amd64", "x86_64", "x86_64"), ("x86", "i686", "x86")])
def test_for_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, architecture: str, arch: str, word: str) -> None:
    directory = tmp_path / "python"
    (directory / "Lib").mkdir(parents=True)
    (directory / "python.exe").write_bytes(b"MZ")
    key = f"cpython-3.12.9-windows-{word}-none"
    entry = archives.make_download(tmp_path, directory, key=key, arch=arch, libc="none", system="windows")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", archives.write_catalogue(tmp_path / "one.json", {key: entry}))
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    assert provide_windows((3, 12), architecture, offline=True) is None
    assert provide_windows((3, 11), architecture) is None
    found = provide_windows((3, 12), architecture)
    assert found is not None
    assert (found / "python.exe").is_file()
    assert provide_windows((3, 12), architecture, offline=True) == found
    other = {"amd64": "x86", "x86": "amd64"}[architecture]
    assert provide_windows((3, 12), other) is None
    assert [each.architecture for each in windows_downloads(architecture)] == [architecture]
    assert windows_downloads(other) == []


TESTS = """
import multiprocessing, platform, subprocess, sys, sysconfig

def square(number):
    return number * number, platform.machine()

def test_where_we_are(wheel_target):
    assert platform.machine() == wheel_target.architecture == "aarch64"
    assert sys.version_info[:2] == (3, 12)
    assert "/install" not in str(sysconfig.get_config_vars().values())

def test_processes():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(square, [7]) == [(49, "aarch64")]

def test_environment_inside(tmp_path):
    inner = tmp_path / "inner"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", inner], check=True)
    completed = subprocess.run([inner / "bin/python", "-c", "import ssl, sqlite3, sys; print(sys.prefix)"],
                               capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == str(inner)
"""

#: Loaded by the run's pytest: the directory of apt's sources. The target's pytest loads it, too.
UBUNTU = """
import contextlib, pathlib
with contextlib.suppress(ImportError):
    from pytest_wheelcheck.interpreters.packages import apt
    apt.SOURCES = pathlib.Path({sources!r})
"""


@signs
@pytest.mark.network
def test_a_host_whose_archive_has_only_its_own_architecture(
    pytester: pytest.Pytester,
    run_wheels: Callable[..., pytest.RunResult],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    debian_archive: apt.Repository,
) -> None:
    installation = uv_layout.copy_installation(ARM, 12, tmp_path)
    key = "cpython-3.12.15-linux-aarch64-gnu"
    entry = archives.make_download(tmp_path, installation, key=key, arch="aarch64", libc="gnu")
    debs = archives.fetch_debs([f"{name}-arm64-cross" for name in ("libc6", "libstdc++6", "libgcc-s1")], tmp_path)
    native = "Package: python3.11-minimal\nArchitecture: amd64\nVersion: 3.11.2-6\nFilename: none\n\n"
    sources = tmp_path / "sources"
    sources.mkdir()
    line = archives.make_archive(tmp_path / "ubuntu", suite=debian_archive.codename, index=native, debs=debs)
    (sources / "sources.list").write_text(line, encoding="utf-8")
    shared, own = cache.root(), tmp_path / "cache"
    own.mkdir()
    for name in ("qemu", "interpreters", "virtualenv"):
        (own / name).symlink_to(shared / name)
    monkeypatch.setenv(cache.VARIABLE, str(own))
    monkeypatch.setattr(apt, "SOURCES", sources)
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", archives.write_catalogue(tmp_path / "none.json", {}))

    # Without uv's: each provider reports within seconds why it has nothing.
    start = time.monotonic()
    offers, unavailable = make_catalog().ask(Request(platform=ARM))
    assert time.monotonic() - start < 120
    assert offers == ()
    reasons = dict(each.reason.split(": ", 1) for each in unavailable)
    assert "does not carry the architecture arm64" in reasons["debian"]
    assert "no C library for arm64" in reasons["published"]

    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", archives.write_catalogue(tmp_path / "one.json", {key: entry}))
    catalog = make_catalog()
    (offer,) = catalog.ask(Request(platform=ARM))[0]
    assert (offer.provider, offer.version, catalog.backend(offer).emulated) == ("uv", (3, 12, 15), True)
    builders.build_wheel(
        pytester.path / "dist", "tool", files={"tool/__init__.py": ""}, tags=["py3-none-manylinux_2_17_aarch64"]
    )
    (pytester.path / "ubuntu_like.py").write_text(UBUNTU.format(sources=str(sources)), encoding="utf-8")
    (pytester.path / "test_tool.py").write_text(TESTS, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    arguments = (
        "-p",
        "ubuntu_like",
        "-v",
        "--wheel=dist",
        "--wheel-python=3.12",
        "--wheel-select=WHL101",
        "test_tool.py",
    )
    result = run_wheels(*arguments, timeout=600)
    result.assert_outcomes(passed=TESTS.count("def test_") + 3)
    result.stdout.fnmatch_lines(["*::cp312-linux-aarch64::test_tool.py::test_processes PASSED*"])
    (root,) = (own / "roots").iterdir()
    assert "-cross-" in root.name
    (made,) = (own / "runtimes").iterdir()
    assert made.name.startswith("uv-cp312-linux-aarch64")


@pytest.mark.network
@pytest.mark.usefixtures("debian_archive")
def test_a_native_interpreter_with_musl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installation = uv_layout.copy_installation(MUSL, 12, tmp_path)
    program = installation / "bin/python3.12"
    # It names a loader by our path; uv's names the usual one, which this host lacks as well.
    key = "cpython-3.12.15-linux-x86_64-musl"
    for file in installation.glob("lib/*.so*"):
        if file.name.startswith(("ld-musl", "libc.musl")):
            file.unlink()
    entry = archives.make_download(tmp_path, installation, key=key, arch="x86_64", libc="musl")
    assert b"ld-musl-x86_64.so.1" in program.read_bytes()
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", archives.write_catalogue(tmp_path / "one.json", {key: entry}))
    own = tmp_path / "cache"
    own.mkdir()
    (own / "roots").symlink_to(cache.root() / "roots")
    monkeypatch.setenv(cache.VARIABLE, str(own))
    runtime = _get(catalogs.catalog_of(UvProvider), MUSL)
    made = runtime.installation
    assert (made.platform.libc, made.libc_version, runtime.backend.emulated) == ("musl", (1, 2), False)
    code = "import ssl, sys; print(sys.executable, 'musllinux_1_2_x86_64' in open('/proc/self/maps').read() or 'musl')"
    completed = subprocess.run([runtime.python, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.split() == [str(runtime.python), "musl"]
    assert json.loads((next((own / "runtimes").iterdir()) / "facts.json").read_text())["libc"] == "musl"
    assert runtime.platform.name == "musllinux-x86_64"
