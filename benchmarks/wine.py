"""What a warm Windows target costs, beside the bare ``wine64 python.exe -m pytest`` in a prepared environment.

One wheel, a hundred small tests. Both sides run in turn, several pairs; the ratio of the medians is what counts. The bare
side has what nobody has by hand: a prefix of its own that is there already, a server that is not.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from pytest_wheelcheck.backends.wine import paths, runner
from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.windows import published
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets import environment
from pytest_wheelcheck.wheels.reader import open_wheel

TESTS = """
import demo, pytest
@pytest.mark.parametrize('number', range(100))
def test_small(number):
    assert demo.double(number) == 2 * number
"""

METADATA = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: benchmark\nRoot-Is-Purelib: false\nTag: cp313-cp313-"


def build(folder: Path, tag: str) -> Path:
    path = folder / f"demo-1.0-cp313-cp313-{tag}.whl"
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


def prepare(folder: Path, wheel: Path, tag: str) -> tuple[list[str], dict[str, str]]:
    """Make an environment with the wheel and pytest by hand; give the bare command and its variables."""
    provider = published.WineProvider(HostProvider())
    request = Request(platform=published.PLATFORMS[tag])
    (offer,) = (offer for offer in provider.offers(request).offers if offer.version[:2] == (3, 13))
    runtime = provider.get(offer)
    made = environment.create(runtime, folder / "env")
    settings = InstallSettings(offline=False, find_links=(), index=None, extra_index=())
    opened = open_wheel(wheel, shown=wheel.name, store=folder)
    environment.install(made, opened, extras=(), settings=settings)
    tools = [f"{name}=={importlib.metadata.version(name)}" for name in ("pytest", "pytest-timeout")]
    environment._install_into(made, tools, settings)  # noqa: SLF001  as the overlay is made
    with open(runtime.launch[0][-2], encoding="utf-8") as file:  # noqa: PTH123
        about = json.load(file)
    prefix = folder / "prefix"
    prefix.mkdir()
    runner.copy_prefix(about["prefix"], str(prefix), "", paths.whole().words())
    program = made.scripts / "python.exe"
    env = runner.variables(about, str(prefix), str(program))
    return [about["wine"], paths.whole().to_windows(program), "-m", "pytest", "-q", "tests"], env


def timed(argv: list[str], env: dict[str, str], cwd: Path) -> tuple[float, float]:
    """Run once; return the seconds of the clock and, with all that Wine starts beside, of the CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    with tempfile.TemporaryFile() as log:
        done = subprocess.run(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
        seconds = time.monotonic() - start
        log.seek(0)
        said = log.read().decode("utf-8", "replace")
    if done.returncode or " passed" not in said:
        sys.exit(said)
    # Wine's server and services stay for some seconds; the next one is to begin anew.
    with contextlib.suppress(ChildProcessError):
        while os.wait():
            pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--tag", choices=published.PLATFORMS, default="win_amd64")
    given = parser.parse_args()
    pairs = given.pairs
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        wheel = build(folder, given.tag)
        (folder / "tests").mkdir()
        (folder / "tests/test_small.py").write_text(TESTS, encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n", encoding="utf-8")
        bare, variables = prepare(folder, wheel, given.tag)
        ours = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--wheel",
            str(wheel),
            "--wheel-select=WHL101",
            "--wheel-python=3.13",
        ]
        runner.become_subreaper()
        times: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": []}
        for number in range(pairs + 1):
            for kind in ("bare", "ours") if number % 2 else ("ours", "bare"):
                words = (bare, variables) if kind == "bare" else ([*ours, "tests"], dict(os.environ))
                taken = timed(*words, folder)
                if number:  # the first fills caches
                    times[kind].append(taken)
            if number:
                print("  ".join(f"{kind} {clock[-1][0]:.2f} s" for kind, clock in times.items()), flush=True)
        for index, unit in enumerate(("clock", "CPU")):
            figures = {kind: [taken[index] for taken in several] for kind, several in times.items()}
            ratio = statistics.median(ours / bare for bare, ours in zip(*figures.values(), strict=True))
            medians = "  ".join(f"{kind} {statistics.median(several):.2f} s" for kind, several in figures.items())
            least = "  ".join(f"{kind} {min(several):.2f} s" for kind, several in figures.items())
            print(f"{unit:5} median {medians}; least {least}; median ratio of the pairs {ratio:.2f}")
        shutil.rmtree(folder / "prefix", ignore_errors=True)


if __name__ == "__main__":
    main()
