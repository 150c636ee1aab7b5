"""Measure whole runs with wheels, and what users would run instead; and how time and memory grow.

    python benchmarks/whole_runs.py [--only WORD]... [--pairs N] [--json FILE] [--page FILE] [--plots DIRECTORY]

The sides of a case alternate, and the order changes with every pair. The first pair fills the caches and is not counted. Prints
the medians of both sides and of the ratios of the pairs, their spread, and the goal. A ratio that is more than a fifth above its
goal fails the run. A release of 60 wheels is tested in one run and in shards. The growth has no other side: every size is
measured once, and what grows faster than linearly between the last two sizes fails the run.

A case whose ratio is above its goal is run once more, for a picture of its steps; all are with ``--waterfalls``. With ``--page``
and ``--plots``, the tables of docs/performance.md and its pictures are written from the same results, and with ``--from FILE``
from those of an earlier run. The wheels are published ones, downloaded by digest, and wheels made here.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

assert sys.platform != "win32"  # load, and processes under Wine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # builders

import growth
import page
import plots
import release
import waterfall_plots
import waterfalls
from cases import CASES
from materials import Materials
from measuring import MeasurementError, Usage
from sides import Case

from pytest_wheelcheck.backends.qemu import emulators
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES

#: How far a ratio may be above its goal.
TOLERANCE = 1.2

#: The name of the release, next to those of the cases and of the growth.
RELEASE = "release"

#: What ends one measurement, and not the others.
ERRORS = (MeasurementError, WheelcheckError, subprocess.CalledProcessError, OSError)


def environment(chosen: argparse.Namespace) -> dict[str, str]:
    """Return what the figures depend on."""
    versions = ("pytest", "pytest-wheelcheck", "tox", "tox-uv", "uv", "auditwheel")
    runtimes = subprocess.run(
        [Path(sys.executable).with_name("wheelcheck"), "runtime", "list"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    cached = sum("runtimes/" in line for line in runtimes)
    options = shlex.join(Path(word).name if word.startswith("/") else word for word in sys.argv[1:])
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": f"`python benchmarks/whole_runs.py {options}`".replace(" `", "`"),
        "host": f"{platform.system()}, {platform.machine()}, {os.cpu_count()} CPUs",
        "load at the start": f"{os.getloadavg()[0]:.1f}",
        "CPython": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in versions},
        "QEMU": ".".join(map(str, emulators.find(ARCHITECTURES["aarch64"]).version)),
        "cached before": f"{cached} interpreters; then what the first, uncounted pair of a case leaves: test tools, "
        "downloaded and unpacked packages, bytecode",
        "pairs": f"{chosen.pairs}, fewer for long cases",
    }


def compare(name: str, case: Case, pairs: int) -> dict[str, Any]:
    """Measure one case."""
    samples: list[tuple[Usage, Usage]] = []
    number = min(case.pairs, pairs) if case.pairs else pairs
    if case.warm_up:
        case.warm_up()
    for index in range(1 if case.warm_up else 0, number + 1):
        sample = case.pair(index)
        if index:  # the first pair fills the caches
            samples.append(sample)
    pairs_of_seconds = [(ours.seconds, other.seconds) for ours, other in samples]
    ours, other = (statistics.median(side) for side in zip(*pairs_of_seconds, strict=True))
    ratios = sorted(first / second for first, second in pairs_of_seconds)
    ratio = statistics.median(ratios)
    return {
        "name": name,
        "title": case.title,
        "against": case.against,
        "ours": ours,
        "other": other,
        "samples": pairs_of_seconds,
        "processor": [_processor(side) for side in zip(*samples, strict=True)],
        "ratio": ratio,
        "ratios": ratios,
        "goal": case.goal,
        "met": ratio <= case.goal * TOLERANCE,
    }


def _processor(usages: Iterable[Usage]) -> float | None:
    """Return the median of the processor time; ``None`` if it is not known, as of a part of a run."""
    known = [usage.processor for usage in usages if usage.processor is not None]
    return statistics.median(known) if known else None


def measure(chosen: argparse.Namespace, results: dict[str, Any], names: list[str]) -> list[str]:
    """Measure, and add to the results; return what failed."""
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="whole-runs-") as directory:
        for name in names:
            start = time.monotonic()
            materials = Materials(Path(directory) / name, chosen.quick)
            materials.directory.mkdir()
            try:
                met = _measure_one(name, materials, results, chosen)
            except ERRORS as error:
                traceback.print_exc()
                failed.append(f"{name}: could not be measured: {str(error).partition(chr(10))[0]}")
            else:
                failed += [] if met else [f"{name}: see the table"]
            shutil.rmtree(materials.directory, ignore_errors=True)
            print(f"  {name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
            if chosen.json:
                chosen.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return failed


def _measure_one(name: str, materials: Materials, results: dict[str, Any], chosen: argparse.Namespace) -> bool:
    def progress(text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    if name in CASES:
        case = CASES[name](materials)
        result = compare(name, case, chosen.pairs)
        results["cases"].append(result)
        print(page.case_line(result), flush=True)
        if chosen.waterfalls or waterfalls.needed(result):
            result["waterfall"] = waterfalls.measure(case.ours, materials.directory)
        return bool(result["met"])
    if name == RELEASE:
        results["release"] = release.measure(materials, progress)
        print(*release.lines(results["release"]), sep="\n", flush=True)
        return True
    results["growth"].append(growth.grow(name, materials, progress))
    print(*growth.lines(results["growth"][-1:]), sep="\n", flush=True)
    return bool(results["growth"][-1]["met"])


def main() -> int:
    """Measure, print the tables, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="a name, or a part of names")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--quick", action="store_true", help="one pair and small sizes, to see that everything works")
    parser.add_argument(
        "--waterfalls", action="store_true", help="a picture of every case, not only of those above the goal"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument("--from", dest="earlier", type=Path, metavar="FILE", help="measure nothing; read results")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables into docs/performance.md")
    parser.add_argument("--plots", type=Path, metavar="DIRECTORY", help="write growth.svg and the waterfalls")
    chosen = parser.parse_args()
    names = [*CASES, RELEASE, *growth.AXES]
    # A name itself, or a part of several.
    words = {word: {word} & set(names) or {name for name in names if word in name} for word in chosen.only}
    names = [name for name in names if not words or any(name in found for found in words.values())]
    if chosen.list:
        print(*names, sep="\n")
        return 0
    if not names:
        parser.error("no name contains that; see --list")
    if chosen.quick:
        chosen.pairs = 1
    results: dict[str, Any]
    failed: list[str] = []
    if chosen.earlier:
        results = json.loads(chosen.earlier.read_text(encoding="utf-8"))
    else:
        results = {"environment": environment(chosen), "cases": [], "release": {}, "growth": []}
        failed = measure(chosen, results, names)
        print("", *page.environment_lines(results["environment"]), sep="\n")
    if chosen.page:
        chosen.page.write_text(page.write(chosen.page.read_text(encoding="utf-8"), results), encoding="utf-8")
    if chosen.plots and results["growth"]:
        (chosen.plots / "growth.svg").write_text(plots.draw(results["growth"]), encoding="utf-8")
    if chosen.plots and results["cases"]:
        waterfall_plots.write(chosen.plots, results["cases"])
    print("\n".join(failed) or f"every goal is met, or missed by at most {TOLERANCE - 1:.0%}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
