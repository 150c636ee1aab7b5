"""The smoke test of a board: builds the witness for it, and runs its tests there: ``tox run -e board -- ssh://pi@board``.

For another architecture than this host's, the compiler, its standard library for the board and the linker are packages of the
host's archive (Debian and Ubuntu); they are unpacked into a directory and not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from witness_windows import library_path, write_program

from pytest_wheelcheck.errors import RuntimeUnavailableError, WheelcheckError
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, host_architecture
from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.system import cache

ROOT = Path(__file__).parents[1]

#: Packages of compiler and Cargo, and of the standard library for the board: the current ones of a stable release, then any.
TOOLS = ((("rustc-web", "cargo-web"), "libstd-rust-web-dev"), (("rustc", "cargo"), "libstd-rust-dev"))

#: Rust's names of targets.
TARGETS = {
    "aarch64": "aarch64-unknown-linux-gnu",
    "armv7l": "armv7-unknown-linux-gnueabihf",
    "ppc64le": "powerpc64le-unknown-linux-gnu",
    "riscv64": "riscv64gc-unknown-linux-gnu",
    "s390x": "s390x-unknown-linux-gnu",
    "x86_64": "x86_64-unknown-linux-gnu",
}


def toolchain(architecture: str) -> Path:
    """Return the directory of the unpacked packages.

    :raises WheelcheckError: the host has no such archive, or it does not have the packages.
    """
    archive = apt.host_repository()
    target = TARGETS[architecture]
    if archive is None:
        raise RuntimeUnavailableError(
            "this host has no package archive of Debian or Ubuntu", fix=f"pass --wheel ({target})"
        )
    # The C library's files for linking are only recommended by the compiler.
    linking = (f"gcc-{ARCHITECTURES[architecture].multiarch}", f"libc6-dev-{ARCHITECTURES[architecture].debian}-cross")
    errors = []
    for tools, library in TOOLS:
        key = f"tools/rust-{architecture}-{archive.codename}-{cache.digest(*tools, library, *linking)}"

        def make(side: Path, tools: tuple[str, ...] = tools, library: str = library) -> None:
            apt.fetch(archive, archive.codename, (*tools, *linking), side, architecture="amd64")
            debian = ARCHITECTURES[architecture].debian
            apt.fetch(archive, archive.codename, (library,), side, architecture=debian, dependencies=False)

        try:
            return cache.provision(key, make)
        except WheelcheckError as error:
            errors.append(error)
    raise errors[0]


def cross_environment(architecture: str, work: Path) -> dict[str, str]:
    """Return the environment in which maturin builds for another architecture.

    :param work: an empty directory for programs.
    """
    root = toolchain(architecture)
    programs = work / "bin"
    programs.mkdir(parents=True)
    search_path = f"export LD_LIBRARY_PATH={library_path(root, work)}"
    for name in ("rustc", "cargo"):
        program = next(path for path in sorted((root / "usr/bin").glob(f"{name}*")) if os.access(path, os.X_OK))
        write_program(programs, name, f'{search_path}\nexec {program} "$@"')
    gcc = f"{root}/usr/bin/{ARCHITECTURES[architecture].multiarch}-gcc"
    triple = ARCHITECTURES[architecture].multiarch
    # The linker scripts of the package name files by absolute paths.
    linker = write_program(
        programs,
        "linker",
        f'{search_path}\nexport PATH={root}/usr/bin:$PATH\nexec {gcc} -B{root}/usr/{triple}/bin/ --sysroot={root} "$@"',
    )
    return {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "RUSTC": str(programs / "rustc"),
        "CARGO": str(programs / "cargo"),
        f"CARGO_TARGET_{TARGETS[architecture].upper().replace('-', '_')}_LINKER": str(linker),
    }


def build(architecture: str, out: Path, work: Path) -> Path:
    """Build the wheel into *out*.

    :param work: a directory for intermediate files.
    """
    host = host_architecture()
    command = [sys.executable, "-m", "maturin", "build", "--release", "--locked", "--out", str(out)]
    env = dict(os.environ)
    if host is None or host.name != architecture:
        env = cross_environment(architecture, work)
        command += ["--target", TARGETS[architecture]]
    env["CARGO_TARGET_DIR"] = str(work / "target")
    subprocess.run(command, cwd=ROOT / "native", env=env, check=True, stdin=subprocess.DEVNULL)
    (wheel,) = out.glob("*.whl")
    return wheel


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("board", help="ssh://USER@ADDRESS[:PORT]")
    parser.add_argument("--wheel", type=Path, help="test this wheel instead of building one")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="build the wheel into this directory")
    parser.add_argument("arguments", nargs="*", help="arguments for pytest, after --")
    found = parser.parse_intermixed_args()
    wheelcheck = [sys.executable, "-m", "pytest_wheelcheck", "board", found.board]
    described = subprocess.run([*wheelcheck, "--json"], check=False, stdout=subprocess.PIPE, text=True)
    if described.returncode:
        return described.returncode
    # A 32-bit system may run on a 64-bit kernel: the interpreter decides.
    platform = json.loads(described.stdout)["platform_tags"][0]["platform"]
    architecture = platform.partition("-")[2]
    if architecture not in TARGETS or not platform.startswith("linux-"):
        print(f"the witness cannot be built for {platform}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="witness-") as name:
        work = Path(name)
        try:
            wheel = found.wheel or build(architecture, found.keep or work / "dist", work / "build")
        except WheelcheckError as error:
            print(error, file=sys.stderr)
            return 1
        print(wheel, flush=True)
        shutil.copytree(ROOT / "native/tests", work / "project/tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "native/pyproject.toml", work / "project")
        options = [f"--wheel={wheel.absolute()}", f"--wheel-host={found.board}", "-ra"]
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, *found.arguments, "tests"]
        return subprocess.run(command, cwd=work / "project", check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
