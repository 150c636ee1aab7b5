"""What the plugin costs a pytest that has nothing to do with wheels.

    python benchmarks/idle.py [PAIRS]

Starts pytest in an empty project, in turns with the plugin and without it (``-p no:wheelcheck`` keeps pytest from
importing it, as if it were not installed), and prints the shortest and the median time of each and the differences, by
the clock and in CPU time, which other programs disturb less. The first pair fills the byte-code caches and does not
count. Then it lists the modules of ours that the plugin's own imports. Ends with 1 where the medians of CPU time differ
by more than the limit.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: Milliseconds that the plugin may cost.
LIMIT = 15.0

#: A whole start: options, plugins, configuration, a session and its end. ``--version`` alone loads no plugins.
START = ("-m", "pytest", "-p", "no:cacheprovider", "-q", "--collect-only")
STARTS = {"with": START, "without": (*START, "-p", "no:wheelcheck")}


def environment(folder: Path) -> dict[str, str]:
    """Byte-code is kept, in a folder of its own, whatever the caller's environment says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "pycache")}


def seconds(words: tuple[str, ...], folder: Path, env: dict[str, str]) -> tuple[float, float]:
    """Start once; return the seconds of the clock and of the CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
    clock = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 5:
        sys.exit(f"pytest did not start:\n{done.stdout}{done.stderr}")
    return clock, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def imported(folder: Path, env: dict[str, str]) -> list[str]:
    """Our modules that a start imports, with the microseconds of each, from ``-X importtime``."""
    words = ["-X", "importtime", *START]
    done = subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
    return [line.removeprefix("import time:") for line in done.stderr.splitlines() if "pytest_wheelcheck" in line]


def main() -> int:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    with tempfile.TemporaryDirectory(prefix="idle-") as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        env = environment(folder)
        times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in STARTS}
        for number in range(pairs + 1):
            kinds = list(STARTS) if number % 2 else list(reversed(STARTS))
            for kind in kinds:
                taken = seconds(STARTS[kind], folder, env)
                if number:
                    times[kind].append(taken)
        modules = imported(folder, env)
    cost = 0.0
    for index, unit in enumerate(("clock", "CPU")):
        found = {kind: [1000 * taken[index] for taken in several] for kind, several in times.items()}
        figures = {kind: (min(several), statistics.median(several)) for kind, several in found.items()}
        ours, others = figures["with"], figures["without"]
        figures["cost"] = (ours[0] - others[0], ours[1] - others[1])
        for kind, (least, typical) in figures.items():
            print(f"{unit:5} {kind:8} min {least:7.1f} ms   median {typical:7.1f} ms")
        cost = figures["cost"][1]
    print(f"limit {LIMIT:g} ms, {pairs} pairs", "imported (self us | cumulative us | module):", *modules, sep="\n")
    return int(cost > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
