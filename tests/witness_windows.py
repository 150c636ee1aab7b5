"""The witness for Windows, built on Linux, and its own tests on Windows interpreters: ``tox run -e witness-windows``.

The compiler, the sources of its standard library and the linker for ``x86_64-pc-windows-gnu`` are packages of the host's
archive (Debian and Ubuntu), unpacked into a folder without touching the system. Only an old compiler has that target's
standard library as a package, so it is compiled here, from the packaged sources (``-Z build-std``).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.interpreters import apt
from pytest_wheelcheck.system import cache

ROOT = Path(__file__).parents[1]
TARGET = "x86_64-pc-windows-gnu"
TRIPLE = "x86_64-w64-mingw32"

#: Compiler, its builder and its sources: the current ones of a stable release first, then those of any other.
TOOLS = (("rustc-web", "cargo-web", "rust-web-src"), ("rustc", "cargo", "rust-src"))
LINKER = "gcc-mingw-w64-x86-64-win32"


def toolchain() -> Path:
    """Unpack the packages, once.

    :raises WheelcheckError: the host has no such archive, or it lacks them.
    """
    archive = apt.host_repository()
    if archive is None:
        raise WheelcheckError("this host has no archive of Debian's kind", fix="rustup target add " + TARGET)
    for number, tools in enumerate(TOOLS):
        key = f"tools/rust-windows-{archive.codename}-{cache.digest(*tools, '1')}"

        def make(side: Path, tools: tuple[str, ...] = tools) -> None:
            apt.fetch(archive, archive.codename, (*tools, LINKER), side, architecture="amd64")

        try:
            return cache.provision(key, make)
        except WheelcheckError:
            if number == len(TOOLS) - 1:
                raise
    raise AssertionError


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def build(out: Path, work: Path) -> Path:
    """Build the wheel into *out*.

    :param work: takes what is made on the way.
    """
    root = toolchain()
    programs = work / "bin"
    programs.mkdir(parents=True)
    libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu:{root}/usr/lib"
    # Host programs of the package's own release: with the host's C library, and the package's other libraries.
    slim = work / "lib"
    slim.mkdir()
    for folder in libraries.split(":"):
        for path in Path(folder).glob("*.so*") if Path(folder).is_dir() else ():
            if not path.name.startswith(
                ("libc.so", "libm.so", "ld-linux", "libpthread", "libdl", "librt", "libresolv")
            ):
                with contextlib.suppress(FileExistsError):
                    (slim / path.name).symlink_to(path)
    mine = f"export LD_LIBRARY_PATH={slim}"
    rustc = next(path for path in (root / "usr/bin").glob("rustc*") if os.access(path, os.X_OK))
    cargo = next(path for path in (root / "usr/bin").glob("cargo*") if os.access(path, os.X_OK))
    program(programs, "rustc", f'{mine}\nexec {rustc} "$@"')
    program(programs, "cargo", f'{mine}\nexec {cargo} -Z build-std=std,panic_unwind "$@"')
    # The objects that begin and end a program, which come with a compiled standard library.
    objects = work / "objects"
    objects.mkdir()
    (sources,) = (root / "usr/src").glob("rustc-*")
    env = {**os.environ, "RUSTC_BOOTSTRAP": "1", "PATH": f"{programs}:{os.environ['PATH']}"}
    linker = program(
        programs,
        "linker",
        f"""export LD_LIBRARY_PATH={slim}
export PATH={root}/usr/bin:$PATH
for word; do
  shift
  case $word in */rsbegin.o|*/rsend.o|rsbegin.o|rsend.o) word={objects}/${{word##*/}};; esac
  set -- "$@" "$word"
done
exec {root}/usr/bin/{TRIPLE}-gcc-win32 -B{root}/usr/bin/{TRIPLE}- -L{root}/usr/{TRIPLE}/lib "$@\"""",
    )
    for name in ("rsbegin", "rsend"):
        subprocess.run(
            [
                *(programs / "rustc", "--edition=2021", f"--target={TARGET}", "--crate-type=lib", "--emit=obj"),
                *("-Cpanic=abort", "-o", objects / f"{name}.o", sources / "library/rtstartup" / f"{name}.rs"),
            ],
            env=env,
            check=True,
        )
    env |= {
        "RUSTC": str(programs / "rustc"),
        "CARGO": str(programs / "cargo"),
        "CARGO_TARGET_DIR": str(work / "target"),
        "CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER": str(linker),
        "__CARGO_TESTS_ONLY_SRC_ROOT": str(sources / "library"),
    }
    subprocess.run(
        [sys.executable, "-m", "maturin", "build", "--release", "--locked", "--target", TARGET, "--out", out],
        cwd=ROOT / "native",
        env=env,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    (wheel,) = out.glob("*.whl")
    return wheel


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, metavar="FOLDER", help="only build the wheel into this folder")
    parser.add_argument("--wheel", type=Path, help="test this wheel instead of building one")
    parser.add_argument("--wheel-python", default="3.11,3.12,3.13,3.14", metavar="SPEC", help="interpreters")
    parser.add_argument("words", nargs="*", help="for pytest")
    found = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="witness-") as name:
        work = Path(name)
        wheel = found.wheel or build(found.build or work / "dist", work / "build")
        print(wheel, flush=True)
        if found.build:
            return 0
        shutil.copytree(ROOT / "native/tests", work / "project/tests")
        shutil.copy(ROOT / "native/pyproject.toml", work / "project")
        words = [f"--wheel={wheel.absolute()}", f"--wheel-python={found.wheel_python}", "--wheel-jobs=2", "-ra", "-q"]
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words, *found.words, "tests"]
        return subprocess.run(command, cwd=work / "project", check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
