"""Wheels of another architecture, from a host that has nothing prepared to the last test: for real."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import archives
import builders
import provisioned
import pytest
from nodes import outcomes, parse_output

from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.catalog import Catalog, make_catalog
from pytest_wheelcheck.backends.registry import backends
from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.packages import apt, apt_suites
from pytest_wheelcheck.interpreters.packages.debian import DebianProvider
from pytest_wheelcheck.model import Outcome, Platform
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.targets.planning import plan
from pytest_wheelcheck.targets.target import NoTarget

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="emulates on x86-64 Linux"),
    pytest.mark.usefixtures("debian_archive"),
]

ARM = Platform(system="linux", architecture="aarch64", libc="glibc")

TESTS = """
import multiprocessing, os, pathlib, platform, shutil, subprocess, sys, sysconfig
import pytest, tool

def square(number):
    return number * number, sys.prefix, platform.machine()

def said(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, check=True, **more).stdout.strip()

def test_where_we_are():
    assert platform.machine() == "aarch64"
    assert sys.prefix != sys.base_prefix
    assert pathlib.Path(sys.executable).parent == pathlib.Path(sys.prefix, "bin")
    assert pathlib.Path(tool.__file__).is_relative_to(sys.prefix)
    assert pathlib.Path(sysconfig.get_path("purelib")).is_relative_to(sys.prefix)

def test_subprocess():
    assert said(sys.executable, "-c", "import sys, tool; print(sys.prefix, sys.executable)") == (
        f"{sys.prefix} {sys.executable}")

@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(square, [7]) == [(49, sys.prefix, "aarch64")]

def test_console_script():
    assert said("tool-hello") == f"hello from {sys.prefix}"

def test_executable_of_the_wheel():
    assert pathlib.Path(shutil.which("tool-native")).parent == pathlib.Path(sys.prefix, "bin")
    for how in ("tool-native", pathlib.Path(sys.prefix, "bin", "tool-native")):
        assert "GLIBC" in said(how, "--version")
        assert "GLIBC" in said("/bin/sh", "-c", f"{how} --version")

def test_executable_in_the_package():
    inner = pathlib.Path(tool.__file__).with_name("data") / "inner"
    assert said(inner, "-c", "import platform; print(platform.machine())") == "aarch64"

def test_a_program_of_the_host():
    assert said("/bin/echo", "hello") == "hello"

def test_pty():
    here, there = os.openpty()
    os.write(there, b"x")
    assert os.read(here, 1) == b"x"
"""


#: Nodes of a run on the wheel ``tool`` apart from its tests.
ALWAYS = 5

#: The tests of a program that makes an environment and starts pip in it. Both are slow under an emulator.
ENVIRONMENT_INSIDE = """
import pathlib, subprocess, sys

WHEEL = "tool-1.0-py3-none-manylinux_2_17_aarch64.whl"

