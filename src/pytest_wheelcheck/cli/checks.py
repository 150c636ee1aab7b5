"""``wheelcheck checks``: the static checks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pytest_wheelcheck.checks import CHECKS, select_checks
from pytest_wheelcheck.cli import output

if TYPE_CHECKING:
    from pytest_wheelcheck.cli.output import Subparsers


def declare(commands: Subparsers) -> None:
    """Declare the command."""
    parser = commands.add_parser("checks", help="list the static checks, or explain some of them")
    parser.add_argument("code", nargs="*", help="codes or prefixes of the checks to explain")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    """Print the table of checks, or explain some of them.

    :raises UsageError: a code or prefix matches no check.
    """
    if not args.code:
        output.write(f"{check.code}  {check.severity.value:7}  {check.title}" for check in CHECKS)
        return 0
    for check in select_checks(select=args.code):
        output.write(
            [
                f"{check.name} ({check.severity.value}): {check.title}",
                f"  problem: {check.problem}",
                f"  reason:  {check.reason}",
                f"  fix:     {check.fix}",
                f"  source:  {check.source}",
            ]
        )
    return 0
