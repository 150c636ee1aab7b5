"""Native files are read in a process that may die, and never in this one."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import build_wheel
from checks.objects import make_elf, make_pe

from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.wheels import bounded, bounded_tasks
from pytest_wheelcheck.wheels.binary import ElfHeader
from pytest_wheelcheck.wheels.bounded import read_exports, read_headers, read_members

SOURCE = Path(__file__).parent.parent / "src" / "pytest_wheelcheck"
PARSERS = {"elftools", "macholib", "pefile"}
READERS = {f"pytest_wheelcheck.wheels.{name}" for name in ("elf", "macho", "pe", "binary_reader")}
#: Modules that use a parser in this process, with the origin of their files.
TRUSTED = {
    "interpreters/packages/libraries.py": "packages whose signatures apt has verified",
    "interpreters/published/console.py": "interpreters whose digests are in the source code",
    "interpreters/windows/directories.py": "the interpreters of this host",
    "interpreters/directory/sysroots.py": "a root file system that the user names",
}


@pytest.fixture(autouse=True, params=["programs", "forks"])
def forks(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Each task has a program of its own, or is a fork of one program."""
    if request.param == "forks" and sys.platform != "linux":
        pytest.skip("tasks are forks on Linux only")
    with bounded_tasks.shared(several=request.param == "forks"):
        yield request.param == "forks"


def without_sections(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[0x28:0x30], changed[0x3C:0x40] = bytes(8), bytes(4)
    return bytes(changed)


def test_headers_of_files_on_disk(tmp_path: Path) -> None:
    module = make_elf(needed=("libfoo.so.1", "libc.so.6"), soname="libown.so.2")
    files = {
        "module.so": module,
        "stripped.so": without_sections(module),
        "program": make_elf(machine="aarch64", executable=True),
        "damaged.so": module[:100],
        "text.so": b"text",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    headers = read_headers([*(tmp_path / name for name in files), tmp_path / "missing.so"])
    named = {Path(path).name: header for path, header in headers.items()}
    library = ElfHeader(
        machine="x86_64", type="ET_DYN", loader="", name="libown.so.2", needed=("libfoo.so.1", "libc.so.6")
    )
    assert named.pop("program") == ElfHeader(
        machine="aarch64", type="ET_DYN", loader="/lib/ld.so", needed=("libc.so.6",)
    )
    assert named == {"module.so": library, "stripped.so": library}
    assert read_headers([]) == {}


def test_members_of_a_wheel(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"a.so": make_elf(soname="a"), "b.so": make_elf()[:100], "c.py": ""}
    found = read_members(build_wheel(tmp_path, "pkg", files=files), ["a.so", "b.so", "c.py", "missing"])
    assert {name: len(slices) for name, slices in found.items()} == {"a.so": 1, "b.so": 1, "c.py": 0}
    assert (found["a.so"][0].name, found["a.so"][0].error) == ("a", "")
    assert found["b.so"][0].error


def test_exports_of_a_library_on_disk(tmp_path: Path) -> None:
    library = tmp_path / "python311.dll"
    library.write_bytes(make_pe(exports=("Py_Main", "PyLong_FromLong")))
    assert read_exports(library) == {"Py_Main", "PyLong_FromLong"}
    library.write_bytes(b"MZ" + bytes(100))
    with pytest.raises(ProcessError, match=r"python311\.dll could not be checked"):
        read_exports(library)


@pytest.mark.skipif(sys.platform == "win32", reason="the limit of memory needs setrlimit")
def test_a_file_that_needs_too_much_memory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_wheelcheck.wheels.bounded.DEADLINE", 20.0)
    with (tmp_path / "large.dll").open("wb") as file:
        file.write(b"MZ")
        file.truncate(5 << 30)
    with pytest.raises(ProcessError, match="the parser process ended"):
        read_exports(tmp_path / "large.dll")


def test_no_other_module_reads_files_of_wheels_in_this_process() -> None:
    using = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] in PARSERS or name in READERS for name in names):
                using.add(path.relative_to(SOURCE).as_posix())
    readers = {f"wheels/{name}.py" for name in ("elf", "macho", "pe", "binary_reader", "bounded_process")}
    assert using - readers - {"checks/parser_process.py"} == set(TRUSTED)


