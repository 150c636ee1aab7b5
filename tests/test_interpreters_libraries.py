"""Libraries that the manylinux policies allow: fetched if installed files need them, and only then."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import builders
import catalogs
import provisioned
import pytest

from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.interpreters.packages import apt, debian, libraries, tkinter
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.system import cache

emulates = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="emulates on x86-64 Linux"
)
ARM = Platform(system="linux", architecture="aarch64", libc="glibc")


@pytest.mark.parametrize(
    ("soname", "first"),
    [
        ("libX11.so.6", "libx11-6"),
        ("libXext.so.6", "libxext6"),
        ("libGL.so.1", "libgl1"),
        ("libGLX.so.0", "libglx0"),
        ("libpcre2-8.so.0", "libpcre2-8-0"),
        ("libglib-2.0.so.0", "libglib2.0-0"),
        ("libz.so.1", "zlib1g"),
        ("libtk8.6.so", "libtk8.6"),
    ],
)
def test_names_of_packages(soname: str, first: str) -> None:
    assert libraries.package_names(soname) == (first, f"{first}t64")


def test_a_loader_has_no_package() -> None:
    assert libraries.package_names("ld-linux-aarch64.so.1") == ()


@pytest.fixture(scope="session")
def arm(debian_archive: apt.Repository) -> Runtime:
    catalog = catalogs.catalog_of(debian.DebianProvider)
    answer = catalogs.ask(catalog, "debian", Request(platform=ARM))
    for offer in answer.offers:
        # Of the host's own release: its index is the only one that is queried.
        if f'"{debian_archive.codename}"' in offer.key:
            return catalog.get(offer)
    raise provisioned.missing("debian", answer.reason)


@pytest.fixture
def root(arm: Runtime) -> Path:
    assert arm.installation.root is not None
    return arm.installation.root


TESTS = """
import ctypes, os, subprocess

def test_of_the_wheel():
    assert "xsel version" in subprocess.run(["tool-xsel", "--version"], capture_output=True, text=True).stdout

def test_by_name():
    x11 = ctypes.CDLL("libX11.so.6")
    assert x11.XDefaultString
    assert "LD_LIBRARY_PATH" not in os.environ
