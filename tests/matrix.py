"""The long matrix: published wheels of several projects for every architecture, with their own tests.

    python tests/matrix.py [--witness WHEEL] [--only NAME] [WORDS FOR PYTEST …]

Run by the tox environment ``matrix``. Files are fetched by name and digest. Every outcome of an emulated target is
compared with that of the native one of the same interpreter and wheel version, node by node; the differences are
listed, and fail the run unless :data:`EXPLAINED` has them.

An executable whose allocator was built for pages of 4 KiB must fail on a machine with larger ones, and there only.
The witness is built for aarch64 where Rust has that target's standard library and a linker is there, and run as itself
and on three machines; ``--witness`` gives a wheel that was built elsewhere.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.reporting import report as reports


@dataclass(frozen=True, kw_only=True)
class Group:
    """One version of a project, and one run of pytest on its wheels.

    :param sdist: sha256 of its source distribution, for its tests.
    :param wheels: Python, ABI, platform and sha256 of each.
    :param options: further words for pytest.
    """

    project: str
    version: str
    sdist: str
    wheels: tuple[tuple[str, str, str, str], ...]
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.project} {self.version}"


GROUPS = (
    Group(
        project="rpds-py",
        version="2026.9.1",
        sdist="4793ef7f78268b124b73fa933440f01d258bbae01de9fa53e9080c9ab0425a12",
        wheels=(
            (
                "3.11",
                "cp311",
                "manylinux_2_17_x86_64",
                "136a1c3fe4402b7008bc81cb62ee538481795b61a7e83df88dff3b3f02b726ff",
            ),
            (
                "3.12",
                "cp312",
                "manylinux_2_17_x86_64",
                "addeda51556dac7c1a2f14cda62db8b621cd12afba3091d03a96c72932387eab",
            ),
            (
                "3.13",
                "cp313",
                "manylinux_2_17_x86_64",
                "7868b85224291c6cb6759f9b5adb9745f486d226f62b16a614dd5a2a5ab2b35b",
            ),
            (
                "3.14",
                "cp314",
                "manylinux_2_17_x86_64",
                "eac2f5dbafd585dfe31f86a23ebf0d3ba480a9d49ebc87947267b5608d4ea0cd",
            ),
            (
                "3.14",
                "cp314t",
                "manylinux_2_17_x86_64",
                "0da298fb372dc192610a4b9ecbc68a0cd8b675bbbd1fc519d01b41cfd658333e",
            ),
            (
                "3.11",
                "cp311",
                "manylinux_2_17_aarch64",
                "e01b3c878c8641913e688edd1b3f08658c6783d29cf6b826bd3c0d1ae7a1ffaa",
            ),
            (
                "3.12",
                "cp312",
                "manylinux_2_17_aarch64",
                "2693b2728bbcc48d09a981a356954b0c47c53ff25b545856f28a889ea619f69a",
            ),
            (
                "3.13",
                "cp313",
                "manylinux_2_17_aarch64",
                "457866b85daf5034296666168b84a69e0b2e89dc4f1af102b46f6448a60b9063",
            ),
            (
                "3.14",
                "cp314",
                "manylinux_2_17_aarch64",
                "07deecbfce94c78473018bc7d10b337cc651d12df87a1eb2cb3e4024bc9c33d0",
            ),
            (
                "3.14",
                "cp314t",
                "manylinux_2_17_aarch64",
                "d7fca4eb6df565e2a928f1c7dad92d27db8f9df0f449e76423ed5d7e713ed445",
            ),
            (
                "3.12",
                "cp312",
                "musllinux_1_2_aarch64",
                "3b5a6f40f0a1486b4b36c888123afc67acdbd9f33235927acf5ff295429a0ba3",
            ),
            (
                "3.12",
                "cp312",
                "musllinux_1_2_x86_64",
                "46d80bc76b51a6c24f9944368c28d38b8bcbcea1da4f2f8d3ebc31a67e8c6ec6",
            ),
            (
                "3.13",
                "cp313",
                "manylinux_2_17_armv7l",
                "a3a52a3ba86436ab3aef510fbe21512abc2ddd1993005dfe50514bd2284ef025",
            ),
            (
                "3.13",
                "cp313",
                "manylinux_2_17_ppc64le",
                "d7841166b7fa64c9c56404617ae4341448847482d45933b13135d26c130519e5",
            ),
            (
                "3.13",
                "cp313",
                "manylinux_2_17_s390x",
                "926bdd3e3b5998ddf70cc64bc8cf57209571f9044542913afb673799fec77dd0",
            ),
            ("3.13", "cp313", "manylinux_2_5_i686", "e6ea1cda8d8c688278430e4268a42f5e5da3bdd74578dfadc0820c3f1766ce83"),
            (
                "3.13",
                "cp313",
                "manylinux_2_31_riscv64",
                "3cd182d7291d29b92c521a0069d9c01ba6193628a9a105531d11b40a6d731a33",
            ),
        ),
    ),
    Group(
        # The last for CPython 3.9.
        project="rpds-py",
        version="0.27.1",
        sdist="26a1c73171d10b7acccbded82bf6a586ab8203601e565badc74bbbf8bc5a10f8",
        wheels=(
            (
                "3.9",
                "cp39",
                "manylinux_2_17_x86_64",
                "2fd50659a069c15eef8aa3d64bbef0d69fd27bb4a50c9ab4f17f83a16cbf8905",
            ),
            (
                "3.9",
                "cp39",
                "manylinux_2_17_aarch64",
                "bbf94c58e8e0cd6b6f38d8de67acae41b3a515c26169366ab58bdca4a6883bb8",
            ),
        ),
    ),
    Group(
        project="rpds-py",
        version="0.27.1",
        sdist="26a1c73171d10b7acccbded82bf6a586ab8203601e565badc74bbbf8bc5a10f8",
        wheels=(
            (
                "3.11",
                "pypy311_pp73",
                "manylinux_2_17_x86_64",
                "aaf94f812c95b5e60ebaf8bfb1898a7d7cb9c1af5744d4a67fa47796e0465d4e",
            ),
            (
                "3.11",
                "pypy311_pp73",
                "manylinux_2_17_aarch64",
                "eda8719d598f2f7f3e0f885cba8646644b55a187762bec091fa14a2b819746a9",
            ),
        ),
    ),
    Group(
        project="bcrypt",
        version="5.0.0",
        sdist="f748f7c2d6fd375cc93d3fba7ef4a9e3a092421b8dbf34d8d4dc06be9492dfdd",
        wheels=(
            (
                "3.11",
                "pypy311_pp73",
                "manylinux_2_28_x86_64",
                "046ad6db88edb3c5ece4369af997938fb1c19d6a699b9c1b27b0db432faae4c4",
            ),
            (
                "3.11",
                "pypy311_pp73",
                "manylinux_2_28_aarch64",
                "7edda91d5ab52b15636d9c30da87d2cc84f426c72b9dba7a9b4fe142ba11f534",
            ),
        ),
    ),
    Group(
        # One wheel of the stable ABI for all.
        project="bcrypt",
        version="5.0.0",
        sdist="f748f7c2d6fd375cc93d3fba7ef4a9e3a092421b8dbf34d8d4dc06be9492dfdd",
        wheels=(
            (
                "3.9",
                "abi3",
                "manylinux_2_28_x86_64",
                "f8429e1c410b4073944f03bd778a9e066e7fad723564a52ff91841d278dfc822",
            ),
            (
                "3.9",
                "abi3",
                "manylinux_2_28_aarch64",
                "f0ce778135f60799d89c9693b9b398819d15f1921ba15fe719acb3178215a7db",
            ),
        ),
        options=("--wheel-python=3.9,3.11,3.12,3.13,3.14",),
    ),
    Group(
        project="bcrypt",
        version="5.0.0",
        sdist="f748f7c2d6fd375cc93d3fba7ef4a9e3a092421b8dbf34d8d4dc06be9492dfdd",
        wheels=(
            (
                "3.9",
                "abi3",
                "manylinux_2_28_x86_64",
                "f8429e1c410b4073944f03bd778a9e066e7fad723564a52ff91841d278dfc822",
            ),
            ("3.9", "abi3", "musllinux_1_2_x86_64", "61afc381250c3182d9078551e3ac3a41da14154fbff647ddf52a769f588c4172"),
            (
                "3.9",
                "abi3",
                "musllinux_1_2_aarch64",
                "3ca8a166b1140436e058298a34d88032ab62f15aae1c598580333dc21d27ef10",
            ),
        ),
        options=("--wheel-python=3.13",),
    ),
    Group(
        # Its tests need numpy, which has wheels for few architectures.
        project="blake3",
        version="1.0.11",
        sdist="d73c0a87304d41045f6753a922113bede3ab09eda2d20371566a5bbe357c3deb",
        wheels=(
            (
                "3.14",
                "cp314",
                "manylinux_2_17_x86_64",
                "1664f6c19fcba54924b04599930ade0e955d1320bb4a31235d5a818ff18a86ad",
            ),
            (
                "3.14",
                "cp314t",
                "manylinux_2_17_x86_64",
                "694ef0c4f2492690ccb69b10ba4bf58a74bc0fbc685f30a54cbc403944ca7112",
            ),
            (
                "3.14",
                "cp314",
                "manylinux_2_17_aarch64",
                "51bc27bf5feccc7d1646e17e46aa045859820dea76d95bb9d26bce09c96a25d6",
            ),
            (
                "3.14",
                "cp314t",
                "manylinux_2_17_aarch64",
                "f688d52ff682b8d2dfe8d1dfb6c4cb5ede4aee2f658036a9545a62b8abc804bc",
            ),
        ),
        options=("--wheel-requires=numpy",),
    ),
)

#: Machines on which the witness runs beside aarch64 itself.
MACHINES = "host,rpi4,rpi5,graviton2"

#: An executable whose allocator was built for pages of 4 KiB, as aarch64 wheels of several projects were.
SMALL_PAGES = ("ruff 0.0.254", "ac1429be6d8bd3db0bf5becac3a38bd56f8421447790c50599cd90fd53417ec4")

#: Why an outcome differs from the native one: (project, end of the node id) → evidence. ``*`` as project for any.
EXPLAINED: dict[tuple[str, str], str] = {}


def fetch(folder: Path, name: str, digest: str, *options: str) -> None:
    """Download one file of a project; pip compares the digest."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{name.replace(' ', '==')} --hash=sha256:{digest}\n", encoding="utf-8")
    words = ["download", "-q", "--no-deps", "--require-hashes", "-d", str(folder), *options, "-r", str(wanted)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, stdin=subprocess.DEVNULL, timeout=600)
    wanted.unlink()


