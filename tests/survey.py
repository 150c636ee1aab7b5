"""Run pytest-wheelcheck on the wheels of the most used projects, and report every red node.

    python tests/survey.py list DOWNLOADS.csv > tests/survey.csv
    python tests/survey.py run [--static] [--years N] [--platforms NAMES] [--again] [NAME...]
    python tests/survey.py report

``list`` makes the list of projects from a table of downloads: those whose newest release has native wheels for CPython 3.12.
``run`` takes the newest release of each, downloads the wheels, runs ``pytest --wheel FILE`` on each in an empty directory, and
writes one JSON file for each project and platform into the state directory. It skips what is there, so it can be
interrupted. With ``--static`` one run checks all wheels of a release. ``report`` groups the red nodes by class, explains
those that ``survey.toml`` explains, prints Markdown, and exits with 1 if a red node is not explained.
No tests of the projects are run. A wheel is deleted when its run has ended.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from survey_index import PLATFORMS, PublishedFile, Release, download, find_release, index_url
from survey_report import EXPLANATIONS, print_report

from pytest_wheelcheck.reporting.report import BAD, NodeResult, WheelReport, from_json
from pytest_wheelcheck.system import cache

LIST = Path(__file__).with_suffix(".csv")
#: Length to which the text of a red node is cut, in characters, at its start and at its end.
EXCERPT = 2000


@dataclass(frozen=True, kw_only=True)
class Case:
    """A wheel of a release, and the file of its result."""

    release: Release
    platform: str
    path: Path

    @property
    def wheel(self) -> PublishedFile:
        """The file in the index."""
        return self.release.wheels[self.platform]

    @property
    def about(self) -> dict[str, Any]:
        """What every result says."""
        return {"project": self.release.project, "version": self.release.version, "platform": self.platform}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a run.

    :param timeout: of one run of pytest, in seconds.
    :param size: of a wheel, in bytes; larger ones are left out.
    """

    timeout: float
    size: float


def read_projects(path: Path = LIST) -> list[str]:
    """Read the names of the projects, the most used first."""
    with path.open(encoding="utf-8", newline="") as stream:
        lines = (line for line in stream if not line.startswith("#"))
        return [row["project"] for row in csv.DictReader(lines)]


def make_list(downloads: Path, index: str, count: int) -> None:
    """Print the list of projects: the most downloaded ones whose newest release has native wheels."""
    found = 0
    with downloads.open(encoding="utf-8", newline="") as stream, ThreadPoolExecutor(4) as pool:
        rows = list(csv.DictReader(stream))
        print("downloads,project")
        for start in range(0, len(rows), 100):
            part = rows[start : start + 100]
            releases = pool.map(lambda row: find_release(index, row["project"]), part)
            for row, release in zip(part, releases, strict=True):
                if release and found < count:
                    found += 1
                    print(f"{row['download_count']},{row['project']}", flush=True)
            if found == count:
                return


def plan_cases(
    projects: Iterable[str],
    platforms: list[str],
    state: Path,
    *,
    index: str,
    years: float,
    again: bool,
    whole: bool,
    limits: Limits,
) -> Iterator[list[Case]]:
    """Yield the wheels of each release whose results are missing.

    :param again: repeat what was red, instead of running what is missing.
    :param whole: run all wheels of such a release: static checks compare a wheel with the others.
    """
    for project in projects:
        results = {platform: state / f"{project}-{platform}.json" for platform in platforms}
        wanted = [
            platform for platform, path in results.items() if (is_red(path) if again else not is_done(path, limits))
        ]
        if not wanted:
            continue
        if whole:
            wanted = platforms
        try:
            release = find_release(index, project, years=years)
        except OSError as error:
            print(f"{project}: {error}", flush=True)
            continue
        cases = []
        for platform in wanted:
            if release and platform in release.wheels:
                cases.append(Case(release=release, platform=platform, path=results[platform]))
            else:
                write(results[platform], {"project": project, "platform": platform, "state": "no wheel"})
        if cases:
            yield cases


