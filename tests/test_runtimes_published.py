"""The interpreters inside published wheels: fetched, made and used for real."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters import apt, apt_suites, base, debian
from pytest_wheelcheck.interpreters.base import Platform, Request
from pytest_wheelcheck.interpreters.host import Found, HostProvider
from pytest_wheelcheck.interpreters.published import console, pinned, standard_library
from pytest_wheelcheck.interpreters.published import provider as published
from pytest_wheelcheck.interpreters.published.table import PUBLISHED, PublishedInterpreter
from pytest_wheelcheck.model import Runtime
from pytest_wheelcheck.system import cache

linux = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the interpreters are for x86-64 Linux"
)
GLIBC = Platform(system="linux", architecture="x86_64", libc="glibc")
MUSL = Platform(system="linux", architecture="x86_64", libc="musl")


@pytest.fixture(scope="session")
def provider() -> published.PublishedProvider:
    # The user's own cache: what is there from an earlier run is not fetched again.
    return published.PublishedProvider(HostProvider())


def _get(provider: published.PublishedProvider, where: Platform, name: str) -> Runtime:
    answer = provider.offers(Request(platform=where))
    for offer in answer.offers:
        if f"3.{offer.version[1]}{'t' if offer.free_threaded else ''}" == name:
            return provider.get(offer)
    pytest.skip(f"not to be had here: {answer.reason}")


def test_the_table() -> None:
    assert len({each.sha256 for each in PUBLISHED}) == len(PUBLISHED) == 35
    assert all(len(each.sha256) == 64 for each in PUBLISHED)
    first = next(each for each in PUBLISHED if each.free_threaded)
    assert (first.abi, first.platform_tag) == ("cp314t", "manylinux_2_17_x86_64")


@linux
def test_offers_cost_nothing_and_promise_tags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    host = HostProvider()
    offline = published.PublishedProvider(host, offline=True).offers(Request(platform=GLIBC))
    assert offline.offers == ()
    assert "offline" in offline.reason
    offers = published.PublishedProvider(host).offers(Request(platform=GLIBC)).offers
    for offer in offers:
        assert offer.platform == GLIBC
        assert offer.libc_version == tuple(map(int, platform.libc_ver()[1].split(".")[:2]))
    assert published.PublishedProvider(host).offers(
        Request(platform=Platform(system="win32", architecture="amd64"))
    ) == (base.Answer())
    assert not list(tmp_path.glob("runtimes/*"))


@linux
def test_a_console_that_is_none() -> None:
    for data in (b"", b"no program", Path(sys.executable).resolve().read_bytes()[:4096]):
        with pytest.raises(RuntimeUnavailableError, match="cannot be used"):
            console.as_python(data)


def test_sources_of_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (parts / "debian.sources").write_text(
        "Types: deb deb-src\n# a comment\nURIs: mirror+file:/a\nSuites: one two\nComponents: main contrib\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n\n"
        "Types: deb\nEnabled: no\nURIs: file:/b\nSuites: three\nComponents: main\n",
        encoding="utf-8",
    )
    (parts / "other.list").write_text(
        "# deb file:/c four main\ndeb [arch=amd64 signed-by=/k.gpg] file:/d five main # why\n"
        "deb-src file:/e six main\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(apt, "SOURCES", tmp_path)
    found = list(apt._host_sources())
    assert [entry[:2] for entry in found] == [("mirror+file:/a", "one"), ("mirror+file:/a", "two"), ("file:/d", "five")]
    assert found[0][3].splitlines()[1:3] == ["-----BEGIN PGP PUBLIC KEY BLOCK-----", ""]
    assert found[2][2:] == (["main"], "/k.gpg")


FACTS = """
import json, os, subprocess, sys, sysconfig
told = subprocess.run([sys.executable, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True)
print(json.dumps({
    "prefix": sys.prefix, "base": sys.base_prefix, "executable": sys.executable, "child": told.stdout.strip(),
    "purelib": sysconfig.get_path("purelib"), "version": list(sys.version_info[:3]),
    "gil": getattr(sys, "_is_gil_enabled", lambda: True)(), "suffix": sysconfig.get_config_var("EXT_SUFFIX"),
    "path": sys.path,
}))
"""

CERTIFICATES = [path for path in published._CERTIFICATES if Path(path).is_file()] or ["no such file"]

WORK = """
import asyncio, bz2, ctypes, ctypes.util, curses, decimal, hashlib, lzma, multiprocessing, os, pty, sqlite3, ssl, sys
import threading, uuid, zlib, zoneinfo

def square(number):
    return number * number, sys.prefix

if __name__ == "__main__":
    assert ctypes.CDLL(None).getpid() == os.getpid()
    assert sqlite3.connect(":memory:").execute("select 6 * 7").fetchone() == (42,)
    assert zlib.decompress(zlib.compress(b"x" * 1000)) == lzma.decompress(lzma.compress(b"x" * 1000))
    assert hashlib.new("sha3_256", b"").hexdigest().startswith("a7ffc6f8")
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        os.environ.pop(variable, None)
    assert ssl.create_default_context().cert_store_stats()["x509_ca"] > 50 or not os.path.exists(sys.argv[1])
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(square, range(3)) == [(n * n, sys.prefix) for n in range(3)]
    pid, fd = pty.fork()
    if pid == 0:
        print("child", flush=True)
        os._exit(0)
    assert os.read(fd, 5) == b"child"
    print("all well")
"""

WHICH = [
    (GLIBC, "3.12"),
    (GLIBC, "3.14"),
    (GLIBC, "3.14t"),
    (GLIBC, "3.15t"),
    (MUSL, "3.12"),
    (MUSL, "3.14t"),
]


@linux
@pytest.mark.network
@pytest.mark.parametrize(("where", "name"), WHICH, ids=lambda value: value if isinstance(value, str) else value.libc)
def test_a_real_interpreter(provider: published.PublishedProvider, where: Platform, name: str, tmp_path: Path) -> None:
    runtime = _get(provider, where, name)
    assert runtime.libc == where.libc
    assert runtime.free_threaded == name.endswith("t")
    assert runtime.tags == next(
        offer.tags for offer in provider.offers(Request(platform=where)).offers if offer.key == _sha(runtime)
    )
    script = tmp_path / "work.py"
    script.write_text(WORK, encoding="utf-8")

    # Those for musl look into Alpine's folder /etc/ssl/certs when one is needed, and load none ahead.
    certificates = CERTIFICATES[0] if where == GLIBC else "no such file"

    def told(python: Path) -> dict[str, object]:
        done = subprocess.run([python, "-c", FACTS], capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout))

    own = told(runtime.python)
    assert own["executable"] == str(runtime.python)
    assert own["prefix"] == own["base"] == own["child"] == str(runtime.python.parent.parent)
    assert own["gil"] == (not name.endswith("t"))
    environments: dict[str, list[str | Path]] = {
        "venv": [runtime.python, "-m", "venv", "--without-pip"],
        "with pip": [runtime.python, "-m", "venv"],
        "virtualenv": [sys.executable, "-m", "virtualenv", "-q", "--no-download", "-p", runtime.python],
        "uv": [sys.executable, "-m", "uv", "venv", "-q", "-p", runtime.python],
    }
    for kind, argv in environments.items():
        folder = tmp_path / kind
        subprocess.run([*argv, folder], check=True, capture_output=True)
        inside = told(folder / "bin/python")
        assert inside["prefix"] == inside["child"] == str(folder), kind
        assert inside["base"] == own["prefix"], kind
        assert inside["purelib"] == str(folder / f"lib/python{name}/site-packages"), kind
        done = subprocess.run(
            [folder / "bin/python", script, certificates], capture_output=True, text=True, check=False
        )
        assert done.stdout == "all well\n", (kind, done.stderr)
    for kind in ("with pip", "virtualenv"):
        pip = tmp_path / kind / "bin/pip"
        done = subprocess.run([pip, "debug", "--verbose"], capture_output=True, text=True, check=True)
        assert runtime.tags[0] in done.stdout.split(), kind


def _sha(runtime: Runtime) -> str:
    return next(
        each.sha256
        for each in PUBLISHED
        if each.version == runtime.version
        and (each.free_threaded, each.architecture, each.libc)
        == (runtime.free_threaded, runtime.architecture, runtime.libc)
    )


@linux
@pytest.mark.network
@pytest.mark.parametrize(("where", "name"), [(GLIBC, "3.14t"), (MUSL, "3.12")])
def test_a_published_extension_loads(
    provider: published.PublishedProvider, where: Platform, name: str, tmp_path: Path
) -> None:
    runtime = _get(provider, where, name)
    folder = tmp_path / "env"
    subprocess.run([runtime.python, "-m", "venv", folder], check=True)
    pip: list[str | Path] = [folder / "bin/python", "-m", "pip", "install", "-q", "--only-binary=:all:", "rpds-py"]
    subprocess.run(pip, check=True)
    code = "import rpds, sys; print(rpds.HashTrieMap({'a': 1})['a'], getattr(sys, '_is_gil_enabled', lambda: 1)())"
    done = subprocess.run([folder / "bin/python", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False" if name.endswith("t") else "1"]


@linux
@pytest.mark.network
def test_a_changed_digest_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    wrong = PublishedInterpreter(
        version=(3, 12, 15), free_threaded=False, architecture="x86_64", libc="glibc", sha256="0" * 64
    )
    monkeypatch.setattr(published, "PUBLISHED", (wrong,))
    provider = published.PublishedProvider(HostProvider())
    (offer,) = provider.offers(Request(platform=GLIBC)).offers
    with pytest.raises(RuntimeUnavailableError, match="could not be downloaded"):
        provider.get(offer)
    assert [path.name for path in (tmp_path / "runtimes").iterdir()] == []


@linux
def test_an_index_that_has_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    provider = published.PublishedProvider(HostProvider(), find_links=[os.fspath(tmp_path)])
    offers = provider.offers(Request(platform=GLIBC)).offers
    if not offers:
        pytest.skip("no interpreter is offered on this host")
    with pytest.raises(RuntimeUnavailableError) as caught:
        provider.get(offers[0])
    assert "--wheel-offline" in caught.value.fix
    assert "freeze-core" in caught.value.details


class NoPython(HostProvider):
    """A host that has no interpreter but the running one of no use here."""

    def found(self) -> tuple[Found, ...]:
        """Give none."""
        return ()


@linux
@pytest.mark.network
def test_where_neither_host_nor_archive_has_a_standard_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere = standard_library.StandardLibraries(NoPython(), (), pinned.PackageIndex(), offline=False)
    offline = standard_library.StandardLibraries(NoPython(), (), pinned.PackageIndex(), offline=True)
    assert nowhere.unavailable_reason((3, 12)) == ""
    assert "install any CPython 3.10" in nowhere.unavailable_reason((3, 10))
    assert "3.12" in offline.unavailable_reason((3, 12))
    library = tmp_path / "python3.12"
    nowhere.copy((3, 12), library, tmp_path)
    for name in ("asyncio/__init__.py", "ensurepip/__init__.py", "multiprocessing/spawn.py", "venv/__init__.py"):
        assert (library / name).is_file(), name
    assert not list(library.glob("*wasi*"))
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(apt, "host_repository", lambda: None)
    provider = published.PublishedProvider(NoPython())
    runtime = _get(provider, GLIBC, "3.12")
    folder = tmp_path / "env"
    subprocess.run([runtime.python, "-m", "venv", folder], check=True)
    script = tmp_path / "work.py"
    script.write_text(WORK, encoding="utf-8")
    argv: list[str | Path] = [folder / "bin/python", script, CERTIFICATES[0]]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "all well\n"


@linux
@pytest.mark.network
def test_a_carried_library_that_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    carried = replace(standard_library.EMBEDDED[3, 12], sha256="0" * 64)
    monkeypatch.setitem(standard_library.EMBEDDED, (3, 12), carried)
    nowhere = standard_library.StandardLibraries(NoPython(), (), pinned.PackageIndex())
    with pytest.raises(RuntimeUnavailableError, match="does not have the expected digest"):
        nowhere.copy((3, 12), tmp_path / "python3.12", tmp_path)
    assert not (tmp_path / "python3.12").exists()


@linux
@pytest.mark.network
def test_a_c_library_that_is_new_enough_for_the_wheel(provider: published.PublishedProvider) -> None:
    arm = Platform(system="linux", architecture="aarch64", libc="glibc")

    def versions(least: tuple[int, int]) -> set[tuple[int, int]]:
        return {offer.libc_version for offer in provider.offers(Request(platform=arm, least=least)).offers}

    if not versions((0, 0)):
        pytest.skip("this host's archive has none for aarch64")
    found = apt.host_repository()
    assert found is not None
    newest = max(
        debian.apt_version(suite.packages.get("libc6", ""))
        for batch in debian.batches(found)
        for suite in apt_suites.query(found, "arm64", batch)
    )
    assert min(versions(newest)) >= newest
    # Where none is, an older one is told of, so that the reason can name it.
    assert versions((2, 999))


@linux
@pytest.mark.network
def test_an_archive_that_was_named_gives_the_c_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arm = Platform(system="linux", architecture="aarch64", libc="glibc")
    found = apt.host_repository()
    if found is None or "BEGIN PGP" in found.signed_by:
        pytest.skip("this host has no archive that one line can name")
    key = f"[signed-by={found.signed_by}] " if found.signed_by else ""
    line = f"deb {key}{found.uri} {found.codename} main"
    monkeypatch.setattr(apt, "host_repository", lambda: None)
    (tmp_path / "archives").symlink_to(cache.root() / "archives")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    without = published.PublishedProvider(HostProvider()).offers(Request(platform=arm))
    assert without.offers == ()
    assert "comes from an archive of Debian or Ubuntu" in without.reason
    assert published.PublishedProvider(HostProvider(), source=line).offers(Request(platform=arm)).offers
    wrong = published.PublishedProvider(HostProvider(), source="the one next door").offers(Request(platform=arm))
    assert (wrong.offers, "not a source of packages" in wrong.reason) == ((), True)
