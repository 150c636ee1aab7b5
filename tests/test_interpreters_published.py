"""The interpreters inside published wheels: really fetched, made and used."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import catalogs
import provisioned
import pytest
from builders import build_wheel
from nodes import Run

from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters import base, roots
from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.interpreters.host import HostInterpreter, HostProvider
from pytest_wheelcheck.interpreters.packages import apt, apt_suites
from pytest_wheelcheck.interpreters.published import console, pinned, standard_library, unpack
from pytest_wheelcheck.interpreters.published import provider as published
from pytest_wheelcheck.interpreters.published.table import PUBLISHED, PublishedInterpreter
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.system import cache

linux = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the interpreters are for x86-64 Linux"
)
GLIBC = Platform(system="linux", architecture="x86_64", libc="glibc")
MUSL = Platform(system="linux", architecture="x86_64", libc="musl")


def _catalog(host: HostProvider | None = None, *, find_links: Sequence[str] = ()) -> Catalog:
    """Return the catalog of the published interpreters alone: also the native ones are of them."""
    return catalogs.catalog_of(
        lambda native_python: published.PublishedProvider(host or HostProvider(), native_python, find_links=find_links),
        host=False,
    )


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    # The user's own cache: interpreters of earlier runs are not fetched again.
    return _catalog()


def _get(catalog: Catalog, platform: Platform, name: str) -> Runtime:
    answer = catalogs.ask(catalog, "published", Request(platform=platform))
    for offer in answer.offers:
        if f"3.{offer.version[1]}{'t' if offer.free_threaded else ''}" == name:
            return catalog.get(offer)
    raise provisioned.missing("published", answer.reason)


def test_the_table() -> None:
    assert len({each.sha256 for each in PUBLISHED}) == len(PUBLISHED) == 35
    assert all(len(each.sha256) == 64 for each in PUBLISHED)
    first = next(each for each in PUBLISHED if each.free_threaded)
    assert (first.abi, first.platform_tag) == ("cp314t", "manylinux_2_17_x86_64")


@linux
def test_offers_cost_nothing_and_promise_tags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    host, no_python = HostProvider(), catalogs.no_python
    offline = published.PublishedProvider(host, no_python, offline=True).offers(Request(platform=GLIBC))
    assert offline.offers == ()
    assert "offline" in offline.reason
    provider = published.PublishedProvider(host, no_python)
    for offer in provider.offers(Request(platform=GLIBC)).offers:
        assert offer.platform == GLIBC
        assert offer.libc_version == tuple(map(int, platform.libc_ver()[1].split(".")[:2]))
    windows = Platform(system="win32", architecture="amd64")
    assert provider.offers(Request(platform=windows)) == base.Answer()
    assert not list(tmp_path.glob("runtimes/*"))


@linux
def test_files_that_are_no_console_program() -> None:
    for data in (b"", b"not a program", Path(sys.executable).resolve().read_bytes()[:4096]):
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
child = subprocess.run([sys.executable, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True)
print(json.dumps({
    "prefix": sys.prefix, "base": sys.base_prefix, "executable": sys.executable, "child": child.stdout.strip(),
    "purelib": sysconfig.get_path("purelib"), "version": list(sys.version_info[:3]),
    "gil": getattr(sys, "_is_gil_enabled", lambda: True)(), "suffix": sysconfig.get_config_var("EXT_SUFFIX"),
    "path": sys.path,
}))
"""

CERTIFICATES = [path for path in unpack.CERTIFICATES if Path(path).is_file()] or ["no such file"]

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
    pytest.param(GLIBC, "3.14", marks=pytest.mark.long),
    pytest.param(GLIBC, "3.14t", marks=pytest.mark.long),
    (GLIBC, "3.15t"),
    pytest.param(MUSL, "3.12", marks=pytest.mark.long),
    (MUSL, "3.14t"),
]


@linux
@pytest.mark.network
@pytest.mark.parametrize(("where", "name"), WHICH, ids=lambda value: value if isinstance(value, str) else value.libc)
def test_a_real_interpreter(catalog: Catalog, where: Platform, name: str, tmp_path: Path) -> None:
    runtime = _get(catalog, where, name)
    installation = runtime.installation
    assert installation.platform.libc == where.libc
    assert installation.free_threaded == name.endswith("t")
    offers, _ = catalog.ask(Request(platform=where))
    assert installation.tags == next(offer.tags for offer in offers if offer.key == _sha(installation))
    script = tmp_path / "work.py"
    script.write_text(WORK, encoding="utf-8")

    # Those for musl search Alpine's directory /etc/ssl/certs when a certificate is needed, and load none in advance.
    certificates = CERTIFICATES[0] if where == GLIBC else "no such file"

    def facts(python: Path) -> dict[str, object]:
        completed = subprocess.run([python, "-c", FACTS], capture_output=True, text=True, check=True)
        return dict(json.loads(completed.stdout))

    own = facts(runtime.python)
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
        directory = tmp_path / kind
        subprocess.run([*argv, directory], check=True, capture_output=True)
        inside = facts(directory / "bin/python")
        assert inside["prefix"] == inside["child"] == str(directory), kind
        assert inside["base"] == own["prefix"], kind
        assert inside["purelib"] == str(directory / f"lib/python{name}/site-packages"), kind
        completed = subprocess.run(
            [directory / "bin/python", script, certificates], capture_output=True, text=True, check=False
        )
        assert completed.stdout == "all well\n", (kind, completed.stderr)
    for kind in ("with pip", "virtualenv"):
        pip = tmp_path / kind / "bin/pip"
        completed = subprocess.run([pip, "debug", "--verbose"], capture_output=True, text=True, check=True)
        assert installation.tags[0] in completed.stdout.split(), kind


