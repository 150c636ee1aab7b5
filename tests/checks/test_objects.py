"""The readers and the checks on real native files, made by the compilers that build wheels."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.tags import Tag

from checks.objects import make_fat
from checks.samples import native
from pytest_wheelcheck.checks import run_checks
from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.wheels.binary import Binary
from pytest_wheelcheck.wheels.binary_reader import read_binary
from pytest_wheelcheck.wheels.reader import open_wheel

DATA = Path(__file__).parent / "data"

#: The files, by format.
ELF = sorted(DATA.glob("elf-*"))
EVERY = sorted([*ELF, *DATA.glob("macho-*"), *DATA.glob("pe-*")])


def read_one(name: str) -> Binary:
    (found,) = read_binary(name, (DATA / name).read_bytes())
    return found


def test_the_files_are_small_and_made_by_the_script() -> None:
    assert sum(path.stat().st_size for path in EVERY) < 300_000
    assert {path.name for path in EVERY} == set(runpy.run_path(str(DATA / "make.py"))["COMMANDS"])


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.name)
def test_the_machine_and_module_of_each_file(path: Path) -> None:
    found = read_one(path.name)
    kind, machine, *_ = path.name.partition(".")[0].split("-")
    assert found.format == {"elf": "ELF", "macho": "Mach-O", "pe": "PE"}[kind]
    assert (found.machine, found.error) == (machine, "")
    if "program" in path.name:
        assert (found.kind, found.init_functions) == ("executable", ())
        return
    assert (found.kind, found.init_functions, found.undefined) == ("library", ("PyInit__native",), found.undefined)
    assert found.python_symbols == ("PyLong_FromLong",)
    if kind != "elf" or "musl" not in path.name:
        assert found.undefined == ()


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("elf-x86_64.so", {"needed": ("libc.so.6",), "versions": (("libc.so.6", "GLIBC_2.2.5"),), "alignment": 4096}),
        ("elf-x86_64-hash.so", {"needed": ("libc.so.6",), "executable_stack": False, "text_relocations": False}),
        ("elf-x86_64-execstack.so", {"executable_stack": True}),
        ("elf-x86_64-textrel.so", {"text_relocations": True}),
        ("elf-x86_64-statictls.so", {"static_tls": True}),
        ("elf-x86_64-debug.so", {"debug": True, "static_tls": False}),
        ("elf-x86_64-rpath.so", {"search_paths": ("/home/me/build",), "name": "libme.so.1"}),
        ("elf-x86_64-musl.so", {"needed": ("libc.so",), "versions": (), "undefined": ("puts",)}),
        ("elf-x86_64-zig.so", {"needed": ("libc.so.6",), "executable_stack": False}),
        ("elf-aarch64-4k.so", {"alignment": 0x1000}),
        ("elf-aarch64-64k.so", {"alignment": 0x10000, "versions": (("libc.so.6", "GLIBC_2.17"),)}),
        ("elf-s390x-zig.so", {"versions": (("libc.so.6", "GLIBC_2.2"),)}),
        ("macho-arm64.so", {"minimum_os": "12.3", "signed": True, "needed": ("/usr/lib/libSystem.B.dylib",)}),
        ("macho-x86_64.so", {"minimum_os": "11.0", "needed": ("/usr/lib/libSystem.B.dylib",)}),
        ("pe-amd64-mingw.pyd", {"needed": ("python311.dll",)}),
        ("pe-arm64-zig.pyd", {"needed": ("python311.dll",)}),
        ("pe-x86-zig.pyd", {"needed": ("python311.dll",)}),
    ],
)
def test_the_reader_sees_the_options_of_the_compiler(name: str, facts: dict[str, Any]) -> None:
    found = read_one(name)
    assert {key: getattr(found, key) for key in facts} == facts


GNU = "cp311-cp311-manylinux_2_17_"
WHEELS: dict[str, tuple[str, str, str]] = {
    "elf-x86_64.so": (".cpython-311-x86_64-linux-gnu.so", f"{GNU}x86_64", ""),
    "elf-x86_64-zig.so": (".cpython-311-x86_64-linux-gnu.so", f"{GNU}x86_64", ""),
    "elf-x86_64-hash.so": (".cpython-311-x86_64-linux-gnu.so", f"{GNU}x86_64", ""),
    "elf-x86_64-execstack.so": (".cpython-311-x86_64-linux-gnu.so", f"{GNU}x86_64", "WHL702"),
    "elf-x86_64-textrel.so": (".cpython-311-x86_64-linux-gnu.so", f"{GNU}x86_64", "WHL703"),
    "elf-x86_64-statictls.so": (".cpython-311-x86_64-linux-gnu.so", f"{GNU}x86_64", "WHL704"),
    "elf-x86_64-debug.so": (".cpython-311-x86_64-linux-gnu.so", f"{GNU}x86_64", "WHL801"),
    "elf-x86_64-rpath.so": (".cpython-311-x86_64-linux-gnu.so", f"{GNU}x86_64", "WHL306"),
    "elf-x86_64-musl.so": (".cpython-311-x86_64-linux-musl.so", "cp311-cp311-musllinux_1_2_x86_64", ""),
    "elf-aarch64-64k.so": (".cpython-311-aarch64-linux-gnu.so", f"{GNU}aarch64", ""),
    "elf-aarch64-4k.so": (".cpython-311-aarch64-linux-gnu.so", f"{GNU}aarch64", "WHL701"),
    "elf-armv7l-zig.so": (".cpython-311-arm-linux-gnueabihf.so", f"{GNU}armv7l", ""),
    "elf-i686-zig.so": (".cpython-311-i386-linux-gnu.so", f"{GNU}i686", ""),
    "elf-ppc64le-zig.so": (".cpython-311-powerpc64le-linux-gnu.so", "cp311-cp311-manylinux_2_19_ppc64le", ""),
    "elf-s390x-zig.so": (".cpython-311-s390x-linux-gnu.so", f"{GNU}s390x", ""),
    "elf-riscv64-zig.so": (".cpython-311-riscv64-linux-gnu.so", "cp311-cp311-manylinux_2_31_riscv64", ""),
    "macho-arm64.so": (".cpython-311-darwin.so", "cp311-cp311-macosx_12_0_arm64", ""),
    "macho-x86_64.so": (".cpython-311-darwin.so", "cp311-cp311-macosx_11_0_x86_64", ""),
    "pe-amd64-mingw.pyd": (".cp311-win_amd64.pyd", "cp311-cp311-win_amd64", ""),
    "pe-arm64-zig.pyd": (".cp311-win_arm64.pyd", "cp311-cp311-win_arm64", ""),
    "pe-x86-zig.pyd": (".cp311-win32.pyd", "cp311-cp311-win32", ""),
}


@pytest.mark.parametrize("name", WHEELS)
def test_a_wheel_of_each_file_has_its_one_defect_or_none(tmp_path: Path, name: str) -> None:
    suffix, tag, code = WHEELS[name]
    path = native(tmp_path / "dist", (DATA / name).read_bytes(), suffix, tag)
    results = run_checks(open_wheel(path, shown=path.name, store=tmp_path / "store"))
    assert [result.error for result in results if result.error] == []
    assert [result.check.code for result in results if result.findings] == [code] * bool(code)


def test_every_file_is_in_a_wheel() -> None:
    assert {path.name for path in EVERY} - set(WHEELS) == {"elf-x86_64-program"}


@pytest.mark.parametrize(
    ("name", "tag", "code"),
    [
        ("elf-aarch64-64k.so", f"{GNU}x86_64", "WHL605"),
        ("elf-x86_64.so", "cp311-cp311-musllinux_1_2_x86_64", "WHL304"),
        ("macho-arm64.so", "cp311-cp311-macosx_11_0_arm64", "WHL401"),
        ("macho-arm64.so", "cp311-cp311-macosx_12_0_universal2", "WHL402"),
        ("pe-arm64-zig.pyd", "cp311-cp311-win_amd64", "WHL501"),
        ("pe-amd64-mingw.pyd", "cp312-cp312-win_amd64", "WHL502"),
        ("elf-x86_64.so", "cp311-cp311-win_amd64", "WHL605"),
    ],
)
def test_files_below_a_wrong_tag(tmp_path: Path, name: str, tag: str, code: str) -> None:
    suffix = ".pyd" if "win" in tag else ".so"
    path = native(tmp_path / "dist", (DATA / name).read_bytes(), suffix, tag)
    (result,) = run_checks(open_wheel(path, shown=path.name, store=tmp_path / "store"), select=[code])
    assert result.outcome is Outcome.FAILED


def test_a_universal_file_of_real_slices(tmp_path: Path) -> None:
    fat = make_fat({"x86_64": (DATA / "macho-x86_64.so").read_bytes(), "arm64": (DATA / "macho-arm64.so").read_bytes()})
    path = native(tmp_path / "dist", fat, ".cpython-311-darwin.so", "cp311-cp311-macosx_12_0_universal2")
    wheel = open_wheel(path, shown=path.name, store=tmp_path / "store")
    assert set(wheel.tags) == {Tag("cp311", "cp311", "macosx_12_0_universal2")}
    assert [result.check.code for result in run_checks(wheel) if result.findings or result.error] == []


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda data: data[: len(data) // 2],
    "head": lambda data: data[:64],
    "zeros": lambda data: data[:64] + bytes(len(data) - 64),
    "ones": lambda data: data[:64] + b"\xff" * (len(data) - 64),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["elf-x86_64.so", "elf-s390x-zig.so", "macho-arm64.so", "pe-amd64-mingw.pyd"])
def test_damaged_files_never_pass(tmp_path: Path, name: str, change: str) -> None:
    suffix, tag, _ = WHEELS[name]
    path = native(tmp_path / "dist", CHANGES[change]((DATA / name).read_bytes()), suffix, tag)
    results = run_checks(open_wheel(path, shown=path.name, store=tmp_path / "store"), select=["WHL6"])
    assert {result.outcome for result in results} & {Outcome.FAILED, Outcome.ERROR}
