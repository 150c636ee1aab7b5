"""Plain libraries with the suffix of an extension module, as projects load with cffi or ctypes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from builders import build_wheel

from checks.objects import make_elf, make_fat, make_macho, make_pe
from checks.samples import LINUX, MACOS, WINDOWS
from pytest_wheelcheck.checks import run_checks
from pytest_wheelcheck.model import Outcome, Wheel
from pytest_wheelcheck.wheels.reader import open_wheel

OWN = ("PyInit__plain",)
OTHER = ("PyInit__other", "add")
ELF = "_plain.cpython-311-x86_64-linux-gnu.so"
KERNEL = ("KERNEL32.dll",)


def opened(tmp_path: Path, name: str, data: bytes, tag: str, files: Mapping[str, bytes | str] = {}) -> Wheel:
    members = {"pkg/__init__.py": "", "pkg/py.typed": "", f"pkg/{name}": data, **files}
    path = build_wheel(tmp_path / "dist", "pkg", files=members, tags=(tag,))
    return open_wheel(path, shown=path.name, store=tmp_path / "store")


def outcomes(wheel: Wheel, *codes: str) -> dict[str, tuple[Outcome, int]]:
    results = run_checks(wheel, select=codes)
    assert [result.error for result in results if result.error] == []
    return {result.check.code: (result.outcome, len(result.findings)) for result in results}


def slices(**of_x86: Any) -> bytes:
    machines = {"x86_64": make_macho(machine="x86_64", **of_x86), "arm64": make_macho(exports=("add",))}
    return make_fat(machines)


PLAIN: dict[str, tuple[str, bytes, str]] = {
    "elf": (ELF, make_elf(exports=("add",)), LINUX),
    "elf-abi3": ("_plain.abi3.so", make_elf(exports=("add",)), "cp38-abi3-manylinux_2_17_x86_64"),
    "macho": ("_plain.cpython-311-darwin.so", make_macho(exports=("add",)), MACOS),
    "macho-universal": (
        "_plain.abi3.so",
        make_fat({m: make_macho(machine=m, exports=("add",)) for m in ("x86_64", "arm64")}),
        "cp38-abi3-macosx_11_0_universal2",
    ),
    # As in pycryptodome: functions that only one processor has.
    "macho-one-slice": ("_plain.abi3.so", slices(), "cp38-abi3-macosx_11_0_universal2"),
    "pe": ("_plain.cp311-win_amd64.pyd", make_pe(exports=("add",), needed=KERNEL), WINDOWS),
    # setuptools makes the linker export the init function, so the project defines one.
    "pe-init": ("_plain.pyd", make_pe(exports=("add", *OWN), needed=KERNEL), "cp38-abi3-win_amd64"),
    # As in torchvision: its functions are registered in a library of torch.
    "pe-registers": ("_plain.pyd", make_pe(needed=(*KERNEL, "VCRUNTIME140.dll", "torch_cpu.dll")), WINDOWS),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_a_plain_library_is_one_warning_and_is_not_imported(tmp_path: Path, kind: str) -> None:
    name, data, tag = PLAIN[kind]
    second = (
        {f"pkg/{name.replace('_plain', '_second')}": data.replace(b"_plain\0", b"_second\0")}
        if kind != "pe-init"
        else {}
    )
    wheel = opened(tmp_path, name, data, tag, second)
    assert wheel.extension_modules == ()
    assert wheel.import_names == ("pkg",)
    found = outcomes(wheel, "WHL6")
    assert found.pop("WHL610") == (Outcome.PASSED, 1)
    assert set(found.values()) == {(Outcome.PASSED, 0)}


BROKEN: dict[str, tuple[str, bytes, str]] = {
    "elf, uses Python": (ELF, make_elf(exports=("add",), imports=("PyLong_FromLong",)), LINUX),
    "elf, linked against Python": (ELF, make_elf(exports=("add",), needed=("libpython3.11.so.1.0",)), LINUX),
    "elf, exports nothing": (ELF, make_elf(), LINUX),
    "elf, another module": (ELF, make_elf(exports=OTHER), LINUX),
    "elf, only what the linker adds": (ELF, make_elf(exports=("_init", "_fini")), LINUX),
    "elf, a program": (ELF, make_elf(exports=("add",), executable=True), LINUX),
    "macho, one slice uses Python": ("_plain.abi3.so", slices(exports=("add",), anywhere=("PyLong_FromLong",)), MACOS),
    "macho, one slice exports nothing and uses Python": (
        "_plain.abi3.so",
        slices(anywhere=("PyLong_FromLong",)),
        MACOS,
    ),
    "macho, a module in one slice only": (
        "_plain.abi3.so",
        make_fat({"x86_64": make_macho(machine="x86_64"), "arm64": make_macho(exports=OWN)}),
        MACOS,
    ),
    "macho, no slice exports anything": (
        "_plain.abi3.so",
        make_fat({"x86_64": make_macho(machine="x86_64"), "arm64": make_macho()}),
        MACOS,
    ),
    "macho, another module": ("_plain.abi3.so", make_macho(exports=OTHER), MACOS),
    "pe, linked against Python": ("_plain.pyd", make_pe(exports=("add",)), WINDOWS),
    "pe, exports nothing": ("_plain.pyd", make_pe(needed=KERNEL), WINDOWS),
    "pe, another module": ("_plain.pyd", make_pe(exports=OTHER, needed=KERNEL), WINDOWS),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_module_is_an_error_and_is_imported(tmp_path: Path, kind: str) -> None:
    wheel = opened(tmp_path, *BROKEN[kind])
    assert wheel.extension_modules == ("pkg._plain",)
    found = outcomes(wheel, "WHL604", "WHL610")
    assert found["WHL604"][0] is Outcome.FAILED
    assert found["WHL610"] == (Outcome.PASSED, 0)


@pytest.mark.parametrize(("needed", "is_plain"), [(ELF, True), ("libother.so", False)])
def test_a_library_that_modules_are_linked_against_may_use_python(tmp_path: Path, needed: str, is_plain: bool) -> None:
    user = make_elf(exports=("PyInit__user",), needed=(needed,))
    data = make_elf(exports=("add",), imports=("PyLong_FromLong",))
    wheel = opened(tmp_path, ELF, data, LINUX, {f"pkg/{ELF.replace('_plain', '_user')}": user})
    assert wheel.extension_modules == (("pkg._user",) if is_plain else ("pkg._plain", "pkg._user"))
    expected = (Outcome.PASSED if is_plain else Outcome.FAILED, 0 if is_plain else 1)
    assert outcomes(wheel, "WHL604")["WHL604"] == expected


@pytest.mark.parametrize(
    "data",
    [
        make_pe(exports=("add", *OWN), needed=("KERNEL32.dll", "python311.dll")),
        # The library of the wheel may use Python.
        make_pe(exports=("add", *OWN), needed=("KERNEL32.dll", "Real.dll")),
        make_pe(exports=OWN, needed=KERNEL),
    ],
)
def test_a_module_for_windows_is_imported(tmp_path: Path, data: bytes) -> None:
    files: dict[str, bytes | str] = {"pkg/real.dll": make_pe()}
    wheel = opened(tmp_path, "_plain.cp311-win_amd64.pyd", data, WINDOWS, files)
    assert wheel.extension_modules == ("pkg._plain",)
    assert outcomes(wheel, "WHL610")["WHL610"] == (Outcome.PASSED, 0)


def test_a_file_that_no_parser_survives_is_a_module(tmp_path: Path) -> None:
    wheel = opened(tmp_path, ELF, make_elf(exports=("add",))[:200], LINUX)
    assert wheel.extension_modules == ("pkg._plain",)


def test_a_plain_library_must_be_for_the_machine_and_find_its_libraries(tmp_path: Path) -> None:
    data = make_pe(exports=("add",), needed=("missing.dll",), machine="x86")
    found = outcomes(opened(tmp_path, "_plain.pyd", data, WINDOWS), "WHL5", "WHL610")
    assert found["WHL501"] == found["WHL503"] == (Outcome.FAILED, 1)
    assert found["WHL610"] == (Outcome.PASSED, 1)


def test_a_plain_library_needs_a_platform_as_a_module_does(tmp_path: Path) -> None:
    wheel = opened(tmp_path, ELF, make_elf(exports=("add",)), "py3-none-any")
    assert outcomes(wheel, "WHL207")["WHL207"] == (Outcome.FAILED, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="auditwheel cannot be installed on Windows")
@pytest.mark.parametrize(("needed", "findings"), [((), 0), (("libnowhere.so.1",), 1)])
def test_libraries_in_purelib_are_checked(tmp_path: Path, needed: tuple[str, ...], findings: int) -> None:
    """auditwheel refuses such a wheel, as semgrep."""
    library = make_elf(exports=("add",), needed=("libc.so.6", *needed))
    members: dict[str, bytes | str] = {
        "pkg-1.0.data/purelib/pkg/__init__.py": "",
        "pkg-1.0.data/purelib/pkg/libs/libadd.so.1": library,
    }
    path = build_wheel(tmp_path / "dist", "pkg", files=members, tags=("py3-none-manylinux_2_17_x86_64",))
    (result,) = run_checks(open_wheel(path, shown=path.name, store=tmp_path / "store"), select=["WHL301"])
    assert (result.error, len(result.findings)) == ("", findings)
    for finding in result.findings:
        assert "pkg-1.0.data/purelib/pkg/libs/libadd.so.1 needs libnowhere.so.1" in finding.message