def said(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done
    return done.stdout.strip()

def test_environment_inside(tmp_path):
    inner = tmp_path / "inner"
    said(sys.executable, "-m", "venv", inner)
    python = inner / "bin" / "python"
    assert said(python, "-c", "import sys; print(sys.prefix, sys.executable)") == f"{inner} {python}"
    wheel = pathlib.Path("dist", WHEEL).absolute()
    said(inner / "bin" / "pip", "--isolated", "install", "--no-index", "--disable-pip-version-check", wheel)
    assert said(inner / "bin" / "tool-hello") == f"hello from {inner}"
    assert said(python, "-c", "import tool; print(tool.__file__)").startswith(str(inner))
"""


def _of_debian(*, source: str = "") -> Catalog:
    """Return a catalog of interpreters of the archive, and of the host for native help."""
    return Catalog(lambda native_python: [HostProvider(), DebianProvider(native_python, apt_source=source)], backends())


def _named(*names: str) -> list[str]:
    """Return the node ids of functions in :data:`TESTS`."""
    return [f"test_tool.py::test_{name}" for name in names]


def _get(catalog: Catalog, where: Platform, version: tuple[int, int]) -> Runtime:
    request = Request(platform=where, wanted=frozenset({("cpython", version, False)}))
    offers, reasons = catalog.ask(request)
    for offer in offers:
        if offer.version[:2] == version:
            return catalog.get(offer)
    raise provisioned.missing("debian", "; ".join(map(str, reasons)))


@pytest.fixture(scope="session")
def version(debian_archive: apt.Repository) -> tuple[int, int]:
    # Of the host's own release: its index is the only one that is asked.
    (suite,) = apt_suites.query(debian_archive, "arm64", [debian_archive.codename])
    for package in suite.packages:
        if package.startswith("python3.") and package.endswith("-minimal"):
            return (3, int(package.removeprefix("python3.").removesuffix("-minimal")))
    raise provisioned.missing("debian", suite.problem or "the archive of this host does not carry arm64")


@pytest.fixture(scope="session")
def arm(version: tuple[int, int]) -> Runtime:
    return _get(_of_debian(), ARM, version)


@pytest.fixture
def tool(pytester: pytest.Pytester, arm: Runtime) -> Path:
    """A wheel for aarch64 with a console script and executables.

    Among the scripts a static one, which the root's loader is; in the package one that needs the loader, an interpreter.
    """
    root = arm.installation.root
    assert root is not None
    program = (root / "lib/ld-linux-aarch64.so.1").resolve().read_bytes()
    return builders.build_wheel(
        pytester.path / "dist",
        "tool",
        files={
            "tool/__init__.py": "import sys\ndef main():\n    print('hello from', sys.prefix)\n",
            "tool/data/inner": arm.installation.program.read_bytes(),
            "tool-1.0.data/scripts/tool-native": program,
        },
        tags=["py3-none-manylinux_2_17_aarch64"],
        entry_points={"console_scripts": {"tool-hello": "tool:main"}},
        modes=dict.fromkeys(("tool-1.0.data/scripts/tool-native", "tool/data/inner"), 0o100755),
    )


def test_all_modules_are_imported(
    version: tuple[int, int], pytester: pytest.Pytester, run_wheels: Callable[..., pytest.RunResult]
) -> None:
    builders.build_wheel(
        pytester.path / "dist",
        "tool",
        files={
            "tool/__init__.py": "",
            "tool/machine.py": "import platform\nassert platform.machine() == 'aarch64'\n",
            "tool/width.py": "import not_declared\n",
            "tool/leaves.py": "import os\nos._exit(3)\n",
            "tool/broken.py": "def f(:\n",
        },
        tags=["py3-none-manylinux_2_17_aarch64"],
    )
    words = ("-v", "--wheel=dist", "--wheel-select=WHL101", f"--wheel-python={version[0]}.{version[1]}")
    result = run_wheels(*words, timeout=300)
    seen = parse_output(int(result.ret), result.stdout.str())
    assert seen.only("FAILED") == ["compile", "modules[tool]"]
    assert "tool.width cannot be imported: ModuleNotFoundError: No module named 'not_declared'" in seen.text
    assert "tool.leaves: the interpreter died: exit status 3" in seen.text
    assert "tool/broken.py, line 1: SyntaxError" in seen.text
    assert "tool.machine" not in seen.text


def test_a_whole_run(
    tool: Path, version: tuple[int, int], pytester: pytest.Pytester, run_wheels: Callable[..., pytest.RunResult]
) -> None:
    (pytester.path / "test_tool.py").write_text(TESTS, encoding="utf-8")
    number = ".".join(map(str, version))
    words = (
        "-v",
        "--wheel",
        tool,
        f"--wheel-python={number}",
        "--wheel-select=WHL101",
        "--durations=5",
        "test_tool.py",
    )
    first = run_wheels(*words, timeout=600)
    # One of the functions has three parameters.
    first.assert_outcomes(passed=TESTS.count("def test_") + 2 + ALWAYS)
    name = f"cp{version[0]}{version[1]}-linux-aarch64"
    first.stdout.fnmatch_lines(
        [f"*::{name}::run?tool-native? PASSED*", f"*::{name}::test_tool.py::test_multiprocessing?forkserver? PASSED*"]
    )
    # What the first run fetched is enough for a second one without the network.
    again = run_wheels(*words[:-1], "--wheel-offline", *_named("where_we_are", "console_script"), timeout=600)
    again.assert_outcomes(passed=2 + ALWAYS)


@pytest.mark.long
def test_a_program_that_makes_an_environment(
    tool: Path, version: tuple[int, int], pytester: pytest.Pytester, run_wheels: Callable[..., pytest.RunResult]
) -> None:
    (pytester.path / "test_inside.py").write_text(ENVIRONMENT_INSIDE, encoding="utf-8")
    number = ".".join(map(str, version))
    words = ("-v", "--wheel", tool, f"--wheel-python={number}", "--wheel-select=WHL101", "test_inside.py")
    result = run_wheels(*words, timeout=600)
    result.assert_outcomes(passed=1 + ALWAYS)


ENDINGS = """
import os, platform, signal
import pytest

@pytest.fixture(scope="module")
def shared():
    return []

@pytest.mark.parametrize("n", range(4))
def test_passes(n, shared, record_property):
    record_property("machine", platform.machine())
    shared.append(n)

def test_fails():
    assert platform.machine() is None

def test_fails_when_emulated(wheel_target):
    assert not wheel_target.emulated

@pytest.mark.wheel_target(skip=True, emulated=True)
def test_skipped():
    pass

@pytest.mark.xfail(strict=True)
def test_xfails():
    assert False

@pytest.fixture
def broken():
    raise OSError("broken")

def test_error(broken):
    pass

def test_crash():
    os.kill(os.getpid(), signal.SIGSEGV)

def test_after():
    pass
"""


def test_split_over_workers(
    version: tuple[int, int], arm: Runtime, pytester: pytest.Pytester, run_wheels: Callable[..., pytest.RunResult]
) -> None:
    """`-n` with an emulated and a native target of one release: the same outcomes, from several workers."""
    for architecture in ("aarch64", "x86_64"):
        builders.build_wheel(
            pytester.path / "dist",
            "tool",
            files={"tool/__init__.py": ""},
            tags=[f"py3-none-manylinux_2_17_{architecture}"],
        )
    (pytester.path / "test_endings.py").write_text(ENDINGS, encoding="utf-8")
    number = ".".join(map(str, version))
    words = ("--wheel=dist", f"--wheel-python={number}", "--wheel-select=WHL101", "test_endings.py")
    serial = run_wheels(*words, "--junit-xml=serial.xml", timeout=300)
    parallel = run_wheels(*words, "--junit-xml=parallel.xml", "-v", "-n2", timeout=300)
    assert parallel.ret == serial.ret == pytest.ExitCode.TESTS_FAILED
    assert parallel.parseoutcomes() == serial.parseoutcomes()
    expected = outcomes(pytester.path / "serial.xml")
    assert outcomes(pytester.path / "parallel.xml") == expected
    for architecture in ("aarch64", "x86_64"):
        found = {name: told for name, told in expected.items() if f"linux-{architecture}" in name}
        assert len(found) == 2 + 11
        assert [told for name, told in found.items() if name.endswith("[3]")] == [[f"machine={architecture}"]]
        assert sum(any("failure" in one for one in told) for told in found.values()) == 2 + (architecture == "aarch64")
    workers = {line.split()[0] for line in parallel.outlines if line.startswith("[gw") and "-aarch64::test_" in line}
    assert workers == {"[gw0]", "[gw1]"}


def test_offline_with_an_empty_cache_says_how_to_fill_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    wheel = builders.build_wheel(tmp_path / "dist", "tool", tags=["cp311-cp311-manylinux_2_17_aarch64"])
    from pytest_wheelcheck.wheels.reader import open_wheel

    opened = open_wheel(wheel, shown="tool.whl", store=tmp_path / "store")
    found, without = plan.plan([opened], ["auto"], make_catalog(offline=True))
    assert found == []
    assert without[0].outcome is Outcome.ERROR
    assert "offline" in without[0].reason
    assert "wheelcheck runtime install aarch64" in without[0].reason


def _nothing(folder: Path, asked: Catalog) -> NoTarget:
    from pytest_wheelcheck.wheels.reader import open_wheel

    wheel = builders.build_wheel(folder / "dist", "tool", tags=["cp311-cp311-manylinux_2_17_aarch64"])
    found, without = plan.plan([open_wheel(wheel, shown="tool.whl", store=folder / "store")], ["auto"], asked)
    assert found == []
    return without[0]


def test_what_cannot_be_found_out_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that cannot be reached, or a cache that cannot be written, is nothing that a wheel passes by."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    away = "deb [trusted=yes] http://127.0.0.1:9/debian stable main"
    told = _nothing(tmp_path / "one", _of_debian(source=away))
    assert (told.outcome, "cannot be reached" in told.reason) == (Outcome.ERROR, True)
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    told = _nothing(tmp_path / "two", _of_debian(source=away))
    assert (told.outcome, "cannot be written" in told.reason) == (Outcome.ERROR, True)


PROVISION = """
import sys
from pytest_wheelcheck.system import progress
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.backends.registry import backends
from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.interpreters.packages.debian import DebianProvider
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.model import Platform
version = tuple(map(int, sys.argv[1].split(".")))
platform = Platform(system="linux", architecture=sys.argv[2], libc="glibc")
catalog = Catalog(lambda native_python: [HostProvider(), DebianProvider(native_python)], backends())
request = Request(platform=platform, wanted=frozenset({("cpython", version, False)}))
with progress.log_to(sys.stdout):
    offer = next(o for o in catalog.ask(request)[0] if o.version[:2] == version)
    print(catalog.get(offer).python)
"""


def _start(version: tuple[int, int], folder: Path, architecture: str = "i686") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROVISION, ".".join(map(str, version)), architecture],
        env={**os.environ, cache.VARIABLE: str(folder), "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder.parent)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    """A cache of its own that knows what the archive has."""
    folder = tmp_path / "cache"
    folder.mkdir()
    with contextlib.suppress(FileNotFoundError):
        shutil.copytree(cache.root() / "archives", folder / "archives")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_two_at_once_make_it_once(version: tuple[int, int], fresh: Path) -> None:
    both = [_start(version, fresh) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("fetching" in text for text in said) == 1
    assert said[0].splitlines()[-1] == said[1].splitlines()[-1]


def test_an_interrupted_one_heals(version: tuple[int, int], fresh: Path) -> None:
    if sys.platform == "win32":
        return
    process = _start(version, fresh)
    end = time.monotonic() + 120
    while not list(fresh.glob("runtimes/.making-*/root/usr")) and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert list(fresh.glob("runtimes/.making-*"))
    assert not list(fresh.glob("runtimes/debian-*"))
    assert list(fresh.parent.glob("wheelcheck-*"))
    again = _start(version, fresh)
    said = again.communicate(timeout=300)[0]
    assert again.returncode == 0, said
    assert not list(fresh.glob("runtimes/.making-*"))
    assert not list(fresh.parent.glob("*wheelcheck-*"))
    python = said.splitlines()[-1]
    told = subprocess.check_output([python, "-c", "import platform; print(platform.machine())"], text=True)
    assert told == "i686\n"


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can become somebody else")
def test_an_unprivileged_user_with_a_fresh_home(tool: Path, version: tuple[int, int]) -> None:
    """From nothing, the emulator too, to the last test."""
    if sys.platform == "win32":
        return
    system = Path("/usr/bin/python3")
    if not system.is_file() or not shutil.which("setpriv"):
        pytest.skip("needs an interpreter that everybody can read, and setpriv")
    import uv

    folder = Path("/tmp") / f"wheelcheck-nobody-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        home = folder / "home"
        home.mkdir()
        os.chown(home, 65534, 65534)
        environment = folder / "env"
        subprocess.run([uv.find_uv_bin(), "-q", "venv", "--python", system, environment], check=True)
        project = Path(__file__).parent.parent
        installing = [uv.find_uv_bin(), "-q", "pip", "install", "--link-mode", "copy", "--python"]
        subprocess.run([*installing, environment / "bin/python", project], check=True)
        shutil.copy(tool, folder)
        (folder / "test_tool.py").write_text(TESTS, encoding="utf-8")
        clean = {key: value for key, value in os.environ.items() if key.startswith(("SSL_", "PIP_CERT", "REQUESTS_"))}
        number = ".".join(map(str, version))
        words = ["--wheel", tool.name, f"--wheel-python={number}", "--wheel-select=WHL101"]
        named = _named("where_we_are", "subprocess", "console_script", "executable_in_the_package", "pty")
        told = subprocess.run(
            [
                *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                *(
                    str(environment / "bin/python"),
                    "-I",
                    "-m",
                    "pytest",
                    "-v",
                    "-p",
                    "no:cacheprovider",
                    *words,
                    *named,
                ),
            ],
            env={**clean, "HOME": str(home), "PATH": os.defpath},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        seen = parse_output(told.returncode, told.stdout, told.stderr)
        assert seen.code == 0, seen.text
        assert len(seen.only("PASSED")) == len(seen.nodes) == len(named) + ALWAYS - len(["WHL101"]), seen.text
        assert {each.name for each in (home / ".cache" / "pytest-wheelcheck").iterdir()} >= {
            "qemu",
            "runtimes",
            "overlays",
        }
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(not shutil.which("gpg"), reason="makes an archive of its own, which gpg signs")
def test_an_archive_without_the_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    index = "Package: python3.11-minimal\nArchitecture: amd64\nVersion: 3.11.2-6\nFilename: none\n\n"
    catalog = _of_debian(source=archives.make_archive(tmp_path, index=index))
    provider = catalog.providers[1]
    answer = provider.offers(Request(platform=ARM))
    assert answer.offers == ()
    assert answer.reason == "the host's package repository does not carry the architecture arm64"
    assert answer.unavailable is not None
    assert not answer.unavailable.unchecked
    assert _nothing(tmp_path, catalog).outcome is Outcome.SKIPPED
    native = provider.offers(Request(platform=Platform(system="linux", architecture="x86_64", libc="glibc")))
    assert [offer.version for offer in native.offers] == [(3, 11, 2)]


#: Loads the machine code that a wheel carries from its file, as a shared library's is, and calls it.
LOADS = """
import ctypes, mmap, os

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]