def _sha(installation: Installation) -> str:
    return next(
        each.sha256
        for each in PUBLISHED
        if each.version == installation.version
        and (each.free_threaded, each.architecture, each.libc)
        == (installation.free_threaded, installation.platform.architecture, installation.platform.libc)
    )


@linux
@pytest.mark.network
@pytest.mark.parametrize(("where", "name"), [(GLIBC, "3.14t"), (MUSL, "3.12")])
def test_a_published_extension_loads(catalog: Catalog, where: Platform, name: str, tmp_path: Path) -> None:
    runtime = _get(catalog, where, name)
    directory = tmp_path / "env"
    subprocess.run([runtime.python, "-m", "venv", directory], check=True)
    pip: list[str | Path] = [directory / "bin/python", "-m", "pip", "install", "-q", "--only-binary=:all:", "rpds-py"]
    subprocess.run(pip, check=True)
    code = "import rpds, sys; print(rpds.HashTrieMap({'a': 1})['a'], getattr(sys, '_is_gil_enabled', lambda: 1)())"
    completed = subprocess.run([directory / "bin/python", "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.split() == ["1", "False" if name.endswith("t") else "1"]


@linux
@pytest.mark.network
def test_a_changed_digest_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    wrong = PublishedInterpreter(
        version=(3, 12, 15), free_threaded=False, architecture="x86_64", libc="glibc", sha256="0" * 64
    )
    monkeypatch.setattr(published, "PUBLISHED", (wrong,))
    catalog = _catalog()
    (offer,) = catalogs.ask(catalog, "published", Request(platform=GLIBC)).offers
    with pytest.raises(RuntimeUnavailableError, match="does not have the expected digest"):
        catalog.get(offer)
    assert [path.name for path in (tmp_path / "runtimes").iterdir()] == []


@linux
def test_an_empty_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    catalog = _catalog(find_links=[os.fspath(tmp_path)])
    offers = catalogs.ask(catalog, "published", Request(platform=GLIBC)).offers
    if not offers:
        raise provisioned.missing("published", "no interpreter is offered on this host")
    with pytest.raises(RuntimeUnavailableError) as caught:
        catalog.get(offers[0])
    assert "--wheel-offline" in caught.value.fix
    assert "freeze-core" in caught.value.details


class NoPython(HostProvider):
    """A host without interpreters."""

    def interpreters(self) -> tuple[HostInterpreter, ...]:
        return ()


@linux
@pytest.mark.network
def test_where_neither_host_nor_archive_has_a_standard_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere = standard_library.StandardLibraries(NoPython(), (), pinned.PackageIndex(), offline=False)
    offline = standard_library.StandardLibraries(NoPython(), (), pinned.PackageIndex(), offline=True)
    assert nowhere.unavailable_reason((3, 12)) == ""
    assert "and this host has none: install any CPython 3.10" in nowhere.unavailable_reason((3, 10))
    assert "3.12" in offline.unavailable_reason((3, 12))
    # A repository that cannot be read may have one.
    closed = apt.parse_source("deb http://127.0.0.1:9/debian suite main")
    unread = standard_library.StandardLibraries(NoPython(), [(closed, "amd64")], pinned.PackageIndex(), offline=False)
    reason = unread.unavailable_reason((3, 10))
    assert "package repository cannot be reached): install any CPython 3.10" in reason
    assert "nor its package repository" not in reason
    library = tmp_path / "python3.12"
    nowhere.copy((3, 12), library, tmp_path)
    for name in ("asyncio/__init__.py", "ensurepip/__init__.py", "multiprocessing/spawn.py", "venv/__init__.py"):
        assert (library / name).is_file(), name
    assert not list(library.glob("*wasi*"))
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(apt, "host_repository", lambda: None)
    runtime = _get(_catalog(NoPython()), GLIBC, "3.12")
    directory = tmp_path / "env"
    subprocess.run([runtime.python, "-m", "venv", directory], check=True)
    script = tmp_path / "work.py"
    script.write_text(WORK, encoding="utf-8")
    argv: list[str | Path] = [directory / "bin/python", script, CERTIFICATES[0]]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "all well\n"


@linux
@pytest.mark.network
def test_a_standard_library_of_the_package_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Debian changes the name of a file that sysconfig reads, in some versions."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    runtime = _get(_catalog(NoPython()), GLIBC, "3.11")
    code = "import sysconfig; print(sysconfig.get_config_var('VERSION'), sysconfig.get_config_var('EXT_SUFFIX'))"
    subprocess.run([runtime.python, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    for python in (runtime.python, tmp_path / "env/bin/python"):
        completed = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        assert completed.stdout.split() == ["3.11", ".cpython-311-x86_64-linux-gnu.so"]


@linux
@pytest.mark.network
def test_an_embedded_library_that_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    embedded = replace(standard_library.EMBEDDED[3, 12], sha256="0" * 64)
    monkeypatch.setitem(standard_library.EMBEDDED, (3, 12), embedded)
    nowhere = standard_library.StandardLibraries(NoPython(), (), pinned.PackageIndex())
    with pytest.raises(RuntimeUnavailableError, match="does not have the expected digest"):
        nowhere.copy((3, 12), tmp_path / "python3.12", tmp_path)
    assert not (tmp_path / "python3.12").exists()


@linux
@pytest.mark.network
def test_a_c_library_that_is_new_enough_for_the_wheel(catalog: Catalog, debian_archive: apt.Repository) -> None:
    arm = Platform(system="linux", architecture="aarch64", libc="glibc")

    def versions(minimum: tuple[int, int]) -> set[tuple[int, int]]:
        request = Request(platform=arm, minimum_libc=minimum)
        return {offer.libc_version for offer in catalogs.ask(catalog, "published", request).offers}

    if not versions((0, 0)):
        raise provisioned.missing("published", "this host's archive has none for aarch64")
    newest = max(
        roots.upstream_version(suite.packages.get("libc6", ""))
        for batch in apt_suites.batches(debian_archive)
        for suite in apt_suites.query(debian_archive, "arm64", batch)
    )
    assert min(versions(newest)) >= newest
    # If none is new enough, an older one is offered, so that the reason can name it.
    assert versions((2, 999))


@linux
@pytest.mark.network
def test_an_archive_of_the_user_has_the_c_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, debian_archive: apt.Repository
) -> None:
    arm = Platform(system="linux", architecture="aarch64", libc="glibc")
    found = debian_archive
    if "BEGIN PGP" in found.signed_by:
        pytest.skip("this host has no archive that one line can name")
    key = f"[signed-by={found.signed_by}] " if found.signed_by else ""
    line = f"deb {key}{found.uri} {found.codename} main"
    monkeypatch.setattr(apt, "host_repository", lambda: None)
    (tmp_path / "archives").symlink_to(cache.root() / "archives")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))

    def offers(source: str) -> base.Answer:
        provider = published.PublishedProvider(HostProvider(), catalogs.no_python, apt_source=source)
        return provider.offers(Request(platform=arm))

    without = offers("")
    assert without.offers == ()
    assert "comes from a package repository of Debian or Ubuntu" in without.reason
    assert offers(line).offers
    wrong = offers("the one next door")
    assert (wrong.offers, "not a source of packages" in wrong.reason) == ((), True)


@linux
@pytest.mark.network
def test_executables_for_musl(pytester: pytest.Pytester, run_wheels: Run, tmp_path: Path) -> None:
    """They start, although the dynamic loader that they name does not exist here; those for glibc do not."""
    ninja = pinned.PinnedWheel(
        distribution="ninja",
        version="1.13.0",
        python="3.12",
        abi="none",
        platform="musllinux_1_2_x86_64",
        sha256="b4f2a072db3c0f944c32793e91532d8948d20d9ab83da9c0c7c15b5768072200",
    )
    (pytester.path / "dist").mkdir()
    wheel = pinned.download(ninja, pinned.PackageIndex(), tmp_path / "ninja")
    shutil.copy(wheel, pytester.path / "dist")
    shell = Path("/bin/true").resolve().read_bytes()
    script = "other-1.0.data/scripts/true"
    build_wheel(
        pytester.path / "dist",
        "other",
        files={"other.py": "", script: shell},
        tags=["py3-none-musllinux_1_2_x86_64"],
        modes={script: 0o100755},
    )
    result = run_wheels("--wheel=dist", "--wheel-select=WHL201", "--wheel-python=3.12", "-rA")
    if "needs musl libc" in result.stdout.str():
        raise provisioned.missing("published", result.stdout.str())
    result.stdout.fnmatch_lines_random(["PASSED dist/ninja-*::run?ninja?", "FAILED dist/other-*::run?true?*"])
