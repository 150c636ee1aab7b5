"""The finding that explains others comes first, and the others refer to it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from checks.objects import make_elf, make_macho, make_pe
from checks.samples import INIT, LINUX, LINUX_SUFFIX, WINDOWS, linux, macos, native, windows, with_record
from pytest_wheelcheck.checks import CheckResult, run_checks
from pytest_wheelcheck.wheels.modules import describe_suffix
from pytest_wheelcheck.wheels.reader import open_wheel

needs_auditwheel = pytest.mark.skipif(sys.platform == "win32", reason="auditwheel cannot be installed on Windows")
ARM = "cp311-cp311-manylinux_2_17_aarch64"


def failed(path: Path, tmp_path: Path, **more: Any) -> list[tuple[str, str]]:
    """Code and message of each finding, in the order of the results."""
    results: list[CheckResult] = run_checks(open_wheel(path, shown=path.name, store=tmp_path / "store"), **more)
    assert [result.error for result in results if result.error] == []
    return [(finding.code, finding.message) for result in results for finding in result.findings]


@needs_auditwheel
def test_a_consequence_has_the_reason_and_the_fix_of_a_consequence(tmp_path: Path) -> None:
    path = native(tmp_path / "dist", make_elf(exports=INIT), LINUX_SUFFIX, ARM)
    results = run_checks(open_wheel(path, shown=path.name, store=tmp_path / "store"))
    found = {finding.code: finding for result in results for finding in result.findings}
    for code in ("WHL301", "WHL603"):
        assert (found[code].reason, found[code].fix) == (
            "It follows from the defect that WHL605 finds.",
            "correct what WHL605 finds",
        )
    assert "WHL" not in found["WHL605"].reason


@needs_auditwheel
def test_a_file_for_another_processor_explains_the_rest(tmp_path: Path) -> None:
    name = f"pkg/_native{LINUX_SUFFIX}"
    found = failed(native(tmp_path / "dist", make_elf(exports=INIT), LINUX_SUFFIX, ARM), tmp_path)
    assert [code for code, _ in found] == ["WHL605", "WHL301", "WHL603"]
    assert found[0][1] == f"{name} is for x86_64, but the tag is for aarch64"
    assert found[1][1].endswith("cannot be checked: all files are for x86_64 (WHL605 explains it)")
    assert found[2][1].startswith(
        f"{name} is for CPython 3.11 on x86_64-linux-gnu, but interpreters of the tag cp311-cp311-manylinux_2_17_aarch64 "
    )
    assert found[2][1].endswith("(WHL605 explains it)")


@needs_auditwheel
@pytest.mark.parametrize(
    ("needed", "code"), [((), "WHL603"), (("libc.so.6",), "WHL304")], ids=["by-its-suffix", "by-what-it-needs"]
)
def test_a_file_for_another_c_library_explains_why_the_tag_cannot_be_checked(
    needed: tuple[str, ...], code: str, tmp_path: Path
) -> None:
    """The wheel has a file, but auditwheel looks only for those of the tag's C library."""
    data = make_elf(exports=INIT, needed=needed)
    path = native(tmp_path / "dist", data, LINUX_SUFFIX, "cp311-cp311-musllinux_1_2_x86_64")
    found = failed(path, tmp_path, select=["WHL301", "WHL304", "WHL603"])
    codes = [each for each, _ in found]
    assert codes.index(code) + 1 == codes.index("WHL301")
    text = "musllinux_1_2_x86_64 cannot be checked: auditwheel finds no library or program for musl in the wheel"
    assert f"{text} ({code} explains it)" in [message for each, message in found if each == "WHL301"]


@needs_auditwheel
def test_a_check_that_was_not_selected_explains_nothing(tmp_path: Path) -> None:
    path = native(tmp_path / "dist", make_elf(exports=INIT), LINUX_SUFFIX, ARM)
    found = failed(path, tmp_path, ignore=["WHL605"])
    assert [code for code, _ in found] == ["WHL301", "WHL603"]
    assert not any("explains" in message for _, message in found)


@needs_auditwheel
def test_a_fault_of_another_file_explains_nothing(tmp_path: Path) -> None:
    other = f"pkg/_other{LINUX_SUFFIX}"
    wrong = {other: make_elf(machine="aarch64", exports=("PyInit__other",))}
    path = linux(tmp_path / "dist", wrong, versions=(("libc.so.6", "GLIBC_2.34"),))
    found = failed(path, tmp_path, select=["WHL301", "WHL603", "WHL605"])
    assert [code for code, _ in found] == ["WHL301", "WHL605"]
    assert not any("explains" in message for _, message in found)


