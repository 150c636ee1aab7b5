"""The parts of the Wine backend that need no Wine: paths, diagnosis, scripts, and the small Windows files."""

from __future__ import annotations

import csv
import io
import struct
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pefile
import pytest
from builders import build_wheel

from pytest_wheelcheck.backends.launcher import Launch
from pytest_wheelcheck.backends.wine import diagnosis, paths, runner, scripts, venv
from pytest_wheelcheck.backends.wine.redistributables import C_LIBRARY
from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.published.pinned import PackageIndex
from pytest_wheelcheck.interpreters.windows import pe_programs
from pytest_wheelcheck.interpreters.windows.pe_strip import strip_debug_sections
from pytest_wheelcheck.system import cache, process
from pytest_wheelcheck.system.process import describe_status

WHOLE = paths.Drives((("Z:", "/"),))

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="about paths of a host that is not Windows")


@pytest.mark.parametrize(
    ("text", "translated"),
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
def test_paths_in_text_are_translated(text: str, translated: str) -> None:
    assert WHOLE.text_from_target(text) == translated


@pytest.mark.parametrize(
    ("host", "windows"),
    [
        ("/work/project/tests/a.py", r"P:\tests\a.py"),
        ("/work/project", "P:\\"),
        ("/work/project/build/run/0", r"T:\0"),
        ("/work/project/build/runner", r"P:\build\runner"),
        ("/work/projects", r"\\?\unix\work\projects"),
        ("/", "\\\\?\\unix\\"),
    ],
)
def test_deepest_drive_is_used(host: str, windows: str) -> None:
    drives = paths.Drives((("P:", "/work/project"), ("T:", "/work/project/build/run")))
    assert drives.to_target(host) == windows
    assert drives.text_from_target(f"'{windows}'") == f"'{host}'"
    assert drives.text_from_target(f"{windows!r}") == f"{host!r}"
    assert drives.text_from_target(rf"\\?\{windows}") == host or windows.startswith("\\")
    # There are no such drives.
    assert drives.text_from_target(r"Z:\work X:/work") == r"Z:\work X:/work"


def test_drives_of_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    run, one, two, three = tmp_path / "run", tmp_path / "1/one", tmp_path / "2/two", tmp_path / "1/three"
    drives = paths.limited_drives(run, [one / "tests", one, two, three], one / "tests")
    runtimes = str(tmp_path / "cache/runtimes")
    # A project is never the root of a drive, because an empty one cannot be listed.
    projects = (("P:", str(one.parent)), ("Q:", str(two.parent)))
    assert drives.directories == (*projects, ("R:", runtimes), ("T:", str(run)))
    assert drives.arguments()[0] == f"P:={one.parent}"
    assert (drives.to_target(one), drives.to_target(three / "x")) == (r"P:\one", r"P:\three\x")
    assert paths.all_drives().to_target(tmp_path / "cache/runtimes/x") == r"R:\x"
    many = paths.limited_drives(run, [tmp_path / str(number) / "x" for number in range(40)], tmp_path / "0/x")
    # A path that goes up from the working directory may lead to another drive.
    (two / "tests").mkdir(parents=True)
    (one / "tests").mkdir(parents=True)
    given = ["../../../2/two/tests::test_a[../b]", "../../four", "../b", "tests"]
    assert drives.settings_to_target(given) == [r"Q:\two\tests::test_a[../b]", *given[1:]]
    letters = [letter for letter, _ in many.directories]
    assert len(letters) == len(set(letters)) < 26
    assert "C:" not in letters


def test_a_project_in_the_root_directory(tmp_path: Path) -> None:
    drives = paths.limited_drives(tmp_path, [Path("/project")], Path("/"))
    assert (drives.to_target("/project/x"), drives.to_target(tmp_path / "x")) == (r"P:\project\x", r"T:\x")
    assert drives.text_from_target(r"P:\project\x T:\x") == f"/project/x {tmp_path}/x"


def test_drives_through_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    drives = paths.Drives((("R:", str(tmp_path / "link")),))
    assert drives.to_target(tmp_path / "real/x") == drives.to_target(tmp_path / "link/x") == r"R:\x"


def test_paths_are_spelled_as_on_disk(tmp_path: Path) -> None:
    module = tmp_path / "Env" / "Lib" / "pkg" / "mod.py"
    module.parent.mkdir(parents=True)
    module.write_text("", encoding="utf-8")
    path = WHOLE.to_target(module).replace("Env\\Lib", "env\\lib")
    assert WHOLE.text_from_target(f"in {path}, line 3") == f"in {module}, line 3"
    assert WHOLE.text_from_target(f"{path[:-6]}other.py") == f"{module.parent}/other.py"
    assert WHOLE.text_from_target("Z:\\No-Such\\x") == "/No-Such/x"


def test_messages_are_translated() -> None:
    message = {"location": ["tests\\test_x.py", 3, "test_a"], "data": {"path": "tests\\x.py", "text": "a\\b"}}
    translated = WHOLE.message_from_target(message)
    assert translated == {
        "location": ["tests/test_x.py", 3, "test_a"],
        "data": {"path": "tests/x.py", "text": "a\\b"},
    }


def test_node_ids_with_parameters_that_are_paths() -> None:
    drives = paths.Drives((("P:", "/work"), ("Q:", "/other")))
    item = {"id": "tests/a.py::test[P:\\x]", "names": ["test[P:\\x]"], "chain": [["Function", "test[P:\\x]"]]}
    assert drives.message_from_target(item) == item
    assert drives.node_id_to_target("tests/a.py::test[P:\\x]") == item["id"]
    assert drives.message_from_target({"nodeid": "Q:/tests/a.py::test[Q:/y]"}) == {
        "nodeid": "/other/tests/a.py::test[Q:/y]"
    }
    assert drives.node_id_to_target("/other/tests/a.py::test[/y]") == "Q:/tests/a.py::test[/y]"


def test_settings_are_translated(tmp_path: Path) -> None:
    windows = WHOLE.to_target(tmp_path)
    given = [f"--rootdir={tmp_path}", f"{tmp_path}::test_a[/b]", "/no-such-folder/x", "tests/test_a.py", "-k", "a/b"]
    translated = [f"--rootdir={windows}", f"{windows}::test_a[/b]", *given[2:]]
    assert WHOLE.settings_to_target({"args": given, "width": 80}) == {"args": translated, "width": 80}


@pytest.mark.parametrize("bits", [64, 32])
def test_written_windows_files(bits: int) -> None:
    program = pefile.PE(data=pe_programs.python_exe("python313.dll", bits=bits))
    assert program.FILE_HEADER.Machine == {64: 0x8664, 32: 0x14C}[bits]
    assert {entry.dll: len(entry.imports) for entry in program.DIRECTORY_ENTRY_IMPORT} == {
        b"ucrtbase.dll": 5,
        b"python313.dll": 1,
    }
    assert program.DIRECTORY_ENTRY_RESOURCE.entries[0].id == 24
    assert program.OPTIONAL_HEADER.Subsystem == 3
    assert (
        pefile.PE(data=pe_programs.python_exe("python313.dll", console=False, bits=bits)).OPTIONAL_HEADER.Subsystem == 2
    )
    redirector = pefile.PE(data=pe_programs.venv_redirector("Z:\\a b\\python.exe", bits=bits))
    assert {entry.dll for entry in redirector.DIRECTORY_ENTRY_IMPORT} == {b"ucrtbase.dll", b"kernel32.dll"}
    assert "Z:\\a b\\python.exe\0".encode("utf-16-le") in redirector.get_memory_mapped_image()
    stable = pefile.PE(data=pe_programs.python3_dll("python313.dll", ["Py_Exit", "PyLong_Type"], bits=bits))
    forwards = {symbol.name: symbol.forwarder for symbol in stable.DIRECTORY_ENTRY_EXPORT.symbols}
    assert forwards == {b"Py_Exit": b"python313.Py_Exit", b"PyLong_Type": b"python313.PyLong_Type"}
    primitives = pefile.PE(data=pe_programs.bcryptprimitives_dll(bits=bits))
    (function,) = primitives.DIRECTORY_ENTRY_EXPORT.symbols
    assert (function.name, function.forwarder) == (b"ProcessPrng", None)
    assert primitives.is_dll()
    assert {image.FILE_HEADER.Machine for image in (redirector, stable, primitives)} == {program.FILE_HEADER.Machine}


def test_debug_sections_are_removed() -> None:
    stripped = pe_programs.python_exe("python313.dll")
    start = 64
    table = start + 24 + 240
    data = bytearray(stripped)
    (image,) = struct.unpack_from("<I", data, start + 24 + 56)
    struct.pack_into("<H", data, start + 6, 2)
    struct.pack_into("<II", data, start + 12, len(stripped) + 512, 0)
    struct.pack_into("<8sIIII", data, table + 40, b"/4", 512, image, 512, len(stripped))
    struct.pack_into("<I", data, start + 24 + 56, image + 0x1000)
    data += bytes(512) + struct.pack("<I", 16) + b".debug_info\0"
    assert [section.Name for section in pefile.PE(data=bytes(data)).sections] == [b".text\0\0\0", b"/4\0\0\0\0\0\0"]
    assert strip_debug_sections(bytes(data)) == stripped
    assert strip_debug_sections(stripped) == stripped
    for other in (b"", b"MZ", b"#!/bin/sh\n" * 100):
        assert strip_debug_sections(other) == other


def test_diagnosis() -> None:
    stub = "wine: Call from 00006FFFFF3FCF77 to unimplemented function ucrtbase.dll.crealf, aborting"
    assert "Wine does not implement ucrtbase.dll.crealf, which was called here" in diagnosis.explain_failure(stub)
    assert not diagnosis.explain_failure("unimplemented function of the user's")
    line = '0138:err:module:import_dll Library {} (which is needed by L"T:\\\\0\\\\env\\\\x\\\\dde.pyd") not found\n'
    both = line.format("mfc140u.dll") + line.format("nowhere.dll") + line.format("mfc140u.dll")
    assert diagnosis.missing_libraries(both) == [("mfc140u.dll", "dde.pyd"), ("nowhere.dll", "dde.pyd")]
    assert not diagnosis.explain_failure(both)
    assert "Wine does not have WINBIO.dll, a part of Windows that dde.pyd" in diagnosis.explain_failure(
        line.format("WINBIO.dll")
    )
    of_wine = line.replace(r"T:\\0\\env\\x\\dde.pyd", r"C:\\windows\\system32\\d3d10.dll").format("d3dcompiler_43.dll")
    assert "Wine's own d3d10.dll needs d3dcompiler_43.dll" in diagnosis.explain_failure(of_wine)
    assert diagnosis.describe_death("Windows fatal exception: access violation\n") == "access violation"
    fast = "0024:err:seh:NtRaiseException Unhandled exception code c0000409 flags 1 addr 0xac95f5"
    assert diagnosis.describe_death(fast).startswith("__fastfail")
    assert describe_status(0xC0000005) == "ended by exception 0xC0000005 (access violation)"
    assert describe_status(3) == "exit status 3"


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("0024:err:module:alloc_tls_slot thread 0028 NULL tls block.\n", ""),
        ("one\n0024:fixme:file:NtLockFile I/O completion on lock not implemented yet\ntwo\n", "one\ntwo\n"),
        ("no newline0138:err:virtual:virtual_setup_exception stack overflow 1 bytes\n", "no newline"),
        ("1a2b4:err:seh:NtRaiseException Unhandled exception code c0000409 flags 1\r\nrest", "rest"),
        ('0024:err:module:import_dll Library a.dll (which is needed by L"T:\\\\b.pyd") not found', ""),
        ("wine: Unhandled page fault on read access to 0000000000000000 at address 1 (thread 0024)\n", None),
        ("12:30:err: of the user\n0024:error:mine\nTraceback (most recent call last):\n", None),
    ],
)
def test_output_without_debug_lines_of_wine(output: str, shown: str | None) -> None:
    assert diagnosis.without_debug_lines(output) == (output if shown is None else shown)