def write_parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    """Write a parser program that does something else."""
    lines = [
        "import os, signal, sys, time",
        "from pytest_wheelcheck.wheels import bounded, bounded_process",
        "bounded.DEADLINE = 1",
        "def run_task(*_):",
        f"    {task}",
        "    return [os.getppid()]",
        "if __name__ == '__main__':",
        "    sys.exit(bounded_process.main(sys.argv[1:], run_task))",
    ]
    (tmp_path / "own_parser.py").write_text("\n".join(lines), "ascii")
    monkeypatch.syspath_prepend(tmp_path)


def run_own() -> int:
    """Run that program; return the process id of its parent."""
    (parent,) = bounded.run_parser("own_parser", "task", "", subject="a file")
    return int(parent)


@pytest.mark.skipif(sys.platform == "win32", reason="the program sends itself signals")
def test_a_parser_that_dies_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forks: bool
) -> None:
    task = f"os.path.exists({str(tmp_path / 'die')!r}) and (print('before'), os.kill(os.getpid(), signal.SIGSEGV))"
    write_parser(tmp_path, monkeypatch, task)
    parent = run_own()
    assert (parent != os.getpid()) == forks
    (tmp_path / "die").touch()
    with pytest.raises(
        ProcessError, match="a file could not be checked: the parser process ended with killed by SIGSEGV"
    ):
        run_own()
    (tmp_path / "die").unlink()
    assert run_own() == parent


def test_what_a_parser_prints_before_it_raises_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parser(tmp_path, monkeypatch, "raise OSError('the reason')")
    with pytest.raises(ProcessError, match="exit status 1") as raised:
        run_own()
    assert raised.value.details.strip() == "OSError: the reason"


@pytest.mark.skipif(sys.platform != "linux", reason="a device that is always full")
@pytest.mark.parametrize("reason", ["a parser's file", "our own file"])
def test_a_full_disk_is_not_blamed_on_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, reason: str
) -> None:
    task = "open('/dev/full', 'wb', 0).write(b'x')" if reason == "a parser's file" else "pass"
    write_parser(tmp_path, monkeypatch, task)
    if reason == "our own file":
        run_own()
        disk = tmp_path / "small"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("no file system can be mounted here")
        request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(disk)], check=True))
        (disk / "filler").write_bytes(bytes(64 << 10))
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
    with pytest.raises(
        ProcessError, match="a file could not be checked: no space left in the directory for temporary"
    ) as raised:
        run_own()
    assert raised.value.cause == "the disk is full"
    assert "malformed" not in str(raised.value)


def test_a_task_leaves_nothing_for_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = "assert not hasattr(os, 'left') and os.listdir('.') == []; os.left = open('file', 'w')"
    write_parser(tmp_path, monkeypatch, task)
    run_own()
    run_own()


def test_a_parser_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parser(tmp_path, monkeypatch, "time.sleep(60)")
    monkeypatch.setattr(bounded, "DEADLINE", 1)
    monkeypatch.setattr(bounded, "PATIENCE", 1)
    start = time.monotonic()
    with pytest.raises(ProcessError, match=r"did not end within 1 seconds and was killed"):
        run_own()
    assert time.monotonic() - start < 30


@pytest.mark.skipif(sys.platform != "linux", reason="tasks are forks on Linux only")
def test_a_task_whose_server_is_lost_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forks: bool) -> None:
    mark = tmp_path / "killed"
    task = f"os.path.exists({str(mark)!r}) or (open({str(mark)!r}, 'w'), os.kill(os.getppid(), signal.SIGKILL))"
    write_parser(tmp_path, monkeypatch, task if forks else "pass")
    first = run_own()
    assert first == os.getpid(), "in a program of its own"
    assert (run_own() != os.getpid()) == forks, "the next one has a server again"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not limit processor time")
@pytest.mark.parametrize(("task", "problem"), [("time.sleep(3)", ""), ("while True: pass", "busy for more than 1 s")])
def test_the_deadline_counts_processor_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, problem: str
) -> None:
    """On a busy host a parser waits, which is no fault of the wheel."""
    write_parser(tmp_path, monkeypatch, task)
    monkeypatch.setattr(bounded, "DEADLINE", 1)
    if not problem:
        assert run_own() > 0
        return
    with pytest.raises(ProcessError, match="SIGXCPU") as raised:
        run_own()
    assert problem in str(raised.value)
