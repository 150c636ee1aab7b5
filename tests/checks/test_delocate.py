"""The macOS checks with delocate, and without it, must agree.

delocate runs otool and lipo, which only macOS has. Here they are replaced: by a program that answers with macholib, and,
on hosts that have them, by LLVM's otool and lipo.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from builders import build_wheel

from checks.objects import make_fat, make_macho
from checks.samples import delocated, macos, native, universal
from pytest_wheelcheck.checks import CHECKS
from pytest_wheelcheck.checks.contents import Contents
from pytest_wheelcheck.checks.parser_client import can_run_delocate
from pytest_wheelcheck.wheels.reader import open_wheel

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="delocate cannot be installed on Windows")

DATA = Path(__file__).parent / "data"
SCRIPT = Path(__file__).with_name("mach_tools.py")
RULES = [check for check in CHECKS if check.code in {"WHL401", "WHL402", "WHL403"}]


def llvm_tools() -> dict[str, str]:
    """LLVM's otool and lipo, if this host has them. Their older versions do not know -m, a no-op for delocate's queries."""
    found = {name: shutil.which(f"llvm-{name}") or shutil.which(f"llvm-{name}-14") for name in ("otool", "lipo")}
    tools = {name: path for name, path in found.items() if path}
    return {
        name: f'for a; do shift; [ "$a" = -m ] || set -- "$@" "$a"; done; exec {path} "$@"'
        for name, path in tools.items()
    }


TOOLS = {"macholib": {name: f'exec {sys.executable} {SCRIPT} {name} "$@"' for name in ("otool", "lipo")}}
if len(llvm_tools()) == 2:
    TOOLS["llvm"] = llvm_tools()


@pytest.fixture(params=TOOLS)
def tools(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "bin"
    directory.mkdir()
    for name, command in TOOLS[request.param].items():
        (directory / name).write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")


def findings(path: Path, tmp_path: Path, *, use_delocate: bool) -> dict[str, list[str]]:
    wheel = open_wheel(path, shown=path.name, store=tmp_path / "store")
    contents = Contents(wheel.path, wheel, use_delocate=use_delocate)
    results = [rule.run(contents) for rule in RULES]
    assert [result.error for result in results if result.error] == []
    analyzed = {binary.path for binary in contents.readable_binaries("Mach-O")} if use_delocate else set()
    assert contents.delocated.keys() == analyzed
    return {result.check.code: [finding.message for finding in result.findings] for result in results}


def real(directory: Path, name: str, tag: str) -> Path:
    return native(directory, (DATA / name).read_bytes(), ".cpython-311-darwin.so", f"cp311-cp311-{tag}")


def real_universal(directory: Path, tag: str) -> Path:
    data = make_fat({arch: (DATA / f"macho-{arch}.so").read_bytes() for arch in ("x86_64", "arm64")})
    return native(directory, data, ".cpython-311-darwin.so", f"cp311-cp311-{tag}")


CASES: dict[str, tuple[Any, set[str]]] = {
    "sound": (macos, set()),
    "universal2": (universal, set()),
    "delocated": (delocated, set()),
    "real arm64": (lambda directory: real(directory, "macho-arm64.so", "macosx_12_0_arm64"), set()),
    "real x86_64": (lambda directory: real(directory, "macho-x86_64.so", "macosx_11_0_x86_64"), set()),
    "real universal2": (lambda directory: real_universal(directory, "macosx_12_0_universal2"), set()),
    "real, older": (lambda directory: real(directory, "macho-arm64.so", "macosx_11_0_arm64"), {"WHL401"}),
    "real, one slice": (lambda directory: real(directory, "macho-arm64.so", "macosx_12_0_universal2"), {"WHL402"}),
    "real universal2, older": (lambda directory: real_universal(directory, "macosx_10_9_universal2"), {"WHL401"}),
    "old load command": (lambda directory: macos(directory, minimum=(13, 0), old_style=True), {"WHL401"}),
    "one slice": (lambda directory: universal(directory, ("arm64",)), {"WHL402"}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("tools")
def test_the_checks_find_the_same_with_delocate(tmp_path: Path, case: str) -> None:
    make, codes = CASES[case]
    path = make(tmp_path / "dist")
    own, theirs = (findings(path, tmp_path, use_delocate=use) for use in (False, True))
    assert {code for code, messages in own.items() if messages} == codes
    assert {code for code, messages in theirs.items() if messages} == codes
    assert theirs["WHL401"] == own["WHL401"]
    assert theirs["WHL402"] == own["WHL402"]


#: Library and search paths of one module each, and whether the loader finds it.
LIBRARIES: dict[str, tuple[str, tuple[str, ...], bool]] = {
    "absolute": ("/opt/homebrew/lib/libx.dylib", (), False),
    "framework": ("/Library/Frameworks/Python.framework/Versions/3.11/Python", (), False),
    "system": ("/System/Library/Frameworks/Security.framework/Security", (), True),
    "inside": ("@loader_path/.dylibs/libfoo.dylib", (), True),
    "upwards": ("@loader_path/../pkg/.dylibs/libfoo.dylib", (), True),
    "lost": ("@loader_path/libbar.dylib", (), False),
    "searched": ("@rpath/libfoo.dylib", ("@loader_path/.dylibs",), True),
    "searched_by_another_file": ("@rpath/libfoo.dylib", (), True),
    "searched_and_lost": ("@rpath/libbar.dylib", ("@loader_path/.dylibs",), False),
    "in_shared_cache": ("@rpath/libswiftCore.dylib", ("/usr/lib/swift",), True),
    "of_executable": ("@executable_path/../lib/libx.dylib", (), False),
    "relative": ("libx.dylib", (), False),
    "below_data": ("@loader_path/.dylibs/libfoo.dylib", (), True),
}


@pytest.mark.usefixtures("tools")
def test_the_same_libraries_are_found_with_delocate(tmp_path: Path) -> None:
    here = tmp_path / "opt" / "libx.dylib"
    here.parent.mkdir()
    here.write_bytes(make_macho(kind=6, name=str(here)))
    files: dict[str, bytes | str] = {
        "pkg/.dylibs/libfoo.dylib": make_macho(kind=6, name="@rpath/libfoo.dylib"),
        "pkg/weak.so": make_macho(exports=("PyInit_weak",), weak=("/opt/x.dylib",)),
        "pkg/on_this_host.so": make_macho(exports=("PyInit_on_this_host",), needed=(str(here),)),
        "top.so": make_macho(exports=("PyInit_top",), needed=("@loader_path/pkg/.dylibs/libfoo.dylib",)),
    }
    lost = {"pkg/on_this_host.so"}
    for name, (library, rpaths, is_found) in LIBRARIES.items():
        path = f"pkg-1.0.data/platlib/pkg/{name}.so" if name == "below_data" else f"pkg/{name}.so"
        files[path] = make_macho(exports=(f"PyInit_{name}",), needed=(library,), rpaths=rpaths)
        lost |= set() if is_found else {path}
    wheel = build_wheel(tmp_path / "dist", "pkg", files=files, tags=("cp311-cp311-macosx_11_0_arm64",))
    own, theirs = (findings(wheel, tmp_path, use_delocate=use)["WHL403"] for use in (False, True))
    assert {message.split()[0] for message in own} == {message.split()[0] for message in theirs} == lost
    assert f"pkg/on_this_host.so (arm64) needs {here}, which is outside of the wheel ({here})" in theirs


@pytest.mark.parametrize("name", ["macho-arm64.so", "macho-x86_64.so"])
def test_delocate_gives_a_wheel_the_tag_that_the_checks_accept(tmp_path: Path, name: str) -> None:
    from delocate.delocating import _calculate_minimum_wheel_name

    arch = name.removeprefix("macho-").removesuffix(".so")
    path = real(tmp_path / "dist", name, f"macosx_10_9_{arch}")
    with ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    renamed, _ = _calculate_minimum_wheel_name(path.name, tmp_path / "unpacked", None)
    assert findings(path, tmp_path, use_delocate=False)["WHL401"]
    assert findings(path.rename(path.with_name(renamed)), tmp_path, use_delocate=False)["WHL401"] == []


def test_delocate_is_not_used_on_other_systems() -> None:
    assert sys.platform == "darwin" or not can_run_delocate()
