"""The list of the libraries of Windows, and the program that writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.samples import windows
from checks.windows_libraries import ADDED, is_excluded, names_in_archive, select
from pytest_wheelcheck.checks import run_checks
from pytest_wheelcheck.checks.windows import is_system_library, system_libraries
from pytest_wheelcheck.wheels.reader import open_wheel

PRESENT = (
    *("KERNEL32.dll", "SHFOLDER.dll", "bcryptprimitives.dll", "ntdll.dll", "msvcrt.dll", "ucrtbase.dll", "msvcp60.dll"),
    *("msvcp_win.dll", "d3dcompiler_47.dll", "XINPUT1_4.dll", "xaudio2_9.dll", "WINSPOOL.DRV", "atl.dll", "DWrite.dll"),
    *(
        "OPENGL32.dll",
        "icu.dll",
        "WebAuthn.dll",
        "wldp.dll",
        "cryptbase.dll",
        "elscore.dll",
        "d3dxof.dll",
    ),
    "api-ms-win-core-path-l1-1-0.dll",
)
ABSENT = (
    *("msvcp140.dll", "msvcp140_1.dll", "vcruntime140.dll", "vcruntime140_1.dll", "concrt140.dll", "vcomp140.dll"),
    *("msvcr100.dll", "msvcr120.dll", "msvcp120.dll", "mfc140u.dll", "ucrtbased.dll", "msvcrtd.dll", "atl100.dll"),
    *("d3dx9_43.dll", "d3dcompiler_43.dll", "XINPUT1_3.dll", "xaudio2_7.dll", "vulkan-1.dll", "OpenCL.dll"),
    *("libwinpthread-1.dll", "libgcc_s_seh-1.dll", "wined3d.dll", "wpcap.dll", "glut32.dll"),
    # Parts of Windows XP and of servers of that time, whose names others use as well.
    *("log.dll", "script.dll", "exports.dll", "iis.dll"),
)


@pytest.mark.parametrize("library", PRESENT)
def test_libraries_of_every_windows(library: str) -> None:
    assert is_system_library(library)


@pytest.mark.parametrize("library", ABSENT)
def test_libraries_that_a_fresh_windows_lacks(library: str) -> None:
    assert not is_system_library(library)


@pytest.mark.parametrize(("library", "is_found"), [("SHFOLDER.dll", True), ("msvcp140.dll", False)])
def test_a_module_that_needs_a_library(tmp_path: Path, library: str, is_found: bool) -> None:
    path = windows(tmp_path / "dist", needed=("python311.dll", library))
    wheel = open_wheel(path, shown=path.name, store=tmp_path / "store")
    (result,) = run_checks(wheel, select=["WHL503"])
    assert (not result.findings) == is_found


def test_the_list_is_as_the_program_writes_it() -> None:
    names = sorted(system_libraries())
    assert names == [name.lower() for name in names if not is_excluded(name)]
    assert names == select([set(names), {*names, "of_one.dll"}], [])
    assert set(ADDED) <= set(names)


def test_names_in_import_libraries() -> None:
    data = b"!<arch>\n...SHFOLDER.dll\0...\0WINSPOOL.DRV\0 text.dll more _head_lib\0x.sys\0"
    assert names_in_archive(data) == {"shfolder.dll", "winspool.drv"}


def test_what_is_listed() -> None:
    found = select(
        [{"both.dll", "one.dll", "msvcr90.dll"}, {"both.dll", "msvcr90.dll"}], ["Own.dll", "winex11.drv", "x.exe"]
    )
    assert found == sorted({"both.dll", "own.dll", *ADDED})