def load(name):
    with open(os.path.join(os.path.dirname(__file__), name), "rb") as file:
        place = libc.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, file.fileno(), 0)
    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(place)
"""

MACHINE_TESTS = """
import ctypes, mmap
import pytest, mcode

def test_page(wheel_target):
    assert mmap.PAGESIZE == {"rpi5": 16384}.get(wheel_target.machine, 4096)

def test_newer():
    word = ctypes.c_int(40)
    mcode.load("newer.bin")(ctypes.addressof(word), 2)

def test_after():
    pass
"""


def _machine_code(folder: Path, architecture: str, newer: bytes, back: bytes) -> Path:
    """A wheel with an instruction that is not on every processor, also one that runs when a module is imported."""
    return builders.build_wheel(
        folder,
        "mcode",
        files={
            "mcode/__init__.py": LOADS,
            "mcode/eager.py": "import ctypes, mcode\nmcode.load('newer.bin')(ctypes.addressof(ctypes.c_int(40)), 2)\n"
            "def main(): pass\n",
            "mcode/newer.bin": (newer + back).ljust(4096, b"\0"),
        },
        tags=[f"py3-none-manylinux_2_17_{architecture}"],
        entry_points={"console_scripts": {"mcode": "mcode.eager:main"}},
    )


def test_machines(
    version: tuple[int, int], arm: Runtime, pytester: pytest.Pytester, run_wheels: Callable[..., pytest.RunResult]
) -> None:
    """What a Raspberry Pi 4 has not is an illegal instruction there, and tells where it stands; pages have their size."""
    # ldadd w1, w0, [x0]; ret
    wheel = _machine_code(pytester.path / "dist", "aarch64", bytes.fromhex("000021b8"), bytes.fromhex("c0035fd6"))
    (pytester.path / "test_code.py").write_text(MACHINE_TESTS, encoding="utf-8")
    number = ".".join(map(str, version))
    machines = "--wheel-machine=rpi4,rpi5,cpu=neoverse-n2,page=64k"
    words = ("-v", "--wheel", wheel, f"--wheel-python={number}", "--wheel-select=WHL101", machines, "test_code.py")
    result = run_wheels(*words, timeout=900)
    result.stdout.fnmatch_lines(
        [
            "*aarch64+rpi4::entry?mcode? FAILED*",
            "*aarch64+rpi4::test_code.py::test_page PASSED*",
            "*aarch64+rpi4::test_code.py::test_newer FAILED*",
            "*aarch64+rpi4::test_code.py::test_after PASSED*",
            "*aarch64+rpi5::entry?mcode? PASSED*",
            "*aarch64+rpi5::test_code.py::test_page PASSED*",
            "*aarch64+rpi5::test_code.py::test_newer PASSED*",
        ],
    )
    told = "*instruction 0xb8210000, of LSE atomics (Armv8.1), is in *mcode/newer.bin at 0x0*"
    for where in ("*entry?mcode?*", "*::test_newer*"):
        result.stdout.fnmatch_lines([where, "*the machine rpi4 (Raspberry Pi 4*does not have an instruction*", told])
    result.stdout.fnmatch_lines(
        ["*could not be checked: neoverse-n2-64k is not available: *no*QEMU*model neoverse-n2*64 KiB*"]
    )
    assert result.ret == 1


def test_levels_of_the_host_s_own_processors(
    pytester: pytest.Pytester, run_wheels: Callable[..., pytest.RunResult]
) -> None:
    # vpaddd ymm0, ymm0, ymm0; ret
    wheel = _machine_code(pytester.path / "dist", "x86_64", bytes.fromhex("c5fdfec0"), bytes.fromhex("c3"))
    (pytester.path / "test_code.py").write_text(MACHINE_TESTS, encoding="utf-8")
    words = ("-v", "--wheel", wheel, "--wheel-select=WHL101", "--wheel-machine=x86-64-v2,x86-64-v3,x86-64-v4")
    result = run_wheels(*words, "test_code.py", timeout=600)
    result.stdout.fnmatch_lines(
        [
            "*x86_64+x86-64-v2::entry?mcode? FAILED*",
            "*x86_64+x86-64-v2::test_code.py::test_newer FAILED*",
            "*x86_64+x86-64-v2::test_code.py::test_after PASSED*",
            "*x86_64+x86-64-v3::entry?mcode? PASSED*",
            "*x86_64+x86-64-v3::test_code.py::test_newer PASSED*",
            "*x86_64+x86-64-v4 ERROR*",
        ]
    )
    result.stdout.fnmatch_lines(
        [
            "*the machine x86-64-v2 *",
            "*instruction c5 fd fe c0 *, of AVX, AVX2, FMA or BMI, is in *newer.bin at 0x0*",
        ]
    )
    result.stdout.fnmatch_lines(["*could not be checked: x86-64-v4 is not available: QEMU does not emulate AVX-512*"])
    assert "x86-64-v4::test" not in result.stdout.str()


ON_A_BOARD = """
import json, platform, sys
import tool._json

