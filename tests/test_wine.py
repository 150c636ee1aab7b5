"""Windows wheels on Linux, under Wine: crashes, hangs, skips, paths, drives, and that nothing is left behind."""

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
import provisioned
import pytest
from builders import build_wheel
from ground import Ground, wait_for
from nodes import outcomes
from windows import make_windows_catalog, offer_of

from pytest_wheelcheck.backends import bubblewrap
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.backends.wine import diagnosis, provide, runner
from pytest_wheelcheck.backends.wine import launch as wine_launch
from pytest_wheelcheck.backends.wine.redistributables import C_LIBRARY, C_LIBRARY_NAME, CPP_RUNTIME
from pytest_wheelcheck.errors import RuntimeUnavailableError, UsageError, WheelcheckError
from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.interpreters.directory.sysroots import parse_sysroots
from pytest_wheelcheck.interpreters.published.pinned import PackageIndex
from pytest_wheelcheck.interpreters.windows import pe_programs
from pytest_wheelcheck.interpreters.windows.pe_writer import X86_PROLOGUE, DataReference, Image, ImportCall
from pytest_wheelcheck.interpreters.windows.pe_writer import write as write_pe
from pytest_wheelcheck.interpreters.windows.platforms import REQUEST, REQUEST_32
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
def catalog_32(catalog: Catalog) -> Catalog:
    """The same, after Wine's part for 32-bit programs was fetched."""
    if reason := provide.unavailable_reason(offline=False, bits=32):
        raise provisioned.missing("wine", reason)
    provide.get(offline=False, bits=32)
    return catalog


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    try:
        provide.get(offline=False)
    except WheelcheckError as error:
        raise provisioned.missing("wine", str(error)) from None
    return make_windows_catalog()


def reasons_of(catalog: Catalog, request: Request) -> str:
    return "; ".join(reason.reason for reason in catalog.ask(request)[1])


@pytest.fixture
def ground(pytester: pytest.Pytester, catalog: Catalog) -> Ground:
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
    tests = "".join(f"def test_{kind}(): demo.{kind}()\ndef test_after_{kind}(): pass\n" for kind in kinds)
    ground.write(
        test_ends=f"""
import demo, os, subprocess, sys, time
def test_begin(): open("C:/mark", "w").write("begun")
{tests}
def test_own_drive():
    # Every target has a Windows of its own, which all of its workers share.
    assert open("C:/mark").read() == "begun"
def test_child():
    # Wine's message about it is among those of the worker, which lives.
    done = subprocess.run([sys.executable, "-c", "import demo; demo.recurse()"])
    time.sleep(1)
    assert done.returncode != 0
def test_exit(): os._exit(0)
def test_kill(): os.kill(os.getpid(), 9)
def test_left():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
def test_last(): pass
"""
    )
    found = ground.run("--wheel-python=auto", "tests", bound=240)
    outcome_of = {name.partition("::test_")[2]: outcome for name, outcome in found.nodes.items() if "::" in name}
    assert [name for name, outcome in outcome_of.items() if outcome == "FAILED"] == [*kinds, "exit", "kill"]
    assert {
        outcome
        for name, outcome in outcome_of.items()
        if name.startswith("after_") or name in {"begin", "own_drive", "child", "last"}
    } == {"PASSED"}
    for text in (
        "access violation",
        "stack overflow",
        "Aborted",
        "__fastfail",
        "Timeout: the test did not end within 5 s",
    ):
        assert text in found.text
    # Wine leaves the process running after a stack overflow, which is reported at once nevertheless.
    assert found.text.count("Timeout (0:00:") == 1
    assert 'demo/__init__.py", line' in found.text
    assert "tests left processes running, which were ended: 1: " in found.text
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
    ctypes.windll.ntdll.CsrAllocateMessagePointer()

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
    assert found.only("FAILED") == ["tests/test_real.py::test_place"], found.text
    assert found.only("ERROR") == ["tests/test_real.py::test_stub"]
    assert "Wine does not implement ntdll.dll.CsrAllocateMessagePointer" in found.text
    assert "needs the module 'fcntl', which cp313 on win32 does not have" in found.text
    assert re.search(r"^tests/test_real\.py:\d+: AssertionError$", found.text, re.MULTILINE)
    assert not re.search(r"\b[PRTZ]:", found.text)
    assert "\\" not in found.text


