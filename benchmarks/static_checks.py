"""Measure all checks of a large Linux wheel, and auditwheel's analysis of the same file alone.

    python benchmarks/static_checks.py [--pairs N] [WHEEL...]

Without WHEEL, the largest scipy wheel of ``tests/corpus.toml`` is downloaded. Both programs run in turns, each in a new
process; the order changes with every pair. The first pair fills the caches and is not counted. For the checks, the time is
measured from opening the wheel to the last result, including the start of their child processes. For auditwheel, it is the
call of its analysis, without its import. Exits with 1 if the median of the ratios is above the limit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

#: Maximum time of all checks, as a multiple of auditwheel's analysis.
LIMIT = 2.5

_CHECKS = """
import sys, json, time, tempfile, pathlib
from pytest_wheelcheck.checks import run_checks
from pytest_wheelcheck.wheels.reader import open_wheel
path = pathlib.Path(sys.argv[1])
with tempfile.TemporaryDirectory() as store:
    start = time.perf_counter()
    results = run_checks(open_wheel(path, shown=path.name, store=pathlib.Path(store)))
    seconds = time.perf_counter() - start
errors = [f"{result.check.code}: {result.error}" for result in results if result.error]
assert len(results) > 40 and not errors, errors
print(json.dumps(seconds))
"""
_AUDITWHEEL = """
import sys, json, time, pathlib
from auditwheel.architecture import Architecture
from auditwheel.libc import Libc
from auditwheel.wheel_abi import analyze_wheel_abi
path = pathlib.Path(sys.argv[1])
options = dict(disable_isa_ext_check=False, allow_graft=False, args_ldpaths="")
start = time.perf_counter()
analyze_wheel_abi(Libc.GLIBC, Architecture("x86_64"), path, frozenset(), **options)
print(json.dumps(time.perf_counter() - start))
"""
PROGRAMS = {"checks": _CHECKS, "auditwheel": _AUDITWHEEL}


def measure(program: str, wheel: Path) -> float:
    """Run a program on a wheel, and return the seconds that it printed."""
    argv = [sys.executable, "-c", program, str(wheel)]
    completed = subprocess.run(argv, capture_output=True, text=True, check=False)
    if completed.returncode:
        sys.exit(completed.stderr)
    return float(json.loads(completed.stdout))


def download_largest() -> Path:
    """Download the wheels of scipy, and return the largest."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    import corpus

    from pytest_wheelcheck.system import cache

    directory = cache.root() / "corpus"
    entries = [entry for entry in corpus.read_list(corpus.LIST) if entry.name == "scipy"]
    corpus.fetch(entries, directory)
    return max((directory / entry.file for entry in entries), key=lambda path: path.stat().st_size)


def main() -> int:
    """Print the times of each wheel, and compare the ratio with the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", nargs="*", type=Path)
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    slow = False
    for wheel in options.wheels or [download_largest()]:
        print(f"{wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB, {options.pairs} pairs")
        times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
        for number in range(options.pairs + 1):
            for name in list(PROGRAMS) if number % 2 else list(reversed(PROGRAMS)):
                seconds = measure(PROGRAMS[name], wheel)
                if number:
                    times[name].append(seconds)
        for name, samples in times.items():
            print(f"  {name:10} min {min(samples):6.2f} s   median {statistics.median(samples):6.2f} s")
        ratios = sorted(ours / theirs for ours, theirs in zip(*times.values(), strict=True))
        print(
            f"  ratio      min {ratios[0]:6.2f}     median {statistics.median(ratios):6.2f}     max {ratios[-1]:6.2f}"
        )
        slow = slow or statistics.median(ratios) > LIMIT
    print(f"limit {LIMIT}")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