def test_libraries_that_a_fresh_windows_lacks_are_not_those_of_wine(tmp_path: Path) -> None:
    wine = {"wine": "wine64", "libraries": "", "path": "", "absent": ["msvcp140", "vcomp140"]}
    overrides = runner.variables(wine, str(tmp_path), "")["WINEDLLOVERRIDES"].split(";")
    assert overrides[-3:] == ["ucrtbase=n,b", "msvcp140=n", "vcomp140=n"]


def test_wine_writes_diagnostics_only_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others take what Wine writes for output of the program."""
    wine = {"wine": "wine64", "libraries": "", "path": "", "absent": []}
    monkeypatch.setenv("WINEDEBUG", "+all")
    assert runner.variables(wine, str(tmp_path), "")["WINEDEBUG"] == "-all"
    monkeypatch.setenv(runner.DIAGNOSE, "1")
    asked = runner.variables(wine, str(tmp_path), "")
    assert "err+module" in asked["WINEDEBUG"]
    assert runner.DIAGNOSE not in asked


def unpack(wheel: Path, environment: Path) -> Path:
    site_packages = environment / "Lib/site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site_packages)
    (environment / "Scripts").mkdir()
    return site_packages


@pytest.mark.parametrize("bits", [64, 32])
def test_programs_of_entry_points(tmp_path: Path, bits: int) -> None:
    groups = {
        "console_scripts": {"tool": "pkg.cli:App.main", "with-extra": "pkg:run [extra]"},
        "gui_scripts": {"window": "pkg:show"},
        "other": {"plugin": "pkg:plugin"},
    }
    wheel = build_wheel(tmp_path, "pkg", files={"pkg.py": ""}, entry_points=groups)
    site_packages = unpack(wheel, tmp_path / "env")
    directory = tmp_path / "env/Scripts"
    programs = scripts.write_entry_points(site_packages, directory, bits)
    assert programs == {"tool": "tool.exe", "with-extra": "with-extra.exe", "window": "window.exe"}
    assert sorted(path.name for path in directory.iterdir()) == sorted(programs.values())
    expected = {
        "tool": (3, b"python.exe", "from pkg.cli import App\n", "App.main()"),
        "with-extra": (3, b"python.exe", "from pkg import run\n", "run()"),
        "window": (2, b"pythonw.exe", "from pkg import show\n", "show()"),
    }
    for name, (subsystem, interpreter, statement, call) in expected.items():
        data = (directory / f"{name}.exe").read_bytes()
        image = pefile.PE(data=data, fast_load=True)
        assert (image.OPTIONAL_HEADER.Subsystem, image.FILE_HEADER.Machine == 0x8664) == (subsystem, bits == 64)
        # Launchers of distlib know this placeholder.
        assert b"\n#!<launcher_dir>\\" + interpreter + b"\r\n" in b"\n" + data[image.get_overlay_data_start_offset() :]
        assert "<launcher_dir>".encode("utf-16-le") in data
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            source = archive.read("__main__.py").decode()
        assert statement in source
        assert call in source
        compile(source, name, "exec")


def test_malformed_entry_points_have_no_programs(tmp_path: Path) -> None:
    metadata = tmp_path / "Lib/site-packages/pkg-1.0.dist-info"
    metadata.mkdir(parents=True)
    for text in ("[console_scripts]\nno equals sign\n", "[console_scripts]\na = pkg\nb = (!)\n", "\udc80"):
        (metadata / "entry_points.txt").write_text(text, encoding="utf-8", errors="surrogateescape")
        assert scripts.write_entry_points(metadata.parent, tmp_path, 64) == {}


def test_record_of_a_moved_installation(tmp_path: Path) -> None:
    record = tmp_path / "RECORD"
    rows = [
        "pkg.py,sha256=x,1",
        "../../../bin/tool,sha256=x,2",
        "../../../bin/script,sha256=x,3",
        "../../../share/a b,,",
    ]
    record.write_text("\n".join(rows), encoding="utf-8")
    venv._correct_record(record, {"tool": "tool.exe"})
    assert list(csv.reader(record.read_text(encoding="utf-8").splitlines())) == [
        ["pkg.py", "sha256=x", "1"],
        ["../../Scripts/tool.exe", "", ""],
        ["../../Scripts/script", "sha256=x", "3"],
        ["../../share/a b", "", ""],
    ]


def test_programs_get_launchers(tmp_path: Path) -> None:
    for name in ("python.exe", "tool.exe"):
        (tmp_path / name).touch()
    (tmp_path / "tool").write_text("of the wheel", encoding="utf-8")
    venv.launch_programs(tmp_path, Launch(before=("wine",)))
    assert str(tmp_path / "python.exe") in (tmp_path / "python").read_text(encoding="utf-8")
    assert (tmp_path / "tool").read_text(encoding="utf-8") == "of the wheel"


#: Starts a program below a session that has ended, and prints the number of the signal that ends it.
ENDED_SESSION = """
import os, signal
from pytest_wheelcheck.backends.wine import runner
watched = {signal.SIGCHLD, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, watched)
pid = os.fork()
if pid == 0:
    os.execvp("sleep", ["sleep", "60"])