TESTS_32 = """
import ctypes, os, pathlib, platform, ssl, struct, subprocess, sys, sysconfig
import demo

def test_windows(wheel_target):
    assert struct.calcsize("P") == 4 and sys.maxsize < 2**32
    assert sys.platform == "win32" and sysconfig.get_platform() == "win32" and wheel_target.machine == "wine"
    done = subprocess.run(["demo-tool", "x"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("started on win32")
    # Its launcher is a 32-bit program as well.
    data = (pathlib.Path(sys.executable).parent / "demo-tool.exe").read_bytes()
    assert data[(at := struct.unpack_from("<I", data, 60)[0]) + 4:at + 6] == bytes([0x4C, 1])
    child = subprocess.run([sys.executable, "-c", "import demo, sys; sys.exit(sys.maxsize % 97)"])
    assert child.returncode == sys.maxsize % 97

def test_stable_abi():
    library = ctypes.PyDLL(os.path.join(sys.base_prefix, "python3.dll"))
    library.Py_GetVersion.restype = ctypes.c_char_p
    assert library.Py_GetVersion().decode() == sys.version

def test_random_numbers():
    # Wine's own, and the one that is written if Wine has none.
    for name in ("bcryptprimitives.dll", str(pathlib.Path(__file__).with_name("own.dll"))):
        library = ctypes.WinDLL(name)
        made = {bytes(memory) for memory in [(ctypes.c_char * 64)() for _ in range(3)] if library.ProcessPrng(memory, 64) == 1}
        assert len(made) == 3 and bytes(64) not in made

def test_64_bits():
    # 64-bit programs can be started, too.
    argv = ["C:\\\\windows\\\\sysnative\\\\cmd.exe", "/c", "set PROCESSOR_ARCHITECTURE"]
    assert subprocess.check_output(argv, text=True).strip() == "PROCESSOR_ARCHITECTURE=AMD64"

def test_fault(): demo.fault()
def test_fast_fail(): demo.fast_fail()
def test_stub(): ctypes.windll.ntdll.CsrAllocateMessagePointer()
def test_hang(): demo.hang()
def test_last(): pass
"""


def test_32_bits(ground: Ground, catalog_32: Catalog, pytester: pytest.Pytester) -> None:
    other = build_wheel(
        pytester.path / "dist",
        "demo",
        files={"demo/__init__.py": MODULE},
        tags=("cp313-cp313-win32",),
        entry_points={"console_scripts": {"demo-tool": "demo:main"}},
    )
    ground.ini("wheel_test_timeout = 10")
    ground.write(test_32=TESTS_32)
    (ground.path / "tests/own.dll").write_bytes(pe_programs.bcryptprimitives_dll(bits=32))
    found = ground.run("--wheel-python=auto", f"--wheel={other}", "tests", "-rA", bound=240)
    ends = ["fast_fail", "fault", "hang"]
    assert found.only("FAILED") == [f"tests/test_32.py::test_{name}" for name in ends], found.text
    assert found.only("ERROR") == ["tests/test_32.py::test_stub"]
    for name in ("windows", "stable_abi", "random_numbers", "64_bits", "last"):
        assert found.nodes[f"tests/test_32.py::test_{name}"] == "PASSED"
    assert found.nodes["import[demo]"] == found.nodes["entry[demo-tool]"] == "PASSED"
    for text in (
        "access violation",
        "__fastfail",
        "did not end within 10 s",
        "does not implement ntdll.dll.CsrAllocateMessagePointer",
    ):
        assert text in found.text
    assert "left processes running" not in found.text
    assert "cp313-win32+wine" in found.text
    # No file is linked to a library of the other architecture.
    description = wine_launch.provision(offline=True, bits=32, index=PackageIndex()).description
    directory_32 = description.parent / "prefix/drive_c/windows/syswow64"
    kinds = {path.readlink().parent.name for path in directory_32.iterdir() if path.is_symlink()}
    assert kinds == {"i386-windows"}
    # The C library is Microsoft's, and not a link to Wine's.
    assert not (directory_32 / C_LIBRARY_NAME).is_symlink()


def test_the_doctor_says_what_a_green_run_means(catalog: Catalog) -> None:
    assert catalog.ask(REQUEST)[0]
    doctor = subprocess.run(
        [sys.executable, "-m", "pytest_wheelcheck", "doctor", "win_amd64"], capture_output=True, text=True, check=True
    )
    assert "is strong evidence, but not Windows itself" in doctor.stdout


def needing(library: str, module: str = "") -> bytes:
    """A library for Windows that needs another one.

    :param module: the extension module that it looks like; without one, it looks like a plain library.
    """
    image = pefile.PE(data=pe_programs.python_exe(library))
    image.FILE_HEADER.Characteristics |= pefile.IMAGE_CHARACTERISTICS["IMAGE_FILE_DLL"]
    names = f"PyInit_{module}\0python313.dll\0".encode("ascii") if module else b""
    return bytes(image.write()) + names


def test_a_library_that_a_dependency_lacks(ground: Ground, pytester: pytest.Pytester) -> None:
    """The dependency is at fault, not the wheel."""
    build_wheel(
        pytester.path / "others",
        "helper-of-nobody",
        files={"helper_of_nobody.cp313-win_amd64.pyd": needing("nowhere.dll", "helper_of_nobody")},
        tags=("cp313-cp313-win_amd64",),
    )
    user = build_wheel(
        pytester.path / "dist",
        "user",
        files={"user/__init__.py": "import helper_of_nobody\n"},
        requires=["helper-of-nobody"],
        tags=("cp313-cp313-win_amd64",),
    )
    ground.write(test_one="def test_one(): pass\n")
    find = f"--wheel-find-links={pytester.path / 'others'}"
    found = ground.run("--wheel-python=3.13", f"--wheel={user}", find, "--wheel-select=WHL101", "tests", bound=120)
    assert found.only("FAILED") == []
    assert found.only("ERROR") == ["import[user]"]
    assert "could not be checked: the dependency helper-of-nobody 1.0 cannot be loaded" in found.text
    assert "its helper_of_nobody.cp313-win_amd64.pyd needs nowhere.dll, which is not part of Windows" in found.text


