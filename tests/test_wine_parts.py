"""The parts of the Wine provider that need no Wine: paths, words, and the small Windows files."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pefile
import pytest

from pytest_wheelcheck.process import describe_status
from pytest_wheelcheck.runtimes import wine_paths, wine_pe, wine_words

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
    assert wine_paths.from_windows(said) == shown


def test_paths_are_spelt_as_they_lie_here(tmp_path: Path) -> None:
    module = tmp_path / "Env" / "Lib" / "pkg" / "mod.py"
    module.parent.mkdir(parents=True)
    module.write_text("", encoding="utf-8")
    said = wine_paths.to_windows(module).replace("Env\\Lib", "env\\lib")
    assert wine_paths.from_windows(f"in {said}, line 3") == f"in {module}, line 3"
    assert wine_paths.from_windows(f"{said[:-6]}other.py") == f"{module.parent}/other.py"
    assert wine_paths.from_windows("Z:\\No-Such\\x") == "/No-Such/x"


def test_messages_that_come_out() -> None:
    message = {"location": ["tests\\test_x.py", 3, "test_a"], "data": {"path": "tests\\x.py", "text": "a\\b"}}
    told = wine_paths.coming_out(message)
    assert told == {"location": ["tests/test_x.py", 3, "test_a"], "data": {"path": "tests/x.py", "text": "a\\b"}}


def test_settings_that_go_in(tmp_path: Path) -> None:
    shown = wine_paths.to_windows(tmp_path)
    given = [f"--rootdir={tmp_path}", f"{tmp_path}::test_a[/b]", "/no-such-folder/x", "tests/test_a.py", "-k", "a/b"]
    told = [f"--rootdir={shown}", f"{shown}::test_a[/b]", *given[2:]]
    assert wine_paths.going_in({"args": given, "width": 80}) == {"args": told, "width": 80}


def test_files_that_are_written() -> None:
    program = pefile.PE(data=wine_pe.python("python313.dll"))
    assert {each.dll: len(each.imports) for each in program.DIRECTORY_ENTRY_IMPORT} == {
        b"ucrtbase.dll": 5,
        b"python313.dll": 1,
    }
    assert program.DIRECTORY_ENTRY_RESOURCE.entries[0].id == 24
    assert program.OPTIONAL_HEADER.Subsystem == 3
    assert pefile.PE(data=wine_pe.python("python313.dll", console=False)).OPTIONAL_HEADER.Subsystem == 2
    other = pefile.PE(data=wine_pe.redirector("Z:\\a b\\python.exe"))
    assert {each.dll for each in other.DIRECTORY_ENTRY_IMPORT} == {b"ucrtbase.dll", b"kernel32.dll"}
    assert "Z:\\a b\\python.exe\0".encode("utf-16-le") in other.get_memory_mapped_image()
    stable = pefile.PE(data=wine_pe.stable_abi("python313.dll", ["Py_Exit", "PyLong_Type"]))
    forwards = {each.name: each.forwarder for each in stable.DIRECTORY_ENTRY_EXPORT.symbols}
    assert forwards == {b"Py_Exit": b"python313.Py_Exit", b"PyLong_Type": b"python313.PyLong_Type"}
    own = pefile.PE(data=wine_pe.random_numbers())
    (function,) = own.DIRECTORY_ENTRY_EXPORT.symbols
    assert (function.name, function.forwarder) == (b"ProcessPrng", None)
    assert own.is_dll()


def test_debugging_sections_go() -> None:
    sound = wine_pe.python("python313.dll")
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
    assert wine_pe.without_debugging(bytes(fat)) == sound
    assert wine_pe.without_debugging(sound) == sound
    for other in (b"", b"MZ", b"#!/bin/sh\n" * 100):
        assert wine_pe.without_debugging(other) == other


def test_words() -> None:
    said = "wine: Call from 00006FFFFF3FCF77 to unimplemented function ucrtbase.dll.crealf, aborting"
    assert wine_words.stub(said) == "ucrtbase.dll.crealf"
    assert not wine_words.stub("unimplemented function of the user's")
    assert wine_words.death("Windows fatal exception: access violation\n") == "access violation"
    fast = "0024:err:seh:NtRaiseException Unhandled exception code c0000409 flags 1 addr 0xac95f5"
    assert wine_words.death(fast).startswith("__fastfail")
    assert describe_status(0xC0000005) == "ended by exception 0xC0000005 (access violation)"
    assert describe_status(3) == "exit status 3"
