"""Measure whole runs with wheels, and what users would run instead: the table of docs/performance.md, from one run.

    python benchmarks/whole_runs.py [--pairs N] [--only WORD] [--growth]

The sides of a case alternate, and the order changes with every pair. The first pair fills the caches and is not counted. Prints
a Markdown table: the medians of both sides and of the ratios of the pairs, their spread, and the goal. A ratio that is more
than a fifth above its goal fails the run. With ``--growth``, further lines show how time and the memory of the controller grow
with the number of tests and wheels; they are not compared with anything.

The wheels are published ones of rpds-py for CPython 3.11 and of pandas, downloaded by digest, and wheels made here.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

assert sys.platform != "win32"  # os.getloadavg() is for Unix only

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from builders import build_wheel
from emulated import TESTS, prepare_bare
from preparation import plan_targets

from pytest_wheelcheck.backends.catalog import make_catalog
from pytest_wheelcheck.interpreters.published import pinned
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.planning.plan import plan
from pytest_wheelcheck.wheels.reader import open_wheel

#: How far a ratio may be above its goal.
TOLERANCE = 1.2

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
MANY = "import pytest, demo\n\n@pytest.mark.parametrize('number', range({}))\ndef test_small(number):\n    pass\n"

#: What a user would write to test a built wheel with tox.
TOX = """
[testenv]
package = wheel
deps = pytest
commands = python -m pytest -q -p no:cacheprovider tests
"""

PANDAS = pinned.PinnedWheel(
    distribution="pandas",
    version="3.1.1",
    python="3.13",
    abi="cp313",
    platform="manylinux_2_24_x86_64",
    sha256="645fa00fd85cfced2d2c09dc116d3694f578501b1ce4899153fbe64788ecda98",
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Two programs that are compared.

    :param other: what users would run instead, or the least that has to be done.
    :param goal: the ratio of both that is wanted.
    :param pairs: pairs to measure; 0 for the value of ``--pairs``.
    """

    name: str
    ours: Sequence[str | Path]
    against: str
    other: Sequence[str | Path]
    goal: float
    cwd: Path
    env: dict[str, str] = field(default_factory=dict)
    pairs: int = 0