def test_imports_that_do_not_end_well_and_scripts(ground: Ground, pytester: pytest.Pytester) -> None:
    """There is no fork on Windows: each package, and each module without one, has an interpreter of its own."""
    files: dict[str, str | bytes] = {
        "abandons.py": "import atexit, faulthandler\natexit.register(faulthandler._read_null)\n",
        "calm.py": "print('printed by the import')\n",
        "exits.py": "import os\nos._exit(0)\n",
        "hangs.py": "while True: pass\n",
        "raises.py": "import nothing_here\n",
        "drawn.py": "import tkinter\n",
        "calmly/__init__.py": "",
        "calmly/native.py": "import calmly.unix_only\n",
        "calmly/width.py": "import not_declared\n",
        "calmly/leaves.py": "import os\nos._exit(3)\n",
        "calmly/shell.py": "import fcntl\n",
        "of_windows.cp313-win_amd64.pyd": needing("winbio.dll", "of_windows"),
        "of_nobody.cp313-win_amd64.pyd": needing("nowhere.dll", "of_nobody"),
        "bad-1.0.data/scripts/script": "#!python\nimport sys\nassert sys.argv[1:] == ['--version']\n",
        "bad-1.0.data/scripts/shell": "#!/bin/sh\n",
    }
    other = build_wheel(pytester.path / "dist", "bad", files=files, tags=("cp313-cp313-win_amd64",))
    ground.write(test_one="def test_one(): import calm\n")
    found = ground.run("--wheel-python=auto", f"--wheel={other}", "tests", "-o", "wheel_test_timeout=6", bound=120)
    assert found.only("FAILED") == [
        f"import[{name}]" for name in ("abandons", "exits", "hangs", "of_nobody", "raises")
    ] + ["modules[calmly]"], found.text
    assert "calmly.width cannot be imported: ModuleNotFoundError: No module named 'not_declared'" in found.text
    assert "skipped: calmly.native: needs calmly.unix_only, a module for Unix" in found.text
    assert "skipped: calmly.shell: needs fcntl, a module for Unix" in found.text
    assert "calmly.leaves: the interpreter died: exit status 3" in found.text
    assert found.only("ERROR") == ["import[of_windows]"]
    assert "of_nobody.cp313-win_amd64.pyd needs nowhere.dll, which is not part of Windows" in found.text
    assert "Wine does not have winbio.dll, a part of Windows that of_windows.cp313-win_amd64.pyd needs" in found.text
    assert found.only("PASSED") == [
        *("compile", "import[calm]", "import[calmly]", "install", "run[script]", "tests/test_one.py::test_one"),
    ]
    assert found.only("SKIPPED") == ["import[drawn]", "run[shell]"]
    assert "but the interpreter failed afterwards, while it exited: access violation" in found.text
    assert "the interpreter died: exit status 0" in found.text
    assert 'site-packages/hangs.py", line 1 in <module>' in found.text
    assert "No module named 'nothing_here'" in found.text
    # Wine's own messages were read, and are not shown.
    assert "err:module" not in found.text


def calling(library: str, function: str, argument: int = 0) -> bytes:
    """A program that calls one function and passes it one number."""
    code = (b"\x48\x83\xec\x28\xb9", argument.to_bytes(4, "little"), ImportCall(function), b"\xcc")
    return write_pe(Image(imports={library: (function,)}, code=code))


def test_executables(ground: Ground, pytester: pytest.Pytester) -> None:
    """Their exit status is the result; the ini key names them as on other systems."""
    scripts: dict[str, str | bytes] = {
        "sound.exe": calling("ucrtbase.dll", "exit", 0),
        "broken.exe": calling("ucrtbase.dll", "exit", 3),
        "off.exe": calling("ucrtbase.dll", "exit", 4),
        "of_windows.exe": calling("winbio.dll", "WinBioOpenSession"),
        "of_nobody.exe": calling("nowhere.dll", "nothing"),
        # Wine has it, and a fresh Windows does not.
        "of_driver.exe": calling("opencl.dll", "clGetPlatformIDs"),
        "stub.exe": calling("ntdll.dll", "CsrAllocateMessagePointer"),
        "script.bat": "@exit %1\n",
    }
    other = build_wheel(
        pytester.path / "dist",
        "tools",
        files={"tools.py": "", **{f"tools-1.0.data/scripts/{name}": data for name, data in scripts.items()}},
        tags=("py3-none-win_amd64",),
    )
    ground.ini("wheel_executables =", "    off: off", "    script: 5")
    ground.write(test_one="import subprocess\ndef test_one(): assert subprocess.call(['broken']) == 3\n")
    found = ground.run("--wheel-python=3.13", f"--wheel={other}", "tests", bound=120)
    assert found.only("FAILED") == [
        f"run[{name}]" for name in ("broken.exe", "of_driver.exe", "of_nobody.exe", "script.bat")
    ]
    assert found.only("ERROR") == ["run[of_windows.exe]", "run[stub.exe]"]
    assert found.only("PASSED") == ["import[tools]", "install", "run[sound.exe]", "tests/test_one.py::test_one"]
    for text in (
        "`broken.exe --version` ended with exit status 3",
        "`script.bat 5` ended with exit status 5",
        "of_nobody.exe needs nowhere.dll, which is not part of Windows",
        "of_driver.exe needs opencl.dll, which is not part of Windows",
        "Wine does not have winbio.dll, a part of Windows that of_windows.exe needs",
        "Wine does not implement ntdll.dll.CsrAllocateMessagePointer",
    ):
        assert text in found.text


