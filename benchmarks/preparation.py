"""Measure the preparation of an aarch64 target and of the native target of the same project.

    python benchmarks/preparation.py [PAIRS] [--profile]

Prepares both in turns, with full caches, up to the worker's first message: environment, wheel, import check, test tools,
worker. What follows is the target's own pytest. Prints the medians of each step, and of the differences of the pairs, in
wall-clock time and in CPU time, which other programs disturb less. Steps overlap. Exits with 1 if the median difference in
wall-clock time is above the limit.

The wheels are the published ones of rpds-py for CPython 3.11. pip downloads them by digest.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_wheelcheck.backends.catalog import make_catalog
from pytest_wheelcheck.interpreters.published import pinned
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.planning.plan import plan
from pytest_wheelcheck.targets.preparing import prepare
from pytest_wheelcheck.targets.running.run import TargetRun
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.wheels.reader import open_wheel

#: Maximum seconds that an emulated target may cost more than the native one.
LIMIT = 1.5

WHEELS = {
    "native": ("manylinux_2_17_x86_64", "136a1c3fe4402b7008bc81cb62ee538481795b61a7e83df88dff3b3f02b726ff"),
    "aarch64": ("manylinux_2_17_aarch64", "e01b3c878c8641913e688edd1b3f08658c6783d29cf6b826bd3c0d1ae7a1ffaa"),
}

#: The measured functions, and their names in the output.
STEPS = {
    "create_environment": "environment",
    "install_wheel": "wheel",
    "check_imports": "import check",
    "make_overlay": "test tools",
    "boot": "worker",
}


def download(directory: Path, platform: str, digest: str) -> Path:
    """Download the wheel for a platform tag into a new subdirectory, and verify its sha256."""
    wheel = pinned.PinnedWheel(
        distribution="rpds-py", version="2026.9.1", python="3.11", abi="cp311", platform=platform, sha256=digest
    )
    return pinned.download(wheel, pinned.PackageIndex(), directory / platform)


def plan_targets(directory: Path) -> tuple[dict[str, Path], dict[str, Target]]:
    """Download the wheels, and return their paths and their targets on CPython 3.11."""
    files = {kind: download(directory, *source) for kind, source in WHEELS.items()}
    wheels = [open_wheel(path, shown=path.name, store=directory / "store") for path in files.values()]
    targets, without = plan(wheels, ["3.11"], make_catalog())
    if without:
        sys.exit(f"no target: {without}")
    return files, dict(zip(WHEELS, targets, strict=True))


def cpu_seconds() -> float:
    """Return the CPU time of this process and of the child processes that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Stopwatch:
    """Measures the seconds of functions that it replaces."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def replace(self, owner: Any, name: str) -> None:
        """Replace the function *name* of a module or class by one that is measured."""
        function: Callable[..., Any] = getattr(owner, name)

        def measured(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            if name == "check_imports":  # a generator
                result = list(result)
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
            return result

        setattr(owner, name, measured)


class StartedRun(TargetRun):
    """A run that stops after the first message of its worker."""

    def start(self) -> None:
        """Start the worker, and wait for its first message."""
        self._start_worker()
        assert self._worker is not None
        message = self._worker.receive(60)
        assert message is not None
        assert message["type"] == "hello"


def measure(target: Target, settings: Settings, directory: Path, stopwatch: Stopwatch) -> dict[str, float]:
    """Prepare a target once, and return the seconds of each step."""
    stopwatch.seconds = {}
    directory.mkdir()
    cpu, start = cpu_seconds(), time.perf_counter()
    session = target.runtime.backend.open_session(target.runtime, target.machine, settings, directory)
    prepared = prepare.prepare(target, settings, directory, session)
    failed = [step for step in prepared.steps if step.outcome.value not in {"passed", "skipped"}]
    if failed:
        sys.exit(f"not prepared: {failed}")
    run = StartedRun(target, prepared, settings, directory, session)
    before = time.perf_counter()
    run.start()
    end = time.perf_counter()
    run.close()
    session.end()
    return {**stopwatch.seconds, "boot": end - before, "whole": end - start, "CPU": cpu_seconds() - cpu}


def main() -> int:
    """Print the figures, and compare the difference with the limit."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--profile"]
    pairs = int(arguments[0]) if arguments else 15
    with tempfile.TemporaryDirectory(prefix="preparation-") as name:
        directory = Path(name)
        project = directory / "project"
        project.mkdir()
        settings = Settings(cwd=project, root=project, wheels=())
        _, targets = plan_targets(directory)
        for kind, target in targets.items():
            print(f"{kind}: {target.runtime.installation.how}")
        stopwatch = Stopwatch()
        for function in ("install_wheel", "check_imports", "make_overlay"):
            stopwatch.replace(prepare, function)
        for backend in {type(target.runtime.backend) for target in targets.values()}:
            stopwatch.replace(backend, "create_environment")
        samples: dict[str, list[dict[str, float]]] = {kind: [] for kind in targets}
        for number in range(pairs + 1):
            for kind in targets if number % 2 else reversed(targets):
                seconds = measure(targets[kind], settings, directory / f"{kind}{number}", stopwatch)
                if number:  # the first pair fills the caches
                    samples[kind].append(seconds)
        if "--profile" in sys.argv:
            with cProfile.Profile() as profile:
                measure(targets["aarch64"], settings, directory / "profile", stopwatch)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(40)
    differences = [0.0]
    for step in (*STEPS, "CPU", "whole"):
        medians = {kind: statistics.median(sample.get(step, 0.0) for sample in samples[kind]) for kind in samples}
        pairs_of_samples = zip(samples["native"], samples["aarch64"], strict=True)
        differences = [aarch64.get(step, 0.0) - native.get(step, 0.0) for native, aarch64 in pairs_of_samples]
        figures = "   ".join(f"{kind} {seconds:6.3f} s" for kind, seconds in medians.items())
        difference = f"difference {statistics.median(differences):6.3f} s   min {min(differences):6.3f} s"
        print(f"{STEPS.get(step, step):14} {figures}   {difference}")
    print(f"limit {LIMIT:g} s, {pairs} pairs")
    return int(statistics.median(differences) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
