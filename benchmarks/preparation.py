"""What preparing an aarch64 target costs beyond preparing the native one of the same wheel.

    python benchmarks/preparation.py [PAIRS] [--profile]

Prepares both in turns, with everything in the caches, from nothing to the worker's first word: environment, wheel, import
check, test tools, worker; what follows is the target's own pytest, which is the floor. Prints the medians of each step and
of the differences of the pairs, by the clock and in processor time, which other programs disturb less. Steps overlap.
Ends with 1 where the median difference by the clock is above the limit.

The wheels are those of rpds-py for CPython 3.11, as published: pip fetches them by their digests.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_wheelcheck.interpreters.registry import providers
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets import pipeline, plan
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.wheels.reader import open_wheel

#: Seconds that an emulated target may cost beyond the native one.
LIMIT = 1.5

WHEELS = {
    "native": ("manylinux_2_17_x86_64", "136a1c3fe4402b7008bc81cb62ee538481795b61a7e83df88dff3b3f02b726ff"),
    "aarch64": ("manylinux_2_17_aarch64", "e01b3c878c8641913e688edd1b3f08658c6783d29cf6b826bd3c0d1ae7a1ffaa"),
}

#: What is timed within the whole: function of the pipeline → how it is called here.
STEPS = {
    "create": "environment",
    "install": "wheel",
    "check_imports": "import check",
    "overlay": "test tools",
    "boot": "worker",
}


def fetch(folder: Path, platform: str, digest: str) -> Path:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"rpds-py==2026.9.1 --hash=sha256:{digest}\n", encoding="utf-8")
    words = ["download", "-q", "--no-deps", "--require-hashes", "--only-binary=:all:", "--python-version=3.11"]
    more = ["--abi=cp311", f"--platform={platform}", "-d", str(folder), "-r", str(wanted)]
    subprocess.run([sys.executable, "-m", "pip", *words, *more], check=True, stdin=subprocess.DEVNULL)
    (wheel,) = folder.glob(f"*{platform}*.whl")
    return wheel


class Steps:
    """Seconds of the pipeline's steps: its functions are timed in place."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        for name in ("create", "install", "overlay", "check_imports"):
            setattr(pipeline, name, self.timed(name, getattr(pipeline, name)))

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            start = time.perf_counter()
            found = function(*words, **more)
            if name == "check_imports":  # a generator
                found = list(found)
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
            return found

        return call


def processor() -> float:
    """Seconds of processor time of this process and of those that it waited for."""
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system


def prepare(target: Target, settings: Settings, folder: Path, steps: Steps) -> dict[str, float]:
    """Prepare once, start the worker, wait for its first word; return the seconds of each step."""
    steps.seconds = {}
    folder.mkdir()
    spent, start = processor(), time.perf_counter()
    prepared = pipeline.prepare(target, settings, folder)
    bad = [record for record in prepared.records if record.outcome.value not in {"passed", "skipped"}]
    if bad:
        sys.exit(f"not prepared: {bad}")
    running = pipeline.TargetRun(target, prepared, settings, folder)
    before = time.perf_counter()
    running._boot()  # noqa: SLF001  up to here it is preparation; what follows is the target's pytest
    worker = running._worker  # noqa: SLF001
    assert worker is not None
    message = worker.receive(60)
    assert message is not None
    assert message["type"] == "hello"
    end = time.perf_counter()
    running.close()
    return {**steps.seconds, "boot": end - before, "whole": end - start, "processor": processor() - spent}


def main() -> int:
    words = [word for word in sys.argv[1:] if word != "--profile"]
    pairs = int(words[0]) if words else 15
    with tempfile.TemporaryDirectory(prefix="preparation-") as name:
        folder = Path(name)
        (folder / "project").mkdir()
        settings = Settings(cwd=folder / "project", root=folder / "project", wheels=())
        files = {kind: fetch(folder, *what) for kind, what in WHEELS.items()}
        opened = [open_wheel(path, shown=path.name, store=folder / "store") for path in files.values()]
        found, without = plan.plan(opened, ["3.11"], providers())
        if without:
            sys.exit(f"no target: {without}")
        both = dict(zip(WHEELS, found, strict=True))
        print(*(f"{kind}: {target.runtime.how}" for kind, target in both.items()), sep="\n")
        steps = Steps()
        taken: dict[str, list[dict[str, float]]] = {kind: [] for kind in both}
        for number in range(pairs + 1):
            for kind in both if number % 2 else reversed(both):
                told = prepare(both[kind], settings, folder / f"{kind}{number}", steps)
                if number:  # the first fills the caches
                    taken[kind].append(told)
        if len(words) < len(sys.argv) - 1:
            with cProfile.Profile() as profile:
                prepare(both["aarch64"], settings, folder / "profile", steps)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(40)
    for step in (*STEPS, "processor", "whole"):
        figures = {kind: statistics.median(told.get(step, 0.0) for told in several) for kind, several in taken.items()}
        cost = [a.get(step, 0.0) - n.get(step, 0.0) for n, a in zip(taken["native"], taken["aarch64"], strict=True)]
        shown = "   ".join(f"{kind} {seconds:6.3f} s" for kind, seconds in figures.items())
        print(
            f"{STEPS.get(step, step):14} {shown}   beyond {statistics.median(cost):6.3f} s   least {min(cost):6.3f} s"
        )
    print(f"limit {LIMIT:g} s, {pairs} pairs")
    return int(statistics.median(cost) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