#: Opens a pseudo console in one call, and fails in another one.
SESSION = """
import ctypes, os, pathlib
from ctypes import wintypes

class Session:
    console = None

    def spawn(self):
        kernel = ctypes.WinDLL("kernel32")
        ends = [wintypes.HANDLE() for _ in range(4)]
        for index in (0, 2):
            assert kernel.CreatePipe(ctypes.byref(ends[index]), ctypes.byref(ends[index + 1]), None, 0)
        function = getattr(kernel, "CreatePseudo" + "Console")
        function.argtypes = [wintypes.DWORD, wintypes.HANDLE, wintypes.HANDLE, wintypes.DWORD, ctypes.c_void_p]
        console = ctypes.c_void_p()
        assert function(25 << 16 | 80, ends[0], ends[3], 0, ctypes.byref(console)) == 0
        self.console = console

    def read(self):
        if self.console is None:
            raise RuntimeError("session has not been started")
        raise OSError("Pipe closed")

def imported():
    # A native module whose import table has the function.
    library = ctypes.WinDLL(str(pathlib.Path(__file__).with_name("opens.dll")))
    assert library.opens(0, 0, 0, 0, 0) != 0
"""

TESTS_OF_SESSIONS = """
import pytest
from session import Session, imported

@pytest.fixture(scope="module")
def shared():
    session = Session()
    session.spawn()
    return session

@pytest.fixture
def broken():
    session = Session()
    session.spawn()
    session.read()

def test_reads():
    session = Session()
    session.spawn()
    assert session.read() == "hello"

def test_opens_only(): Session().spawn()
def test_not_started(): Session().read()
def test_imported():
    imported()
    assert 0
def test_after(): assert 0
def test_setup(broken): pass
def test_shares(shared): pass
def test_shares_again(shared): shared.read()
def test_last(): Session().read()
"""


def opening(bits: int) -> bytes:
    """A library for Windows with a function that calls one of its import table."""
    function = ImportCall("CreatePseudoConsole")
    codes: dict[int, tuple[bytes | ImportCall, ...]] = {
        64: (b"\x48\x83\xec\x38", function, b"\x48\x83\xc4\x38\xc3"),
        32: (X86_PROLOGUE, b"\x6a\x00" * 5, function, b"\x5b\xc2\x14\x00"),
    }
    imports = {"kernel32.dll": ("CreatePseudoConsole",)}
    return write_pe(Image(name="opens.dll", function="opens", imports=imports, code=codes[bits], bits=bits))


@pytest.mark.parametrize("bits", [64, 32])
def test_pseudo_consoles_are_noticed(ground: Ground, catalog_32: Catalog, pytester: pytest.Pytester, bits: int) -> None:
    """Neither a name nor a traceback shows them. A test that opened none stays red."""
    tag = {64: "cp313-cp313-win_amd64", 32: "cp313-cp313-win32"}[bits]
    files: dict[str, str | bytes] = {"session.py": SESSION, "opens.dll": opening(bits)}
    other = build_wheel(pytester.path / "dist", "session", files=files, tags=(tag,))
    ground.write(test_sessions=TESTS_OF_SESSIONS)
    found = ground.run("--wheel-python=auto", f"--wheel={other}", "tests", "-rs", bound=240)
    names = {
        outcome: [name.partition("::test_")[2] for name in found.only(outcome) if "::" in name]
        for outcome in ("PASSED", "FAILED", "SKIPPED", "ERROR")
    }
    assert names == {
        "PASSED": ["opens_only", "shares"],
        "FAILED": ["after", "last", "not_started"],
        "SKIPPED": ["imported", "reads", "setup", "shares_again"],
        "ERROR": [],
    }, found.text
    reason = "needs a pseudo-terminal, which cp313 on win32 does not have: it called CreatePseudoConsole, and failed later with"
    assert f"{reason} OSError: Pipe closed" in found.text
    assert re.search(r"SKIPPED \[1\] tests/test_sessions\.py:\d+: needs a pseudo-terminal", found.text)
    assert "RuntimeError: session has not been started" in found.text
    assert "4 tests" in found.text


#: Wine that says of itself what Windows can do.
CONSOLES_WORK = """
import importlib.util
from dataclasses import replace

# The target's pytest loads this file, too.
if importlib.util.find_spec("pytest_wheelcheck"):
    from pytest_wheelcheck.backends.wine.backend import WineBackend

    before = WineBackend.capabilities.fget
    WineBackend.capabilities = property(lambda self: replace(before(self), consoles=True))
"""