def make_jobs(releases: Iterable[list[Case]], *, batch: int) -> Iterator[list[Case]]:
    """Divide the wheels into runs of pytest.

    :param batch: number of releases that one run checks; 0 for one wheel in each run.
    """
    if not batch:
        yield from ([case] for cases in releases for case in cases)
        return
    remaining = iter(releases)
    while chosen := list(itertools.islice(remaining, batch)):
        yield [case for cases in chosen for case in cases]


def is_done(path: Path, limits: Limits) -> bool:
    """Whether a result exists, and the wheel is not only larger than an earlier run allowed."""
    if not path.exists():
        return False
    result = json.loads(path.read_text(encoding="utf-8"))
    return bool(result["state"] != "too large" or result["size"] > limits.size)


def is_red(path: Path) -> bool:
    """Whether a result exists and is not sound."""
    if not path.exists():
        return False
    result = json.loads(path.read_text(encoding="utf-8"))
    return bool(result.get("red")) or "output" in result


def run_jobs(jobs: Iterable[list[Case]], *, arguments: list[str], limits: Limits) -> None:
    """Run one job after the other. The wheels of the next job are downloaded meanwhile."""
    with tempfile.TemporaryDirectory(prefix="survey-") as name, ThreadPoolExecutor(1) as pool:
        before: Future[dict[Case, Path]] | None = None
        for number, job in enumerate(jobs):
            following = pool.submit(fetch, job, Path(name, str(number)), limits)
            if before:
                run_job(before.result(), arguments=arguments, limits=limits)
            before = following
        if before:
            run_job(before.result(), arguments=arguments, limits=limits)


def fetch(job: list[Case], directory: Path, limits: Limits) -> dict[Case, Path]:
    """Download the wheels of a job that are not too large. What failed has no result, so the next run tries it again."""
    files: dict[Case, Path] = {}
    for case in job:
        if case.wheel.size > limits.size:
            if not case.path.exists():  # an earlier run had another limit
                write(case.path, {**case.about, "state": "too large", "size": case.wheel.size})
            continue
        try:
            files[case] = download(case.wheel, directory)
        except (OSError, ValueError) as error:
            print(f"{case.wheel.name}: {error}", flush=True)
    return files


def run_job(files: dict[Case, Path], *, arguments: list[str], limits: Limits) -> None:
    """Run pytest on the wheels of a job, write the results, and delete the wheels."""
    if not files:
        return
    distinct = sorted(set(files.values()))  # one wheel may serve several platforms
    start = time.monotonic()
    state, text, output = run_pytest(distinct, arguments=arguments, timeout=limits.timeout)
    seconds = round(time.monotonic() - start, 1)
    wheels = {wheel.filename: wheel for wheel in from_json(text, source="report").wheels} if text else {}
    for case, path in files.items():
        result = {**case.about, "state": state, "file": path.name, "sha256": case.wheel.sha256}
        result |= {"uploaded": case.wheel.uploaded.date().isoformat(), "seconds": seconds}
        if path.name in wheels:
            result |= summarize(wheels[path.name])
        if state != "tested" or path.name not in wheels:
            result["output"] = output[-EXCERPT:]
        write(case.path, result)
    names = ", ".join(dict.fromkeys(f"{case.release.project} {case.release.version}" for case in files))
    print(f"{seconds:6.1f} s  {names}  {state}  {last_line(output)}", flush=True)
    for path in distinct:
        path.unlink()


