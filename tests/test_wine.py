"""Windows wheels on Linux: what works, fails, hangs and is skipped under Wine, and that nothing of it stays."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import archives
import pefile
import pytest
from builders import build_wheel
from ground import Ground, wait_for
from nodes import outcomes

from pytest_wheelcheck.backends import bubblewrap, launcher
from pytest_wheelcheck.backends.wine import system
from pytest_wheelcheck.errors import RuntimeUnavailableError, UsageError, WheelcheckError
from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.interpreters.directory.sysroots import parse_sysroots
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.windows import pe_programs, published
from pytest_wheelcheck.system import cache

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(sys.platform != "linux", reason="Wine runs Windows programs on Linux"),
]

MODULE = """
import ctypes, faulthandler, os, sys, time

def main():
    print("started on", sys.platform, sys.argv[0])

def fault(): faulthandler._read_null()
def abort(): ctypes.cdll.ucrtbase.abort()
def run(*code):
    memory = ctypes.create_string_buffer(bytes(code), 4096)
    old = ctypes.c_ulong()
    ctypes.windll.kernel32.VirtualProtect(memory, ctypes.c_size_t(4096), 0x40, ctypes.byref(old))
    ctypes.CFUNCTYPE(None)(ctypes.addressof(memory))()
def recurse(): run(0xE8, 0xFB, 0xFF, 0xFF, 0xFF)
def fast_fail(): run(0xB9, 7, 0, 0, 0, 0xCD, 0x29, 0xC3)
def hang(): ctypes.PyDLL("kernel32").Sleep(10**8)
"""


@pytest.fixture(scope="module")
def narrow(wines: published.WineProvider) -> published.WineProvider:
    """The same, with what 32-bit programs need."""
    if reason := system.hindrance(offline=False, bits=32):
        pytest.skip(reason)
    system.get(offline=False, bits=32)
    return wines


@pytest.fixture(scope="module")
def wines() -> published.WineProvider:
    provider = published.WineProvider(HostProvider())
    try:
        system.get(offline=False)
    except WheelcheckError as error:
        pytest.skip(str(error))
    return provider


@pytest.fixture
def ground(pytester: pytest.Pytester, wines: published.WineProvider) -> Ground:
    wheel = build_wheel(
        pytester.path / "dist",
        "demo",
        files={"demo/__init__.py": MODULE},
        tags=("cp313-cp313-win_amd64",),
        entry_points={"console_scripts": {"demo-tool": "demo:main"}},
    )
    return Ground(pytester.path, pytester.path / "temporary", wheel)


def test_crashes_hangs_and_neighbours(ground: Ground) -> None:
    ground.ini("wheel_test_timeout = 5")
    kinds = ("fault", "abort", "recurse", "fast_fail", "hang")
    ones = "".join(f"def test_{kind}(): demo.{kind}()\ndef test_after_{kind}(): pass\n" for kind in kinds)
    ground.write(
        test_ends=f"""
import demo, os, subprocess, sys
def test_begin(): open("C:/mark", "w").write("begun")
{ones}
def test_own_drive():
    # Every target has a Windows of its own; all of its workers have the same.
    assert open("C:/mark").read() == "begun"
def test_exit(): os._exit(0)
def test_kill(): os.kill(os.getpid(), 9)
def test_left():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
def test_last(): pass
"""
    )
    found = ground.run("--wheel-python=auto", "tests", bound=240)
    tests = {name.partition("::test_")[2]: outcome for name, outcome in found.nodes.items() if "::" in name}
    assert [name for name, outcome in tests.items() if outcome == "FAILED"] == [*kinds, "exit", "kill"]
    assert {
        outcome
        for name, outcome in tests.items()
        if name.startswith("after_") or name in {"begin", "own_drive", "last"}
    } == {"PASSED"}
    for words in (
        "access violation",
        "stack overflow",
        "Aborted",
        "__fastfail",
        "Timeout: the test did not end within 5 s",
    ):
        assert words in found.text
    # Where Wine itself leaves the process there, the stack overflow is told at once all the same.
    assert found.text.count("Timeout (0:00:") == 1
    assert 'demo/__init__.py", line' in found.text
    assert "tests left processes running, which were ended, 1: " in found.text
    assert not re.search(r"\b[PRTZ]:[\\/]", found.text)


def test_ptys_paths_scripts_and_stubs(ground: Ground) -> None:
    ground.ini("wheel_executables = demo-tool: --anything")
    ground.write(
        test_import="import fcntl\ndef test_never(): pass\n",
        test_real="""
