"""``wheelcheck merge``: the reports of several hosts as one."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_wheelcheck.cli import output
from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.reporting.compare import compare
from pytest_wheelcheck.reporting.matrix import matrix_rows
from pytest_wheelcheck.reporting.merge import merge, problems
from pytest_wheelcheck.reporting.release import expected_files, release_results
from pytest_wheelcheck.reporting.report import BAD, NodeResult, from_json
from pytest_wheelcheck.reporting.terminal import comparison_lines, matrix_lines
from pytest_wheelcheck.reporting.write import parse_report_path, write_reports

if TYPE_CHECKING:
    from pytest_wheelcheck.cli.output import Subparsers


def declare(commands: Subparsers) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "merge",
        help="merge the reports of several hosts or shards by the digests of the wheels",
        epilog="Exit status 1 if a node failed on a host, a run was interrupted, a shard is missing, files of one name differ, "
        "or the release does not match the expected wheels.",
    )
    parser.add_argument("report", nargs="+", help="files that --wheel-report NAME.json wrote")
    parser.add_argument(
        "--wheel-report", action="append", default=[], metavar="FILE", help="write the merged report to this file"
    )
    parser.add_argument(
        "--wheel-expect", action="append", default=[], metavar="SPEC", help="the expected wheels of the release"
    )
    parser.add_argument("--wheel-strict", action="store_true", help="fail if a wheel was not run on any of the hosts")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    """Merge reports, show the release matrix, and check the release.

    :returns: 1 if there are failures, or the release does not match the expected wheels.
    """
    paths = [parse_report_path(path, Path.cwd()) for path in args.wheel_report]
    report = merge([from_json(_read(path), source=path) for path in args.report])
    report = replace(report, expect=tuple(args.wheel_expect) or report.expect)
    release = tuple(
        NodeResult(name=step.name, outcome=step.outcome.value, text=step.text, warnings=step.warnings)
        for step in release_results(report)
    )
    report = replace(report, release=release)
    rows = matrix_rows(report, expected_files(report).missing_pairs)
    output.write(line for line, _ in matrix_lines(rows, shutil.get_terminal_size().columns))
    output.write(line for line, _ in comparison_lines(compare(report)))
    failures = problems(report, strict=args.wheel_strict)
    for result in report.release:
        failures += [line for line in result.text.splitlines()[1:] if result.outcome in BAD]
        output.write(f"warning: {text}" for text in result.warnings)
    output.write(failures)
    write_reports(paths, report)
    output.write(f"report: {path}" for path in paths)
    return 1 if failures else 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