def test_native(wheel_target):
    assert (wheel_target.architecture, wheel_target.emulated) == ("aarch64", False)
    assert platform.machine() == "aarch64" and sys.prefix != sys.base_prefix
    assert tool._json.__file__.startswith(sys.prefix)
    assert tool._json.encode_basestring("\\n") == json.dumps("\\n")
"""

WHO_EMULATES = """
import sys
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.backends.registry import backends
from pytest_wheelcheck.interpreters.base import Request, here
from pytest_wheelcheck.interpreters.packages.debian import DebianProvider
from pytest_wheelcheck.model import Platform
assert here() == Platform(system="linux", architecture="aarch64", libc="glibc")
kind = ("cpython", tuple(map(int, sys.argv[1].split("."))), False)
for architecture in ("aarch64", "x86_64"):
    request = Request(platform=Platform(system="linux", architecture=architecture, libc="glibc"), wanted=frozenset({kind}))
    catalog = Catalog(lambda native_python: [DebianProvider(native_python)], backends())
    offers = catalog.ask(request)[0]
    print(architecture, *{catalog.backend(offer).emulated for offer in offers if offer.version[:2] == kind[1]})
"""


@pytest.mark.long
def test_on_a_board(
    arm: Runtime, version: tuple[int, int], fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin with all that it needs, run by an aarch64 interpreter, tests an aarch64 wheel as a native one.

    The extension module is one of the interpreter's own that needs the C library only. The interpreters of this host are
    on `PATH`; they run, and say that they are something else.
    """
    import uv

    from pytest_wheelcheck.system.uv_config import InstallSettings
    from pytest_wheelcheck.targets.preparing.install import install_wheel
    from pytest_wheelcheck.wheels.reader import open_wheel

    project = Path(__file__).parent.parent
    subprocess.run([uv.find_uv_bin(), "-q", "build", "--wheel", "-o", tmp_path / "own", project], check=True)
    (own,) = (tmp_path / "own").glob("*.whl")
    board = arm.backend.create_environment(arm, tmp_path / "board")
    opened = open_wheel(own, shown=own.name, store=tmp_path / "store")
    settings = InstallSettings(offline=False, find_links=(), index=None, extra_index=())
    install_wheel(arm, board, opened, extras=(), settings=settings)
    subprocess.run([arm.native or arm.python, "-m", "compileall", "-q", board.site_packages], check=False)

    native = Path(arm.installation.program.parents[1], "lib", f"python3.{version[1]}", "lib-dynload")
    (extension,) = native.glob("_json.*.so")
    wheel = builders.build_wheel(
        tmp_path / "dist",
        "tool",
        files={"tool/__init__.py": "", f"tool/{extension.name}": extension.read_bytes()},
        tags=[f"cp3{version[1]}-cp3{version[1]}-manylinux_2_17_aarch64"],
    )
    (tmp_path / "test_board.py").write_text(ON_A_BOARD, encoding="utf-8")
    monkeypatch.setenv(cache.VARIABLE, str(fresh))
    monkeypatch.delenv("PYTHONPYCACHEPREFIX")
    words = ["-v", "-p", "no:cacheprovider", f"--wheel={wheel}", "--wheel-select=WHL101,WHL301,WHL605", "test_board.py"]
    told = subprocess.run(
        [board.python, "-m", "pytest", f"--wheel-python=3.{version[1]}", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    seen = parse_output(told.returncode, told.stdout, told.stderr)
    assert seen.code == 0, seen.text
    assert set(seen.nodes.values()) == {"PASSED"}
    assert set(seen.nodes) >= {"install", "import[tool._json]", "test_board.py::test_native"}
    assert f"({arm.python} (the running interpreter))" in seen.text
    told = subprocess.run(
        [board.python, "-c", WHO_EMULATES, f"3.{version[1]}"], capture_output=True, text=True, timeout=300, check=False
    )
    assert told.stdout.split() == ["aarch64", "False", "x86_64", "True"], told.stderr


def test_the_command(arm: Runtime, version: tuple[int, int]) -> None:
    number = ".".join(map(str, version))

    def wheelcheck(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest_wheelcheck", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert wheelcheck("runtime", "path", "aarch64", number).stdout.strip() == str(arm.python)
    told = wheelcheck("exec", "aarch64", number, "--", "python", "-c", "import platform; print(platform.machine())")
    assert told.stdout == "aarch64\n"
    kept = json.loads(wheelcheck("runtime", "list", "--json").stdout)
    assert any(f"cp3{version[1]}-linux-aarch64" in each["name"] and each["bytes"] > 10_000_000 for each in kept)
    assert wheelcheck("runtime", "path", "aarch64", "3.8").returncode == 1
    assert wheelcheck("runtime", "path", "vax", "3.8").returncode == 4
    rows = {row["platform"]: row for row in json.loads(wheelcheck("doctor", "--offline", "--json").stdout)}
    found = {each["interpreter"]: each for each in rows["linux-aarch64"]["interpreters"]}
    assert found[f"cp3{version[1]}"]["emulated"]
    assert rows["linux-s390x"]["interpreters"] or rows["linux-s390x"]["reasons"]
