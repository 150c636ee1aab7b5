"""Root file systems that the user names: a Debian for aarch64 and one with musl, with the traps of real images."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import builders
import catalogs
import images
import pytest

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.interpreters.directory import link_farm
from pytest_wheelcheck.interpreters.directory.provider import DirectoryProvider
from pytest_wheelcheck.interpreters.directory.sysroots import parse_sysroots
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.published.provider import PublishedProvider
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.system.pip import pip_command

emulates = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="emulates on x86-64 Linux"
)
posix = pytest.mark.skipif(os.name != "posix", reason="root file systems are full of symbolic links")

ARM = Platform(system="linux", architecture="aarch64", libc="glibc")
ARM_MUSL = Platform(system="linux", architecture="aarch64", libc="musl")


# --- values of --wheel-sysroot -----------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aarch64", "not of the form"),
        ("vax=/srv", "not of the form"),
        ("aarch64=", "not of the form"),
        ("aarch64={}/nowhere", "there is no "),
        ("aarch64={}/empty", "no CPython 3.9 or later"),
        ("aarch64={}/text", "no CPython 3.9 or later"),
        ("aarch64=/", "this host itself"),
        ("arm64={}/other", "is for armv7l, not for aarch64"),
        ("aarch64={}/other/usr/bin/python3.11", "is for armv7l, not for aarch64"),
    ],
)
def test_invalid_root_file_systems(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("text", "other"):
        (tmp_path / name / "usr/bin").mkdir(parents=True)
        (tmp_path / name / "usr/lib/python3.11").mkdir(parents=True)
        (tmp_path / name / "usr/lib/python3.11/os.py").touch()
    (tmp_path / "text/usr/bin/python3.11").write_text("#!/bin/sh\n", encoding="utf-8")
    # elf(5): 32 bits, least significant byte first; ET_EXEC, EM_ARM, EV_CURRENT; no program headers.
    header = b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + b"\x02\0\x28\0\x01\0\0\0"
    (tmp_path / "other/usr/bin/python3.11").write_bytes(header.ljust(52, b"\0"))
    with pytest.raises(UsageError, match=message) as caught:
        parse_sysroots([text.format(tmp_path)])
    assert caught.value.fix


@posix
def test_links_are_followed_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/real").write_text("here", encoding="utf-8")
    for name, target in {
        "lib": "/usr/lib",
        "above": "../../../usr/lib/real",
        "usr/again": "/lib/real",
        "round": "/about",
        "about": "/round",
        "out": "/etc/passwd",
    }.items():
        (tmp_path / name).symlink_to(target)
    real = tmp_path / "usr/lib/real"
    for name in ("lib/real", "above", "usr/again"):
        assert link_farm.resolve(tmp_path, tmp_path / name) == real
    for name in ("round", "out", "missing/further"):
        assert link_farm.resolve(tmp_path, tmp_path / name) is None


@posix
def test_a_link_farm(tmp_path: Path) -> None:
    root, farm = tmp_path / "root", tmp_path / "farm"
    for name in ("usr/lib/clean", "usr/lib/linked", "tmp", "home/me", "dev", "etc/ssl"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text(name, encoding="utf-8")
    (root / "lib").symlink_to("/usr/lib")
    (root / "usr/lib/linked/absolute").symlink_to("/usr/lib/clean/file")
    (root / "etc/passwd").touch()
    (root / "usr/lib64").mkdir()
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    link_farm.make(root, farm)
    assert sorted(path.name for path in farm.iterdir()) == ["etc", "lib", "lib64", "usr"]
    assert (farm / "lib64").resolve() == root / "usr/lib64"
    assert sorted(path.name for path in (farm / "etc").iterdir()) == ["ssl"]
    assert (farm / "lib/linked/absolute").read_text(encoding="utf-8") == "usr/lib/clean"
    assert (farm / "lib/linked/file").read_text(encoding="utf-8") == "usr/lib/linked"
    assert (farm / "usr/lib/clean").is_symlink()
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before


# --- real interpreters -------------------------------------------------------------------------------------------------

TESTS = """
import multiprocessing, os, pathlib, platform, ssl, sqlite3, subprocess, sys, tempfile

def square(number):
    return number * number, platform.machine()

def test_where_we_are(wheel_target):
    assert platform.machine() == wheel_target.architecture == "aarch64"
    assert wheel_target.libc == os.environ["EXPECTED_LIBC"]
    assert pathlib.Path(sys.executable).parent == pathlib.Path(sys.prefix, "bin")