def test_a_module_for_another_version_is_named_as_such(tmp_path: Path) -> None:
    path = native(tmp_path / "dist", make_elf(exports=INIT), ".cpython-312-x86_64-linux-gnu.so", LINUX)
    (found,) = failed(path, tmp_path)
    assert found[0] == "WHL603"
    assert found[1].startswith(
        "pkg/_native.cpython-312-x86_64-linux-gnu.so is for CPython 3.12 on x86_64-linux-gnu, but "
        "interpreters of the tag cp311-cp311-manylinux_2_17_x86_64 import only .abi3.so, .cpython-311-x86_64-linux-gnu.so, .so"
    )


def test_a_module_for_another_version_explains_its_library(tmp_path: Path) -> None:
    data = make_pe(exports=INIT, needed=("KERNEL32.dll", "python312.dll"))
    found = failed(native(tmp_path / "dist", data, ".cp312-win_amd64.pyd", WINDOWS), tmp_path)
    assert [code for code, _ in found] == ["WHL603", "WHL502"]
    assert found[1][1].endswith("(WHL603 explains it)")
    alone = failed(windows(tmp_path / "alone", needed=("KERNEL32.dll", "python312.dll")), tmp_path)
    assert [code for code, _ in alone] == ["WHL502"]
    assert "explains" not in alone[0][1]


def test_causes_of_causes(tmp_path: Path) -> None:
    data = make_pe(machine="x86", exports=INIT, needed=("KERNEL32.dll", "python312.dll"))
    found = failed(native(tmp_path / "dist", data, ".cp312-win32.pyd", WINDOWS), tmp_path)
    assert [code for code, _ in found] == ["WHL501", "WHL603", "WHL502"]
    assert [message.partition("(WHL")[2] for _, message in found] == ["", "501 explains it)", "603 explains it)"]


@pytest.mark.parametrize(
    ("name", "described"),
    [
        ("a/b.cpython-312-x86_64-linux-gnu.so", "CPython 3.12 on x86_64-linux-gnu"),
        ("b.cpython-313t-darwin.so", "free-threaded CPython 3.13 on darwin"),
        ("b.cpython-37m-x86_64-linux-gnu.so", "CPython 3.7 on x86_64-linux-gnu"),
        ("b.cp311-win_amd64.pyd", "CPython 3.11 on win_amd64"),
        ("b.pypy311-pp73-x86_64-linux-gnu.so", "PyPy 3.11 on x86_64-linux-gnu"),
        ("b.abi3.so", ""),
        ("b.so", ""),
        ("b.py", ""),
    ],
)
def test_the_interpreter_of_a_suffix(name: str, described: str) -> None:
    assert describe_suffix(name) == described


def test_backslashes_in_record_are_one_fault(tmp_path: Path) -> None:
    """They are not files that are missing, nor files that are not listed."""
    path = with_record(tmp_path / "dist", lambda text: text.replace("/", "\\"))
    assert {code for code, _ in failed(path, tmp_path)} == {"WHL122"}


def test_a_library_that_names_its_architecture_is_for_that_one_only(tmp_path: Path) -> None:
    """As in a debugger, which loads it into processes. A module, and a library with another name, must have both."""
    library = make_macho(kind=6, machine="x86_64", minimum=(10, 9))
    files: dict[str, bytes | str] = {"pkg/attach_x86_64.dylib": library, "pkg/attach.dylib": library}
    files["pkg/x86_64/lib/libfast.dylib"] = library
    path = macos(tmp_path / "dist", files, tag="cp311-cp311-macosx_11_0_universal2")
    found = [message for code, message in failed(path, tmp_path, select=["WHL402"])]
    assert [message.split()[0] for message in found] == ["pkg/_native.cpython-311-darwin.so", "pkg/attach.dylib"]


@needs_auditwheel
def test_a_file_that_only_record_has_is_one_fault(tmp_path: Path) -> None:
    """auditwheel stops at it; what the tag promises is checked all the same."""
    path = native(tmp_path / "dist", make_elf(exports=INIT, needed=("libnowhere.so.1",)), LINUX_SUFFIX, LINUX)
    with ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    with ZipFile(path, "w") as target:
        for name, data in members.items():
            lost = b"pkg/lost.py,sha256=AAAA,0\n" if name.endswith("/RECORD") else b""
            target.writestr(name, lost + data)
    found = failed(path, tmp_path)
    assert {code for code, _ in found} == {"WHL124", "WHL301"}
    assert any("needs libnowhere.so.1, which is neither allowed nor bundled" in message for _, message in found)


@needs_auditwheel
def test_a_native_file_that_record_lacks_is_checked_by_the_policy(tmp_path: Path) -> None:
    """It is installed, and auditwheel does not read it: a wrong tag was a pass."""
    path = native(tmp_path / "dist", make_elf(exports=INIT), LINUX_SUFFIX, LINUX)
    with ZipFile(path, "a") as target:
        target.writestr("pkg/added", make_elf(needed=("libnowhere.so.1",)))
    found = failed(path, tmp_path)
    assert {code for code, _ in found} == {"WHL123", "WHL301"}
    assert any(
        "pkg/added needs libnowhere.so.1, which is neither allowed nor bundled" in message for _, message in found
    )