"""


@emulates
@pytest.mark.long
@pytest.mark.network
def test_a_wheel_that_needs_libx11(
    arm: Runtime,
    root: Path,
    pytester: pytest.Pytester,
    run_wheels: Callable[..., pytest.RunResult],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    debian_archive: apt.Repository,
) -> None:
    own = tmp_path / "cache"
    own.mkdir()
    for name in ("qemu", "archives", "runtimes", "interpreters", "virtualenv"):
        (own / name).symlink_to(cache.root() / name)
    monkeypatch.setenv(cache.VARIABLE, str(own))
    apt.fetch(
        debian_archive, debian_archive.codename, ["xsel"], tmp_path / "xsel", architecture="arm64", dependencies=False
    )
    program = (tmp_path / "xsel/usr/bin/xsel").read_bytes()
    wheel = builders.build_wheel(
        pytester.path / "dist",
        "tool",
        files={"tool/__init__.py": "", "tool-1.0.data/scripts/tool-xsel": program},
        tags=["py3-none-manylinux_2_34_aarch64"],
        modes={"tool-1.0.data/scripts/tool-xsel": 0o100755},
    )
    (pytester.path / "test_tool.py").write_text(TESTS, encoding="utf-8")
    number = ".".join(map(str, arm.installation.version[:2]))
    arguments = ("-v", "--wheel", wheel, f"--wheel-python={number}", "--wheel-select=WHL101")
    offline = run_wheels(*arguments, "--wheel-offline", "test_tool.py", timeout=600)
    offline.stdout.fnmatch_lines(["*::run?tool-xsel? FAILED*"])
    offline.stdout.fnmatch_lines(
        ["*libX11.so.6 for aarch64 is not in the cache, and this run is offline; modules that need it will not load*"]
    )
    result = run_wheels(*arguments, "test_tool.py", timeout=600)
    result.assert_outcomes(passed=TESTS.count("def test_") + 1 + 3)
    result.stdout.fnmatch_lines(["*::run?tool-xsel? PASSED*"])
    run_wheels(*arguments, "--wheel-offline", timeout=600).assert_outcomes(passed=6)
    (made,) = (own / "roots").iterdir()
    assert {"libX11.so.6", "libxcb.so.1"} <= {path.name for path in (made / "libraries").iterdir()}
    # The root itself did not change.
    assert not list(root.rglob("libX11*"))


@emulates
@pytest.mark.network
def test_libraries_that_installed_files_need(arm: Runtime, root: Path, tmp_path: Path) -> None:
    installation = arm.installation
    library = next(path for path in root.rglob("libstdc++.so.6") if path.is_file())
    shutil.copyfile(library, tmp_path / "libodd.so")
    (tmp_path / "damaged.so").write_bytes(b"\x7fELF" + bytes(40))
    assert libraries.missing_libraries([tmp_path], installation) == frozenset()
    data = library.read_bytes().replace(b"\0libgcc_s.so.1\0", b"\0libSM.so.6\0\0\0\0")
    (tmp_path / "libodd.so").write_bytes(data)
    assert libraries.missing_libraries([tmp_path], installation) == {"libSM.so.6"}
    # A library that the wheel itself contains is not fetched.
    shutil.copyfile(library, tmp_path / "libSM.so.6")
    assert libraries.missing_libraries([tmp_path], installation) == frozenset()
    (tmp_path / "libSM.so.6").unlink()
    assert libraries.missing_libraries([tmp_path], installation) == {"libSM.so.6"}
    # Neither the host's libraries nor a root of the user are extended.
    assert libraries.missing_libraries([tmp_path], replace(installation, root=None)) == frozenset()
    assert libraries.missing_libraries([tmp_path], replace(installation, extensible=False)) == frozenset()


@emulates
@pytest.mark.network
def test_a_library_that_no_suite_has(arm: Runtime) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"has no package with libnothing\.so\.7") as caught:
        libraries.extend(arm.installation, frozenset({"libnothing.so.7"}))
    assert "apt_source = " in caught.value.fix


@emulates
@pytest.mark.network
def test_a_library_of_the_interpreter_is_not_the_wheels(
    arm: Runtime, root: Path, pytester: pytest.Pytester, run_wheels: Callable[..., pytest.RunResult]
) -> None:
    # The root has OpenSSL because the interpreter needs it; no policy lets a wheel rely on it.
    (module,) = root.glob("usr/lib/python3*/lib-dynload/_hashlib.*.so")
    wheel = builders.build_wheel(
        pytester.path / "dist",
        "tool",
        files={"tool/__init__.py": "", f"tool/{module.name}": module.read_bytes()},
        tags=[f"{arm.interpreter}-{arm.interpreter}-manylinux_2_34_aarch64"],
    )
    number = ".".join(map(str, arm.installation.version[:2]))
    result = run_wheels("-v", "--wheel", wheel, f"--wheel-python={number}", "--wheel-select=WHL101", timeout=600)
    result.stdout.fnmatch_lines(
        ["*::import?tool._hashlib? FAILED*", "*libcrypto.so.3*manylinux_2_34_aarch64 does not allow*"]
    )


DRAWING_TESTS = """
import sys, tkinter

def test_tcl():
    assert tkinter.Tcl().eval("expr 6 * 7") == "42"

def test_rest_of_the_standard_library():
    import sqlite3, ssl, turtle
    assert tkinter.__file__.startswith(sys.base_prefix)
