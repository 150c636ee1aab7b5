"""Measure a whole run on an emulated target, and the target's own pytest alone.

    python benchmarks/emulated.py [PAIRS]

The lower bound is the target's own pytest in a prepared environment: the launcher with pytest on 100 tiny tests. Most of
its time is the import of pytest under the emulator. It alternates with ``pytest --wheel`` on the same wheel and tests, from
the start to the report, with full caches. Prints the medians of both and of the differences of the pairs, in wall-clock
time and in CPU time, which other programs disturb less, and the same for the native wheel.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from preparation import cpu_seconds, plan_targets

from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.preparing import prepare
from pytest_wheelcheck.targets.target import Target

TESTS = "import pytest\n\n@pytest.mark.parametrize('number', range(100))\ndef test_small(number):\n    import rpds\n"

#: Starts pytest with the directories of the test tools in its first argument.
BARE = "import sys; sys.path += sys.argv[1].split(':'); del sys.argv[1]; import pytest; sys.exit(pytest.main())"


def measure(argv: list[str | Path], cwd: Path, env: dict[str, str]) -> tuple[float, float]:
    """Run a program once, and return the seconds of wall-clock time and of CPU time."""
    cpu, start = cpu_seconds(), time.perf_counter()
    completed = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start, cpu_seconds() - cpu
    if completed.returncode or "passed" not in completed.stdout:
        sys.exit(completed.stdout + completed.stderr)
    return seconds


def prepare_bare(target: Target, settings: Settings, directory: Path) -> list[str | Path]:
    """Prepare a target, and return the argv of its own pytest."""
    directory.mkdir()
    session = target.runtime.backend.open_session(target.runtime, target.machine, settings, directory)
    prepared = prepare.prepare(target, settings, directory, session)
    session.end()
    if prepared.environment is None:
        sys.exit(f"not prepared: {prepared.steps}")
    overlays = ":".join(map(str, prepared.overlays))
    return [prepared.environment.python, "-c", BARE, overlays, "-q", "-p", "no:cacheprovider", "tests"]


def main() -> int:
    """Print the figures."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory(prefix="emulated-") as name:
        directory = Path(name)
        project = directory / "project"
        (project / "tests").mkdir(parents=True)
        (project / "tests" / "test_small.py").write_text(TESTS, encoding="utf-8")
        (project / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        # Bytecode is cached in a separate directory, whatever the environment of the caller says.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON"))}
        env = {**inherited, "PYTHONPYCACHEPREFIX": str(directory / "pycache")}
        settings = Settings(cwd=project, root=project, wheels=())
        files, targets = plan_targets(directory)
        for kind, target in targets.items():
            bare = prepare_bare(target, settings, directory / f"bare-{kind}")
            options = ["-q", "-p", "no:cacheprovider", "--wheel-python=3.11", f"--wheel={files[kind]}"]
            whole: list[str | Path] = [sys.executable, "-m", "pytest", *options, "tests"]
            samples: list[dict[str, tuple[float, float]]] = []
            for number in range(pairs + 1):
                programs = {"bare": bare, "whole": whole}
                order = programs if number % 2 else reversed(programs)
                sample = {program: measure(programs[program], project, env) for program in order}
                if number:  # the first pair fills the caches
                    samples.append(sample)
            for index, unit in enumerate(("clock", "CPU")):
                bound, run = (statistics.median(sample[key][index] for sample in samples) for key in ("bare", "whole"))
                differences = [sample["whole"][index] - sample["bare"][index] for sample in samples]
                difference = f"difference {statistics.median(differences):6.3f} s   min {min(differences):6.3f} s"
                print(f"{kind:8} {unit:6} lower bound {bound:6.3f} s   whole run {run:6.3f} s   {difference}")
    print(f"{pairs} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