@pytest.mark.long
def test_where_pseudo_consoles_work_a_failing_test_that_opened_one_is_red(
    ground: Ground, pytester: pytest.Pytester
) -> None:
    files: dict[str, str | bytes] = {"session.py": SESSION, "opens.dll": opening(64)}
    other = build_wheel(pytester.path / "dist", "session", files=files, tags=("cp313-cp313-win_amd64",))
    ground.write(test_sessions=TESTS_OF_SESSIONS)
    (pytester.path / "consoles_work.py").write_text(CONSOLES_WORK, encoding="utf-8")
    found = ground.run("-p", "consoles_work", "--wheel-python=auto", f"--wheel={other}", "tests", bound=240)
    names = {
        outcome: [name.partition("::test_")[2] for name in found.only(outcome) if "::" in name]
        for outcome in ("PASSED", "FAILED", "SKIPPED", "ERROR")
    }
    assert names == {
        "PASSED": ["opens_only", "shares"],
        "FAILED": ["after", "imported", "last", "not_started", "reads", "shares_again"],
        "SKIPPED": [],
        "ERROR": ["setup"],
    }, found.text
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert "OSError: Pipe closed" in found.text


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
    """Each worker has a session of its own; the outcomes are those of a run without xdist."""
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
    arguments = ("--wheel-python=auto", "tests")
    serial = ground.run(*arguments, "--junit-xml=serial.xml", bound=120)
    parallel = ground.run(*arguments, "--junit-xml=parallel.xml", "-n2", "-rP", bound=120)
    assert serial.only("FAILED") == [f"tests/test_split.py::test_{name}" for name in ("exits", "fails")]
    expected = outcomes(ground.path / "serial.xml")
    assert len(expected) == 3 + 1 + 8
    assert outcomes(ground.path / "parallel.xml") == expected
    assert set(re.findall(r"^worker (\w+) 0$", parallel.text, re.MULTILINE)) == {"gw0", "gw1"}
    assert "Z:" not in parallel.text


