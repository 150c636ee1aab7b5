"""The gallery of faults names what finds each of them, and shows what a run prints: here, for a wheel with the same fault."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
from builders import build_wheel
from checks.objects import make_elf, make_fat, make_macho
from checks.samples import INIT
from nodes import Run, run_output

from pytest_wheelcheck.checks import CHECKS, run_checks
from pytest_wheelcheck.wheels.reader import open_wheel

PAGE = (Path(__file__).parent.parent / "docs" / "faults.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CODES = {check.code: check for check in CHECKS}


def grpcio(directory: Path) -> Path:
    symbol = "_ZNKSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE17find_first_not_ofEPKcmm"
    name = "grpc/_cython/cygrpc.cpython-312-aarch64-linux-gnu.so"
    module = make_elf(machine="aarch64", exports=["PyInit_cygrpc"], imports=[symbol])
    return build_wheel(directory, "grpcio", files={name: module}, tags=["cp312-cp312-manylinux_2_17_aarch64"])


def pymssql(directory: Path) -> Path:
    slices = {machine: make_macho(machine=machine, exports=["PyInit__mssql"]) for machine in ("arm64", "x86_64")}
    files: dict[str, bytes | str] = {
        "pymssql/_mssql.cpython-312-darwin.so": make_fat(slices),
        "pymssql/.dylibs/libssl.3.dylib": make_macho(
            machine="x86_64", kind=6, name="/DLC/pymssql/.dylibs/libssl.3.dylib"
        ),
    }
    return build_wheel(directory, "pymssql", files=files, tags=["cp312-cp312-macosx_13_0_universal2"])


def ddtrace_for_musl(directory: Path) -> Path:
    module = make_elf(exports=INIT, needed=("libc.musl-x86_64.so.1",), versions=())
    files: dict[str, bytes | str] = {
        "ddtrace/_native.cpython-312-x86_64-linux-musl.so": module,
        "ddtrace/appsec/_ddwaf/libddwaf/x86_64/lib/libddwaf.so": make_elf(soname="libddwaf.so"),
    }
    return build_wheel(directory, "ddtrace", files=files, tags=["cp312-cp312-musllinux_1_2_x86_64"])


def playwright(directory: Path) -> Path:
    path = build_wheel(directory, "playwright", files={"playwright/__init__.py": ""})
    with ZipFile(path, "a") as archive:
        archive.writestr("playwright/driver/node", make_elf(executable=True))
    return path


def ddtrace_without_sources(directory: Path) -> Path:
    path = build_wheel(
        directory / "whole", "ddtrace", files={"ddtrace/profiling/_threading.c": "", "ddtrace/__init__.py": ""}
    )
    with ZipFile(path) as whole, ZipFile(directory / path.name, "w") as archive:
        for name in whole.namelist():
            if not name.endswith(".c"):
                archive.writestr(name, whole.read(name))
    return directory / path.name


def ctranslate2(directory: Path) -> Path:
    name = "ctranslate2.libs/libctranslate2-bc15bf3f.so.4.5.0"
    files: dict[str, bytes | str] = {name: make_elf(stack=7), "ctranslate2/__init__.py": ""}
    return build_wheel(directory, "ctranslate2", files=files, tags=["cp312-cp312-manylinux_2_17_x86_64"])


WHEELS: dict[str, Callable[[Path], Path]] = {
    "WHL609": grpcio,
    "WHL402": pymssql,
    "WHL304": ddtrace_for_musl,
    "WHL123": playwright,
    "WHL124": ddtrace_without_sources,
    "WHL702": ctranslate2,
}


def test_every_fault_names_what_finds_it() -> None:
    for section in PAGE.split("\n## ")[1:]:
        named = set(re.findall(r"\bWHL\d{3}\b", section))
        assert named or "`modules[" in section, section
        assert named <= CODES.keys()


@pytest.mark.parametrize("code", WHEELS)
def test_a_run_prints_what_the_page_shows(tmp_path: Path, code: str) -> None:
    (block,) = [" ".join(block.split()) for block in BLOCKS if block.startswith(code)]
    message, reason = block.removeprefix(f"{code}: ").split(" Why it matters: ")
    assert reason == CODES[code].reason
    wheel = open_wheel(WHEELS[code](tmp_path), shown="x", store=tmp_path / "store")
    found = [finding.message for result in run_checks(wheel, select=[code]) for finding in result.findings]
    # The page leaves out the names of further symbols.
    assert message.replace(", …", "") in found


def test_the_blocks_of_checks_are_those_that_are_tested() -> None:
    assert sorted(block[:6] for block in BLOCKS if block.startswith("WHL")) == sorted(WHEELS)


def test_a_run_prints_what_the_page_shows_of_a_module(pytester: pytest.Pytester, run_wheels: Run) -> None:
    (block,) = [block for block in BLOCKS if block.startswith("aiohttp")]
    files: dict[str, bytes | str] = {"aiohttp/__init__.py": "", "aiohttp/worker.py": "\n" * 11 + "import gunicorn\n"}
    build_wheel(pytester.path / "dist", "aiohttp", files=files)
    run = run_output(run_wheels("--wheel=dist", f"--wheel-python={sys.executable}"))
    assert block in run.text
    assert "::modules[aiohttp]" in run.text
