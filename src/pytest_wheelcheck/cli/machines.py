"""``wheelcheck machines``: the hardware profiles."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from pytest_wheelcheck.backends.registry import EMULATOR, machine_profiles
from pytest_wheelcheck.cli import output

if TYPE_CHECKING:
    from pytest_wheelcheck.cli.output import Subparsers


def declare(commands: Subparsers) -> None:
    """Declare the command."""
    parser = commands.add_parser("machines", help="list the hardware profiles, and what each does not cover")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.json:
        output.write_json([{**asdict(profile), "needs": profile.needs} for profile in machine_profiles().values()])
        return 0
    for profile in machine_profiles().values():
        lines = [f"{profile.name:10} {profile.hardware}"]
        if profile.impossible:
            lines.append(f"{'':10} could not be checked: {profile.impossible}")
        else:
            lines.append(f"{'':10} needs {EMULATOR} {profile.needs}")
        if profile.uncovered:
            lines.append(f"{'':10} not covered: {profile.uncovered}")
        output.write(lines)
    return 0
