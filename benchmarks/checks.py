"""What all checks of a large Linux wheel cost, measured against auditwheel's analysis of the same file alone.

    python benchmarks/checks.py [--pairs N] [WHEEL…]

Without WHEEL the largest Linux wheel of ``tests/corpus.toml`` is fetched. Both are run in turns, each in a fresh process,
the order changing with every pair; the first pair warms the caches and does not count. For the checks the time runs from
the opening of the wheel to the last verdict, and includes the start of the processes that they use; for auditwheel it is
the call of its analysis, without its import. Ends with 1 where the median of the ratios is above the limit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

#: So many times of auditwheel's analysis may all checks take.
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
assert len(results) > 40 and not any(result.error for result in results), results
print(json.dumps(seconds))
"""
_AUDITWHEEL = """
import sys, json, time, pathlib
from auditwheel.architecture import Architecture
from auditwheel.libc import Libc
from auditwheel.wheel_abi import analyze_wheel_abi
path = pathlib.Path(sys.argv[1])
words = dict(disable_isa_ext_check=False, allow_graft=False, args_ldpaths="")
start = time.perf_counter()
analyze_wheel_abi(Libc.GLIBC, Architecture("x86_64"), path, frozenset(), **words)
print(json.dumps(time.perf_counter() - start))
"""
PROGRAMS = {"checks": _CHECKS, "auditwheel": _AUDITWHEEL}


def seconds(program: str, wheel: Path) -> float:
    words = [sys.executable, "-c", program, str(wheel)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return float(json.loads(done.stdout))


def largest() -> Path:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    import corpus

    from pytest_wheelcheck.system import cache

    folder = cache.root() / "corpus"
    listed = [one for one in corpus.read_list(corpus.LIST) if one.name == "scipy"]
    corpus.fetch(listed, folder)
    return max((folder / one.file for one in listed), key=lambda path: path.stat().st_size)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", nargs="*", type=Path)
    parser.add_argument("--pairs", type=int, default=7)
    given = parser.parse_args()
    slow = 0
    for wheel in given.wheels or [largest()]:
        print(f"{wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB, {given.pairs} pairs")
        times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
        for number in range(given.pairs + 1):
            for name in list(PROGRAMS) if number % 2 else list(reversed(PROGRAMS)):
                taken = seconds(PROGRAMS[name], wheel)
                if number:
                    times[name].append(taken)
        for name, several in times.items():
            print(f"  {name:10} min {min(several):6.2f} s   median {statistics.median(several):6.2f} s")
        ratios = sorted(ours / theirs for ours, theirs in zip(*times.values(), strict=True))
        print(
            f"  ratio      min {ratios[0]:6.2f}     median {statistics.median(ratios):6.2f}     max {ratios[-1]:6.2f}"
        )
        slow += statistics.median(ratios) > LIMIT
    print(f"limit {LIMIT}")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