def measure(argv: Sequence[str | Path], cwd: Path, env: dict[str, str]) -> float:
    """Run a program once, and return its seconds of wall-clock time."""
    # What the caller's environment says about pytest and bytecode is not measured.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON", "TOX"))}
    start = time.perf_counter()
    completed = subprocess.run(argv, cwd=cwd, env={**inherited, **env}, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if completed.returncode:
        sys.exit(f"{argv}\n{completed.stdout}{completed.stderr}")
    return seconds


def project(directory: Path, tests: str) -> Path:
    """Make a project with one test module."""
    (directory / "tests").mkdir(parents=True)
    (directory / "tests" / "test_small.py").write_text(tests, encoding="utf-8")
    (directory / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return directory


def make_cases(directory: Path) -> Iterator[Case]:
    """Download and make everything, and yield the cases."""
    python = f"--wheel-python={platform.python_version().rpartition('.')[0]}"
    demo = build_wheel(directory / "demo", "demo", files={"demo/__init__.py": "VALUE = 1\n"})
    small = project(directory / "small", MANY.format(100))
    (small / "tox.ini").write_text(TOX, encoding="utf-8")
    tox = (sys.executable, "-m", "tox", "run", "-q", "-r", "-e", "py", "--installpkg", demo)
    yield Case(
        name="one pure wheel, all checks, 100 tests",
        ours=(*PYTEST, f"--wheel={demo}", python, "tests"),
        against="tox with tox-uv, environment made again",
        other=tox,
        goal=1.0,
        cwd=small,
    )
    yield Case(
        name="`--wheel-static`, one small wheel",
        ours=(*PYTEST, f"--wheel={demo}", "--wheel-static"),
        against="pytest, 100 tests, no wheel",
        other=(*PYTEST, "tests"),
        goal=2.0,
        cwd=small,
        env={"PYTHONPATH": str(_installed(demo, directory / "site"))},
    )
    many = project(directory / "many", MANY.format(20_000))
    yield Case(
        name="20,000 trivial tests",
        ours=(*PYTEST, f"--wheel={demo}", python, "tests"),
        against="pytest",
        other=(*PYTEST, "tests"),
        goal=1.3,
        cwd=many,
        env={"PYTHONPATH": str(directory / "site")},
        pairs=3,
    )
    emulated = project(directory / "emulated", TESTS)
    settings = Settings(cwd=emulated, root=emulated, wheels=())
    files, targets = plan_targets(directory)
    yield Case(
        name="one aarch64 wheel under QEMU, 100 tests",
        ours=(*PYTEST, f"--wheel={files['aarch64']}", "--wheel-python=3.11", "tests"),
        against="its pytest in a prepared environment",
        other=prepare_bare(targets["aarch64"], settings, directory / "bare"),
        goal=1.1,
        cwd=emulated,
    )
    pandas = pinned.download(PANDAS, pinned.PackageIndex(), directory / "pandas")
    empty = project(directory / "empty", "")
    shutil.rmtree(empty / "tests")
    wheel = open_wheel(pandas, shown=pandas.name, store=directory / "store")
    (target,), _ = plan([wheel], ["3.13"], make_catalog())
    own = prepare_bare(target, Settings(cwd=empty, root=empty, wheels=()), directory / "bare-pandas")[0]
    yield Case(
        name="pandas 3.1.1, imports only, 45 extension modules",
        ours=(*PYTEST, f"--wheel={pandas}", "--wheel-python=3.13"),
        against="one `import pandas`",
        other=(own, "-c", "import pandas"),
        goal=12.0,
        cwd=empty,
        # As after the installation, which leaves no bytecode.
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        pairs=3,
    )


def _installed(wheel: Path, site: Path) -> Path:
    shutil.unpack_archive(wheel, site, "zip")
    return site


def compare(case: Case, pairs: int) -> tuple[str, bool]:
    """Measure one case; return its line of the table, and whether the goal is met."""
    samples: list[tuple[float, float]] = []
    for number in range((case.pairs or pairs) + 1):
        sides = {"ours": case.ours, "other": case.other}
        order = list(sides) if number % 2 else list(reversed(sides))
        seconds = {side: measure(sides[side], case.cwd, case.env) for side in order}
        if number:  # the first pair fills the caches
            samples.append((seconds["ours"], seconds["other"]))
    ours, other = (statistics.median(side) for side in zip(*samples, strict=True))
    ratios = sorted(first / second for first, second in samples)
    ratio = statistics.median(ratios)
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    line = f"| {case.name} | {ours:.2f} s | {case.against}: {other:.2f} s | {ratio:.2f} ({spread}) | {case.goal:g} |"
    return line, ratio <= case.goal * TOLERANCE


def grow(directory: Path) -> Iterator[str]:
    """Yield a line for each size: seconds, and the maximum resident memory of the controller."""
    demo = build_wheel(directory / "one", "demo", files={"demo/__init__.py": "VALUE = 1\n"})
    python = f"--wheel-python={platform.python_version().rpartition('.')[0]}"
    for tests in (10, 100, 1_000, 10_000):
        where = project(directory / f"tests-{tests}", MANY.format(tests))
        yield _sized(f"{tests:,} tests", (*PYTEST, f"--wheel={demo}", python, "tests"), where)
    for wheels in (1, 5, 15, 60):
        where = project(directory / f"wheels-{wheels}", "")
        for number in range(wheels):
            build_wheel(where / "dist", f"demo{number}", files={f"demo{number}/__init__.py": "VALUE = 1\n"})
        yield _sized(f"{wheels} wheels, static checks", (*PYTEST, "--wheel=dist", "--wheel-static"), where)
        if wheels <= 15:
            yield _sized(f"{wheels} wheels, installed and imported", (*PYTEST, "--wheel=dist", python), where)


def _sized(name: str, argv: Sequence[str | Path], cwd: Path) -> str:
    # The children of a short program of its own: getrusage() has the maximum of all children so far.
    code = (
        "import resource, subprocess, sys, time\n"
        "start = time.perf_counter()\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
        "memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "print(done.returncode, time.perf_counter() - start, memory)\n"
    )
    output = subprocess.run([sys.executable, "-c", code, *argv], cwd=cwd, capture_output=True, text=True, check=True)
    status, seconds, memory = output.stdout.split()
    # 5: no tests were collected in the source tree.
    assert status in {"0", "5"}, output
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return f"| {name} | {float(seconds):.2f} s | {float(memory) / unit:.0f} MB |"


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--growth", action="store_true")
    chosen = parser.parse_args()
    met = True
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="whole-runs-") as name:
        print("| case | this plugin | against | ratio (spread) | goal |", "| --- | --- | --- | --- | --- |", sep="\n")
        for case in make_cases(Path(name)):
            if chosen.only in case.name:
                line, good = compare(case, chosen.pairs)
                met = met and good
                print(line, flush=True)
        if chosen.growth:
            print("\n| size | time | memory of the largest process |", "| --- | --- | --- |", sep="\n")
            for line in grow(Path(name) / "growth"):
                print(line, flush=True)
    print(f"\nCPython {platform.python_version()}, {os.cpu_count()} CPUs, load {load:.1f} at the start")
    print("every goal is met" if met else f"a ratio is more than {TOLERANCE:.0%} of its goal")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