def test_the_directories_of_the_host():
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        assert pathlib.Path(file.name).name in os.listdir("/tmp")
    assert "trap" not in os.listdir("/tmp") + os.listdir("/")
    assert pathlib.Path(os.environ["MARKER"]).read_text() == "of the host"

def test_processes():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(square, [7]) == [(49, "aarch64")]
    completed = subprocess.run([sys.executable, "-c", "print(42)"], capture_output=True, text=True, check=True, env={})
    assert completed.stdout == "42\\n"
"""


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the emulators and archives of the user's cache, and without its interpreters."""
    shared = cache.root()
    directory = tmp_path / "cache"
    directory.mkdir()
    for name in ("qemu", "archives", "roots", "interpreters", "virtualenv"):
        (shared / name).mkdir(parents=True, exist_ok=True)
        (directory / name).symlink_to(shared / name)
    monkeypatch.setenv(cache.VARIABLE, str(directory))
    return directory


def _contents(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: ((found := path.lstat()).st_mtime_ns, found.st_size) for path in (root, *root.rglob("*"))}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of a board, with the absolute links and directories of a real one."""
    root = tmp_path_factory.mktemp("image") / "board"
    images.of_debian(root, "aarch64")
    return root


@emulates
@pytest.mark.network
@pytest.mark.usefixtures("debian_archive")
def test_a_board(
    board: Path,
    own_cache: Path,
    pytester: pytest.Pytester,
    run_wheels: Callable[..., pytest.RunResult],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (found,) = parse_sysroots([f"arm64={board}"])
    (one,) = found.interpreters
    assert one.program.parent == board / "usr/bin"
    assert one.root == board
    assert one.libc_version >= (2, 31)
    assert one.version[2] > 0
    marker = tmp_path / "home" / "trap"
    marker.parent.mkdir()
    marker.write_text("of the host", encoding="utf-8")
    wheel = builders.build_wheel(
        pytester.path / "dist",
        "tool",
        files={"tool/__init__.py": "", "tool-1.0.data/scripts/tool-native": one.program.read_bytes()},
        tags=["py3-none-manylinux_2_17_aarch64"],
        modes={"tool-1.0.data/scripts/tool-native": 0o100755},
    )
    (pytester.path / "test_tool.py").write_text(TESTS, encoding="utf-8")
    (pytester.path / "pytest.ini").write_text("[pytest]\nwheel_sysroots =\n  aarch64=board\n", encoding="utf-8")
    (pytester.path / "board").symlink_to(board)
    monkeypatch.setenv("EXPECTED_LIBC", "glibc")
    monkeypatch.setenv("MARKER", str(marker))
    before = _contents(board)
    result = run_wheels(
        "-v", "--wheel", wheel, "--wheel-python=auto", "--wheel-select=WHL101", "test_tool.py", timeout=600
    )
    result.assert_outcomes(passed=TESTS.count("def test_") + 1 + 3)
    name = f"cp3{one.version[1]}-linux-aarch64"
    result.stdout.fnmatch_lines([f"*::{name}::test_tool.py::test_processes PASSED*"])
    # No other interpreter was made.
    assert [path.name for path in (own_cache / "runtimes").glob("*")] == [Path(one.cache_key("aarch64")).name]
    assert _contents(board) == before


@emulates
@pytest.mark.network
@pytest.mark.usefixtures("debian_archive", "own_cache")
def test_an_interpreter_by_its_path_and_one_that_changed(board: Path) -> None:
    # An absolute link of the image: seen from the host, it leads nowhere, or to a program of the host.
    (found,) = parse_sysroots([f"aarch64={board / 'usr/bin/python3'}"])
    assert found.interpreters[0].root == board
    catalog = catalogs.catalog_of(lambda native_python: DirectoryProvider([found], native_python))
    runtime = images.get(catalog, "directory", ARM)
    installation = runtime.installation
    assert installation.provider == "directory"
    assert installation.program == found.interpreters[0].program
    assert shlex.split(runtime.python.read_text(encoding="utf-8").splitlines()[1])[-2] == str(installation.program)
    code = "import sys, ssl, ctypes; print(sys.prefix == sys.base_prefix, sys.flags.dont_write_bytecode)"
    completed = subprocess.run([runtime.python, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout == "True 0\n"
    command = [sys.executable, "-m", "pytest_wheelcheck"]
    named = ["--sysroot", f"aarch64={board}", "aarch64"]
    arguments = ["runtime", "path", *named, installation.stem]
    output = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True).stdout
    assert output.strip() == str(runtime.python)
    doctor = subprocess.run(
        [*command, "doctor", "--offline", "--json", *named], capture_output=True, text=True, check=True
    )
    (row,) = json.loads(doctor.stdout)
    assert [each["provider"] for each in row["interpreters"]] == ["directory"]
    (again,) = parse_sysroots([f"aarch64={board}"])
    assert cache.find(again.interpreters[0].cache_key("aarch64"))
    os.utime(found.interpreters[0].program, ns=(1, 1))
    assert cache.find(again.interpreters[0].cache_key("aarch64")) is None


@pytest.fixture(scope="module")
def alpine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with musl."""
    root = tmp_path_factory.mktemp("image") / "alpine"
    images.with_musl(root)
    return root