def run(words: list[str], project: Path, told: Path, name: str) -> tuple[int, float]:
    """Run pytest on wheels with a report of its own."""
    print(f"\n=== {name}", flush=True)
    start = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--wheel-report={told}", *words]
    code = subprocess.run(command, cwd=project, check=False).returncode
    return code, time.monotonic() - start


def run_group(group: Group, folder: Path, arguments: list[str]) -> tuple[int, float, reports.Report]:
    """Fetch a group's files and run its tests."""
    for place in ("sdist", "dist"):
        (folder / place).mkdir(parents=True)
    fetch(folder / "sdist", group.name, group.sdist, "--no-binary", ":all:", "--no-build-isolation")
    (archive,) = (folder / "sdist").glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    for python, abi, platform, digest in group.wheels:
        implementation = "pp" if abi.startswith("pypy") else "cp"
        choice = [
            f"--implementation={implementation}",
            f"--python-version={python}",
            f"--abi={abi}",
            f"--platform={platform}",
        ]
        fetch(folder / "dist", group.name, digest, "--only-binary=:all:", *choice)
    project = folder / archive.name.removesuffix(".tar.gz")
    words = [f"--wheel={folder / 'dist'}", *group.options, "tests", *arguments]
    code, seconds = run(words, project, folder / "told.json", group.name)
    text = (folder / "told.json").read_text(encoding="utf-8")
    return code, seconds, reports.from_json(text, source=group.name)


