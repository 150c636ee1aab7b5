"""The parts of the Wine provider that need no Wine: paths, words, and the small Windows files."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pefile
import pytest

from pytest_wheelcheck.backends.wine import diagnosis, paths
from pytest_wheelcheck.interpreters.windows import pe_programs, pe_strip
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.system.process import describe_status

ALL = paths.Drives((("Z:", "/"),))

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="about paths of a host that is not Windows")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (r'File "Z:\tmp\a b\test_x.py", line 3', 'File "/tmp/a b/test_x.py", line 3'),
        (r"Z:\work\tests\test_x.py:7: AssertionError", "/work/tests/test_x.py:7: AssertionError"),
        (r"assert 'Z:\\tmp\\x' == 'y'", "assert '/tmp/x' == 'y'"),
        (r"WindowsPath('Z:/tmp/x')", "WindowsPath('/tmp/x')"),
        (r"\\?\Z:\tmp\x", "/tmp/x"),
        (r"from Z:\tmp\x to z:\tmp\y, twice", "from /tmp/x to /tmp/y, twice"),
        (r"C:\users\x", r"C:\users\x"),
        ("https://example.org", "https://example.org"),
        ("Ez:/x", "Ez:/x"),
    ],
)
def test_paths_that_come_out(said: str, shown: str) -> None:
    assert ALL.from_windows(said) == shown


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("/work/project/tests/a.py", r"P:\tests\a.py"),
        ("/work/project", "P:\\"),
        ("/work/project/build/run/0", r"T:\0"),
        ("/work/project/build/runner", r"P:\build\runner"),
        ("/work/projects", r"\\?\unix\work\projects"),
        ("/", "\\\\?\\unix\\"),
    ],
)
def test_the_deepest_drive_counts(here: str, there: str) -> None:
    drives = paths.Drives((("P:", "/work/project"), ("T:", "/work/project/build/run")))
    assert drives.to_windows(here) == there
    assert drives.from_windows(f"'{there}'") == f"'{here}'"
    assert drives.from_windows(f"{there!r}") == f"{here!r}"
    assert drives.from_windows(rf"\\?\{there}") == here or there.startswith("\\")
    # On no drive that there is.
    assert drives.from_windows(r"Z:\work X:/work") == r"Z:\work X:/work"


def test_drives_of_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    run, one, two = tmp_path / "run", tmp_path / "one", tmp_path / "two"
    drives = paths.limited(run, [one / "tests", one, two, one], one / "tests")
    runtimes = str(tmp_path / "cache/runtimes")
    assert drives.folders == (("P:", str(one)), ("Q:", str(two)), ("R:", runtimes), ("T:", str(run)))
    assert drives.words()[0] == f"P:={one}"
    assert paths.whole().to_windows(tmp_path / "cache/runtimes/x") == r"R:\x"
    many = paths.limited(run, [tmp_path / str(number) for number in range(40)], tmp_path / "0")
    # What goes up from the working directory may lie on another drive.
    (two / "tests").mkdir(parents=True)
    (one / "tests").mkdir(parents=True)
    given = ["../../two/tests::test_a[../b]", "../../three", "../b", "tests"]
    assert drives.going_in(given) == [r"Q:\tests::test_a[../b]", *given[1:]]
    letters = [letter for letter, _ in many.folders]
    assert len(letters) == len(set(letters)) < 26
    assert "C:" not in letters


def test_drives_through_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    drives = paths.Drives((("R:", str(tmp_path / "link")),))
    assert drives.to_windows(tmp_path / "real/x") == drives.to_windows(tmp_path / "link/x") == r"R:\x"


def test_paths_are_spelt_as_they_lie_here(tmp_path: Path) -> None:
    module = tmp_path / "Env" / "Lib" / "pkg" / "mod.py"
    module.parent.mkdir(parents=True)
    module.write_text("", encoding="utf-8")
    said = ALL.to_windows(module).replace("Env\\Lib", "env\\lib")
    assert ALL.from_windows(f"in {said}, line 3") == f"in {module}, line 3"
    assert ALL.from_windows(f"{said[:-6]}other.py") == f"{module.parent}/other.py"
    assert ALL.from_windows("Z:\\No-Such\\x") == "/No-Such/x"


def test_messages_that_come_out() -> None:
    message = {"location": ["tests\\test_x.py", 3, "test_a"], "data": {"path": "tests\\x.py", "text": "a\\b"}}
    told = ALL.coming_out(message)
    assert told == {"location": ["tests/test_x.py", 3, "test_a"], "data": {"path": "tests/x.py", "text": "a\\b"}}


def test_node_ids_with_parameters_that_are_paths() -> None:
    drives = paths.Drives((("P:", "/work"), ("Q:", "/other")))
    item = {"id": "tests/a.py::test[P:\\x]", "names": ["test[P:\\x]"], "chain": [["Function", "test[P:\\x]"]]}
    assert drives.coming_out(item) == item
    assert drives.id_going_in("tests/a.py::test[P:\\x]") == item["id"]
    assert drives.coming_out({"nodeid": "Q:/tests/a.py::test[Q:/y]"}) == {"nodeid": "/other/tests/a.py::test[Q:/y]"}
    assert drives.id_going_in("/other/tests/a.py::test[/y]") == "Q:/tests/a.py::test[/y]"


def test_settings_that_go_in(tmp_path: Path) -> None:
    shown = ALL.to_windows(tmp_path)
    given = [f"--rootdir={tmp_path}", f"{tmp_path}::test_a[/b]", "/no-such-folder/x", "tests/test_a.py", "-k", "a/b"]
    told = [f"--rootdir={shown}", f"{shown}::test_a[/b]", *given[2:]]
    assert ALL.going_in({"args": given, "width": 80}) == {"args": told, "width": 80}


@pytest.mark.parametrize("bits", [64, 32])
def test_files_that_are_written(bits: int) -> None:
    program = pefile.PE(data=pe_programs.python_exe("python313.dll", bits=bits))
    assert program.FILE_HEADER.Machine == {64: 0x8664, 32: 0x14C}[bits]
    assert {each.dll: len(each.imports) for each in program.DIRECTORY_ENTRY_IMPORT} == {
        b"ucrtbase.dll": 5,
        b"python313.dll": 1,
    }
    assert program.DIRECTORY_ENTRY_RESOURCE.entries[0].id == 24
    assert program.OPTIONAL_HEADER.Subsystem == 3
    assert (
        pefile.PE(data=pe_programs.python_exe("python313.dll", console=False, bits=bits)).OPTIONAL_HEADER.Subsystem == 2
    )
    other = pefile.PE(data=pe_programs.venv_redirector("Z:\\a b\\python.exe", bits=bits))
    assert {each.dll for each in other.DIRECTORY_ENTRY_IMPORT} == {b"ucrtbase.dll", b"kernel32.dll"}
    assert "Z:\\a b\\python.exe\0".encode("utf-16-le") in other.get_memory_mapped_image()
    stable = pefile.PE(data=pe_programs.python3_dll("python313.dll", ["Py_Exit", "PyLong_Type"], bits=bits))
    forwards = {each.name: each.forwarder for each in stable.DIRECTORY_ENTRY_EXPORT.symbols}
    assert forwards == {b"Py_Exit": b"python313.Py_Exit", b"PyLong_Type": b"python313.PyLong_Type"}
    own = pefile.PE(data=pe_programs.bcryptprimitives_dll(bits=bits))
    (function,) = own.DIRECTORY_ENTRY_EXPORT.symbols
    assert (function.name, function.forwarder) == (b"ProcessPrng", None)
    assert own.is_dll()
    assert {each.FILE_HEADER.Machine for each in (other, stable, own)} == {program.FILE_HEADER.Machine}


def test_debugging_sections_go() -> None:
    sound = pe_programs.python_exe("python313.dll")
    start = 64
    table = start + 24 + 240
    fat = bytearray(sound)
    (image,) = struct.unpack_from("<I", fat, start + 24 + 56)
    struct.pack_into("<H", fat, start + 6, 2)
    struct.pack_into("<II", fat, start + 12, len(sound) + 512, 0)
    struct.pack_into("<8sIIII", fat, table + 40, b"/4", 512, image, 512, len(sound))
    struct.pack_into("<I", fat, start + 24 + 56, image + 0x1000)
    fat += bytes(512) + struct.pack("<I", 16) + b".debug_info\0"
    assert [each.Name for each in pefile.PE(data=bytes(fat)).sections] == [b".text\0\0\0", b"/4\0\0\0\0\0\0"]
    assert pe_strip.strip_debug_sections(bytes(fat)) == sound
    assert pe_strip.strip_debug_sections(sound) == sound
    for other in (b"", b"MZ", b"#!/bin/sh\n" * 100):
        assert pe_strip.strip_debug_sections(other) == other


def test_words() -> None:
    said = "wine: Call from 00006FFFFF3FCF77 to unimplemented function ucrtbase.dll.crealf, aborting"
    assert "Wine does not implement ucrtbase.dll.crealf, which was called here" in diagnosis.blame(said)
    assert not diagnosis.blame("unimplemented function of the user's")
    line = '0138:err:module:import_dll Library {} (which is needed by L"T:\\\\0\\\\env\\\\x\\\\dde.pyd") not found\n'
    both = line.format("mfc140u.dll") + line.format("ACLUI.dll") + line.format("mfc140u.dll")
    assert diagnosis.missing(both) == [("mfc140u.dll", "dde.pyd"), ("ACLUI.dll", "dde.pyd")]
    assert not diagnosis.blame(both)
    assert "Wine does not have PATHCCH.dll, a part of Windows that dde.pyd" in diagnosis.blame(
        line.format("PATHCCH.dll")
    )
    assert diagnosis.death("Windows fatal exception: access violation\n") == "access violation"
    fast = "0024:err:seh:NtRaiseException Unhandled exception code c0000409 flags 1 addr 0xac95f5"
    assert diagnosis.death(fast).startswith("__fastfail")
    assert describe_status(0xC0000005) == "ended by exception 0xC0000005 (access violation)"
    assert describe_status(3) == "exit status 3"
