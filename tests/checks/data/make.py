"""Make the tiny native files that stand beside this script, with the compilers that people make wheels with.

    python tests/checks/data/make.py [FOLDER]

Writes into FOLDER, or beside this script. Compilers that are not installed are told and left out. With ``--compare`` the
files are made in a temporary folder and compared with those that are here: by what the readers see in them, since another
version of a compiler gives other bytes. Ends with 1 where they differ, or where a file here was made by no command.

Debian: gcc, gcc-aarch64-linux-gnu, gcc-mingw-w64-x86-64, musl-tools; the others need the distribution ziglang.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
#: What a Python 3.11 for Windows exports, as far as it is used here.
_DEFINITION = "LIBRARY python311.dll\nEXPORTS\nPyLong_FromLong\n"

_ZIG = (sys.executable, "-m", "ziglang")
_SHARED = ("-shared", "-fPIC", "-O1", "-s", "-DLIBRARY_CALL")
_PE = ("-shared", "-O1", "-s", "-nostdlib", "-Wl,--entry=PyInit__native")
_MACHO = ("-Wl,-S", "-shared", "-O1", "-undefined", "dynamic_lookup")
_GNU = ("-Wl,--build-id=none", "-Wl,--hash-style=gnu", "-Wl,-z,noseparate-code")

#: File name to the command that makes it; the source and ``-o FILE`` are added.
COMMANDS: dict[str, tuple[str, ...]] = {
    "elf-x86_64.so": ("gcc", *_SHARED, *_GNU),
    "elf-x86_64-hash.so": ("gcc", *_SHARED, "-Wl,--build-id=none", "-Wl,--hash-style=sysv", "-Wl,-z,noseparate-code"),
    "elf-x86_64-execstack.so": ("gcc", *_SHARED, *_GNU, "-Wl,-z,execstack"),
    "elf-x86_64-textrel.so": ("gcc", *_SHARED, *_GNU, "-DTEXT_RELOCATION", "-Wl,-z,notext"),
    "elf-x86_64-statictls.so": ("gcc", *_SHARED, *_GNU, "-DSTATIC_TLS"),
    "elf-x86_64-debug.so": ("gcc", "-shared", "-fPIC", "-O1", "-g", "-gz=none", "-ffile-prefix-map={work}=.", *_GNU),
    "elf-x86_64-rpath.so": ("gcc", *_SHARED, *_GNU, "-Wl,-rpath,/home/me/build", "-Wl,-soname,libme.so.1"),
    "elf-x86_64-program": ("gcc", "-pie", "-fPIE", "-O1", "-s", "-DPROGRAM", *_GNU),
    "elf-x86_64-musl.so": ("musl-gcc", *_SHARED, *_GNU),
    "elf-aarch64-4k.so": ("aarch64-linux-gnu-gcc", *_SHARED, *_GNU, "-Wl,-z,max-page-size=4096"),
    "pe-amd64-mingw.pyd": (
        "x86_64-w64-mingw32-gcc",
        "-shared",
        "-O1",
        "-s",
        "{python311}",
        "-nostartfiles",
        "-Wl,-e,0",
    ),
    "elf-aarch64-64k.so": (*_ZIG, "cc", "-target", "aarch64-linux-gnu.2.17", *_SHARED),
    "elf-x86_64-zig.so": (*_ZIG, "cc", "-target", "x86_64-linux-gnu.2.17", *_SHARED),
    "elf-armv7l-zig.so": (*_ZIG, "cc", "-target", "arm-linux-gnueabihf.2.17", *_SHARED),
    "elf-ppc64le-zig.so": (*_ZIG, "cc", "-target", "powerpc64le-linux-gnu.2.19", *_SHARED),
    "elf-s390x-zig.so": (*_ZIG, "cc", "-target", "s390x-linux-gnu.2.17", *_SHARED),
    "elf-riscv64-zig.so": (*_ZIG, "cc", "-target", "riscv64-linux-gnu.2.31", *_SHARED),
    "elf-i686-zig.so": (*_ZIG, "cc", "-target", "x86-linux-gnu.2.17", *_SHARED),
    "macho-arm64.so": (*_ZIG, "cc", "-target", "aarch64-macos.12.3", *_MACHO),
    "macho-x86_64.so": (*_ZIG, "cc", "-target", "x86_64-macos.11.0", *_MACHO),
    "pe-arm64-zig.pyd": (*_ZIG, "cc", "-target", "aarch64-windows-gnu", *_PE, "{python311}"),
    "pe-x86-zig.pyd": (*_ZIG, "cc", "-target", "x86-windows-gnu", *_PE, "{python311}"),
}
_DLLTOOL = {"mingw": "i386:x86-64", "arm64": "arm64", "x86": "i386"}


def make(folder: Path) -> list[str]:
    """Make every file that can be made; return the names of those that cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    lacking = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        shutil.copyfile(HERE / "module.c", work / "module.c")
        for file, command in COMMANDS.items():
            if not _is_there(command):
                lacking.append(file)
                continue
            words = [word.replace("{work}", name) for word in command if word != "{python311}"]
            # A library that is linked against stands behind what needs it.
            words += ["module.c", *([_library(file, work)] if "{python311}" in command else ())]
            print("$", *words, "-o", file, flush=True)
            subprocess.run([*words, "-o", file], cwd=work, check=True, timeout=900)
            shutil.copyfile(work / file, folder / file)
    return lacking


def _is_there(command: tuple[str, ...]) -> bool:
    if command[:3] == _ZIG:
        return subprocess.run([*_ZIG, "version"], capture_output=True, check=False).returncode == 0
    return shutil.which(command[0]) is not None


def _library(file: str, work: Path) -> str:
    """Make the import library of an interpreter that is not here."""
    (work / "python311.def").write_text(_DEFINITION, encoding="ascii")
    machine = next(machine for part, machine in _DLLTOOL.items() if part in file)
    library = work / "python311.lib"
    tool = ["x86_64-w64-mingw32-dlltool"] if "mingw" in file else [*_ZIG, "dlltool"]
    subprocess.run([*tool, "-m", machine, "-d", "python311.def", "-l", library.name], cwd=work, check=True, timeout=900)
    return library.name


def facts(path: Path) -> list[dict[str, object]]:
    """What the readers see in a file, but for what another version of a compiler may change."""
    from pytest_wheelcheck.wheels.binary import read

    found = [dataclasses.asdict(one) for one in read(path.name, path.read_bytes())]
    for one in found:
        # Start-up code of the toolchain's own may use other functions of the C library from version to version.
        one["versions"] = sorted({library for library, _ in one["versions"]})
        one.pop("undefined")
    return found


def compare() -> int:
    """Make the files again and compare them with those here."""
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lacking = make(folder)
        for file in COMMANDS:
            if file in lacking:
                print(f"{file}: not made, its compiler is not installed")
            elif facts(folder / file) != facts(HERE / file):
                wrong.append(f"{file}:\n  now  {facts(folder / file)}\n  here {facts(HERE / file)}")
            else:
                same = (folder / file).read_bytes() == (HERE / file).read_bytes()
                print(f"{file}: {'the same bytes' if same else 'the same to the readers'}")
    unknown = {path.name for path in HERE.iterdir() if path.suffix in {".so", ".pyd"}} - set(COMMANDS)
    wrong += [f"{file}: no command makes it" for file in sorted(unknown)]
    print(*wrong, sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    if sys.argv[1:] == ["--compare"]:
        sys.exit(compare())
    for missing in make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE):
        print(f"{missing}: not made, its compiler is not installed")
