"""Measure the cost of the plugin in a pytest run that does not use it.

    python benchmarks/idle.py [PAIRS]

Starts pytest in an empty project, in turns with and without the plugin (``-p no:wheelcheck`` prevents its import, as if it
were not installed). Prints the minimum and median time of each, and the differences, in wall-clock time and in CPU time,
which other programs disturb less. The first pair fills the bytecode caches and is not counted. Then lists the modules of
this package that the plugin imports. Exits with 1 if the medians of the CPU time differ by more than the limit.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

assert sys.platform != "win32"  # the resource module is for Unix only

import resource

#: Maximum cost of the plugin in milliseconds.
LIMIT = 15.0

#: A complete start: options, plugins, configuration, a session and its end. ``--version`` alone loads no plugins.
START = ("-m", "pytest", "-p", "no:cacheprovider", "-q", "--collect-only")
STARTS = {"with": START, "without": (*START, "-p", "no:wheelcheck")}


def environment(directory: Path) -> dict[str, str]:
    """Return environment variables with which bytecode is cached in a separate directory."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    return {**inherited, "PYTHONPYCACHEPREFIX": str(directory / "pycache")}


def measure(arguments: tuple[str, ...], directory: Path, env: dict[str, str]) -> tuple[float, float]:
    """Start Python once, and return the seconds of wall-clock time and of CPU time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    completed = subprocess.run(
        [sys.executable, *arguments], cwd=directory, env=env, capture_output=True, text=True, check=False
    )
    clock = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if completed.returncode != 5:
        sys.exit(f"pytest did not start:\n{completed.stdout}{completed.stderr}")
    return clock, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def imported(directory: Path, env: dict[str, str]) -> list[str]:
    """List the modules of this package that a start imports, with their microseconds, from ``-X importtime``."""
    argv = [sys.executable, "-X", "importtime", *START]
    completed = subprocess.run(argv, cwd=directory, env=env, capture_output=True, text=True, check=False)
    return [line.removeprefix("import time:") for line in completed.stderr.splitlines() if "pytest_wheelcheck" in line]


def main() -> int:
    """Print the times, and compare the cost with the limit."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    with tempfile.TemporaryDirectory(prefix="idle-") as name:
        directory = Path(name)
        (directory / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        env = environment(directory)
        times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in STARTS}
        for number in range(pairs + 1):
            kinds = list(STARTS) if number % 2 else list(reversed(STARTS))
            for kind in kinds:
                seconds = measure(STARTS[kind], directory, env)
                if number:
                    times[kind].append(seconds)
        modules = imported(directory, env)
    cost = 0.0
    for index, unit in enumerate(("clock", "CPU")):
        milliseconds = {kind: [1000 * sample[index] for sample in samples] for kind, samples in times.items()}
        figures = {kind: (min(samples), statistics.median(samples)) for kind, samples in milliseconds.items()}
        ours, others = figures["with"], figures["without"]
        figures["cost"] = (ours[0] - others[0], ours[1] - others[1])
        for kind, (minimum, median) in figures.items():
            print(f"{unit:5} {kind:8} min {minimum:7.1f} ms   median {median:7.1f} ms")
        cost = figures["cost"][1]
    print(f"limit {LIMIT:g} ms, {pairs} pairs", "imported (self us | cumulative us | module):", *modules, sep="\n")
    return int(cost > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