"""


@emulates
@pytest.mark.network
def test_a_wheel_that_imports_tkinter(
    arm: Runtime,
    pytester: pytest.Pytester,
    run_wheels: Callable[..., pytest.RunResult],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    own = tmp_path / "cache"
    own.mkdir()
    for name in ("qemu", "archives", "runtimes", "interpreters", "virtualenv"):
        (own / name).symlink_to(cache.root() / name)
    monkeypatch.setenv(cache.VARIABLE, str(own))
    wheel = builders.build_wheel(
        pytester.path / "dist",
        "tool",
        files={
            "tool/__init__.py": "",
            "tool/drawn.py": "import sys\n\nif sys.platform:\n    from tkinter import ttk\n",
        },
        tags=["py3-none-manylinux_2_34_aarch64"],
    )
    number = ".".join(map(str, arm.installation.version[:2]))
    arguments = ("-v", "-rs", "--wheel", wheel, f"--wheel-python={number}", "--wheel-select=WHL101")
    offline = run_wheels(*arguments, "--wheel-offline", timeout=600)
    offline.assert_outcomes(passed=4, skipped=1)
    offline.stdout.fnmatch_lines(
        ["*tkinter*is not in the cache*", "*needs tkinter, a part of the standard library that this interpreter lacks*"]
    )
    (pytester.path / "test_tool.py").write_text(DRAWING_TESTS, encoding="utf-8")
    result = run_wheels(*arguments, "test_tool.py", timeout=600)
    result.assert_outcomes(passed=5 + DRAWING_TESTS.count("def test_"))
    # Only a wheel that imports it needs it.
    assert (arm.installation.library / arm.installation.library_name / "os.py").exists()
    assert not list(arm.installation.library.rglob("_tkinter.*"))


@emulates
@pytest.mark.network
def test_who_imports_tkinter(arm: Runtime, tmp_path: Path) -> None:
    installation = arm.installation

    def add(name: str, text: str, *, from_a_file: bool) -> None:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        information = tmp_path / f"{name}-1.0.dist-info"
        information.mkdir()
        (information / "RECORD").write_text(f"{name}.py,,\n{name}-1.0.dist-info/RECORD,,\n", encoding="utf-8")
        if from_a_file:
            (information / "direct_url.json").write_text("{}", encoding="utf-8")

    add("dependency", "import tkinter\n", from_a_file=False)
    add("own", "# import tkinter\ntext = 'import tkinter'\nimport tkinterx\n", from_a_file=True)
    assert not tkinter.is_missing([tmp_path], installation)
    (tmp_path / "own.py").write_text("def draw():\n    import _tkinter\n", encoding="utf-8")
    assert tkinter.is_missing([tmp_path], installation)
    for other in (
        replace(installation, extensible=False),
        replace(installation, implementation="pypy"),
        replace(installation, free_threaded=True),
        replace(installation, platform=replace(installation.platform, libc="musl")),
    ):
        assert not tkinter.is_missing([tmp_path], other)


@pytest.mark.network
@pytest.mark.parametrize(("suite", "minor"), [("bookworm", 11), ("trixie", 13)])
def test_the_package_that_has_tkinter(
    debian_archive: apt.Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suite: str, minor: int
) -> None:
    """Until Debian 12, there is one package. Since Debian 13, each version of CPython has its own."""
    if debian_archive.distribution != "debian":
        pytest.skip("compares suites of Debian")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    root = tmp_path / "made" / "root"
    for name in (
        "libBLT.2.5.so.8.6",
        "libX11.so.6",
        "libc.so.6",
        "ld-linux-aarch64.so.1",
        "libtcl8.6.so",
        "libtk8.6.so",
    ):
        present = root / "usr/lib" / name
        present.parent.mkdir(parents=True, exist_ok=True)
        present.touch()
    apt.write_origin(root.parent, debian_archive, suite)
    installation = Installation(
        program=root / "usr/bin/python",
        library=root / "usr/lib",
        root=root,
        implementation="cpython",
        version=(3, minor, 0),
        free_threaded=False,
        platform=ARM,
        libc_version=(2, 36),
        tags=(),
        provider="debian",
        how="",
        extensible=True,
    )
    (installation.library / installation.library_name / "lib-dynload").mkdir(parents=True)
    made = tkinter.extend(installation).library / installation.library_name
    assert (made / "tkinter/ttk.py").is_file()
    assert list(made.glob(f"lib-dynload/_tkinter.cpython-3{minor}-aarch64-linux-gnu.so"))