import os, pathlib, subprocess, sys, tempfile
import pytest
import demo

@pytest.mark.pty
def test_marked(): raise AssertionError
def test_pty_resize(): raise AssertionError
def test_empty(): pass

def test_windows(wheel_target, tmp_path):
    assert sys.platform == "win32" and os.name == "nt" and not wheel_target.pty
    assert wheel_target.machine == "wine" and sys.getwindowsversion().major >= 10
    assert pathlib.Path(demo.__file__).drive == "T:" == tmp_path.drive == pathlib.Path(tempfile.gettempdir()).drive
    assert pathlib.Path(__file__).drive == pathlib.Path(__file__).resolve().drive == pathlib.Path.cwd().drive == "P:"
    assert sys.prefix != sys.base_prefix and sys.executable.startswith(sys.prefix)
    done = subprocess.run(["demo-tool", "x"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("started on win32")
    child = subprocess.run([sys.executable, "-c", "import demo, sys; sys.exit(7)"])
    assert child.returncode == 7

def test_place(tmp_path):
    assert tmp_path == "elsewhere"

def test_stub():
    import ctypes
    ctypes.cdll.ucrtbase.crealf()

def test_warns():
    import warnings
    warnings.warn("of the test")
""",
    )
    found = ground.run("--wheel-python=auto", "tests", "-rsE", bound=240)
    assert found.nodes["install"] == found.nodes["import[demo]"] == found.nodes["entry[demo-tool]"] == "PASSED"
    assert found.nodes["run[demo-tool]"] == "PASSED"
    assert found.only("SKIPPED") == [
        "tests/test_import.py",
        "tests/test_real.py::test_marked",
        "tests/test_real.py::test_pty_resize",
    ]
    assert found.only("FAILED") == ["tests/test_real.py::test_place"]
    assert found.only("ERROR") == ["tests/test_real.py::test_stub"]
    assert "Wine does not implement ucrtbase.dll.crealf" in found.text
    assert "needs the module 'fcntl', which cp313 on win32 does not have" in found.text
    assert re.search(r"^tests/test_real\.py:\d+: AssertionError$", found.text, re.MULTILINE)
    assert not re.search(r"\b[PRTZ]:", found.text)
    assert "\\" not in found.text


NARROW = """
import ctypes, os, pathlib, platform, ssl, struct, subprocess, sys, sysconfig
import demo

def test_windows(wheel_target):
    assert struct.calcsize("P") == 4 and sys.maxsize < 2**32
    assert sys.platform == "win32" and sysconfig.get_platform() == "win32" and wheel_target.machine == "wine"
    done = subprocess.run(["demo-tool", "x"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("started on win32")
    # What makes it start is of 32 bits, too.
    data = (pathlib.Path(sys.executable).parent / "demo-tool.exe").read_bytes()
    assert data[(at := struct.unpack_from("<I", data, 60)[0]) + 4:at + 6] == bytes([0x4C, 1])
    child = subprocess.run([sys.executable, "-c", "import demo, sys; sys.exit(sys.maxsize % 97)"])
    assert child.returncode == sys.maxsize % 97

def test_stable_abi():
    library = ctypes.PyDLL(os.path.join(sys.base_prefix, "python3.dll"))
    library.Py_GetVersion.restype = ctypes.c_char_p
    assert library.Py_GetVersion().decode() == sys.version

def test_random_numbers():
    # Wine's own, and what is written where Wine has none.
    for name in ("bcryptprimitives.dll", str(pathlib.Path(__file__).with_name("own.dll"))):
        library = ctypes.WinDLL(name)
        made = {bytes(memory) for memory in [(ctypes.c_char * 64)() for _ in range(3)] if library.ProcessPrng(memory, 64) == 1}
        assert len(made) == 3 and bytes(64) not in made

def test_64_bits():
    # Programs of 64 bits are there beside those of 32.
    words = ["C:\\\\windows\\\\sysnative\\\\cmd.exe", "/c", "set PROCESSOR_ARCHITECTURE"]
    assert subprocess.check_output(words, text=True).strip() == "PROCESSOR_ARCHITECTURE=AMD64"

def test_fault(): demo.fault()
def test_fast_fail(): demo.fast_fail()
def test_stub(): ctypes.cdll.ucrtbase.crealf()
def test_hang(): demo.hang()
def test_last(): pass
"""


def test_32_bits(ground: Ground, narrow: published.WineProvider, pytester: pytest.Pytester) -> None:
    other = build_wheel(
        pytester.path / "dist",
        "demo",
        files={"demo/__init__.py": MODULE},
        tags=("cp313-cp313-win32",),
        entry_points={"console_scripts": {"demo-tool": "demo:main"}},
    )
    ground.ini("wheel_test_timeout = 5")
    ground.write(test_narrow=NARROW)
    (ground.path / "tests/own.dll").write_bytes(pe_programs.bcryptprimitives_dll(bits=32))
    found = ground.run("--wheel-python=auto", f"--wheel={other}", "tests", "-rA", bound=240)
    ends = ["fast_fail", "fault", "hang"]
    assert found.only("FAILED") == [f"tests/test_narrow.py::test_{name}" for name in ends], found.text
    assert found.only("ERROR") == ["tests/test_narrow.py::test_stub"]
    for name in ("windows", "stable_abi", "random_numbers", "64_bits", "last"):
        assert found.nodes[f"tests/test_narrow.py::test_{name}"] == "PASSED"
    assert found.nodes["import[demo]"] == found.nodes["entry[demo-tool]"] == "PASSED"
    for words in ("access violation", "__fastfail", "did not end within 5 s", "does not implement ucrtbase.dll.crealf"):
        assert words in found.text
    assert "left processes running" not in found.text
    assert "cp313-win32+wine" in found.text
    # What looks like the same library of the other kind is none.
    described = system.describe(system.get(offline=True, bits=32))
    folder = described.parent / "prefix/drive_c/windows/syswow64"
    kinds = {path.readlink().parent.name for path in folder.iterdir() if path.is_symlink()}
    assert kinds == {"i386-windows"}


def test_the_doctor_says_what_a_green_run_means(wines: published.WineProvider) -> None:
    assert wines.offers(published.REQUEST).offers
    told = subprocess.run(
        [sys.executable, "-m", "pytest_wheelcheck", "doctor", "win_amd64"], capture_output=True, text=True, check=True
    )
    assert "is strong evidence, and not Windows itself" in told.stdout


def needing(library: str) -> bytes:
    """A library for Windows that wants another one."""
    image = pefile.PE(data=pe_programs.python_exe(library))
    image.FILE_HEADER.Characteristics |= pefile.IMAGE_CHARACTERISTICS["IMAGE_FILE_DLL"]
    return bytes(image.write())


def test_imports_that_do_not_end_well_and_scripts(ground: Ground, pytester: pytest.Pytester) -> None:
    """There is no fork on Windows: each import has an interpreter that is started for it."""
    files: dict[str, str | bytes] = {
        "abandons.py": "import atexit, faulthandler\natexit.register(faulthandler._read_null)\n",
        "calm.py": "print('said by the import')\n",
        "exits.py": "import os\nos._exit(0)\n",
        "hangs.py": "while True: pass\n",
        "raises.py": "import nothing_here\n",
        "drawn.py": "import tkinter\n",
        "of_windows.cp313-win_amd64.pyd": needing("pathcch.dll"),
        "of_nobody.cp313-win_amd64.pyd": needing("nowhere.dll"),
        "bad-1.0.data/scripts/script": "#!python\nimport sys\nassert sys.argv[1:] == ['--version']\n",
        "bad-1.0.data/scripts/shell": "#!/bin/sh\n",
    }
    other = build_wheel(pytester.path / "dist", "bad", files=files, tags=("cp313-cp313-win_amd64",))
    ground.write(test_one="def test_one(): import calm\n")
    found = ground.run("--wheel-python=auto", f"--wheel={other}", "tests", "-o", "wheel_test_timeout=6", bound=120)
    assert found.only("FAILED") == [f"import[{name}]" for name in ("abandons", "exits", "hangs", "of_nobody", "raises")]
    assert found.only("ERROR") == ["import[drawn]", "import[of_windows]"]
    assert "of_nobody.cp313-win_amd64.pyd needs nowhere.dll, which is no part of Windows" in found.text
    assert "Wine does not have pathcch.dll, a part of Windows that of_windows.cp313-win_amd64.pyd needs" in found.text
    assert "_tkinter is of the standard library, but this interpreter was built without it" in found.text
    assert found.only("PASSED") == ["import[calm]", "install", "run[script]", "tests/test_one.py::test_one"]
    assert found.only("SKIPPED") == ["run[shell]"]
    assert "did not end well afterwards: access violation" in found.text
    assert "the interpreter died: exit status 0" in found.text
    assert 'site-packages/hangs.py", line 1 in <module>' in found.text
    assert "No module named 'nothing_here'" in found.text


def test_two_targets_at_once_and_the_end_of_the_run(ground: Ground, pytester: pytest.Pytester) -> None:
    other = build_wheel(
        pytester.path / "dist", "demo", files={"demo/__init__.py": MODULE}, tags=("cp312-cp312-win_amd64",)
    )
    one = "def test_one(): open('C:/mark', 'x').write('own')"
    ground.write(test_both=f"import demo\n{one}\ndef test_two(): pass\n")
    found = ground.run(
        "--wheel-python=auto", "tests", "--wheel-jobs=2", f"--wheel={ground.wheel}", str(other), bound=240
    )
    assert found.code == pytest.ExitCode.OK
    assert found.text.count("+wine::tests/test_both.py::test_two PASSED") == 2

    ground.write(test_both="import demo\ndef test_hang(): demo.hang()\n")
    with ground.started("--wheel-python=auto", "tests") as process:
        wait_for(lambda: any("python.exe" in line for line in ground.processes().values()), 120)
        process.kill()
        process.wait(10)
    # Whoever watches over Wine notices, and cleans up behind itself.
    ground.nothing_left(files=False, seconds=15)


def test_two_workers_of_xdist(ground: Ground) -> None:
    """Each worker has a session of its own; what comes of the tests is what comes of them without."""
    ground.write(
        test_split="""
import demo, os, time, pytest

@pytest.mark.parametrize("number", range(4))
def test_passes(number):
    with open("C:/mark", "a") as mark:
        print("worker", os.environ.get("PYTEST_XDIST_WORKER"), mark.tell())
        mark.write("x")
    time.sleep(0.2)

def test_fails(tmp_path): assert tmp_path.drive == "none"
def test_exits(): os._exit(3)
def test_pty(): raise AssertionError
def test_last(): pass
"""
    )
    words = ("--wheel-python=auto", "tests")
    serial = ground.run(*words, "--junit-xml=serial.xml", bound=120)
    parallel = ground.run(*words, "--junit-xml=parallel.xml", "-n2", "-rP", bound=120)
    assert serial.only("FAILED") == [f"tests/test_split.py::test_{name}" for name in ("exits", "fails")]
    told = outcomes(ground.path / "serial.xml")
    assert len(told) == 3 + 1 + 8
    assert outcomes(ground.path / "parallel.xml") == told
    assert set(re.findall(r"^worker (\w+) 0$", parallel.text, re.MULTILINE)) == {"gw0", "gw1"}
    assert "Z:" not in parallel.text


REACH = """
import os, pathlib, socket, demo, pytest

def test_inside(tmp_path): (tmp_path / "x").write_text("x")

def test_users_folder():
    open(os.path.expanduser("~/own"), "w").close()
    assert os.environ["USERPROFILE"].startswith("C:")

def test_folders(pytestconfig):
    for folder in (pytestconfig.rootpath, "Z:" + os.environ["OF_THE_USER"]):
        with pytest.raises(OSError):
            open(os.path.join(folder, "hole"), "w")

def test_drives():
    assert [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if os.path.exists(letter + ":/")] == ["C", "P", "R", "T"]
    # The interpreters, the project that holds this file, and what the run made.
    assert any(name.startswith("wine-cp313-") for name in os.listdir("R:/"))
    assert pathlib.Path("P:/tests/test_reach.py").samefile(__file__)
    assert {"0", "in-use"} <= set(os.listdir("T:/"))

def test_network():
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", int(os.environ["A_PORT"])), 5)
"""


@pytest.mark.parametrize("sandboxed", [False, True])
def test_what_is_reached(ground: Ground, tmp_path: Path, sandboxed: bool) -> None:
    if sandboxed:
        try:
            bubblewrap.find()
        except WheelcheckError as error:
            pytest.skip(str(error))
    home = tmp_path / "home"
    home.mkdir()
    ground.write(test_reach=REACH)
    with socket.create_server(("127.0.0.1", 0)) as server:
        ground.env |= {"HOME": str(home), "OF_THE_USER": str(home), "A_PORT": str(server.getsockname()[1])}
        left_out = "test_drives" if sandboxed else "test_folders"
        words = ["--wheel-sandbox"] if sandboxed else []
        words.append(f"--deselect=tests/test_reach.py::{left_out}")
        found = ground.run("--wheel-python=auto", "tests", *words, bound=240)
    failed = [] if sandboxed else ["tests/test_reach.py::test_network"]
    assert found.only("FAILED") == failed, found.text
    assert found.nodes["tests/test_reach.py::test_users_folder"] == "PASSED"
    assert list(home.iterdir()) == []


def test_tests_on_another_drive(ground: Ground, tmp_path: Path) -> None:
    """They lie outside of the project, and are named from where pytest was started."""
    ground.ini("")
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "test_other.py").write_text(
        "import demo, pathlib\ndef test_place(): assert pathlib.Path(__file__).drive == 'Q:' != pathlib.Path.cwd().drive\n"
    )
    (other / "test_broken.py").write_text("import nothing_here\n")
    named = [os.path.relpath(path, ground.path) for path in sorted(other.iterdir())]
    found = ground.run("--wheel-python=auto", f"--rootdir={ground.path}", *named, bound=120)
    assert found.nodes["::test_place"] == "PASSED"
    assert found.only("FAILED") == ["collect"]
    assert f"{other}/test_broken.py:1: in <module>" in found.text
    assert "No module named 'nothing_here'" in found.text
    assert "[location]" not in found.text


def test_without_wine(ground: Ground) -> None:
    ground.write(test_one="def test_one(): pass\n")
    found = ground.run("--wheel-python=auto", "tests", "--wheel-no-wine", "-rs")
    assert found.code == pytest.ExitCode.OK
    assert "needs Windows" in found.text
    assert set(found.nodes) == set()


def test_offline_and_nothing_in_the_cache(ground: Ground, tmp_path: Path) -> None:
    """That could not be checked, which is no skip."""
    if system.of_host():
        pytest.skip("Wine itself is here")
    ground.env["WHEELCHECK_CACHE"] = str(tmp_path / "empty")
    ground.write(test_one="def test_one(): pass\n")
    found = ground.run("--wheel-python=auto", "tests", "--wheel-offline")
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert "Wine is neither installed nor in the cache, and this run is offline" in found.text


def test_installations_of_ones_own_and_of_uv(
    ground: Ground, wines: published.WineProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (offer,) = (offer for offer in wines.offers(published.REQUEST).offers if offer.version[:2] == (3, 13))
    folder = tmp_path / "Python 3.13"
    shutil.copytree(
        wines.get(offer).python.resolve().parents[1].joinpath("lib").resolve().parent,
        folder,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    before = sorted(folder.rglob("*"))
    # Wine itself, and its prefix, are not made again.
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/wine").symlink_to(cache.root() / "wine")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    ground.env["WHEELCHECK_CACHE"] = str(tmp_path / "cache")
    ground.write(test_one="import demo, sys\ndef test_one(): assert sys.version_info[:3] == (3, 13, 11)\n")
    words = ("tests", "--wheel-python=auto", "--wheel-offline", "-rA")
    found = ground.run(*words, f"--wheel-sysroot=win_amd64={folder}", bound=240)
    assert found.nodes["tests/test_one.py::test_one"] == "PASSED"
    assert f"({folder}, under Wine)" in found.text
    assert sorted(folder.rglob("*")) == before

    key = "cpython-3.13.11-windows-x86_64-none"
    entry = archives.make_download(tmp_path, folder, key=key, arch="x86_64", libc="none", system="windows")
    catalogue = archives.write_catalogue(tmp_path / "uv.json", {key: entry})
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", catalogue)
    (of_uv,) = published.WineProvider(HostProvider()).offers(published.REQUEST).offers[:1]
    assert of_uv.how == f"{key} of uv, under Wine"
    runtime = published.WineProvider(HostProvider()).get(of_uv)
    told = subprocess.check_output([runtime.python, "-c", "import sys; print(sys.version_info[:3])"], text=True)
    assert told.strip() == "(3, 13, 11)"
    # Also without its place of downloads, now that it is here.
    monkeypatch.delenv("UV_PYTHON_DOWNLOADS_JSON_URL")
    again = published.WineProvider(HostProvider(), offline=True).offers(published.REQUEST)
    assert [each.key for each in again.offers] == [of_uv.key]


def test_an_installation_of_ones_own_of_32_bits(
    narrow: published.WineProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (offer,) = (offer for offer in narrow.offers(published.REQUEST_32).offers if offer.version[:2] == (3, 13))
    folder = launcher.program_of(narrow.get(offer).python).parent
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/wine").symlink_to(cache.root() / "wine")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    (sysroot,) = parse_sysroots([f"win32={folder}"])
    assert sysroot.windows is not None
    provider = published.WineProvider(HostProvider(), offline=True, named=[sysroot.windows])
    # What was named for one kind says nothing of the other.
    assert "not in the cache" in provider.offers(published.REQUEST).reason
    (own,) = provider.offers(published.REQUEST_32).offers
    assert (own.version, own.platform) == (offer.version, published.REQUEST_32.platform)
    with pytest.raises(UsageError, match=r"python313\.dll is not for x86-64"):
        parse_sysroots([f"win_amd64={folder}"])


def test_wine_of_the_host(narrow: published.WineProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if system.of_host():
        pytest.skip("all other tests have it")
    offers = [
        next(offer for offer in narrow.offers(request).offers if offer.version[:2] == (3, 13))
        for request in (published.REQUEST, published.REQUEST_32)
    ]
    for offer in offers:
        narrow.get(offer)
    own = system.get(offline=True, bits=32)
    program = tmp_path / "bin" / "wine64"
    program.parent.mkdir()
    words = f"LD_LIBRARY_PATH={own.libraries} WINEDLLPATH={own.path}"
    program.write_text(f'#!/bin/sh\n{words} exec {own.program} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    # The interpreter is there already; the prefix is this Wine's own.
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/runtimes").symlink_to(cache.root() / "runtimes")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    found = system.get(offline=True)
    assert (found.program, found.libraries) == (program, None)
    provider = published.WineProvider(HostProvider(), offline=True)
    assert "runs no 32-bit programs; install its 32-bit half: " in provider.offers(published.REQUEST_32).reason
    with pytest.raises(RuntimeUnavailableError, match="of this host runs no 32-bit programs"):
        provider.get(offers[1])
    monkeypatch.setattr(system, "_LIBRARIES", (str(own.windows),))
    assert system.get(offline=True).windows32 is None
    monkeypatch.setattr(system, "_LIBRARIES_32", (str(own.windows32),))
    for offer, size in ((offers[0], 63), (offers[1], 31)):
        runtime = provider.get(offer)
        told = subprocess.check_output([runtime.python, "-c", "import ssl, sys; print(sys.maxsize)"], text=True)
        assert told.strip() == str(2**size - 1)
    assert [path.name.partition("-")[0] for path in (tmp_path / "cache/wine").iterdir()] == ["prefix"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no CPython for Windows from 3.9 on was found"),
        ({"python.exe": b"MZ", "python313t.dll": b"MZ"}, "free-threaded ones cannot be used"),
        ({"python.exe": b"MZ", "python313.dll": b"MZ"}, "python313.dll is not for x86-64"),
        ({"python.exe": b"MZ", "python313.dll": pe_programs.python3_dll("x.dll", ["a"])}, "no standard library in Lib"),
    ],
)
def test_folders_that_are_none(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError) as caught:
        parse_sysroots([f"win_amd64={tmp_path}"])
    assert words in str(caught.value)


ENVIRONMENT = """
import os, pathlib, subprocess, sys, time, venv
folder = pathlib.Path(sys.argv[1])
venv.create(folder)
python = folder / "Scripts" / "python.exe"
told = subprocess.run([python, "-c", "import sys; print(sys.prefix, sys.executable, sys.argv); sys.exit(5)", "a b", '"'],
                      capture_output=True, text=True)
assert told.returncode == 5, told
assert told.stdout == f"{folder} {python} {['-c', 'a b', chr(34)]}\\n", told
child = subprocess.Popen([python, "-u", "-c", "import os, time; print(os.getpid()); time.sleep(60)"], stdout=subprocess.PIPE)
assert int(child.stdout.readline()) != child.pid
child.kill()
begin = time.monotonic()
assert child.stdout.read() == b"" and time.monotonic() - begin < 20
"""


@pytest.mark.parametrize(
    ("request_", "version"),
    [(published.REQUEST, (3, 12)), (published.REQUEST, (3, 13)), (published.REQUEST_32, (3, 13))],
)
def test_environments_made_by_the_interpreter(
    narrow: published.WineProvider, tmp_path: Path, request_: Request, version: tuple[int, int]
) -> None:
    (offer,) = (offer for offer in narrow.offers(request_).offers if offer.version[:2] == version)
    python = narrow.get(offer).python
    done = subprocess.run([python, "-c", ENVIRONMENT, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_interpreter_as_a_command(wines: published.WineProvider) -> None:
    (offer,) = (offer for offer in wines.offers(published.REQUEST).offers if offer.version[:2] == (3, 13))
    runtime = wines.get(offer)
    code = "import sys; print(sys.version_info[:2], sys.argv[1:], sys.stdin.read()); sys.exit(3)"
    before = set(Path("/tmp").glob("wine-??????"))
    done = subprocess.run(
        [runtime.python, "-c", code, "/c", str(Path(__file__))],
        input="said",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout.split("\n")[0] == f"(3, 13) ['/c', {'Z:' + str(Path(__file__)).replace('/', chr(92))!r}] said"
    assert set(Path("/tmp").glob("wine-??????")) <= before