def run_pytest(wheels: list[Path], *, arguments: list[str], timeout: float) -> tuple[str, str, str]:
    """Run pytest on wheels in an empty directory.

    :return: how it ended (``tested``, ``timeout``, ``no report``), the JSON report, and the output.
    """
    with tempfile.TemporaryDirectory(prefix="survey-run-") as name:
        report, project = Path(name, "report.json"), Path(name, "empty")
        project.mkdir()
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--wheel-report={report}", *arguments]
        argv += [f"--wheel={wheel}" for wheel in wheels]
        process = subprocess.Popen(
            argv,
            cwd=project,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        state = "tested"
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            state = "timeout"
            process.terminate()
            try:
                output, _ = process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, _ = process.communicate()
        except BaseException:  # Ctrl-C
            process.terminate()
            process.wait()
            raise
        text = report.read_text(encoding="utf-8") if report.exists() else ""
        return (state if text else "timeout" if state == "timeout" else "no report"), text, output


def summarize(wheel: WheelReport) -> dict[str, Any]:
    """Reduce the report of a wheel to counts, red nodes, warnings, and reasons of skips."""
    nodes = [(check.name, check) for check in wheel.checks]
    nodes += [(f"{target.name}::{node.name}", node) for target in wheel.targets for node in target.results]
    counts: dict[str, int] = {}
    for _, node in nodes:
        counts[node.outcome] = counts.get(node.outcome, 0) + 1
    bad = [red(name, node) for name, node in nodes if node.outcome in BAD]
    bad += [{"node": n.name, "outcome": n.outcome, "text": n.reason} for n in wheel.not_run if n.outcome in BAD]
    skipped = [{"node": name, "reason": node.text} for name, node in nodes if node.outcome == "skipped"]
    skipped += [{"node": n.name, "reason": n.reason} for n in wheel.not_run if n.outcome not in BAD]
    warnings = [{"node": name, "text": text[:EXCERPT]} for name, node in nodes for text in node.warnings]
    return {
        "counts": counts,
        "red": bad,
        "skipped": skipped,
        "warnings": warnings,
        "targets": {target.name: target.source for target in wheel.targets},
    }


def red(name: str, node: NodeResult) -> dict[str, str]:
    """Reduce a red node to its name, outcome and the start and end of its text."""
    text = node.text
    if len(text) > 2 * EXCERPT:
        text = f"{text[:EXCERPT]}\n[...]\n{text[-EXCERPT:]}"
    return {"node": name, "outcome": node.outcome, "text": text}


def last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return re.sub(r"^=+ | =+$", "", lines[-1]) if lines else ""


def write(path: Path, result: dict[str, Any]) -> None:
    """Write a result; an interrupted run leaves none behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def state_directory(root: Path, *, years: float, static: bool) -> Path:
    """Return the directory of the results of one series."""
    return root / f"{'static' if static else 'full'}-{f'{years:g}-years' if years else 'newest'}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, default=cache.root() / "survey", help="directory of the results")
    parser.add_argument("--index", default="", help="address of the package index (default: pip's)")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list")
    listing.add_argument("downloads", type=Path, help="CSV with the columns download_count and project")
    listing.add_argument("--count", type=int, default=300)
    running = commands.add_parser("run")
    running.add_argument("names", nargs="*")
    running.add_argument("--list", type=Path, default=LIST)
    running.add_argument("--static", action="store_true", help="run only the static checks")
    running.add_argument("--years", type=float, default=0, help="age of the releases; 0: the newest")
    running.add_argument("--platforms", default=",".join(PLATFORMS))
    running.add_argument("--first", type=int, help="only so many projects")
    running.add_argument("--again", action="store_true", help="repeat what was red")
    running.add_argument("--batch", type=int, default=1, help="with --static: number of releases in one run of pytest")
    running.add_argument("--timeout", type=float, default=900, help="seconds for one run of pytest")
    running.add_argument("--max-size", type=float, default=150, help="MB; larger wheels are left out")
    reporting = commands.add_parser("report")
    reporting.add_argument("--explanations", type=Path, default=EXPLANATIONS, help="classes of red nodes (TOML)")
    given = parser.parse_args(argv)
    if given.command == "report":
        return print_report(given.state, given.explanations)
    index = index_url(given.index)
    if given.command == "list":
        make_list(given.downloads, index, given.count)
        return 0
    limits = Limits(timeout=given.timeout, size=given.max_size * 1e6)
    releases = plan_cases(
        given.names or read_projects(given.list)[: given.first],
        given.platforms.split(","),
        state_directory(given.state, years=given.years, static=given.static),
        index=index,
        years=given.years,
        again=given.again,
        whole=given.static,
        limits=limits,
    )
    jobs = make_jobs(releases, batch=given.batch if given.static else 0)
    arguments = ["--wheel-static"] if given.static else ["--wheel-python=3.12"]
    run_jobs(jobs, arguments=arguments, limits=limits)
    return 0


if __name__ == "__main__":
    sys.exit(main())
