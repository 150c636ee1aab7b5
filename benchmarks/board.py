"""Measure a warm run on a board, and the tests alone in an environment that is already prepared there.

    python benchmarks/board.py [--pairs N] [--repeat N] [--limit RATIO]

The board is one of the tests' own (`tests/boards.py`), of this host's architecture. The lower bound is
``ssh board python3 -m pytest`` on rpds-py's own tests. It alternates with ``pytest --wheel --wheel-host`` on the same wheel and
tests, from the start to the report, with full caches here and there. Prints the medians of both and of the ratios, once for the
tests as they are, which shows the fixed cost, and once with each test repeated, which shows the cost of each test. Exits with 1
if the ratio of the repeated tests is above the limit.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from boards import Board, Boards, Kind, native

PROJECT = "rpds-py"

#: Repeats every test.
CONFTEST = "import pytest\n\n@pytest.fixture(autouse=True, params=range({count}))\ndef repeated(request):\n    pass\n"


def run(argv: list[str | Path], **more: object) -> subprocess.CompletedProcess[str]:
    """Run a program; its failure ends the benchmark."""
    completed = subprocess.run(argv, check=False, capture_output=True, text=True, **more)  # type: ignore[call-overload]
    if completed.returncode:
        sys.exit(completed.stdout + completed.stderr)
    return completed  # type: ignore[no-any-return]


def measure(argv: list[str | Path], cwd: Path, env: dict[str, str]) -> float:
    """Run tests once, and return the seconds."""
    start = time.perf_counter()
    completed = run(argv, cwd=cwd, env=env)
    if " passed" not in completed.stdout:
        sys.exit(completed.stdout)
    return time.perf_counter() - start


def make_project(board: Board, directory: Path) -> Path:
    """Download the wheel and its tests, and prepare the environment on the board; return the directory of the project."""
    version = board.ssh("python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'").stdout.strip()
    pip: list[str | Path] = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d"]
    run([*pip, directory / "dist", "--only-binary=:all:", "--python-version", version, PROJECT])
    (wheel,) = (directory / "dist").glob("*.whl")
    number = wheel.name.split("-")[1]
    run([*pip, directory / "sdist", "--no-binary=:all:", "--no-build-isolation", f"{PROJECT}=={number}"])
    (sdist,) = (directory / "sdist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(directory / "source", filter="data")
    (tests,) = (directory / "source").glob("*/tests")
    project = directory / "project"
    shutil.copytree(tests, project / "tests")
    (project / "pytest.ini").write_text(f"[pytest]\nwheel_hosts =\n  bench = {board.url}\n", encoding="utf-8")
    plain = board.home / "plain"
    uv: list[str | Path] = ["uv", "pip", "install", "-q", "--python-version", version, "--target", plain / "site"]
    run([*uv, "pytest", wheel])
    shutil.copytree(project / "tests", plain / "tests")
    return project


def compare(board: Board, project: Path, pairs: int) -> tuple[list[float], list[float]]:
    """Return the seconds of all runs: alone, and whole."""
    env = {key: value for key, value in board.environment.items() if not key.startswith(("PYTEST", "PYTHON"))}
    remote = "cd plain && PYTHONPATH=site exec python3 -m pytest -q -p no:cacheprovider tests"
    programs: dict[str, list[str | Path]] = {
        "alone": [*board.ssh_argv(), "--", remote],
        "whole": [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--wheel-select=WHL101"),
            # The target of this host is left out.
            *(
                f"--wheel={project.parent / 'dist'}",
                "--wheel-host=bench",
                "--wheel-python=3.11",
                "-k",
                "bench",
                "tests",
            ),
        ],
    }
    samples: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(pairs + 1):
        for name in programs if number % 2 else reversed(programs):
            seconds = measure(programs[name], project, env)
            if number:  # the first pair fills the caches
                samples[name].append(seconds)
    return samples["alone"], samples["whole"]


def report(title: str, alone: list[float], whole: list[float]) -> float:
    """Print the medians, and return that of the ratios."""
    ratio = statistics.median(second / first for first, second in zip(alone, whole, strict=True))
    added = statistics.median(second - first for first, second in zip(alone, whole, strict=True))
    load = Path("/proc/loadavg").read_text(encoding="ascii").split()[0]
    print(
        f"{title}: alone {statistics.median(alone):.1f} s, whole {statistics.median(whole):.1f} s, "
        f"{added:+.1f} s, ratio {ratio:.2f} (medians of {len(alone)}; load {load})",
        flush=True,
    )
    return ratio


def main() -> int:
    """Print the figures, and compare the ratio with the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=200)
    parser.add_argument(
        "--limit", type=float, metavar="RATIO", help="of the whole run to the tests alone, each repeated"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="board-benchmark-") as name:
        directory = Path(name)
        boards = Boards(directory / "boards")
        try:
            board = boards(Kind(architecture=native()), name="bench")
            project = make_project(board, directory)
            report(f"{PROJECT}'s own tests", *compare(board, project, args.pairs))
            for tests in (project / "tests", board.home / "plain" / "tests"):
                (tests / "conftest.py").write_text(CONFTEST.format(count=args.repeat), encoding="utf-8")
            ratio = report(f"each {args.repeat} times", *compare(board, project, args.pairs))
        finally:
            boards.close()
    if args.limit is None:
        return 0
    print(f"limit {args.limit:g}, {args.pairs} pairs")
    return int(ratio > args.limit)


if __name__ == "__main__":
    sys.exit(main())
