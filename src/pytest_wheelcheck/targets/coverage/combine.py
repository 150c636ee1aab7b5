"""Combines the coverage data of all targets and makes the reports, with an interpreter of the host that has coverage.

The host's own environment need not have it. The test tools of each target have, and its interpreter for bytecode can import
them: coverage runs without its native parts. So the plugins of coverage that the configuration names are there as well.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_wheelcheck.errors import InstallError, ProcessError
from pytest_wheelcheck.settings import Coverage, Settings
from pytest_wheelcheck.system import process, uv
from pytest_wheelcheck.targets.coverage.data import TargetData
from pytest_wheelcheck.targets.coverage.sources import find_sources
from pytest_wheelcheck.targets.preparing.install import install_settings
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.worker import coverage_report

#: Seconds that the reports may take.
_TIMEOUT = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The result of a combination.

    :param text: what the terminal shows.
    :param notes: what the user should know about the data, one line each.
    :param failure: why the run fails: too little coverage; or empty.
    :param error: why the data could not be combined, or not be reported; or empty.
    """

    text: str = ""
    notes: tuple[str, ...] = ()
    failure: str = ""
    error: str = ""


def combine(
    found: Sequence[TargetData], targets: Sequence[Target], settings: Settings, run: Path, *, report: bool
) -> Result:
    """Combine the data of targets, write the data file of the project, and make the reports.

    :param run: the directory of the run.
    :param report: make reports.
    """
    coverage = settings.coverage or Coverage()
    with tempfile.TemporaryDirectory(dir=run, prefix="coverage-") as scratch:
        task, result = Path(scratch, "task"), Path(scratch, "result")
        try:
            python, tools = _interpreter(found, targets, settings, Path(scratch))
            values = {**_places(found, targets, settings), **_options(coverage), "run": str(run), "tools": tools}
            values["roots"] = list(
                {str(path) for root in (settings.root, settings.cwd) for path in (root, root.resolve())}
            )
            task.write_text(json.dumps({**values, "report": report}), encoding="utf-8")
            argv: list[str | Path] = [python, "-I", "-S", "-B", coverage_report.__file__, task, result]
            process.run(argv, cwd=settings.cwd, timeout=_TIMEOUT)
            answer: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        except (InstallError, ProcessError) as error:
            return Result(error=str(error))
    return Result(text=answer["text"], notes=tuple(answer["notes"]), failure=answer["failure"], error=answer["error"])


def _options(coverage: Coverage) -> dict[str, Any]:
    return {
        "sources": list(coverage.sources),
        "config": coverage.config,
        "append": coverage.append,
        "reports": [list(pair) for pair in coverage.reports],
        "fail_under": coverage.fail_under,
        "precision": coverage.precision,
    }


def _places(found: Sequence[TargetData], targets: Sequence[Target], settings: Settings) -> dict[str, Any]:
    """Return the data files, and where the sources of installed files are."""
    sites = []
    installed: dict[str, list[str]] = {}
    for data in found:
        wheel = targets[data.number].wheel
        sources = find_sources(wheel, settings)
        bases = {top: str(sources[top]) if top in sources else "" for top in wheel.top_levels}
        sites += [[site, bases] for site in data.sites]
        for top, base in bases.items():
            if not base:
                # Nothing of this project: the files of the first target stand for those of all.
                installed.setdefault(top, list(data.sites))
    return {"files": [file for data in found for file in data.files], "sites": sites, "installed": installed}


def _interpreter(
    found: Sequence[TargetData], targets: Sequence[Target], settings: Settings, scratch: Path
) -> tuple[Path, list[str]]:
    """Return an interpreter of this host, the newest one, and the directories in which it finds coverage.

    :param scratch: receives coverage if no target's interpreter has a relative here.
    :raises InstallError: coverage is not available.
    """
    candidates = []
    for data in found:
        runtime = targets[data.number].runtime
        compiler = runtime.backend.bytecode_compiler(runtime)
        tools = [path for path in data.tools if Path(path, "coverage", "__init__.py").is_file()]
        if compiler is not None and tools:
            candidates.append((runtime.installation.version, compiler, data.tools))
    if candidates:
        _, python, tools_of_newest = max(candidates, key=lambda candidate: candidate[0])
        return python, list(tools_of_newest)
    directory = scratch / "tools"
    completed = uv.run(
        ["install", "--python", sys.executable, "--target", directory, "coverage[toml]"], install_settings(settings)
    )
    if completed.returncode != 0:
        raise InstallError("coverage cannot be installed for the host", details=completed.stderr.strip())
    return Path(sys.executable), [str(directory)]
