"""Make the tiny native files in this directory, with the compilers that build wheels.

    python tests/checks/data/make.py [DIRECTORY]

Writes into DIRECTORY, by default the directory of this script. Files whose compiler is not installed are listed and left
out. With ``--compare`` the files are made in a temporary directory and compared with those in this directory, as the
readers see them, since another version of a compiler writes other bytes. Exits with 1 if they differ, or if no command
makes a file of this directory.

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
#: The exports of Python 3.11 for Windows that the module uses.
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


def make(directory: Path) -> list[str]:
    """Make all files whose compiler is installed, and return the names of the others."""
    directory.mkdir(parents=True, exist_ok=True)
    skipped = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        shutil.copyfile(HERE / "module.c", work / "module.c")
        for file, command in COMMANDS.items():
            if not _is_installed(command):
                skipped.append(file)
                continue
            argv = [argument.replace("{work}", name) for argument in command if argument != "{python311}"]
            # A library follows the files that need it.
            argv += ["module.c", *([_library(file, work)] if "{python311}" in command else ())]
            print("$", *argv, "-o", file, flush=True)
            subprocess.run([*argv, "-o", file], cwd=work, check=True, timeout=900)
            shutil.copyfile(work / file, directory / file)
    return skipped


def _is_installed(command: tuple[str, ...]) -> bool:
    if command[:3] == _ZIG:
        return subprocess.run([*_ZIG, "version"], capture_output=True, check=False).returncode == 0
    return shutil.which(command[0]) is not None


def _library(file: str, work: Path) -> str:
    """Make the import library of the interpreter."""
    (work / "python311.def").write_text(_DEFINITION, encoding="ascii")
    machine = next(machine for part, machine in _DLLTOOL.items() if part in file)
    library = work / "python311.lib"
    tool = ["x86_64-w64-mingw32-dlltool"] if "mingw" in file else [*_ZIG, "dlltool"]
    subprocess.run([*tool, "-m", machine, "-d", "python311.def", "-l", library.name], cwd=work, check=True, timeout=900)
    return library.name


def facts(path: Path) -> list[dict[str, object]]:
    """Return the values of the readers, without those that depend on the version of the compiler."""
    from pytest_wheelcheck.wheels.binary_reader import read_binary

    slices = [dataclasses.asdict(binary) for binary in read_binary(path.name, path.read_bytes())]
    for values in slices:
        # The start-up code of each version of a toolchain may use other functions of the C library.
        values["versions"] = sorted({library for library, _ in values["versions"]})
        values.pop("undefined")
    return slices


def compare() -> int:
    """Make the files again and compare them with those in this directory."""
    differences = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        skipped = make(directory)
        for file in COMMANDS:
            if file in skipped:
                print(f"{file}: not made, its compiler is not installed")
            elif facts(directory / file) != facts(HERE / file):
                differences.append(f"{file}:\n  now  {facts(directory / file)}\n  here {facts(HERE / file)}")
            else:
                same = (directory / file).read_bytes() == (HERE / file).read_bytes()
                print(f"{file}: {'the same bytes' if same else 'the same for the readers'}")
    unknown = {path.name for path in HERE.iterdir() if path.suffix in {".so", ".pyd"}} - set(COMMANDS)
    differences += [f"{file}: no command makes it" for file in sorted(unknown)]
    print(*differences, sep="\n")
    return int(bool(differences))


if __name__ == "__main__":
    if sys.argv[1:] == ["--compare"]:
        sys.exit(compare())
    for missing in make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE):
        print(f"{missing}: not made, its compiler is not installed")