REACH = """
import os, pathlib, socket, demo, pytest

def test_inside(tmp_path): (tmp_path / "x").write_text("x")

def test_home_directory():
    open(os.path.expanduser("~/own"), "w").close()
    assert os.environ["USERPROFILE"].startswith("C:")

def test_read_only(pytestconfig):
    for directory in (pytestconfig.rootpath, "Z:" + os.environ["OF_THE_USER"]):
        with pytest.raises(OSError):
            open(os.path.join(directory, "hole"), "w")

def test_drives():
    assert [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if os.path.exists(letter + ":/")] == ["C", "P", "R", "T"]
    # The interpreters, the project with this file, and the files of the run.
    assert any(name.startswith("windows-cp313-") for name in os.listdir("R:/"))
    assert pathlib.Path.cwd().parent == pathlib.Path("P:/")
    assert pathlib.Path(f"P:/{pathlib.Path.cwd().name}/tests/test_reach.py").samefile(__file__)
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
            raise provisioned.missing("sandbox", str(error)) from None
    home = tmp_path / "home"
    home.mkdir()
    ground.write(test_reach=REACH)
    with socket.create_server(("127.0.0.1", 0)) as server:
        ground.env |= {"HOME": str(home), "OF_THE_USER": str(home), "A_PORT": str(server.getsockname()[1])}
        deselected = "test_drives" if sandboxed else "test_read_only"
        arguments = ["--wheel-sandbox"] if sandboxed else []
        arguments.append(f"--deselect=tests/test_reach.py::{deselected}")
        found = ground.run("--wheel-python=auto", "tests", *arguments, bound=240)
    failed = [] if sandboxed else ["tests/test_reach.py::test_network"]
    assert found.only("FAILED") == failed, found.text
    assert found.nodes["tests/test_reach.py::test_home_directory"] == "PASSED"
    assert list(home.iterdir()) == []


def test_tests_on_another_drive(ground: Ground, tmp_path: Path) -> None:
    """They are outside of the project and its parent directory, and named relative to the working directory."""
    ground.ini("")
    project = ground.path / "parent/project"
    project.mkdir(parents=True)
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "test_other.py").write_text(
        "import demo, pathlib\n"
        "def test_place(): assert pathlib.Path(__file__).drive == 'Q:' != pathlib.Path.cwd().drive == 'P:'\n"
    )
    (other / "test_broken.py").write_text("import nothing_here\n")
    named = [os.path.relpath(path, project) for path in sorted(other.iterdir())]
    ground.path = project
    found = ground.run("--wheel-python=auto", f"--rootdir={project}", *named, bound=120)
    assert found.nodes["::test_place"] == "PASSED"
    assert found.only("FAILED") == ["collect"]
    assert f"{other}/test_broken.py:1: in <module>" in found.text
    assert "No module named 'nothing_here'" in found.text
    assert "[location]" not in found.text


@pytest.mark.parametrize("version", [(3, 9), (3, 13)])
def test_an_empty_project(ground: Ground, pytester: pytest.Pytester, version: tuple[int, int]) -> None:
    """pytest searches it for tests. On Windows, and under Wine, an empty drive cannot be listed before CPython 3.12."""
    name = f"cp{version[0]}{version[1]}"
    other = build_wheel(pytester.path / "dist", "pkg", files={"pkg.py": ""}, tags=(f"{name}-{name}-win_amd64",))
    empty = pytester.mkdir("empty")
    found = ground.run("--wheel-python=auto", f"--rootdir={empty}", f"--wheel={other}", str(empty), bound=240)
    assert found.nodes == {"install": "PASSED", "import[pkg]": "PASSED"}, found.text
    (empty / "test_later.py").write_text(
        "import os, pathlib\n"
        "def test_place():\n"
        "    place = pathlib.Path(__file__)\n"
        "    assert place.parent == place.resolve().parent\n"
        "    assert (place.drive, place.parent.name) == ('P:', 'empty')\n"
        "    assert os.listdir(place.parent) == ['test_later.py']\n"
        "def test_fails(): assert 0\n"
    )
    found = ground.run("--wheel-python=auto", f"--rootdir={empty}", f"--wheel={other}", str(empty), bound=240)
    assert (found.only("FAILED"), found.nodes["test_later.py::test_place"]) == (
        ["test_later.py::test_fails"],
        "PASSED",
    ), found.text
    assert re.search(r"^empty/test_later\.py:7: AssertionError$", found.text, re.MULTILINE), found.text


def test_without_wine(ground: Ground) -> None:
    ground.write(test_one="def test_one(): pass\n")
    found = ground.run("--wheel-python=auto", "tests", "--wheel-no-wine", "-rs")
    assert found.code == pytest.ExitCode.OK
    assert "needs Windows" in found.text
    assert set(found.nodes) == set()


def test_offline_and_nothing_in_the_cache(ground: Ground, tmp_path: Path) -> None:
    """The wheel could not be checked, which is an error and not a skip."""
    if provide.find_installed():
        pytest.skip("Wine is installed")
    ground.env["WHEELCHECK_CACHE"] = str(tmp_path / "empty")
    ground.write(test_one="def test_one(): pass\n")
    found = ground.run("--wheel-python=auto", "tests", "--wheel-offline")
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert "Wine is neither installed nor in the cache, and this run is offline" in found.text


@pytest.mark.long
def test_installations_of_the_user_and_of_uv(
    ground: Ground, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offer = offer_of(catalog)
    installation = tmp_path / "Python 3.13"
    shutil.copytree(
        catalog.get(offer).installation.program.parent,
        installation,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    before = sorted(installation.rglob("*"))
    # Wine and its prefix are not made again.
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/wine").symlink_to(cache.root() / "wine")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    ground.env["WHEELCHECK_CACHE"] = str(tmp_path / "cache")
    ground.write(test_one="import demo, sys\ndef test_one(): assert sys.version_info[:3] == (3, 13, 11)\n")
    arguments = ("tests", "--wheel-python=auto", "--wheel-offline", "-rA")
    found = ground.run(*arguments, f"--wheel-sysroot=win_amd64={installation}", bound=240)
    assert found.nodes["tests/test_one.py::test_one"] == "PASSED"
    assert f"({installation}, under Wine with Microsoft's C library)" in found.text
    assert sorted(installation.rglob("*")) == before

    key = "cpython-3.13.11-windows-x86_64-none"
    entry = archives.make_download(tmp_path, installation, key=key, arch="x86_64", libc="none", system="windows")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", archives.write_catalogue(tmp_path / "uv.json", {key: entry}))
    (of_uv,) = make_windows_catalog().ask(REQUEST)[0][:1]
    assert of_uv.how == f"{key} from uv, under Wine"
    runtime = make_windows_catalog().get(of_uv)
    output = subprocess.check_output([runtime.python, "-c", "import sys; print(sys.version_info[:3])"], text=True)
    assert output.strip() == "(3, 13, 11)"
    # Once it is cached, it is offered without the list of downloads.
    monkeypatch.delenv("UV_PYTHON_DOWNLOADS_JSON_URL")
    again, _ = make_windows_catalog(offline=True).ask(REQUEST)
    assert [offer.key for offer in again] == [of_uv.key]


def test_a_32_bit_installation_of_the_user(
    catalog_32: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offer = offer_of(catalog_32, REQUEST_32)
    installation = catalog_32.get(offer).installation.program.parent
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/wine").symlink_to(cache.root() / "wine")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    (sysroot,) = parse_sysroots([f"win32={installation}"])
    assert sysroot.windows is not None
    catalog = make_windows_catalog(offline=True, named=[sysroot.windows])
    # It replaces the interpreters of its own platform only.
    assert "not in the cache" in reasons_of(catalog, REQUEST)
    (own,) = catalog.ask(REQUEST_32)[0]
    assert (own.version, own.platform) == (offer.version, REQUEST_32.platform)
    with pytest.raises(UsageError, match=r"python313\.dll is not for x86-64"):
        parse_sysroots([f"win_amd64={installation}"])


@pytest.mark.long
def test_wine_of_the_host(catalog_32: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if provide.find_installed():
        pytest.skip("all other tests use it")
    offers = [offer_of(catalog_32, request) for request in (REQUEST, REQUEST_32)]
    for offer in offers:
        catalog_32.get(offer)
    own = provide.get(offline=True, bits=32)
    program = tmp_path / "bin" / "wine64"
    program.parent.mkdir()
    variables = f"LD_LIBRARY_PATH={own.libraries} WINEDLLPATH={own.path}"
    program.write_text(f'#!/bin/sh\n{variables} exec {own.program} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    # The interpreter and the C library are in the cache; the prefix is made for this Wine.
    (tmp_path / "cache/wine").mkdir(parents=True)
    (tmp_path / "cache/runtimes").symlink_to(cache.root() / "runtimes")
    for library in (cache.root() / "wine").glob("ucrtbase-*"):
        (tmp_path / "cache/wine" / library.name).symlink_to(library)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    found = provide.get(offline=True)
    assert (found.program, found.libraries) == (program, None)
    catalog = make_windows_catalog(offline=True)
    assert "cannot run 32-bit programs; install its 32-bit part: " in reasons_of(catalog, REQUEST_32)
    with pytest.raises(RuntimeUnavailableError, match="of this host cannot run 32-bit programs"):
        catalog.get(offers[1])
    monkeypatch.setattr(provide, "_LIBRARIES", (str(own.windows),))
    assert provide.get(offline=True).windows32 is None
    monkeypatch.setattr(provide, "_LIBRARIES_32", (str(own.windows32),))
    for offer, size in ((offers[0], 63), (offers[1], 31)):
        runtime = catalog.get(offer)
        output = subprocess.check_output([runtime.python, "-c", "import ssl, sys; print(sys.maxsize)"], text=True)
        assert output.strip() == str(2**size - 1)
    assert {path.name.partition("-")[0] for path in (tmp_path / "cache/wine").iterdir()} == {"prefix", "ucrtbase"}


def test_the_c_library_is_microsofts(ground: Ground, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has the functions for complex numbers, which numpy calls when it is imported."""
    ground.write(
        test_library="""
import ctypes, math
import demo

class Complex(ctypes.Structure):
    _fields_ = [("real", ctypes.c_double), ("imaginary", ctypes.c_double)]

def test_complex():
    library = ctypes.CDLL("ucrtbase")
    library.cabs.argtypes, library.cabs.restype = [ctypes.POINTER(Complex)], ctypes.c_double
    assert library.cabs(ctypes.byref(Complex(3, 4))) == 5
    path = ctypes.create_unicode_buffer(300)
    ctypes.windll.kernel32.GetModuleFileNameW(ctypes.c_void_p(library._handle), path, 300)
    assert path.value.lower() == r"c:\\windows\\system32\\ucrtbase.dll"
    assert b"Wine builtin DLL" not in open(path.value, "rb").read()
"""
    )
    found = ground.run("--wheel-python=auto", "tests", bound=120)
    assert found.nodes["tests/test_library.py::test_complex"] == "PASSED", found.text
    assert "under Wine with Microsoft's C library" in found.text
    # Without it, nothing is run with another one.
    (tmp_path / "cache/wine").mkdir(parents=True)
    for part in (*(cache.root() / "wine").glob("debian-*"), cache.root() / "runtimes"):
        (tmp_path / "cache" / part.relative_to(cache.root())).symlink_to(part)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    assert "Microsoft's C library is not in the cache" in reasons_of(make_windows_catalog(offline=True), REQUEST)
    with pytest.raises(RuntimeUnavailableError, match=r"dotnetcore2 3\.1\.23 .* could not be downloaded"):
        C_LIBRARY.get(offline=False, index=PackageIndex(url="http://127.0.0.1:9/simple"), bits=64)


