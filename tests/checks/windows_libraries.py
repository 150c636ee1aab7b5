"""Writes ``checks/windows_system.txt``, the list of the libraries that are part of every Windows.

::

    apt-get download mingw-w64-x86-64-dev mingw-w64-i686-dev libwine
    python tests/checks/windows_libraries.py *.deb

A library is listed if mingw-w64 has import libraries of it for both 32-bit and 64-bit Windows, or if Wine has its own
version of it. mingw-w64 has others for one of them only: most are parts of Windows XP and of servers of that time. What
Microsoft or others distribute separately is left out.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

TARGET = Path(__file__).parents[2] / "src/pytest_wheelcheck/checks/windows_system.txt"
#: In the import libraries of mingw-w64, as strings that end with a zero byte.
NAME = re.compile(rb"[A-Za-z0-9][\w.+-]*\.(?:dll|drv|cpl|ocx)(?=\0)", re.IGNORECASE)
#: The same for whole file names.
FILE = re.compile(r"[\w.+-]+\.(?:dll|drv|cpl|ocx)", re.IGNORECASE)

#: What a fresh Windows 10 does not have, with the origin.
EXCLUDED = {
    "runtimes of Visual C++, which are installed with programs": (
        r"msvc[rpm]\d{2,3}(?<!msvcp60)(_\w+|d)?|msvcr(t10|td|70|71)d?|vcruntime\w+|concrt\d+|vcomp\d*|atl\d+|ucrtbased|mfc\w*\d{2,}ud?"
    ),
    "the DirectX runtime of 2010, which is installed with games": (
        r"d3dx(?!of)\w+|d3dcompiler(_3\d|_4[0-6])?|d3dcsx\w*|x3daudio\w+|xapofx\w+|xaudio2_[0-7]|xactengine\w+|xinput1_[1-3]|dsetup"
    ),
    "drivers of graphics cards, tablets, networks and card readers": (
        r"vulkan-1|opencl|wintab32|wpcap|capi2032|ctapi32|wnaspi32|apcups|vga"
    ),
    "other products": (
        r"libwinpthread-1|glut\w*|msoledbsql|opends60|unicows|wing32|msxml[24]|mscorwks|fusion|diasymreader|updspapi|rapi|dx8vb"
        r"|igmpagnt|ntmsapi|msnet32"
    ),
    "parts of Wine": r"wine\w*",
    "names of Windows' parts for functions that every process finds in others": r"api-ms-.*|ext-ms-.*",
}
#: In neither source, but named by the reference pages of the Windows API as the DLL of their functions.
ADDED = {"elscore.dll": "MappingGetServices", "winbio.dll": "WinBioOpenSession"}


def names_in_archive(data: bytes) -> set[str]:
    """Return the DLLs that an import library names, in lower case."""
    return {name.decode("ascii").lower() for name in NAME.findall(data)}


def is_excluded(name: str) -> bool:
    stem = name.rpartition(".")[0]
    return any(re.fullmatch(pattern, stem) for pattern in EXCLUDED.values())


def select(mingw: Sequence[set[str]], wine: Iterable[str]) -> list[str]:
    """Return the libraries to list, sorted.

    :param mingw: the names in the import libraries of each architecture.
    :param wine: the file names of Wine's libraries.
    """
    known = set.intersection(*mingw) | {name.lower() for name in wine if FILE.fullmatch(name)}
    return sorted({name for name in known if not is_excluded(name)} | ADDED.keys())


def names_of_mingw(root: Path) -> set[str]:
    """Return the DLLs that the import libraries of an unpacked package name."""
    return set().union(*(names_in_archive(path.read_bytes()) for path in root.glob("usr/*/lib/lib*.a")))


def names_of_wine(root: Path) -> set[str]:
    """Return the file names of the libraries of an unpacked Wine."""
    return {path.name for path in root.glob("usr/lib/*/wine/*-windows/*")}


def stated_versions() -> dict[str, str]:
    """Return the packages that the list was written from, with their versions."""
    head = " ".join(line[1:].strip() for line in TARGET.read_text("utf-8").splitlines() if line.startswith("#"))
    return dict(re.findall(r"([\w-]+) (\d\S*?)(?=[,.] |[,.]?$)", head.rpartition("Debian's packages ")[2]))


def _unpack(packages: Iterable[Path], directory: Path) -> Iterator[tuple[str, str, Path]]:
    """Unpack Debian packages; yield name, version and directory of each."""
    for package in packages:
        name, version, _ = package.name.split("_")
        target = directory / name
        subprocess.run(["dpkg-deb", "-x", package, target], check=True)
        yield name, version.replace("%7e", "~").replace("%3a", ":"), target


def main(packages: Sequence[str]) -> None:
    mingw: list[set[str]] = []
    wine: set[str] = set()
    sources = []
    with tempfile.TemporaryDirectory() as directory:
        for name, version, target in _unpack(map(Path, packages), Path(directory)):
            sources.append(f"{name} {version}")
            if name.startswith("mingw-w64-"):
                mingw.append(names_of_mingw(target))
            else:
                wine |= names_of_wine(target)
    head = (
        "# Parts of every Windows that current interpreters run on (10 and later), as import tables name them, in lower case.\n"
        "# Written by tests/checks/windows_libraries.py from the import libraries of mingw-w64 and the libraries of Wine, in\n"
        f"# Debian's packages {', '.join(sources)}.\n"
    )
    TARGET.write_text(head + "".join(f"{name}\n" for name in select(mingw, wine)), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