def compare(project: str, report: reports.Report) -> tuple[list[str], list[str]]:
    """Compare every target with the native one of its interpreter.

    :returns: a line for each target, and one for each difference that nothing explains.
    """
    targets = [target for wheel in report.wheels for target in wheel.targets]
    native = {
        target.interpreter: target
        for target in targets
        if target.execution == "native" and target.libc == "glibc" and target.architecture == "x86_64"
    }
    lines, unexplained = [], [f"{project}: {each.name} was not run: {each.reason}" for each in untested(report)]
    for target in targets:
        counts = {word: sum(n.outcome == word and n.is_test for n in target.results) for word in reports.OUTCOMES}
        said = ", ".join(f"{number} {word}" for word, number in counts.items() if number)
        beside = native.get(target.interpreter)
        if beside is None:
            lines.append(
                f"| {project} | {target.name} | {target.execution} | {said} | no native target of {target.interpreter} |"
            )
            continue
        own, theirs = ({n.name: n.outcome for n in t.results} for t in (target, beside))
        differ = sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name))
        reasons = set()
        for name in differ:
            reason = next((r for (p, end), r in EXPLAINED.items() if p in {"*", project} and name.endswith(end)), "")
            reasons |= {reason} - {""}
            if not reason:
                unexplained.append(
                    f"{project}: {target.name}::{name}: {own.get(name, 'missing')}, natively {theirs.get(name, 'missing')}"
                )
        verdict = "the reference" if target is beside else f"{len(differ)} differ" if differ else "equal"
        lines.append(
            f"| {project} | {target.name} | {target.execution} | {said} | {'; '.join([verdict, *sorted(reasons)])} |"
        )
    return lines, unexplained