# A parent that was killed before anybody asked for it is not noticed: its successor is taken for it.
print(os.WTERMSIG(runner.wait_for_program(pid, os.getppid(), watched, ["sleep"], "/nonexistent")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="uses prctl(2)")
def test_program_ends_with_its_session() -> None:
    assert process.run([sys.executable, "-c", ENDED_SESSION], timeout=30).stdout == "9\n"


@pytest.mark.network
def test_a_changed_digest_of_the_c_library_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the file is unpacked, and no other library takes its place."""
    source = C_LIBRARY.sources[64]
    wheel = replace(source.wheel, sha256=source.wheel.sha256[:-1] + ("1" if source.wheel.sha256[-1] == "0" else "0"))
    changed = replace(C_LIBRARY, sources={**C_LIBRARY.sources, 64: replace(source, wheel=wheel)})
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    with pytest.raises(
        RuntimeUnavailableError, match=r"^dotnetcore2 3\.1\.23 .* does not have the expected digest"
    ) as caught:
        changed.get(offline=False, index=PackageIndex(), bits=64)
    assert caught.value.cause == "the index, or a proxy, changed the file"
    assert [path for path in tmp_path.rglob("*") if path.suffix in {".dll", ".whl"}] == []
    assert (
        changed.unavailable_reason(offline=True, bits=64)
        == f"{changed.name} is not in the cache, and this run is offline"
    )
