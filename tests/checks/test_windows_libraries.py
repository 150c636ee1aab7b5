"""The list of the libraries of Windows, and the program that writes it."""

from __future__ import annotations

import sys
from pathlib import Path

import provisioned
import pytest

from checks.samples import windows
from checks.windows_libraries import (
    ADDED,
    is_excluded,
    names_in_archive,
    names_of_mingw,
    names_of_wine,
    select,
    stated_versions,
)
from pytest_wheelcheck.backends.wine import packages
from pytest_wheelcheck.checks import run_checks
from pytest_wheelcheck.checks.windows import is_system_library, system_libraries
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.packages import apt
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


def test_the_sources_of_the_list() -> None:
    assert list(stated_versions()) == ["mingw-w64-i686-dev", "mingw-w64-x86-64-dev", "libwine"]


@pytest.mark.network
@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="unpacks packages of Debian")
def test_the_list_is_that_of_its_sources(debian_archive: apt.Repository, tmp_path: Path) -> None:
    """An entry that somebody added or removed by hand is in no source."""
    stated = stated_versions()
    wine_version = stated.pop("libwine").partition("~")[0]
    try:
        wine = packages.provision(debian_archive)
    except RuntimeUnavailableError as error:
        raise provisioned.missing("wine", error.message) from None
    if not packages.version_of(wine).startswith(f"Wine {wine_version} of debian"):
        raise provisioned.missing("wine", f"the list is of Wine {wine_version}, not of {packages.version_of(wine)}")
    roots = _fetch_mingw(debian_archive, stated, tmp_path)
    # Wine's packages are unpacked with the library of another one that they need.
    found = select([names_of_mingw(root) for root in roots], names_of_wine(wine) - {"zlib1.dll"})
    assert sorted(system_libraries()) == found


def _fetch_mingw(archive: apt.Repository, stated: dict[str, str], into: Path) -> list[Path]:
    """Unpack the stated versions of packages, from the suite that has them."""
    problems = []
    for suite in ("testing", "unstable", "stable", archive.codename):
        roots = [into / suite / name for name in stated]
        try:
            found: dict[str, str] = {}
            for name, root in zip(stated, roots, strict=True):
                found |= apt.fetch(archive, suite, [name], root, architecture="amd64", dependencies=False)
        except ProcessError as error:
            problems.append(error.message)
            continue
        if found == stated:
            return roots
        problems.append(f"{suite} has {found}")
    raise provisioned.missing("debian", "; ".join(problems))
