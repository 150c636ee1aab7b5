"""Writes report files: JSON, Markdown or HTML, by the extension of the file name."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.reporting.compare import compare
from pytest_wheelcheck.reporting.release import expected_files
from pytest_wheelcheck.reporting.report import Report, to_json
from pytest_wheelcheck.system import directories

#: Extensions of report files.
EXTENSIONS = (".json", ".md", ".html")


def parse_report_path(text: str, cwd: Path) -> Path:
    """Read the value of ``--wheel-report``.

    :param cwd: the directory at which relative paths start.
    :raises UsageError: the file has another extension, or cannot be written.
    """
    path = cwd / Path(text).expanduser()
    if path.suffix not in EXTENSIONS or path.is_dir():
        raise UsageError(
            f"--wheel-report {text}: the extension does not select a report format",
            fix=f"use a file name that ends with {', '.join(EXTENSIONS[:-1])} or {EXTENSIONS[-1]}",
        )
    try:
        directories.check_writable(path.parent)
    except OSError as error:
        raise _not_written(text, error) from None
    return path


def _not_written(path: object, error: OSError) -> UsageError:
    return UsageError(
        f"--wheel-report {path}: the file cannot be written: {error.strerror or error}",
        fix="use a path in a writable directory",
    )


def write_reports(paths: Sequence[Path], report: Report, *, for_merge: Report | None = None) -> None:
    """Write a report to each path.

    :param for_merge: the same report with the name of this host in it, for the format that can be merged (JSON).
    :raises UsageError: a file cannot be written.
    """
    missing = expected_files(report).missing_pairs
    for path in paths:
        if path.suffix == ".json":
            text = to_json(for_merge or report, comparisons=compare(report))
        elif path.suffix == ".md":
            from pytest_wheelcheck.reporting import markdown

            text = markdown.render(report, missing)
        else:
            from pytest_wheelcheck.reporting import html

            text = html.render(report, missing)
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8", errors="backslashreplace")
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise _not_written(path, error) from error
