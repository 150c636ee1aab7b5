"""What a whole run on an emulated target costs beyond its floor.

    python benchmarks/emulated.py [PAIRS]

The floor is the target's own pytest, started by hand in an environment that is ready: the launcher with ``-m pytest`` on
100 tiny tests, nearly all of which is importing pytest under the emulator. Beside it, in turns: ``pytest --wheel`` on the
same wheel and tests, from nothing to the table, with everything in the caches. Prints the medians of both and of the
differences of the pairs, by the clock and in processor time, which other programs disturb less, and the same for the
native wheel.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from preparation import WHEELS, fetch, processor

from pytest_wheelcheck.interpreters.registry import providers
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets import pipeline, plan
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.wheels.reader import open_wheel

TESTS = "import pytest\n\n@pytest.mark.parametrize('number', range(100))\ndef test_small(number):\n    import rpds\n"

BARE = "import sys; sys.path += sys.argv[1].split(':'); del sys.argv[1]; import pytest; sys.exit(pytest.main())"


def seconds(words: list[str | Path], cwd: Path, env: dict[str, str]) -> tuple[float, float]:
    """Run once; return the seconds of the clock and of the processor."""
    spent, start = processor(), time.perf_counter()
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - start, processor() - spent
    if done.returncode or "passed" not in done.stdout:
        sys.exit(done.stdout + done.stderr)
    return taken


def ready(target: Target, settings: Settings, folder: Path) -> list[str | Path]:
    """Make an environment; give the words that start its pytest."""
    folder.mkdir()
    prepared = pipeline.prepare(target, settings, folder)
    return [prepared.python, "-c", BARE, ":".join(prepared.overlays), "-q", "-p", "no:cacheprovider", "tests"]


def main() -> int:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory(prefix="emulated-") as name:
        folder = Path(name)
        project = folder / "project"
        (project / "tests").mkdir(parents=True)
        (project / "tests" / "test_small.py").write_text(TESTS, encoding="utf-8")
        (project / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        # Byte-code is kept, in a folder of its own, whatever the caller's environment says.
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON"))}
        env = {**kept, "PYTHONPYCACHEPREFIX": str(folder / "pycache")}
        settings = Settings(cwd=project, root=project, wheels=())
        files = {kind: fetch(folder, *what) for kind, what in WHEELS.items()}
        opened = [open_wheel(path, shown=path.name, store=folder / "store") for path in files.values()]
        found, _ = plan.plan(opened, ["3.11"], providers())
        for number, (kind, target) in enumerate(zip(WHEELS, found, strict=True)):
            bare = ready(target, settings, folder / f"bare{number}")
            words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--wheel-python=3.11"]
            whole = [*words, f"--wheel={files[kind]}", "tests"]
            taken: list[tuple[tuple[float, float], tuple[float, float]]] = []
            for turn in range(pairs + 1):
                if turn % 2:
                    first = seconds(bare, project, env)
                    pair = (first, seconds(whole, project, env))
                else:
                    second = seconds(whole, project, env)
                    pair = (seconds(bare, project, env), second)
                if turn:  # the first fills the caches
                    taken.append(pair)
            for unit, word in enumerate(("clock", "processor")):
                floor, run = (statistics.median(pair[which][unit] for pair in taken) for which in (0, 1))
                cost = [pair[1][unit] - pair[0][unit] for pair in taken]
                shown = f"floor {floor:6.3f} s   whole run {run:6.3f} s   beyond {statistics.median(cost):6.3f} s"
                print(f"{kind:8} {word:9} {shown}   least {min(cost):6.3f} s")
    print(f"{pairs} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
