"""Measure a warm Windows target, and a bare ``wine64 python.exe -m pytest`` in a prepared environment.

    python benchmarks/wine.py [--pairs N] [--tag win_amd64|win32]

One wheel and 100 small tests. Both sides run in turns, several pairs; the ratio of the pairs counts. The bare side has its
own prefix, which exists before the measurement; its Wine server does not.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from pytest_wheelcheck.backends.catalog import make_catalog
from pytest_wheelcheck.backends.wine import paths, runner
from pytest_wheelcheck.backends.wine.launch import WineLaunch
from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.interpreters.windows.platforms import PLATFORMS
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.preparing.install import install_wheel
from pytest_wheelcheck.wheels.reader import open_wheel

assert sys.platform != "win32"  # the resource module is for Unix only

import resource

TESTS = """
import demo, pytest
@pytest.mark.parametrize('number', range(100))
def test_small(number):
    assert demo.double(number) == 2 * number
"""

METADATA = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: benchmark\nRoot-Is-Purelib: false\nTag: cp313-cp313-"


def build(directory: Path, tag: str) -> Path:
    """Build a wheel with one Python module for a platform tag."""
    path = directory / f"demo-1.0-cp313-cp313-{tag}.whl"
    files = {
        "demo/__init__.py": "def double(number):\n    return 2 * number\n",
        "demo-1.0.dist-info/METADATA": METADATA,
        "demo-1.0.dist-info/WHEEL": f"{WHEEL}{tag}\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr("demo-1.0.dist-info/RECORD", "".join(f"{name},,\n" for name in files))
    return path


def prepare_bare(directory: Path, wheel: Path, tag: str) -> tuple[list[str], dict[str, str]]:
    """Make an environment with the wheel and pytest, and return the bare argv and its environment variables."""
    catalog = make_catalog()
    offers, _ = catalog.ask(Request(platform=PLATFORMS[tag]))
    runtime = catalog.get(next(offer for offer in offers if offer.version[:2] == (3, 13)))
    environment = runtime.backend.create_environment(runtime, directory / "env")
    settings = InstallSettings(offline=False, find_links=(), index=None, extra_index=())
    opened = open_wheel(wheel, shown=wheel.name, store=directory)
    install_wheel(runtime, environment, opened, extras=(), settings=settings)
    tools = [f"{name}=={importlib.metadata.version(name)}" for name in ("pytest", "pytest-timeout")]
    installed = runtime.backend.install(runtime, environment, tools, settings)
    if installed.completed.returncode:
        sys.exit(installed.completed.stderr)
    assert isinstance(runtime.launch, WineLaunch)
    wine = json.loads(runtime.launch.description.read_text(encoding="utf-8"))
    prefix = directory / "prefix"
    prefix.mkdir()
    runner.copy_prefix(wine["prefix"], str(prefix), "", paths.all_drives().arguments())
    program = environment.scripts / "python.exe"
    variables = runner.variables(wine, str(prefix), str(program))
    return [wine["wine"], paths.all_drives().to_target(program), "-m", "pytest", "-q", "tests"], variables


def measure(argv: list[str], env: dict[str, str], cwd: Path) -> tuple[float, float]:
    """Run a program once, and return the seconds of wall-clock time and of CPU time, including Wine's services."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    with tempfile.TemporaryFile() as log:
        completed = subprocess.run(
            argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
        )
        seconds = time.monotonic() - start
        log.seek(0)
        output = log.read().decode("utf-8", "replace")
    if completed.returncode or " passed" not in output:
        sys.exit(output)
    # Wine's server and services run on for some seconds; the next sample must start its own.
    with contextlib.suppress(ChildProcessError):
        while os.wait():
            pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--tag", choices=PLATFORMS, default="win_amd64")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        directory = Path(name)
        wheel = build(directory, options.tag)
        (directory / "tests").mkdir()
        (directory / "tests/test_small.py").write_text(TESTS, encoding="utf-8")
        (directory / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n", encoding="utf-8")
        ours = [sys.executable, "-m", "pytest", "-q", "--wheel-select=WHL101", "--wheel-python=3.13"]
        programs = {
            "bare": prepare_bare(directory, wheel, options.tag),
            "ours": ([*ours, f"--wheel={wheel}", "tests"], dict(os.environ)),
        }
        runner.prctl(runner.SUBREAPER, 1)
        times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in programs}
        for number in range(options.pairs + 1):
            for kind in programs if number % 2 else reversed(programs):
                sample = measure(*programs[kind], directory)
                if number:  # the first pair fills the caches
                    times[kind].append(sample)
            if number:
                print("  ".join(f"{kind} {samples[-1][0]:.2f} s" for kind, samples in times.items()), flush=True)
        for index, unit in enumerate(("clock", "CPU")):
            figures = {kind: [sample[index] for sample in samples] for kind, samples in times.items()}
            ratio = statistics.median(ours / bare for bare, ours in zip(*figures.values(), strict=True))
            medians = "  ".join(f"{kind} {statistics.median(samples):.2f} s" for kind, samples in figures.items())
            minimums = "  ".join(f"{kind} {min(samples):.2f} s" for kind, samples in figures.items())
            print(f"{unit:5} median {medians}; min {minimums}; median ratio of the pairs {ratio:.2f}")


if __name__ == "__main__":
    main()
