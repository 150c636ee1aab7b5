"""Native files are read in a process that may die, and never in this one."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from builders import build_wheel
from checks.objects import make_elf, make_pe

from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.wheels import bounded
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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not limit processor time")
@pytest.mark.parametrize(("task", "problem"), [("time.sleep(3)", ""), ("while True: pass", "busy for more than 1 s")])
def test_the_deadline_counts_processor_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, problem: str
) -> None:
    """On a busy host a parser waits, which is no fault of the wheel."""
    lines = [
        "import sys, time",
        "from pytest_wheelcheck.wheels import bounded, bounded_process",
        "bounded.DEADLINE = 1",
        "def run(*_):",
        f"    {task}",
        "    return []",
        "sys.exit(bounded_process.main(sys.argv[1:], run))",
    ]
    (tmp_path / "slow_parser.py").write_text("\n".join(lines), "ascii")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(bounded, "DEADLINE", 1)
    if not problem:
        assert bounded.run_parser("slow_parser", "wait", "", subject="a file") == []
        return
    with pytest.raises(ProcessError, match="SIGXCPU") as raised:
        bounded.run_parser("slow_parser", "loop", "", subject="a file")
    assert problem in str(raised.value)