def untested(report: reports.Report) -> list[reports.NotRun]:
    return [each for wheel in report.wheels for each in wheel.not_run]


def run_small_pages(folder: Path, arguments: list[str]) -> tuple[list[str], list[str]]:
    """Run the executable for small pages on a machine with small and on one with large pages: it fails there only."""
    name, digest = SMALL_PAGES
    folder.mkdir()
    choice = [
        "--only-binary=:all:",
        "--implementation=py",
        "--python-version=3.11",
        "--platform=manylinux_2_17_aarch64",
    ]
    fetch(folder, name, digest, *choice)
    told = folder / "told.json"
    words = [f"--wheel={folder}", "--wheel-python=3.11", "--wheel-machine=rpi4,rpi5", "--wheel-select=WHL101"]
    run([*words, *arguments], folder, told, name)
    report = reports.from_json(told.read_text(encoding="utf-8"), source=name)
    found = {t.machine: n for w in report.wheels for t in w.targets for n in t.results if n.name == "run[ruff]"}
    seen = {machine: node.outcome for machine, node in found.items()}
    lines = [f"| {name} | rpi4, rpi5 | emulated | `ruff --version`: {seen} | fails on 16 KiB pages, as it should |"]
    if seen != {"rpi4": "passed", "rpi5": "failed"}:
        return lines, [f"{name}: {seen}"]
    return lines, []


def build_witness(folder: Path) -> Path | None:
    """Build the witness for aarch64, where the tools are there."""
    target, linker = "aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc"
    library = subprocess.run(
        [os.environ.get("RUSTC", "rustc"), "--print", "target-libdir", "--target", target],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    if not library or not list(Path(library).glob("libstd-*")) or not shutil.which(linker):
        print(f"the witness is left out: it needs {linker} and Rust's standard library (rustup target add {target})")
        return None
    native = Path(__file__).parent.parent / "native"
    words = ["build", "--release", "--locked", "--target", target, "--out", str(folder)]
    env = {**os.environ, "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER": linker}
    subprocess.run([sys.executable, "-m", "maturin", *words], cwd=native, env=env, check=True)
    (wheel,) = folder.glob("*aarch64.whl")
    return wheel


def main() -> int:
    """Fetch everything, run it, compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--witness", type=Path)
    parser.add_argument("--only", default="")
    chosen, arguments = parser.parse_known_args()
    lines: list[str] = []
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="matrix-") as name:
        folder = Path(name)
        for number, group in enumerate(each for each in GROUPS if chosen.only in each.name):
            code, seconds, report = run_group(group, folder / str(number), arguments)
            found, unexplained = compare(group.name, report)
            lines += [*found, f"| | | | {seconds:.0f} s in all | |"]
            problems += [*unexplained, *([f"{group.name}: exit status {code}"] if code else [])]
        if chosen.only in SMALL_PAGES[0]:
            found, unexplained = run_small_pages(folder / "pages", arguments)
            lines += found
            problems += unexplained
        if chosen.only in "witness":
            wheel = chosen.witness.absolute() if chosen.witness else build_witness(folder)
            if wheel is not None:
                words = [f"--wheel={wheel}", "--wheel-python=3.11,3.13", f"--wheel-machine={MACHINES}", "tests"]
                native = Path(__file__).parent.parent / "native"
                code, seconds = run([*words, *arguments], native, folder / "witness.json", "witness")
                report = reports.from_json((folder / "witness.json").read_text(encoding="utf-8"), source="witness")
                lines += [*compare("witness", report)[0], f"| | | | {seconds:.0f} s in all | |"]
                problems += [f"witness: exit status {code}"] if code else []
    print("\n| project | target | how | tests | beside the native one |", "| --- | --- | --- | --- | --- |", sep="\n")
    print(*lines, sep="\n")
    print("", *(problems or ["every outcome equals the native one, or is explained"]), sep="\n")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