def extension_in_cpp(name: str, bits: int) -> bytes:
    """An extension module that calls a function of the runtime of Visual C++ when it is initialized.

    :param name: of the module.
    """
    # The definition of the module, all zero (PyModuleDef): the second phase of the initialization has nothing to do.
    data = {"definition": bytes(13 * bits // 8)}
    ticks, initialize = ImportCall("_Xtime_get_ticks"), ImportCall("PyModuleDef_Init")
    codes: dict[int, tuple[bytes | ImportCall | DataReference, ...]] = {
        64: (
            *(b"\x48\x83\xec\x28", ticks),
            *(DataReference(b"\x48\x8d\x0d", "definition"), initialize),
            b"\x48\x83\xc4\x28\xc3",
        ),
        32: (
            *(X86_PROLOGUE, ticks),
            *(DataReference(b"\x8d\x83", "definition"), b"\x50", initialize),
            b"\x83\xc4\x04\x5b\xc3",
        ),
    }
    imports = {"MSVCP140.dll": ("_Xtime_get_ticks",), "python313.dll": ("PyModuleDef_Init",)}
    function = f"PyInit_{name}"
    return write_pe(
        Image(name=f"{name}.pyd", function=function, imports=imports, data=data, code=codes[bits], bits=bits)
    )


@pytest.mark.parametrize("bits", [64, 32])
def test_runtime_of_visual_cpp(ground: Ground, catalog_32: Catalog, pytester: pytest.Pytester, bits: int) -> None:
    """A fresh Windows lacks it. Neither Wine's own nor Microsoft's hides that, unless the user ignores the check for it."""
    runtime = CPP_RUNTIME.get(offline=False, index=PackageIndex(), bits=bits)[bits]
    platform = {64: "win_amd64", 32: "win32"}[bits]
    native = f"native.cp313-{platform}.pyd"
    files: dict[str, str | bytes] = {"demo_cpp/__init__.py": "from demo_cpp import native\n"}
    files[f"demo_cpp/{native}"] = extension_in_cpp("native", bits)
    bundled = {**files, "demo_cpp/msvcp140.dll": (runtime / "msvcp140.dll").read_bytes()}
    tags = (f"cp313-cp313-{platform}",)
    brings = build_wheel(pytester.path / "brings", "demo_cpp", files=bundled, tags=tags)
    lacks = build_wheel(pytester.path / "lacks", "demo_cpp", files=files, tags=tags)
    ground.write(
        test_library="""
import ctypes, pathlib
import demo_cpp

def test_library():
    path = ctypes.create_unicode_buffer(300)
    get = ctypes.WinDLL("kernel32").GetModuleHandleW
    get.restype = ctypes.c_void_p
    ctypes.windll.kernel32.GetModuleFileNameW(ctypes.c_void_p(get("msvcp140.dll")), path, 300)
    assert b"Wine builtin DLL" not in open(path.value, "rb").read()
    bundled = pathlib.Path(demo_cpp.__file__).with_name("msvcp140.dll")
    assert path.value.lower() == (str(bundled).lower() if bundled.exists() else r"c:\\windows\\system32\\msvcp140.dll")
"""
    )
    given = ["--wheel-python=3.13", "--wheel-select=WHL503", "tests"]
    found = ground.run(f"--wheel={brings}", *given)
    assert found.only("PASSED")[-1:] == ["tests/test_library.py::test_library"], found.text
    assert "WHL503-windows-libraries PASSED" in found.text
    found = ground.run(f"--wheel={lacks}", *given)
    assert found.only("FAILED") == ["import[demo_cpp]"], found.text
    assert found.only("PASSED") == ["install"], found.text
    assert "WHL503-windows-libraries FAILED" in found.text
    assert f"{native} needs MSVCP140.dll, which is not part of Windows or Python" in found.text
    assert "its runtime of Visual C++" not in found.text
    # Who ignores the check says that users install it. The report says that it was there.
    found = ground.run(f"--wheel={lacks}", *given, "--wheel-ignore=WHL503")
    assert found.only("PASSED")[-1:] == ["tests/test_library.py::test_library"], found.text
    assert not found.only("FAILED"), found.text
    assert (
        "under Wine with Microsoft's C library and, because WHL503 is ignored, its runtime of Visual C++" in found.text
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no CPython for Windows of version 3.9 or newer was found"),
        ({"python.exe": b"MZ", "python313t.dll": b"MZ"}, "free-threaded ones are not supported"),
        ({"python.exe": b"MZ", "python313.dll": b"MZ"}, "python313.dll is not for x86-64"),
        ({"python.exe": b"MZ", "python313.dll": pe_programs.python3_dll("x.dll", ["a"])}, "no standard library in Lib"),
    ],
)
def test_directories_without_an_installation(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError) as caught:
        parse_sysroots([f"win_amd64={tmp_path}"])
    assert message in str(caught.value)


ENVIRONMENT = """
import os, pathlib, subprocess, sys, time, venv
directory = pathlib.Path(sys.argv[1])
venv.create(directory)
python = directory / "Scripts" / "python.exe"
done = subprocess.run([python, "-c", "import sys; print(sys.prefix, sys.executable, sys.argv); sys.exit(5)", "a b", '"'],
                      capture_output=True, text=True)
assert done.returncode == 5, done
assert done.stdout == f"{directory} {python} {['-c', 'a b', chr(34)]}\\n", done
child = subprocess.Popen([python, "-u", "-c", "import os, time; print(os.getpid()); time.sleep(60)"], stdout=subprocess.PIPE)
assert int(child.stdout.readline()) != child.pid
child.kill()
begin = time.monotonic()
assert child.stdout.read() == b"" and time.monotonic() - begin < 20
"""


@pytest.mark.parametrize(
    ("request_", "version"),
    [(REQUEST, (3, 12)), (REQUEST, (3, 13)), (REQUEST_32, (3, 13))],
)
def test_environments_made_by_the_interpreter(
    catalog_32: Catalog, tmp_path: Path, request_: Request, version: tuple[int, int]
) -> None:
    python = catalog_32.get(offer_of(catalog_32, request_, version)).python
    done = subprocess.run([python, "-c", ENVIRONMENT, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_interpreter_as_a_command(catalog: Catalog) -> None:
    offer = offer_of(catalog)
    runtime = catalog.get(offer)
    code = "import sys; print(sys.version_info[:2], sys.argv[1:], sys.stdin.read()); sys.exit(3)"
    before = set(Path("/tmp").glob("wine-??????"))
    done = subprocess.run(
        [runtime.python, "-c", code, "/c", str(Path(__file__))],
        input="input",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout.split("\n")[0] == f"(3, 13) ['/c', {'Z:' + str(Path(__file__)).replace('/', chr(92))!r}] input"
    # Sessions of tests that run at the same time have such directories, too, until they end.
    new = set(Path("/tmp").glob("wine-??????")) - before
    wait_for(lambda: not any(path.exists() for path in new))


def test_wine_writes_nothing_into_the_output_of_a_command(catalog: Catalog, tmp_path: Path) -> None:
    """Wine reports a library that is not found only if the caller asked for such messages."""
    (tmp_path / "of_nobody.dll").write_bytes(needing("nowhere.dll"))
    python = catalog.get(offer_of(catalog)).python
    code = "import ctypes, sys\ntry: ctypes.WinDLL(sys.argv[1])\nexcept OSError: print('not loaded')\n"
    stderr = {}
    for variables in ({}, {runner.DIAGNOSE: "1"}):
        done = subprocess.run(
            [python, "-c", code, tmp_path / "of_nobody.dll"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == "not loaded"
        stderr[bool(variables)] = done.stderr
    assert stderr[False] == ""
    assert ":err:module:import_dll Library nowhere.dll" in stderr[True]
    assert diagnosis.without_debug_lines(stderr[True]) == ""