@emulates
@pytest.mark.network
@pytest.mark.usefixtures("debian_archive")
def test_a_root_with_musl(
    alpine: Path,
    own_cache: Path,
    pytester: pytest.Pytester,
    run_wheels: Callable[..., pytest.RunResult],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    root = alpine
    (sysroot,) = parse_sysroots([f"aarch64={root}"])
    (one,) = sysroot.interpreters
    assert (one.libc, one.libc_version, one.version[:2]) == ("musl", (1, 2), (3, 12))
    pip = [*pip_command(), "download", "-q", "--no-deps", "--only-binary=:all:", "-d", "dist"]
    pip += ["--platform=musllinux_1_2_aarch64", "--python-version=3.12", "--abi=cp312", "--implementation=cp"]
    subprocess.run([*pip, "rpds-py"], check=True, cwd=pytester.path)
    more = "import rpds\ndef test_wheel():\n    assert rpds.HashTrieMap({'a': 1}).insert('b', 2)['b'] == 2\n"
    (pytester.path / "test_tool.py").write_text(TESTS + more, encoding="utf-8")
    monkeypatch.setenv("EXPECTED_LIBC", "musl")
    marker = tmp_path / "marker"
    marker.write_text("of the host", encoding="utf-8")
    monkeypatch.setenv("MARKER", str(marker))
    before = _contents(root)
    arguments = (
        "-v",
        "--wheel=dist",
        f"--wheel-sysroot=aarch64={root}",
        "--wheel-python=auto",
        "--wheel-select=WHL101",
        "test_tool.py",
    )
    result = run_wheels(*arguments, timeout=600)
    result.stdout.fnmatch_lines(["*::cp312-musllinux-aarch64::test_tool.py::test_wheel PASSED*"])
    assert result.ret == 0
    assert _contents(root) == before
    # A wheel for glibc cannot be tested in this root, and the reason says why.
    answer = DirectoryProvider([sysroot], catalogs.no_python).offers(Request(platform=ARM))
    assert answer.offers == ()
    assert "is for musl" in answer.reason


@emulates
@pytest.mark.network
@pytest.mark.usefixtures("debian_archive", "own_cache")
def test_an_interpreter_of_the_hosts_own_architecture(tmp_path: Path) -> None:
    host = Platform(system="linux", architecture="x86_64", libc="glibc")
    catalog = catalogs.catalog_of(lambda native_python: PublishedProvider(HostProvider(), native_python), host=False)
    installation = images.get(catalog, "published", host, 12).installation
    (found,) = parse_sysroots([f"x86_64={installation.program.parent.parent}"])
    assert found.interpreters[0].root is None
    catalog = catalogs.catalog_of(lambda native_python: DirectoryProvider([found], native_python), host=False)
    runtime = images.get(catalog, "directory", host)
    assert (runtime.backend.name, runtime.installation.version) == ("native", installation.version)
    code = "import sys, ssl, ctypes; print(sys.executable)"
    completed = subprocess.run([runtime.python, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == str(runtime.python)


def test_a_usage_error_of_a_run(pytester: pytest.Pytester, run_wheels: Callable[..., pytest.RunResult]) -> None:
    builders.build_wheel(pytester.path / "dist", "tool", files={"tool/__init__.py": ""})
    result = run_wheels("--wheel=dist", "--wheel-sysroot=aarch64=nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--wheel-sysroot aarch64=*nowhere: there is no *"])
