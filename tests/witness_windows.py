"""The witness for Windows, built on Linux, and its tests on Windows interpreters: ``tox run -e witness-windows``.

The compiler, the sources of its standard library and the linker for ``x86_64-pc-windows-gnu`` are packages of the host's
archive (Debian and Ubuntu); they are unpacked into a directory and not installed. Only an old compiler has a package with
that target's standard library, so the library is compiled here, from the packaged sources (``-Z build-std``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.system import cache

ROOT = Path(__file__).parents[1]
TARGET = "x86_64-pc-windows-gnu"
TRIPLE = "x86_64-w64-mingw32"

#: Packages of compiler, Cargo and sources: first the current ones of a stable release, then those of any release.
TOOLS = (("rustc-web", "cargo-web", "rust-web-src"), ("rustc", "cargo", "rust-src"))
LINKER = "gcc-mingw-w64-x86-64-win32"


def toolchain() -> Path:
    """Return the directory of the unpacked packages.

    :raises WheelcheckError: the host has no such archive, or it does not have the packages.
    """
    archive = apt.host_repository()
    if archive is None:
        raise WheelcheckError("this host has no package archive of Debian or Ubuntu", fix="rustup target add " + TARGET)
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


def write_program(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def library_path(root: Path, work: Path) -> Path:
    """Return a new directory of the libraries of unpacked packages, without those of the C library.

    The packages' programs run with the C library of the host and the other libraries of the packages.
    """
    made = work / "lib"
    made.mkdir(parents=True)
    for name in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib"):
        for path in (root / name).glob("*.so*"):
            if not path.name.startswith(
                ("libc.so", "libm.so", "ld-linux", "libpthread", "libdl", "librt", "libresolv")
            ):
                with contextlib.suppress(FileExistsError):
                    (made / path.name).symlink_to(path)
    return made


def build(out: Path, work: Path) -> Path:
    """Build the wheel into *out*.

    :param work: a directory for intermediate files.
    """
    root = toolchain()
    programs = work / "bin"
    programs.mkdir(parents=True)
    library_directory = library_path(root, work)
    search_path = f"export LD_LIBRARY_PATH={library_directory}"
    rustc = next(path for path in (root / "usr/bin").glob("rustc*") if os.access(path, os.X_OK))
    cargo = next(path for path in (root / "usr/bin").glob("cargo*") if os.access(path, os.X_OK))
    write_program(programs, "rustc", f'{search_path}\nexec {rustc} "$@"')
    write_program(programs, "cargo", f'{search_path}\nexec {cargo} -Z build-std=std,panic_unwind "$@"')
    # The compiler calls it by this name, for import libraries (raw-dylib).
    write_program(programs, f"{TRIPLE}-dlltool", f'{search_path}\nexec {root}/usr/bin/{TRIPLE}-dlltool "$@"')
    # The objects that begin and end a program; otherwise they come with a compiled standard library.
    objects = work / "objects"
    objects.mkdir()
    (sources,) = (root / "usr/src").glob("rustc-*")
    env = {**os.environ, "RUSTC_BOOTSTRAP": "1", "PATH": f"{programs}:{os.environ['PATH']}"}
    linker = write_program(
        programs,
        "linker",
        f"""export LD_LIBRARY_PATH={library_directory}
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


#: A test that fails and opens no pseudo console, next to those of test_session.py: it must not be skipped.
COUNTEREXAMPLE = """
import wheelcheck_witness

def test_opens_none():
    wheelcheck_witness.Session().read()
"""

#: The tests that fail under Wine because the program on a pseudo console writes nothing.
SKIPPED = ("reads_what_the_program_writes", "writes_to_the_program", "the_program_has_the_size")


def verdict(report: Path) -> list[str]:
    """Return what is wrong in the report of a run of all tests under Wine, one line each."""
    (wheel,) = json.loads(report.read_text(encoding="utf-8"))["wheels"]
    wrong = [f"no target: {entry['reason']}" for entry in wheel["not_run"]]
    for target in wheel["targets"]:
        results = {result["name"]: result for result in target["results"]}
        expected = {f"tests/test_session.py::test_{name}": "skipped" for name in SKIPPED}
        expected |= {
            "tests/test_session.py::test_cannot_be_used_before_it_is_started": "passed",
            "tests/test_counterexample.py::test_opens_none": "failed",
        }
        for name, outcome in expected.items():
            found = results.get(name, {"outcome": "missing", "text": ""})
            if found["outcome"] != outcome:
                wrong.append(f"{target['name']}: {name} is {found['outcome']}, not {outcome}")
            elif outcome == "skipped" and "it called CreatePseudoConsole" not in found["text"]:
                wrong.append(f"{target['name']}: {name} is skipped for another reason: {found['text']}")
        wrong += [
            f"{target['name']}: {name} is {found['outcome']}"
            for name, found in results.items()
            if found["outcome"] in {"failed", "error"} and name not in expected
        ]
    return wrong or ([] if wheel["targets"] else ["no target"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, metavar="DIRECTORY", help="only build the wheel, into this directory")
    parser.add_argument("--wheel", type=Path, help="test this wheel instead of building one")
    parser.add_argument("--wheel-python", default="3.11,3.12,3.13,3.14", metavar="SPEC", help="interpreters")
    parser.add_argument("arguments", nargs="*", help="arguments for pytest")
    found = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="witness-") as name:
        work = Path(name)
        wheel = found.wheel or build(found.build or work / "dist", work / "build")
        print(wheel, flush=True)
        if found.build:
            return 0
        shutil.copytree(ROOT / "native/tests", work / "project/tests")
        shutil.copy(ROOT / "native/pyproject.toml", work / "project")
        options = [f"--wheel={wheel.absolute()}", f"--wheel-python={found.wheel_python}", "--wheel-jobs=2", "-ra", "-q"]
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, *found.arguments, "tests"]
        if found.arguments:
            return subprocess.run(command, cwd=work / "project", check=False).returncode
        (work / "project/tests/test_counterexample.py").write_text(COUNTEREXAMPLE, encoding="utf-8")
        report = work / "report.json"
        status = subprocess.run([*command, f"--wheel-report={report}"], cwd=work / "project", check=False).returncode
        if status != 1:
            print(f"exit status {status}, although test_opens_none must fail")
            return status or 1
        wrong = verdict(report)
        print("\n".join(wrong) or "as expected: the only failure is that of test_opens_none")
        return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
